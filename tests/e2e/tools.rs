//! How tools get in: whether nodes mount them is found out, and a start that a node refuses goes over to copying.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams};
use serde_json::Value;
use workstead::api::Workspace;
use workstead::api::class::Delivery;
use workstead::api::workspace::{ActualState, StartStep};
use workstead::testkit::wait::within;

use crate::harness::{Cluster, INSTALLATION, OwnNode, debian_image, may_disrupt, skipped};

/// An image that is pulled first, a probe after that, and a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Waits until every answer that is written down says this, and no probe is left.
async fn until_known(cluster: &Cluster, works: bool) -> BTreeMap<String, String> {
    let known: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), INSTALLATION);
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), INSTALLATION);
    let probes = ListParams::default().labels("workstead.dev/probe=image-volumes");
    let found = within(LIMIT, async || {
        let found = known.get_opt("workstead-image-volumes").await.unwrap();
        let data = found?.data?;
        let says = |text: &String| {
            let answer: Value = serde_json::from_str(text).unwrap();
            answer["works"] == Value::Bool(works)
        };
        let left = pods.list(&probes).await.unwrap().items.len();
        (left == 0 && !data.is_empty() && data.values().all(says)).then_some(data)
    });
    let events = || cluster.kubectl(&["get", "events", "-n", INSTALLATION]);
    found
        .await
        .unwrap_or_else(|| panic!("no answer that says {works}:\n{}", events()))
}

fn create(cluster: &Cluster, namespace: &str, name: &str) {
    let image = debian_image();
    cluster.apply(&format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{owner: kim@example.com, className: standard, image: \"{image}\", storage: {{size: 1Gi}}}}\n"
    ));
}

async fn run(cluster: &Cluster, namespace: &str, name: &str, delivery: Delivery) -> Workspace {
    create(cluster, namespace, name);
    let ran = cluster
        .await_state(namespace, name, LIMIT, ActualState::Running)
        .await;
    let tools = ran.status.as_ref().unwrap().tools.clone().unwrap();
    assert_eq!(tools.delivery, delivery, "{name}: {tools:?}");
    ran
}

fn went_over(workspace: &Workspace) -> bool {
    let status = workspace.status.as_ref().unwrap();
    let mut steps = status.timeline.iter();
    steps.any(|step| step.step == StartStep::ToolsRefused)
}

fn why(cluster: &Cluster, namespace: &str, name: &str) -> String {
    let told = cluster.workstead(&["why", name, "-n", namespace]);
    told.success()
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_node_that_mounts_tools_is_known_and_one_that_refuses_has_them_copied() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("tools").await;
    let known = until_known(&cluster, true).await;
    println!("{known:#?}");
    let mounted = run(&cluster, &namespace, "mounted", Delivery::ImageVolume).await;
    assert!(!went_over(&mounted));
    let told = why(&cluster, &namespace, "mounted");
    assert!(told.contains("mounted"), "{told}");
    match OwnNode::here() {
        Some(node) if may_disrupt("a node that refuses image volumes for a while") => {
            node.refuse_image_volumes();
            refused(&cluster, &namespace).await;
            node.accept_image_volumes();
            forget(&cluster);
            until_known(&cluster, true).await;
            run(&cluster, &namespace, "again", Delivery::ImageVolume).await;
        }
        Some(_) => {}
        None => skipped("a node that refuses image volumes for a while: it is not ours"),
    }
    cluster.delete_namespace(&namespace).await;
}

/// A start that is refused goes over to copying and runs; the node is found out, and the next one copies at once.
async fn refused(cluster: &Cluster, namespace: &str) {
    let switched = run(cluster, namespace, "switched", Delivery::Copy).await;
    assert!(went_over(&switched), "{:#?}", switched.status);
    let status = switched.status.unwrap();
    assert_eq!(status.failure, None);
    let said = status.tools.unwrap().refused.unwrap();
    assert!(said.contains("image volume"), "{said}");
    let told = why(cluster, namespace, "switched");
    assert!(
        told.contains("copied, since they can't be mounted"),
        "{told}"
    );
    until_known(cluster, false).await;
    let copied = run(cluster, namespace, "copied", Delivery::Copy).await;
    assert!(!went_over(&copied));
}

/// What an administrator does who has mended a node.
fn forget(cluster: &Cluster) {
    let all = ["-n", INSTALLATION];
    let run = |command: &[&str]| cluster.kubectl(&[command, &all].concat());
    run(&["delete", "configmap", "workstead-image-volumes"]);
    run(&["rollout", "restart", "deployment/workstead-controller"]);
    run(&[
        "rollout",
        "status",
        "deployment/workstead-controller",
        "--timeout=120s",
    ]);
}
