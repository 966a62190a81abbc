//! The way into workspaces: what it costs, beside the programs that others use for it.
//!
//! The proxy is the real program, as are API server, controller and first processes; [`world`] has them. What it is held
//! against stands in [`others`], the app behind all of them in [`app`].

mod app;
mod bulk;
mod load;
mod memory;
mod others;
mod requests;
mod revocation;
mod sockets;
mod table;
mod visitor;
mod wake;
mod world;

pub(crate) use bulk::bulk;
pub(crate) use memory::websocket_memory;
pub(crate) use requests::requests;
pub(crate) use revocation::revocation;
pub(crate) use table::route_table;
pub(crate) use wake::wake;

/// Does what a process of ours is started for by a figure. Says whether this is one.
pub(crate) fn is_part(arguments: &[String]) -> bool {
    match arguments {
        [part, address] if part == app::PART => app::run(address),
        [part] if part == table::PART => table::run(),
        _ => return false,
    }
    true
}
