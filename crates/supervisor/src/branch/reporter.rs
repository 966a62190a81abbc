//! How the branch tells the first process what has become of a step.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use workstead_link::{Plan, Step, StepFailure, StepState};

use crate::clock::Clock;
use crate::process::lock;
use crate::steps::{News, planned};

/// Keeps the steps and sends each change.
pub struct Reporter {
    clock: Clock,
    inner: Mutex<Inner>,
}

struct Inner {
    out: UnixStream,
    /// The step and when it was begun.
    steps: Vec<(Step, u64)>,
}

impl Reporter {
    /// Begins with none of the plan's steps begun.
    pub fn new(plan: &Plan, clock: Clock, out: UnixStream) -> Self {
        let steps = planned(plan).into_iter().map(|step| (step, 0)).collect();
        Self {
            clock,
            inner: Mutex::new(Inner { out, steps }),
        }
    }

    /// It runs.
    pub fn begin(&self, index: usize) {
        self.change(index, |step| step.state = StepState::Running);
    }

    /// It ended well.
    pub fn done(&self, index: usize, note: Option<String>) {
        self.change(index, |step| {
            step.state = StepState::Done;
            step.note = note;
            step.failure = None;
        });
    }

    /// It failed for good.
    pub fn failed(&self, index: usize, failure: StepFailure) {
        self.change(index, |step| {
            step.state = StepState::Failed;
            step.failure = Some(failure);
        });
    }

    /// It failed and will be tried again.
    pub fn retrying(&self, index: usize, failure: StepFailure) {
        self.change(index, |step| {
            step.state = StepState::Retrying;
            step.failure = Some(failure);
        });
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Step)) {
        let now = self.clock.millis();
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        let Some((step, begun)) = inner.steps.get_mut(index) else {
            return;
        };
        let was_over = step.state == StepState::Waiting || step.state.is_settled();
        change(step);
        if was_over && !step.state.is_settled() {
            *begun = now;
        }
        step.at_ms = now;
        step.took_ms = step.state.is_settled().then(|| now.saturating_sub(*begun));
        say(step);
        let step = step.clone();
        if let Ok(mut line) = serde_json::to_vec(&News { index, step }) {
            line.push(b'\n');
            // Without a first process to hear it this one is about to end.
            let _ = inner.out.write_all(&line);
        }
    }
}

/// For those who read the log of the container.
fn say(step: &Step) {
    let Some(failure) = &step.failure else { return };
    let then = if step.state == StepState::Retrying {
        "; trying again"
    } else {
        ""
    };
    eprintln!("workstead-supervisor: {}{then}", failure.message);
}
