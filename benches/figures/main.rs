//! The figures of the README, each with its yardstick: `cargo bench --bench figures -- [ID…]`.
//!
//! A figure that needs the node reads `E2E_KUBECONFIG`; `make bench` makes a cluster and sets it. Those of the proxy need
//! root, for addresses of pods on this machine, and Debian's nginx, haproxy, nghttp2-client, curl and iproute2. Results are
//! merged into benches/results.json, missed bars included.
// A figure that can't be measured fails the run by panicking. Time and environment are what a benchmark reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod audit;
mod cluster;
mod fanout;
mod inside;
mod many;
mod program;
mod proxy;
mod push;
mod results;
mod sets;
mod starts;
mod steady;
mod supervisor;

use results::Figure;

/// Every figure, in the order of the table.
const IDS: [&str; 22] = [
    "push-to-applied",
    "ready-to-running",
    "start-overhead",
    "writes-per-start",
    "tools-overhead",
    "editor-start",
    "image-volume",
    "clone",
    "supervisor-size",
    "steady-cpu",
    "proxy-h1",
    "proxy-vs-auth-request",
    "proxy-h2",
    "proxy-bulk",
    "websocket-memory",
    "revocation",
    "route-table",
    "wake",
    "open-sets",
    "noop-sets",
    "restart-sets",
    "outdated-fanout",
];

fn main() {
    // The provider may have been installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if proxy::is_part(&arguments) {
        return;
    }
    // Cargo passes `--bench`, which is no figure.
    let asked: Vec<String> = arguments
        .into_iter()
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
    // Written at once: what is measured already is not lost when a later figure can't be.
    let take = |mut figures: Vec<Figure>| {
        figures.retain(|figure| wanted(figure.id));
        figures.iter().for_each(Figure::print);
        results::merge(&figures);
    };
    let any = |ids: &[&str]| ids.iter().any(|id| wanted(id));
    if any(&["push-to-applied"]) {
        take(vec![runtime.block_on(push::push_to_applied())]);
    }
    if any(&["clone"]) {
        take(vec![runtime.block_on(supervisor::clone())]);
    }
    if any(&["start-overhead", "writes-per-start", "tools-overhead"]) {
        take(runtime.block_on(starts::starts()));
    }
    if any(&["editor-start", "image-volume"]) {
        take(runtime.block_on(inside::editors()));
    }
    if any(&["supervisor-size"]) {
        take(vec![runtime.block_on(supervisor::size())]);
    }
    if any(&["proxy-h1", "proxy-vs-auth-request", "proxy-h2"]) {
        take(runtime.block_on(proxy::requests()));
    }
    if any(&["proxy-bulk"]) {
        take(vec![runtime.block_on(proxy::bulk())]);
    }
    if any(&["websocket-memory"]) {
        take(vec![runtime.block_on(proxy::websocket_memory())]);
    }
    if any(&["revocation"]) {
        take(vec![runtime.block_on(proxy::revocation())]);
    }
    if any(&["route-table"]) {
        take(vec![proxy::route_table()]);
    }
    if any(&["wake"]) {
        take(vec![runtime.block_on(proxy::wake())]);
    }
    if any(&["open-sets"]) {
        take(vec![sets::open_sets()]);
    }
    if any(&["noop-sets", "restart-sets"]) {
        take(runtime.block_on(sets::many_sets()));
    }
    if any(&["outdated-fanout"]) {
        take(vec![runtime.block_on(fanout::outdated_fanout())]);
    }
    // The last ones: the many Workspaces that they make and delete keep the machine busy for long.
    if any(&["ready-to-running"]) {
        take(vec![runtime.block_on(many::ready_to_running())]);
    }
    if any(&["steady-cpu"]) {
        take(vec![runtime.block_on(steady::steady_cpu())]);
    }
}
