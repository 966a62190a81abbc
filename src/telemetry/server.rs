//! The HTTP/1 server in front of our own small endpoints, the webhook receiver included.
//!
//! Every wait on a client has a deadline: one that connects and stays silent, one that sends half a request, one that
//! reads nothing. `axum::serve` has none of these, so hyper is driven directly.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// From the connection to the end of the first request's head.
    pub first_request: Duration,
    /// From the begin of a head to its end, and between two requests.
    pub head: Duration,
    /// From the head to the end of the answer.
    pub request: Duration,
    /// Connections at a time; more wait in the listener's queue.
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(5),
            head: Duration::from_secs(5),
            request: Duration::from_secs(15),
            connections: 128,
        }
    }
}

/// How long open requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until `shutdown`, then lets open requests end, for three seconds at most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        // Reaps what ended, so that the set does not grow with every connection ever made.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let router = router.clone();
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    connection(stream, router, limits, shutdown).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: they come back when connections end.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let seen = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let seen = seen.clone();
        move |request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            answer(router.clone(), request, limits.request)
        }
    });
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_headers(64)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut first = std::pin::pin!(tokio::time::sleep(limits.first_request));
    let mut waiting = true;
    let mut draining = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = first.as_mut(), if waiting => {
                if !seen.load(Ordering::Relaxed) {
                    tracing::debug!("closed a connection that sent no request in time");
                    return;
                }
                waiting = false;
            }
            () = shutdown.cancelled(), if !draining => {
                serving.as_mut().graceful_shutdown();
                draining = true;
            }
        }
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    limit: Duration,
) -> Result<Response<Body>, Infallible> {
    let request = request.map(Body::new);
    match tokio::time::timeout(limit, router.oneshot(request)).await {
        Ok(answered) => answered,
        Err(_) => Ok((
            StatusCode::REQUEST_TIMEOUT,
            "the request took too long; send it again\n",
        )
            .into_response()),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(limits: ServerLimits) -> (std::net::SocketAddr, CancellationToken, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = CancellationToken::new();
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/never", get(std::future::pending::<()>));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, router, limits, token.clone()));
        (address, token, tasks)
    }

    fn short() -> ServerLimits {
        ServerLimits {
            first_request: Duration::from_millis(200),
            head: Duration::from_millis(200),
            request: Duration::from_millis(200),
            connections: 2,
        }
    }

    async fn read_all(mut stream: TcpStream) -> String {
        let mut text = String::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text));
        // A reset is as good as an end: the connection is closed.
        let _ = read.await.expect("the server closes the connection");
        text
    }

    #[tokio::test]
    async fn silent_and_half_silent_clients_are_closed() {
        let (address, token, mut tasks) = start(short()).await;
        let silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_all(silent).await, "");
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
        read_all(half).await;
        token.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn more_clients_than_slots_are_all_served_in_turn() {
        let (address, token, mut tasks) = start(short()).await;
        let mut silent = Vec::new();
        for _ in 0..6 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        assert!(read_all(client).await.ends_with("hello"));
        token.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_answered_with_a_timeout() {
        let (address, token, mut tasks) = start(short()).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET /never HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        assert!(read_all(client).await.starts_with("HTTP/1.1 408"));
        token.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
