//! Bodies of requests, as they come.

use rstest::rstest;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::{App, Proxy, forwarded, request, within};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[tokio::test]
async fn chunks_and_trailers_go_on_byte_for_byte_as_they_come() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request("POST / HTTP/1.1", CHUNKED) + "00005\r\nhe")
        .await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("POST / HTTP/1.1", CHUNKED) + "00005\r\nhe")
        .await;
    client.send("llo\r\n").await;
    upstream.expect("llo\r\n").await;
    client.send("0\r\nX-Sum: 5\r\n").await;
    upstream.expect("0\r\nX-Sum: 5\r\n").await;
    client.send("\r\n").await;
    upstream.expect("\r\n").await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.expect("HTTP/1.1 204 No Content\r\n\r\n").await;
}

#[rstest]
#[case::size("x\r\n", "chunk_size")]
#[case::sign("+5\r\nhello\r\n", "chunk_size")]
#[case::extension("5;a\r\nhello\r\n", "chunk_extension")]
#[case::longer_than_said("3\r\nhello\r\n", "chunk_end")]
#[case::bare_lf("5\nhello\r\n", "bare_lf")]
#[case::framing_in_trailer("0\r\nContent-Length: 9\r\n\r\n", "trailer_name")]
#[case::identity_in_trailer("0\r\nX-Forwarded-User: root\r\n\r\n", "trailer_name")]
#[tokio::test]
async fn request_smuggling_bad_chunks_close_both_sides(#[case] body: &str, #[case] rule: &str) {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request("POST / HTTP/1.1", CHUNKED) + "2\r\nok\r\n")
        .await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("POST / HTTP/1.1", CHUNKED) + "2\r\nok\r\n")
        .await;
    client.send(body).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        !upstream.rest().await.contains("0\r\n\r\n"),
        "no end of the body was made up"
    );
    assert_eq!(proxy.refused(), [rule]);
}

#[tokio::test]
async fn request_smuggling_what_follows_a_body_is_the_next_request() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let smuggled = "GET /admin HTTP/1.1\r\nHost: bob.ws.example.com\r\nHost: x\r\n\r\n";
    client
        .send(request("POST / HTTP/1.1", "Content-Length: 2\r\n") + "ok" + smuggled)
        .await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("POST / HTTP/1.1", "Content-Length: 2\r\n") + "ok")
        .await;
    upstream.send("HTTP/1.1 204 No\r\n\r\n").await;
    client.expect("HTTP/1.1 204 No\r\n\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
    assert_eq!(proxy.refused(), ["host_twice"]);
}

#[tokio::test]
async fn a_word_to_go_on_comes_from_the_app() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let lines = "Content-Length: 3\r\nExpect: 100-continue\r\n";
    client.send(request("PUT / HTTP/1.1", lines)).await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("PUT / HTTP/1.1", lines)).await;
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("abc").await;
    upstream.expect("abc").await;
    upstream
        .send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .await;
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_still_sends() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request("POST / HTTP/1.1", "Content-Length: 1000000\r\n") + "abc")
        .await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let answer = client.rest().await;
    assert_eq!(
        answer,
        "HTTP/1.1 413 Too large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    );
    upstream.rest().await;
}

#[tokio::test]
async fn both_bodies_pass_at_once() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request("POST / HTTP/1.1", CHUNKED) + "1\r\na\r\n")
        .await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("POST / HTTP/1.1", CHUNKED) + "1\r\na\r\n")
        .await;
    upstream
        .send(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n1\r\nA\r\n"))
        .await;
    client
        .expect(format!(
            "HTTP/1.1 200 OK\r\n{CHUNKED}Connection: close\r\n\r\n1\r\nA\r\n"
        ))
        .await;
    client.send("1\r\nb\r\n0\r\n\r\n").await;
    upstream.expect("1\r\nb\r\n0\r\n\r\n").await;
    upstream.send("1\r\nB\r\n0\r\n\r\n").await;
    client.expect("1\r\nB\r\n0\r\n\r\n").await;
    client.ends().await;
}

#[tokio::test]
async fn resource_dos_an_app_that_does_not_read_stops_the_client() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request("POST / HTTP/1.1", "Content-Length: 1000000000\r\n"))
        .await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    let piece = vec![b'x'; 1024 * 1024];
    let mut sent = 0;
    // Kernels buffer some megabytes; a proxy that buffered would take them all.
    let stopped = tokio::time::timeout(Duration::from_secs(2), async {
        loop {
            sent += client.0.write(&piece).await.unwrap();
        }
    });
    assert!(stopped.await.is_err());
    assert!(sent < 100_000_000, "{sent}");
    let mut got = vec![0; sent];
    within(upstream.0.read_exact(&mut got)).await.unwrap();
}
