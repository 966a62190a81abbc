//! One request and its response, both copied at once: bodies go on as they come, and no more of them is held than fits
//! one block each way.

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Call;
use super::upstream::Upstream;
use super::{request, response};
use crate::proxy::door::{Ended, Failure};
use crate::proxy::wire::buffer::Fill;
use crate::proxy::wire::fields::{Kind, Scan};
use crate::proxy::wire::{Framing, Link, ResponseHead, Violation};

/// How long a body or its reader may stand still.
pub const STALL: Duration = Duration::from_secs(60);
/// Longest head of a response.
const LONGEST_HEAD: usize = 128 * 1024;
/// Cookies that an app may find too long for its head.
const MANY_COOKIES: usize = 4 * 1024;
/// How many responses may come before the last.
const INTERIM: u8 = 16;

/// Memory that a connection uses for each of its requests.
#[derive(Default)]
pub struct Scratch {
    out: Vec<u8>,
    reply: Vec<u8>,
    head: ResponseHead,
}

impl Scratch {
    pub(super) fn begin(&mut self, call: &Call<'_>) {
        self.out.clear();
        request::put(&mut self.out, call.head, call.provenance);
    }

    /// Gives back memory that one large head took.
    pub fn rest(&mut self) {
        for bytes in [&mut self.out, &mut self.reply] {
            if bytes.capacity() > 8 * 1024 {
                *bytes = Vec::new();
            }
        }
        self.head.rest();
    }
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// The response is over.
    Over {
        /// Whether the upstream may serve another request.
        kept: bool,
        /// Whether the client's connection ends too.
        closes: bool,
    },
    /// Both sides switched.
    Switched,
    /// It broke off after the response began, or the client is gone.
    Abort,
    /// The client's body broke a rule; whether the response had begun.
    Violation(Violation, bool),
    /// A connection that was kept turned out closed before it took a byte.
    Unsent,
    /// The app finds the head too long, and cookies make it so.
    CookieBomb,
    /// There is no response, and nothing was sent to the client.
    Failed(Failure),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The head of the response comes.
    Head,
    /// Its body.
    Body,
    /// It is over, with the upstream's word that there is no more.
    Over,
    /// The upstream switched.
    Switched,
}

/// One request and its response.
pub struct Exchange<'a, S> {
    call: &'a Call<'a>,
    link: &'a mut Link<S>,
    upstream: &'a mut Upstream,
    ended: &'a mut Ended,
    /// What goes to the upstream before the body, and how much of it is gone.
    out: &'a [u8],
    out_sent: usize,
    request: Framing,
    /// Bytes at the front of the client's input that are checked and to be sent.
    request_ready: usize,
    is_sent: bool,
    /// The upstream takes no more: its response may be there all the same.
    is_refused: bool,
    head: &'a mut ResponseHead,
    scan: Scan,
    stage: Stage,
    interim: u8,
    /// What goes to the client before the body, and how much of it is gone.
    reply: &'a mut Vec<u8>,
    reply_sent: usize,
    has_begun: bool,
    response: Framing,
    response_ready: usize,
    is_unflushed: bool,
    closes: bool,
    /// Whether somebody is waited for who must move within [`STALL`].
    waits: bool,
    /// Whether anything moved in this turn.
    has_moved: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Exchange<'a, S> {
    /// Before the first byte.
    pub fn new(
        call: &'a Call<'a>,
        link: &'a mut Link<S>,
        upstream: &'a mut Upstream,
        scratch: &'a mut Scratch,
        ended: &'a mut Ended,
    ) -> Self {
        scratch.reply.clear();
        Self {
            call,
            link,
            upstream,
            ended,
            out: &scratch.out,
            out_sent: 0,
            request: call.head.framing(),
            request_ready: 0,
            is_sent: false,
            is_refused: false,
            head: &mut scratch.head,
            scan: Scan::default(),
            stage: Stage::Head,
            interim: 0,
            reply: &mut scratch.reply,
            reply_sent: 0,
            has_begun: false,
            response: Framing::NONE,
            response_ready: 0,
            is_unflushed: false,
            closes: call.closes,
            waits: false,
            has_moved: false,
        }
    }

    /// Copies until both are over, or the right to it is.
    pub async fn run(mut self) -> End {
        let mut cut = pin!(self.call.order.permit.cut());
        poll_fn(|cx| match self.poll(cx) {
            Poll::Pending => cut.as_mut().poll(cx).map(|()| End::Abort),
            ready => ready,
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let waited = self.waits;
        let mut has_moved = false;
        loop {
            (self.waits, self.has_moved) = (false, false);
            match self.turn(cx) {
                Ok(None) => {}
                Ok(Some(end)) | Err(end) => return Poll::Ready(end),
            }
            has_moved |= self.has_moved;
            if !self.has_moved {
                break;
            }
        }
        if self.waits {
            if has_moved || !waited {
                self.link.deadline.set(STALL);
            }
            ready!(self.link.deadline.poll_passed(cx));
            return Poll::Ready(End::Abort);
        }
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Option<End>, End> {
        self.poll_request(cx)?;
        self.poll_response(cx)?;
        self.poll_over(cx)
    }

    /// Whether all is done. What was written is pushed out first.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Result<Option<End>, End> {
        if self.is_unflushed && self.response_ready == 0 && self.reply.is_empty() {
            match Pin::new(&mut self.link.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.is_unflushed = false,
                Poll::Ready(Err(_)) => return Err(End::Abort),
                Poll::Pending => self.waits = true,
            }
        }
        let is_written = !self.is_unflushed && self.response_ready == 0 && self.reply.is_empty();
        Ok(match self.stage {
            Stage::Over if is_written => Some(self.over()),
            Stage::Switched if is_written => Some(End::Switched),
            _ => None,
        })
    }

    fn over(&mut self) -> End {
        let seconds = self.head.keep_alive_seconds();
        self.upstream.kept_for = seconds.map(Duration::from_secs);
        let kept = self.is_sent
            && self.call.head.is_1_1()
            && self.head.keeps_alive()
            && self.response != Framing::UntilEnd
            && self.upstream.input.is_empty();
        self.upstream.input.rest();
        End::Over {
            kept,
            closes: self.closes || !self.is_sent,
        }
    }

    /// Sends what there is of the request.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while !self.is_sent && !self.is_refused {
            if self.request_ready == 0 && !self.request.is_over() {
                self.poll_body(cx)?;
            }
            let head = self.out.get(self.out_sent..).unwrap_or_default();
            let body = self.link.input.filled().get(..self.request_ready);
            let body = body.unwrap_or_default();
            if head.is_empty() && body.is_empty() {
                if self.request.is_over() && self.poll_sent(cx) {
                    continue;
                }
                return Ok(());
            }
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            let stream = Pin::new(&mut self.upstream.stream);
            match stream.poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(count)) if count > 0 => self.wrote_request(count),
                Poll::Ready(_) if self.out_sent == 0 && self.upstream.is_reused => {
                    return Err(End::Unsent);
                }
                Poll::Ready(_) => self.is_refused = true,
                Poll::Pending => {
                    self.waits = true;
                    return Ok(());
                }
            }
        }
        self.watch_client(cx)
    }

    /// Pushes out what was written. Says whether the request is through, or will never be.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> bool {
        match Pin::new(&mut self.upstream.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                (self.is_sent, self.has_moved) = (true, true);
                true
            }
            Poll::Ready(Err(_)) => {
                self.is_refused = true;
                true
            }
            Poll::Pending => {
                self.waits = true;
                false
            }
        }
    }

    /// Checks what is there of the body, or reads more of it.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let checked = self.request.check(self.link.input.filled());
            self.request_ready =
                checked.map_err(|violation| End::Violation(violation, self.has_begun))?;
            if self.request_ready > 0 {
                return Ok(());
            }
            match self.link.input.poll_fill(&mut self.link.stream, cx) {
                Poll::Ready(Ok(Fill::More(_))) => self.has_moved = true,
                Poll::Ready(Ok(Fill::Full)) => {
                    return Err(End::Violation(Violation::TrailerLength, self.has_begun));
                }
                Poll::Ready(_) => return Err(End::Abort),
                Poll::Pending => {
                    // A client that waits for a word of the app's is not the slow one.
                    let is_asked = self.interim > 0 || self.stage != Stage::Head;
                    self.waits |= is_asked || !self.call.head.expects_continue();
                    return Ok(());
                }
            }
        }
    }

    fn wrote_request(&mut self, count: usize) {
        self.has_moved = true;
        let of_head = count.min(self.out.len() - self.out_sent);
        self.out_sent += of_head;
        let of_body = count - of_head;
        self.request_ready -= of_body;
        self.link.input.consume(of_body);
        self.ended.received += of_body as u64;
    }

    /// Notices that the client is gone. What it sends ahead of the response stays for the next request.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.link.input.is_full() {
            // Nobody would notice that it left.
            self.waits = true;
            return Ok(());
        }
        match self.link.input.poll_fill(&mut self.link.stream, cx) {
            Poll::Ready(Ok(Fill::End) | Err(_)) => Err(End::Abort),
            Poll::Ready(Ok(Fill::More(_))) => self.watch_client(cx),
            Poll::Ready(Ok(Fill::Full)) | Poll::Pending => Ok(()),
        }
    }

    /// Reads the response and copies it.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if !self.poll_reply(cx)? {
                return Ok(());
            }
            if self.find_more()? {
                self.has_moved = true;
                continue;
            }
            if matches!(self.stage, Stage::Over | Stage::Switched) {
                return Ok(());
            }
            match self.upstream.input.poll_fill(&mut self.upstream.stream, cx) {
                Poll::Ready(Ok(Fill::More(_))) => self.has_moved = true,
                Poll::Ready(Ok(Fill::Full)) => self.make_room()?,
                Poll::Ready(Ok(Fill::End)) => return self.upstream_ended(),
                Poll::Ready(Err(_)) => return Err(self.broken(Failure::Ended)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Writes what is ready for the client. Says whether it took all.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        loop {
            let head = self.reply.get(self.reply_sent..).unwrap_or_default();
            let body = self.upstream.input.filled().get(..self.response_ready);
            let body = body.unwrap_or_default();
            if head.is_empty() && body.is_empty() {
                return Ok(true);
            }
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            let stream = Pin::new(&mut self.link.stream);
            match stream.poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(count)) if count > 0 => self.wrote_reply(count),
                Poll::Ready(_) => return Err(End::Abort),
                Poll::Pending => {
                    self.waits = true;
                    return Ok(false);
                }
            }
        }
    }

    fn wrote_reply(&mut self, count: usize) {
        (self.has_moved, self.has_begun, self.is_unflushed) = (true, true, true);
        let of_head = count.min(self.reply.len() - self.reply_sent);
        self.reply_sent += of_head;
        if self.reply_sent == self.reply.len() {
            self.reply.clear();
            self.reply_sent = 0;
        }
        let of_body = count - of_head;
        self.response_ready -= of_body;
        self.upstream.input.consume(of_body);
        self.ended.sent += of_body as u64;
    }

    /// Looks at what was read. Says whether there is something to write now, or the response is over.
    fn find_more(&mut self) -> Result<bool, End> {
        match self.stage {
            Stage::Head => {
                let end = self.scan.end(self.upstream.input.filled());
                match end.map_err(|rule| self.broken(Failure::Broken(rule.rule())))? {
                    Some(length) => {
                        self.head_came(length)?;
                        Ok(true)
                    }
                    None => Ok(false),
                }
            }
            Stage::Body => {
                // Once the head is out there is no taking it back.
                let checked = self.response.check(self.upstream.input.filled());
                self.response_ready = checked.map_err(|_| End::Abort)?;
                if self.response.is_over() {
                    self.stage = Stage::Over;
                }
                Ok(self.response_ready > 0 || self.stage == Stage::Over)
            }
            Stage::Over | Stage::Switched => Ok(false),
        }
    }

    fn make_room(&mut self) -> Result<(), End> {
        let has_room = self.stage == Stage::Head && self.upstream.input.grow(LONGEST_HEAD);
        if has_room {
            Ok(())
        } else {
            Err(self.broken(Failure::Broken(Violation::HeadLength.rule())))
        }
    }

    fn upstream_ended(&mut self) -> Result<(), End> {
        if self.stage == Stage::Body && self.response == Framing::UntilEnd {
            (self.stage, self.has_moved) = (Stage::Over, true);
            return Ok(());
        }
        Err(self.broken(Failure::Ended))
    }

    /// There will be no response: a page of ours if the client got nothing yet.
    fn broken(&self, failure: Failure) -> End {
        if self.has_begun || self.stage != Stage::Head {
            End::Abort
        } else {
            End::Failed(failure)
        }
    }

    fn head_came(&mut self, length: usize) -> Result<(), End> {
        let bytes = self
            .upstream
            .input
            .filled()
            .get(..length)
            .unwrap_or_default();
        let read = self.head.read(bytes);
        read.map_err(|rule| self.broken(Failure::Broken(rule.rule())))?;
        self.upstream.input.consume(length);
        self.scan = Scan::default();
        if self.head.is_interim() {
            return self.interim_came();
        }
        if self.head.status() == 101 {
            return self.switch_came();
        }
        let cookies = self.call.head.lines().of_kind(Kind::Cookie);
        if self.head.status() == 431 && cookies.map(<[u8]>::len).sum::<usize>() > MANY_COOKIES {
            return Err(End::CookieBomb);
        }
        self.response = self.head.framing(self.call.head.method());
        self.stage = Stage::Body;
        self.ended.status = Some(self.head.status());
        self.closes |=
            self.response == Framing::UntilEnd || !self.is_sent || self.call.drain.is_cancelled();
        self.put_reply();
        Ok(())
    }

    fn put_reply(&mut self) {
        let reply = response::Reply {
            host: &self.call.host.name,
            set_cookie: self.call.order.set_cookie.as_ref(),
            closes: self.closes,
        };
        response::put(self.reply, self.head, &reply, self.ended);
    }

    /// One that another follows. HTTP/1.0 knows none.
    fn interim_came(&mut self) -> Result<(), End> {
        self.interim += 1;
        if self.interim > INTERIM {
            return Err(self.broken(Failure::Broken("interim")));
        }
        let is_expected = self.head.status() != 100 || self.call.head.expects_continue();
        if self.call.head.is_1_1() && is_expected {
            response::put_interim(self.reply, self.head, &self.call.host.name, self.ended);
        }
        Ok(())
    }

    /// A switch is only an answer to whoever asked for it, and only to what was asked for.
    fn switch_came(&mut self) -> Result<(), End> {
        let mut protocols = self.head.lines().of_kind(Kind::Upgrade);
        let is_websocket = protocols
            .next()
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        let is_one = protocols.next().is_none();
        drop(protocols);
        // What of the request is not sent would be taken for frames.
        if !(self.is_sent && self.call.head.is_websocket() && is_websocket && is_one) {
            return Err(self.broken(Failure::Broken("switch")));
        }
        self.stage = Stage::Switched;
        self.ended.status = Some(101);
        self.put_reply();
        Ok(())
    }
}
