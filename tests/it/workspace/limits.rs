//! Classes, quotas, owners.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use workstead::api::shared::Blame;
use workstead::api::workspace::{ActualState, Cause, ChangeEffect};
use workstead::api::{Workspace, WorkspaceClass};

use super::World;

#[tokio::test]
async fn a_missing_class_blocks_until_it_is_there() {
    let world = World::new("noclass").await;
    let process = world.start();
    let name = format!("{}-later", world.namespace);
    world.create("dev", json!({"className": name})).await;
    let status = world
        .until_state("dev", ActualState::CreationRequested)
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ClassInvalid, Blame::Platform)
    );
    assert!(failure.message.contains(&name), "{failure:?}");
    assert!(world.children().await.is_empty(), "nothing is made");
    world.set_class(&name, json!({})).await;
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.class_name, Some(name));
    process.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_class_name_the_one_default_class_is_taken_and_never_one_of_two() {
    let world = World::new("default").await;
    let process = world.start();
    let workspace: Workspace = crate::object(json!({"metadata": {"name": "dev"}, "spec": {
        "owner": "alice@example.com", "image": "registry.example.com/dev:1",
    }}));
    world
        .api()
        .create(&Default::default(), &workspace)
        .await
        .unwrap();
    let status = world
        .until_state("dev", ActualState::CreationRequested)
        .await;
    assert_eq!(status.failure.unwrap().cause, Cause::ClassInvalid);
    let other = format!("{}-other", world.namespace);
    world.set_class(&other, json!({})).await;
    let default = |value: serde_json::Value| {
        Patch::Merge(
            json!({"metadata": {"annotations": {"workstead.dev/is-default-class": value}}}),
        )
    };
    let classes: kube::Api<WorkspaceClass> = kube::Api::all(world.client.clone());
    let merge = PatchParams::default();
    classes
        .patch(&other, &merge, &default(json!("true")))
        .await
        .unwrap();
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.class_name, Some(other.clone()));

    // A second default makes the choice unsure: what runs goes on, and the status says why it is not ready.
    classes
        .patch(&world.class, &merge, &default(json!("true")))
        .await
        .unwrap();
    let status = world
        .until("dev", "ClassInvalid", |status| {
            status
                .failure
                .as_ref()
                .is_some_and(|f| f.cause == Cause::ClassInvalid)
        })
        .await;
    assert_eq!(status.actual_state, Some(ActualState::Running));
    assert_eq!(world.pods("dev").await.len(), 1);
    classes
        .patch(&world.class, &merge, &default(json!(null)))
        .await
        .unwrap();
    world
        .until("dev", "the failure to go", |status| {
            status.failure.is_none()
        })
        .await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn the_one_over_the_quota_waits_and_starts_when_a_place_is_free() {
    let world = World::with_class("quota", json!({"quota": {"perOwner": 1}})).await;
    let process = world.start();
    world.run("one", json!({})).await;
    world.create("two", json!({})).await;
    let status = world
        .until_state("two", ActualState::CreationRequested)
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::QuotaExceeded, Blame::User)
    );
    assert!(
        failure.message.contains('1'),
        "it says how many: {failure:?}"
    );
    // Somebody else's is not counted with hers.
    world.run("his", json!({"owner": "bob@example.com"})).await;
    // A stopped one keeps its place, a terminated one does not.
    world
        .change("one", json!({"spec": {"desiredState": "Stopped"}}))
        .await;
    world.until_state("one", ActualState::Stopped).await;
    assert!(world.pods("two").await.is_empty());
    world
        .change("one", json!({"spec": {"desiredState": "Terminated"}}))
        .await;
    world.make_ready("two").await;
    let status = world.until_state("two", ActualState::Running).await;
    assert_eq!(status.failure, None);
    // Lowering a quota stops nothing.
    world
        .set_class(&world.class, json!({"quota": {"total": 0}}))
        .await;
    world.settle().await;
    assert_eq!(
        world.status("two").await.actual_state,
        Some(ActualState::Running)
    );
    process.stop().await.unwrap();
}

#[tokio::test]
async fn the_volume_of_another_owner_is_not_touched() {
    let world = World::new("volume").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.delete::<Workspace>("dev").await;
    let only_volume = || async {
        let left: Vec<String> = world.children().await.into_keys().collect();
        (left == ["PersistentVolumeClaim dev-home"]).then_some(())
    };
    workstead::testkit::wait::eventually("the children to go", only_volume).await;
    let before = world.children().await;
    world
        .create("dev", json!({"owner": "eve@example.com"}))
        .await;
    let status = world
        .until_state("dev", ActualState::CreationRequested)
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::VolumeForeign);
    let told = format!("{} {}", failure.message, failure.evidence);
    assert!(
        told.contains("alice@example.com") && told.contains("dev-home"),
        "{told}"
    );
    assert_eq!(status.volume, None);
    world.settle().await;
    assert_eq!(world.children().await, before);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_changed_class_waits_for_the_next_start_and_says_so() {
    let world = World::new("pending").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let first = world.pod("dev", None).await;
    world
        .set_class(
            &world.class,
            json!({"pod": {"nodeSelector": {"disk": "fast"}}}),
        )
        .await;
    let status = world
        .until("dev", "what waits to be named", |status| {
            status
                .revision
                .as_ref()
                .is_some_and(|revision| !revision.pending.is_empty())
        })
        .await;
    let pending = &status.revision.unwrap().pending;
    assert!(
        pending
            .iter()
            .all(|change| change.effect == ChangeEffect::NextStart),
        "{pending:?}"
    );
    assert!(pending[0].field.contains("nodeSelector"), "{pending:?}");
    assert_eq!(world.pod("dev", None).await, first);
    let asked = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "1"}}});
    world.change("dev", asked).await;
    let second = world.pod("dev", Some(&first)).await;
    let pod: k8s_openapi::api::core::v1::Pod = world.api().get(&second).await.unwrap();
    assert_eq!(pod.spec.unwrap().node_selector.unwrap()["disk"], "fast");
    process.stop().await.unwrap();
}
