//! What the first process tells others: how the steps are, to those who may know; whether it is ready, to the kubelet.

mod board;
mod deadline;
mod guests;
mod keep_alive;
mod ready;
mod report;
mod sockets;
mod tls;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

pub use board::Board;
use workstead_link::{SUPERVISOR_FILES_PATH, TLS_KEY};

use crate::places::Places;
use crate::process::thread;
use tls::Door;

/// The ports that are ours.
pub struct Listeners {
    ready: Option<TcpListener>,
    supervisor: Option<TcpListener>,
}

impl Listeners {
    /// Takes the ports. One that can't be had is said and done without: the workspace itself runs on.
    pub fn bind(places: &Places) -> Self {
        // A template from before there were such files has nobody who asks.
        let key = places.at(SUPERVISOR_FILES_PATH).join(TLS_KEY);
        Self {
            ready: listen(places.ready_port, "the kubelet"),
            supervisor: key
                .exists()
                .then(|| listen(places.supervisor_port, "the controller"))
                .flatten(),
        }
    }

    /// Answers from now on.
    pub fn serve(self, board: &Arc<Board>, places: &Places) {
        if let Some(listener) = self.ready {
            let board = Arc::clone(board);
            said(
                "answer the kubelet",
                thread("ready", move || ready::serve(&listener, &board)),
            );
        }
        if let Some(listener) = self.supervisor {
            let door = Arc::new(Door::new(board, places));
            said(
                "answer the controller",
                thread("door", move || door.serve(&listener)),
            );
        }
    }
}

fn said<T>(what: &str, result: std::io::Result<T>) {
    if let Err(error) = result {
        eprintln!("workstead-supervisor: failed to {what}: {error}");
    }
}

fn listen(port: u16, whom: &str) -> Option<TcpListener> {
    // Both families at once; a kernel may have only the old one.
    let addresses = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ];
    let listener = TcpListener::bind(addresses.as_slice())
        .inspect_err(|error| {
            eprintln!("workstead-supervisor: failed to listen on port {port}: {error}")
        })
        .ok()?;
    // Who left the choice to us has to be told.
    if port == 0 {
        let address = listener.local_addr().ok()?;
        eprintln!(
            "workstead-supervisor: listens on port {} for {whom}",
            address.port()
        );
    }
    Some(listener)
}
