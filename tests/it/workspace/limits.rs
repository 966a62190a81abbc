//! Classes, quotas, owners.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use workstead::api::shared::Blame;
use workstead::api::workspace::{ActualState, Cause, ChangeEffect, WorkspaceStatus};
use workstead::api::{Workspace, WorkspaceClass};
use workstead::testkit::faults::{Fault, When};
use workstead::testkit::wait::eventually;

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
    world.want("one", "Stopped").await;
    world.until_state("one", ActualState::Stopped).await;
    assert!(world.pods("two").await.is_empty());
    world.want("one", "Terminated").await;
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

/// A claim of somebody else comes while a pass is on its way to make one: after its look number `look`.
async fn a_foreign_claim_comes_after_look(number: usize) {
    let world = World::new("comes").await;
    let looks = AtomicUsize::new(0);
    let nth = When::matching(move |call| {
        call.method == "GET"
            && call.name() == "dev-home"
            && looks.fetch_add(1, Ordering::Relaxed) + 1 == number
    });
    world.faults.once(nth, Fault::Delay(Duration::from_secs(2)));
    let process = world.start();
    world.create("dev", json!({})).await;
    eventually("the look", || async {
        let calls = world.faults.calls();
        let looks = calls
            .iter()
            .filter(|call| call.method == "GET" && call.name() == "dev-home");
        (looks.count() == number).then_some(())
    })
    .await;
    let claim: PersistentVolumeClaim = crate::object(json!({
        "metadata": {"name": "dev-home", "annotations": {"workstead.dev/owner": "eve@example.com"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }));
    let claims = world.api::<PersistentVolumeClaim>();
    let before = claims.create(&Default::default(), &claim).await.unwrap();
    let is_foreign = |status: &WorkspaceStatus| {
        let failure = status.failure.as_ref();
        failure.is_some_and(|failure| failure.cause == Cause::VolumeForeign)
    };
    world.until("dev", "VolumeForeign", is_foreign).await;
    world.settle().await;
    let mut after = claims.get("dev-home").await.unwrap();
    // Others, such as the controller-manager, may look after it.
    after.metadata.resource_version = before.metadata.resource_version.clone();
    after.metadata.managed_fields = before.metadata.managed_fields.clone();
    assert_eq!(after.metadata, before.metadata);
    assert!(world.pods("dev").await.is_empty());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_foreign_volume_that_comes_after_the_first_look_is_not_taken() {
    a_foreign_claim_comes_after_look(1).await;
}

#[tokio::test]
async fn a_foreign_volume_that_comes_right_before_the_write_is_not_taken() {
    a_foreign_claim_comes_after_look(2).await;
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

#[tokio::test]
async fn a_started_workspace_that_names_a_full_class_goes_on_as_it_is_and_starts_there_only_with_a_place()
 {
    let world = World::with_class("moved", json!({})).await;
    let full = format!("{}-gpu", world.namespace);
    let spec =
        |total: u32| json!({"quota": {"total": total}, "pod": {"nodeSelector": {"gpu": "yes"}}});
    world.set_class(&full, spec(0)).await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let first = world.pod("dev", None).await;
    let exceeded = |status: &workstead::api::workspace::WorkspaceStatus| {
        let cause = status.failure.as_ref().map(|failure| failure.cause);
        cause == Some(Cause::QuotaExceeded)
    };
    world
        .change("dev", json!({"spec": {"className": full}}))
        .await;
    let status = world.until("dev", "QuotaExceeded", exceeded).await;
    assert_eq!(status.actual_state, Some(ActualState::Running));
    assert_eq!(status.class_name, Some(world.class.clone()));
    let pending = status.revision.unwrap().pending;
    assert_eq!(pending[0].field, "spec.className");

    // Neither a restart nor a stop and a start brings it in.
    let asked = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "1"}}});
    world.change("dev", asked).await;
    world.settle().await;
    assert_eq!(world.pod("dev", None).await, first);
    let wish = |state: &str| json!({"spec": {"desiredState": state}});
    world.change("dev", wish("Stopped")).await;
    world.until_state("dev", ActualState::Stopped).await;
    world.change("dev", wish("Running")).await;
    world.until("dev", "QuotaExceeded", exceeded).await;
    world.settle().await;
    assert!(world.pods("dev").await.is_empty());
    // A process that begins anew knows no better.
    process.stop().await.unwrap();
    let process = world.start();
    super::until_passed(&process).await;
    world.settle().await;
    assert!(world.pods("dev").await.is_empty());

    world.set_class(&full, spec(1)).await;
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(
        (status.class_name.as_ref(), status.failure),
        (Some(&full), None)
    );
    // It left its place in the class before, and takes the one in this.
    world.create("next", json!({"className": full})).await;
    world.until("next", "QuotaExceeded", exceeded).await;
    // Leaving it again frees nothing before it starts elsewhere: what runs, runs in this class.
    world
        .change("dev", json!({"spec": {"className": world.class}}))
        .await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.class_name, Some(full));
    world.settle().await;
    assert!(world.pods("next").await.is_empty());
    let asked = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "2"}}});
    world.change("dev", asked).await;
    world.make_ready("next").await;
    world.until_state("next", ActualState::Running).await;
    process.stop().await.unwrap();
}
