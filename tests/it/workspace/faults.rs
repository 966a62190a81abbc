//! Faults between the controller and the API server: whatever happens, it comes to the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use workstead::api::workspace::ActualState;
use workstead::testkit::faults::{Call, Cut, Fault, When, lines};

use super::{World, writes_since};

/// The calls of passes: not those of the lease, which come when they come, nor Events, which are hints.
fn counts(call: &Call) -> bool {
    !call.is_watch() && !matches!(call.resource(), "leases" | "events")
}

/// Picks the call of this number among the writes, or among the reads.
fn nth_call(is_write: bool, number: usize) -> When {
    let seen = AtomicUsize::new(0);
    When::matching(move |call| {
        counts(call)
            && call.is_write() == is_write
            && seen.fetch_add(1, Ordering::Relaxed) == number
    })
}

/// Children and the parts of the status that do not depend on the moment.
async fn outcome(world: &World) -> (BTreeMap<String, Value>, Value) {
    let text = serde_json::to_string(&world.children().await).unwrap();
    // Names of namespaces and classes differ from world to world.
    let children = serde_json::from_str(&text.replace(&world.namespace, "NAMESPACE")).unwrap();
    let status = world.status("dev").await;
    let conditions: Vec<(String, String, String)> = status
        .conditions
        .iter()
        .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
        .collect();
    let status = json!({
        "state": status.actual_state, "desired": status.desired_state, "failure": status.failure,
        "conditions": conditions, "revision": status.revision, "volume": status.volume,
        "generation": status.observed_generation, "restart": status.restart,
    });
    (children, status)
}

/// Fails with what differs, and nothing else.
fn assert_same(
    (got, got_status): &(BTreeMap<String, Value>, Value),
    (wanted, wanted_status): &(BTreeMap<String, Value>, Value),
    when: &str,
) {
    let names: BTreeSet<&String> = got.keys().chain(wanted.keys()).collect();
    for name in names {
        assert_eq!(got.get(name), wanted.get(name), "{name} {when}");
    }
    assert_eq!(got_status, wanted_status, "the status {when}");
}

/// Starts a Workspace under a fault, kills the controller if that was a crash, and lets a healthy one finish.
async fn start_under(when: When, cut: Option<Cut>) -> (bool, (BTreeMap<String, Value>, Value)) {
    let world = World::new("crash").await;
    let _kubelet = world.auto_ready();
    match cut {
        Some(cut) => world.faults.crash(when, cut),
        None => world.faults.always(when, Fault::Answer(409)),
    }
    let mut process = world.start_one_at_a_time();
    world.create("dev", json!({})).await;
    let running = world.reaches("dev", ActualState::Running);
    let crashed = tokio::select! {
        () = world.faults.wait_for_crash() => true,
        () = running => false,
    };
    if crashed {
        process.kill().await;
        world.faults.heal();
        process = world.start_one_at_a_time();
    }
    world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    let outcome = outcome(&world).await;
    // And it stays there.
    world.faults.heal();
    let mark = world.faults.mark();
    world
        .change(
            "dev",
            json!({"metadata": {"annotations": {"example.com/touch": "1"}}}),
        )
        .await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    process.stop().await.unwrap();
    (crashed, outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_in_either_form_comes_to_the_same() {
    let (_, wanted) = start_under(nth_call(true, usize::MAX), Some(Cut::RequestLost)).await;
    let writes = (0..14).flat_map(|call| Cut::BOTH.map(|cut| (true, call, cut)));
    // To a read it is the same whether the request or the reply was lost.
    let reads = (0..30).map(|call| (false, call, Cut::ReplyLost));
    let results: Vec<_> = futures::stream::iter(writes.chain(reads))
        .map(async |(is_write, call, cut)| {
            let run = start_under(nth_call(is_write, call), Some(cut)).await;
            (is_write, call, cut, run)
        })
        .buffer_unordered(16)
        .collect()
        .await;
    for (kind, least, most) in [(true, 8, 13), (false, 15, 29)] {
        let crashed = |(is_write, call, _, (crashed, _)): &(bool, usize, Cut, (bool, _))| {
            (*is_write == kind && *crashed).then_some(*call)
        };
        // The last numbers are beyond the last call: all calls were met.
        let last = results.iter().filter_map(crashed).max();
        assert!(
            last.is_some_and(|last| (least..most).contains(&last)),
            "{kind} {last:?}"
        );
    }
    for (is_write, call, cut, (_, got)) in results {
        let kind = if is_write { "write" } else { "read" };
        assert_same(
            &got,
            &wanted,
            &format!("after a crash at {kind} {call}, {cut:?}"),
        );
    }
}

#[tokio::test]
async fn a_conflict_on_every_write_is_tried_again_and_comes_to_the_same() {
    let (_, wanted) = start_under(nth_call(true, usize::MAX), Some(Cut::RequestLost)).await;
    let met = Mutex::new(HashSet::new());
    let first_of_each = When::matching(move |call| {
        counts(call) && call.is_write() && met.lock().unwrap().insert(call.path.clone())
    });
    let (_, got) = start_under(first_of_each, None).await;
    assert_same(&got, &wanted, "after a conflict on every write");
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_moment_shows_as_no_failure() {
    let world = World::new("away").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let down = When::matching(|call| counts(call) && call.is_write());
    world.faults.times(2, down, Fault::Answer(503));
    world
        .change(
            "dev",
            json!({"spec": {"endpoints": [{"name": "api", "port": 8080}]}}),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world
        .until("dev", "the change to be applied", |status| {
            assert_eq!(status.failure, None);
            true
        })
        .await;
    process.stop().await.unwrap();
}
