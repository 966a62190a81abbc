//! The test kit itself, and the behaviour of the API server that we rely on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use workstead::testkit::ControlPlane;
use workstead::testkit::kubelet::{Kubelet, PodStep, mk_node};
use workstead::testkit::wait::{eventually, within};

use crate::object;

fn gone(process: u32) -> bool {
    !Path::new(&format!("/proc/{process}")).exists()
}

#[tokio::test]
async fn a_control_plane_answers_and_stops_with_its_value() {
    let plane = ControlPlane::start().await.unwrap();
    let version = plane.client().apiserver_version().await.unwrap();
    assert_eq!(version.major, "1");
    let processes = ["etcd", "kube-apiserver"].map(|name| plane.process_id(name).unwrap());
    let folder = plane.kubeconfig().parent().unwrap().to_owned();
    assert!(folder.exists());
    drop(plane);
    assert!(processes.into_iter().all(gone));
    assert!(!folder.exists());
}

/// Not a test of its own: what the next one starts as another process and kills.
#[tokio::test]
#[ignore = "run by a_killed_test_process_leaves_nothing_behind"]
async fn helper_that_starts_a_control_plane_and_never_ends() {
    let plane = ControlPlane::start().await.unwrap();
    let folder = plane.kubeconfig().parent().unwrap().to_owned();
    let pids = ["etcd", "kube-apiserver"].map(|name| plane.process_id(name).unwrap());
    println!("started {} {} {}", folder.display(), pids[0], pids[1]);
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[tokio::test]
async fn a_killed_test_process_leaves_nothing_behind() {
    use std::io::{BufRead as _, BufReader};
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("kit::helper_that_starts_a_control_plane_and_never_ends")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("started ").map(|(_, rest)| rest.to_owned()))
        .expect("the helper says what it started");
    let words: Vec<&str> = line.split_whitespace().collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let processes: Vec<u32> = words[1..]
        .iter()
        .map(|word| word.parse().unwrap())
        .collect();
    eventually("the keeper to clean up", || async {
        let clean = processes.iter().all(|process| gone(*process)) && !Path::new(words[0]).exists();
        clean.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_shared_control_plane_serves_our_kinds_to_every_test() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("shared").await.unwrap();
    let api: Api<workstead::api::Workspace> = Api::namespaced(plane.client(), &namespace);
    assert!(
        api.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_client_acts_as_the_user_that_the_audit_log_names() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("audit").await.unwrap();
    let client = plane.client_as("alice@example.com", &["team-a", "team-b"]);
    let refused = Api::<ConfigMap>::namespaced(client, &namespace)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("alice@example.com"),
        "{refused}"
    );
    let event = eventually("the audit log to name the request", || async {
        plane.audit().unwrap().into_iter().find(|event| {
            event.user() == "alice@example.com"
                && event
                    .object_ref
                    .as_ref()
                    .is_some_and(|o| o.namespace == namespace)
        })
    })
    .await;
    assert_eq!((event.verb.as_str(), event.is_write()), ("list", false));
    assert_eq!(event.response_status.unwrap().code, 403);
}

#[tokio::test]
async fn a_kubeconfig_of_a_service_account_carries_a_token_that_the_server_knows() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("account").await.unwrap();
    let path = plane.kubeconfig_of(&namespace, "default").await.unwrap();
    let file = kube::config::Kubeconfig::read_from(path).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &Default::default())
        .await
        .unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let refused = Api::<ConfigMap>::namespaced(client, &namespace)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    let name = format!("system:serviceaccount:{namespace}:default");
    assert!(refused.to_string().contains(&name), "{refused}");
}

fn mk_deployment(name: &str) -> Deployment {
    let labels = json!({"app": name});
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "registry.example.com/dev:1"}]},
            },
        },
    }))
}

#[tokio::test]
async fn a_test_moves_a_pod_as_the_kubelet_would() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("kubelet").await.unwrap();
    let client = plane.client();
    mk_node(client.clone(), "kit-node").await.unwrap();
    Api::<Deployment>::namespaced(client.clone(), &namespace)
        .create(&PostParams::default(), &mk_deployment("dev"))
        .await
        .unwrap();
    let kubelet = Kubelet::new(client, &namespace);
    let pod = kubelet.mk_pod_of("dev").await.unwrap().name_any();
    let unschedulable = PodStep::Unschedulable("0/1 nodes are available".to_owned());
    let phase = |pod: &Pod| pod.status.as_ref().unwrap().phase.clone().unwrap();
    assert_eq!(
        phase(&kubelet.report(&pod, &unschedulable).await.unwrap()),
        "Pending"
    );
    kubelet.bind(&pod, "kit-node").await.unwrap();
    let ready = kubelet.report(&pod, &PodStep::Ready).await.unwrap();
    assert_eq!(phase(&ready), "Running");
    assert_eq!(ready.spec.unwrap().node_name.as_deref(), Some("kit-node"));
    let evicted = PodStep::Failed {
        reason: "Evicted".to_owned(),
        message: "The node was low on resource: memory.".to_owned(),
    };
    assert_eq!(
        phase(&kubelet.report(&pod, &evicted).await.unwrap()),
        "Failed"
    );
    kubelet.report_deployment("dev", 1, 0).await.unwrap();
    kubelet.remove_pods("app=dev").await.unwrap();
}

#[tokio::test]
async fn with_a_controller_manager_a_deployment_makes_its_pod() {
    let plane = ControlPlane::start().await.unwrap();
    plane.start_controller_manager().await.unwrap();
    let namespace = plane.namespace("manager").await.unwrap();
    Api::<Deployment>::namespaced(plane.client(), &namespace)
        .create(&PostParams::default(), &mk_deployment("dev"))
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(plane.client(), &namespace);
    eventually("a pod of the Deployment", || async {
        pods.list(&ListParams::default()).await.unwrap().items.pop()
    })
    .await;
}

#[tokio::test]
async fn server_behaviour_an_apply_drops_the_fields_that_it_no_longer_sends() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("ssa").await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let params = PatchParams::apply("workstead/one").force();
    for data in [json!({"a": "1", "b": "2"}), json!({"b": "2"})] {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data,
        });
        api.patch("c", &params, &Patch::Apply(&body)).await.unwrap();
    }
    let data = api.get("c").await.unwrap().data.unwrap();
    assert_eq!(
        data.into_iter().collect::<Vec<_>>(),
        [("b".to_owned(), "2".to_owned())]
    );
}

#[tokio::test]
async fn server_behaviour_the_same_apply_again_moves_no_resource_version() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("ssa").await.unwrap();
    let api: Api<Deployment> = Api::namespaced(plane.client(), &namespace);
    let params = PatchParams::apply("workstead/one").force();
    let body = mk_deployment("dev");
    let first = api
        .patch("dev", &params, &Patch::Apply(&body))
        .await
        .unwrap();
    let second = api
        .patch("dev", &params, &Patch::Apply(&body))
        .await
        .unwrap();
    assert_eq!(first.resource_version(), second.resource_version());
}

#[tokio::test]
async fn server_behaviour_an_apply_with_a_version_that_nothing_has_creates_and_never_changes() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("ssa").await.unwrap();
    let api: Api<workstead::api::Workspace> = Api::namespaced(plane.client(), &namespace);
    let params = PatchParams::apply("workstead/one").force();
    let body = |image: &str| {
        Patch::Apply(json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
            "metadata": {"name": "dev", "resourceVersion": "1"},
            "spec": {"owner": "alice@example.com", "image": image},
        }))
    };
    let made = api.patch("dev", &params, &body("i:1")).await.unwrap();
    assert_ne!(made.resource_version().as_deref(), Some("1"));
    let refused = api.patch("dev", &params, &body("i:2")).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.is_conflict()),
        "{refused}"
    );
    let kept = api.get("dev").await.unwrap();
    assert_eq!(kept.resource_version(), made.resource_version());
}

#[tokio::test]
async fn server_behaviour_a_status_write_does_not_raise_the_generation() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("status").await.unwrap();
    let api: Api<workstead::api::Workspace> = Api::namespaced(plane.client(), &namespace);
    let workspace = object(json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "dev"},
        "spec": {"owner": "alice@example.com", "image": "registry.example.com/dev:1"},
    }));
    let before = api
        .create(&PostParams::default(), &workspace)
        .await
        .unwrap();
    let status = Patch::Merge(json!({"status": {"actualState": "Running"}}));
    let after = api
        .patch_status("dev", &PatchParams::default(), &status)
        .await
        .unwrap();
    assert_eq!(before.metadata.generation, after.metadata.generation);
    assert_ne!(before.resource_version(), after.resource_version());
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline() {
    let answer: Option<()> = within(Duration::from_millis(50), || async { None }).await;
    assert!(answer.is_none());
}
