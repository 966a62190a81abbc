//! Builders, clocks, a real control plane, a Git server and faults, for tests and benches.
