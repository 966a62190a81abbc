//! One pod on a home volume at a time, whatever ends the pod and however fast the next start comes.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;
use workstead::api::workspace::{ActualState, Cause, EffectiveDesiredState};
use workstead::testkit::kubelet::{PodStep, mk_node};

use super::World;
use crate::controllers::Process;

/// A Workspace that runs on a node: the deletion of its pod waits for the kubelet, which is the test.
async fn on_a_node(prefix: &str, class: serde_json::Value) -> (World, Process, String) {
    let world = World::with_class(prefix, class).await;
    mk_node(world.client.clone(), &world.namespace)
        .await
        .unwrap();
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    world.kubelet.bind(&pod, &world.namespace).await.unwrap();
    world.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
    world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    (world, process, pod)
}

/// Waits until it starts, and sees that no pod comes beside the one that leaves.
async fn assert_waits(world: &World) {
    let status = world.until_state("dev", ActualState::Starting).await;
    assert_eq!(status.desired_state, Some(EffectiveDesiredState::Running));
    world.settle().await;
    assert!(
        world.pods("dev").await.is_empty(),
        "a second pod on the home volume"
    );
    assert_eq!(
        world.status("dev").await.actual_state,
        Some(ActualState::Starting)
    );
}

/// The kubelet has ended the pod: a new one comes and runs.
async fn assert_goes_on(world: &World, old: &str) {
    world
        .kubelet
        .remove_pods("workstead.dev/workspace=dev")
        .await
        .unwrap();
    let next = world.pod("dev", Some(old)).await;
    world.kubelet.report(&next, &PodStep::Ready).await.unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!((status.failure, status.stop_requested_at), (None, None));
}

#[tokio::test]
async fn a_start_right_after_a_stop_waits_for_the_old_pod_to_be_gone() {
    let (world, process, pod) = on_a_node("flip", json!({})).await;
    world.want("dev", "Stopped").await;
    world.until_state("dev", ActualState::Stopping).await;
    world.want("dev", "Running").await;
    assert_waits(&world).await;
    let deployment: Deployment = world.api().get("dev").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(0));
    assert_goes_on(&world, &pod).await;
    let revision = world.status("dev").await.revision.unwrap();
    assert_eq!(revision.name, "dev-2", "it is a new start");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_deployment_that_was_deleted_comes_back_when_its_pod_is_gone() {
    let (world, process, pod) = on_a_node("undeployed", json!({})).await;
    world.delete::<Deployment>("dev").await;
    assert_waits(&world).await;
    assert_goes_on(&world, &pod).await;
    let revision = world.status("dev").await.revision.unwrap();
    assert_eq!(revision.name, "dev-1", "it is the same start");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_whose_old_pod_does_not_go_is_stuck_and_says_where() {
    let class = json!({"timeouts": {"stopping": "2s"}});
    let (world, process, pod) = on_a_node("stays", class).await;
    world.want("dev", "Stopped").await;
    world.until_state("dev", ActualState::Stopping).await;
    world.want("dev", "Running").await;
    let failure = world.until_failed("dev", Cause::StopStuck).await;
    assert!(failure.next_step.contains(&world.namespace), "{failure:?}");
    assert!(world.pods("dev").await.is_empty());
    assert_goes_on(&world, &pod).await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_deployment_that_is_deleted_without_its_pod_takes_it_back() {
    let (world, process, pod) = on_a_node("orphaned", json!({})).await;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    let deployments = world.api::<Deployment>();
    let old = deployments.get("dev").await.unwrap();
    deployments.delete("dev", &orphan).await.unwrap();
    workstead::testkit::wait::eventually("a new Deployment", || async {
        let found = deployments.get_opt("dev").await.unwrap()?;
        (found.uid() != old.uid()).then_some(())
    })
    .await;
    world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    assert_eq!(world.pod("dev", None).await, pod, "it was not disturbed");
    process.stop().await.unwrap();
}
