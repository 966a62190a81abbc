//! What others do to children is undone; what belongs to others is left alone.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use workstead::api::Workspace;
use workstead::api::workspace::{ActualState, Cause};
use workstead::testkit::faults::lines;
use workstead::testkit::wait::eventually;

use super::{World, until_passed, writes_since};
use crate::object;

async fn until_same(world: &World, wanted: &std::collections::BTreeMap<String, Value>, what: &str) {
    eventually(what, || async {
        (world.children().await == *wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_child_that_is_deleted_comes_back_as_it_was() {
    let world = World::new("deleted").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let wanted = world.children().await;
    world.delete::<Service>("ws-dev").await;
    until_same(&world, &wanted, "the Service to come back").await;
    world.delete::<NetworkPolicy>("dev").await;
    until_same(&world, &wanted, "the NetworkPolicy to come back").await;
    world.delete::<ServiceAccount>("dev").await;
    until_same(&world, &wanted, "the ServiceAccount to come back").await;
    world.delete::<Deployment>("dev").await;
    until_same(&world, &wanted, "the Deployment to come back").await;
    world.make_ready("dev").await;
    world.until_state("dev", ActualState::Running).await;
    assert!(wanted.contains_key("ControllerRevision dev-1"));
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_lost_pin_restarts_nothing() {
    let world = World::new("pin").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    world.delete::<ControllerRevision>("dev-1").await;
    eventually("the pin to come back", || async {
        world
            .api::<ControllerRevision>()
            .get_opt("dev-1")
            .await
            .unwrap()
    })
    .await;
    world.settle().await;
    assert_eq!(world.pod("dev", None).await, pod);
    assert_eq!(
        world.status("dev").await.actual_state,
        Some(ActualState::Running)
    );
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_child_that_is_edited_by_hand_is_put_right_and_what_others_add_stays() {
    let world = World::new("edited").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let merge = PatchParams::default();
    let services = world.api::<Service>();
    let edit = json!({
        "metadata": {"annotations": {"example.com/note": "mine"}},
        "spec": {"selector": {"workstead.dev/workspace-uid": "other"}},
    });
    services
        .patch("ws-dev", &merge, &Patch::Merge(edit))
        .await
        .unwrap();
    let uid = world
        .api::<Workspace>()
        .get("dev")
        .await
        .unwrap()
        .uid()
        .unwrap();
    let service = eventually("the selector to be put right", || async {
        let service = services.get("ws-dev").await.unwrap();
        let selector = service.spec.as_ref()?.selector.clone()?;
        (selector.get("workstead.dev/workspace-uid") == Some(&uid)).then_some(service)
    })
    .await;
    assert_eq!(service.annotations()["example.com/note"], "mine");

    let policies = world.api::<NetworkPolicy>();
    let open = json!({"spec": {"egress": [{}]}});
    policies
        .patch("dev", &merge, &Patch::Merge(open))
        .await
        .unwrap();
    eventually("the policy to be closed again", || async {
        let egress = policies.get("dev").await.unwrap().spec?.egress?;
        egress.iter().all(|rule| rule.to.is_some()).then_some(())
    })
    .await;

    let deployments = world.api::<Deployment>();
    let scaled = json!({"spec": {"replicas": 3}});
    deployments
        .patch("dev", &merge, &Patch::Merge(scaled))
        .await
        .unwrap();
    eventually("the replicas to be one again", || async {
        (deployments.get("dev").await.unwrap().spec?.replicas == Some(1)).then_some(())
    })
    .await;
    // What was written twice is not written a third time.
    world.settle().await;
    let mark = world.faults.mark();
    let touch = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    world.change("dev", touch).await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    process.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_adds_to_a_selector_or_a_policy_is_taken_away_by_a_controller_old_and_new() {
    let world = World::new("added").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    add_to_selectors(&world).await;
    until_nothing_is_added(&world).await;
    process.stop().await.unwrap();

    // One that has written nothing yet compares with what it would send.
    add_to_selectors(&world).await;
    let process = world.start();
    until_nothing_is_added(&world).await;
    world.settle().await;
    process.stop().await.unwrap();

    let mark = world.faults.mark();
    let process = world.start();
    until_passed(&process).await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    process.stop().await.unwrap();
}

/// The Service would select nobody, and the policy guard nobody and let more in.
async fn add_to_selectors(world: &World) {
    let merge = PatchParams::default();
    let selector = json!({"spec": {"selector": {"example.com/added": "1"}}});
    let services = world.api::<Service>();
    services
        .patch("ws-dev", &merge, &Patch::Merge(selector))
        .await
        .unwrap();
    let policies = world.api::<NetworkPolicy>();
    let mut policy = policies.get("dev").await.unwrap();
    let spec = policy.spec.as_mut().unwrap();
    let guarded = spec.pod_selector.get_or_insert_default();
    let labels = guarded.match_labels.get_or_insert_default();
    labels.insert("example.com/added".to_owned(), "1".to_owned());
    let rule = &mut spec.ingress.as_mut().unwrap()[0];
    rule.ports.as_mut().unwrap()[0].end_port = Some(65535);
    policies
        .replace("dev", &PostParams::default(), &policy)
        .await
        .unwrap();
}

async fn until_nothing_is_added(world: &World) {
    eventually("what was added to be gone", || async {
        let service = world.api::<Service>().get("ws-dev").await.unwrap();
        let policy = world.api::<NetworkPolicy>().get("dev").await.unwrap();
        let text = serde_json::to_string(&(service.spec, policy.spec)).unwrap();
        (!text.contains("example.com/added") && !text.contains("65535")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_foreign_object_of_a_childs_name_is_untouched_and_named() {
    let world = World::new("foreign").await;
    let service: Service = object(json!({
        "metadata": {"name": "ws-dev"}, "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }));
    let before = world
        .api()
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    let process = world.start();
    world.create("dev", json!({})).await;
    let status = world.until_state("dev", ActualState::Error).await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::ApplyRejected);
    assert!(failure.message.contains("Service ws-dev"), "{failure:?}");
    assert!(world.pods("dev").await.is_empty(), "it must not start");
    let after = world.api::<Service>().get("ws-dev").await.unwrap();
    assert_eq!(before, after);

    // When it is gone, the workspace starts by itself.
    world.delete::<Service>("ws-dev").await;
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_deleted_workspace_takes_its_children_along_but_not_its_volume() {
    let world = World::new("gone").await;
    let process = world.start();
    let bystander: ConfigMap = object(json!({"metadata": {"name": "theirs"}}));
    world
        .api()
        .create(&PostParams::default(), &bystander)
        .await
        .unwrap();
    world.run("dev", json!({})).await;
    world.delete::<Workspace>("dev").await;
    eventually("the children to go", || async {
        let left: Vec<String> = world.children().await.into_keys().collect();
        (left == ["PersistentVolumeClaim dev-home"]).then_some(())
    })
    .await;
    world.settle().await;
    // A new one of the same owner adopts it; the claim is the same object.
    let claims = world.api::<PersistentVolumeClaim>();
    let old = claims.get("dev-home").await.unwrap();
    world.run("dev", json!({})).await;
    assert_eq!(claims.get("dev-home").await.unwrap().uid(), old.uid());
    process.stop().await.unwrap();
}

const OUR_LABELS: [&str; 3] = [
    "app.kubernetes.io/managed-by",
    "workstead.dev/workspace",
    "workstead.dev/workspace-uid",
];

/// Takes a label away, or puts another value on it.
async fn set_label<K>(world: &World, name: &str, label: &str, value: Option<&str>)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let patch = json!({"metadata": {"labels": {label: value}}});
    world
        .api::<K>()
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn labels_that_are_edited_by_hand_are_put_right_and_nothing_restarts() {
    let world = World::new("labels").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    world.settle().await;
    let wanted = world.children().await;
    for label in OUR_LABELS {
        for value in [None, Some("other")] {
            set_label::<Deployment>(&world, "dev", label, value).await;
            set_label::<NetworkPolicy>(&world, "dev", label, value).await;
            set_label::<ServiceAccount>(&world, "dev", label, value).await;
            set_label::<Service>(&world, "ws-dev", label, value).await;
            set_label::<ControllerRevision>(&world, "dev-1", label, value).await;
            let what = format!("{label} to be what it was before it was {value:?}");
            until_same(&world, &wanted, &what).await;
            assert_eq!(world.pod("dev", None).await, pod);
        }
    }
    world.settle().await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    assert_eq!(world.pod("dev", None).await, pod);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_termination_takes_along_what_lost_our_labels() {
    let world = World::new("bare").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    // While nobody looks, so that they are not put right before.
    process.stop().await.unwrap();
    for label in OUR_LABELS {
        set_label::<Deployment>(&world, "dev", label, None).await;
        set_label::<Service>(&world, "ws-dev", label, None).await;
        set_label::<ControllerRevision>(&world, "dev-1", label, None).await;
    }
    world.want("dev", "Terminated").await;
    let process = world.start();
    world.until_state("dev", ActualState::Terminated).await;
    let deployments = world.api::<Deployment>();
    assert!(deployments.get_opt("dev").await.unwrap().is_none());
    let services = world.api::<Service>();
    assert!(services.get_opt("ws-dev").await.unwrap().is_none());
    let pins = world.api::<ControllerRevision>();
    assert!(pins.get_opt("dev-1").await.unwrap().is_none());
    process.stop().await.unwrap();
}
