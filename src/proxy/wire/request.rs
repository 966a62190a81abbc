//! The head of a request.

use http::Method;
use memchr::{memchr, memrchr};

use super::fields::{Lines, Span};
use super::grammar::{all, decimal, is_target, is_token, members};
use super::kind::{Kind, request_kind};
use super::{Framing, Violation};

/// Longest method.
const LONGEST_METHOD: usize = 32;

/// How many headers `Connection` may name.
pub(super) const CONNECTION_NAMES: usize = 16;

/// The head of a request that passed every rule which needs no knowledge of hosts. Made once for a connection and used
/// for each request.
#[derive(Default)]
pub struct RequestHead {
    lines: Lines,
    method: Method,
    target: Target,
    host: Span,
    connection: ConnectionWords,
    is_1_1: bool,
    is_websocket: bool,
    expects_continue: bool,
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Default)]
struct Target {
    path: Span,
    /// Instead of the path, where a URL has none.
    bare: Option<&'static str>,
    authority: Option<Span>,
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ConnectionWords {
    close: bool,
    upgrade: bool,
}

impl RequestHead {
    /// Reads a whole head, its empty line included.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn read(&mut self, head: &[u8]) -> Result<(), Violation> {
        let end = memchr(b'\n', head).ok_or(Violation::BareLf)?;
        let line = head.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        self.first_line(line.ok_or(Violation::BareLf)?)?;
        self.lines.read(head, end + 1, request_kind)?;
        self.host()?;
        self.framing_of_body()?;
        self.connection_words()?;
        self.expectation()?;
        self.upgrade()
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let first = memchr(b' ', line).ok_or(Violation::RequestLine)?;
        let last = memrchr(b' ', line).ok_or(Violation::RequestLine)?;
        let method = line.get(..first).unwrap_or_default();
        let version = line.get(last + 1..).unwrap_or_default();
        let target = line.get(first + 1..last).ok_or(Violation::RequestLine)?;
        if method.is_empty() || method.len() > LONGEST_METHOD || !all(method, is_token) {
            return Err(Violation::Method);
        }
        self.is_1_1 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ if version.starts_with(b"HTTP/") => return Err(Violation::Version),
            _ => return Err(Violation::RequestLine),
        };
        self.method = match method {
            b"TRACE" | b"TRACK" => return Err(Violation::Trace),
            b"CONNECT" => return Err(Violation::Connect),
            _ => Method::from_bytes(method).map_err(|_| Violation::Method)?,
        };
        if target.is_empty() {
            return Err(Violation::RequestLine);
        }
        if !all(target, is_target) {
            return Err(Violation::TargetByte);
        }
        self.target = Target::read(target, first + 1, &self.method)?;
        Ok(())
    }

    fn host(&mut self) -> Result<(), Violation> {
        let mut hosts = self
            .lines
            .fields()
            .iter()
            .filter(|field| field.kind == Kind::Host);
        let host = *hosts.next().ok_or(Violation::HostMissing)?;
        if hosts.next().is_some() {
            return Err(Violation::HostTwice);
        }
        self.host = host.value_span();
        Ok(())
    }

    fn framing_of_body(&mut self) -> Result<(), Violation> {
        let (length, is_chunked) = body_framing(&self.lines)?;
        if is_chunked && !self.is_1_1 {
            return Err(Violation::CodingIn10);
        }
        (self.length, self.is_chunked) = (length, is_chunked);
        Ok(())
    }

    fn connection_words(&mut self) -> Result<(), Violation> {
        self.connection = ConnectionWords::default();
        let mut others: Vec<Vec<u8>> = Vec::new();
        for word in self.lines.of_kind(Kind::Connection).flat_map(members) {
            if !all(word, is_token) {
                return Err(Violation::ConnectionNames);
            }
            if word.eq_ignore_ascii_case(b"close") {
                self.connection.close = true;
            } else if word.eq_ignore_ascii_case(b"upgrade") {
                self.connection.upgrade = true;
            } else if !word.eq_ignore_ascii_case(b"keep-alive") {
                if others.len() == CONNECTION_NAMES {
                    return Err(Violation::ConnectionNames);
                }
                others.push(word.to_owned());
            }
        }
        for name in others {
            match request_kind(&name) {
                Kind::Hop => {}
                Kind::Plain if !is_end_to_end(&name) => self.lines.take_for_hop(&name),
                _ => return Err(Violation::ConnectionNames),
            }
        }
        Ok(())
    }

    fn expectation(&mut self) -> Result<(), Violation> {
        self.expects_continue = false;
        for value in self.lines.of_kind(Kind::Expect) {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Violation::Expect);
            }
            self.expects_continue = self.is_1_1;
        }
        Ok(())
    }

    /// Only `websocket` is ever asked of an upstream: other protocols are left out, as a server may that knows none.
    fn upgrade(&mut self) -> Result<(), Violation> {
        let mut protocols = self.lines.of_kind(Kind::Upgrade);
        let protocol = protocols.next().unwrap_or_default();
        let is_asked = self.connection.upgrade
            && protocols.next().is_none()
            && protocol.eq_ignore_ascii_case(b"websocket");
        let has_body = self.is_chunked || self.length.is_some_and(|length| length > 0);
        if is_asked && (self.method != Method::GET || !self.is_1_1 || has_body) {
            return Err(Violation::Upgrade);
        }
        self.is_websocket = is_asked;
        Ok(())
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query as they came, or `*`.
    pub fn target(&self) -> &str {
        let path = self.target.path.of(self.lines.bytes());
        // It is ASCII.
        self.target
            .bare
            .unwrap_or_else(|| std::str::from_utf8(path).unwrap_or("/"))
    }

    /// The host in a target that is a URL: it must be the same as in `Host`.
    pub fn authority(&self) -> Option<&[u8]> {
        Some(self.target.authority?.of(self.lines.bytes()))
    }

    /// The value of `Host`.
    pub fn host_value(&self) -> &[u8] {
        self.host.of(self.lines.bytes())
    }

    /// The header lines.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Whether it is 1.1.
    pub fn is_1_1(&self) -> bool {
        self.is_1_1
    }

    /// Whether the client asks for a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.is_websocket
    }

    /// Whether the client waits for a word before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue && !self.framing().is_over()
    }

    /// Whether the connection may serve another request. Never for 1.0.
    pub fn keeps_alive(&self) -> bool {
        self.is_1_1 && !self.connection.close
    }

    /// The body's length, where the head says it: none for chunks.
    pub fn body_length(&self) -> Option<u64> {
        (!self.is_chunked).then(|| self.length.unwrap_or(0))
    }

    /// Where the body ends.
    pub fn framing(&self) -> Framing {
        match self.length {
            _ if self.is_chunked => Framing::CHUNKED,
            Some(length) => Framing::Length(length),
            None => Framing::NONE,
        }
    }

    /// Whether `Content-Length` is there.
    pub fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// Gives back memory that one large head took.
    pub fn rest(&mut self) {
        self.lines.rest();
    }
}

impl Target {
    fn read(target: &[u8], at: usize, method: &Method) -> Result<Self, Violation> {
        let path_from = |offset: usize| Span::new(at + offset, at + target.len());
        if target.first() == Some(&b'/') {
            return Ok(Self {
                path: path_from(0),
                ..Self::default()
            });
        }
        if target == b"*" && method == Method::OPTIONS {
            return Ok(Self {
                bare: Some("*"),
                ..Self::default()
            });
        }
        let scheme = memchr(b':', target).ok_or(Violation::TargetForm)?;
        let (scheme, rest) = target.split_at(scheme);
        let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        let after = rest.strip_prefix(b"://").filter(|_| is_http);
        let after = after.ok_or(Violation::TargetForm)?;
        let start = target.len() - after.len();
        let end = memchr(b'/', after).unwrap_or(after.len());
        let authority = Some(Span::new(at + start, at + start + end));
        if end < after.len() {
            return Ok(Self {
                path: path_from(start + end),
                bare: None,
                authority,
            });
        }
        // A query without a path ends up in the authority, which is no host name then.
        let bare = if method == Method::OPTIONS { "*" } else { "/" };
        Ok(Self {
            path: Span::default(),
            bare: Some(bare),
            authority,
        })
    }
}

/// Headers that must arrive whatever `Connection` says. Most of what it may name instead has no other meaning.
pub(super) fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&str; 12] = [
        "authorization",
        "cache-control",
        "date",
        "dnt",
        "origin",
        "pragma",
        "range",
        "referer",
        "trailer",
        "user-agent",
        "via",
        "x-requested-with",
    ];
    const FAMILIES: [&str; 6] = [
        "accept",
        "access-control-",
        "content-",
        "if-",
        "sec-",
        "x-csrf",
    ];
    let starts = |family: &&str| {
        name.get(..family.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes()))
    };
    NAMES
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        || FAMILIES.iter().any(starts)
}

/// What the headers say of the body: its length, and whether it comes in chunks. Never both.
pub(super) fn body_framing(lines: &Lines) -> Result<(Option<u64>, bool), Violation> {
    let mut lengths = lines.of_kind(Kind::Length);
    let mut codings = lines.of_kind(Kind::Coding);
    let (length, coding) = (lengths.next(), codings.next());
    if length.is_some() && coding.is_some() {
        return Err(Violation::LengthAndCoding);
    }
    if lengths.next().is_some() {
        return Err(Violation::LengthTwice);
    }
    if codings.next().is_some() {
        return Err(Violation::CodingTwice);
    }
    if coding.is_some_and(|coding| coding != b"chunked") {
        return Err(Violation::Coding);
    }
    let length = length.map(|length| decimal(length).ok_or(Violation::Length));
    Ok((length.transpose()?, coding.is_some()))
}

#[cfg(test)]
mod tests;
