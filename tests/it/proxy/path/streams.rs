//! WebSockets, and the end of the proxy.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rstest::rstest;
use tokio::io::AsyncWriteExt;
use workstead::proxy::forward::Forward;
use workstead::proxy::listen::Options;
use workstead::proxy::listen::limits::Limits;

use super::kit::{App, HOST, Proxy, Raw, forwarded, request, until, within};

const ASK: &str =
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
const ASKED: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// A text and a ping of a client, masked with nothing.
const TEXT: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
const PING: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];

async fn switched(app: &App, proxy: &Proxy) -> (Raw, Raw) {
    let mut client = proxy.client().await;
    client.send(request("GET /ws HTTP/1.1", ASK)).await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET /ws HTTP/1.1", ASKED)).await;
    upstream.send(SWITCH).await;
    client.expect(SWITCH).await;
    (client, upstream)
}

#[tokio::test]
async fn a_websocket_is_a_copy_of_bytes_and_only_data_of_the_client_counts() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = switched(&app, &proxy).await;
    let touched = || proxy.door.meter.touched.load(Ordering::SeqCst);
    assert_eq!(touched(), 1, "the request");
    client.send(PING).await;
    upstream.expect(PING).await;
    upstream.send(b"\x81\x02ok").await;
    client.expect(b"\x81\x02ok").await;
    assert_eq!(touched(), 1);
    client.send(TEXT).await;
    upstream.expect(TEXT).await;
    until(|| touched() == 2).await;
    client.0.shutdown().await.unwrap();
    upstream.ends().await;
    // The other way goes on for a while.
    upstream.send(b"\x88\x00").await;
    client.expect(b"\x88\x00").await;
    drop(upstream);
    client.ends().await;
    until(|| !proxy.door.meter.ended.lock().unwrap().is_empty()).await;
    let ended = proxy.door.meter.ended.lock().unwrap().remove(0);
    assert_eq!(
        (ended.status, ended.received, ended.sent),
        (Some(101), 14, 6)
    );
    assert_eq!(proxy.door.meter.upgraded.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_sent_ahead_of_the_switch_arrives_after_it() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send([request("GET /ws HTTP/1.1", ASK).as_bytes(), TEXT].concat())
        .await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET /ws HTTP/1.1", ASKED)).await;
    upstream
        .send([SWITCH.as_bytes(), b"\x81\x02ok"].concat())
        .await;
    client
        .expect([SWITCH.as_bytes(), b"\x81\x02ok"].concat())
        .await;
    upstream.expect(TEXT).await;
}

#[rstest]
#[case::refused("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")]
#[case::taken_for_a_page("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]
#[tokio::test]
async fn request_smuggling_without_a_switch_what_follows_an_upgrade_reaches_nobody(
    #[case] response: &str,
) {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let smuggled = request("GET /admin HTTP/1.1", "");
    client
        .send(request("GET /ws HTTP/1.1", ASK) + &smuggled)
        .await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET /ws HTTP/1.1", ASKED)).await;
    upstream.send(response).await;
    let answer = client.rest().await;
    let head = response.strip_suffix("\r\n").unwrap();
    assert_eq!(answer, format!("{head}Connection: close\r\n\r\n"));
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn a_switch_to_something_else_is_none() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client.send(request("GET /ws HTTP/1.1", ASK)).await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        .await;
    assert!(client.rest().await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_a_request_like_any_other() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    client.send(request("GET / HTTP/1.1", lines)).await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET / HTTP/1.1", "")).await;
}

#[tokio::test]
async fn a_right_that_ends_cuts_the_websocket() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = switched(&app, &proxy).await;
    proxy.door.cut.cancel();
    client.ends().await;
    upstream.ends().await;
}

#[tokio::test]
async fn at_the_end_of_the_drain_a_websocket_is_told_so_between_two_frames() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let (mut client, mut upstream) = switched(&app, &proxy).await;
    proxy.drain.begin.cancel();
    client.send(TEXT).await;
    upstream.expect(TEXT).await;
    // A frame that has begun.
    upstream.send(b"\x81\x05he").await;
    client.expect(b"\x81\x05he").await;
    proxy.drain.end.cancel();
    upstream.expect(b"\x88\x82\0\0\0\0\x03\xf4").await;
    upstream.send(b"llo\x81\x01x").await;
    client.expect(b"llo\x88\x02\x03\xf4").await;
    client.ends().await;
    upstream.ends().await;
}

#[tokio::test]
async fn resource_dos_a_place_is_free_again_however_a_request_ends() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    // Whole; the connection stays.
    let mut whole = proxy.client().await;
    whole.send(request("GET / HTTP/1.1", "")).await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    assert_eq!(proxy.permits(), 1);
    upstream
        .send("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n")
        .await;
    whole.head().await;
    until(|| proxy.permits() == 0).await;
    // The client leaves in the middle of its body.
    let mut client = proxy.client().await;
    let head = request("POST / HTTP/1.1", "Content-Length: 9\r\n");
    client.send(head + "half").await;
    app.accept().await.head().await;
    assert_eq!(proxy.permits(), 1);
    drop(client);
    until(|| proxy.permits() == 0).await;
    // The app breaks off in the middle of its response.
    let mut client = proxy.client().await;
    client.send(request("GET / HTTP/1.1", "")).await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    drop(upstream);
    client.rest().await;
    until(|| proxy.permits() == 0).await;
    // A WebSocket, by either side.
    for is_client in [true, false] {
        let (client, upstream) = switched(&app, &proxy).await;
        assert_eq!(proxy.permits(), 1);
        let (mut left, gone) = if is_client {
            (upstream, client)
        } else {
            (client, upstream)
        };
        drop(gone);
        left.ends().await;
        drop(left);
        until(|| proxy.permits() == 0).await;
    }
}

#[tokio::test]
async fn a_websocket_that_says_nothing_for_too_long_is_told_that_it_ends() {
    const LIMIT: Duration = Duration::from_millis(1500);
    let app = App::start().await;
    let forward = Forward {
        silent_stream: Some(LIMIT),
        ..Forward::default()
    };
    let proxy = Proxy::start_by(app.address, Options::default(), forward).await;
    let (mut client, mut upstream) = switched(&app, &proxy).await;
    // Either side keeps it open.
    let mut spoken = tokio::time::Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(LIMIT / 4).await;
        client.send(TEXT).await;
        upstream.expect(TEXT).await;
        tokio::time::sleep(LIMIT / 4).await;
        spoken = tokio::time::Instant::now();
        upstream.send(b"\x81\x01x").await;
        client.expect(b"\x81\x01x").await;
    }
    client.expect(b"\x88\x02\x03\xe9").await;
    assert!(spoken.elapsed() >= LIMIT, "no earlier than after its limit");
    upstream.expect(b"\x88\x82\0\0\0\0\x03\xe9").await;
    client.ends().await;
    upstream.ends().await;
}

#[tokio::test]
async fn a_drain_ends_connections_with_their_next_response_and_idle_ones_soon() {
    let app = App::start().await;
    let mut proxy = Proxy::start(app.address).await;
    let (mut idle, mut busy) = (proxy.client().await, proxy.client().await);
    let mut asking = proxy.client().await;
    let own = || request("GET /.workstead-proxy/no HTTP/1.1", "");
    for client in [&mut idle, &mut asking] {
        client.send(own()).await;
        let head = client.head().await;
        assert!(!head.contains("connection: close"), "{head}");
        client.expect("no").await;
    }
    busy.send(request("GET / HTTP/1.1", "")).await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    proxy.drain.begin.cancel();
    // It may have been on its way already: it is answered, and the answer says that it was the last.
    asking.send(own()).await;
    let head = asking.head().await;
    assert!(head.contains("connection: close"), "{head}");
    asking.expect("no").await;
    asking.ends().await;
    idle.ends().await;
    upstream.send("HTTP/1.1 204 No\r\n\r\n").await;
    assert_eq!(
        busy.rest().await,
        "HTTP/1.1 204 No\r\nConnection: close\r\n\r\n"
    );
    drop((idle, asking, busy));
    within(proxy.tasks.join_next()).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(proxy.address).await.is_err());
}

#[tokio::test]
async fn a_drain_has_a_limit() {
    let app = App::start().await;
    let options = Options {
        drain_limit: Duration::from_millis(100),
        ..Options::default()
    };
    let mut proxy = Proxy::start_with(app.address, options).await;
    let (mut client, mut upstream) = switched(&app, &proxy).await;
    proxy.drain.begin.cancel();
    client.expect(b"\x88\x02\x03\xf4").await;
    upstream.expect(b"\x88\x82\0\0\0\0\x03\xf4").await;
    drop((client, upstream));
    within(proxy.tasks.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn resource_dos_connections_of_one_address_have_a_number() {
    let app = App::start().await;
    let limits = Limits {
        connections: 10,
        per_address: 2,
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let proxy = Proxy::start_with(app.address, options).await;
    let (mut first, _second) = (proxy.client().await, proxy.client().await);
    let ask = format!("GET /.workstead-proxy/no HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    first.send(&ask).await;
    first.head().await;
    let mut third = proxy.client().await;
    third.ends().await;
    assert_eq!(proxy.refused(), ["connections_per_address"]);
    drop(first);
    let mut answered = false;
    for _ in 0..100 {
        let mut fourth = proxy.client().await;
        fourth.try_send(&ask).await;
        answered = fourth.0.readable().await.is_ok() && proxy.refused().len() < 100;
        let mut byte = [0; 1];
        if fourth.0.try_read(&mut byte).is_ok_and(|read| read == 1) {
            break;
        }
        answered = false;
    }
    assert!(answered);
}
