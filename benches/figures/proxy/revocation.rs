//! revocation: how soon a user's streams end on all replicas, and nobody else's.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use workstead::controllers::clock::SystemClock;
use workstead::proxy::login::cluster::Cluster;
use workstead::proxy::login::outside::Effects as _;
use workstead::proxy::session::revocation::{Entry, Whose};

use super::load::round;
use super::sockets::{self, Socket};
use super::world::{APP, Proxy, World, owner};
use crate::results::Figure;

/// WebSockets on each replica of whose login ends, and of somebody else.
const CUT: usize = 4500;
const KEPT: usize = 500;
/// How often it is measured; each time the user has signed in anew.
const ROUNDS: usize = 3;
/// Until those that were opened are idle.
const REST: Duration = Duration::from_secs(2);
/// The run is given up then.
const LIMIT: Duration = Duration::from_secs(20);

/// The slowest of all streams of all rounds.
pub(crate) async fn revocation() -> Figure {
    let world = World::start().await;
    let replicas = [world.proxy(1).await, world.proxy(2).await];
    let bob = world.visitor("bob", APP).await;
    let mut kept = Vec::new();
    for replica in &replicas {
        kept.extend(sockets::open(KEPT, &bob, replica.plain, None).await);
    }
    let mut slowest = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        // A login of the very second in which others are ended is ended too.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let took = one(&world, &replicas).await;
        for (slowest, took) in slowest.iter_mut().zip(took) {
            *slowest = slowest.max(took);
        }
        for socket in &mut kept {
            socket.echo("still there").await;
        }
    }
    let [first, second] = slowest.map(round);
    let value = first.max(second);
    Figure {
        id: "revocation",
        value,
        unit: "ms until the last stream is cut, worst",
        yardstick: Some(format!(
            "{CUT} streams of {} on each of two replicas: {first} and {second} ms; {KEPT} of somebody else on each go on",
            CUT + KEPT
        )),
        ratio: None,
        bar: "at most 1 s on both, nobody else's stream touched",
        met: value <= 1000.0,
        rounds: ROUNDS,
    }
}

/// Signs in, opens the streams and ends the login. Gives the milliseconds until each replica had cut them all.
async fn one(world: &World, replicas: &[Proxy; 2]) -> [f64; 2] {
    let alice = world.visitor("alice", APP).await;
    let mut open: Vec<Vec<Socket>> = Vec::new();
    for replica in replicas {
        open.push(sockets::open(CUT, &alice, replica.plain, None).await);
    }
    let mut cuts: Vec<JoinSet<Instant>> = Vec::new();
    for sockets in open {
        cuts.push(sockets.into_iter().map(Socket::cut).collect());
    }
    tokio::time::sleep(REST).await;
    for cuts in &mut cuts {
        assert!(cuts.try_join_next().is_none(), "one was cut before");
    }
    let cluster = Cluster::new(
        world.client.clone(),
        &world.namespace,
        "bench",
        Arc::new(SystemClock),
    );
    let entry = Entry::new(Whose::User(owner("alice")), Timestamp::now());
    let begin = Instant::now();
    cluster.revoke(&[entry]).await.unwrap();
    let mut took = [0.0; 2];
    for (took, cuts) in took.iter_mut().zip(cuts) {
        let all = tokio::time::timeout(LIMIT, cuts.join_all()).await;
        let last = all.expect("all are cut").into_iter().max().unwrap();
        *took = last.duration_since(begin).as_secs_f64() * 1000.0;
    }
    took
}
