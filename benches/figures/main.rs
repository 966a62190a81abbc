//! The figures of the README, each with its yardstick.

fn main() {}
