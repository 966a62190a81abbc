//! What the people who run the proxy see of it: counters, the access log, and the audit of who was let in.
//!
//! No user, path or host is a label of a counter; no cookie, token or query of a path of ours is in a line.

pub mod access;
pub mod metrics;
