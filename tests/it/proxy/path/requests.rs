//! What of a request reaches the app.

use rstest::rstest;

use super::kit::{App, HOST, Proxy, forwarded, nobody, request};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_of_one_connection_go_on_one_after_the_other() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    // Both at once: the second waits for the response to the first.
    client
        .send(request("GET /1?a=%2f HTTP/1.1", "x-Case: Kept\r\n"))
        .await;
    client
        .send(request("POST /2 HTTP/1.1", "Content-Length: 3\r\n") + "abc")
        .await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("GET /1?a=%2f HTTP/1.1", "x-Case: Kept\r\n"))
        .await;
    upstream.send(OK).await;
    client.expect(OK).await;
    upstream
        .expect(forwarded("POST /2 HTTP/1.1", "Content-Length: 3\r\n") + "abc")
        .await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert!(app.is_untouched().await, "the connection was kept");
}

#[tokio::test]
async fn session_reaches_the_app_never() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let cookies = "cookie: a=\"b; __Host-wsd=token; c=;  d[]=e\r\nCookie: __Host-wsd-auth=x\r\n";
    client.send(request("GET / HTTP/1.1", cookies)).await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("GET / HTTP/1.1", "cookie: a=\"b; c=;  d[]=e\r\n"))
        .await;
}

#[rstest]
#[case::length_and_coding(
    "POST / HTTP/1.1",
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "400",
    "length_and_coding"
)]
#[case::two_lengths(
    "POST / HTTP/1.1",
    "Content-Length: 4\r\nContent-Length: 4\r\n",
    "400",
    "length_twice"
)]
#[case::odd_coding("POST / HTTP/1.1", "Transfer-Encoding: xchunked\r\n", "400", "coding")]
#[case::folded("GET / HTTP/1.1", "A: b\r\n c\r\n", "400", "folded")]
#[case::bare_lf("GET / HTTP/1.1", "A: b\nC: d\r\n", "400", "bare_lf")]
#[case::blank_before_colon("GET / HTTP/1.1", "A : b\r\n", "400", "field_name")]
#[case::two_hosts("GET / HTTP/1.1", "Host: bob.ws.example.com\r\n", "400", "host_twice")]
#[case::other_host_in_url("GET http://bob.ws.example.com/ HTTP/1.1", "", "400", "target_host")]
#[case::user_in_url(
    "GET http://x@alice.ws.example.com/ HTTP/1.1",
    "",
    "400",
    "host_grammar"
)]
#[case::connect("CONNECT alice.ws.example.com:443 HTTP/1.1", "", "400", "connect")]
#[case::trace("TRACE / HTTP/1.1", "", "400", "trace")]
#[case::version("GET / HTTP/1.2", "", "505", "version")]
#[case::expectation("GET / HTTP/1.1", "Expect: x\r\n", "417", "expect")]
#[case::connection_drops_cookies(
    "GET / HTTP/1.1",
    "Connection: Cookie\r\n",
    "400",
    "connection_names"
)]
#[case::upgrade_with_body(
    "GET / HTTP/1.1",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n",
    "400",
    "upgrade"
)]
#[tokio::test]
async fn request_smuggling_what_breaks_a_rule_is_counted_and_reaches_no_app(
    #[case] line: &str,
    #[case] lines: &str,
    #[case] status: &str,
    #[case] rule: &str,
) {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client.send(request(line, lines)).await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(proxy.refused(), [rule]);
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn host_confusion_a_host_that_is_no_name_is_refused() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    for host in [
        "",
        "a@alice.ws.example.com",
        "alice.ws.example.com.",
        "a b",
        "[::1]",
    ] {
        let mut client = proxy.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
    }
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn identity_header_injection_only_our_word_of_the_client_reaches_the_app() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let lines = "X-Workstead-Assertion: x\r\nx_workstead_user: x\r\nX-Forwarded-For: 10.0.0.1\r\n\
        X_Forwarded_Host: evil.test\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nRemote-User: root\r\n\
        Accept: */*\r\n";
    client.send(request("GET / HTTP/1.1", lines)).await;
    let mut upstream = app.accept().await;
    upstream
        .expect(forwarded("GET / HTTP/1.1", "Accept: */*\r\n"))
        .await;
}

#[tokio::test]
async fn cookie_bomb_is_answered_with_its_end() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    for size in [70_000, 200_000] {
        let mut client = proxy.client().await;
        let value = "x".repeat(4000);
        let cookies: Vec<String> = (0..size / 4000)
            .map(|number| format!("c{number}={value}"))
            .collect();
        client
            .send(request(
                "GET / HTTP/1.1",
                &format!("Cookie: {}\r\n", cookies.join("; ")),
            ))
            .await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(
            answer.contains("clear-site-data: \"cookies\"\r\n"),
            "{answer}"
        );
        for domain in ["ws.example.com", "example.com"] {
            let line = format!("set-cookie: c7=; Max-Age=0; Path=/; Domain={domain}\r\n");
            assert!(answer.contains(&line), "{answer}");
        }
    }
    assert!(app.is_untouched().await);
    assert_eq!(proxy.refused(), ["head_length"; 2]);
}

#[tokio::test]
async fn cookie_bomb_that_only_the_app_finds_too_long_is_answered_the_same() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let cookie = format!("Cookie: c={}\r\n", "x".repeat(40_000));
    client.send(request("GET / HTTP/1.1", &cookie)).await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET / HTTP/1.1", &cookie)).await;
    upstream
        .send("HTTP/1.1 431 Too Large\r\nConnection: close\r\n\r\n")
        .await;
    let answer = client.rest().await;
    assert!(
        answer.contains("clear-site-data: \"cookies\"\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("set-cookie: c=; Max-Age=0; Path=/; Domain=ws.example.com\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn cookie_bomb_without_end_is_answered_too() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let head = request(
        "GET / HTTP/1.1",
        &format!("Cookie: c={}", "x".repeat(600_000)),
    );
    client.try_send(head).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn an_answer_of_ours_keeps_the_connection_and_its_place_in_it() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let post = "POST /.workstead-proxy/no HTTP/1.1";
    client
        .send(request(post, "Content-Length: 30000\r\n") + &"x".repeat(30_000))
        .await;
    client
        .expect("HTTP/1.1 401 Unauthorized\r\nx-workstead-proxy: 1\r\ncontent-length: 2\r\n\r\nno")
        .await;
    client
        .send(request("HEAD /.workstead-proxy/no HTTP/1.1", ""))
        .await;
    client
        .expect("HTTP/1.1 401 Unauthorized\r\nx-workstead-proxy: 1\r\ncontent-length: 2\r\n\r\n")
        .await;
    let chunks = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let post = "POST /.workstead-proxy/echo HTTP/1.1";
    client
        .send(request(post, "Transfer-Encoding: chunked\r\n") + chunks)
        .await;
    client
        .expect("HTTP/1.1 200 OK\r\nx-workstead-proxy: 1\r\ncontent-length: 5\r\n\r\nabcde")
        .await;
    client
        .send(request(
            post,
            "Content-Length: 3\r\nExpect: 100-continue\r\n",
        ))
        .await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("xyz").await;
    client
        .expect("HTTP/1.1 200 OK\r\nx-workstead-proxy: 1\r\ncontent-length: 3\r\n\r\nxyz")
        .await;
    client
        .send(request(post, "Content-Length: 20000\r\n") + &"x".repeat(20_000))
        .await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn a_body_that_waits_for_a_word_is_not_waited_for_after_an_answer() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    let lines = "Content-Length: 3\r\nExpect: 100-continue\r\n";
    client
        .send(request("POST /.workstead-proxy/no HTTP/1.1", lines))
        .await;
    let answer = client.rest().await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn http_1_0_gets_one_response() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request("GET / HTTP/1.0", "Connection: keep-alive\r\n"))
        .await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET / HTTP/1.0", "")).await;
    upstream.send("HTTP/1.0 200 OK\r\n\r\nhello").await;
    drop(upstream);
    assert_eq!(
        client.rest().await,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens_gets_the_page_of_the_door() {
    let proxy = Proxy::start(nobody().await).await;
    let mut client = proxy.client().await;
    client.send(request("GET / HTTP/1.1", "")).await;
    client
        .expect(
            "HTTP/1.1 502 Bad Gateway\r\nx-workstead-proxy: 1\r\ncontent-length: 31\r\n\r\nthe port refused the connection",
        )
        .await;
    client
        .send(request("POST / HTTP/1.1", "Content-Length: 3\r\n"))
        .await;
    assert!(client.rest().await.contains("connection: close\r\n"));
}

#[tokio::test]
async fn the_host_of_a_url_is_the_host() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client
        .send(request(
            &format!("GET http://{}/x HTTP/1.1", HOST.to_uppercase()),
            "",
        ))
        .await;
    let mut upstream = app.accept().await;
    upstream.expect(forwarded("GET /x HTTP/1.1", "")).await;
}

#[tokio::test]
async fn resource_dos_a_client_that_leaves_is_not_waited_for() {
    let app = App::start().await;
    let proxy = Proxy::start(app.address).await;
    let mut client = proxy.client().await;
    client.send(request("GET / HTTP/1.1", "")).await;
    let mut upstream = app.accept().await;
    upstream.head().await;
    drop(client);
    upstream.ends().await;
    let mut client = proxy.client().await;
    client
        .send(request("GET /.workstead-proxy/never HTTP/1.1", ""))
        .await;
    drop(client);
}
