//! Time as a value that is passed in.

use jiff::Timestamp;

/// Tells the time. Rooms that decide take a `Timestamp`; rooms that drive them ask a clock.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}
