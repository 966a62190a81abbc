//! What a stranger can send to the proxy, and what an app can answer.

use http::Method;

use crate::proxy::door::{Client, Ended};
use crate::proxy::forward::request::Provenance;
use crate::proxy::forward::{request, response};
use crate::proxy::session::cookies::is_ours;
use crate::proxy::wire::fields::Scan;
use crate::proxy::wire::kind::Kind;
use crate::proxy::wire::{Framing, RequestHead, ResponseHead, Violation};

/// Reads what a client sends, and what an app does. What passes goes on so that it is read the same once more.
pub fn front(data: &[u8]) {
    for_client(data);
    for_app(data);
    let _ = in_pieces(Framing::CHUNKED, data);
}

fn for_client(data: &[u8]) {
    let mut head = RequestHead::default();
    let Some(length) = read(data, |bytes| head.read(bytes)) else {
        return;
    };
    let client = Client {
        address: [192, 0, 2, 7].into(),
        is_tls: true,
        is_insecure_local: false,
        version: "1.1",
    };
    let mut out = Vec::new();
    request::put(&mut out, &head, &Provenance::of(&client, false));
    let mut again = RequestHead::default();
    again.read(&out).unwrap();
    assert_eq!(again.method(), head.method());
    assert_eq!(again.target(), head.target());
    assert_eq!(again.host_value(), head.host_value());
    assert_eq!(again.framing(), head.framing());
    assert_eq!(again.is_websocket(), head.is_websocket());
    assert!(again.authority().is_none());
    let claims = again.lines().of_kind(Kind::Claim).count();
    assert_eq!(claims, 3, "only ours");
    for kind in [Kind::Hop, Kind::Ambiguous] {
        assert_eq!(again.lines().of_kind(kind).count(), 0, "{kind:?}");
    }
    for cookies in again.lines().of_kind(Kind::Cookie) {
        for pair in cookies.split(|byte| *byte == b';') {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            assert!(!is_ours(name.trim_ascii()));
        }
    }
    let body = data.get(length..).unwrap_or_default();
    let _ = in_pieces(head.framing(), body);
}

fn for_app(data: &[u8]) {
    let mut head = ResponseHead::default();
    let Some(length) = read(data, |bytes| head.read(bytes)) else {
        return;
    };
    let (mut out, mut ended) = (Vec::new(), Ended::default());
    let reply = response::Reply {
        host: "alice.ws.example.com",
        set_cookie: None,
        closes: false,
    };
    response::put(&mut out, &head, &reply, &mut ended);
    let mut again = ResponseHead::default();
    again.read(&out).unwrap();
    assert_eq!(again.status(), head.status());
    assert_eq!(again.framing(&Method::GET), head.framing(&Method::GET));
    assert_eq!(again.lines().of_kind(Kind::AltSvc).count(), 0);
    for cookie in again.lines().of_kind(Kind::SetCookie) {
        let name = cookie.split(|byte| *byte == b'=').next();
        assert!(!is_ours(name.unwrap_or_default().trim_ascii()));
    }
    let body = data.get(length..).unwrap_or_default();
    let _ = in_pieces(head.framing(&Method::GET), body);
}

/// The length of the head, if it is one.
fn read(data: &[u8], head: impl FnOnce(&[u8]) -> Result<(), Violation>) -> Option<usize> {
    let length = Scan::default().end(data).ok()??;
    let bytes = data.get(..length)?;
    head(bytes).ok()?;
    Some(length)
}

/// A body is the same whole and in pieces.
fn in_pieces(framing: Framing, body: &[u8]) -> Result<usize, Violation> {
    let mut whole = framing;
    let expected = whole.check(body);
    let (mut cut, mut checked, mut there) = (framing, 0, 0);
    while there < body.len() {
        there = body.len().min(there + 1 + there % 7);
        match cut.check(body.get(checked..there).unwrap_or_default()) {
            Ok(more) => checked += more,
            Err(violation) => {
                assert!(expected.is_err());
                return Err(violation);
            }
        }
    }
    assert_eq!(expected, Ok(checked));
    assert_eq!(whole, cut);
    Ok(checked)
}
