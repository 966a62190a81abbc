//! A WebSocket after both sides switched: a copy of bytes. While nothing passes it holds no buffer and no timer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::frames::Frames;
use super::upstream::{Stream, Upstream};
use crate::proxy::door::{Ended, Meter, Order, Permit};
use crate::proxy::wire::buffer::Fill;
use crate::proxy::wire::{Buffer, Deadline};

/// Close, "service restart" (RFC 6455, registry of IANA), to a browser.
const RESTART: &[u8] = &[0x88, 2, 0x03, 0xf4];
/// The same to an app: clients mask, if with nothing.
const RESTART_MASKED: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4];
/// Close, "going away": nothing was said for too long.
const AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];
/// The same to an app.
const AWAY_MASKED: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
/// A longer silence than this has no limit.
const LONGEST_SILENCE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a stream may go on of which one side has said its last.
const HALF_CLOSED: Duration = Duration::from_secs(60);
/// How long the other ends may take to hear that it ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// An upgraded stream, both ways. Ready when it is over.
pub struct Tunnel<S> {
    client: S,
    upstream: Stream,
    up: Way,
    down: Way,
    permit_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set when time is short.
    deadline: Option<Box<Deadline>>,
    /// Set where silence has a limit. Bytes only move it: the runtime's wheel is touched once in that time.
    silence: Option<Box<Silence>>,
    phase: Phase,
    // Held for as long as the stream lasts.
    _permit: Arc<dyn Permit>,
    meter: Arc<dyn Meter>,
    ended: Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Bytes are copied.
    Copy,
    /// Frames that have begun are finished; then both sides are told.
    Finish,
    /// Both sides were told; what they still say is read and dropped, so that they hear it.
    Farewell,
}

/// How long nothing may come from either side.
struct Silence {
    limit: Duration,
    deadline: Deadline,
}

/// One direction.
struct Way {
    buffer: Buffer,
    frames: Frames,
    /// What is said after the last frame.
    farewell: &'static [u8],
    copied: u64,
    /// Whether a frame with data began since the last look.
    had_data: bool,
    has_ended: bool,
    is_shut: bool,
    is_unflushed: bool,
}

impl Way {
    fn new(buffer: Buffer, farewell: &'static [u8]) -> Self {
        Self {
            buffer,
            frames: Frames::default(),
            farewell,
            copied: 0,
            had_data: false,
            has_ended: false,
            is_shut: false,
            is_unflushed: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tunnel<S> {
    /// Between a client and an upstream that both switched. What either sent ahead is in the buffers.
    pub fn new(
        client: (S, Buffer),
        upstream: Upstream,
        order: &Order,
        ended: Ended,
        end: CancellationToken,
    ) -> Self {
        let (permit, meter) = (order.permit.clone(), order.meter.clone());
        meter.upgraded();
        Self {
            client: client.0,
            upstream: upstream.stream,
            up: Way::new(client.1, RESTART_MASKED),
            down: Way::new(upstream.input, RESTART),
            permit_cut: Box::pin(permit.cut()),
            end: Box::pin(end.cancelled_owned()),
            deadline: None,
            silence: None,
            phase: Phase::Copy,
            _permit: permit,
            meter,
            ended,
        }
    }

    /// Ends it when neither side has said anything for so long.
    #[must_use]
    pub fn ends_after_silence(mut self, limit: Option<Duration>) -> Self {
        let limit = limit.filter(|limit| *limit < LONGEST_SILENCE);
        self.silence = limit.map(|limit| {
            let deadline = Deadline::after(limit);
            Box::new(Silence { limit, deadline })
        });
        self
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            client, upstream, ..
        } = self;
        loop {
            let up = copy(client, upstream, &mut self.up, cx)?;
            if std::mem::take(&mut self.up.had_data) {
                self.meter.touch();
            }
            let down = copy(upstream, client, &mut self.down, cx)?;
            if self.up.is_shut && self.down.is_shut {
                return Poll::Ready(Ok(()));
            }
            if up || down {
                self.deadline = None;
                if let Some(silence) = &mut self.silence {
                    silence.deadline.set(silence.limit);
                }
                continue;
            }
            break;
        }
        if self.up.has_ended || self.down.has_ended {
            let deadline = self
                .deadline
                .get_or_insert_with(|| Box::new(Deadline::after(HALF_CLOSED)));
            return deadline.poll_passed(cx).map(Ok);
        }
        Poll::Pending
    }

    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.silence {
            Some(silence) => silence.deadline.poll_passed(cx),
            None => Poll::Pending,
        }
    }

    /// Copies what is left of frames that have begun, and the last word after them.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            client, upstream, ..
        } = self;
        let up = finish(client, upstream, &mut self.up, cx)?;
        let down = finish(upstream, client, &mut self.down, cx)?;
        if up.is_ready() && down.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let up = drain(&mut self.client, &mut self.up, cx);
        let down = drain(&mut self.upstream, &mut self.down, cx);
        if up && down {
            return Poll::Ready(());
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::new(Deadline::after(FAREWELL)));
        deadline.poll_passed(cx)
    }

    fn poll_phases(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Copy {
            if self.permit_cut.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.end.as_mut().poll(cx).is_ready() {
                (self.phase, self.deadline) = (Phase::Finish, None);
            } else {
                let copied = self.poll_copy(cx);
                if copied.is_ready() || self.poll_silent(cx).is_pending() {
                    return copied;
                }
                (self.up.farewell, self.down.farewell) = (AWAY_MASKED, AWAY);
                (self.phase, self.deadline) = (Phase::Finish, None);
            }
        }
        if self.phase == Phase::Finish {
            match self.poll_finish(cx) {
                Poll::Ready(result) => {
                    result?;
                    (self.phase, self.deadline) = (Phase::Farewell, None);
                }
                Poll::Pending => {
                    let deadline = self
                        .deadline
                        .get_or_insert_with(|| Box::new(Deadline::after(FAREWELL)));
                    return deadline.poll_passed(cx).map(Ok);
                }
            }
        }
        self.poll_farewell(cx).map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Tunnel<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // An error ends it like an end: there is nobody left to tell.
        self.get_mut().poll_phases(cx).map(|_| ())
    }
}

impl<S> Drop for Tunnel<S> {
    fn drop(&mut self) {
        (self.ended.received, self.ended.sent) = (self.up.copied, self.down.copied);
        self.meter.ended(&self.ended);
    }
}

/// Copies what there is of one direction. Says whether anything moved.
fn copy<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    way: &mut Way,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    let mut has_moved = false;
    // Enough to be worth a turn, and the other direction gets its own.
    for _ in 0..8 {
        if !way.buffer.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, way.buffer.filled())? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    let passed = way.buffer.filled().get(..count).unwrap_or_default();
                    way.had_data |= way.frames.pass(passed);
                    way.buffer.consume(count);
                    way.copied += count as u64;
                    (way.is_unflushed, has_moved) = (true, true);
                }
                Poll::Pending => return Ok(has_moved),
            }
            continue;
        }
        if way.has_ended {
            if !way.is_shut && Pin::new(&mut *to).poll_shutdown(cx)?.is_ready() {
                way.is_shut = true;
                return Ok(true);
            }
            return Ok(has_moved);
        }
        match way.buffer.poll_fill(from, cx)? {
            Poll::Ready(Fill::End) => way.has_ended = true,
            Poll::Ready(_) => {}
            Poll::Pending => {
                if way.is_unflushed && Pin::new(&mut *to).poll_flush(cx)?.is_ready() {
                    way.is_unflushed = false;
                }
                return Ok(has_moved);
            }
        }
        has_moved = true;
    }
    Ok(has_moved)
}

/// Copies to the end of the frame that has begun, then says the last word.
fn finish<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    way: &mut Way,
    cx: &mut Context<'_>,
) -> io::Result<Poll<()>> {
    while !way.frames.is_between() && !way.has_ended {
        if way.buffer.is_empty() {
            match way.buffer.poll_fill(from, cx)? {
                Poll::Ready(Fill::End) => way.has_ended = true,
                Poll::Ready(_) => {}
                Poll::Pending => return Ok(Poll::Pending),
            }
            continue;
        }
        let filled = way.buffer.filled();
        let rest = filled.get(..way.frames.rest_of_frame(filled));
        match Pin::new(&mut *to).poll_write(cx, rest.unwrap_or_default())? {
            Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(count) => {
                let passed = filled.get(..count).unwrap_or_default();
                way.frames.pass(passed);
                way.buffer.consume(count);
                way.copied += count as u64;
            }
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
    while !way.farewell.is_empty() && !way.is_shut {
        match Pin::new(&mut *to).poll_write(cx, way.farewell)? {
            Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(count) => way.farewell = way.farewell.get(count..).unwrap_or_default(),
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
    if !way.is_shut {
        match Pin::new(to).poll_shutdown(cx)? {
            Poll::Ready(()) => way.is_shut = true,
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
    Ok(Poll::Ready(()))
}

/// Reads what one side still says and drops it. Says whether it has said its last.
fn drain<R: AsyncRead + Unpin>(from: &mut R, way: &mut Way, cx: &mut Context<'_>) -> bool {
    while !way.has_ended {
        way.buffer.consume(way.buffer.len());
        match way.buffer.poll_fill(from, cx) {
            Poll::Ready(Ok(Fill::More(_) | Fill::Full)) => {}
            Poll::Ready(Ok(Fill::End) | Err(_)) => way.has_ended = true,
            Poll::Pending => return false,
        }
    }
    true
}
