//! The requests of one connection, one after the other.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{self, BodyError, SKIPPED};
use super::head::{Came, HEAD, Reader};
use super::linger::linger;
use super::{Front, Hosts, Peer, answer, bomb};
use crate::proxy::door::{Answer, Door, Ended, Meter, Order, Request, Verdict};
use crate::proxy::forward::exchange::Scratch;
use crate::proxy::forward::request::Provenance;
use crate::proxy::forward::tunnel::Tunnel;
use crate::proxy::forward::{Call, Outcome};
use crate::proxy::host::{RequestHost, Site};
use crate::proxy::wire::buffer::Fill;
use crate::proxy::wire::{Framing, Link, RequestHead, Violation};

/// What becomes of the connection after a request.
enum Next {
    /// It serves another one.
    Request,
    /// It ends in order.
    End,
    /// It breaks off.
    Abort,
    /// It has become a WebSocket.
    Switched(Box<Switched>),
}

struct Switched {
    upstream: crate::proxy::forward::upstream::Upstream,
    order: Box<Order>,
    ended: Ended,
}

/// What a connection needs for its requests, made once.
struct Requests {
    peer: Peer,
    provenance: Provenance,
    head: RequestHead,
    host: HostMemo,
    scratch: Scratch,
    out: Vec<u8>,
}

/// The memory of connections that are over, for those that come: each request of HTTP/2 is one.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Memory>>);

/// What a connection writes into anew for each request.
#[derive(Default)]
struct Memory {
    head: RequestHead,
    scratch: Scratch,
    out: Vec<u8>,
}

impl Spare {
    /// So many are kept, of a few KiB each.
    const KEPT: usize = 64;

    fn take(&self) -> Memory {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    /// Nothing of one client is there for the next.
    fn give(&self, mut memory: Memory) {
        memory.head.clear();
        memory.scratch.clear();
        memory.out.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(memory);
        }
    }
}

impl<D: Door> Front<D> {
    /// Serves requests until the connection ends or becomes a WebSocket.
    pub(super) async fn requests<S>(&self, stream: S, peer: Peer) -> Option<Box<Tunnel<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut link = Link::new(stream, self.forward.blocks.clone(), peer.opened + HEAD);
        let Memory { head, scratch, out } = self.spare.take();
        let mut requests = Requests {
            provenance: Provenance::of(&peer.client, peer.is_forwarder),
            peer,
            head,
            host: HostMemo::default(),
            scratch,
            out,
        };
        let switched = self.one_by_one(&mut link, &mut requests).await;
        requests.rest();
        let Requests {
            head, scratch, out, ..
        } = requests;
        self.spare.give(Memory { head, scratch, out });
        let Switched {
            upstream,
            order,
            ended,
        } = *switched?;
        let (client, end) = ((link.stream, link.input), self.drain.end.clone());
        let tunnel = Tunnel::new(client, upstream, &order, ended, end);
        Some(Box::new(
            tunnel.ends_after_silence(self.forward.silent_stream),
        ))
    }

    async fn one_by_one<S>(
        &self,
        link: &mut Link<S>,
        requests: &mut Requests,
    ) -> Option<Box<Switched>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut is_first = true;
        loop {
            let reader = Reader::new(link, &mut requests.head, &self.bombs, is_first);
            let next = match reader.read(&self.drain.begin).await {
                Came::Head => self.request(link, requests).await,
                Came::Bomb => self.bomb(link, requests).await,
                Came::Refused(violation) => self.refuse(link, requests, violation).await,
                Came::Nothing => Next::Abort,
                Came::Parted => Next::End,
            };
            match next {
                Next::Request => requests.rest(),
                Next::End => {
                    linger(link).await;
                    return None;
                }
                Next::Abort => return None,
                Next::Switched(switched) => return Some(switched),
            }
            is_first = false;
        }
    }

    async fn request<S>(&self, link: &mut Link<S>, requests: &mut Requests) -> Next
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let hosts = &requests.peer.hosts;
        if let Err(violation) = requests.host.read(&self.site, &requests.head, hosts) {
            return self.refuse(link, requests, violation).await;
        }
        let Some(host) = requests.host.host.as_ref() else {
            return self.refuse(link, requests, Violation::HostGrammar).await;
        };
        let head = &requests.head;
        let client = requests.peer.client_of(head);
        let mut request = Request {
            method: head.method(),
            target: head.target(),
            host,
            fields: head.lines(),
            is_websocket: head.is_websocket(),
            body_length: head.body_length(),
            body: &[],
            client: &client,
        };
        let mut framing = head.framing();
        let mut body = Vec::new();
        if self.door.wants_body(&request) {
            if head.expects_continue() && !answer::send(link, CONTINUE).await {
                return Next::Abort;
            }
            match body::read(link, framing, &mut body).await {
                Ok(()) => framing = Framing::NONE,
                Err(BodyError::Gone) => return Next::Abort,
                Err(BodyError::Refused(violation)) => {
                    return self.refuse(link, requests, violation).await;
                }
            }
            request.body = &body;
        }
        // What follows an upgrade that was not granted may be no request.
        let closes = !head.keeps_alive() || head.is_websocket() || self.drain.begin.is_cancelled();
        match decided(link, self.door.decide(request)).await {
            None => Next::Abort,
            Some(Verdict::Answer(answer)) => {
                reply(link, &mut requests.out, head, framing, &answer, closes).await
            }
            Some(Verdict::Forward(order)) => {
                let call = Call {
                    head,
                    host,
                    provenance: &requests.provenance,
                    order: &order,
                    closes,
                    drain: &self.drain.begin,
                };
                let mut record = Record::new(&order);
                let scratch = &mut requests.scratch;
                let sent = self.forward.send(&call, link, scratch, &mut record.ended);
                match sent.await {
                    Outcome::Done => Next::Request,
                    Outcome::Close => Next::End,
                    Outcome::Abort => Next::Abort,
                    Outcome::Switched(upstream) => {
                        let ended = record.disarm();
                        Next::Switched(Box::new(Switched {
                            upstream,
                            order,
                            ended,
                        }))
                    }
                    Outcome::Violation(violation, true) => {
                        self.door.refused(&requests.peer.client, violation.rule());
                        Next::Abort
                    }
                    Outcome::Violation(violation, false) => {
                        drop(record);
                        self.refuse(link, requests, violation).await
                    }
                    Outcome::CookieBomb => {
                        drop(record);
                        self.bomb(link, requests).await
                    }
                    Outcome::Failed(failure) => {
                        let answer = self.door.failed(request, failure);
                        // How much of the body went to the upstream is of no use any more.
                        let closes = closes || !framing.is_over();
                        let out = &mut requests.out;
                        reply(link, out, head, Framing::NONE, &answer, closes).await
                    }
                }
            }
        }
    }

    async fn refuse<S>(
        &self,
        link: &mut Link<S>,
        requests: &mut Requests,
        violation: Violation,
    ) -> Next
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.door.refused(&requests.peer.client, violation.rule());
        let out = &mut requests.out;
        out.clear();
        match violation {
            Violation::HeadLength => bomb::put(out, None, self.site.domain()),
            _ => answer::put_refusal(out, violation),
        }
        last_word(link, out).await
    }

    async fn bomb<S>(&self, link: &mut Link<S>, requests: &mut Requests) -> Next
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.door
            .refused(&requests.peer.client, Violation::HeadLength.rule());
        let out = &mut requests.out;
        out.clear();
        bomb::put(out, Some(&requests.head), self.site.domain());
        last_word(link, out).await
    }
}

/// The word that a client waits for before it sends a body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

async fn last_word<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, out: &[u8]) -> Next {
    if answer::send(link, out).await {
        Next::End
    } else {
        Next::Abort
    }
}

/// Sends an answer of ours. What nobody read of the request's body is skipped, if that is little.
async fn reply<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    out: &mut Vec<u8>,
    head: &RequestHead,
    framing: Framing,
    answer: &Answer,
    closes: bool,
) -> Next {
    let is_little = matches!(framing, Framing::Length(length) if length <= SKIPPED);
    let must_skip = !framing.is_over();
    let closes = closes || (must_skip && (!is_little || head.expects_continue()));
    out.clear();
    answer::put(out, answer, head.method(), closes);
    if !answer::send(link, out).await {
        return Next::Abort;
    }
    if closes {
        return Next::End;
    }
    if must_skip && body::skip(link, framing).await.is_err() {
        return Next::Abort;
    }
    Next::Request
}

/// Waits for the decision, for as long as the client does.
async fn decided<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    decision: impl Future<Output = Verdict>,
) -> Option<Verdict> {
    let mut decision = pin!(decision);
    poll_fn(|cx| match decision.as_mut().poll(cx) {
        Poll::Ready(verdict) => Poll::Ready(Some(verdict)),
        Poll::Pending if is_gone(link, cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

fn is_gone<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, cx: &mut Context<'_>) -> bool {
    while !link.input.is_full() {
        match link.input.poll_fill(&mut link.stream, cx) {
            Poll::Ready(Ok(Fill::More(_))) => {}
            Poll::Ready(Ok(Fill::End) | Err(_)) => return true,
            Poll::Ready(Ok(Fill::Full)) | Poll::Pending => return false,
        }
    }
    false
}

impl Requests {
    /// Gives back memory that one large request took.
    fn rest(&mut self) {
        self.head.rest();
        self.scratch.rest();
        if self.out.capacity() > 8 * 1024 {
            self.out = Vec::new();
        }
    }
}

/// The host of the last request: the next one mostly names the same.
#[derive(Default)]
struct HostMemo {
    raw: Vec<u8>,
    host: Option<RequestHost>,
}

impl HostMemo {
    fn read(&mut self, site: &Site, head: &RequestHead, hosts: &Hosts) -> Result<(), Violation> {
        let raw = head.host_value();
        if self.host.is_none() || self.raw != raw {
            let host = site.parse(raw).map_err(|_| Violation::HostGrammar)?;
            if !hosts.include(&host.name) {
                return Err(Violation::Misdirected);
            }
            self.host = Some(host);
            raw.clone_into(&mut self.raw);
        }
        let Some(authority) = head.authority() else {
            return Ok(());
        };
        let authority = site.parse(authority).map_err(|_| Violation::HostGrammar)?;
        if self.host.as_ref() == Some(&authority) {
            Ok(())
        } else {
            Err(Violation::TargetHost)
        }
    }
}

/// Tells the meter how a forwarded request ended, however it did.
struct Record<'a> {
    meter: Option<&'a dyn Meter>,
    ended: Ended,
}

impl<'a> Record<'a> {
    fn new(order: &'a Order) -> Self {
        order.meter.touch();
        Self {
            meter: Some(&*order.meter),
            ended: Ended::default(),
        }
    }

    /// It isn't over: somebody else tells.
    fn disarm(mut self) -> Ended {
        self.meter = None;
        std::mem::take(&mut self.ended)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if let Some(meter) = self.meter {
            meter.ended(&self.ended);
        }
    }
}
