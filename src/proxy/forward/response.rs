//! The head of a response, as the client gets it. An app owns its host and nothing beyond: what would reach other
//! workspaces stays here.

use http::HeaderValue;

use crate::proxy::door::Ended;
use crate::proxy::forward::cookies::name_of;
use crate::proxy::session::cookies::is_ours;
use crate::proxy::wire::ResponseHead;
use crate::proxy::wire::grammar::{members, put_decimal, trimmed};
use crate::proxy::wire::kind::Kind;

/// What is to be known to write a response.
pub struct Reply<'a> {
    /// The host that the request named, in lower case and without port.
    pub host: &'a str,
    /// A cookie of ours to add.
    pub set_cookie: Option<&'a HeaderValue>,
    /// Whether the client's connection ends with it.
    pub closes: bool,
}

/// Writes a final response's head, or that of the switch to a WebSocket.
pub fn put(out: &mut Vec<u8>, head: &ResponseHead, reply: &Reply<'_>, ended: &mut Ended) {
    put_lines(out, head, reply.host, ended);
    if let Some(cookie) = reply.set_cookie {
        out.extend_from_slice(b"Set-Cookie: ");
        out.extend_from_slice(cookie.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if head.status() == 101 {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
    } else if reply.closes {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response that another one follows.
pub fn put_interim(out: &mut Vec<u8>, head: &ResponseHead, host: &str, ended: &mut Ended) {
    put_lines(out, head, host, ended);
    out.extend_from_slice(b"\r\n");
}

fn put_lines(out: &mut Vec<u8>, head: &ResponseHead, host: &str, ended: &mut Ended) {
    out.reserve(head.lines().bytes().len());
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, u64::from(head.status()));
    out.push(b' ');
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    let lines = head.lines();
    for field in lines.fields() {
        let (name, value) = (lines.name(*field), lines.value(*field));
        match field.kind {
            Kind::Length | Kind::Coding if !head.may_have_body() => {}
            Kind::Plain | Kind::Length | Kind::Coding => lines.put(out, *field),
            Kind::Upgrade if head.status() == 101 => lines.put(out, *field),
            Kind::SetCookie => put_set_cookie(out, name, value, host, ended),
            Kind::ClearSiteData => put_clear_site_data(out, name, value),
            _ => {}
        }
    }
}

fn put_set_cookie(out: &mut Vec<u8>, name: &[u8], value: &[u8], host: &str, ended: &mut Ended) {
    if sets_ours(value) {
        ended.cookies_dropped += 1;
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let mut attributes = value.split(|byte| *byte == b';');
    out.extend_from_slice(attributes.next().unwrap_or_default());
    for attribute in attributes {
        if reaches_beyond(attribute, host) {
            ended.domains_removed += 1;
        } else {
            out.push(b';');
            out.extend_from_slice(attribute);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a browser would send what is set here under a name of ours. One without a name is sent as its value alone.
fn sets_ours(value: &[u8]) -> bool {
    let pair = trimmed(value.split(|byte| *byte == b';').next().unwrap_or_default());
    let pair = trimmed(pair.strip_prefix(b"=").unwrap_or(pair));
    is_ours(name_of(pair))
}

/// Whether an attribute gives a cookie to more than this host and those below it. A domain that isn't plain letters
/// might be read as any.
fn reaches_beyond(attribute: &[u8], host: &str) -> bool {
    let mut parts = attribute.splitn(2, |byte| *byte == b'=');
    let name = trimmed(parts.next().unwrap_or_default());
    if !name.eq_ignore_ascii_case(b"domain") {
        return false;
    }
    let domain = trimmed(parts.next().unwrap_or_default());
    let domain = domain.strip_prefix(b".").unwrap_or(domain);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
    if domain.is_empty() {
        return false;
    }
    if !domain.iter().all(is_plain) || domain.ends_with(b".") || domain.starts_with(b".") {
        return true;
    }
    let above = host
        .as_bytes()
        .split_at_checked(host.len().wrapping_sub(domain.len()));
    let is_suffix = above.is_some_and(|(_, end)| end.eq_ignore_ascii_case(domain));
    is_suffix && domain.len() < host.len()
}

/// Types that concern one origin alone. `"cookies"` and `"*"` clear those of all workspaces.
const CLEARABLE: [&[u8]; 6] = [
    b"\"cache\"",
    b"\"clientHints\"",
    b"\"executionContexts\"",
    b"\"prefetchCache\"",
    b"\"prerenderCache\"",
    b"\"storage\"",
];

fn put_clear_site_data(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut begin = true;
    for member in members(value).filter(|member| CLEARABLE.contains(member)) {
        if begin {
            out.extend_from_slice(name);
        }
        out.extend_from_slice(if begin { b": " } else { b", " });
        out.extend_from_slice(member);
        begin = false;
    }
    if !begin {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const REPLY: Reply<'static> = Reply {
        host: "alice.ws.example.com",
        set_cookie: None,
        closes: false,
    };

    fn rewritten(head: &str, reply: &Reply<'_>) -> (String, Ended) {
        let mut response = ResponseHead::default();
        response.read(head.as_bytes()).unwrap();
        let (mut out, mut ended) = (Vec::new(), Ended::default());
        put(&mut out, &response, reply, &mut ended);
        (String::from_utf8(out).unwrap(), ended)
    }

    /// What the client gets of one line, without its end.
    fn line(line: &str) -> String {
        let (out, _) = rewritten(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), &REPLY);
        let line = out.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap();
        line.strip_suffix("\r\n")
            .unwrap()
            .trim_end_matches("\r\n")
            .to_owned()
    }

    #[rstest]
    #[case("Content-Security-Policy: frame-ancestors *")]
    #[case("x-frame-Options: DENY")]
    #[case("Access-Control-Allow-Origin: *")]
    #[case("Strict-Transport-Security: max-age=1")]
    #[case("Set-Cookie: a=b; Path=/; SameSite=None ;Secure")]
    #[case("Set-Cookie: a=\"b c\",d; HttpOnly")]
    #[case("Set-Cookie: a=b; Domain=alice.ws.example.com")]
    #[case("Set-Cookie: a=b; Domain=.ALICE.ws.example.com")]
    #[case("Set-Cookie: a=b; Domain=other.test")]
    #[case("Set-Cookie: a=b; Domain=lice.ws.example.com.test")]
    #[case("Set-Cookie: a=b; Domain=")]
    #[case("Set-Cookie: domain=ws.example.com")]
    #[case("Set-Cookie: __Host-wsdx=b; Path=/; Secure")]
    #[case("Set-Cookie: a=__Host-wsd=b")]
    #[case("Clear-Site-Data: \"cache\", \"storage\"")]
    #[case("Content-Length: 5")]
    #[case("Transfer-Encoding: chunked")]
    #[case("Trailer: Grpc-Status")]
    fn what_concerns_the_host_alone_stays_as_it_came(#[case] came: &str) {
        assert_eq!(line(came), came);
    }

    #[rstest]
    #[case("Set-Cookie: __Host-wsd=evil; Path=/; Secure", "")]
    #[case("Set-Cookie: __Host-wsd-n-1=evil", "")]
    #[case("Set-Cookie:  __Host-wsd =evil", "")]
    #[case("Set-Cookie: =__Host-wsd=evil", "")]
    #[case("Set-Cookie: = __Host-wsd=evil", "")]
    #[case("Set-Cookie: __Host-wsd", "")]
    #[case(
        "Set-Cookie: a=b; Domain=ws.example.com; Path=/",
        "Set-Cookie: a=b; Path=/"
    )]
    #[case(
        "Set-Cookie: a=b;domain = .WS.example.com ;Path=/",
        "Set-Cookie: a=b;Path=/"
    )]
    #[case("Set-Cookie: a=b; Domain=example.com; Domain=com", "Set-Cookie: a=b")]
    #[case("Set-Cookie: a=b; Domain=ws%2eexample.com", "Set-Cookie: a=b")]
    #[case("Set-Cookie: a=b; Domain=ws.example.com.", "Set-Cookie: a=b")]
    #[case("Set-Cookie: a=b; Domain=..ws.example.com", "Set-Cookie: a=b")]
    #[case("Clear-Site-Data: \"cookies\"", "")]
    #[case("Clear-Site-Data: \"*\"", "")]
    #[case(
        "Clear-Site-Data: \"cache\", \"cookies\", \"storage\"",
        "Clear-Site-Data: \"cache\", \"storage\""
    )]
    #[case("X-Workstead-Proxy: 1", "")]
    #[case("Alt-Svc: h3=\":443\"", "")]
    #[case("Connection: keep-alive", "")]
    #[case("Keep-Alive: timeout=5", "")]
    #[case("Upgrade: h2c", "")]
    #[case("Connection: X-Mine\r\nX-Mine: 1", "")]
    fn what_would_reach_other_workspaces_stays_here(#[case] came: &str, #[case] goes: &str) {
        assert_eq!(line(came), goes);
    }

    #[test]
    fn what_was_changed_is_counted() {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: __Host-wsd=a\r\nSet-Cookie: a=b; Domain=ws.example.com\r\n\r\n";
        let (_, ended) = rewritten(head, &REPLY);
        assert_eq!((ended.cookies_dropped, ended.domains_removed), (1, 1));
    }

    #[test]
    fn a_renewed_session_and_the_end_of_the_connection_are_added() {
        let cookie = HeaderValue::from_static("__Host-wsd=new; Path=/");
        let reply = Reply {
            set_cookie: Some(&cookie),
            closes: true,
            ..REPLY
        };
        let (out, _) = rewritten("HTTP/1.0 404 Not here\r\nA: b\r\n\r\n", &reply);
        let expected = "HTTP/1.1 404 Not here\r\nA: b\r\nSet-Cookie: __Host-wsd=new; Path=/\r\nConnection: close\r\n\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_switch_says_so_and_nothing_of_a_body() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: upgrade\r\n\
            Sec-WebSocket-Accept: x\r\nContent-Length: 0\r\n\r\n";
        let (out, _) = rewritten(head, &REPLY);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\
            Connection: Upgrade\r\n\r\n";
        assert_eq!(out, expected);
    }
}
