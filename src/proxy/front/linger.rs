//! The end of a connection that still receives. Closed at once, it would be reset, and the last answer might be lost
//! with it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::wire::Link;
use crate::proxy::wire::buffer::Fill;

/// How long what still comes is read.
const LIMIT: Duration = Duration::from_secs(2);
/// How much of it.
const BYTES: usize = 1024 * 1024;

/// Says the last, and reads for a moment what still comes.
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>) {
    link.deadline.set(LIMIT);
    let mut left = BYTES;
    let mut is_shut = false;
    poll_fn(|cx| poll(link, &mut is_shut, &mut left, cx)).await;
}

fn poll<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    is_shut: &mut bool,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if !*is_shut {
        match Pin::new(&mut link.stream).poll_shutdown(cx) {
            Poll::Ready(Ok(())) => *is_shut = true,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {}
        }
    }
    loop {
        link.input.consume(link.input.len());
        match link.input.poll_fill(&mut link.stream, cx) {
            Poll::Ready(Ok(Fill::More(count))) if count < *left => *left -= count,
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return link.deadline.poll_passed(cx),
        }
    }
}
