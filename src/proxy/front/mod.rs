//! The way in: connections of clients. What they send is read strictly; whatever two readers could understand
//! differently is refused here, and no upstream sees it. What passes is put before the door.

mod answer;
mod body;
mod bomb;
mod connection;
mod head;
mod linger;

pub use head::HEAD as FIRST_HEAD;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::door::{Client, Door};
use crate::proxy::forward::Forward;
use crate::proxy::host::Site;

/// How many heads that are far too long are read at once, just to answer them.
const BOMBS: usize = 16;

/// What all connections of clients share.
pub struct Front<D> {
    door: Arc<D>,
    forward: Arc<Forward>,
    site: Arc<Site>,
    drain: Drain,
    bombs: Semaphore,
}

/// How connections are told to end.
#[derive(Clone, Default)]
pub struct Drain {
    /// No further requests: idle connections end at once, the others with their next response.
    pub begin: CancellationToken,
    /// Whatever is left ends now. WebSockets are told so.
    pub end: CancellationToken,
}

/// Who opened a connection, and what for.
pub struct Peer {
    /// Who.
    pub client: Client,
    /// The host that TLS was opened for, in lower case.
    pub server_name: Option<Box<str>>,
    /// Whether the socket is one of a proxy before us whose word on clients is believed.
    pub is_forwarder: bool,
    /// When it was opened: the first head has a limit from there.
    pub opened: Instant,
}

impl<D: Door> Front<D> {
    /// Puts requests before this door.
    pub fn new(door: Arc<D>, forward: Arc<Forward>, site: Arc<Site>, drain: Drain) -> Self {
        Self {
            door,
            forward,
            site,
            drain,
            bombs: Semaphore::new(BOMBS),
        }
    }

    /// Serves an HTTP/1 connection until it ends, the stream it may turn into included.
    pub async fn serve<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // What requests need is large, and a WebSocket that lasts for days needs none of it.
        let requests = Box::pin(self.requests(stream, peer));
        let switched = self.drain.end.run_until_cancelled(requests).await;
        if let Some(Some(tunnel)) = switched {
            tunnel.await;
        }
    }
}
