//! The way into workspaces: `https://<workspace>.<domain>` opens for those who may, and for nobody else.
//!
//! Bytes come in through the front, which refuses whatever two readers could understand differently. The door decides
//! on each request: which host, whose workspace, who asks, may they. What passes is copied to the pod; the rest gets a
//! page of ours. All that a decision needs is in memory: a watched snapshot of the cluster and signed cookies.

pub mod app;
pub mod authorize;
pub mod config;
pub mod door;
pub mod forward;
pub mod front;
pub mod host;
pub mod limits;
pub mod listen;
pub mod login;
pub mod observe;
pub mod pages;
pub mod route;
pub mod session;
pub mod wake;
pub mod wire;
