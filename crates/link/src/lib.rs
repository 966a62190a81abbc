//! What supervisor, controller, proxy and netforward say to each other.
//!
//! Owns paths, ports and messages that both ends of a conversation must agree on. Knows serde and nothing else.

/// Where the Workstead image is mounted, read-only, in every workspace container.
pub const TOOLS_PATH: &str = "/opt/workstead";

/// The first process of a workspace container, inside [`TOOLS_PATH`].
pub const SUPERVISOR_PATH: &str = "/opt/workstead/bin/workstead-supervisor";
