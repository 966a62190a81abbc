//! Bodies that do not go on: those that we read ourselves, and what is left of one that nobody reads.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::door::OWN_BODY_LIMIT;
use crate::proxy::forward::exchange::STALL;
use crate::proxy::wire::buffer::Fill;
use crate::proxy::wire::{Framing, Link, Violation};

/// How much of an unread body is read for the sake of the connection.
pub const SKIPPED: u64 = 64 * 1024;

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It broke a rule.
    Refused(Violation),
    /// The client is gone.
    Gone,
}

/// Reads a body of ours to its end.
pub async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    framing: Framing,
    body: &mut Vec<u8>,
) -> Result<(), BodyError> {
    let keep = |data: &[u8]| {
        body.extend_from_slice(data);
        body.len() <= OWN_BODY_LIMIT
    };
    pass(link, framing, keep).await
}

/// Reads what is left of a body, so that the next request is found behind it.
pub async fn skip<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    framing: Framing,
) -> Result<(), BodyError> {
    pass(link, framing, |_| true).await
}

async fn pass<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    mut framing: Framing,
    mut keep: impl FnMut(&[u8]) -> bool,
) -> Result<(), BodyError> {
    // For all of it: these are short, and whoever drips gets no longer.
    link.deadline.set(STALL);
    poll_fn(|cx| poll(link, &mut framing, &mut keep, cx)).await
}

fn poll<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    framing: &mut Framing,
    keep: &mut impl FnMut(&[u8]) -> bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), BodyError>> {
    loop {
        let filled = link.input.filled();
        match framing.next(filled) {
            Err(violation) => return Poll::Ready(Err(BodyError::Refused(violation))),
            Ok(Some(piece)) => {
                let data = filled.get(..piece.length).unwrap_or_default();
                if piece.is_data && !keep(data) {
                    return Poll::Ready(Err(BodyError::Refused(Violation::BodyLength)));
                }
                link.input.consume(piece.length);
                continue;
            }
            Ok(None) if framing.is_over() => return Poll::Ready(Ok(())),
            Ok(None) => {}
        }
        match link.input.poll_fill(&mut link.stream, cx) {
            Poll::Ready(Ok(Fill::More(_))) => {}
            Poll::Ready(Ok(Fill::Full)) => {
                return Poll::Ready(Err(BodyError::Refused(Violation::TrailerLength)));
            }
            Poll::Ready(_) => return Poll::Ready(Err(BodyError::Gone)),
            Poll::Pending => {
                let slow = Err(BodyError::Refused(Violation::Slow));
                return link.deadline.poll_passed(cx).map(|()| slow);
            }
        }
    }
}
