//! Who may fetch at the same time: each fetch is a process of its own, in one of two bounded lanes.
//!
//! A remote that stalls holds its process until its deadline. A GitSync whose last fetch failed waits in the slow lane:
//! however many remotes stall, those that answer find room.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Fetches at the same time of those whose last one was good.
const FAST: usize = 16;
/// Fetches at the same time of those whose last one failed.
const SLOW: usize = 4;

/// The two lanes.
#[derive(Debug)]
pub struct Slots {
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            fast: Arc::new(Semaphore::new(FAST)),
            slow: Arc::new(Semaphore::new(SLOW)),
        }
    }
}

/// Held while a fetch runs.
pub type Slot = OwnedSemaphorePermit;

impl Slots {
    /// Waits for a slot. `None` never comes: the lanes are not closed.
    pub async fn take(&self, failed_before: bool) -> Option<Slot> {
        let lane = if failed_before {
            &self.slow
        } else {
            &self.fast
        };
        lane.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn remotes_that_stall_leave_room_for_those_that_answer() {
        let slots = Slots::default();
        let mut stalled = Vec::new();
        for _ in 0..SLOW {
            stalled.push(slots.take(true).await);
        }
        let another = tokio::time::timeout(Duration::from_millis(20), slots.take(true)).await;
        assert!(another.is_err(), "the slow lane is full");
        assert!(slots.take(false).await.is_some());
    }
}
