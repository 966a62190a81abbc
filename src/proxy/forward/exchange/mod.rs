//! One request and its response, both copied at once: bodies go on as they come, and no more of them is held than fits
//! one block each way.

mod down;
mod up;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::upstream::Upstream;
use super::{Call, request};
use crate::proxy::door::{Ended, Failure};
use crate::proxy::wire::fields::Scan;
use crate::proxy::wire::{Framing, Link, ResponseHead, Violation};

/// How long a body or its reader may stand still.
pub const STALL: Duration = Duration::from_secs(60);
/// What is over by then is not watched for the end of its right.
const SHORT: Duration = Duration::from_millis(250);
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

    /// Forgets the last request and its response.
    pub fn clear(&mut self) {
        self.out.clear();
        self.reply.clear();
        self.head.clear();
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
    /// Whether the time is taken that it lasts.
    is_timed: bool,
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
            is_timed: false,
        }
    }

    /// Copies until both are over, or the right to it is.
    pub async fn run(mut self) -> End {
        // Most are over sooner than anybody could take their right away.
        let mut cut = pin!(None);
        poll_fn(|cx| {
            let ended = self.poll(cx);
            if ended.is_ready() {
                return ended;
            }
            if cut.is_none() {
                ready!(self.poll_lasts(cx));
                cut.set(Some(self.call.order.permit.cut()));
            }
            let cut = cut.as_mut().as_pin_mut();
            cut.map_or(Poll::Pending, |cut| cut.poll(cx))
                .map(|()| End::Abort)
        })
        .await
    }

    /// Ready when it has lasted so long that its right may end before it does.
    fn poll_lasts(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waits {
            // The one timer is taken.
            return Poll::Ready(());
        }
        if !self.is_timed {
            self.is_timed = true;
            self.link.deadline.set(SHORT);
        }
        self.link.deadline.poll_passed(cx)
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
}
