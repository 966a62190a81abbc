//! What a change of one sealed set costs that many Workspaces use.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use workstead::api::{Workspace, WorkspaceClass, WorkspaceVariables};
use workstead::model::names::WORKSPACE_MANAGER;
use workstead::secrets::identity::Recipient;
use workstead::secrets::seal::seal;
use workstead::testkit::ControlPlane;
use workstead::testkit::process::{Process, TEST_LABEL, mk_config};
use workstead::testkit::wait::within;

use crate::cluster::create;
use crate::results::Figure;
use crate::sets::{PATIENCE, recipients, written};

/// Workspaces that use the set.
const USERS: usize = 1000;
const SET: &str = "shared";

/// outdated-fanout. No pod runs: what is measured is the controller, and the API server beside it.
pub(crate) async fn outdated_fanout() -> Figure {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    let namespace = plane.namespace("fanout").await.unwrap();
    let client = plane.client();
    let mut config = mk_config(&namespace, "bench", env!("CARGO_BIN_EXE_workstead"));
    // That of the tests is short, and nothing is measured while it is lost.
    config.lease.duration = Duration::from_secs(15);
    let process = Process::start(config, client.clone());
    let recipients = recipients(&client, &namespace).await;
    put(&client, &namespace, &recipients, 1).await;
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), &namespace);
    fill(&client, &namespace, &workspaces).await;
    // What the starts wrote comes back by the watches and is looked at.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = generations(&client, &namespace).await;
    let written_before = written(&process.metrics);

    let eye = tokio::spawn(outdated(workspaces.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    put(&client, &namespace, &recipients, 2).await;
    let last = eye.await.unwrap();
    let seconds = last.duration_since(begin).as_secs_f64();

    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes = (written(&process.metrics) - written_before) as f64 / USERS as f64;
    let restarts = generations(&client, &namespace).await != before;
    process.stop().await.unwrap();
    let alone = writes_alone(&workspaces).await;
    Figure {
        id: "outdated-fanout",
        value: (seconds * 10.0).round() / 10.0,
        unit: "s until 1,000 Workspaces show VariablesOutdated",
        yardstick: Some(format!(
            "{writes:.3} writes for each, {} restarts; the same 1,000 writes by a bare client: {alone:.1} s",
            if restarts { "some" } else { "0" }
        )),
        ratio: Some(seconds / alone),
        bar: "at most 5 s, no restart, at most one write for each",
        // The set's own status, Events and the lease are beside those of the Workspaces.
        met: seconds <= 5.0 && !restarts && writes <= 1.02,
        rounds: 1,
    }
}

/// The set, with this value in it.
async fn put(client: &Client, namespace: &str, recipients: &[Recipient], value: u32) {
    let plaintext = format!(
        "binding: {{namespace: {namespace}, name: {SET}}}\nserial: {value}\nenv: {{A: \"{value}\", B: same}}\n"
    );
    let set = json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables",
        "metadata": {"name": SET},
        "spec": {"format": "Age", "sealed": seal(plaintext.as_bytes(), recipients).unwrap()},
    });
    let api: Api<WorkspaceVariables> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply("bench").force();
    api.patch(SET, &params, &Patch::Apply(&set)).await.unwrap();
}

/// Makes the Workspaces, and waits until each has what the set holds.
async fn fill(client: &Client, namespace: &str, workspaces: &Api<Workspace>) {
    let class = json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceClass",
        "metadata": {"name": namespace, "labels": {TEST_LABEL: namespace}},
        // No node is there to start anything, which is none of this figure's business.
        "spec": {"timeouts": {"startup": "2h", "maxStartup": "2h"}},
    });
    create(&Api::<WorkspaceClass>::all(client.clone()), &class).await;
    futures::stream::iter(0..USERS)
        .for_each_concurrent(8, async |number| {
            let workspace = json!({
                "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": format!("user-{number}")},
                "spec": {
                    "owner": format!("user-{number}@example.com"), "className": namespace,
                    "image": "registry.example.com/dev:1", "storage": {"size": "1Gi"},
                    "variables": [{"name": SET}],
                },
            });
            create(workspaces, &workspace).await;
        })
        .await;
    let taken = within(PATIENCE, || async {
        let all = workspaces.list(&ListParams::default()).await.unwrap().items;
        let taken = all.iter().filter(|workspace| {
            let status = workspace.status.as_ref();
            status.is_some_and(|status| status.variables.is_some())
        });
        (taken.count() == USERS).then_some(())
    });
    assert!(taken.await.is_some(), "not all Workspaces took the set");
}

/// When the last of them shows that something newer waits, as one client sees it.
async fn outdated(workspaces: Api<Workspace>) -> Instant {
    let mut told = std::collections::BTreeSet::new();
    let events = watcher(workspaces, watcher::Config::default()).touched_objects();
    let mut events = std::pin::pin!(events);
    while let Some(workspace) = events.try_next().await.unwrap() {
        let mut conditions = workspace
            .status
            .iter()
            .flat_map(|status| &status.conditions);
        if conditions.any(|condition| condition.type_ == "VariablesOutdated") {
            told.insert(workspace.metadata.name.clone());
        }
        if told.len() == USERS {
            break;
        }
    }
    Instant::now()
}

/// How long the API server takes for as many writes of a status of this length, four at a time as above.
async fn writes_alone(workspaces: &Api<Workspace>) -> f64 {
    let all = workspaces.list(&ListParams::default()).await.unwrap().items;
    let params = PatchParams::apply(WORKSPACE_MANAGER).force();
    let begin = Instant::now();
    futures::stream::iter(all)
        .for_each_concurrent(4, async |workspace| {
            let mut status = workspace.status.unwrap();
            status
                .conditions
                .retain(|one| one.type_ != "VariablesOutdated");
            let body = json!({
                "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": workspace.metadata.name}, "status": status,
            });
            let name = workspace.metadata.name.unwrap();
            workspaces
                .patch_status(&name, &params, &Patch::Apply(&body))
                .await
                .unwrap();
        })
        .await;
    begin.elapsed().as_secs_f64()
}

/// Another generation of a Deployment would be another pod.
async fn generations(client: &Client, namespace: &str) -> BTreeMap<Option<String>, Option<i64>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    all.into_iter()
        .map(|deployment| (deployment.metadata.name, deployment.metadata.generation))
        .collect()
}
