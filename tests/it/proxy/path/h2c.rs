//! Ports that speak HTTP/2 in plain text, as gRPC does: a real server of it, and clients of both versions.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workstead::proxy::door::UpstreamProtocol;

use super::http2::{self, body_of, start};
use super::kit::{App, HOST, Proxy, nobody, until, within};

/// A server. What is asked of it comes to the test.
struct Server {
    address: SocketAddr,
    calls: mpsc::Receiver<Call>,
    connections: Arc<AtomicUsize>,
    /// Ends its connections in order.
    bye: CancellationToken,
    _tasks: JoinSet<()>,
}

struct Call {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Server {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (send, calls) = mpsc::channel(256);
        let connections = Arc::new(AtomicUsize::new(0));
        let bye = CancellationToken::new();
        let (count, end) = (connections.clone(), bye.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(stream, send.clone(), end.clone()));
            }
        });
        Self {
            address,
            calls,
            connections,
            bye,
            _tasks: tasks,
        }
    }

    async fn call(&mut self) -> Call {
        within(self.calls.recv()).await.unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// A proxy before it, and a client of HTTP/2.
    async fn by_http_2(&self) -> (Proxy, http2::Client) {
        let (proxy, client) = start(self.address).await;
        *proxy.door.protocol.lock().unwrap() = UpstreamProtocol::H2c;
        (proxy, client)
    }

    /// A proxy before it, for clients of HTTP/1.
    async fn by_http_1(&self) -> Proxy {
        let proxy = Proxy::start(self.address).await;
        *proxy.door.protocol.lock().unwrap() = UpstreamProtocol::H2c;
        proxy
    }
}

async fn serve(stream: tokio::net::TcpStream, calls: mpsc::Sender<Call>, bye: CancellationToken) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut is_ending = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = bye.cancelled(), if !is_ending => {
                is_ending = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        calls.send(Call { request, respond }).await.unwrap();
    }
}

impl Call {
    /// Begins the response.
    fn begin(&mut self) -> SendStream<Bytes> {
        let response = Response::builder().header("content-type", "application/grpc");
        let response = response.body(()).unwrap();
        self.respond.send_response(response, false).unwrap()
    }

    async fn body(&mut self) -> String {
        body_of(self.request.body_mut()).await
    }

    async fn trailers(&mut self) -> HeaderMap {
        let body = self.request.body_mut();
        let trailers = within(poll_fn(|cx| body.poll_trailers(cx))).await;
        trailers.unwrap().unwrap_or_default()
    }
}

fn trailers(name: &'static str, value: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().unwrap());
    trailers
}

fn grpc() -> Request<()> {
    let request = http2::request("POST", "/a.B/C").header("content-type", "application/grpc");
    request.header("te", "trailers").body(()).unwrap()
}

#[tokio::test]
async fn a_call_passes_with_trailers_both_ways_and_calls_share_a_connection() {
    let mut server = Server::start().await;
    let (proxy, mut client) = server.by_http_2().await;
    for number in 0..3 {
        let (response, mut send) = client.send.send_request(grpc(), false).unwrap();
        send.send_data(Bytes::from("ask"), false).unwrap();
        send.send_trailers(trailers("x-sum", "3")).unwrap();
        let mut call = server.call().await;
        assert_eq!(call.request.uri(), &*format!("http://{HOST}/a.B/C"));
        let headers = call.request.headers();
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert!(!headers.contains_key("transfer-encoding"));
        assert_eq!(call.body().await, "ask");
        assert_eq!(call.trailers().await["x-sum"], "3");
        let mut answer = call.begin();
        answer.send_data(Bytes::from("told"), false).unwrap();
        let status = format!("{number}");
        answer
            .send_trailers(trailers("grpc-status", &status))
            .unwrap();
        let mut body = within(response).await.unwrap().into_body();
        assert_eq!(body_of(&mut body).await, "told");
        let trailers = within(poll_fn(|cx| body.poll_trailers(cx))).await.unwrap();
        assert_eq!(trailers.unwrap()["grpc-status"], status);
    }
    assert_eq!((server.connections(), proxy.forward.pool.len()), (1, 1));
}

#[tokio::test]
async fn a_response_of_trailers_alone_ends_with_its_head() {
    let mut server = Server::start().await;
    let (_proxy, mut client) = server.by_http_2().await;
    let (response, _) = client.send.send_request(grpc(), true).unwrap();
    let mut call = server.call().await;
    assert!(call.request.body().is_end_stream());
    let only = Response::builder().header("grpc-status", "5");
    call.respond
        .send_response(only.body(()).unwrap(), true)
        .unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn a_client_of_http_1_gets_the_same() {
    let mut server = Server::start().await;
    let proxy = server.by_http_1().await;
    let mut client = proxy.client().await;
    let lines = "Content-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n";
    client
        .send(super::kit::request("POST /a.B/C HTTP/1.1", lines))
        .await;
    client.send("3\r\nask\r\n0\r\nX-Sum: 3\r\n\r\n").await;
    let mut call = server.call().await;
    assert_eq!(call.body().await, "ask");
    assert_eq!(call.trailers().await["x-sum"], "3");
    let mut answer = call.begin();
    answer.send_data(Bytes::from("told"), false).unwrap();
    let mut last = trailers("grpc-status", "0");
    last.insert("set-cookie", "__Host-wsd=evil".parse().unwrap());
    answer.send_trailers(last).unwrap();
    client
        .expect(
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n\
            4\r\ntold\r\n0\r\ngrpc-status: 0\r\n\r\n",
        )
        .await;
    // The connection serves another, whose body has a length.
    client
        .send(super::kit::request(
            "PUT /b HTTP/1.1",
            "Content-Length: 4\r\n",
        ))
        .await;
    client.send("body").await;
    let mut call = server.call().await;
    assert_eq!(call.body().await, "body");
    let empty = Response::builder().status(204).body(()).unwrap();
    call.respond.send_response(empty, true).unwrap();
    client.expect("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn messages_pass_in_both_directions_while_neither_has_ended() {
    let mut server = Server::start().await;
    let (_proxy, mut client) = server.by_http_2().await;
    let (response, mut send) = client.send.send_request(grpc(), false).unwrap();
    let mut call = server.call().await;
    let mut answer = call.begin();
    let mut body = within(response).await.unwrap().into_body();
    for number in 0..20 {
        let ask = Bytes::from(format!("ask {number}"));
        send.send_data(ask.clone(), false).unwrap();
        let got = within(call.request.body_mut().data())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(got, ask);
        answer.send_data(ask.clone(), false).unwrap();
        assert_eq!(within(body.data()).await.unwrap().unwrap(), ask);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(call.body().await, "");
    answer.send_trailers(trailers("grpc-status", "0")).unwrap();
    assert_eq!(body_of(&mut body).await, "");
}

#[tokio::test]
async fn a_long_body_passes_both_ways_at_the_pace_of_its_reader() {
    let mut server = Server::start().await;
    let proxy = server.by_http_1().await;
    let mut client = proxy.client().await;
    let long = "x".repeat(600_000);
    let line = format!("Content-Length: {}\r\n", long.len());
    let head = super::kit::request("POST / HTTP/1.1", &line);
    let (mut call, ()) = tokio::join!(server.call(), client.send(&head));
    let (got, ()) = tokio::join!(call.body(), client.send(&long));
    assert!(got == long);
    let length = long.len().to_string();
    let response = Response::builder().header("content-length", &length);
    let mut answer = call
        .respond
        .send_response(response.body(()).unwrap(), false)
        .unwrap();
    answer.send_data(Bytes::from(long.clone()), true).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    client.expect(head + &long).await;
}

#[tokio::test]
async fn a_reset_of_the_app_reaches_the_client() {
    let mut server = Server::start().await;
    let (_proxy, mut client) = server.by_http_2().await;
    let (response, _send) = client.send.send_request(grpc(), false).unwrap();
    let mut call = server.call().await;
    call.respond.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(within(response).await.unwrap().status(), 502);
    let (response, _send) = client.send.send_request(grpc(), false).unwrap();
    let mut call = server.call().await;
    let mut answer = call.begin();
    answer.send_data(Bytes::from("half"), false).unwrap();
    let mut body = within(response).await.unwrap().into_body();
    assert_eq!(&within(body.data()).await.unwrap().unwrap()[..], b"half");
    answer.send_reset(Reason::INTERNAL_ERROR);
    assert!(within(body.data()).await.unwrap().is_err());
    assert_eq!(server.connections(), 1, "the others go on");
}

#[tokio::test]
async fn resource_dos_a_call_that_is_given_up_is_over_at_the_app() {
    let mut server = Server::start().await;
    let (proxy, mut client) = server.by_http_2().await;
    let (response, mut send) = client.send.send_request(grpc(), false).unwrap();
    let mut call = server.call().await;
    let mut answer = call.begin();
    let body = within(response).await.unwrap().into_body();
    send.send_reset(Reason::CANCEL);
    drop(body);
    within(poll_fn(|cx| answer.poll_reset(cx))).await.unwrap();
    let ended = || proxy.door.meter.ended.lock().unwrap().len();
    until(|| ended() == 1).await;
}

#[tokio::test]
async fn stale_authorization_a_right_that_ends_cuts_a_call() {
    let mut server = Server::start().await;
    let (proxy, mut client) = server.by_http_2().await;
    let (response, _send) = client.send.send_request(grpc(), false).unwrap();
    let mut call = server.call().await;
    let mut answer = call.begin();
    let mut body = within(response).await.unwrap().into_body();
    proxy.door.cut.cancel();
    within(poll_fn(|cx| answer.poll_reset(cx))).await.unwrap();
    assert!(within(body.data()).await.unwrap().is_err());
}

#[tokio::test]
async fn resource_dos_a_reader_that_stalls_holds_little_and_keeps_nobody_waiting() {
    const MOST: usize = 1024 * 1024;
    let mut server = Server::start().await;
    let (_proxy, mut client) = server.by_http_2().await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let (response, _) = client.send.send_request(grpc(), true).unwrap();
        let mut call = server.call().await;
        let answer = call.begin();
        stalled.push((answer, within(response).await.unwrap().into_body()));
    }
    // Each app sends as long as there is room for more; nobody reads.
    let mut sent = 0;
    for (answer, _) in &mut stalled {
        let mut own = 0;
        answer.reserve_capacity(MOST);
        let room = async {
            loop {
                let more = poll_fn(|cx| answer.poll_capacity(cx))
                    .await
                    .unwrap()
                    .unwrap();
                own += more;
                assert!(own < MOST, "nothing stops it");
                answer.send_data(Bytes::from(vec![0; more]), false).unwrap();
                answer.reserve_capacity(MOST);
            }
        };
        // Long enough for what comes at all; a slower machine only sees less.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(300), room).await;
        sent += own;
    }
    assert!(sent > 0);
    let (response, _) = client.send.send_request(grpc(), true).unwrap();
    let mut call = server.call().await;
    call.begin()
        .send_trailers(trailers("grpc-status", "0"))
        .unwrap();
    assert_eq!(within(response).await.unwrap().status(), 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn pod_ip_reuse_what_was_opened_before_a_closing_serves_no_further_call() {
    let mut server = Server::start().await;
    let (proxy, mut client) = server.by_http_2().await;
    let (before, _) = client.send.send_request(grpc(), true).unwrap();
    let mut first = server.call().await;
    proxy.forward.pool.close(|key| &*key.pod == "p");
    assert!(proxy.forward.pool.is_empty());
    let (after, _) = client.send.send_request(grpc(), true).unwrap();
    let mut second = server.call().await;
    assert_eq!(server.connections(), 2);
    for (call, response) in [(&mut first, before), (&mut second, after)] {
        call.begin().send_data(Bytes::new(), true).unwrap();
        assert_eq!(within(response).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_app_that_says_goodbye_gets_further_calls_by_another_connection() {
    let mut server = Server::start().await;
    let (proxy, mut client) = server.by_http_2().await;
    let (response, _) = client.send.send_request(grpc(), true).unwrap();
    let mut call = server.call().await;
    server.bye.cancel();
    call.begin()
        .send_trailers(trailers("grpc-status", "0"))
        .unwrap();
    let mut body = within(response).await.unwrap().into_body();
    assert_eq!(body_of(&mut body).await, "");
    let is_gone = || {
        proxy.forward.pool.sweep();
        proxy.forward.pool.is_empty()
    };
    until(is_gone).await;
    let (response, _) = client.send.send_request(grpc(), true).unwrap();
    let mut call = server.call().await;
    call.begin()
        .send_trailers(trailers("grpc-status", "0"))
        .unwrap();
    assert_eq!(within(response).await.unwrap().status(), 200);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_interim_response_and_the_wait_for_it_pass() {
    let mut server = Server::start().await;
    let proxy = server.by_http_1().await;
    let mut client = proxy.client().await;
    let lines = "Content-Length: 2\r\nExpect: 100-continue\r\n";
    client
        .send(super::kit::request("PUT / HTTP/1.1", lines))
        .await;
    let mut call = server.call().await;
    assert_eq!(call.request.headers()["expect"], "100-continue");
    let go_on = Response::builder().status(100).body(()).unwrap();
    call.respond.send_informational(go_on).unwrap();
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("ok").await;
    assert_eq!(call.body().await, "ok");
    let done = Response::builder().status(201).body(()).unwrap();
    call.respond.send_response(done, true).unwrap();
    client
        .expect("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
        .await;
}

#[tokio::test]
async fn resource_dos_an_app_that_never_comes_to_its_last_response_is_given_up() {
    let mut server = Server::start().await;
    let proxy = server.by_http_1().await;
    let mut client = proxy.client().await;
    client.send(super::kit::request("GET / HTTP/1.1", "")).await;
    let mut call = server.call().await;
    for _ in 0..40 {
        let hint = Response::builder().status(103).body(()).unwrap();
        // It may be reset by now.
        let _ = call.respond.send_informational(hint);
    }
    within(poll_fn(|cx| call.respond.poll_reset(cx)))
        .await
        .unwrap();
    let got = client.rest().await;
    let hints = got.matches("HTTP/1.1 103 Early Hints\r\n\r\n").count();
    assert!(hints <= 16, "{got}");
    until(|| proxy.permits() == 0).await;
}

#[tokio::test]
async fn a_port_that_speaks_something_else_gets_a_page() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    *proxy.door.protocol.lock().unwrap() = UpstreamProtocol::H2c;
    let mut client = proxy.client().await;
    client.send(super::kit::request("GET / HTTP/1.1", "")).await;
    let mut upstream = app.accept().await;
    upstream.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    upstream
        .send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 502 "));
    let proxy = Proxy::start(nobody().await).await;
    *proxy.door.protocol.lock().unwrap() = UpstreamProtocol::H2c;
    let mut client = proxy.client().await;
    client.send(super::kit::request("GET / HTTP/1.1", "")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn a_websocket_is_not_asked_of_such_a_port() {
    let server = Server::start().await;
    let proxy = server.by_http_1().await;
    let mut client = proxy.client().await;
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    client
        .send(super::kit::request("GET / HTTP/1.1", lines))
        .await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("websocket_by_h2c"),
        "{answer}"
    );
    assert_eq!(server.connections(), 0);
}
