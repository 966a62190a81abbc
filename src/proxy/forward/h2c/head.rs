//! Heads from one version of HTTP to the other.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};

use crate::proxy::wire::RequestHead;
use crate::proxy::wire::grammar::put_decimal;
use crate::proxy::wire::kind::{Kind, response_kind};

/// How the body of a response is delimited for the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimited {
    /// As the head says, or not at all.
    AsItIs,
    /// In chunks, with trailers.
    Chunked,
}

/// What of a request decides how its response is written.
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Whether the client knows chunks.
    pub is_1_1: bool,
}

/// A request of HTTP/2. None where that can't say the same.
pub fn request(head: &RequestHead) -> Option<Request<()>> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(head.host_value()).ok()?);
    parts.path_and_query = Some(PathAndQuery::try_from(head.target()).ok()?);
    let mut request = Request::new(());
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = Version::HTTP_2;
    let lines = head.lines();
    for field in lines.fields() {
        let is_of_http_1 = matches!(
            field.kind,
            Kind::Host | Kind::Connection | Kind::Coding | Kind::Upgrade | Kind::Hop
        );
        if !is_of_http_1 {
            let name = HeaderName::from_bytes(lines.name(*field)).ok()?;
            let value = HeaderValue::from_bytes(lines.value(*field)).ok()?;
            request.headers_mut().append(name, value);
        }
    }
    // They go on to the client, whatever it said of them: gRPC servers ask for this word.
    let trailers = HeaderValue::from_static("trailers");
    request.headers_mut().insert(header::TE, trailers);
    Some(request)
}

/// Writes the head of a response as HTTP/1 has it.
pub fn put(out: &mut Vec<u8>, response: &Response<()>, asked: &Asked, is_over: bool) -> Delimited {
    let status = response.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, u64::from(status.as_u16()));
    out.push(b' ');
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    let has_body = !status.is_informational()
        && !matches!(status.as_u16(), 204 | 304)
        && asked.method != Method::HEAD;
    let has_length = response.headers().contains_key(header::CONTENT_LENGTH);
    let delimited = if has_body && !is_over && asked.is_1_1 && (!has_length || trails(response)) {
        Delimited::Chunked
    } else {
        Delimited::AsItIs
    };
    for (name, value) in response.headers() {
        let is_of_http_1 = match response_kind(name.as_str().as_bytes()) {
            Kind::Connection | Kind::Coding | Kind::Upgrade | Kind::KeepAlive | Kind::Hop => true,
            Kind::Length => delimited == Delimited::Chunked,
            _ => false,
        };
        if !is_of_http_1 {
            put_line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if delimited == Delimited::Chunked {
        put_line(out, b"transfer-encoding", b"chunked");
    } else if has_body && is_over && !has_length {
        put_line(out, b"content-length", b"0");
    }
    out.extend_from_slice(b"\r\n");
    delimited
}

/// Whether trailers are to be expected: a body of a length has no place for them.
fn trails(response: &Response<()>) -> bool {
    let headers = response.headers();
    let is_grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    headers.contains_key(header::TRAILER) || headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
}

fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(head: &str) -> RequestHead {
        let mut request = RequestHead::default();
        request.read(head.as_bytes()).unwrap();
        request
    }

    #[test]
    fn a_request_loses_what_only_http_1_has() {
        let head = read(
            "POST /a.B/C?d=%2f HTTP/1.1\r\nHost: A.test:8443\r\nContent-Type: application/grpc\r\n\
            Cookie: a=1; b=2\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 192.0.2.7\r\nTE: gzip\r\n\
            Connection: close\r\nExpect: 100-continue\r\n\r\n",
        );
        let request = request(&head).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "http://A.test:8443/a.B/C?d=%2f");
        let lines: Vec<(&str, &str)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [
            ("content-type", "application/grpc"),
            ("cookie", "a=1; b=2"),
            ("x-forwarded-for", "192.0.2.7"),
            ("expect", "100-continue"),
            ("te", "trailers"),
        ];
        assert_eq!(lines, expected);
    }

    #[rstest]
    #[case::stream("GET", true, 200, &[], false, "transfer-encoding: chunked\r\n")]
    #[case::length("GET", true, 200, &[("content-length", "5")], false, "content-length: 5\r\n")]
    #[case::grpc("POST", true, 200, &[("content-type", "application/grpc"), ("content-length", "5")], false,
        "content-type: application/grpc\r\ntransfer-encoding: chunked\r\n")]
    #[case::trailers_only("POST", true, 200, &[("grpc-status", "5")], true, "grpc-status: 5\r\ncontent-length: 0\r\n")]
    #[case::old_client("GET", false, 200, &[], false, "")]
    #[case::head("HEAD", true, 200, &[], true, "")]
    #[case::no_content("GET", true, 204, &[], true, "")]
    #[case::not_modified("GET", true, 304, &[("etag", "x")], true, "etag: x\r\n")]
    fn a_response_says_where_its_body_ends(
        #[case] method: &str,
        #[case] is_1_1: bool,
        #[case] status: u16,
        #[case] lines: &[(&str, &str)],
        #[case] is_over: bool,
        #[case] expected: &str,
    ) {
        let mut response = Response::builder().status(status);
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        let asked = Asked {
            method: method.parse().unwrap(),
            is_1_1,
        };
        let mut out = Vec::new();
        put(&mut out, &response.body(()).unwrap(), &asked, is_over);
        let out = String::from_utf8(out).unwrap();
        let (first, lines) = out.split_once("\r\n").unwrap();
        assert!(first.starts_with(&format!("HTTP/1.1 {status} ")), "{first}");
        assert_eq!(lines, format!("{expected}\r\n"));
    }
}
