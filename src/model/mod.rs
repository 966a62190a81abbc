//! Names as types, validated values, the state machine, quotas, diffs and plans. Pure: no client, runtime, clock or environment.

pub mod clock;
pub mod names;
pub mod sync;
