//! The answer to a head that is too long. Mostly it is cookies that make it so: one workspace can set many for the
//! domain of all, and then no host works for that browser any more. So the answer takes them away.

use std::collections::BTreeSet;

use crate::proxy::forward::cookies::name_of;
use crate::proxy::front::answer::{put_end, put_line, put_status};
use crate::proxy::session::cookies::is_ours;
use crate::proxy::wire::RequestHead;
use crate::proxy::wire::grammar::is_token;
use crate::proxy::wire::kind::Kind;

/// How many cookies one answer expires.
const EXPIRED: usize = 180;
/// Longest name that is expired. All together stay below what browsers take in a head.
const LONGEST_NAME: usize = 256;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Too many cookies</title>\n\
    <h1>Too many cookies</h1>\n<p>The cookies that your browser sent for this site are too long for any server. \
    Some workspace has probably set them for all of its neighbours.</p>\n\
    <p>This answer has deleted them. <a href=\"\">Try again</a>; you may have to sign in.</p>\n";

/// Writes the answer. The cookies seen are expired on the host and on the domains above it that a workspace can set
/// cookies for.
pub fn put(out: &mut Vec<u8>, head: Option<&RequestHead>, domain: &str) {
    put_status(out, 431, Some("Request Header Fields Too Large"));
    put_line(out, b"content-type", b"text/html; charset=utf-8");
    put_line(out, b"x-content-type-options", b"nosniff");
    put_line(
        out,
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'",
    );
    put_line(out, b"cache-control", b"no-store");
    put_line(out, b"clear-site-data", b"\"cookies\"");
    let domains = domains(domain);
    // Firefox is said to clear less than the word above promises.
    for name in head.map(names).unwrap_or_default() {
        expire(out, name, None);
        for domain in &domains {
            expire(out, name, Some(domain));
        }
    }
    put_end(out, Some(PAGE.as_bytes()), true);
    out.extend_from_slice(PAGE.as_bytes());
}

fn names(head: &RequestHead) -> BTreeSet<&[u8]> {
    let cookies = head.lines().of_kind(Kind::Cookie);
    let pairs = cookies.flat_map(|value| value.split(|byte| *byte == b';'));
    let mut names = BTreeSet::new();
    for name in pairs.map(name_of) {
        let is_name = !name.is_empty() && name.len() <= LONGEST_NAME;
        if is_name && name.iter().copied().all(is_token) && !is_ours(name) {
            names.insert(name);
        }
        if names.len() == EXPIRED {
            break;
        }
    }
    names
}

/// The domain of workspaces and those above it, but for the last label alone.
fn domains(domain: &str) -> Vec<&str> {
    let ends = domain.match_indices('.').map(|(at, _)| at + 1);
    let parents = ends.filter_map(|start| domain.get(start..));
    std::iter::once(domain)
        .chain(parents.filter(|parent| parent.contains('.')))
        .take(3)
        .collect()
}

fn expire(out: &mut Vec<u8>, name: &[u8], domain: Option<&str>) {
    out.extend_from_slice(b"set-cookie: ");
    out.extend_from_slice(name);
    out.extend_from_slice(b"=; Max-Age=0; Path=/");
    if let Some(domain) = domain {
        out.extend_from_slice(b"; Domain=");
        out.extend_from_slice(domain.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cookies: &str) -> String {
        let mut head = RequestHead::default();
        let bytes =
            format!("GET / HTTP/1.1\r\nHost: a.ws.example.com\r\nCookie: {cookies}\r\n\r\n");
        head.read(bytes.as_bytes()).unwrap();
        let mut out = Vec::new();
        put(&mut out, Some(&head), "ws.example.com");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cookie_bomb_the_answer_deletes_what_was_seen_on_every_domain_that_could_have_set_it() {
        let out = answer("a=1; a=2; b=3; \"q\"=4; __Host-wsd=t; =5");
        assert!(out.starts_with("HTTP/1.1 431 "), "{out}");
        assert!(out.contains("clear-site-data: \"cookies\"\r\n"), "{out}");
        let expired: Vec<&str> = out
            .lines()
            .filter(|line| line.starts_with("set-cookie"))
            .collect();
        let expected = [
            "set-cookie: a=; Max-Age=0; Path=/",
            "set-cookie: a=; Max-Age=0; Path=/; Domain=ws.example.com",
            "set-cookie: a=; Max-Age=0; Path=/; Domain=example.com",
            "set-cookie: b=; Max-Age=0; Path=/",
            "set-cookie: b=; Max-Age=0; Path=/; Domain=ws.example.com",
            "set-cookie: b=; Max-Age=0; Path=/; Domain=example.com",
        ];
        assert_eq!(expired, expected);
    }

    #[test]
    fn cookie_bomb_the_answer_stays_short_however_many_there_are() {
        let many: Vec<String> = (0..5000)
            .map(|number| format!("{number}{}=x", "n".repeat(250)))
            .collect();
        let out = answer(&many.join("; "));
        assert!(out.len() < 256 * 1024, "{}", out.len());
    }
}
