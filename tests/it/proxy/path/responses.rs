//! What of a response reaches the client.

use std::sync::atomic::Ordering;

use http::HeaderValue;
use rstest::rstest;

use super::kit::{App, Proxy, Raw, forwarded, request, until};

async fn asked(app: &App, proxy: &Proxy, line: &str) -> (Raw, Raw) {
    let mut client = proxy.client().await;
    client.send(request(line, "")).await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded(line, "")).await;
    (client, upstream)
}

#[tokio::test]
async fn events_pass_one_by_one_and_trailers_at_the_end() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.send(head).await;
    client.expect(head).await;
    for event in ["9\r\ndata: a\n\n\r\n", "9\r\ndata: b\n\n\r\n"] {
        upstream.send(event).await;
        client.expect(event).await;
    }
    upstream.send("0\r\nGrpc-Status: 0\r\n\r\n").await;
    client.expect("0\r\nGrpc-Status: 0\r\n\r\n").await;
    client.send(request("GET /again HTTP/1.1", "")).await;
    upstream.expect(forwarded("GET /again HTTP/1.1", "")).await;
}

#[tokio::test]
async fn a_response_to_head_has_no_body() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "HEAD / HTTP/1.1").await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        .await;
    client.send(request("GET /1 HTTP/1.1", "")).await;
    upstream.expect(forwarded("GET /1 HTTP/1.1", "")).await;
    upstream
        .send("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
        .await;
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_ends_ours() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\nhello").await;
    client
        .expect("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
        .await;
    upstream.send(" world").await;
    drop(upstream);
    client.expect(" world").await;
    client.ends().await;
}

#[tokio::test]
async fn a_connection_that_the_app_closes_is_opened_anew() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    client.send(request("GET /2 HTTP/1.1", "")).await;
    let mut second = app.accept().await;
    second.expect(forwarded("GET /2 HTTP/1.1", "")).await;
    second
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    until(|| proxy.forward.pool.len() == 1).await;
    drop(second);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    client
        .send(request("POST /3 HTTP/1.1", "Content-Length: 0\r\n"))
        .await;
    let mut third = app.accept().await;
    third
        .expect(forwarded("POST /3 HTTP/1.1", "Content-Length: 0\r\n"))
        .await;
}

#[tokio::test]
async fn pod_ip_reuse_connections_of_a_pod_that_is_gone_are_closed() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream.send("HTTP/1.1 204 No\r\n\r\n").await;
    client.expect("HTTP/1.1 204 No\r\n\r\n").await;
    proxy.forward.pool.close(|key| &*key.pod == "p");
    upstream.ends().await;
}

#[rstest]
#[case(
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length_and_coding"
)]
#[case(
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "length_twice"
)]
#[case("HTTP/1.1 200 OK\nContent-Length: 1\n\nx", "bare_lf")]
#[case("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "folded")]
#[case(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "switch"
)]
#[case("SSH-2.0-OpenSSH_9.2\r\n\r\n", "version")]
#[tokio::test]
async fn request_smuggling_a_response_that_breaks_a_rule_is_a_page_of_ours(
    #[case] response: &str,
    #[case] rule: &str,
) {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream.send(response).await;
    let body = format!("the app's response broke the rule {rule}");
    let length = body.len();
    client
        .expect(format!(
            "HTTP/1.1 502 Bad Gateway\r\nx-workstead-proxy: 1\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    upstream.rest().await;
    assert!(proxy.forward.pool.is_empty());
}

#[rstest]
#[case("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n")]
#[tokio::test]
async fn a_response_that_breaks_off_breaks_off(#[case] response: &str) {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream.send(response).await;
    drop(upstream);
    let got = client.rest().await;
    assert!(response.starts_with(&got), "{got}");
}

#[tokio::test]
async fn what_follows_a_response_unasked_is_nobodys() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    upstream
        .send(format!(
            "{response}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        ))
        .await;
    client.expect(response).await;
    client.send(request("GET /2 HTTP/1.1", "")).await;
    let mut second = app.accept().await;
    second.expect(forwarded("GET /2 HTTP/1.1", "")).await;
}

#[tokio::test]
async fn cookies_of_ours_come_from_us_alone_and_others_stay_on_their_host() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    *proxy.door.set_cookie.lock().unwrap() = Some(HeaderValue::from_static("__Host-wsd=new"));
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream
        .send(
            "HTTP/1.1 200 OK\r\nSet-Cookie: __Host-wsd=evil\r\nset-cookie: a=b; Domain=.example.com; Path=/\r\n\
            Content-Length: 0\r\nAlt-Svc: h3\r\nClear-Site-Data: \"cookies\", \"cache\"\r\n\r\n",
        )
        .await;
    client
        .expect(
            "HTTP/1.1 200 OK\r\nset-cookie: a=b; Path=/\r\nContent-Length: 0\r\nClear-Site-Data: \"cache\"\r\n\
            Set-Cookie: __Host-wsd=new\r\n\r\n",
        )
        .await;
    until(|| !proxy.door.meter.ended.lock().unwrap().is_empty()).await;
    let ended = proxy.door.meter.ended.lock().unwrap().remove(0);
    assert_eq!((ended.cookies_dropped, ended.domains_removed), (1, 1));
    assert_eq!(ended.status, Some(200));
    assert_eq!(proxy.door.meter.touched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_right_that_ends_cuts_the_response() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = asked(&app, &proxy, "GET / HTTP/1.1").await;
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    proxy.door.cut.cancel();
    client.ends().await;
    upstream.ends().await;
}
