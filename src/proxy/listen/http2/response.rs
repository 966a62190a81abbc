//! A response of HTTP/1, as one of HTTP/2.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::proxy::wire::ResponseHead;
use crate::proxy::wire::fields::{Kind, split};
use crate::proxy::wire::grammar::trimmed;

/// The head. HTTP/2 has no switch: a WebSocket begins with 200.
pub fn head(head: &ResponseHead) -> Option<Response<()>> {
    let is_switch = head.status() == 101;
    let status = if is_switch {
        StatusCode::OK
    } else {
        StatusCode::from_u16(head.status()).ok()?
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    let lines = head.lines();
    for field in lines.fields() {
        let (name, value) = (lines.name(*field), lines.value(*field));
        let is_ours = matches!(
            field.kind,
            Kind::Connection | Kind::Coding | Kind::Upgrade | Kind::KeepAlive | Kind::Hop
        );
        let is_key = is_switch && name.eq_ignore_ascii_case(b"sec-websocket-accept");
        if !is_ours && !is_key {
            let name = HeaderName::from_bytes(name).ok()?;
            let value = HeaderValue::from_bytes(value).ok()?;
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

/// Takes a line of trailers, with its end. The line that ends them is none.
pub fn trailer(trailers: &mut HeaderMap, line: &[u8]) {
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return;
    };
    let Ok((name, value)) = split(line) else {
        return;
    };
    let name = HeaderName::from_bytes(name);
    let value = HeaderValue::from_bytes(trimmed(value));
    if let (Ok(name), Ok(value)) = (name, value) {
        trailers.append(name, value);
    }
}
