//! Between the data path and those who decide: what is asked for one request, and what is answered.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response};
use hyper::body::Bytes;

use crate::proxy::host::RequestHost;

/// Paths below this one are ours on every host. Matched on the bytes as they came.
pub const RESERVED_PREFIX: &str = "/.workstead-proxy/";

/// On every answer of ours and on none of a workspace's: `workstead doctor` and people can tell who answered.
pub const MARK: HeaderName = HeaderName::from_static("x-workstead-proxy");

/// Longest body of a request that we answer ourselves: forms of a few fields, and logout tokens.
pub const OWN_BODY_LIMIT: usize = 16 * 1024;

/// An answer of ours, short and whole.
pub type Answer = Response<Bytes>;

/// Decides on each request, whatever connection it came by.
pub trait Door: Send + Sync + 'static {
    /// Whether the body is read, up to [`OWN_BODY_LIMIT`], before [`Door::decide`] is asked: for what we answer ourselves.
    fn wants_body(&self, request: &Request<'_>) -> bool;

    /// Decides. It may wait (a start is watched, a code is redeemed), but never without a deadline.
    fn decide(&self, request: Request<'_>) -> impl Future<Output = Verdict> + Send;

    /// The page for a request that was to be forwarded and could not be. Nothing was sent to the client yet.
    fn failed(&self, request: Request<'_>, failure: Failure) -> Answer;

    /// A request that the front refused, by the name of the rule: for counters and logs.
    fn refused(&self, client: &Client, rule: &'static str);
}

/// Why the port of a workspace gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing listens there.
    #[error("the port refused the connection")]
    Refused,
    /// No route, or another error of the network.
    #[error("the pod was not reached")]
    Unreachable,
    /// The connection was not there in time.
    #[error("the port did not answer in time")]
    Slow,
    /// It closed the connection instead of an answer.
    #[error("the app closed the connection before it answered")]
    Ended,
    /// What it answered broke a rule, by the rule's name.
    #[error("the app's response broke the rule {0}")]
    Broken(&'static str),
}

/// One request, as the front read and checked it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, byte for byte as they came; it begins with `/` (or is `*` for OPTIONS).
    pub target: &'a str,
    /// The host, from `Host` or `:authority`.
    pub host: &'a RequestHost,
    /// The header lines.
    pub fields: &'a dyn Fields,
    /// Whether it asks for a WebSocket, in either version of HTTP.
    pub is_websocket: bool,
    /// How long its body is, where the head says so; none for chunks and streams.
    pub body_length: Option<u64>,
    /// The body, where [`Door::wants_body`] said so.
    pub body: &'a [u8],
    /// Who is at the other end.
    pub client: &'a Client,
}

impl<'a> Request<'a> {
    /// The path, without the query.
    pub fn path(&self) -> &'a str {
        self.target
            .split_once('?')
            .map_or(self.target, |(path, _)| path)
    }

    /// What stands after the first `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Whether a browser asks, to show what it gets, and where. Browsers that say nothing of it ask for HTML then.
    pub fn navigation(&self) -> Option<Navigation> {
        if *self.method != Method::GET || self.is_websocket {
            return None;
        }
        if !self.has("sec-fetch-mode") && !self.has("sec-fetch-dest") {
            let accept = self.only("accept").unwrap_or_default();
            let is_html = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(b"text/html");
            let mut parts = accept.split(|byte| matches!(byte, b',' | b';'));
            return parts.any(is_html).then_some(Navigation::Window);
        }
        if self.only("sec-fetch-mode") != Some(b"navigate") {
            return None;
        }
        match self.only("sec-fetch-dest")? {
            b"document" => Some(Navigation::Window),
            b"frame" | b"iframe" => Some(Navigation::Frame),
            b"empty" => Some(Navigation::Repeated),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        let mut found = false;
        self.fields.each(name, &mut |_| found = true);
        found
    }

    /// The value of a header that stands there exactly once.
    pub fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut found = None;
        let mut count = 0;
        self.fields.each(name, &mut |value| {
            count += 1;
            found = Some(value);
        });
        found.filter(|_| count == 1)
    }
}

/// Who shows a page that a browser asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Navigation {
    /// A window of its own.
    Window,
    /// A frame of another page.
    Frame,
    /// A window or a frame: the host's service worker repeats the request, and browsers no longer say for which. Only a
    /// worker of the very host can: no script makes a request of this mode, and a worker may only repeat what it was
    /// handed (Fetch, "new Request(input, init)").
    Repeated,
}

/// Header lines, in the order in which they came.
pub trait Fields: Send + Sync {
    /// Calls with each value of a header, its name compared without regard to case.
    fn each<'a>(&'a self, name: &str, call: &mut dyn FnMut(&'a [u8]));
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address: the socket's, or what a trusted balancer said by the PROXY protocol.
    pub address: IpAddr,
    /// Whether it came by TLS.
    pub is_tls: bool,
    /// Whether it came to the listener for `*.localhost`, in plain HTTP.
    pub is_insecure_local: bool,
    /// Which version of HTTP, for logs: `1.0`, `1.1` or `2`.
    pub version: &'static str,
}

/// What becomes of a request.
pub enum Verdict {
    /// We answer.
    Answer(Answer),
    /// It goes to the workspace.
    Forward(Box<Order>),
}

/// How a request is forwarded.
pub struct Order {
    /// Which connections it may use.
    pub upstream: UpstreamKey,
    /// Where the port is.
    pub address: SocketAddr,
    /// What the port speaks.
    pub protocol: UpstreamProtocol,
    /// A cookie to add to the response: a renewed session.
    pub set_cookie: Option<HeaderValue>,
    /// The right to go on, for as long as the request lasts: its end cuts the stream.
    pub permit: Arc<dyn Permit>,
    /// What counts as being used.
    pub meter: Arc<dyn Meter>,
}

/// Connections are never shared between workspaces, pods or ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamKey {
    /// UID of the Workspace.
    pub workspace: Arc<str>,
    /// UID of its pod.
    pub pod: Arc<str>,
    /// The port.
    pub port: u16,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 in plain text.
    Http,
    /// HTTP/1.1 by TLS with a certificate that nobody checks: the pod was proved by its first process.
    Https,
    /// HTTP/2 in plain text, as gRPC speaks it.
    H2c,
}

/// The right of one request to go on.
pub trait Permit: Send + Sync {
    /// Ends when the right does: share taken back, logout, workspace gone.
    fn cut(&self) -> tokio_util::sync::WaitForCancellationFutureOwned;
}

/// Counts use of a workspace.
pub trait Meter: Send + Sync {
    /// The client did something: a request, or data in a WebSocket.
    fn touch(&self);

    /// An upgraded stream began; its end is [`Meter::ended`].
    fn upgraded(&self) {}

    /// The request and its response, or the upgraded stream, are over.
    fn ended(&self, ended: &Ended) {
        let _ = ended;
    }
}

/// What became of a forwarded request: for logs and counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The status of the response; none if it never began.
    pub status: Option<u16>,
    /// Bytes of the body, or of the upgraded stream, from the client.
    pub received: u64,
    /// Bytes of the body, or of the upgraded stream, to the client.
    pub sent: u64,
    /// How long a new connection to the port took; none if there was one already.
    pub connect: Option<Duration>,
    /// `Set-Cookie` lines that were dropped for naming a cookie of ours.
    pub cookies_dropped: u32,
    /// `Domain` attributes that were removed for reaching other workspaces.
    pub domains_removed: u32,
}
