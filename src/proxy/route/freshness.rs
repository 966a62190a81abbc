//! How old the picture of the cluster is, and what may still be decided by it.
//!
//! The API server away, the last picture serves on, with a bound: a share that was taken back meanwhile is not seen. It
//! counts as fresh while the revocation object can be read or the watches tell something, and none of them is broken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::clock::Clock;

/// From then on nothing new begins: no login, no renewal, no wake.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2 * 60);
/// From then on owners alone are let in, by the sessions that they have.
pub const OWNERS_AFTER: Duration = Duration::from_secs(10 * 60);

/// A watch that is taken up again says nothing until something changes. But one that is still broken says so within this,
/// so one that does not is well, if the API server answers.
const QUIET: Duration = Duration::from_secs(75);

/// What may still be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Everything.
    Fresh,
    /// Sessions that are there go on; no login, no renewal, no wake.
    Settled,
    /// Owners go on by the sessions that they have.
    Owners,
    /// Nothing: every session of that time is over.
    Closed,
}

impl Stage {
    /// What holds when the picture is this old.
    pub fn of(age: Duration, session_life: Duration) -> Self {
        if age >= OWNERS_AFTER.max(session_life) {
            Self::Closed
        } else if age >= OWNERS_AFTER {
            Self::Owners
        } else if age >= SETTLED_AFTER {
            Self::Settled
        } else {
            Self::Fresh
        }
    }

    /// Whether logins, renewals and wakes may begin.
    pub fn may_begin(self) -> bool {
        self == Self::Fresh
    }

    /// For counters and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Settled => "settled",
            Self::Owners => "owners",
            Self::Closed => "closed",
        }
    }
}

/// Keeps the age.
pub struct Freshness {
    clock: Arc<dyn Clock>,
    session_life: Duration,
    /// When all was well, in milliseconds since 1970: read by every request.
    well_at: AtomicI64,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    last: Timestamp,
    /// Watches that do not answer.
    broken: HashMap<Box<str>, Broken>,
}

#[derive(Debug)]
struct Broken {
    since: Timestamp,
    /// When it last said so.
    said: Timestamp,
}

impl Freshness {
    /// As if all was well now. `session_life` is that of the longest session.
    pub fn new(clock: Arc<dyn Clock>, session_life: Duration) -> Self {
        let now = clock.now();
        Self {
            clock,
            session_life,
            well_at: AtomicI64::new(now.as_millisecond()),
            heard: Mutex::new(Heard {
                last: now,
                broken: HashMap::new(),
            }),
        }
    }

    /// The API server answered.
    pub fn heard(&self) {
        let mut heard = self.lock();
        let now = self.clock.now();
        heard.last = now;
        heard
            .broken
            .retain(|_, broken| between(broken.said, now) < QUIET);
        self.reckon(&heard);
    }

    /// A watch told something.
    pub fn watch_told(&self, watch: &str) {
        let mut heard = self.lock();
        heard.broken.remove(watch);
        heard.last = self.clock.now();
        self.reckon(&heard);
    }

    /// A watch broke. What it would tell is missing from now on, whatever else answers.
    pub fn watch_broke(&self, watch: &str) {
        let mut heard = self.lock();
        let said = self.clock.now();
        let broken = heard.broken.entry(watch.into());
        broken.or_insert(Broken { since: said, said }).said = said;
        self.reckon(&heard);
    }

    /// How old the picture is.
    pub fn age(&self) -> Duration {
        let since = self.well_at.load(Ordering::Acquire);
        let age = self.clock.now().as_millisecond().saturating_sub(since);
        Duration::from_millis(u64::try_from(age).unwrap_or_default())
    }

    /// What may still be decided.
    pub fn stage(&self) -> Stage {
        Stage::of(self.age(), self.session_life)
    }

    fn reckon(&self, heard: &Heard) {
        let since = heard.broken.values().map(|broken| broken.since).min();
        let well = since.map_or(heard.last, |since| heard.last.min(since));
        self.well_at.store(well.as_millisecond(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None, if the clock was set back.
fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::testkit::TestClock;

    const LIFE: Duration = Duration::from_secs(3600);

    #[rstest]
    #[case(0, Stage::Fresh)]
    #[case(119, Stage::Fresh)]
    #[case(120, Stage::Settled)]
    #[case(599, Stage::Settled)]
    #[case(600, Stage::Owners)]
    #[case(3599, Stage::Owners)]
    #[case(3600, Stage::Closed)]
    #[case(u64::MAX, Stage::Closed)]
    fn the_older_the_picture_the_less_is_decided_by_it(#[case] age: u64, #[case] stage: Stage) {
        assert_eq!(Stage::of(Duration::from_secs(age), LIFE), stage);
    }

    #[test]
    fn short_sessions_close_no_owner_out_before_their_time() {
        let life = Duration::from_secs(60);
        assert_eq!(Stage::of(Duration::from_secs(599), life), Stage::Settled);
        assert_eq!(Stage::of(Duration::from_secs(600), life), Stage::Closed);
    }

    #[test]
    fn a_word_of_the_api_server_makes_it_fresh_again() {
        let clock = TestClock::default();
        let freshness = Freshness::new(Arc::new(clock.clone()), LIFE);
        clock.advance(SignedDuration::from_secs(125));
        assert_eq!(freshness.stage(), Stage::Settled);
        freshness.heard();
        assert_eq!(freshness.stage(), Stage::Fresh);
    }

    #[test]
    fn a_watch_that_stays_broken_makes_it_stale_whatever_else_answers() {
        let clock = TestClock::default();
        let freshness = Freshness::new(Arc::new(clock.clone()), LIFE);
        freshness.watch_broke("Workspace");
        for _ in 0..50 {
            clock.advance(SignedDuration::from_secs(15));
            freshness.heard();
            freshness.watch_told("Pod");
            // Broken again while it was broken: the age goes on.
            freshness.watch_broke("Workspace");
        }
        assert_eq!(freshness.age(), Duration::from_secs(750));
        assert_eq!(freshness.stage(), Stage::Owners);
        freshness.watch_told("Workspace");
        assert_eq!(freshness.stage(), Stage::Fresh);
    }

    #[test]
    fn a_quiet_watch_that_broke_once_is_well_again_when_it_complains_no_more() {
        let clock = TestClock::default();
        let freshness = Freshness::new(Arc::new(clock.clone()), LIFE);
        freshness.watch_broke("WorkspaceClass");
        for _ in 0..20 {
            clock.advance(SignedDuration::from_secs(15));
            freshness.heard();
            assert_eq!(freshness.stage(), Stage::Fresh);
        }
        assert_eq!(freshness.age(), Duration::ZERO);
    }
}
