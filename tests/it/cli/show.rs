//! list and why.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Bench, condition, mk_gitsync};

#[tokio::test]
async fn list_shows_states_in_a_table_and_objects_for_programs() {
    let bench = Bench::new().await;
    bench
        .run(&["list"])
        .await
        .complained(0, &["no workspaces in namespace"]);
    bench
        .run(&["list", "--owner", "zoe"])
        .await
        .complained(0, &["no workspaces of owner zoe in namespace"]);
    let endpoints: Vec<Value> = (0..4)
        .map(|number| json!({"name": format!("e{number}"), "port": 3000 + number}))
        .collect();
    let spec = json!({"spec": {"endpoints": endpoints}});
    bench.apply("test", "one", spec).await;
    let status = json!({
        "observedGeneration": 1, "actualState": "Failed", "className": "standard", "editor": "vscode",
        "revision": {"name": "one-1"},
        "supervisor": {"publicKeySHA256": "00", "inspection": {
            "at": "2026-01-01T00:00:00.000000Z", "uptimeMilliseconds": 5, "listening": [3000, 8080]}},
        "failure": {"cause": "ImageNotFound", "blame": "User", "message": "m", "evidence": "e",
                    "retryable": true, "nextStep": "n"},
        "conditions": [condition("Ready", "False", "m")],
    });
    bench.set_status("one", status).await;
    let text = bench.run(&["list"]).await.ended(0);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "NAME", "STATE", "READY", "OWNER", "EDITOR", "PORTS", "URL", "AGE"
        ]
    );
    assert_eq!(
        lines[1][..6],
        [
            "one",
            "Failed",
            "False",
            "alice@example.com",
            "vscode",
            "3000,3001,3002,+1"
        ]
    );
    assert!(
        !text.contains('\u{1b}'),
        "colours where there is no terminal"
    );
    let wide = bench.run(&["list", "-o", "wide"]).await.ended(0);
    for said in [
        "ImageNotFound",
        "e0:3000,e1:3001,e2:3002,e3:3003",
        "3000,8080 (",
    ] {
        assert!(wide.contains(said), "no '{said}' in:\n{wide}");
    }
    let list: Value =
        serde_json::from_str(&bench.run(&["list", "-o", "json"]).await.ended(0)).unwrap();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"][0]["kind"], "Workspace");
    assert_eq!(list["items"][0]["status"]["actualState"], "Failed");
    bench
        .apply("test", "two", json!({"spec": {"owner": "bob"}}))
        .await;
    let bobs = bench.run(&["list", "--owner", "bob"]).await.ended(0);
    assert!(bobs.contains("two") && !bobs.contains("one"), "{bobs}");
    let all = bench.run(&["list", "-A"]).await.ended(0);
    assert!(
        all.starts_with("NAMESPACE") && all.contains(&bench.namespace),
        "{all}"
    );
}

#[tokio::test]
async fn why_says_cause_blame_evidence_next_step_timeline_and_what_waits() {
    let bench = Bench::new().await;
    bench.apply("test", "sick", json!({})).await;
    let status = json!({
        "observedGeneration": 1, "actualState": "Failed", "desiredState": "Running",
        "conditions": [condition("Ready", "False", "m"), condition("Stalled", "True", "m")],
        "failure": {"cause": "ImageNotFound", "blame": "User", "message": "there is no such image",
                    "evidence": "manifest unknown", "retryable": true, "nextStep": "correct spec.image",
                    "since": "2026-01-01T00:00:00Z"},
        "origin": {"repository": "https://git.example.com/x", "revision": "main@sha1:abc", "file": "team/sick.yaml"},
        "timeline": [{"step": "Applied", "atMilliseconds": 12, "milliseconds": 12},
                     {"step": "PodCreated", "atMilliseconds": 40512, "milliseconds": 40500}],
        "revision": {"name": "sick-1", "pending": [{"field": "spec.image", "effect": "NextStart"}]},
    });
    bench.set_status("sick", status).await;
    let text = bench.run(&["why", "sick"]).await.ended(0);
    for said in [
        "Failed, wanted Running",
        "ImageNotFound: there is no such image",
        "the author of the Workspace",
        "manifest unknown",
        "correct spec.image",
        "docs/causes/ImageNotFound.md",
        "team/sick.yaml in https://git",
        "main@sha1:abc",
        "PodCreated",
        "40.5 s",
        "spec.image",
        "when it next starts",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    let data: Value =
        serde_json::from_str(&bench.run(&["why", "sick", "-o", "json"]).await.ended(0)).unwrap();
    assert_eq!(data["failure"]["cause"], "ImageNotFound");
    assert_eq!(data["pending"][0]["field"], "spec.image");
    bench
        .run(&["why", "nobody"])
        .await
        .complained(2, &["nobody", "not found", "workstead list"]);
    bench
        .run(&["why", "pod/x"])
        .await
        .complained(2, &["workspace/x"]);
}

#[tokio::test]
async fn why_of_a_gitsync_shows_its_errors_and_how_to_approve_what_waits() {
    let bench = Bench::new().await;
    mk_gitsync(&bench, "repo", json!({})).await;
    let status = json!({"status": {
        "observedGeneration": 1, "errorCount": 7,
        "conditions": [condition("Ready", "False", "1 of 9 objects")],
        "errors": [{"code": "GS211", "file": "a/b.yaml", "line": 3, "column": 5, "object": "Workspace t/b",
                    "message": "unknown field"}],
        "pruneBlocked": {"commit": "c0ffee", "digest": "d1", "count": 1, "objects": ["Workspace t/gone"],
                         "reason": "too many", "approval": "c0ffee/d1"},
    }});
    let patch = Patch::Merge(status);
    bench
        .gitsyncs()
        .patch_status("repo", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let offered = format!("workstead why gitsync/repo -n {}", bench.namespace);
    bench
        .run(&["why", "repo"])
        .await
        .complained(2, &["not found", &offered]);
    let text = bench.run(&["why", "gitsync/repo"]).await.ended(0);
    for said in [
        "a/b.yaml:3:5: GS211 unknown field",
        "7 errors",
        "and 6 more",
        "1 delete waits for approval: too many",
        "Workspace t/gone",
        "annotate gitsync repo --overwrite workstead.dev/approve-prune=c0ffee/d1",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
}
