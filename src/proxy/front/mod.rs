//! The way in: connections of clients. What they send is read strictly; whatever two readers could understand
//! differently is refused here, and no upstream sees it. What passes is put before the door.

mod answer;
mod body;
mod bomb;
mod connection;
mod head;
mod linger;

pub use head::HEAD as FIRST_HEAD;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::door::{Client, Door};
use crate::proxy::forward::Forward;
use crate::proxy::host::Site;
use crate::proxy::wire::RequestHead;
use crate::proxy::wire::grammar::members;
use crate::proxy::wire::kind::Kind;

/// How many heads that are far too long are read at once, just to answer them.
const BOMBS: usize = 16;

/// What all connections of clients share.
pub struct Front<D> {
    door: Arc<D>,
    forward: Arc<Forward>,
    site: Arc<Site>,
    drain: Drain,
    bombs: Semaphore,
    spare: connection::Spare,
}

/// How connections are told to end.
#[derive(Clone, Default)]
pub struct Drain {
    /// No further requests: idle connections end at once, the others with their next response.
    pub begin: CancellationToken,
    /// Whatever is left ends now. WebSockets are told so.
    pub end: CancellationToken,
}

/// Who opened a connection, and what for.
pub struct Peer {
    /// Who.
    pub client: Client,
    /// The hosts that it may ask for.
    pub hosts: Hosts,
    /// Whether the socket is one of a proxy before us whose word on clients is believed.
    pub is_forwarder: bool,
    /// When it was opened: the first head has a limit from there.
    pub opened: Instant,
}

impl Peer {
    /// Who asks: the other end, or whom a proxy before us names. The last address in the list is the one that it saw
    /// itself; what stands before is anybody's word.
    fn client_of(&self, head: &RequestHead) -> Cow<'_, Client> {
        if !self.is_forwarder {
            return Cow::Borrowed(&self.client);
        }
        let lines = head.lines();
        let is_list = |name: &[u8]| name.eq_ignore_ascii_case(b"x-forwarded-for");
        let last = lines
            .fields()
            .iter()
            .rfind(|field| field.kind == Kind::Claim && is_list(lines.name(**field)));
        let address = last
            .and_then(|field| members(lines.value(*field)).last())
            .and_then(|address| std::str::from_utf8(address).ok()?.parse::<IpAddr>().ok());
        match address {
            Some(address) => Cow::Owned(Client {
                address: address.to_canonical(),
                ..self.client.clone()
            }),
            None => Cow::Borrowed(&self.client),
        }
    }
}

/// Which hosts a connection was opened for: any other gets 421.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Whatever it asks for: nothing was said before.
    Any,
    /// The one that TLS was opened for, in lower case: HTTP/1 asks for no other.
    One(Box<str>),
    /// Those that the certificate names which the client was shown: HTTP/2 asks for all of them by one connection.
    Of(Arc<[String]>),
}

impl Hosts {
    /// Whether a host, in lower case, is among them.
    pub fn include(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(name) => **name == *host,
            Self::Of(names) => names.iter().any(|name| covers(name, host)),
        }
    }
}

/// Whether a name of a certificate stands for a host. A `*` stands for the first label and for no more.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host
            .split_once('.')
            .is_some_and(|(first, rest)| !first.is_empty() && rest == domain),
        None => name == host,
    }
}

impl<D: Door> Front<D> {
    /// Puts requests before this door.
    pub fn new(door: Arc<D>, forward: Arc<Forward>, site: Arc<Site>, drain: Drain) -> Self {
        Self {
            door,
            forward,
            site,
            drain,
            bombs: Semaphore::new(BOMBS),
            spare: connection::Spare::default(),
        }
    }

    /// Serves an HTTP/1 connection until it ends, the stream it may turn into included.
    pub async fn serve<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // What requests need is large, and a WebSocket that lasts for days needs none of it. It is there once: each place
        // in this future that it passes through would be as large.
        let requests = Box::pin(self.requests(stream, peer));
        let switched = self.drain.end.run_until_cancelled(requests).await;
        if let Some(Some(tunnel)) = switched {
            tunnel.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::unknown(false, "X-Forwarded-For: 198.51.100.1", "192.0.2.7")]
    #[case::none(true, "X: y", "192.0.2.7")]
    #[case::last(true, "X-Forwarded-For: 203.0.113.9, 198.51.100.1", "198.51.100.1")]
    #[case::last_line(
        true,
        "X-Forwarded-For: 203.0.113.9\r\nx-forwarded-for: 2001:db8::1",
        "2001:db8::1"
    )]
    #[case::no_address(true, "X-Forwarded-For: 203.0.113.9, unknown", "192.0.2.7")]
    #[case::ambiguous(true, "X_Forwarded_For: 198.51.100.1", "192.0.2.7")]
    fn host_confusion_only_a_known_proxy_says_who_asks_and_only_what_it_saw(
        #[case] is_forwarder: bool,
        #[case] line: &str,
        #[case] expected: &str,
    ) {
        let peer = Peer {
            client: Client {
                address: "192.0.2.7".parse().unwrap(),
                is_tls: true,
                is_insecure_local: false,
                version: "1.1",
            },
            hosts: Hosts::Any,
            is_forwarder,
            opened: Instant::now(),
        };
        let mut head = RequestHead::default();
        head.read(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(peer.client_of(&head).address.to_string(), expected);
    }

    #[rstest]
    #[case("alice.ws.example.com", true)]
    #[case("auth.example.net", true)]
    #[case("ws.example.com", false)]
    #[case("a.b.ws.example.com", false)]
    #[case(".ws.example.com", false)]
    #[case("alice.ws.example.com.evil.test", false)]
    #[case("x.auth.example.net", false)]
    fn a_certificate_is_good_for_the_names_in_it_and_a_star_for_one_label(
        #[case] host: &str,
        #[case] expected: bool,
    ) {
        let names = ["*.ws.example.com", "auth.example.net"].map(str::to_owned);
        assert_eq!(Hosts::Of(Arc::from(names)).include(host), expected);
    }
}
