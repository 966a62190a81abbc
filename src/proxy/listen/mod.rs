//! Where connections come from: sockets, TLS, limits on how many there are, and their end.

pub mod certificates;
pub mod forwarded_address;
mod http2;
pub mod limits;
pub mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, warn};

use self::limits::{Limits, Places};
use self::tls::Tls;
use crate::model::net::Cidr;
use crate::proxy::door::{Client, Door};
use crate::proxy::forward::upstream::tune;
use crate::proxy::front::{Drain, FIRST_HEAD, Front, Hosts, Peer};

/// How long to wait when there are no descriptors left: connections that end give some back.
const NO_DESCRIPTORS: Duration = Duration::from_millis(100);
/// How long connections may take to end after they were told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a listener takes connections.
#[derive(Clone)]
pub struct Options {
    /// How many at once.
    pub limits: Limits,
    /// How it speaks TLS; none, it doesn't.
    pub tls: Option<Tls>,
    /// Balancers that tell the client's address by the PROXY protocol, and must. Nobody else is asked.
    pub proxy_protocol_from: Vec<Cidr>,
    /// Proxies before us whose word on clients goes on to the apps.
    pub trusted_forwarders: Vec<Cidr>,
    /// Whether it is the one for `*.localhost`, in plain HTTP.
    pub is_insecure_local: bool,
    /// How long connections may go on once the drain has begun.
    pub drain_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            tls: None,
            proxy_protocol_from: Vec::new(),
            trusted_forwarders: Vec::new(),
            is_insecure_local: false,
            drain_limit: Duration::from_secs(30),
        }
    }
}

/// Takes connections of one socket.
pub struct Listener<D> {
    socket: TcpListener,
    front: Arc<Front<D>>,
    door: Arc<D>,
    drain: Drain,
    options: Arc<Options>,
    places: Arc<Places>,
}

impl<D: Door> Listener<D> {
    /// Takes those of this socket. They go to this front, which has the same door and the same drain.
    pub fn new(
        socket: TcpListener,
        front: Arc<Front<D>>,
        door: Arc<D>,
        drain: Drain,
        options: Options,
    ) -> Self {
        Self {
            socket,
            front,
            door,
            drain,
            places: Places::new(options.limits),
            options: Arc::new(options),
        }
    }

    /// Takes connections until the drain begins, then waits for those that there are, up to the limit.
    pub async fn run(self) {
        let tasks = TaskTracker::new();
        let begin = self.drain.begin.clone();
        while let Some(accepted) = begin.run_until_cancelled(self.socket.accept()).await {
            match accepted {
                Ok((stream, address)) => self.accepted(&tasks, stream, address),
                Err(error) if is_of_one_connection(&error) => {
                    debug!(%error, "a connection was gone before it was taken")
                }
                Err(error) => {
                    warn!(%error, "failed to take a connection");
                    sleep(NO_DESCRIPTORS).await;
                }
            }
        }
        // Nobody may wait in the queue of a socket that no one reads.
        drop(self.socket);
        tasks.close();
        if timeout(self.options.drain_limit, tasks.wait())
            .await
            .is_err()
        {
            self.drain.end.cancel();
        }
        if timeout(FAREWELL, tasks.wait()).await.is_err() {
            warn!(left = tasks.len(), "connections did not end in time");
        }
    }

    fn accepted(&self, tasks: &TaskTracker, stream: TcpStream, address: SocketAddr) {
        let address = address.ip().to_canonical();
        let client = Client {
            address,
            is_tls: self.options.tls.is_some(),
            is_insecure_local: self.options.is_insecure_local,
            version: "1.1",
        };
        // A balancer has as many as its clients together: theirs are counted once it has said who they are.
        let speaks_for_others = is_among(&self.options.proxy_protocol_from, address);
        let taken = self.places.take().and_then(|mut place| {
            if !speaks_for_others {
                place.is_of(address)?;
            }
            Ok(place)
        });
        let mut place = match taken {
            Ok(place) => place,
            Err(rule) => return self.door.refused(&client, rule),
        };
        tune(&stream);
        let (front, drain) = (self.front.clone(), self.drain.clone());
        let options = self.options.clone();
        let peer = Peer {
            client,
            hosts: Hosts::Any,
            is_forwarder: is_among(&options.trusted_forwarders, address),
            opened: Instant::now(),
        };
        let door = self.door.clone();
        let connection = async move {
            if !speaks_for_others {
                serve(front, drain, options, stream, peer).await;
            } else if let Some((stream, peer)) = Box::pin(introduced(stream, peer)).await {
                match place.is_of(peer.client.address) {
                    Ok(()) => serve(front, drain, options, stream, peer).await,
                    Err(rule) => door.refused(&peer.client, rule),
                }
            }
            drop(place);
        };
        tasks.spawn(connection.instrument(debug_span!("connection")));
    }
}

/// Reads what a balancer says of its client.
async fn introduced(mut stream: TcpStream, mut peer: Peer) -> Option<(TcpStream, Peer)> {
    let deadline = peer.opened + FIRST_HEAD;
    match timeout_at(deadline, forwarded_address::read(&mut stream)).await {
        Ok(Ok(Some(address))) => peer.client.address = address,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            debug!(%error, "a connection ended before it began");
            return None;
        }
        Err(_) => {
            debug!("a connection ended before it began");
            return None;
        }
    }
    Some((stream, peer))
}

/// From the first byte to the last. What is there before HTTP is boxed: it is over when a long stream begins.
async fn serve<D: Door>(
    front: Arc<Front<D>>,
    drain: Drain,
    options: Arc<Options>,
    stream: TcpStream,
    mut peer: Peer,
) {
    let deadline = peer.opened + FIRST_HEAD;
    let Some(tls) = options.tls.clone() else {
        return front.serve(stream, peer).await;
    };
    drop(options);
    match Box::pin(timeout_at(deadline, tls.accept(stream))).await {
        Ok(Ok(accepted)) if accepted.is_http_2 => {
            peer.client.version = "2";
            peer.hosts = accepted.hosts;
            Box::pin(http2::serve(front, accepted.stream, peer, &drain)).await;
        }
        Ok(Ok(accepted)) => {
            peer.hosts = accepted.hosts;
            front.serve(accepted.stream, peer).await;
        }
        Ok(Err(error)) => debug!(%error, "no TLS with a client"),
        Err(_) => debug!("no TLS with a client in time"),
    }
}

fn is_among(ranges: &[Cidr], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(Cidr::of(address)))
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}
