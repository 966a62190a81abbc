//! The key ring is exchanged while people work: nobody is signed out by it, and what a dropped key signed is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use workstead::model::keyring::{KEPT_FOR, KeyRing, RING_ENTRY, next_ring};
use workstead::model::names::PROXY_KEYS_SECRET;
use workstead::proxy::session::entropy::SystemEntropy;
use workstead::testkit::faults::EventFault;
use workstead::testkit::wait::eventually;

use super::browser::{Browser, End, Line};
use super::world::{ALICE, World};

/// So often somebody asks each replica between two steps.
const BETWEEN: usize = 25;

/// Somebody who asks both replicas all the time, and gets what is asked for every time.
struct Working {
    asked: Arc<[AtomicUsize; 2]>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Working {
    fn begin(world: &World, browser: &Browser) -> Self {
        let request = browser.request(&world.authority(), "/", "");
        let (asked, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut working = Self {
            asked,
            stop,
            tasks: JoinSet::new(),
        };
        for (number, at) in world.both().into_iter().enumerate() {
            let (asked, stop) = (working.asked.clone(), working.stop.clone());
            let request = request.clone();
            working.tasks.spawn(async move {
                let mut line = Line::open(at).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let page = line.ask(&request).await.unwrap().expect("an answer");
                    assert_eq!(page.status, 200, "at {at}: {page:?}");
                    asked[number].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        working
    }

    /// Waits until a while has passed, by what was asked in it.
    async fn on(&mut self) {
        let asked = |number: usize| self.asked[number].load(Ordering::Relaxed);
        let goal = [0, 1].map(|number| asked(number) + BETWEEN);
        eventually("requests at both replicas", async || {
            // One that was refused has ended it.
            let is_there = (0..2).all(|number| asked(number) >= goal[number]);
            (is_there || self.tasks.len() < 2).then_some(())
        })
        .await;
        if let Some(ended) = self.tasks.try_join_next() {
            panic!("it went wrong: {ended:?}");
        }
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// A ring as it is when so much time has passed.
fn aged(ring: &KeyRing, by: SignedDuration) -> String {
    let mut file: Value = serde_json::from_str(&ring.to_json()).unwrap();
    for key in file["keys"].as_array_mut().unwrap() {
        let at: Timestamp = key["notBefore"].as_str().unwrap().parse().unwrap();
        key["notBefore"] = json!(at - by);
    }
    file.to_string()
}

async fn exchange(world: &World, ring: &str) {
    let data = json!({"data": {RING_ENTRY: STANDARD.encode(ring)}});
    world
        .api::<Secret>()
        .patch(
            PROXY_KEYS_SECRET,
            &PatchParams::default(),
            &Patch::Merge(data),
        )
        .await
        .unwrap();
}

/// Waits until a replica signs by a key; gives who signed in by it.
async fn signed_by(world: &World, key: &str, at: SocketAddr) -> Browser {
    eventually(&format!("the key {key} to sign at {at}"), async || {
        let browser = world.signed_in(ALICE, at).await;
        (browser.key_id(&world.authority()) == key).then_some(browser)
    })
    .await
}

#[tokio::test]
async fn a_rotation_of_the_key_ring_costs_nobody_a_request_and_ends_what_a_dropped_key_signed() {
    let Some(world) = World::start("keys").await else {
        return;
    };
    let [one, other] = world.both();
    let first = world.ring().await;
    let [old, new] = [0, 1].map(|number: usize| first.keys()[number].id.to_string());
    let early = world.signed_in(ALICE, one).await;
    assert_eq!(early.key_id(&world.authority()), old);
    let mut stream = early.socket(other, &world.origin()).await;
    let mut working = Working::begin(&world, &early);
    working.on().await;

    // The second key signs, a third is published. One replica hears nothing of it.
    let then = first.keys()[1].not_before;
    let passed = then.duration_since(Timestamp::now());
    let second = next_ring(&first, then, &SystemEntropy).unwrap();
    let is_deaf = Arc::new(AtomicBool::new(true));
    let deaf = is_deaf.clone();
    let lagging = &world.replicas[1];
    lagging.faults.on_events(move |path, _| {
        if deaf.load(Ordering::SeqCst) && path.ends_with("/secrets") {
            EventFault::Drop
        } else {
            EventFault::Pass
        }
    });
    exchange(&world, &aged(&second, passed)).await;
    let late = signed_by(&world, &new, one).await;
    // It has known the key for long.
    assert_eq!(world.status(other, &late, "/").await, 200);
    assert_eq!(
        world
            .signed_in(ALICE, other)
            .await
            .key_id(&world.authority()),
        old
    );
    working.on().await;
    is_deaf.store(false, Ordering::SeqCst);
    lagging.faults.break_watches("secrets");
    signed_by(&world, &new, other).await;
    let mut working_late = Working::begin(&world, &late);
    let mut stream_late = late.socket(other, &world.origin()).await;
    working.on().await;
    working_late.on().await;
    stream.echo("both keys are there").await.unwrap();
    working.end().await;

    // Nothing that the first key signed can live any more: it is dropped.
    let third = next_ring(&second, then + KEPT_FOR, &SystemEntropy).unwrap();
    assert!(third.keys().iter().all(|key| key.id.as_str() != old));
    exchange(&world, &aged(&third, passed)).await;
    for at in world.both() {
        world.until(at, &early, "/", 401).await;
        assert_eq!(world.status(at, &early, "/secret").await, 401);
    }
    assert_eq!(stream.ended().await, End::Cut);
    working_late.on().await;
    working_late.end().await;
    stream_late.echo("nothing happened here").await.unwrap();
    assert_eq!(world.app.times_seen("/secret"), 0);
}
