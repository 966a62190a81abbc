//! Which fault hits which call.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::record::Call;

/// What goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status is answered, and the server never sees the request.
    Answer(u16),
    /// The connection breaks before the server has the request: it did not act.
    RequestLost,
    /// The server acts, and the connection breaks before its answer is here.
    ReplyLost,
    /// The request never arrives and nothing is ever answered: only a deadline of the caller's own ends it.
    Hang,
    /// The server acts and nothing is ever answered.
    ReplyHangs,
    /// The answer comes late.
    Delay(Duration),
    /// A read is answered as the same read was answered before, if it was: a cache that is behind.
    Stale,
}

/// In which of its two forms a cut hits: both look alike to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server did not act.
    RequestLost,
    /// The server did act.
    ReplyLost,
}

impl Cut {
    /// Both forms, for tests that go through all.
    pub const BOTH: [Self; 2] = [Self::RequestLost, Self::ReplyLost];

    pub(super) fn fault(self) -> Fault {
        match self {
            Self::RequestLost => Fault::RequestLost,
            Self::ReplyLost => Fault::ReplyLost,
        }
    }

    /// The same without a word to the caller.
    pub(super) fn silence(self) -> Fault {
        match self {
            Self::RequestLost => Fault::Hang,
            Self::ReplyLost => Fault::ReplyHangs,
        }
    }
}

/// What happens to an event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFault {
    /// Nothing: it passes.
    Pass,
    /// It never comes.
    Drop,
    /// It comes twice.
    Duplicate,
    /// It comes late, and all after it.
    Delay(Duration),
}

type Predicate = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Picks calls.
#[derive(Clone)]
pub struct When(Predicate);

impl When {
    /// All but watches.
    pub fn any() -> Self {
        Self::matching(|call| !call.is_watch())
    }

    /// The call of this number, watches not counted.
    pub fn call(number: usize) -> Self {
        Self::matching(move |call| call.number == number)
    }

    /// The write of this number.
    pub fn write(number: usize) -> Self {
        Self::matching(move |call| call.write_number == number)
    }

    /// Every write.
    pub fn writes() -> Self {
        Self::matching(|call| call.write_number > 0)
    }

    /// Requests for a watch of this resource (plural name).
    pub fn watch(resource: &'static str) -> Self {
        Self::matching(move |call| call.is_watch() && call.resource() == resource)
    }

    /// Calls of this method to this resource (plural name), watches not among them.
    pub fn request(method: http::Method, resource: &'static str) -> Self {
        Self::matching(move |call| {
            call.method == method && call.resource() == resource && !call.is_watch()
        })
    }

    /// Calls that a closure picks.
    pub fn matching(picks: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(picks))
    }

    /// Calls that both pick.
    pub fn and(self, other: Self) -> Self {
        Self::matching(move |call| (self.0)(call) && (other.0)(call))
    }

    pub(super) fn picks(&self, call: &Call) -> bool {
        (self.0)(call)
    }
}

/// A fault and whom it hits.
pub(super) struct Rule {
    pub when: When,
    pub fault: Fault,
    /// How often it still hits.
    pub left: usize,
    /// What befalls every later call, where this one is the last of a process.
    pub then: Option<Fault>,
}

/// Says what happens to each event of a watch: path of the watch, the event as the server sent it.
pub(super) type EventRule = Box<dyn FnMut(&str, &Value) -> EventFault + Send>;
