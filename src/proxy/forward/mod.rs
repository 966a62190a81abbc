//! From the door to the pod and back: the head is rewritten, bodies are copied as they come, a WebSocket becomes a copy
//! of bytes. Connections are kept for each workspace, pod and port apart.

mod anyone;
pub mod cookies;
pub mod exchange;
pub mod frames;
mod h2c;
pub mod pool;
pub mod request;
pub mod response;
pub mod tunnel;
pub mod upstream;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::exchange::{Exchange, Scratch};
use self::pool::Pool;
use self::request::Provenance;
use self::upstream::Upstream;
use crate::proxy::door::{Ended, Failure, Order, UpstreamProtocol};
use crate::proxy::host::RequestHost;
use crate::proxy::wire::{Blocks, Link, RequestHead, Violation};

/// Blocks that are kept for whoever needs one next: 4 MiB.
const BLOCKS: usize = 256;

/// What all connections of a proxy share to forward.
pub struct Forward {
    /// Connections to ports that wait for a request.
    pub pool: Pool,
    /// Memory for bytes on their way.
    pub blocks: Arc<Blocks>,
    /// How long a WebSocket may be silent in both directions; none, for ever.
    pub silent_stream: Option<Duration>,
}

/// One request that goes to a workspace.
pub struct Call<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// The host it named.
    pub host: &'a RequestHost,
    /// What we say of the client.
    pub provenance: &'a Provenance,
    /// How it goes on.
    pub order: &'a Order,
    /// Whether the client's connection ends with the response.
    pub closes: bool,
    /// When it has begun, connections of clients end with their next response.
    pub drain: &'a CancellationToken,
}

/// How forwarding ended, as the client's connection must know.
pub enum Outcome {
    /// Request and response are over, and the connection may serve another.
    Done,
    /// The response is over, and the connection too.
    Close,
    /// It broke off: the client must not take what it got for the whole.
    Abort,
    /// The client sent a body that broke a rule. Whether the response had begun.
    Violation(Violation, bool),
    /// The app finds the head too long, and cookies make it so. Nothing was sent to the client.
    CookieBomb,
    /// There is no response, and nothing was sent to the client.
    Failed(Failure),
    /// Both sides switched to a WebSocket.
    Switched(Upstream),
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            pool: Pool::default(),
            blocks: Blocks::new(BLOCKS),
            silent_stream: None,
        }
    }
}

impl Forward {
    /// Sends a request on and copies what comes back, until both are over.
    pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        call: &Call<'_>,
        link: &mut Link<S>,
        scratch: &mut Scratch,
        ended: &mut Ended,
    ) -> Outcome {
        let order = call.order;
        if order.protocol == UpstreamProtocol::H2c && call.head.is_websocket() {
            return Outcome::Failed(Failure::Broken("websocket_by_h2c"));
        }
        scratch.begin(call);
        let kept = self.pool.take(&order.upstream, order.protocol);
        let mut upstream = match kept {
            Some(upstream) => upstream,
            None => match Box::pin(self.connect(order, ended)).await {
                Ok(upstream) => upstream,
                Err(failure) => return Outcome::Failed(failure),
            },
        };
        let mut outcome = Exchange::new(call, link, &mut upstream, scratch, ended)
            .run()
            .await;
        if matches!(outcome, exchange::End::Unsent) && call.head.method().is_idempotent() {
            upstream = match Box::pin(self.connect(order, ended)).await {
                Ok(upstream) => upstream,
                Err(failure) => return Outcome::Failed(failure),
            };
            let again = Exchange::new(call, link, &mut upstream, scratch, ended);
            outcome = Box::pin(again.run()).await;
        }
        match outcome {
            exchange::End::Over { kept, closes } => {
                if kept {
                    self.pool.give(&order.upstream, order.protocol, upstream);
                }
                if closes {
                    Outcome::Close
                } else {
                    Outcome::Done
                }
            }
            exchange::End::Switched => Outcome::Switched(upstream),
            exchange::End::Abort => Outcome::Abort,
            exchange::End::Violation(violation, began) => Outcome::Violation(violation, began),
            exchange::End::Unsent => Outcome::Failed(Failure::Ended),
            exchange::End::CookieBomb => Outcome::CookieBomb,
            exchange::End::Failed(failure) => Outcome::Failed(failure),
        }
    }

    async fn connect(&self, order: &Order, ended: &mut Ended) -> Result<Upstream, Failure> {
        if order.protocol == UpstreamProtocol::H2c {
            let shared = &self.pool.shared;
            let (ticket, took) = shared.ticket(&order.upstream, order.address).await?;
            ended.connect = took;
            return Ok(Upstream::of_ticket(ticket, &self.blocks));
        }
        let begin = tokio::time::Instant::now();
        let generation = self.pool.generation();
        let upstream =
            Upstream::connect(order.address, order.protocol, &self.blocks, generation).await?;
        ended.connect = Some(begin.elapsed());
        Ok(upstream)
    }
}
