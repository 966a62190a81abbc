//! Waiting for the head of a request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::proxy::wire::buffer::Fill;
use crate::proxy::wire::fields::Scan;
use crate::proxy::wire::{Link, RequestHead, Violation};

/// How long a head may take; the first one with TLS before it.
pub const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may wait for the next request.
const IDLE: Duration = Duration::from_secs(75);
/// How long it still may once the drain has begun: a request that is on its way meets no closed door, and its answer says
/// that the connection ends.
const PARTING: Duration = Duration::from_secs(1);
/// Longest head of an ordinary request.
const LONGEST: usize = 64 * 1024;
/// Longest head that is read just to answer it.
const LONGEST_BOMB: usize = 320 * 1024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// A head that is in order.
    Head,
    /// A head in order that is too long to go on.
    Bomb,
    /// Nothing more: the client left, or never said anything.
    Nothing,
    /// Nothing for long enough. A request may be on its way all the same.
    Parted,
    /// What broke a rule.
    Refused(Violation),
}

/// Reads the next head.
pub struct Reader<'a, S> {
    link: &'a mut Link<S>,
    head: &'a mut RequestHead,
    bombs: &'a Semaphore,
    scan: Scan,
    /// Held while a head is read that is far too long.
    bomb: Option<SemaphorePermit<'a>>,
    has_deadline: bool,
    is_first: bool,
    /// Whether it waits only for what may be on its way.
    is_parting: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Reader<'a, S> {
    /// Of the first request, or of one after others.
    pub fn new(
        link: &'a mut Link<S>,
        head: &'a mut RequestHead,
        bombs: &'a Semaphore,
        is_first: bool,
    ) -> Self {
        Self {
            link,
            head,
            bombs,
            scan: Scan::default(),
            bomb: None,
            has_deadline: is_first,
            is_first,
            is_parting: false,
        }
    }

    /// Reads it, unless the drain begins and its first byte does not come soon.
    pub async fn read(mut self, drain: &CancellationToken) -> Came {
        let mut drained = pin!(drain.cancelled());
        poll_fn(|cx| self.poll(cx, drained.as_mut())).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        drained: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Came> {
        loop {
            match self.take() {
                Ok(Some(came)) => return Poll::Ready(came),
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Came::Refused(violation)),
            }
            let was_idle = self.link.input.is_empty();
            match self.link.input.poll_fill(&mut self.link.stream, cx) {
                Poll::Ready(Ok(Fill::More(_))) => {
                    // From here on it is the head that is waited for.
                    let is_given_anew = was_idle && (self.is_parting || !self.is_first);
                    self.has_deadline &= !is_given_anew;
                }
                Poll::Ready(Ok(Fill::Full)) => {
                    if !self.make_room() {
                        return Poll::Ready(Came::Refused(Violation::HeadLength));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Came::Nothing),
                Poll::Pending => return self.wait(cx, drained),
            }
        }
    }

    /// Takes the head, if it is whole.
    fn take(&mut self) -> Result<Option<Came>, Violation> {
        let Some(length) = self.scan.end(self.link.input.filled())? else {
            return Ok(None);
        };
        let bytes = self.link.input.filled().get(..length);
        self.head.read(bytes.unwrap_or_default())?;
        self.link.input.consume(length);
        Ok(Some(if length > LONGEST {
            Came::Bomb
        } else {
            Came::Head
        }))
    }

    /// Far too long heads are read by a few connections at a time.
    fn make_room(&mut self) -> bool {
        if self.link.input.grow(LONGEST) {
            return true;
        }
        if self.bomb.is_none() {
            self.bomb = self.bombs.try_acquire().ok();
        }
        self.bomb.is_some() && self.link.input.grow(LONGEST_BOMB)
    }

    fn wait(
        &mut self,
        cx: &mut Context<'_>,
        drained: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Came> {
        let is_idle = self.link.input.is_empty();
        if is_idle && !self.is_parting && drained.poll(cx).is_ready() {
            self.link.deadline.set(PARTING);
            (self.is_parting, self.has_deadline) = (true, true);
        }
        if !self.has_deadline {
            self.link.deadline.set(if is_idle { IDLE } else { HEAD });
            self.has_deadline = true;
        }
        self.link.deadline.poll_passed(cx).map(|()| {
            if !is_idle {
                Came::Refused(Violation::Slow)
            } else if self.is_first && !self.is_parting {
                Came::Nothing
            } else {
                Came::Parted
            }
        })
    }
}
