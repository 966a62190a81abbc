//! What the controller has to do with the supervisors of workspaces: their keys, and asking them.

pub mod authority;
pub mod dial;
pub mod follow;
pub mod keys;
