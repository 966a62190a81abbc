//! The clock on the wall: the one place in the program that asks the system for the time.

use jiff::Timestamp;

use crate::model::clock::Clock;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    // Audited: everybody else is handed a clock, and this is what main hands out.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
