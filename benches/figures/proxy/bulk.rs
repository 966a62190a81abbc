//! proxy-bulk: what a large file costs.

use super::load::{self, Way, median, ratio, round};
use super::others::{LARGE, Nginx};
use super::world::{APP, ORIGIN, World, behind};
use crate::results::Figure;

/// Measurements of each.
const ROUNDS: usize = 5;
/// How each is called.
const NAMES: [&str; 4] = ["download", "download by TLS", "upload", "upload by TLS"];

/// The worst of four: each way, plain and by TLS.
pub(crate) async fn bulk() -> Figure {
    let world = World::start().await;
    let proxy = world.proxy(1).await;
    let nginx = Nginx::start(&behind("alice"), &world.identity).await;
    let file = world.file("upload");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(LARGE)
        .unwrap();
    let visitors = [
        world.visitor("alice", ORIGIN).await,
        world.visitor_by_tls("alice", ORIGIN).await,
        world.visitor("alice", APP).await,
        world.visitor_by_tls("alice", APP).await,
    ];
    let ways = [
        (Way::Down, proxy.plain, nginx.plain),
        (Way::Down, proxy.tls, nginx.tls),
        (Way::Up, proxy.plain, nginx.plain),
        (Way::Up, proxy.tls, nginx.tls),
    ];
    let (mut ours, mut theirs): ([Vec<f64>; 4], [Vec<f64>; 4]) = Default::default();
    for turn in 0..=ROUNDS {
        for (which, (way, us, them)) in ways.iter().enumerate() {
            let visitor = &visitors[which];
            let mut of = [0.0; 2];
            for place in 0..2 {
                let (side, program, address) = match (turn + place) % 2 {
                    0 => (0, &proxy.program, *us),
                    _ => (1, &nginx.program, *them),
                };
                of[side] = load::transfer(program, visitor, address, *way, &file);
            }
            // The first round warms the caches.
            if turn > 0 {
                ours[which].push(of[0]);
                theirs[which].push(of[1]);
            }
        }
    }
    let ratios: Vec<f64> = (0..4)
        .map(|which| ratio(&ours[which], &theirs[which]))
        .collect();
    let told: Vec<String> = (0..4)
        .map(|which| {
            let (us, them) = (median(&ours[which]), median(&theirs[which]));
            let (name, ratio) = (NAMES[which], ratios[which]);
            format!(
                "{name} {} ms, nginx {} ms ({ratio:.2})",
                round(us),
                round(them)
            )
        })
        .collect();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let at = ratios.iter().position(|ratio| *ratio == worst).unwrap();
    Figure {
        id: "proxy-bulk",
        value: round(median(&ours[at])),
        unit: "ms of a core for 100 MB, p50, the worst of four",
        yardstick: Some(told.join("; ")),
        ratio: Some(worst),
        bar: "at most 1.1 times, each",
        met: worst <= 1.1,
        rounds: ROUNDS,
    }
}
