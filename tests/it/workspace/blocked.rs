//! What runs while its spec can't be carried out.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use workstead::api::WorkspaceClass;
use workstead::api::workspace::{ActualState, Cause, WorkspaceStatus};
use workstead::testkit::faults::lines;
use workstead::testkit::kubelet::{PodStep, mk_node};
use workstead::testkit::wait::eventually;

use super::{World, writes_since};

/// Takes the class away and waits until it is missed.
async fn lose_class(world: &World) -> WorkspaceStatus {
    let classes: Api<WorkspaceClass> = Api::all(world.client.clone());
    let name = &world.class;
    classes
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
    let has_lost = |status: &WorkspaceStatus| {
        let failure = status.failure.as_ref();
        failure.is_some_and(|failure| failure.cause == Cause::ClassInvalid)
    };
    world.until("dev", "ClassInvalid", has_lost).await
}

fn rule_to(cidr: &str) -> Value {
    json!({"network": {"egress": [{"allow": cidr}]}})
}

/// The destinations beside DNS that a policy lets through.
fn destinations(policy: &NetworkPolicy) -> Vec<String> {
    let egress = policy.spec.as_ref().unwrap().egress.clone();
    let peers = egress
        .unwrap()
        .into_iter()
        .flat_map(|rule| rule.to.unwrap());
    peers.filter_map(|peer| Some(peer.ip_block?.cidr)).collect()
}

#[tokio::test]
async fn a_pod_whose_class_is_gone_keeps_its_guard() {
    let world = World::with_class("guard", rule_to("192.0.2.0/24")).await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let policies = world.api::<NetworkPolicy>();
    // The class changes what a running workspace may reach: the last word before the class is lost.
    world
        .set_class(&world.class, rule_to("198.51.100.0/24"))
        .await;
    eventually("the new rule", || async {
        let policy = policies.get("dev").await.unwrap();
        (destinations(&policy) == ["198.51.100.0/24"]).then_some(())
    })
    .await;
    world.settle().await;
    let mark = world.faults.mark();
    let status = lose_class(&world).await;
    assert_eq!(status.actual_state, Some(ActualState::Running));
    world.settle().await;
    let writes = writes_since(&world.faults, mark);
    assert!(
        writes.iter().all(|call| call.subresource() == "status"),
        "it is as it was last applied: {}",
        lines(&writes)
    );

    // Deleted or opened, it is what it was when the pod was started.
    world.delete::<NetworkPolicy>("dev").await;
    let back = eventually("the policy to come back", || async {
        policies.get_opt("dev").await.unwrap()
    })
    .await;
    assert_eq!(destinations(&back), ["192.0.2.0/24"]);
    let open = json!({"spec": {"egress": [{}], "ingress": [{}]}});
    let merge = PatchParams::default();
    policies
        .patch("dev", &merge, &Patch::Merge(open))
        .await
        .unwrap();
    eventually("the policy to be closed again", || async {
        let found = policies.get("dev").await.unwrap();
        (found.spec == back.spec).then_some(())
    })
    .await;
    world.settle().await;
    let mark = world.faults.mark();
    let touch = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    world.change("dev", touch).await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    assert_eq!(world.pods("dev").await.len(), 1, "the pod goes on");
    process.stop().await.unwrap();
}

/// Its volume: the condition, and the reason of the failure.
fn storage(status: &WorkspaceStatus) -> (String, String, Option<Cause>) {
    let mut all = status.conditions.iter();
    let found = all.find(|c| c.type_ == "StorageReady").unwrap();
    let cause = status.failure.as_ref().map(|failure| failure.cause);
    (found.status.clone(), found.reason.clone(), cause)
}

#[tokio::test]
async fn a_volume_that_is_deleted_by_hand_is_told_and_nothing_starts_on_it() {
    let world = World::new("unhoused").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    // Pods keep a claim from going; a finalizer of its own makes that plain.
    let claims = world.api::<PersistentVolumeClaim>();
    let merge = PatchParams::default();
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    claims
        .patch("dev-home", &merge, &Patch::Merge(held))
        .await
        .unwrap();
    world.settle().await;
    let mark = world.faults.mark();
    world.delete::<PersistentVolumeClaim>("dev-home").await;
    let deleting = (
        "False".to_owned(),
        "Deleting".to_owned(),
        Some(Cause::VolumeBind),
    );
    let status = world
        .until("dev", "the deletion", |status| storage(status) == deleting)
        .await;
    assert_eq!(status.actual_state, Some(ActualState::Running));
    let failure = status.failure.unwrap();
    assert!(failure.next_step.contains("copy your work"), "{failure:?}");
    let touch = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    world.change("dev", touch).await;
    world.settle().await;
    let writes = writes_since(&world.faults, mark);
    assert!(
        writes.iter().all(|call| call.subresource() == "status"),
        "nothing is sent to a claim that goes: {}",
        lines(&writes)
    );
    let events: Api<Event> = world.api();
    eventually("the warning", || async {
        let list = events.list(&Default::default()).await.unwrap();
        let mut warnings = list.into_iter().filter(|event| {
            event.type_.as_deref() == Some("Warning")
                && event.reason.as_deref() == Some("VolumeBind")
        });
        let note = warnings.next()?.note?;
        note.contains("copy your work").then_some(())
    })
    .await;

    world.want("dev", "Stopped").await;
    let status = world.until_state("dev", ActualState::Stopped).await;
    assert_eq!(storage(&status).1, "Deleting");
    world.want("dev", "Running").await;
    let status = world
        .until("dev", "the start to be refused", |s| storage(s) == deleting)
        .await;
    assert_eq!(status.actual_state, Some(ActualState::Stopped));
    world.settle().await;
    assert!(world.pods("dev").await.is_empty());

    let old = claims.get("dev-home").await.unwrap();
    let free = json!({"metadata": {"finalizers": null}});
    claims
        .patch("dev-home", &merge, &Patch::Merge(free))
        .await
        .unwrap();
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    let new = claims.get("dev-home").await.unwrap();
    assert_ne!(new.uid(), old.uid());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_whose_class_breaks_in_between_ends_with_a_pod() {
    let world = World::new("halfway").await;
    let node = &world.namespace;
    mk_node(world.client.clone(), node).await.unwrap();
    let process = world.start();
    world.run("dev", json!({})).await;
    let first = world.pod("dev", None).await;
    world.kubelet.bind(&first, node).await.unwrap();
    let asked = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "1"}}});
    world.change("dev", asked).await;
    world.until_state("dev", ActualState::Stopping).await;
    lose_class(&world).await;
    world.settle().await;
    assert!(world.pods("dev").await.is_empty());
    let ours = "workstead.dev/workspace=dev";
    world.kubelet.remove_pods(ours).await.unwrap();
    let second = world.pod("dev", Some(&first)).await;
    world
        .kubelet
        .report(&second, &PodStep::Ready)
        .await
        .unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure.unwrap().cause, Cause::ClassInvalid);
    assert_eq!(status.revision.unwrap().name, "dev-1", "of the same pin");
    assert_eq!(status.last_handled_restart_at, None);

    world.set_class(&world.class, json!({})).await;
    let is_answered = |status: &WorkspaceStatus| status.last_handled_restart_at.is_some();
    let status = world.until("dev", "the answer", is_answered).await;
    assert_eq!((status.restart, status.failure), (None, None));
    world.settle().await;
    assert_eq!(world.pod("dev", None).await, second, "once is enough");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn what_else_is_deleted_without_a_class_comes_back_with_it() {
    let world = World::new("bereft").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let wanted = world.children().await;
    lose_class(&world).await;
    world.delete::<Service>("ws-dev").await;
    world.settle().await;
    assert_eq!(world.pods("dev").await.len(), 1, "the pod goes on");
    world.delete::<Deployment>("dev").await;
    eventually("the pod to go", || async {
        world.pods("dev").await.is_empty().then_some(())
    })
    .await;
    world.settle().await;
    assert!(
        world.pods("dev").await.is_empty(),
        "without a class nothing starts"
    );
    let failure = world.status("dev").await.failure.unwrap();
    assert_eq!(failure.cause, Cause::ClassInvalid);

    world.set_class(&world.class, json!({})).await;
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    eventually("everything to be as before", || async {
        let now = world.children().await;
        let names = |all: &std::collections::BTreeMap<String, Value>| -> Vec<String> {
            let pins = |name: &&String| name.starts_with("ControllerRevision");
            all.keys().filter(|name| !pins(name)).cloned().collect()
        };
        (names(&now) == names(&wanted)).then_some(())
    })
    .await;
    process.stop().await.unwrap();
}
