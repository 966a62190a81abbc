//! The response, on its way to the client.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Exchange, INTERIM, LONGEST_HEAD, MANY_COOKIES, Stage};
use crate::proxy::door::Failure;
use crate::proxy::forward::response;
use crate::proxy::wire::buffer::Fill;
use crate::proxy::wire::fields::Scan;
use crate::proxy::wire::kind::Kind;
use crate::proxy::wire::{Framing, Violation};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Reads the response and copies it.
    pub(super) fn poll_response(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            // What comes before the last response is bounded by its number, not by who reads it: a port of HTTP/2 sends
            // it whether there is room or not.
            if !self.poll_reply(cx)? && self.stage != Stage::Head {
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
                        // What came of the body with it goes out with it. A body that breaks a rule at once cuts the
                        // connection when the head is out.
                        if self.stage == Stage::Body {
                            let _ = self.body_came();
                        }
                        Ok(true)
                    }
                    None => Ok(false),
                }
            }
            Stage::Body => {
                // Once the head is out there is no taking it back.
                self.body_came().map_err(|_| End::Abort)?;
                Ok(self.response_ready > 0 || self.stage == Stage::Over)
            }
            Stage::Over | Stage::Switched => Ok(false),
        }
    }

    /// Looks how much of what was read is the body's.
    fn body_came(&mut self) -> Result<(), Violation> {
        self.response_ready = self.response.check(self.upstream.input.filled())?;
        if self.response.is_over() {
            self.stage = Stage::Over;
        }
        Ok(())
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
        if self.call.head.is_1_1() && is_expected && self.reply.is_empty() {
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
