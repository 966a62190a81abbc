use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn read(head: &str) -> Result<RequestHead, Violation> {
    let mut request = RequestHead::default();
    request.read(head.as_bytes()).map(|()| request)
}

/// A request with these header lines beside `Host`.
fn with(lines: &str) -> Result<RequestHead, Violation> {
    read(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"))
}

#[rstest]
#[case("GET /a/../b%2f?q=1 HTTP/1.1", Ok("/a/../b%2f?q=1"))]
#[case("GET //evil.test/ HTTP/1.1", Ok("//evil.test/"))]
#[case("GET /\\|{}^ HTTP/1.1", Ok("/\\|{}^"))]
#[case("PROPFIND / HTTP/1.1", Ok("/"))]
#[case("GET / HTTP/1.0", Ok("/"))]
#[case("OPTIONS * HTTP/1.1", Ok("*"))]
#[case("GET http://a.test/b?c HTTP/1.1", Ok("/b?c"))]
#[case("GET HTTPS://a.test HTTP/1.1", Ok("/"))]
#[case("OPTIONS http://a.test HTTP/1.1", Ok("*"))]
#[case("GET * HTTP/1.1", Err(Violation::TargetForm))]
#[case("GET a.test:80 HTTP/1.1", Err(Violation::TargetForm))]
#[case("GET ftp://a.test/ HTTP/1.1", Err(Violation::TargetForm))]
#[case("GET http:/a.test/ HTTP/1.1", Err(Violation::TargetForm))]
#[case("GET a HTTP/1.1", Err(Violation::TargetForm))]
#[case("CONNECT a.test:443 HTTP/1.1", Err(Violation::Connect))]
#[case("TRACE / HTTP/1.1", Err(Violation::Trace))]
#[case("GET /#a HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET /a b HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET /\ta HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET /\0 HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET /\r HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET /ä HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET  / HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET /  HTTP/1.1", Err(Violation::TargetByte))]
#[case("GET / HTTP/1.1 ", Err(Violation::RequestLine))]
#[case(" GET / HTTP/1.1", Err(Violation::Method))]
#[case("G(T / HTTP/1.1", Err(Violation::Method))]
#[case("GET\t/\tHTTP/1.1", Err(Violation::RequestLine))]
#[case("GET /", Err(Violation::RequestLine))]
#[case("GET", Err(Violation::RequestLine))]
#[case("GET  HTTP/1.1", Err(Violation::RequestLine))]
#[case("GET / http/1.1", Err(Violation::RequestLine))]
#[case("GET / HTTP/1.2", Err(Violation::Version))]
#[case("GET / HTTP/2.0", Err(Violation::Version))]
#[case("PRI * HTTP/2.0", Err(Violation::Version))]
#[case("GET / HTTP/0.9", Err(Violation::Version))]
#[case("GET / HTTP/1.10", Err(Violation::Version))]
fn a_request_line_is_method_target_and_version(
    #[case] line: &str,
    #[case] expected: Result<&str, Violation>,
) {
    let got = read(&format!("{line}\r\nHost: a.test\r\n\r\n"));
    let got = got.map(|head| head.target().to_owned());
    assert_eq!(got, expected.map(str::to_owned));
}

#[rstest]
#[case("", Violation::HostMissing)]
#[case("Host: a.test\r\nHost: a.test\r\n", Violation::HostTwice)]
#[case("Host: a.test\r\nhost: b.test\r\n", Violation::HostTwice)]
fn host_confusion_a_request_names_one_host(#[case] lines: &str, #[case] expected: Violation) {
    for version in ["1.0", "1.1"] {
        let got = read(&format!("GET / HTTP/{version}\r\n{lines}\r\n"));
        assert_eq!(got.err(), Some(expected));
    }
}

#[test]
fn host_confusion_the_host_of_a_target_is_kept_for_comparison() {
    let head = read("GET http://b@a.test:80/x HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(head.authority(), Some(&b"b@a.test:80"[..]));
    assert_eq!(head.host_value(), b"a.test");
    assert_eq!(with("").unwrap().authority(), None);
}

#[rstest]
#[case("Content-Length: 5\r\n", Ok(Framing::Length(5)))]
#[case("content-length:5\r\n", Ok(Framing::Length(5)))]
#[case("Content-Length: 0\r\n", Ok(Framing::NONE))]
#[case("", Ok(Framing::NONE))]
#[case("Transfer-Encoding: chunked\r\n", Ok(Framing::CHUNKED))]
#[case(
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    Err(Violation::LengthAndCoding)
)]
#[case(
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    Err(Violation::LengthAndCoding)
)]
#[case(
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    Err(Violation::LengthTwice)
)]
#[case(
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    Err(Violation::LengthTwice)
)]
#[case("Content-Length: 5, 5\r\n", Err(Violation::Length))]
#[case("Content-Length: +5\r\n", Err(Violation::Length))]
#[case("Content-Length: -1\r\n", Err(Violation::Length))]
#[case("Content-Length: 0x5\r\n", Err(Violation::Length))]
#[case("Content-Length: 5 5\r\n", Err(Violation::Length))]
#[case("Content-Length:\r\n", Err(Violation::Length))]
#[case("Content-Length: 99999999999999999999\r\n", Err(Violation::Length))]
#[case(
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    Err(Violation::CodingTwice)
)]
#[case(
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    Err(Violation::CodingTwice)
)]
#[case("Transfer-Encoding: gzip, chunked\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding: chunked, chunked\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding: Chunked\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding: xchunked\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding: identity\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding: \"chunked\"\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding: chunked;a=b\r\n", Err(Violation::Coding))]
#[case("Transfer-Encoding:\x0bchunked\r\n", Err(Violation::FieldValue))]
#[case("Transfer-Encoding : chunked\r\n", Err(Violation::FieldName))]
#[case("Transfer-Encoding\r\n : chunked\r\n", Err(Violation::FieldColon))]
#[case("A: b\r\n Transfer-Encoding: chunked\r\n", Err(Violation::Folded))]
#[case("Transfer-Encoding:\r\n chunked\r\n", Err(Violation::Folded))]
#[case("A: b\rTransfer-Encoding: chunked\r\n", Err(Violation::FieldValue))]
fn request_smuggling_a_body_ends_in_one_place(
    #[case] lines: &str,
    #[case] expected: Result<Framing, Violation>,
) {
    assert_eq!(with(lines).map(|head| head.framing()), expected);
}

#[test]
fn request_smuggling_http_1_0_has_no_chunks() {
    let head = "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read(head).err(), Some(Violation::CodingIn10));
}

#[rstest]
#[case("Connection: close\r\n", false)]
#[case("Connection: keep-alive\r\n", true)]
#[case("Connection: keep-alive, CLOSE\r\n", false)]
#[case("Connection: keep-alive\r\nConnection: close\r\n", false)]
#[case("", true)]
fn a_connection_is_kept_as_the_client_says(#[case] lines: &str, #[case] kept: bool) {
    assert_eq!(with(lines).unwrap().keeps_alive(), kept);
}

#[rstest]
#[case("Cookie")]
#[case("Host")]
#[case("Authorization")]
#[case("Content-Length")]
#[case("Origin")]
#[case("Sec-Fetch-Site")]
#[case("Sec-WebSocket-Key")]
#[case("X-Forwarded-For")]
#[case("X-Workstead-Assertion")]
#[case("x_workstead_assertion")]
#[case("Accept-Encoding")]
#[case("If-None-Match")]
#[case("\"x\"")]
fn identity_header_injection_connection_drops_nothing_that_must_arrive(#[case] name: &str) {
    let got = with(&format!("Connection: close, {name}\r\n"));
    assert_eq!(got.err(), Some(Violation::ConnectionNames));
}

#[test]
fn resource_dos_connection_names_few_headers() {
    let names = |count: usize| vec!["x"; count].join(",");
    assert!(with(&format!("Connection: {}\r\n", names(16))).is_ok());
    let got = with(&format!("Connection: {}\r\n", names(17)));
    assert_eq!(got.err(), Some(Violation::ConnectionNames));
}

#[test]
fn what_connection_names_is_the_connections_own() {
    let head = with("Connection: TE, x-mine\r\nX-Mine: 1\r\nX-Other: 2\r\n").unwrap();
    let kinds: Vec<Kind> = head
        .lines()
        .fields()
        .iter()
        .map(|field| field.kind)
        .collect();
    assert_eq!(
        kinds,
        [Kind::Host, Kind::Connection, Kind::Hop, Kind::Plain]
    );
}

#[rstest]
#[case("Connection: Upgrade\r\nUpgrade: websocket\r\n", true)]
#[case("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", true)]
#[case(
    "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    true
)]
#[case(
    "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
    true
)]
#[case("Upgrade: websocket\r\n", false)]
#[case("Connection: Upgrade\r\n", false)]
#[case(
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    false
)]
#[case("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n", false)]
#[case("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", false)]
#[case("Connection: Upgrade\r\nUpgrade: websocket/13\r\n", false)]
fn an_upgrade_is_asked_for_in_one_way(#[case] lines: &str, #[case] is_websocket: bool) {
    assert_eq!(with(lines).unwrap().is_websocket(), is_websocket);
}

#[rstest]
#[case("POST / HTTP/1.1", "")]
#[case("GET / HTTP/1.0", "")]
#[case("GET / HTTP/1.1", "Content-Length: 1\r\n")]
#[case("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n")]
fn request_smuggling_an_upgrade_has_no_body(#[case] line: &str, #[case] lines: &str) {
    let head = format!(
        "{line}\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\r\n"
    );
    assert_eq!(read(&head).err(), Some(Violation::Upgrade));
}

#[test]
fn an_expectation_is_known_or_refused() {
    let head = with("Expect: 100-Continue\r\nContent-Length: 5\r\n").unwrap();
    assert!(head.expects_continue());
    assert!(!with("Expect: 100-continue\r\n").unwrap().expects_continue());
    assert_eq!(with("Expect: 200-ok\r\n").err(), Some(Violation::Expect));
}

#[test]
fn a_head_forgets_the_one_before() {
    let mut head = RequestHead::default();
    let first = "POST http://a.test HTTP/1.0\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n";
    head.read(first.as_bytes()).unwrap();
    let upgrade =
        "GET /x HTTP/1.1\r\nHost: b.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    head.read(upgrade.as_bytes()).unwrap();
    assert_eq!((head.target(), head.host_value()), ("/x", &b"b.test"[..]));
    assert_eq!((head.authority(), head.framing()), (None, Framing::NONE));
    assert!(head.is_websocket() && head.keeps_alive());
    head.read(b"GET /y HTTP/1.1\r\nHost: b.test\r\n\r\n")
        .unwrap();
    assert!(!head.is_websocket());
}

proptest! {
    #[test]
    fn what_is_read_is_made_of_whole_lines(bytes in "(GET|POST) /[ -~\r\n\t:]{0,60}\r\nHost: a\r\n[ -~\r\n]{0,60}\r\n\r\n") {
        if let Ok(head) = read(&bytes) {
            let lines = head.lines();
            let mut again = Vec::new();
            for field in lines.fields() {
                lines.put(&mut again, *field);
            }
            let again = format!("{} {} HTTP/1.1\r\n{}\r\n", head.method(), head.target(), String::from_utf8(again).unwrap());
            let again = read(&again).unwrap();
            prop_assert_eq!(again.framing(), head.framing());
            prop_assert_eq!(again.target(), head.target());
            prop_assert_eq!(again.host_value(), head.host_value());
        }
    }
}
