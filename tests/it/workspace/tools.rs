//! How tools get in: probes of the nodes, and starts that a node refuses. Each test has a control plane of its own, since
//! nodes concern every controller.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams,
};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use workstead::api::class::Delivery;
use workstead::api::workspace::{ActualState, Cause, StartStep, WorkspaceStatus};
use workstead::testkit::ControlPlane;
use workstead::testkit::faults::lines;
use workstead::testkit::kubelet::{PodStep, mk_node_of};
use workstead::testkit::wait::eventually;

use super::{World, until_passed, writes_since};

const GOOD: &str = "containerd://2.4.2";
const OTHER: &str = "cri-o://1.35.0";
const OLD: &str = "containerd://1.7.0";
const NOEXEC: &str = "failed to create containerd task: OCI runtime create failed: exec: \"/opt/workstead/bin/workstead-supervisor\": permission denied";
const NO_SOURCE: &str =
    "failed to generate container spec: failed to mkdir \"\": mkdir : no such file or directory";

async fn plane() -> ControlPlane {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    plane.start_controller_manager().await.unwrap();
    plane
}

/// Nodes that say again and again that they are there: who is silent for 40 s counts as lost.
async fn alive(client: &Client, nodes: &[(&'static str, &'static str)]) -> JoinSet<()> {
    let say = async |client: &Client, nodes: &[(&str, &str)]| {
        for (name, runtime) in nodes {
            mk_node_of(client.clone(), name, runtime).await?;
        }
        Ok::<(), kube::Error>(())
    };
    say(client, nodes).await.unwrap();
    let mut tasks = JoinSet::new();
    let (client, nodes) = (client.clone(), nodes.to_vec());
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            // The next time will do.
            let _ = say(&client, &nodes).await;
        }
    });
    tasks
}

/// The probe pod on a node.
async fn probe_on(world: &World, node: &str) -> Pod {
    let params = ListParams::default().labels("workstead.dev/probe=image-volumes");
    eventually(&format!("a probe on {node}"), || async {
        let pods = world.api::<Pod>().list(&params).await.unwrap();
        pods.into_iter().find(|pod| {
            let on = pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node);
            let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
            on && phase == Some("Pending") && pod.metadata.deletion_timestamp.is_none()
        })
    })
    .await
}

/// What is written down, by container runtime.
async fn answers(world: &World) -> BTreeMap<String, bool> {
    let api: Api<ConfigMap> = world.api();
    let found = api.get_opt("workstead-image-volumes").await.unwrap();
    let data = found.and_then(|found| found.data).unwrap_or_default();
    let read = |text: &String| -> (String, bool) {
        let answer: Value = serde_json::from_str(text).unwrap();
        let runtime = answer["containerRuntime"].as_str().unwrap().to_owned();
        (runtime, answer["works"].as_bool().unwrap())
    };
    data.values().map(read).collect()
}

async fn until_answered(world: &World, runtime: &str, works: bool) {
    eventually(&format!("the answer of {runtime}"), || async {
        (answers(world).await.get(runtime) == Some(&works)).then_some(())
    })
    .await;
}

async fn until_gone(world: &World, pod: &Pod) {
    eventually("the end of a probe", || async {
        let found = world.api::<Pod>().get_opt(&pod.name_any()).await.unwrap();
        let same = found.is_some_and(|found| found.metadata.uid == pod.metadata.uid);
        (!same).then_some(())
    })
    .await;
}

async fn tell(world: &World, pod: &Pod, step: &PodStep) {
    world.kubelet.report(&pod.name_any(), step).await.unwrap();
}

fn waits(reason: &str, message: &str) -> PodStep {
    PodStep::Waiting {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn delivery(status: &WorkspaceStatus) -> Option<Delivery> {
    Some(status.tools.as_ref()?.delivery)
}

async fn until_delivered(world: &World, name: &str, wanted: Delivery) -> WorkspaceStatus {
    let what = format!("tools by {wanted:?}");
    let status = world
        .until(name, &what, |status| delivery(status).is_some())
        .await;
    assert_eq!(delivery(&status), Some(wanted), "{name}");
    let deployment: Deployment = world.api().get(name).await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let copies = pod.init_containers.iter().flatten().count() > 0;
    assert_eq!(copies, wanted == Delivery::Copy, "{name}");
    status
}

fn creations(calls: &[workstead::testkit::faults::Call]) -> Vec<String> {
    let pods = calls.iter().filter(|call| call.resource() == "pods");
    pods.map(|call| lines(std::slice::from_ref(call))).collect()
}

#[tokio::test]
async fn each_pair_of_versions_is_tried_once_and_one_that_refuses_has_all_tools_copied() {
    let plane = plane().await;
    let world = World::on(&plane, "probes", json!({})).await;
    let _nodes = alive(&world.client, &[("one", GOOD)]).await;
    let process = world.start();

    // An image that does not come is no answer, and nobody waits for one.
    let probe = probe_on(&world, "one").await;
    let spec = probe.spec.as_ref().unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    world.create("early", json!({})).await;
    until_delivered(&world, "early", Delivery::ImageVolume).await;
    tell(
        &world,
        &probe,
        &waits("ErrImagePull", "workstead:test: not found"),
    )
    .await;
    let over = PodStep::Failed {
        reason: "DeadlineExceeded".to_owned(),
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
    };
    tell(&world, &probe, &over).await;
    until_gone(&world, &probe).await;
    let again = probe_on(&world, "one").await;
    assert!(answers(&world).await.is_empty());
    tell(&world, &again, &PodStep::Completed).await;
    until_answered(&world, GOOD, true).await;
    until_gone(&world, &again).await;
    world.make_ready("early").await;
    world.until_state("early", ActualState::Running).await;
    world.settle().await;

    // Another process knows what this one found out.
    process.stop().await.unwrap();
    let mark = world.faults.mark();
    let process = world.start();
    until_passed(&process).await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");

    // Versions that appear are tried, and one that refuses counts for all: nobody knows where a pod will be.
    let _more = alive(&world.client, &[("two", OLD)]).await;
    let probe = probe_on(&world, "two").await;
    // What a process that ends has asked, the next one takes up.
    process.stop().await.unwrap();
    let process = world.start();
    until_passed(&process).await;
    tell(&world, &probe, &waits("CreateContainerError", NO_SOURCE)).await;
    until_answered(&world, OLD, false).await;
    assert_eq!(answers(&world).await.get(GOOD), Some(&true));
    world.create("late", json!({})).await;
    let late = until_delivered(&world, "late", Delivery::Copy).await;
    assert!(
        late.timeline
            .iter()
            .all(|step| step.step != StartStep::ToolsRefused)
    );
    world
        .set_class(
            &format!("{}-strict", world.class),
            json!({"tools": {"delivery": "ImageVolume"}}),
        )
        .await;
    let strict = json!({"className": format!("{}-strict", world.class)});
    world.create("strict", strict).await;
    until_delivered(&world, "strict", Delivery::ImageVolume).await;
    let early = world.status("early").await;
    assert_eq!(
        early.actual_state,
        Some(ActualState::Running),
        "it was not restarted"
    );
    assert_eq!(delivery(&early), Some(Delivery::ImageVolume));

    // On a cluster that refuses, another process has nothing to write either.
    world.settle().await;
    process.stop().await.unwrap();
    let mark = world.faults.mark();
    let process = world.start();
    until_passed(&process).await;
    world.settle().await;
    assert_eq!(
        creations(&writes_since(&world.faults, mark)),
        Vec::<String>::new()
    );

    // When its nodes are gone, its refusal counts no more.
    drop(_more);
    Api::<Node>::all(world.client.clone())
        .delete("two", &DeleteParams::default())
        .await
        .unwrap();
    let mut number = 0;
    loop {
        number += 1;
        let name = format!("after-{number}");
        world.create(&name, json!({})).await;
        let status = world
            .until(&name, "tools", |status| delivery(status).is_some())
            .await;
        if delivery(&status) == Some(Delivery::ImageVolume) {
            break;
        }
        assert!(number < 20, "tools are copied although no node refuses");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    process.stop().await.unwrap();
}

/// Has the API server drop the volumes of the Deployment that it is asked with, as one does that knows no image volumes.
async fn drop_image_volumes(world: &World) {
    const NAME: &str = "drop-image-volumes";
    let kind = |kind: &str| {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        Api::<DynamicObject>::all_with(world.client.clone(), &ApiResource::from_gvk(&kind))
    };
    let objects = [
        (
            "MutatingAdmissionPolicy",
            json!({
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
                    "operations": ["CREATE", "UPDATE"],
                }]},
                "matchConditions": [
                    {"name": "asked", "expression": "object.metadata.name == 'workstead-probe-images'"},
                ],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
                    "expression": "[JSONPatch{op: \"remove\", path: \"/spec/template/spec/volumes\"}]",
                }}],
            }),
        ),
        (
            "MutatingAdmissionPolicyBinding",
            json!({"policyName": NAME}),
        ),
    ];
    for (name, spec) in objects {
        let object: DynamicObject = crate::object(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": name,
            "metadata": {"name": NAME}, "spec": spec,
        }));
        kind(name)
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }
    let asked: Deployment = crate::object(json!({
        "metadata": {"name": "workstead-probe-images"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "volumes": [{"name": "v", "image": {"reference": "i"}}],
            }},
        },
    }));
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policy to hold", || async {
        let made = world
            .api::<Deployment>()
            .create(&dry, &asked)
            .await
            .unwrap();
        let volumes = made.spec?.template.spec?.volumes;
        volumes.unwrap_or_default().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_drops_image_volumes_has_answered_for_all_nodes() {
    let plane = plane().await;
    let world = World::on(&plane, "dropped", json!({})).await;
    drop_image_volumes(&world).await;
    let _nodes = alive(&world.client, &[("one", GOOD)]).await;
    let process = world.start();
    world.create("dev", json!({})).await;
    until_delivered(&world, "dev", Delivery::Copy).await;
    world.make_ready("dev").await;
    world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    assert_eq!(
        creations(&writes_since(&world.faults, 0)),
        Vec::<String>::new(),
        "nobody need be asked"
    );
    process.stop().await.unwrap();
}

/// Creates a Workspace and lets its pod be refused by a node.
async fn refuse(world: &World, name: &str, node: &str, spec: Value) -> String {
    world.create(name, spec).await;
    let pod = world.pod(name, None).await;
    world.kubelet.bind(&pod, node).await.unwrap();
    let refusal = waits("RunContainerError", NOEXEC);
    world.kubelet.report(&pod, &refusal).await.unwrap();
    pod
}

/// Lets the pod that was refused go, and the next one run.
async fn run_after(world: &World, name: &str, refused: &str) -> WorkspaceStatus {
    let labels = format!("workstead.dev/workspace={name}");
    eventually("the end of the pod that was refused", || async {
        let pods: Api<Pod> = world.api();
        let leaves = match pods.get_opt(refused).await.unwrap() {
            Some(pod) => pod.metadata.deletion_timestamp.is_some(),
            None => true,
        };
        leaves.then_some(())
    })
    .await;
    world.kubelet.remove_pods(&labels).await.unwrap();
    let pod = world.pod(name, Some(refused)).await;
    world.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
    world.until_state(name, ActualState::Running).await
}

#[tokio::test]
async fn a_start_whose_mounts_are_refused_goes_over_to_copying_and_runs() {
    let plane = plane().await;
    let world = World::on(&plane, "refused", json!({})).await;
    let _nodes = alive(&world.client, &[("one", GOOD), ("two", OTHER)]).await;
    let process = world.start();
    for (node, runtime) in [("one", GOOD), ("two", OTHER)] {
        let probe = probe_on(&world, node).await;
        tell(&world, &probe, &PodStep::Completed).await;
        until_answered(&world, runtime, true).await;
        until_gone(&world, &probe).await;
    }

    let pod = refuse(&world, "dev", "one", json!({})).await;
    let copies = |status: &WorkspaceStatus| delivery(status) == Some(Delivery::Copy);
    let before = world.until("dev", "a start that goes over", copies).await;
    let status = run_after(&world, "dev", &pod).await;
    assert_eq!(status.failure, None);
    assert_eq!(
        status.start_requested_at, before.start_requested_at,
        "it is the same start"
    );
    let said = status.tools.as_ref().unwrap().refused.clone().unwrap();
    assert!(
        said.contains("node one") && said.contains("permission denied"),
        "{said}"
    );
    let steps: Vec<StartStep> = status.timeline.iter().map(|step| step.step).collect();
    assert!(steps.contains(&StartStep::ToolsRefused), "{steps:?}");
    assert_eq!(steps.last(), Some(&StartStep::Running));
    eventually("an Event", || async {
        let events = world
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        events
            .into_iter()
            .find(|event| event.reason.as_deref() == Some("ToolsUnavailable"))
    })
    .await;

    // The node itself is asked. What was the fault of one image is no reason for others to copy.
    let probe = probe_on(&world, "one").await;
    tell(&world, &probe, &PodStep::Completed).await;
    until_gone(&world, &probe).await;
    world.create("other", json!({})).await;
    until_delivered(&world, "other", Delivery::ImageVolume).await;

    // That one start need not be refused twice.
    world.want("dev", "Stopped").await;
    world.until_state("dev", ActualState::Stopped).await;
    world.want("dev", "Running").await;
    let again = world.pod("dev", None).await;
    world.kubelet.report(&again, &PodStep::Ready).await.unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert!(copies(&status) && status.start_requested_at > before.start_requested_at);
    assert!(
        status
            .timeline
            .iter()
            .all(|step| step.step != StartStep::ToolsRefused)
    );
    assert_eq!(status.revision.unwrap().pending, Vec::new());

    // What the node says of its own probe counts for all.
    let pod = refuse(&world, "second", "two", json!({})).await;
    let probe = probe_on(&world, "two").await;
    tell(&world, &probe, &waits("RunContainerError", NOEXEC)).await;
    until_answered(&world, OTHER, false).await;
    run_after(&world, "second", &pod).await;
    world.create("third", json!({})).await;
    until_delivered(&world, "third", Delivery::Copy).await;

    // A class that wants them mounted is told, and nothing is done behind its back.
    let class = format!("{}-strict", world.class);
    world
        .set_class(&class, json!({"tools": {"delivery": "ImageVolume"}}))
        .await;
    refuse(&world, "strict", "one", json!({"className": class})).await;
    let failure = world.until_failed("strict", Cause::ToolsUnavailable).await;
    assert!(failure.next_step.contains("tools.delivery"), "{failure:?}");
    until_delivered(&world, "strict", Delivery::ImageVolume).await;
    process.stop().await.unwrap();
}
