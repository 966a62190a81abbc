//! Cut off at every call, in both forms: it converges, and the inventory covers what lives at each point.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use serde_json::json;
use workstead::testkit::faults::{Cut, Fault, When};

use super::{Fixture, NAME, holds, workspace};

const FIRST: [&str; 6] = ["a", "b", "c", "d", "e", "g"];

/// What a commit makes of another: creates, updates and deletes.
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

/// A pass that is cut off.
#[derive(Clone, Copy, Debug)]
enum Pass {
    /// The first one: there is no inventory yet.
    First,
    /// Of a commit that creates, updates and deletes.
    Second,
    /// The one that deletes a set that was approved.
    Approved,
    /// The end of the GitSync, and of its objects.
    End,
}

impl Pass {
    const ALL: [Self; 4] = [Self::First, Self::Second, Self::Approved, Self::End];

    /// Everything up to it; no controller runs then. Gives the commit.
    async fn prepare(self, f: &Fixture) -> String {
        let first = f.push(&FIRST);
        let policy = match self {
            Self::End => "Delete",
            _ => "Orphan",
        };
        let spec = json!({"deletionPolicy": policy});
        if matches!(self, Self::First) {
            f.create(spec).await;
            return first;
        }
        let running = f.start_at(&first, spec).await;
        let commit = match self {
            Self::First | Self::End => first,
            Self::Second => {
                running.stop().await;
                return second(f);
            }
            Self::Approved => {
                let mut change = f.repository.change();
                for name in ["a", "b", "c", "d"] {
                    change = change.delete(&format!("{name}.yaml"));
                }
                let commit = change.commit();
                f.sync().await;
                f.until_reason("PruneBlocked").await;
                commit
            }
        };
        running.stop().await;
        match self {
            Self::Approved => {
                let blocked = f.status().await.prune_blocked.unwrap();
                f.annotate("workstead.dev/approve-prune", &blocked.approval)
                    .await;
            }
            _ => {
                let gitsyncs = f.gitsyncs();
                gitsyncs.delete(NAME, &Default::default()).await.unwrap();
            }
        }
        commit
    }

    /// Waits until it is as it should be.
    async fn converged(self, f: &Fixture, commit: &str) {
        match self {
            Self::First => {
                let status = f.until_applied(commit).await;
                assert_eq!(status.objects, Some(6), "{status:?}");
                assert_eq!(f.names().await, FIRST);
            }
            Self::Second => converged(f, commit).await,
            Self::Approved => {
                f.until_applied(commit).await;
                f.until("the set to be gone", |status| status.objects == Some(2))
                    .await;
                assert_eq!(f.names().await, ["e", "g"]);
            }
            Self::End => {
                f.until_gone().await;
                assert_eq!(f.names().await, Vec::<String>::new());
            }
        }
    }

    /// The calls that it makes when nothing is in the way: whether each is a write.
    async fn calls(self) -> Vec<bool> {
        let f = Fixture::new().await;
        let commit = self.prepare(&f).await;
        f.faults.restart_count();
        let mark = f.faults.mark();
        let running = f.start();
        self.converged(&f, &commit).await;
        running.stop().await;
        let calls = f.faults.calls_since(mark);
        let counted = calls.iter().filter(|call| !call.is_watch());
        counted.map(|call| call.is_write()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_call_in_either_form_converges_and_never_loses_track() {
    let mut cases = Vec::new();
    for pass in Pass::ALL {
        let calls = pass.calls().await;
        assert!((6..60).contains(&calls.len()), "{pass:?}: {calls:?}");
        for (index, is_write) in calls.into_iter().enumerate() {
            cases.push((pass, index + 1, Cut::RequestLost));
            // A read that was answered to nobody is one that was never asked.
            if is_write {
                cases.push((pass, index + 1, Cut::ReplyLost));
            }
        }
    }
    // Each has a namespace, a repository and a script of its own.
    let met: Vec<bool> = futures::stream::iter(cases)
        .map(|(pass, call, cut)| crash_at(pass, call, cut))
        .buffer_unordered(8)
        .collect()
        .await;
    most_were_met(&met);
}

/// Passes come by events, and events may come together: a run can have a call less than another, but most have it.
fn most_were_met(met: &[bool]) {
    let count = met.iter().filter(|met| **met).count();
    let all = met.len();
    assert!(count * 10 >= all * 9, "only {count} of {all} calls came");
}

/// Gives whether the call came. If not, it converged without.
async fn crash_at(pass: Pass, call: usize, cut: Cut) -> bool {
    let f = Fixture::new().await;
    let commit = pass.prepare(&f).await;
    f.faults.restart_count();
    f.faults.crash(When::call(call), cut);
    let mut running = f.start();
    let without = async {
        pass.converged(&f, &commit).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let crashed = tokio::select! {
        biased;
        () = f.faults.wait_for_crash() => true,
        () = without => false,
    };
    if crashed {
        running.kill().await;
        covers(&f).await;
        f.faults.heal();
        running = f.start();
        pass.converged(&f, &commit).await;
    } else {
        let count = f.faults.count();
        assert!(count < call, "{pass:?}: no crash at call {call} of {count}");
        f.faults.heal();
    }
    // What it had begun by then it may have tried once more, in vain: its view of what is there lags.
    running.stop().await;
    covers(&f).await;
    let mark = f.faults.mark();
    let fetches = f.server.requests().len();
    let running = f.start();
    match pass {
        Pass::End => tokio::time::sleep(Duration::from_millis(300)).await,
        _ => f.eventually_fetched(fetches).await,
    }
    running.stop().await;
    assert_eq!(
        f.writes_since(mark),
        Vec::<String>::new(),
        "{pass:?}: call {call} {cut:?}"
    );
    crashed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_conflict_on_every_write_in_turn_converges() {
    let mut cases = Vec::new();
    for pass in Pass::ALL {
        let writes = pass
            .calls()
            .await
            .into_iter()
            .filter(|write| *write)
            .count();
        assert!(writes >= 3, "{pass:?}: {writes} writes");
        cases.extend((1..=writes).map(|write| (pass, write)));
    }
    let met: Vec<bool> = futures::stream::iter(cases)
        .map(|(pass, write)| conflict_at(pass, write))
        .buffer_unordered(8)
        .collect()
        .await;
    most_were_met(&met);
}

/// Gives whether the write came.
async fn conflict_at(pass: Pass, write: usize) -> bool {
    let f = Fixture::new().await;
    let commit = pass.prepare(&f).await;
    f.faults.restart_count();
    let mark = f.faults.mark();
    f.faults.once(When::write(write), Fault::Answer(409));
    let running = f.start();
    pass.converged(&f, &commit).await;
    covers(&f).await;
    running.stop().await;
    let calls = f.faults.calls_since(mark);
    let met = calls.iter().filter(|call| call.fault.is_some()).count();
    let writes = calls.iter().filter(|call| call.is_write()).count();
    assert!(
        met == 1 || writes < write,
        "{pass:?}: write {write} of {writes} met no conflict"
    );
    met == 1
}

#[tokio::test]
async fn an_api_server_that_fails_for_a_while_is_waited_for() {
    let f = Fixture::new().await;
    let one = f.push(&FIRST);
    let running = f.start_at(&one, json!({})).await;
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
    f.push(&FIRST);
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
