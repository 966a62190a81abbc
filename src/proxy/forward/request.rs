//! The head of a request, as the app gets it.

use std::io::Write as _;

use crate::proxy::door::Client;
use crate::proxy::forward::cookies::put_without_ours;
use crate::proxy::wire::RequestHead;
use crate::proxy::wire::fields::Field;
use crate::proxy::wire::kind::Kind;

/// About as long as what we add.
const OURS: usize = 160;

/// What we tell apps of a client. Made once for a connection.
pub struct Provenance {
    /// Where the connection comes from.
    address: Vec<u8>,
    scheme: &'static [u8],
    /// What browsers leave out of `Origin`.
    default_port: &'static [u8],
    /// Whether the other end is a proxy whose own word goes on.
    is_forwarder: bool,
}

impl Provenance {
    /// Of this client, or of a proxy before us that speaks for clients.
    pub fn of(client: &Client, is_forwarder: bool) -> Self {
        let (scheme, default_port) = if client.is_tls {
            (&b"https"[..], &b":443"[..])
        } else {
            (&b"http"[..], &b":80"[..])
        };
        Self {
            address: client.address.to_string().into_bytes(),
            scheme,
            default_port,
            is_forwarder,
        }
    }

    fn put(&self, out: &mut Vec<u8>, head: &RequestHead) {
        let mut scheme = self.scheme;
        out.extend_from_slice(b"X-Forwarded-For: ");
        if self.is_forwarder {
            let lines = head.lines();
            for field in lines
                .fields()
                .iter()
                .filter(|field| field.kind == Kind::Claim)
            {
                let value = lines.value(*field);
                if lines.name(*field).eq_ignore_ascii_case(b"x-forwarded-for") {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                } else if lines
                    .name(*field)
                    .eq_ignore_ascii_case(b"x-forwarded-proto")
                {
                    scheme = match value {
                        b"https" => b"https",
                        b"http" => b"http",
                        _ => scheme,
                    };
                }
            }
        }
        out.extend_from_slice(&self.address);
        out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
        out.extend_from_slice(scheme);
        let host = head.host_value();
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        out.extend_from_slice(host.strip_suffix(self.default_port).unwrap_or(host));
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the head as the app gets it. Everything that isn't a proxy's business is there as it came and in its order.
pub fn put(out: &mut Vec<u8>, head: &RequestHead, provenance: &Provenance) {
    out.reserve(head.lines().bytes().len() + OURS);
    let version = if head.is_1_1() { "1.1" } else { "1.0" };
    out.extend_from_slice(head.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target().as_bytes());
    // Nothing can go wrong: the bytes go to memory.
    let _ = write!(out, " HTTP/{version}\r\n");
    let mut upgrade = head.is_websocket();
    let lines = head.lines();
    for field in lines.fields() {
        match field.kind {
            Kind::Plain | Kind::Host | Kind::Length | Kind::Coding => lines.put(out, *field),
            Kind::Expect if head.expects_continue() => lines.put(out, *field),
            Kind::Upgrade if head.is_websocket() => lines.put(out, *field),
            Kind::Connection if upgrade => {
                upgrade = false;
                out.extend_from_slice(lines.name(*field));
                out.extend_from_slice(b": Upgrade\r\n");
            }
            Kind::Cookie => put_cookie(out, head, *field),
            _ => {}
        }
    }
    provenance.put(out, head);
    out.extend_from_slice(b"\r\n");
}

fn put_cookie(out: &mut Vec<u8>, head: &RequestHead, field: Field) {
    let begin = out.len();
    out.extend_from_slice(head.lines().name(field));
    out.extend_from_slice(b": ");
    if put_without_ours(out, head.lines().value(field)) {
        out.extend_from_slice(b"\r\n");
    } else {
        out.truncate(begin);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rewritten(head: &str, is_tls: bool) -> String {
        rewritten_from(head, is_tls, false)
    }

    fn rewritten_from(head: &str, is_tls: bool, is_forwarder: bool) -> String {
        let mut request = RequestHead::default();
        request.read(head.as_bytes()).unwrap();
        let client = Client {
            address: "192.0.2.7".parse().unwrap(),
            is_tls,
            is_insecure_local: false,
            version: "1.1",
        };
        let mut out = Vec::new();
        put(&mut out, &request, &Provenance::of(&client, is_forwarder));
        String::from_utf8(out).unwrap()
    }

    /// What the app gets beside the first line, `Host` and our own lines.
    fn lines(lines: &str) -> String {
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
        let out = rewritten(&head, false);
        let out = out.strip_prefix("POST / HTTP/1.1\r\nHost: a.test\r\n");
        let end = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n\r\n";
        out.unwrap().strip_suffix(end).unwrap().to_owned()
    }

    #[rstest]
    #[case(
        "aCCept: */*\r\nX-b:  c \r\nOrigin: http://A.test\r\n",
        "aCCept: */*\r\nX-b: c\r\nOrigin: http://A.test\r\n"
    )]
    #[case("Authorization: Bearer x\r\n", "Authorization: Bearer x\r\n")]
    #[case("Content-Length: 5\r\n", "Content-Length: 5\r\n")]
    #[case(
        "Transfer-Encoding: chunked\r\nTrailer: A\r\n",
        "Transfer-Encoding: chunked\r\nTrailer: A\r\n"
    )]
    #[case("Cookie: a=1; __Host-wsd=t; b=2\r\n", "Cookie: a=1; b=2\r\n")]
    #[case("Cookie: __Host-wsd=t\r\n", "")]
    #[case(
        "Cookie: a=1\r\nCookie: __Host-wsd=t\r\nCookie: b=2\r\n",
        "Cookie: a=1\r\nCookie: b=2\r\n"
    )]
    #[case("Connection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\n", "")]
    #[case(
        "Proxy-Connection: keep-alive\r\nTE: trailers\r\nProxy: http://evil.test\r\n",
        ""
    )]
    #[case(
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
        ""
    )]
    #[case(
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\n"
    )]
    #[case("Expect: 100-continue\r\n", "")]
    fn what_is_not_the_connections_own_goes_on_as_it_came(#[case] came: &str, #[case] goes: &str) {
        assert_eq!(lines(came), goes);
    }

    #[rstest]
    #[case("X-Workstead-Assertion: x")]
    #[case("x_workstead_assertion: x")]
    #[case("X-WORKSTEAD.User: x")]
    #[case("X-Forwarded-For: 127.0.0.1")]
    #[case("x_forwarded_for: 127.0.0.1")]
    #[case("X-Forwarded-Host: evil.test")]
    #[case("X-Forwarded-User: root")]
    #[case("X-Forwarded_Email: root@example.com")]
    #[case("Forwarded: for=127.0.0.1")]
    #[case("X-Real-IP: 127.0.0.1")]
    #[case("X-Original-URL: /admin")]
    #[case("X-Rewrite-URL: /admin")]
    #[case("X-Host: evil.test")]
    #[case("Remote-User: root")]
    #[case("Remote_User: root")]
    #[case("X-Auth-Request-Email: root")]
    #[case("Client-Cert: x")]
    #[case("Tailscale-User-Login: root")]
    #[case("Content_Length: 5")]
    #[case("Any_Other: 5")]
    fn identity_header_injection_claims_do_not_reach_the_app(#[case] line: &str) {
        assert_eq!(lines(&format!("{line}\r\n")), "");
    }

    #[test]
    fn an_upgrade_goes_on_with_its_key_and_extensions() {
        let head = "GET /ws HTTP/1.1\r\nHost: a.test\r\nconnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
            Sec-WebSocket-Key: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let expected = "GET /ws HTTP/1.1\r\nHost: a.test\r\nconnection: Upgrade\r\nUpgrade: WebSocket\r\n\
            Sec-WebSocket-Key: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Forwarded-For: 192.0.2.7\r\n\
            X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.test\r\n\r\n";
        assert_eq!(rewritten(head, true), expected);
    }

    #[rstest]
    #[case("a.test", true, "a.test")]
    #[case("A.test:443", true, "A.test")]
    #[case("a.test:80", true, "a.test:80")]
    #[case("a.test:80", false, "a.test")]
    #[case("a.test:8443", true, "a.test:8443")]
    fn host_goes_as_it_came_and_forwarded_as_browsers_write_origins(
        #[case] host: &str,
        #[case] is_tls: bool,
        #[case] forwarded: &str,
    ) {
        let out = rewritten(&format!("GET / HTTP/1.0\r\nhOst: {host}\r\n\r\n"), is_tls);
        let begin = format!("GET / HTTP/1.0\r\nhOst: {host}\r\nX-Forwarded-For:");
        assert!(out.starts_with(&begin), "{out}");
        assert!(
            out.ends_with(&format!("X-Forwarded-Host: {forwarded}\r\n\r\n")),
            "{out}"
        );
    }

    #[test]
    fn token_pasted_into_app_urls_nothing_of_ours_is_filled_in_anywhere() {
        let target = "/run?t=$WORKSTEAD_TOKEN&u={session}&v=%24%7Btoken%7D&w=__Host-wsd";
        let line = "X-Template: ${token} {{session}} $CODER_SESSION_TOKEN\r\n";
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: a.test\r\n{line}Cookie: __Host-wsd=secret\r\n\r\n"
        );
        let out = rewritten(&head, true);
        assert!(
            out.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{out}"
        );
        assert!(out.contains(line) && !out.contains("secret"), "{out}");
    }

    #[test]
    fn host_confusion_a_proxy_before_us_is_believed_only_if_it_is_known() {
        let head = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 198.51.100.1\r\nx-forwarded-for: 10.0.0.9\r\n\
            X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-User: root\r\n\r\n";
        let begin = "GET / HTTP/1.1\r\nHost: a.test\r\n";
        let unknown = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n\r\n";
        assert_eq!(
            rewritten_from(head, false, false),
            format!("{begin}{unknown}")
        );
        let known = "X-Forwarded-For: 198.51.100.1, 10.0.0.9, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
            X-Forwarded-Host: a.test\r\n\r\n";
        assert_eq!(rewritten_from(head, false, true), format!("{begin}{known}"));
    }

    #[test]
    fn a_target_that_is_a_url_goes_on_as_its_path() {
        let out = rewritten(
            "GET http://a.test/b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            false,
        );
        assert!(
            out.starts_with("GET /b HTTP/1.1\r\nHost: a.test\r\n"),
            "{out}"
        );
    }
}
