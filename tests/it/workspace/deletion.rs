//! A Workspace that is deleted while its pod stays: it says so for as long as it is there.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::{ActualState, Cause, EffectiveDesiredState};
use workstead::testkit::faults::{Fault, When};
use workstead::testkit::wait::eventually;

use super::World;

/// Keeps the pod from going away, or lets it go.
async fn hold(world: &World, pod: &str, hold: bool) {
    let finalizers = if hold {
        vec!["example.com/hold"]
    } else {
        vec![]
    };
    let pods: Api<Pod> = world.api();
    let patch = json!({"metadata": {"finalizers": finalizers}});
    pods.patch(pod, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// Deletes it after all that it owns.
async fn delete_in_foreground(world: &World) {
    let workspaces: Api<Workspace> = world.api();
    workspaces
        .delete("dev", &DeleteParams::foreground())
        .await
        .unwrap();
}

async fn until_gone(world: &World) {
    eventually("the Workspace to be gone", || async {
        let found = world.api::<Workspace>().get_opt("dev").await.unwrap();
        found.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_workspace_whose_pod_stays_is_terminating_and_then_stuck() {
    let class = json!({"timeouts": {"stopping": "2s"}});
    let world = World::with_class("held", class).await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    hold(&world, &pod, true).await;
    delete_in_foreground(&world).await;
    let status = world.until_state("dev", ActualState::Terminating).await;
    assert_eq!(
        status.desired_state,
        Some(EffectiveDesiredState::Terminated)
    );
    assert!(status.stop_requested_at.is_some());
    let status = world
        .until("dev", "StopStuck", |status| status.failure.is_some())
        .await;
    assert_eq!(status.actual_state, Some(ActualState::Terminating));
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::StopStuck);
    assert!(
        failure.next_step.contains("example.com/hold"),
        "{failure:?}"
    );
    hold(&world, &pod, false).await;
    until_gone(&world).await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_status_that_nobody_takes_any_more_is_no_trouble_while_a_workspace_goes() {
    let world = World::new("quiet").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    world.settle().await;
    hold(&world, &pod, true).await;
    let is_status = When::matching(|call| call.is_write() && call.subresource() == "status");
    world.faults.always(is_status, Fault::Answer(409));
    let mark = world.faults.mark();
    delete_in_foreground(&world).await;
    eventually("the status to be tried", || async {
        let calls = world.faults.writes_since(mark);
        calls.iter().any(|call| call.fault.is_some()).then_some(())
    })
    .await;
    hold(&world, &pod, false).await;
    until_gone(&world).await;
    let text = process.metrics.encode().unwrap();
    assert!(!text.contains(r#"category="conflict""#), "{text}");
    process.stop().await.unwrap();
}
