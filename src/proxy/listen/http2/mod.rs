//! HTTP/2 of browsers. Each of its requests is written down as one of HTTP/1 and goes through the same front, which
//! refuses there what it refuses elsewhere: nothing reaches an app that the strict reader has not read.

mod request;
mod response;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span};

use self::stream::Stream;
use crate::proxy::door::Door;
use crate::proxy::front::{Drain, FIRST_HEAD, Front, Peer};

/// How many requests of one connection are under way at once.
const STREAMS: u32 = 128;
/// How many may be under way with those that the client gave up and that are not quite over.
const STREAMS_AND_RESETS: usize = 2 * STREAMS as usize;
/// Longest head, unpacked. Far more than an ordinary one, so that cookies that are too long get their answer.
const LONGEST_HEAD: u32 = 352 * 1024;
/// How much the heads of one connection take together, in KiB. Packed, a client sends a long one in a few bytes.
const HEADS: usize = 1024;
/// What a client may send ahead of a request that nobody reads.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same, of a whole connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What waits to be sent for one request.
const SEND_BUFFER: usize = 64 * 1024;
/// How long streams may take to end after they were told to.
const FAREWELL: Duration = Duration::from_secs(4);
/// How long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(75);

/// Serves a connection until it ends.
pub async fn serve<D, S>(front: Arc<Front<D>>, io: S, peer: Peer, drain: &Drain)
where
    D: Door,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = settings().handshake(io);
    let connection = match timeout_at(peer.opened + FIRST_HEAD, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%error, "no HTTP/2 with a client"),
        Err(_) => return debug!("no HTTP/2 with a client in time"),
    };
    let tasks = TaskTracker::new();
    tokio::select! {
        () = accept(front, connection, peer, drain, &tasks) => {}
        // What streams say last goes out by this connection too.
        () = after(&drain.end, FAREWELL) => {}
    }
    tasks.close();
    tasks.wait().await;
}

async fn after(token: &CancellationToken, limit: Duration) {
    token.cancelled().await;
    sleep(limit).await;
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(32)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(256))
        .enable_connect_protocol();
    settings
}

async fn accept<D, S>(
    front: Arc<Front<D>>,
    mut connection: Connection<S, Bytes>,
    peer: Peer,
    drain: &Drain,
    tasks: &TaskTracker,
) where
    D: Door,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let heads = Arc::new(Semaphore::new(HEADS));
    let mut is_ending = false;
    loop {
        let accepted = tokio::select! {
            accepted = timeout(IDLE, together(connection.accept())) => accepted,
            () = drain.begin.cancelled(), if !is_ending => {
                is_ending = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        match accepted {
            Ok(Some(Ok((request, respond)))) => {
                if tasks.len() >= STREAMS_AND_RESETS {
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    continue;
                }
                begin(tasks, front.clone(), request, respond, &peer, &heads);
            }
            Ok(Some(Err(error))) => return debug!(%error, "an HTTP/2 connection broke"),
            Ok(None) => return,
            Err(_) if !tasks.is_empty() => {}
            // It was told to end, and does not.
            Err(_) if is_ending => return debug!("an HTTP/2 connection did not end in time"),
            Err(_) => {
                is_ending = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Looks for the next request after all tasks have run that can: what streams have to say goes out together then, in one
/// write and one record of TLS.
async fn together<T>(next: impl Future<Output = T>) -> T {
    let mut next = pin!(next);
    let mut is_its_turn = true;
    poll_fn(|cx| {
        if !std::mem::replace(&mut is_its_turn, true) {
            // Who wakes itself while it runs goes to the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        is_its_turn = false;
        next.as_mut().poll(cx)
    })
    .await
}

fn begin<D: Door>(
    tasks: &TaskTracker,
    front: Arc<Front<D>>,
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    peer: &Peer,
    heads: &Arc<Semaphore>,
) {
    let peer = Peer {
        client: peer.client.clone(),
        hosts: peer.hosts.clone(),
        is_forwarder: peer.is_forwarder,
        opened: Instant::now(),
    };
    let Some(stream) = Stream::new(request, respond, heads) else {
        return;
    };
    let serve = async move { front.serve(stream, peer).await };
    tasks.spawn(serve.instrument(debug_span!("stream")));
}
