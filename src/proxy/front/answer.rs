//! Answers of ours, as bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use http::{HeaderName, Method, header};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::door::{Answer, MARK};
use crate::proxy::forward::exchange::STALL;
use crate::proxy::wire::grammar::put_decimal;
use crate::proxy::wire::{Link, Violation};

/// Headers that the front alone decides on.
const FRAMING: [HeaderName; 4] = [
    MARK,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];

/// Writes an answer: whole, with its length, and without the body where the method wants none.
pub fn put(out: &mut Vec<u8>, answer: &Answer, method: &Method, closes: bool) {
    let status = answer.status();
    put_status(out, status.as_u16(), status.canonical_reason());
    for (name, value) in answer.headers() {
        if !FRAMING.contains(name) {
            put_line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let has_body = !status.is_informational() && status != 204 && status != 304;
    put_end(out, has_body.then_some(answer.body()), closes);
    if has_body && method != Method::HEAD {
        out.extend_from_slice(answer.body());
    }
}

/// Writes the answer to a request that broke a rule.
pub fn put_refusal(out: &mut Vec<u8>, violation: Violation) {
    let status = violation.status();
    let code = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
    put_status(out, status, code.canonical_reason());
    put_line(out, b"content-type", b"text/plain; charset=utf-8");
    put_line(out, b"x-content-type-options", b"nosniff");
    put_line(out, b"cache-control", b"no-store");
    let body = format!("The request was refused: {violation}.\n");
    put_end(out, Some(body.as_bytes()), true);
    out.extend_from_slice(body.as_bytes());
}

/// Writes a status line, and that it is ours.
pub fn put_status(out: &mut Vec<u8>, status: u16, reason: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    put_line(out, MARK.as_str().as_bytes(), b"1");
}

/// Writes a header.
pub fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes how long the body is, whether the connection ends with it, and the end of the head.
pub fn put_end(out: &mut Vec<u8>, body: Option<&[u8]>, closes: bool) {
    if let Some(body) = body {
        out.extend_from_slice(b"content-length: ");
        put_decimal(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
    }
    if closes {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Sends all of it. Says whether the client took it in time.
pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, bytes: &[u8]) -> bool {
    let mut sent = 0;
    let mut has_deadline = false;
    poll_fn(|cx| {
        loop {
            let rest = bytes.get(sent..).unwrap_or_default();
            let stream = Pin::new(&mut link.stream);
            let polled = if rest.is_empty() {
                stream.poll_flush(cx).map_ok(|()| 0)
            } else {
                stream.poll_write(cx, rest)
            };
            match polled {
                Poll::Ready(Ok(0)) => return Poll::Ready(rest.is_empty()),
                Poll::Ready(Ok(count)) => {
                    sent += count;
                    has_deadline = false;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {
                    if !has_deadline {
                        link.deadline.set(STALL);
                        has_deadline = true;
                    }
                    ready!(link.deadline.poll_passed(cx));
                    return Poll::Ready(false);
                }
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use http::Response;
    use hyper::body::Bytes;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        Method::GET,
        200,
        false,
        "HTTP/1.1 200 OK\r\nx-workstead-proxy: 1\r\na: b\r\ncontent-length: 2\r\n\r\nhi"
    )]
    #[case(
        Method::HEAD,
        200,
        false,
        "HTTP/1.1 200 OK\r\nx-workstead-proxy: 1\r\na: b\r\ncontent-length: 2\r\n\r\n"
    )]
    #[case(
        Method::POST,
        401,
        true,
        "HTTP/1.1 401 Unauthorized\r\nx-workstead-proxy: 1\r\na: b\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"
    )]
    #[case(
        Method::GET,
        204,
        false,
        "HTTP/1.1 204 No Content\r\nx-workstead-proxy: 1\r\na: b\r\n\r\n"
    )]
    #[case(
        Method::GET,
        304,
        true,
        "HTTP/1.1 304 Not Modified\r\nx-workstead-proxy: 1\r\na: b\r\nconnection: close\r\n\r\n"
    )]
    fn an_answer_says_its_length_and_the_end_of_the_connection(
        #[case] method: Method,
        #[case] status: u16,
        #[case] closes: bool,
        #[case] expected: &str,
    ) {
        let answer = Response::builder()
            .status(status)
            .header("x-workstead-proxy", "9")
            .header("a", "b")
            .header("content-length", "99")
            .header("transfer-encoding", "chunked");
        let mut out = Vec::new();
        put(
            &mut out,
            &answer.body(Bytes::from("hi")).unwrap(),
            &method,
            closes,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_refusal_says_which_rule_was_broken() {
        let mut out = Vec::new();
        put_refusal(&mut out, Violation::Version);
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"),
            "{out}"
        );
        assert!(out.contains("connection: close\r\n"), "{out}");
        assert!(
            out.ends_with("refused: the version is neither HTTP/1.0 nor HTTP/1.1.\n"),
            "{out}"
        );
    }
}
