//! How the workspace is, for all who ask.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use workstead_link::Step;

use crate::clock::Clock;
use crate::process::lock;
use crate::steps::{News, is_ready};

/// The steps and what is read from the kernel when somebody asks.
pub struct Board {
    /// Counts since the start.
    pub clock: Clock,
    /// Names of programs that keep the workspace from being idle.
    pub keep_alive: Vec<String>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    steps: Vec<Step>,
    changes: u64,
}

impl Board {
    /// With these steps.
    pub fn new(steps: Vec<Step>, keep_alive: Vec<String>, clock: Clock) -> Self {
        Self {
            clock,
            keep_alive,
            state: Mutex::new(State { steps, changes: 1 }),
            changed: Condvar::new(),
        }
    }

    /// Takes note of a step.
    pub fn put(&self, news: News) {
        let mut state = lock(&self.state);
        if let Some(step) = state.steps.get_mut(news.index) {
            *step = news.step;
            state.changes += 1;
            self.changed.notify_all();
        }
    }

    /// Whether the kubelet may send people here.
    pub fn is_ready(&self) -> bool {
        is_ready(&lock(&self.state).steps)
    }

    /// The steps and how often they have changed; waits for a change after `seen`, but not for long.
    pub fn steps(&self, seen: u64, patience: Duration) -> (Vec<Step>, u64) {
        let state = lock(&self.state);
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| state.changes == seen);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (state.steps.clone(), state.changes)
    }
}
