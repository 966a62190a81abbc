//! A response of HTTP/1, as one of HTTP/2.

use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::proxy::wire::ResponseHead;
use crate::proxy::wire::kind::Kind;

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
