//! The GitSync controller: from a commit to applied objects.
//!
//! Owns the pass over one repository: dereference → fetch → plan → guard → widen the inventory → apply → prune →
//! narrow the inventory → report. The pure half (snapshot, plan, guard) lives in model/sync.rs and gitsync.

mod apply;
mod context;
mod dereference;
mod fields;
mod fights;
mod finalize;
pub mod inventory;
pub mod kinds;
mod live;
mod outcome;
mod pass;
mod prune;
pub mod requests;
mod slots;
mod status;
mod watch;
pub mod webhook;
