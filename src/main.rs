//! The `workstead` binary: parse the command line, start telemetry, run a role.

fn main() {}
