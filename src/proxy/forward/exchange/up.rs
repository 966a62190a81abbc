//! The request, on its way to the upstream.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Exchange, Stage};
use crate::proxy::wire::Violation;
use crate::proxy::wire::buffer::Fill;

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Sends what there is of the request.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
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
}
