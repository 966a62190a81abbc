//! The one timer of a connection. Moving it further away is free: it is set anew only when it fires too early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A moment after which waiting is over.
pub struct Deadline {
    at: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// At this moment.
    pub fn at(at: Instant) -> Self {
        Self { at, sleep: None }
    }

    /// So long from now.
    pub fn after(limit: Duration) -> Self {
        Self::at(Instant::now() + limit)
    }

    /// Moves it: so long from now.
    pub fn set(&mut self, limit: Duration) {
        self.at = Instant::now() + limit;
    }

    /// Ready once it has passed. Whoever got `Pending` is woken.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_moved_deadline_passes_at_its_last_moment_and_no_earlier() {
        let limit = Duration::from_millis;
        let begin = Instant::now();
        let mut deadline = Deadline::after(limit(10));
        let _ = futures::poll!(poll_fn(|cx| deadline.poll_passed(cx)));
        deadline.set(limit(60));
        poll_fn(|cx| deadline.poll_passed(cx)).await;
        assert!(begin.elapsed() >= limit(60));
        // An hour, and then earlier again.
        deadline.set(Duration::from_secs(3600));
        let _ = futures::poll!(poll_fn(|cx| deadline.poll_passed(cx)));
        deadline.set(limit(5));
        poll_fn(|cx| deadline.poll_passed(cx)).await;
    }
}
