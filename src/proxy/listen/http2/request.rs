//! A request of HTTP/2, written down as one of HTTP/1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::{HeaderName, Method, Request, header};

/// Headers that are written otherwise.
const OTHERWISE: [HeaderName; 3] = [header::HOST, header::COOKIE, header::TE];

/// What stands in the head beside its bytes.
pub struct Written {
    /// The head.
    pub head: Vec<u8>,
    /// Whether the body is written in chunks.
    pub is_chunked: bool,
    /// Whether it asks for a WebSocket (RFC 8441).
    pub is_websocket: bool,
}

/// Writes the head. What is wrong with it, the strict reader finds: a second host, a length that stands there twice.
pub fn write<B>(request: &Request<B>, has_body: bool) -> Written {
    let is_websocket = request
        .extensions()
        .get::<Protocol>()
        .is_some_and(|protocol| protocol.as_str() == "websocket");
    let headers = request.headers();
    let is_chunked = has_body && !is_websocket && !headers.contains_key(header::CONTENT_LENGTH);
    let mut head = Vec::with_capacity(1024);
    put_first_line(&mut head, request, is_websocket);
    put_hosts(&mut head, request);
    for (name, value) in headers {
        if !OTHERWISE.contains(name) {
            put(&mut head, name.as_str(), value.as_bytes());
        }
    }
    put_cookies(&mut head, request);
    if is_websocket {
        put(&mut head, "connection", b"Upgrade");
        put(&mut head, "upgrade", b"websocket");
        // HTTP/2 has none; apps insist on one.
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        put(&mut head, "sec-websocket-key", key.as_bytes());
    } else {
        // One request for each of these connections.
        put(&mut head, "connection", b"close");
    }
    if is_chunked {
        put(&mut head, "transfer-encoding", b"chunked");
    }
    head.extend_from_slice(b"\r\n");
    Written {
        head,
        is_chunked,
        is_websocket,
    }
}

fn put_first_line<B>(head: &mut Vec<u8>, request: &Request<B>, is_websocket: bool) {
    let method = if is_websocket {
        &Method::GET
    } else {
        request.method()
    };
    let uri = request.uri();
    let target = match uri.path_and_query() {
        Some(path) => path.as_str(),
        None => "",
    };
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
}

/// `:authority`, and `Host` where it says something else: two that differ are one too many.
fn put_hosts<B>(head: &mut Vec<u8>, request: &Request<B>) {
    let authority = request.uri().authority();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        put(head, "host", authority);
    }
    for host in request.headers().get_all(header::HOST) {
        let is_same = |authority: &[u8]| authority.eq_ignore_ascii_case(host.as_bytes());
        if !authority.is_some_and(is_same) {
            put(head, "host", host.as_bytes());
        }
    }
}

/// One line of what may come in crumbs.
fn put_cookies<B>(head: &mut Vec<u8>, request: &Request<B>) {
    let mut begin = true;
    for crumb in request.headers().get_all(header::COOKIE) {
        head.extend_from_slice(if begin { b"cookie: " } else { b"; " });
        head.extend_from_slice(crumb.as_bytes());
        begin = false;
    }
    if !begin {
        head.extend_from_slice(b"\r\n");
    }
}

fn put(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::proxy::wire::{Framing, RequestHead, Violation};

    fn request(method: &str, lines: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri("https://alice.ws.example.com/a?b=%2f");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn read(request: &Request<()>, has_body: bool) -> Result<RequestHead, Violation> {
        let mut head = RequestHead::default();
        head.read(&write(request, has_body).head).map(|()| head)
    }

    #[test]
    fn a_request_is_written_as_one_of_http_1_with_its_crumbs_in_one_line() {
        let lines = [
            ("accept", "*/*"),
            ("cookie", "a=1"),
            ("te", "trailers"),
            ("cookie", "b=2; c=3"),
        ];
        let written = write(&request("GET", &lines), false);
        let expected = "GET /a?b=%2f HTTP/1.1\r\nhost: alice.ws.example.com\r\naccept: */*\r\n\
            cookie: a=1; b=2; c=3\r\nconnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(written.head).unwrap(), expected);
    }

    #[rstest]
    #[case(&[], true, Ok(Framing::CHUNKED))]
    #[case(&[], false, Ok(Framing::NONE))]
    #[case(&[("content-length", "5")], true, Ok(Framing::Length(5)))]
    #[case(&[("host", "ALICE.ws.example.com")], false, Ok(Framing::NONE))]
    #[case(&[("host", "bob.ws.example.com")], false, Err(Violation::HostTwice))]
    #[case(&[("content-length", "5"), ("content-length", "5")], true, Err(Violation::LengthTwice))]
    #[case(&[("content-length", "+5")], true, Err(Violation::Length))]
    #[case(&[("expect", "x")], false, Err(Violation::Expect))]
    fn request_smuggling_what_http_2_lets_pass_the_strict_reader_does_not(
        #[case] lines: &[(&str, &str)],
        #[case] has_body: bool,
        #[case] expected: Result<Framing, Violation>,
    ) {
        let read = read(&request("POST", lines), has_body);
        assert_eq!(read.map(|head| head.framing()), expected);
    }

    #[test]
    fn a_websocket_of_http_2_is_an_upgrade() {
        let mut asked = request("CONNECT", &[("sec-websocket-version", "13")]);
        asked
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        assert!(read(&asked, true).unwrap().is_websocket());
        let mut other = request("CONNECT", &[]);
        other
            .extensions_mut()
            .insert(Protocol::from_static("connect-udp"));
        assert_eq!(read(&other, true).err(), Some(Violation::Connect));
    }
}
