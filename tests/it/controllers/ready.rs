//! Ready means that everything was seen once: a kind that can't be listed keeps a process from being ready, by name.

use futures::StreamExt as _;
use workstead::testkit::ControlPlane;
use workstead::testkit::faults::{Call, Fault, Faults, When};
use workstead::testkit::wait::eventually;

use super::{Process, mk_config};

/// What `/readyz` says while a resource can't be listed.
async fn missing_without(resource: &'static str) -> String {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("ready").await.unwrap();
    let faults = Faults::new();
    // A list, not a look at one object.
    let is_list = move |call: &Call| {
        let is_read = call.method == "GET" && !call.is_watch();
        is_read && call.resource() == resource && call.name().is_empty()
    };
    faults.always(When::matching(is_list), Fault::Answer(403));
    let process = Process::start(mk_config(&namespace, "only"), faults.client(plane.config()));
    let whys = || async {
        let missing = process.health.missing();
        let whys: Vec<String> = missing.into_iter().map(|one| one.why).collect();
        whys.join("; ")
    };
    // Everything else arrives; what is left is what can't.
    let left = eventually(&format!("all but {resource} to be listed"), || async {
        let text = whys().await;
        let kinds = text.matches("not listed yet").count();
        let only = text.split("; ").all(|why| why.matches(", ").count() <= 1);
        (process.leads() && kinds > 0 && only && !text.contains("not looked")).then_some(text)
    })
    .await;
    faults.heal();
    eventually(&format!("{resource} to be listed at last"), || async {
        process.health.missing().is_empty().then_some(())
    })
    .await;
    process.stop().await.unwrap();
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_can_not_list_one_kind_is_not_ready_and_names_it() {
    let kinds = [
        ("workspaces", "Workspace"),
        ("workspaceclasses", "WorkspaceClass"),
        ("workspacevariables", "WorkspaceVariables"),
        ("gitsyncs", "GitSync"),
        ("deployments", "Deployment"),
        ("replicasets", "ReplicaSet"),
        ("controllerrevisions", "ControllerRevision"),
        ("pods", "Pod"),
        ("services", "Service"),
        ("serviceaccounts", "ServiceAccount"),
        ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("networkpolicies", "NetworkPolicy"),
    ];
    let told: Vec<_> = futures::stream::iter(kinds)
        .map(async |(resource, kind)| (kind, missing_without(resource).await))
        .buffer_unordered(4)
        .collect()
        .await;
    for (kind, text) in told {
        assert!(text.contains(kind), "{kind}: {text}");
    }
}
