//! HTTP/2 of clients: each request on its own, and nothing that HTTP/1 would not get.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use h2::client::{SendRequest, handshake};
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use workstead::proxy::listen::certificates::Certificates;

use super::kit::{App, HOST, Proxy, until, within};
use super::tls::{Shown, options};

pub struct Client {
    pub send: SendRequest<Bytes>,
    _tasks: JoinSet<()>,
}

impl Client {
    async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (send, connection) = within(handshake(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self {
            send,
            _tasks: tasks,
        }
    }

    /// Waits until the proxy has said that it takes WebSockets: that comes with its settings, after the first bytes.
    async fn may_connect(&self) {
        until(|| self.send.is_extended_connect_protocol_enabled()).await;
    }
}

pub async fn start(app: SocketAddr) -> (Proxy, Client) {
    let shown = Shown::new("*.ws.example.com");
    let certificates = Arc::new(Certificates::default());
    certificates.set(std::slice::from_ref(&shown.certificate));
    let proxy = Proxy::start_with(app, options(&certificates)).await;
    let stream = shown.connect_by_h2(proxy.client().await.0, HOST).await;
    let client = Client::over(stream).await;
    (proxy, client)
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("https://{HOST}{path}"))
}

/// What the app gets of such a request, but for our own lines.
const END: &str = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: alice.ws.example.com\r\n\r\n";

pub async fn body_of(body: &mut h2::RecvStream) -> String {
    let mut all = Vec::new();
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn requests_of_one_connection_pass_at_once_each_on_its_own() {
    let app = App::start().await;
    let (_proxy, mut client) = start(app.address).await;
    let get = request("GET", "/1?a=%2f")
        .header("cookie", "a=1")
        .header("cookie", "__Host-wsd=t");
    let get = get
        .header("cookie", "b=2")
        .header("x-workstead-user", "root");
    let (first, _) = client
        .send
        .send_request(get.body(()).unwrap(), true)
        .unwrap();
    let mut upstream = app.accept().await;
    upstream
        .expect(format!(
            "GET /1?a=%2f HTTP/1.1\r\nhost: {HOST}\r\ncookie: a=1; b=2\r\n{END}"
        ))
        .await;
    let get = request("GET", "/2").body(()).unwrap();
    let (second, _) = client.send.send_request(get, true).unwrap();
    let mut other = app.accept().await;
    other
        .expect(format!("GET /2 HTTP/1.1\r\nhost: {HOST}\r\n{END}"))
        .await;
    other
        .send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nsecond")
        .await;
    let response = within(second).await.unwrap();
    assert!(response.headers().get("connection").is_none());
    assert_eq!(body_of(&mut response.into_body()).await, "second");
    upstream
        .send("HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\nfirst")
        .await;
    drop(upstream);
    let response = within(first).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["x-a"], "b");
    assert_eq!(body_of(&mut response.into_body()).await, "first");
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let app = App::start().await;
    let (_proxy, mut client) = start(app.address).await;
    let post = request("POST", "/").body(()).unwrap();
    let (response, mut send) = client.send.send_request(post, false).unwrap();
    send.send_data(Bytes::from("hello"), false).unwrap();
    let mut upstream = app.accept().await;
    upstream
        .expect(format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n{END}5\r\nhello\r\n"
        ))
        .await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "5".parse().unwrap());
    send.send_trailers(trailers).unwrap();
    upstream.expect("0\r\nx-sum: 5\r\n\r\n").await;
    let long = "y".repeat(0x30000);
    upstream
        .send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30000\r\n{long}\r\n0\r\nGrpc-Status: 0\r\n\r\n"))
        .await;
    let response = within(response).await.unwrap();
    assert!(response.headers().get("transfer-encoding").is_none());
    let mut body = response.into_body();
    assert_eq!(body_of(&mut body).await, long);
    let trailers = within(poll_fn(|cx| body.poll_trailers(cx)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test]
async fn a_websocket_of_http_2_is_one_of_the_app() {
    let app = App::start().await;
    let (proxy, mut client) = start(app.address).await;
    client.may_connect().await;
    let mut connect = request("CONNECT", "/ws")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    connect
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let (response, mut send) = client.send.send_request(connect, false).unwrap();
    let mut upstream = app.accept().await;
    let head = upstream.head().await;
    assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("sec-websocket-key: "),
        "{head}"
    );
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: p\r\n\r\n")
        .await;
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().get("sec-websocket-accept").is_none());
    assert_eq!(response.headers()["sec-websocket-protocol"], "p");
    send.send_data(Bytes::from_static(b"\x81\x80\0\0\0\0"), false)
        .unwrap();
    upstream.expect(b"\x81\x80\0\0\0\0").await;
    upstream.send(b"\x81\x02ok").await;
    let mut body = response.into_body();
    let data = within(body.data()).await.unwrap().unwrap();
    assert_eq!(&data[..], b"\x81\x02ok");
    proxy.door.cut.cancel();
    upstream.ends().await;
    assert!(within(body.data()).await.unwrap().is_err(), "cut");
}

#[tokio::test]
async fn request_smuggling_what_http_1_would_not_get_nobody_gets() {
    let app = App::start().await;
    let (proxy, mut client) = start(app.address).await;
    let wrong = [
        request("GET", "/").header("host", "bob.ws.example.com"),
        request("TRACE", "/"),
        request("GET", "/").header("expect", "x"),
        Request::builder().uri("https://x@alice.ws.example.com/"),
    ];
    for request in wrong {
        let (response, _) = client
            .send
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        let response = within(response).await.unwrap();
        assert!(response.status().is_client_error(), "{response:?}");
    }
    assert_eq!(
        proxy.refused(),
        ["host_twice", "trace", "expect", "host_grammar"]
    );
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn h2_coalescing_a_host_that_the_certificate_does_not_name_is_misdirected() {
    let app = App::start().await;
    let shown = Shown::new(HOST);
    let other = Shown::new("*.ws.example.com");
    let certificates = Arc::new(Certificates::default());
    certificates.set(&[shown.certificate.clone(), other.certificate.clone()]);
    let proxy = Proxy::start_with(app.address, options(&certificates)).await;
    let ask = |host: &str, status: u16| {
        let request = Request::builder().uri(format!("https://{host}/.workstead-proxy/no"));
        (request.body(()).unwrap(), status)
    };
    let stream = shown.connect_by_h2(proxy.client().await.0, HOST).await;
    let mut alone = Client::over(stream).await;
    // The certificate of this host alone, though another one is good for its neighbours.
    for (request, status) in [ask(HOST, 401), ask("bob.ws.example.com", 421)] {
        let (response, _) = alone.send.send_request(request, true).unwrap();
        assert_eq!(within(response).await.unwrap().status(), status);
    }
    assert_eq!(proxy.refused(), ["misdirected"]);
    let bob = "bob.ws.example.com";
    let stream = other.connect_by_h2(proxy.client().await.0, bob).await;
    let mut shared = Client::over(stream).await;
    for (request, status) in [
        ask(bob, 401),
        ask("carol.ws.example.com", 401),
        ask("other.test", 421),
    ] {
        let (response, _) = shared.send.send_request(request, true).unwrap();
        assert_eq!(within(response).await.unwrap().status(), status);
    }
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn cookie_bomb_is_answered_on_http_2_too() {
    let app = App::start().await;
    let (_proxy, mut client) = start(app.address).await;
    let mut bomb = request("GET", "/");
    for number in 0..30 {
        bomb = bomb.header("cookie", format!("c{number}={}", "x".repeat(4000)));
    }
    let (response, _) = client
        .send
        .send_request(bomb.body(()).unwrap(), true)
        .unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 431);
    assert_eq!(response.headers()["clear-site-data"], "\"cookies\"");
    assert!(response.headers().get_all("set-cookie").iter().count() > 60);
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn resource_dos_long_heads_in_a_few_bytes_have_a_limit_together() {
    let app = App::start().await;
    let (_proxy, mut client) = start(app.address).await;
    let cookie = "x".repeat(3000);
    let long = |path: &str| {
        let crumbs = (0..20).fold(request("GET", path), |request, _| {
            request.header("cookie", cookie.as_str())
        });
        crumbs.body(()).unwrap()
    };
    let mut waiting = Vec::new();
    let mut refused = 0;
    for _ in 0..30 {
        let asked = long("/.workstead-proxy/never");
        let (response, _) = client.send.send_request(asked, true).unwrap();
        waiting.push(response);
    }
    // The next one finds no room: it is to come again.
    let (response, _) = client
        .send
        .send_request(long("/.workstead-proxy/no"), true)
        .unwrap();
    let error = within(response).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    for response in &mut waiting {
        if let std::task::Poll::Ready(answer) = futures::poll!(response) {
            assert_eq!(
                answer.unwrap_err().reason(),
                Some(h2::Reason::REFUSED_STREAM)
            );
            refused += 1;
        }
    }
    assert!((10..20).contains(&refused), "{refused}");
    // Those that are given up leave their room to others.
    drop(waiting);
    let answered = async {
        loop {
            let asked = long("/.workstead-proxy/no");
            let (response, _) = client.send.send_request(asked, true).unwrap();
            if let Ok(answer) = response.await {
                return answer.status();
            }
        }
    };
    assert_eq!(within(answered).await, 401);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_a_stream_that_does() {
    let app = App::start().await;
    let (_proxy, mut client) = start(app.address).await;
    let get = request("GET", "/").body(()).unwrap();
    let (response, _) = client.send.send_request(get, true).unwrap();
    let mut upstream = app.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let mut body = within(response).await.unwrap().into_body();
    assert_eq!(&within(body.data()).await.unwrap().unwrap()[..], b"hello");
    drop(upstream);
    assert!(within(body.data()).await.unwrap().is_err());
}

#[tokio::test]
async fn resource_dos_a_request_that_is_given_up_is_over_at_the_app() {
    let app = App::start().await;
    let (_proxy, mut client) = start(app.address).await;
    let get = request("GET", "/").body(()).unwrap();
    let (response, mut send) = client.send.send_request(get, true).unwrap();
    let mut upstream = app.accept().await;
    upstream.head().await;
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    upstream.ends().await;
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_takes_no_more() {
    let app = App::start().await;
    let (mut proxy, mut client) = start(app.address).await;
    let get = Request::builder()
        .method(Method::GET)
        .uri(format!("https://{HOST}/"));
    let (response, _) = client
        .send
        .send_request(get.body(()).unwrap(), true)
        .unwrap();
    let mut upstream = app.accept().await;
    upstream.head().await;
    proxy.drain.begin.cancel();
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let response = within(response).await.unwrap();
    assert_eq!(body_of(&mut response.into_body()).await, "ok");
    within(proxy.tasks.join_next()).await.unwrap().unwrap();
}
