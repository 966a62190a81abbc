//! proxy-h1, proxy-vs-auth-request and proxy-h2: what a request of somebody who is signed in costs.

use super::load::{self, Protocol, median, ratio, round};
use super::others::Nginx;
use super::world::{ORIGIN, World, behind};
use crate::results::Figure;

/// Measurements of each.
const ROUNDS: usize = 9;

/// The three figures, from the same rounds: all take turns, and in who goes first.
pub(crate) async fn requests() -> Vec<Figure> {
    let world = World::start().await;
    let proxy = world.proxy(1).await;
    let nginx = Nginx::start(&behind("alice"), &world.identity).await;
    let plain = world.visitor("alice", ORIGIN).await;
    let by_tls = world.visitor_by_tls("alice", ORIGIN).await;
    let all = [
        (&proxy.program, &plain, proxy.plain, Protocol::H1),
        (&nginx.program, &plain, nginx.plain, Protocol::H1),
        (&nginx.program, &plain, nginx.asking, Protocol::H1),
        (&proxy.program, &by_tls, proxy.tls, Protocol::H2),
        (&nginx.program, &by_tls, nginx.tls, Protocol::H2),
    ];
    let mut used: [Vec<f64>; 5] = Default::default();
    for turn in 0..=ROUNDS {
        for place in 0..all.len() {
            let which = (turn + place) % all.len();
            let (program, visitor, address, protocol) = all[which];
            let one = load::requests(program, visitor, address, protocol);
            // The first round warms the caches.
            if turn > 0 {
                used[which].push(one);
            }
        }
    }
    let [h1, passed, asked, h2, passed_h2] = &used;
    vec![
        figure("proxy-h1", h1, "nginx proxy_pass, keep-alive", passed, 1.25),
        figure(
            "proxy-vs-auth-request",
            h1,
            "nginx auth_request, without who answers it",
            asked,
            0.9,
        ),
        figure("proxy-h2", h2, "nginx h2 proxy_pass", passed_h2, 1.25),
    ]
}

fn figure(id: &'static str, ours: &[f64], whose: &str, theirs: &[f64], most: f64) -> Figure {
    let ratio = ratio(ours, theirs);
    Figure {
        id,
        value: round(median(ours)),
        unit: "µs of a core a request, p50",
        yardstick: Some(format!("{whose}: {} µs", round(median(theirs)))),
        ratio: Some(ratio),
        bar: match id {
            "proxy-vs-auth-request" => "at most 0.9 times",
            _ => "at most 1.25 times",
        },
        met: ratio <= most,
        rounds: ours.len(),
    }
}
