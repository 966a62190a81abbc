//! start, stop, restart, sync, and waiting.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use workstead::testkit::wait::eventually;

use super::{Bench, Ran, condition, mk_gitsync};

#[tokio::test]
async fn stop_and_start_set_a_run_state_that_the_file_leaves_open_and_no_apply_undoes_it() {
    let bench = Bench::new().await;
    bench.apply("workstead/gitsync", "free", json!({})).await;
    bench.run(&["stop", "free"]).await.ended(0);
    let state = async || serde_json::to_value(bench.get("free").await.spec.desired_state).unwrap();
    assert_eq!(state().await, "Stopped");
    bench.apply("workstead/gitsync", "free", json!({})).await;
    assert_eq!(state().await, "Stopped");
    let again = bench.run(&["stop", "free"]).await.ended(0);
    assert!(again.contains("already"), "{again}");
    bench.run(&["start", "free"]).await.ended(0);
    assert_eq!(state().await, "Running");
}

#[tokio::test]
async fn stop_refuses_where_git_decides_and_names_the_file() {
    let bench = Bench::new().await;
    let origin = json!({"repository": "https://git.example.com/x", "revision": "r", "file": "team/fixed.yaml"});
    let more = json!({
        "metadata": {"annotations": {"workstead.dev/origin": origin.to_string()}},
        "spec": {"desiredState": "Running"},
    });
    bench.apply("workstead/gitsync", "fixed", more).await;
    let before = bench.get("fixed").await.metadata.resource_version;
    bench.run(&["stop", "fixed"]).await.complained(
        1,
        &[
            "team/fixed.yaml",
            "https://git.example.com/x",
            "next step:",
            "desiredState: Stopped",
        ],
    );
    assert_eq!(
        bench.get("fixed").await.metadata.resource_version,
        before,
        "nothing was written"
    );
    // It is Running already, so there is nothing to refuse, and nothing to take over.
    bench.run(&["start", "fixed"]).await.ended(0);
    assert_eq!(bench.get("fixed").await.metadata.resource_version, before);
}

#[tokio::test]
async fn stop_refuses_where_another_manager_set_the_field_and_names_it() {
    let bench = Bench::new().await;
    bench
        .apply(
            "somebody",
            "theirs",
            json!({"spec": {"desiredState": "Running"}}),
        )
        .await;
    bench
        .run(&["stop", "theirs"])
        .await
        .complained(1, &["somebody", "next step:"]);
}

#[tokio::test]
async fn start_wakes_a_workspace_that_a_timer_stopped_also_where_git_says_running() {
    let bench = Bench::new().await;
    bench
        .apply(
            "workstead/gitsync",
            "idle",
            json!({"spec": {"desiredState": "Running"}}),
        )
        .await;
    let stopped = json!({
        "actualState": "Stopped", "observedGeneration": 1,
        "stoppedByTimer": {"timer": "idle", "at": "2026-01-01T00:00:00Z", "generation": 1},
    });
    bench.set_status("idle", stopped).await;
    let text = bench.run(&["start", "idle"]).await.ended(0);
    assert!(text.contains("wake"), "{text}");
    let annotations = bench.get("idle").await.metadata.annotations.unwrap();
    assert!(annotations.contains_key("workstead.dev/wake-requested-at"));
}

#[tokio::test]
async fn restart_asks_by_a_new_value_each_time_and_takes_nothing_back() {
    let bench = Bench::new().await;
    bench.apply("workstead/gitsync", "again", json!({})).await;
    bench.run(&["start", "again"]).await.ended(0);
    let asked = async || {
        let annotations = bench
            .get("again")
            .await
            .metadata
            .annotations
            .unwrap_or_default();
        annotations
            .get("workstead.dev/restart-requested-at")
            .cloned()
            .unwrap()
    };
    bench.run(&["restart", "again"]).await.ended(0);
    let first = asked().await;
    bench.run(&["restart", "again"]).await.ended(0);
    assert_ne!(asked().await, first);
    let state = serde_json::to_value(bench.get("again").await.spec.desired_state).unwrap();
    assert_eq!(state, "Running", "start's own field is still set");
    bench.run(&["stop", "again"]).await.ended(0);
    assert!(
        !asked().await.is_empty(),
        "stop's apply left the annotation alone"
    );
    bench.run(&["restart", "again"]).await.complained(
        1,
        &[
            "wanted Stopped",
            &format!("workstead start again -n {}", bench.namespace),
        ],
    );
}

#[tokio::test]
async fn restart_refuses_where_a_file_carries_the_annotation() {
    let bench = Bench::new().await;
    let more = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "1"}}});
    bench.apply("workstead/gitsync", "by-file", more).await;
    bench
        .run(&["restart", "by-file"])
        .await
        .complained(1, &["workstead/gitsync", "new value"]);
}

#[tokio::test]
async fn terminated_is_final_for_every_verb() {
    let bench = Bench::new().await;
    bench
        .apply(
            "test",
            "gone",
            json!({"spec": {"desiredState": "Terminated"}}),
        )
        .await;
    for verb in ["start", "stop", "restart"] {
        bench
            .run(&[verb, "gone"])
            .await
            .complained(1, &["final", "next step:"]);
    }
}

#[tokio::test]
async fn waiting_ends_when_it_is_so_when_it_failed_and_when_time_is_up() {
    let bench = Bench::new().await;
    bench.apply("test", "slow", json!({})).await;
    bench
        .run(&["start", "slow", "--wait", "--timeout", "1s"])
        .await
        .complained(
            1,
            &["1s", &format!("workstead why slow -n {}", bench.namespace)],
        );
    let generation = bench.get("slow").await.metadata.generation;
    let failed = json!({
        "observedGeneration": generation, "actualState": "Failed",
        "conditions": [condition("Ready", "False", "m"), condition("Stalled", "True", "m")],
        "failure": {"cause": "CrashLoop", "blame": "User", "message": "it fails", "evidence": "exit code 3",
                    "retryable": true, "nextStep": "mend it"},
    });
    bench.set_status("slow", failed).await;
    bench
        .run(&["start", "slow", "--wait", "--timeout", "30s"])
        .await
        .complained(1, &["CrashLoop", "exit code 3", "mend it"]);

    let mut waiting = bench.command(&["start", "slow", "--wait", "--timeout", "60s"]);
    let running = json!({
        "observedGeneration": generation, "actualState": "Starting", "failure": null, "conditions": [],
    });
    bench.set_status("slow", running).await;
    let waiter = tokio::task::spawn_blocking(move || waiting.output());
    let done = json!({"actualState": "Running", "conditions": [condition("Ready", "True", "")]});
    bench.set_status("slow", done).await;
    Ran::of(waiter.await.unwrap().unwrap()).ended(0);
}

#[tokio::test]
async fn sync_waits_for_its_own_request_and_shows_the_errors() {
    let bench = Bench::new().await;
    mk_gitsync(&bench, "repo", json!({})).await;
    let mut command = bench.command(&["sync", "repo", "--wait", "--timeout", "60s"]);
    let waiter = tokio::task::spawn_blocking(move || command.output());
    let asked = eventually("the request", async || {
        let annotations = bench
            .gitsyncs()
            .get("repo")
            .await
            .unwrap()
            .metadata
            .annotations?;
        annotations
            .get("workstead.dev/reconcile-requested-at")
            .cloned()
    })
    .await;
    let status = json!({"status": {
        "observedGeneration": 1, "lastHandledReconcileAt": asked, "errorCount": 1,
        "conditions": [condition("Ready", "False", "1 error")],
        "errors": [{"code": "GS210", "file": "x.yaml", "line": 2, "message": "no mapping"}],
    }});
    let patch = Patch::Merge(status);
    bench
        .gitsyncs()
        .patch_status("repo", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let text = Ran::of(waiter.await.unwrap().unwrap()).ended(1);
    assert!(text.contains("x.yaml:2: GS210 no mapping"), "{text}");

    mk_gitsync(&bench, "asleep", json!({"spec": {"suspend": true}})).await;
    bench
        .run(&["sync", "asleep", "--wait"])
        .await
        .complained(1, &["suspended", "spec.suspend"]);
}

#[tokio::test]
async fn for_programs_it_says_what_was_asked_and_after_waiting_the_status() {
    let bench = Bench::new().await;
    bench.apply("test", "p", json!({})).await;
    let asked: Value =
        serde_json::from_str(&bench.run(&["stop", "p", "-o", "json"]).await.ended(0)).unwrap();
    let expected =
        json!({"namespace": bench.namespace, "name": "p", "asked": "stop", "state": null});
    assert_eq!(asked, expected);
    let again: Value =
        serde_json::from_str(&bench.run(&["stop", "p", "-o", "json"]).await.ended(0)).unwrap();
    assert_eq!(again["asked"], json!(null), "it is wanted Stopped already");
    let generation = bench.get("p").await.metadata.generation;
    let stopped = json!({"observedGeneration": generation, "actualState": "Stopped"});
    bench.set_status("p", stopped).await;
    let waited = bench
        .run(&["stop", "p", "--wait", "-o", "yaml"])
        .await
        .ended(0);
    assert!(waited.contains("state: Stopped\nstatus:\n"), "{waited}");
    let late = bench
        .run(&["start", "p", "--wait", "--timeout", "1s", "-o", "json"])
        .await;
    let shown: Value = serde_json::from_str(&late.out).unwrap();
    assert_eq!(
        (&shown["asked"], &shown["state"]),
        (&json!("start"), &json!("Stopped"))
    );
    late.complained(1, &["1s", "next step:"]);
}

#[tokio::test]
async fn sync_for_programs_is_one_object_too() {
    let bench = Bench::new().await;
    mk_gitsync(&bench, "repo", json!({})).await;
    let asked = bench.run(&["sync", "repo", "-o", "json"]).await.ended(0);
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let expected =
        json!({"namespace": bench.namespace, "name": "repo", "asked": "sync", "state": null});
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn what_is_not_there_is_answered_by_what_lists_its_kind() {
    let bench = Bench::new().await;
    bench
        .run(&["sync", "nope"])
        .await
        .complained(2, &["nope", "kubectl get gitsyncs"]);
    bench
        .run(&["stop", "nope"])
        .await
        .complained(2, &["nope", "workstead list"]);
}

#[tokio::test]
async fn a_restart_waits_past_the_failure_of_the_time_before_it() {
    let bench = Bench::new().await;
    bench.apply("test", "sick", json!({})).await;
    let failed = json!({
        "observedGeneration": 1, "actualState": "Running",
        "conditions": [condition("Ready", "False", "m"), condition("Stalled", "True", "m")],
        "failure": {"cause": "CloneAuth", "blame": "User", "message": "no password", "evidence": "e",
                    "retryable": false, "nextStep": "make a Secret"},
    });
    bench.set_status("sick", failed).await;
    // The part of the controller.
    let restarting = async {
        let asked = eventually("the request", async || {
            let annotations = bench.get("sick").await.metadata.annotations?;
            annotations
                .get("workstead.dev/restart-requested-at")
                .cloned()
        })
        .await;
        let runs = json!({
            "actualState": "Running", "lastHandledRestartAt": asked, "failure": null,
            "conditions": [condition("Ready", "True", "m")],
        });
        bench.set_status("sick", runs).await;
    };
    let waiting = bench.run(&["restart", "sick", "--wait"]);
    let (ran, ()) = tokio::join!(waiting, restarting);
    ran.ended(0);

    // A failure that comes with the new start ends the wait.
    let before = bench.get("sick").await.metadata.annotations;
    let failing = async {
        let asked = eventually("the request", async || {
            let annotations = bench.get("sick").await.metadata.annotations;
            let asked = annotations
                .as_ref()?
                .get("workstead.dev/restart-requested-at")
                .cloned();
            asked.filter(|_| annotations != before)
        })
        .await;
        let fails = json!({
            "lastHandledRestartAt": asked,
            "conditions": [condition("Ready", "False", "m"), condition("Stalled", "True", "m")],
            "failure": {"cause": "CloneAuth", "blame": "User", "message": "again no password", "evidence": "e",
                        "retryable": false, "nextStep": "make a Secret"},
        });
        bench.set_status("sick", fails).await;
    };
    let waiting = bench.run(&["restart", "sick", "--wait"]);
    let (ran, ()) = tokio::join!(waiting, failing);
    ran.complained(1, &["again no password", "make a Secret"]);
}
