//! The figures of the README, each with its yardstick: `cargo bench --bench figures -- [ID…]`.
//!
//! A figure that needs the node reads `E2E_KUBECONFIG`; `make bench` makes a cluster and sets it. Results are merged
//! into benches/results.json, missed bars included.
// A figure that can't be measured fails the run by panicking. Time and environment are what a benchmark reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod node;
mod push;

mod results;

use results::Figure;

/// Every figure, in the order of the table.
const IDS: [&str; 4] = [
    "push-to-applied",
    "ready-to-running",
    "start-overhead",
    "writes-per-start",
];

fn main() {
    // The provider may have been installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    // Cargo passes `--bench`, which is no figure.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    if let Some(unknown) = asked.iter().find(|id| !IDS.contains(&id.as_str())) {
        panic!("there is no figure {unknown:?}: there are {IDS:?}");
    }
    let wanted = |id: &str| asked.is_empty() || asked.iter().any(|word| word == id);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut measured = Vec::new();
    let mut take = |figure: Figure| {
        figure.print();
        measured.push(figure);
    };
    if wanted("push-to-applied") {
        take(runtime.block_on(push::push_to_applied()));
    }
    if wanted("ready-to-running") {
        take(runtime.block_on(node::ready_to_running()));
    }
    if wanted("start-overhead") || wanted("writes-per-start") {
        let starts = runtime.block_on(node::starts());
        for figure in starts.into_iter().filter(|figure| wanted(figure.id)) {
            take(figure);
        }
    }
    results::merge(&measured);
}
