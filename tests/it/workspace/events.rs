//! Events: those of others, which explain a start that hangs, and ours, which nobody needs of a namespace that goes away.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use workstead::api::shared::Blame;
use workstead::api::workspace::{ActualState, Cause};
use workstead::testkit::ControlPlane;
use workstead::testkit::faults::lines;
use workstead::testkit::kubelet::PodStep;
use workstead::testkit::wait::eventually;

use super::{World, writes_since};

/// A warning about an object, as a kubelet or a provisioner writes it.
async fn warn<K: kube::Resource<DynamicType = ()>>(
    world: &World,
    about: &K,
    reason: &str,
    message: &str,
) {
    let subject: Value = serde_json::to_value(about.object_ref(&())).unwrap();
    let event: Event = crate::object(json!({
        "metadata": {"generateName": "test-"}, "involvedObject": subject, "type": "Warning",
        "reason": reason, "message": message, "lastTimestamp": jiff::Timestamp::now().to_string(),
        "source": {"component": "test"},
    }));
    let events: Api<Event> = world.api();
    events.create(&PostParams::default(), &event).await.unwrap();
}

#[tokio::test]
async fn what_others_say_about_the_volume_is_shown_while_the_workspace_starts() {
    let world = World::new("hints").await;
    let process = world.start();
    world.create("dev", json!({})).await;
    let name = world.pod("dev", None).await;
    let pod = world.kubelet.bind(&name, "node-1").await;
    pod.unwrap();
    let claim: PersistentVolumeClaim = world.api().get("dev-home").await.unwrap();
    warn(&world, &claim, "ProvisioningFailed", "the pool is full").await;
    let is = |cause| move |failure: &workstead::api::workspace::Failure| failure.cause == cause;
    let shown = |what: &'static str, cause| {
        let world = &world;
        async move {
            let status = world
                .until("dev", what, |status| {
                    status.failure.as_ref().is_some_and(is(cause))
                })
                .await;
            assert_eq!(status.actual_state, Some(ActualState::Starting));
            status.failure.unwrap()
        }
    };
    let failure = shown("the word of the provisioner", Cause::VolumeBind).await;
    assert!(failure.evidence.contains("the pool is full"), "{failure:?}");

    let volume: PersistentVolume = crate::object(json!({
        "metadata": {"name": world.namespace}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": world.namespace, "name": "dev-home"},
        },
    }));
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    volumes
        .create(&PostParams::default(), &volume)
        .await
        .unwrap();
    world
        .until("dev", "no failure", |status| status.failure.is_none())
        .await;
    let pod: Pod = world.api().get(&name).await.unwrap();
    warn(&world, &pod, "FailedMount", "access denied by server").await;
    let failure = shown("the word of the kubelet", Cause::VolumeMount).await;
    assert_eq!(failure.blame, Blame::Platform);
    assert!(failure.evidence.contains("access denied"), "{failure:?}");

    world.kubelet.report(&name, &PodStep::Ready).await.unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn in_a_namespace_that_is_being_deleted_nothing_is_tried_and_nobody_is_told() {
    // Without a controller-manager the namespace stays as it is: being deleted.
    let plane = ControlPlane::shared().await.unwrap();
    plane.install_definitions().await.unwrap();
    let world = World::on(plane, "ending", json!({})).await;
    world.create("dev", json!({})).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces
        .delete(&world.namespace, &DeleteParams::default())
        .await
        .unwrap();
    // The Lease can't be made there either: it lives elsewhere.
    let elsewhere = plane.namespace("lease").await.unwrap();
    let config = workstead::controllers::ControllerConfig {
        namespace: elsewhere,
        ..world.config("one")
    };
    let process = world.start_with(config, Default::default());
    eventually("a first try", || async {
        let writes = writes_since(&world.faults, 0);
        let mut tried = writes.iter().map(|call| call.resource());
        tried
            .any(|resource| resource == "serviceaccounts")
            .then_some(())
    })
    .await;
    world.settle().await;
    let mark = world.faults.mark();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    let events: Api<Event> = world.api();
    let said = events.list(&ListParams::default()).await.unwrap();
    let said: Vec<String> = said.iter().map(|event| event.name_any()).collect();
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(world.status("dev").await.failure, None);
    let text = process.metrics.encode().unwrap();
    assert!(!text.contains("reconcile_errors_total{"), "{text}");
    process.stop().await.unwrap();
}
