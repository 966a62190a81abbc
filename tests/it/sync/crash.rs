//! Cut off at every call, in both forms: it converges, and the inventory covers what lives at each point.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use serde_json::json;
use workstead::testkit::faults::{Cut, Fault, When};

use super::{Fixture, holds, workspace};

/// What a commit makes of another: creates, updates and deletes.
async fn first(f: &Fixture) -> String {
    let mut change = f.repository.change();
    for name in ["a", "b", "c", "d", "e", "g"] {
        change = change.file(&format!("{name}.yaml"), workspace(name, "i:1"));
    }
    change.commit()
}

fn second(f: &Fixture) -> String {
    f.repository
        .change()
        .file("b.yaml", workspace("b", "i:2"))
        .file("new.yaml", workspace("new", "i:1"))
        .delete("c.yaml")
        .commit()
}

/// I2: every live object that carries our labels is in the stored inventory.
async fn covers(f: &Fixture) {
    let inventory = f.inventory().await;
    for live in f.workspaces().list(&Default::default()).await.unwrap() {
        if live.labels().contains_key("gitsync.workstead.dev/name") {
            let line = format!("_{}_workstead.dev_Workspace", live.name_any());
            assert!(
                inventory.contains(&line),
                "{line} lives, the inventory is\n{inventory}"
            );
        }
    }
}

async fn converged(f: &Fixture, commit: &str) {
    let status = f.until_applied(commit).await;
    assert_eq!(status.objects, Some(6), "{status:?}");
    assert_eq!(f.names().await, ["a", "b", "d", "e", "g", "new"]);
    assert_eq!(f.workspace("b").await.spec.image, "i:2");
    let lines: BTreeSet<_> = f.inventory().await.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 6);
}

/// How many calls the pass from the first to the second commit makes.
async fn calls_of_a_pass() -> usize {
    let f = Fixture::new().await;
    let one = first(&f).await;
    f.create(json!({})).await;
    let running = f.start();
    f.until_applied(&one).await;
    running.stop().await;
    let two = second(&f);
    f.faults.restart_count();
    let running = f.start();
    f.until_applied(&two).await;
    let count = f.faults.count();
    running.stop().await;
    converged(&f, &two).await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_call_in_either_form_converges_and_never_loses_track() {
    let calls = calls_of_a_pass().await;
    assert!((8..60).contains(&calls), "{calls} calls");
    let cases = Cut::BOTH
        .into_iter()
        .flat_map(|cut| (1..=calls).map(move |call| (call, cut)));
    // Each has a namespace, a repository and a script of its own.
    futures::stream::iter(cases)
        .for_each_concurrent(4, |(call, cut)| crash_at(call, cut))
        .await;
}

async fn crash_at(call: usize, cut: Cut) {
    let f = Fixture::new().await;
    let one = first(&f).await;
    f.create(json!({})).await;
    let running = f.start();
    f.until_applied(&one).await;
    running.stop().await;
    let two = second(&f);
    f.faults.restart_count();
    f.faults.crash(When::call(call), cut);
    let running = f.start();
    let crashed = tokio::time::timeout(Duration::from_secs(20), f.faults.wait_for_crash());
    assert!(crashed.await.is_ok(), "call {call} came");
    running.kill().await;
    covers(&f).await;
    f.faults.heal();
    let running = f.start();
    converged(&f, &two).await;
    let mark = f.faults.mark();
    running.stop().await;
    covers(&f).await;
    let fetches = f.server.requests().len();
    let running = f.start();
    f.eventually_fetched(fetches).await;
    running.stop().await;
    assert_eq!(
        f.writes_since(mark),
        Vec::<String>::new(),
        "call {call} {cut:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_conflict_on_every_write_in_turn_converges() {
    futures::stream::iter(1..=8)
        .for_each_concurrent(4, conflict_at)
        .await;
}

async fn conflict_at(write: usize) {
    let f = Fixture::new().await;
    let one = first(&f).await;
    f.create(json!({})).await;
    f.faults.once(When::write(write), Fault::Answer(409));
    let running = f.start();
    f.until_applied(&one).await;
    let two = second(&f);
    f.faults.restart_count();
    f.faults.once(When::write(write), Fault::Answer(409));
    f.sync().await;
    converged(&f, &two).await;
    covers(&f).await;
    running.stop().await;
}

#[tokio::test]
async fn an_api_server_that_fails_for_a_while_is_waited_for() {
    let f = Fixture::new().await;
    let one = first(&f).await;
    f.create(json!({})).await;
    let running = f.start();
    f.until_applied(&one).await;
    f.faults.always(When::writes(), Fault::Answer(503));
    let two = second(&f);
    let key = workstead::controllers::cache::Key::new(&f.namespace, super::NAME);
    assert!(f.requests.ask_fetch(key));
    tokio::time::sleep(Duration::from_millis(800)).await;
    covers(&f).await;
    f.faults.heal();
    converged(&f, &two).await;
    assert!(holds(&f.status().await, "Ready"));
    running.stop().await;
}

#[tokio::test]
async fn only_the_last_of_many_commits_counts_whatever_is_killed_between() {
    let f = Fixture::new().await;
    first(&f).await;
    f.create(json!({})).await;
    for round in 0..4_u64 {
        let running = f.start();
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        f.repository
            .commit(&[("a.yaml", &workspace("a", &format!("i:{round}")))]);
        f.annotate("workstead.dev/reconcile-requested-at", &round.to_string())
            .await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        running.kill().await;
        covers(&f).await;
    }
    let two = second(&f);
    let running = f.start();
    converged(&f, &two).await;
    running.stop().await;
}
