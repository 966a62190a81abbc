use rstest::rstest;

use super::*;

fn read(head: &str) -> Result<ResponseHead, Violation> {
    let mut response = ResponseHead::default();
    response.read(head.as_bytes()).map(|()| response)
}

#[rstest]
#[case("HTTP/1.1 200 OK", Ok((200, "OK")))]
#[case("HTTP/1.1 200 ", Ok((200, "")))]
#[case("HTTP/1.1 200", Ok((200, "")))]
#[case("HTTP/1.0 404 Not Found", Ok((404, "Not Found")))]
#[case("HTTP/1.1 99 No", Err(Violation::StatusLine))]
#[case("HTTP/1.1 2000 No", Err(Violation::StatusLine))]
#[case("HTTP/1.1  200 OK", Err(Violation::StatusLine))]
#[case("HTTP/1.1 +20 OK", Err(Violation::StatusLine))]
#[case("HTTP/1.1 200 O\rK", Err(Violation::StatusLine))]
#[case("HTTP/2.0 200 OK", Err(Violation::Version))]
#[case("http/1.1 200 OK", Err(Violation::Version))]
#[case("ICY 200 OK", Err(Violation::Version))]
#[case("200", Err(Violation::StatusLine))]
fn a_status_line_is_version_code_and_reason(
    #[case] line: &str,
    #[case] expected: Result<(u16, &str), Violation>,
) {
    let got = read(&format!("{line}\r\n\r\n"));
    let got = got.map(|head| {
        (
            head.status(),
            String::from_utf8_lossy(head.reason()).into_owned(),
        )
    });
    assert_eq!(
        got,
        expected.map(|(status, reason)| (status, reason.to_owned()))
    );
}

#[rstest]
#[case("GET", "200", "Content-Length: 5", Framing::Length(5))]
#[case("GET", "200", "Transfer-Encoding: chunked", Framing::CHUNKED)]
#[case("GET", "200", "A: b", Framing::UntilEnd)]
#[case("HEAD", "200", "Content-Length: 5", Framing::NONE)]
#[case("HEAD", "200", "Transfer-Encoding: chunked", Framing::NONE)]
#[case("GET", "304", "Content-Length: 5", Framing::NONE)]
#[case("GET", "204", "A: b", Framing::NONE)]
#[case("GET", "101", "A: b", Framing::NONE)]
fn a_body_ends_where_status_method_and_headers_say(
    #[case] method: &str,
    #[case] status: &str,
    #[case] line: &str,
    #[case] framing: Framing,
) {
    let head = read(&format!("HTTP/1.1 {status} A\r\n{line}\r\n\r\n")).unwrap();
    assert_eq!(head.framing(&method.parse().unwrap()), framing);
}

#[rstest]
#[case(
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    Violation::LengthAndCoding
)]
#[case("Content-Length: 5\r\nContent-Length: 5", Violation::LengthTwice)]
#[case("Content-Length: 5, 5", Violation::Length)]
#[case("Transfer-Encoding: gzip, chunked", Violation::Coding)]
#[case(
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    Violation::CodingTwice
)]
#[case("A: b\r\n c", Violation::Folded)]
#[case("A : b", Violation::FieldName)]
#[case("A: b\0", Violation::FieldValue)]
fn a_response_that_two_could_read_differently_is_refused(
    #[case] lines: &str,
    #[case] expected: Violation,
) {
    let got = read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n"));
    assert_eq!(got.err(), Some(expected));
}

#[test]
fn a_connection_is_kept_only_as_the_upstream_says() {
    let kept = |head: &str| read(head).unwrap().keeps_alive();
    assert!(kept("HTTP/1.1 200 OK\r\n\r\n"));
    assert!(!kept("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n"));
    assert!(!kept("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
    let head = read("HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=7\r\n\r\n").unwrap();
    assert_eq!(head.keep_alive_seconds(), Some(7));
}
