//! vars list and update: what a workspace has by name, and asking for what is newer.

use serde_json::{Value, json};
use workstead::model::names::{RESTART_REQUESTED_ANNOTATION, VARIABLES_UPDATE_ANNOTATION};
use workstead::testkit::wait::eventually;

use super::{Bench, condition};

fn pinned() -> Value {
    json!({
        "secret": "api-vars-01234567",
        "sets": [
            {"level": "Namespace", "name": "team", "digest": "a".repeat(64), "env": ["REGION"]},
            {"level": "Workspace", "name": "api", "digest": "b".repeat(64), "env": ["TOKEN"], "files": ["~/.netrc"]},
            {"level": "Inline", "name": "vault", "env": ["KEY"]},
        ],
        "outdated": [{"name": "TOKEN", "change": "Changed"}, {"name": "EXTRA", "change": "Added"}],
    })
}

async fn mk_workspace(bench: &Bench, name: &str) {
    let more = json!({"spec": {"variables": [{"name": "api"}]}});
    bench.apply("workstead/gitsync", name, more).await;
}

#[tokio::test]
async fn what_a_workspace_has_is_listed_by_name_with_its_origin_and_what_waits() {
    let bench = Bench::new().await;
    mk_workspace(&bench, "api").await;
    let text = bench.run(&["vars", "list", "api"]).await.ended(0);
    assert!(
        text.contains("nothing of sealed sets is pinned yet"),
        "{text}"
    );
    assert!(text.contains("it lists api"), "{text}");

    bench
        .set_status("api", json!({"variables": pinned()}))
        .await;
    let ran = bench.run(&["vars", "list", "api"]).await;
    assert!(ran.err.contains("nothing newer waits"), "{}", ran.err);
    let text = ran.ended(0);
    let rows: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        [
            "NAME KIND FROM SET DIGEST",
            "REGION variable namespace team aaaaaaaaaaaa",
            "TOKEN variable workspace api bbbbbbbbbbbb",
            "~/.netrc file workspace api bbbbbbbbbbbb",
            "KEY variable Secret in env vault –",
        ]
    );

    let conditions = json!([
        condition("VariablesOutdated", "True", "newer"),
        condition("VariablesReady", "False", "a set is gone"),
    ]);
    bench
        .set_status("api", json!({"conditions": conditions}))
        .await;
    bench.run(&["vars", "list", "api"]).await.complained(
        0,
        &[
            "not at hand: Test: a set is gone",
            "something newer waits",
            "TOKEN: changed",
            "EXTRA: new",
            &format!("workstead vars update api -n {}", bench.namespace),
        ],
    );
    bench.run(&["vars", "update", "api"]).await.ended(0);
    bench
        .run(&["vars", "list", "api"])
        .await
        .complained(0, &["an update is asked for"]);
    let data = bench.run(&["vars", "list", "api", "-o", "json"]).await;
    let data: Value = serde_json::from_str(&data.ended(0)).unwrap();
    assert_eq!(
        (&data["outdated"], &data["updateRequested"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(data["pinned"]["sets"][1]["files"], json!(["~/.netrc"]));
    bench
        .run(&["vars", "list", "none"])
        .await
        .complained(2, &["next step:"]);
}

#[tokio::test]
async fn an_update_is_asked_for_by_an_annotation_and_says_what_will_change() {
    let bench = Bench::new().await;
    mk_workspace(&bench, "api").await;
    let text = bench.run(&["vars", "update", "api"]).await.ended(0);
    assert!(
        text.contains("nothing of sealed sets is pinned yet"),
        "{text}"
    );
    let conditions = json!([condition("VariablesOutdated", "True", "newer")]);
    bench
        .set_status(
            "api",
            json!({"variables": pinned(), "conditions": conditions}),
        )
        .await;
    let ran = bench.run(&["vars", "update", "api"]).await;
    assert!(ran.err.contains("vars update api -n"), "{}", ran.err);
    let text = ran.ended(0);
    for said in ["TOKEN: changed", "EXTRA: new", "when it next starts"] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    let workspace = bench.get("api").await;
    let annotations = workspace.metadata.annotations.unwrap();
    let first = annotations[VARIABLES_UPDATE_ANNOTATION].clone();
    assert!(!annotations.contains_key(RESTART_REQUESTED_ANNOTATION));
    let managers = workspace.metadata.managed_fields.unwrap();
    let ours = managers
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("workstead/cli"));
    assert!(ours.is_some());

    bench
        .run(&["vars", "update", "api", "--wait"])
        .await
        .complained(2, &["--restart"]);
    let waiting = bench.run(&[
        "vars",
        "update",
        "api",
        "--restart",
        "--wait",
        "--timeout",
        "20s",
        "-o",
        "json",
    ]);
    let carried_out = async {
        let asked = eventually("both are asked for", async || {
            let annotations = bench.get("api").await.metadata.annotations.unwrap();
            let asked = annotations.get(RESTART_REQUESTED_ANNOTATION)?.clone();
            assert_eq!(annotations[VARIABLES_UPDATE_ANNOTATION], asked);
            Some(asked)
        })
        .await;
        assert_ne!(asked, first);
        let status = json!({
            "actualState": "Running", "observedGeneration": 1, "conditions": [condition("Ready", "True", "")],
            "lastHandledRestartAt": asked, "lastHandledVariablesUpdateAt": asked,
        });
        bench.set_status("api", status).await;
    };
    let (ran, ()) = tokio::join!(waiting, carried_out);
    let answer: Value = serde_json::from_str(&ran.ended(0)).unwrap();
    assert_eq!(
        (&answer["asked"], &answer["state"]),
        (&json!("restart"), &json!("Running"))
    );
}

#[tokio::test]
async fn an_update_of_what_can_not_take_it_is_refused_and_nothing_is_written() {
    let bench = Bench::new().await;
    let stopped = json!({"spec": {"desiredState": "Stopped"}});
    bench.apply("workstead/gitsync", "stopped", stopped).await;
    let before = bench.get("stopped").await.metadata.resource_version;
    let refused = bench.run(&["vars", "update", "stopped", "--restart"]).await;
    refused.complained(1, &["is wanted Stopped", "workstead start stopped"]);
    assert_eq!(bench.get("stopped").await.metadata.resource_version, before);
    bench.run(&["vars", "update", "stopped"]).await.ended(0);

    let annotations = json!({VARIABLES_UPDATE_ANNOTATION: "x"});
    let fixed = json!({"metadata": {"annotations": annotations}});
    bench.apply("workstead/gitsync", "fixed", fixed).await;
    bench
        .run(&["vars", "update", "fixed"])
        .await
        .complained(1, &["is set by a file", "workstead/gitsync applies it"]);
}
