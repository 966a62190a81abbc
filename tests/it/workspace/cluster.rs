//! What the controller asks the cluster before it makes the first pod.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use workstead::api::workspace::ActualState;
use workstead::testkit::faults::{Call, Fault, When};

use super::World;

/// The dry run that tells whether pods may have user namespaces.
fn asks(call: &Call) -> bool {
    call.resource() == "deployments" && call.name() == "workstead-probe"
}

/// `hostUsers` in the pod of a Workspace.
async fn host_users(world: &World) -> Option<bool> {
    let deployment: Deployment = world.api().get("dev").await.unwrap();
    deployment.spec.unwrap().template.spec.unwrap().host_users
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_asked_again_whether_it_has_user_namespaces() {
    let world = World::with_class("asked", json!({"pod": {"userNamespaces": true}})).await;
    let once_lost = When::matching(asks);
    world.faults.once(once_lost, Fault::Answer(503));
    let process = world.start();
    let status = world.run("dev", json!({})).await;
    assert_eq!(
        host_users(&world).await,
        Some(false),
        "it has one of its own"
    );
    assert_eq!(
        world
            .faults
            .calls()
            .iter()
            .filter(|call| asks(call))
            .count(),
        2
    );
    let notice = status.conditions.iter().find(|c| c.type_ == "PodReady");
    assert_eq!(notice.unwrap().message, "the pod is ready");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_refuses_to_tell_is_taken_to_have_no_user_namespaces() {
    let class = json!({"pod": {"userNamespaces": true, "allowPrivilegeEscalation": true}});
    let world = World::with_class("untold", class).await;
    world
        .faults
        .always(When::matching(asks), Fault::Answer(403));
    let process = world.start();
    world.run("dev", json!({})).await;
    assert_eq!(host_users(&world).await, None);
    let deployment: Deployment = world.api().get("dev").await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    for container in &pod.containers {
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
    }
    let status = world.until_state("dev", ActualState::Running).await;
    let notice = status.conditions.iter().find(|c| c.type_ == "PodReady");
    let message = &notice.unwrap().message;
    assert!(message.contains("could not be told"), "{message}");
    process.stop().await.unwrap();
}
