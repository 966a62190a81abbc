//! When a workspace ends by itself: not used, active for too long, stopped for too long, too old.
//!
//! Everything runs from persisted moments against a clock that is passed in. When a workspace was last used stands in its
//! activity Lease ([`lease`]), written by the proxy; [`timers`] makes of that what is to be warned of, asked and ended.

pub mod lease;
pub mod timers;
pub mod words;

use serde::{Deserialize, Serialize};

use crate::model::duration::Span;

/// Time limits after which a workspace is stopped or terminated by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifetimes {
    /// Running without being used: it is stopped.
    pub idle: Span,
    /// Running since the last start: it is stopped.
    pub max_active: Span,
    /// Stopped: it is terminated.
    pub max_stopped: Span,
    /// Since it was created: it is terminated.
    pub max_lifetime: Span,
}

const HOUR: u64 = 3600;

impl Lifetimes {
    /// The shortest. Use is written down once a minute, so less than two can't be told from none; and a slip of the pen
    /// must not terminate what was stopped a moment ago.
    pub const LEAST: Self = Self {
        idle: Span::from_seconds(120),
        max_active: Span::from_seconds(120),
        max_stopped: Span::from_seconds(HOUR),
        max_lifetime: Span::from_seconds(HOUR),
    };
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            idle: Span::from_seconds(HOUR / 2),
            max_active: Span::from_seconds(36 * HOUR),
            max_stopped: Span::from_seconds(744 * HOUR),
            max_lifetime: Span::from_seconds(8760 * HOUR),
        }
    }
}
