//! What strangers can send us, as functions of bytes. Each holds its answer to what must be true whatever comes in;
//! none panics for the input's sake. The folder `fuzz/` drives them by coverage, `tests/it/fuzz` with the committed
//! seeds and with mutations of them.

mod files;
mod proxy;
mod secrets;
mod sessions;
mod texts;

pub use files::{tree, verdict, yaml};
pub use proxy::front;
pub use secrets::{plaintext, sealed};
pub use sessions::{cookies, tokens};
pub use texts::{evidence, inventory, scalars, source, webhook};

/// One of the functions.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the binary in `fuzz/fuzz_targets` and of the folder in `fuzz/seeds`.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// The longest input that it is given: what the door before it lets through, or a little more.
    pub longest: usize,
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    target("yaml", yaml, 1024 * 1024),
    target("verdict", verdict, 1024 * 1024),
    target("tree", tree, 256 * 1024),
    target("source", source, 20 * 1024),
    target("scalars", scalars, 64 * 1024),
    // The kubelet keeps 4 KiB of a termination message; texts of servers are not as short.
    target("evidence", evidence, 256 * 1024),
    target("webhook", webhook, 1024 * 1024),
    target("inventory", inventory, 1024 * 1024),
    target("front", front, 512 * 1024),
    // What the front lets through of a head.
    target("cookies", cookies, 256 * 1024),
    target("tokens", tokens, 256 * 1024),
    // A little more than a sealed text may have.
    target("sealed", sealed, 1100 * 1024),
    target("plaintext", plaintext, 1024 * 1024),
];

const fn target(name: &'static str, run: fn(&[u8]), longest: usize) -> Target {
    Target { name, run, longest }
}
