//! What the process says about itself: logs, metrics, `/healthz`, `/readyz`.
//!
//! Owns the log format, the metric families and the small HTTP server that stands in front of our own endpoints.
//! Knows no other room.

pub mod health;
pub mod logs;
pub mod metrics;
pub mod server;

pub use health::Health;
pub use logs::{LogFormat, LogSettings};
pub use metrics::Metrics;
