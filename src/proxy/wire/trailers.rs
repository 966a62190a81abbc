//! Trailers between the two versions of HTTP.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::split;
use super::grammar::trimmed;
use super::kind::may_trail;

/// Takes a line of HTTP/1, with its end. The line that ends them all is none.
pub fn take(trailers: &mut HeaderMap, line: &[u8]) {
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

/// Writes the end of a body in chunks, with all of them.
pub fn put(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Without those that only heads may have.
pub fn without_others(mut trailers: HeaderMap) -> HeaderMap {
    let others: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !may_trail(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in others {
        trailers.remove(name);
    }
    trailers
}
