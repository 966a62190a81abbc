//! A client's connection: the stream, what was read of it ahead, and its one timer.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Blocks, Buffer, Deadline};

/// A client's connection.
pub struct Link<S> {
    /// Its bytes.
    pub stream: S,
    /// What was read and not yet used.
    pub input: Buffer,
    /// When waiting is over: of whatever is waited for.
    pub deadline: Deadline,
}

impl<S> Link<S> {
    /// A connection of which nothing was read yet, and the moment until which something must be.
    pub fn new(stream: S, blocks: Arc<Blocks>, until: Instant) -> Self {
        Self {
            stream,
            input: Buffer::new(blocks),
            deadline: Deadline::at(until),
        }
    }
}
