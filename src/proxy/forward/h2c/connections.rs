//! Connections of HTTP/2 to ports. Each belongs to one workspace, pod and port, and is driven by a task of ours until
//! nobody needs it.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::SendStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::Request;
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxy::door::{Failure, UpstreamKey};
use crate::proxy::forward::upstream::dial;

/// How many requests pass by one connection at once.
const STREAMS: usize = 32;
/// How many connections to one port are kept at most: further ones serve one request.
const FOR_ONE: usize = 64;
/// How many are kept altogether at most.
const FOR_ALL: usize = 4096;
/// What an app may send ahead of a client that reads slowly.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same, of all requests of a connection: slow ones leave room for the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// What waits to be sent for one request.
const SEND_BUFFER: usize = 64 * 1024;
/// Longest head of a response.
const LONGEST_HEAD: u32 = 128 * 1024;
/// How long one is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// How long the last word may take: an app that reads nothing holds no connection by it.
const FAREWELL: Duration = Duration::from_secs(2);

/// The connections there are.
#[derive(Default)]
pub struct Connections {
    kept: Mutex<Kept>,
    tasks: TaskTracker,
    end: CancellationToken,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<UpstreamKey, Vec<Connection>>,
    count: usize,
    generation: u64,
}

struct Connection {
    send: SendRequest<Bytes>,
    held: Arc<Held>,
    /// Since when nobody uses it, as far as was seen.
    idle_since: Option<Instant>,
}

/// Held by all who use a connection: the last one ends it.
struct Held(CancellationToken);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Room for one request on a connection.
pub struct Ticket {
    send: SendRequest<Bytes>,
    _held: Arc<Held>,
    /// Whether other requests passed by it before.
    pub is_reused: bool,
}

impl Ticket {
    /// Asks.
    pub(super) fn ask(
        &mut self,
        request: Request<()>,
        is_over: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send.send_request(request, is_over)
    }
}

impl Connection {
    fn users(&self) -> usize {
        Arc::strong_count(&self.held) - 1
    }

    /// Whether the app said that it takes no more, or is gone.
    fn is_over(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.send.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        self.users() < STREAMS.min(self.send.current_max_send_streams())
    }

    fn ticket(&mut self, is_reused: bool) -> Ticket {
        self.idle_since = None;
        Ticket {
            send: self.send.clone(),
            _held: self.held.clone(),
            is_reused,
        }
    }
}

impl Connections {
    /// Room on a connection that is there, or on a new one. Says how long a new one took.
    ///
    /// # Errors
    /// When nothing listens there, or it took too long.
    pub async fn ticket(
        &self,
        key: &UpstreamKey,
        address: SocketAddr,
    ) -> Result<(Ticket, Option<Duration>), Failure> {
        if let Some(ticket) = self.take(key) {
            return Ok((ticket, None));
        }
        let (begin, generation) = (Instant::now(), self.kept().generation);
        let stream = dial(address).await?;
        let took = Some(begin.elapsed());
        // Others may have come to the same end meanwhile: the first connection is enough.
        if let Some(ticket) = self.take(key) {
            return Ok((ticket, took));
        }
        let connection = self.drive(stream).await?;
        Ok((self.keep(key, connection, generation), took))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, key: &UpstreamKey) -> Option<Ticket> {
        let mut kept = self.kept();
        let connections = kept.by_key.get_mut(key)?;
        let before = connections.len();
        connections.retain_mut(|connection| !connection.is_over());
        let gone = before - connections.len();
        let free = connections.iter_mut().find(|other| other.has_room());
        let ticket = free.map(|connection| connection.ticket(true));
        kept.count -= gone;
        ticket
    }

    async fn drive(&self, stream: TcpStream) -> Result<Connection, Failure> {
        let handshake = settings().handshake::<_, Bytes>(stream);
        let shaken = timeout(FAREWELL, handshake).await;
        let (send, connection) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(_)) => return Err(Failure::Broken("h2c")),
            Err(_) => return Err(Failure::Slow),
        };
        let gone = CancellationToken::new();
        let (end, unused) = (self.end.clone(), gone.clone());
        self.tasks.spawn(until_unused(connection, unused, end));
        Ok(Connection {
            send,
            held: Arc::new(Held(gone)),
            idle_since: None,
        })
    }

    /// Keeps it for others too, unless connections were closed while it was opened.
    fn keep(&self, key: &UpstreamKey, mut connection: Connection, generation: u64) -> Ticket {
        let ticket = connection.ticket(false);
        let mut kept = self.kept();
        if kept.generation == generation && kept.count < FOR_ALL {
            let connections = kept.by_key.entry(key.clone()).or_default();
            if connections.len() < FOR_ONE {
                connections.push(connection);
                kept.count += 1;
            }
        }
        ticket
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.kept().count
    }

    /// Gives up those of which this says so: requests that are under way go on, and none begins.
    pub fn close(&self, is_closed: impl Fn(&UpstreamKey) -> bool) {
        let mut kept = self.kept();
        kept.generation += 1;
        kept.by_key.retain(|key, _| !is_closed(key));
        kept.count = kept.by_key.values().map(Vec::len).sum();
    }

    /// Gives up those that nobody uses any more.
    pub fn sweep(&self, now: Instant) {
        let mut kept = self.kept();
        kept.by_key.retain(|_, connections| {
            connections.retain_mut(|connection| {
                if connection.users() > 0 {
                    connection.idle_since = None;
                    return !connection.is_over();
                }
                let since = *connection.idle_since.get_or_insert(now);
                !connection.is_over() && now.duration_since(since) < IDLE
            });
            !connections.is_empty()
        });
        kept.count = kept.by_key.values().map(Vec::len).sum();
    }

    /// Ends all, and waits for that.
    pub async fn shut(&self) {
        self.close(|_| true);
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(LONGEST_HEAD);
    settings
}

/// Moves the bytes of a connection until it ends, nobody uses it or all is over.
async fn until_unused(
    connection: impl Future<Output = Result<(), h2::Error>>,
    unused: CancellationToken,
    end: CancellationToken,
) {
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = unused.cancelled() => timeout(FAREWELL, connection).await.unwrap_or(Ok(())),
        () = end.cancelled() => timeout(FAREWELL, connection).await.unwrap_or(Ok(())),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of HTTP/2 to an app broke");
    }
}
