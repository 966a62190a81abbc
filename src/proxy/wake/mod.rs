//! Workspaces that are not there: visits that wake them, requests that wait for them; and what keeps them there.
//!
//! - `visits`: asks the controller for a start, in `status.wake`.
//! - `hold`: requests that wait until a start is over.
//! - `activity`: when a workspace was last used, in its Lease.

pub mod activity;
pub mod hold;
pub mod visits;
