//! How a workspace is: what the way in depends on, and what a page shows of it.
//!
//! Kept for every workspace, so nothing else of a status is.

use std::sync::Arc;

use crate::api::steps::TimelineStep;
use crate::api::workspace::{ActualState, Failure, WorkspaceStatus};

/// A status, without what neither a decision nor a page needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What it does.
    pub actual_state: Option<ActualState>,
    /// The port of the editor that runs.
    pub editor_port: Option<u16>,
    /// The class of its last start.
    pub class_name: Option<Arc<str>>,
    /// None for most: they run.
    start: Option<Box<Start>>,
}

/// How a start goes on, or why it failed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Start {
    failure: Option<Failure>,
    timeline: Vec<TimelineStep>,
}

impl Seen {
    /// Keeps what is needed.
    pub fn of(status: WorkspaceStatus) -> Self {
        let mut start = Start {
            failure: status.failure,
            timeline: status.timeline,
        };
        // Of what runs no page tells how it came so far.
        if status.actual_state == Some(ActualState::Running) {
            start.timeline = Vec::new();
        }
        Self {
            actual_state: status.actual_state,
            editor_port: status.editor_port,
            class_name: status.class_name.map(Arc::from),
            start: (start != Start::default()).then(|| Box::new(start)),
        }
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.start.as_ref()?.failure.as_ref()
    }

    /// The steps of its start so far.
    pub fn timeline(&self) -> &[TimelineStep] {
        self.start
            .as_ref()
            .map_or(&[], |start| start.timeline.as_slice())
    }
}
