//! What the controller has to do with the supervisors of workspaces: their keys, and following them.

pub mod authority;
pub mod follow;
pub mod keys;
