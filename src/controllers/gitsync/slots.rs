//! Who may fetch at the same time: each fetch is a process of its own, in one of two bounded lanes.
//!
//! A remote that stalls holds its process until its deadline. A GitSync whose last fetch failed waits in the slow lane:
//! however many remotes stall, those that answer find room.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The share of all fetches that those have whose last one failed: one of so many.
const SLOW_SHARE: usize = 3;

/// The two lanes.
#[derive(Debug)]
pub struct Slots {
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// Held while a fetch runs.
pub type Slot = OwnedSemaphorePermit;

impl Slots {
    /// Lanes for so many fetches at the same time; no lane is without room.
    pub fn new(fetches: u16) -> Self {
        let fetches = usize::from(fetches).max(2);
        let slow = (fetches / SLOW_SHARE).max(1);
        Self {
            fast: Arc::new(Semaphore::new(fetches - slow)),
            slow: Arc::new(Semaphore::new(slow)),
        }
    }

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
        let slots = Slots::new(6);
        let mut stalled = Vec::new();
        for _ in 0..2 {
            stalled.push(slots.take(true).await);
        }
        let another = tokio::time::timeout(Duration::from_millis(20), slots.take(true)).await;
        assert!(another.is_err(), "the slow lane is full");
        assert!(slots.take(false).await.is_some());
    }

    #[test]
    fn there_are_never_more_fetches_than_allowed_and_each_lane_has_one() {
        for fetches in 2..40 {
            let slots = Slots::new(fetches);
            let (fast, slow) = (
                slots.fast.available_permits(),
                slots.slow.available_permits(),
            );
            assert_eq!(fast + slow, usize::from(fetches));
            assert!(slow >= 1 && fast >= slow);
        }
    }
}
