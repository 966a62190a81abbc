//! `why` of a workspace that runs: it has the workspace asked, and makes do with what is known where that can't be.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use workstead::testkit::wait::eventually;

use super::{Bench, Ran, condition};

const ASKED: &str = "workstead.dev/inspect-requested-at";

fn running(inspection: Value, echo: Value) -> Value {
    json!({
        "observedGeneration": 1, "actualState": "Running", "desiredState": "Running",
        "conditions": [condition("Ready", "False", "m")],
        "pod": {"name": "busy-1", "node": "n"},
        "lastHandledInspectAt": echo,
        "supervisor": {"publicKeySHA256": "00", "inspection": inspection},
    })
}

fn inspection(at: &str, port: u16) -> Value {
    json!({
        "at": at, "uptimeMilliseconds": 61000, "listening": [port], "keepAlive": ["cargo"],
        "steps": [
            {"step": "Clone", "subject": "api", "state": "Done", "atMilliseconds": 400, "milliseconds": 300},
            {"step": "PostStart", "subject": "build", "state": "Failed", "atMilliseconds": 900, "milliseconds": 500,
             "message": "the command failed", "evidence": "exit code 2\na reason"},
        ],
    })
}

#[tokio::test]
async fn why_has_a_running_workspace_asked_and_shows_what_it_says_now() {
    let bench = Bench::new().await;
    bench.apply("test", "busy", json!({})).await;
    let old = inspection("2026-01-01T00:00:00.000000Z", 1111);
    bench.set_status("busy", running(old, Value::Null)).await;
    // The part of the controller.
    let answering = async {
        let mut second = 10;
        let mut answered = None;
        loop {
            let asked = eventually("a request", async || {
                let workspace = bench.get("busy").await;
                let asked = workspace.metadata.annotations?.get(ASKED).cloned();
                asked.filter(|asked| answered.as_ref() != Some(asked))
            })
            .await;
            let new = inspection(&format!("2026-01-01T00:00:{second}.000000Z"), 2222);
            bench.set_status("busy", running(new, json!(asked))).await;
            answered = Some(asked);
            second += 1;
        }
    };
    // On a busy machine even this may take more than the command waits for.
    let asking = eventually("an answer in time", async || {
        let text = bench.run(&["why", "busy"]).await.ended(0);
        text.contains("INSIDE, NOW").then_some(text)
    });
    let text = tokio::select! {
        text = asking => text,
        () = answering => unreachable!(),
    };
    for said in [
        "INSIDE, NOW",
        "400 ms",
        "300 ms",
        "PostStart build: the command failed",
        "exit code 2",
        "a reason",
        "2222",
        "cargo",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    assert!(
        !text.contains("1111") && !text.contains("not asked"),
        "{text}"
    );
}

#[tokio::test]
async fn why_without_an_answer_shows_what_is_known_and_says_that_it_is_old() {
    let bench = Bench::new().await;
    bench.apply("test", "busy", json!({})).await;
    let old = inspection("2026-01-01T00:00:00.000000Z", 1111);
    bench.set_status("busy", running(old, Value::Null)).await;
    let text = bench.run(&["why", "busy"]).await.ended(0);
    assert!(text.contains("no answer within 5 s"), "{text}");
    assert!(text.contains("1111") && !text.contains("NOW"), "{text}");
    let answer = bench.run(&["why", "busy", "-o", "json"]).await.ended(0);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["inside"]["fresh"], false);
    assert_eq!(answer["inside"]["notFreshBecause"], "no answer within 5 s");
    assert_eq!(answer["inside"]["steps"][1]["subject"], "build");

    // One that is stopped is not asked.
    bench.apply("test", "idle", json!({})).await;
    let stopped = json!({"observedGeneration": 1, "actualState": "Stopped"});
    bench.set_status("idle", stopped).await;
    let text = bench.run(&["why", "idle"]).await.ended(0);
    assert!(!text.contains("asked"), "{text}");
    assert_eq!(bench.get("idle").await.metadata.annotations, None);
}

#[tokio::test]
async fn why_of_somebody_who_may_only_look_does_not_fail() {
    let bench = Bench::new().await;
    bench.apply("test", "busy", json!({})).await;
    let old = inspection("2026-01-01T00:00:00.000000Z", 1111);
    bench.set_status("busy", running(old, Value::Null)).await;
    let client = bench.plane.client();
    let in_namespace = &bench.namespace;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), in_namespace);
    let roles: Api<Role> = Api::namespaced(client.clone(), in_namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(client, in_namespace);
    let post = PostParams::default();
    let account = crate::object(json!({"metadata": {"name": "reader"}}));
    accounts.create(&post, &account).await.unwrap();
    let role = crate::object(json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": ["workstead.dev"], "resources": ["workspaces"], "verbs": ["get"]}],
    }));
    roles.create(&post, &role).await.unwrap();
    let binding = crate::object(json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": in_namespace}],
    }));
    bindings.create(&post, &binding).await.unwrap();
    let kubeconfig = bench
        .plane
        .kubeconfig_of(in_namespace, "reader")
        .await
        .unwrap();
    let text = eventually("the role to be known", async || {
        let mut command = bench.command(&["why", "busy"]);
        command.env("KUBECONFIG", &kubeconfig);
        let ran = tokio::task::spawn_blocking(move || Ran::of(command.output().unwrap()));
        let ran = ran.await.unwrap();
        (ran.code == 0).then_some(ran.out)
    })
    .await;
    let line = text
        .lines()
        .find(|line| line.contains("not asked just now"));
    let line = line.unwrap_or_else(|| panic!("no such line in:\n{text}"));
    assert!(line.contains("cannot patch"), "{line}");
    assert!(text.contains("1111"), "{text}");
}
