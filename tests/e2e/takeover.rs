//! Another release of the controller takes over while workspaces run.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use workstead::api::workspace::{ActualState, ChangeEffect};
use workstead::controllers::{ControllerConfig, Parts, Scope};
use workstead::testkit::process::{Process, mk_config};
use workstead::testkit::renderer::NextRelease;

use crate::harness::{Cluster, INSTALLATION, debian_image, may_disrupt};

const LIMIT: Duration = Duration::from_secs(120);
const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the node, with nobody else at work on it"]
async fn a_changed_renderer_restarts_none_of_five_and_plan_names_them_all() {
    if !may_disrupt("another release of the controller takes over") {
        return;
    }
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("takeover").await;
    for name in NAMES {
        cluster.apply(&format!(
            "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{owner: kim@example.com, className: standard, image: \"{}\", storage: {{size: 1Gi}}}}\n",
            debian_image()
        ));
    }
    let mut before = Vec::new();
    for name in NAMES {
        cluster
            .await_state(&namespace, name, LIMIT, ActualState::Running)
            .await;
        before.push(cluster.pods(&namespace, name).await[0].metadata.uid.clone());
    }

    // The installed release hands over to one that renders pods differently.
    let deployment = "deployment/workstead-controller";
    let scale = |replicas: &str| {
        cluster.kubectl(&["scale", deployment, "-n", INSTALLATION, replicas]);
        cluster.kubectl(&[
            "rollout",
            "status",
            deployment,
            "-n",
            INSTALLATION,
            "--timeout=60s",
        ]);
    };
    let config = config(&cluster).await;
    scale("--replicas=0");
    let parts = Parts {
        renderer: Arc::new(NextRelease),
        ..Parts::default()
    };
    let next = Process::start_with(config, cluster.client.clone(), parts);
    for name in NAMES {
        let seen = cluster
            .await_workspace(
                &namespace,
                name,
                LIMIT,
                "to say what waits for a start",
                |w| {
                    let revision = w.status.as_ref().and_then(|s| s.revision.as_ref());
                    revision.is_some_and(|revision| !revision.pending.is_empty())
                },
            )
            .await;
        let status = seen.status.unwrap();
        assert_eq!(status.actual_state, Some(ActualState::Running));
        let pending = status.revision.unwrap().pending;
        assert!(
            pending.iter().all(|c| c.effect == ChangeEffect::NextStart),
            "{pending:?}"
        );
    }
    let plan = cluster.workstead(&["plan", "-n", &namespace]).success();
    for (name, uid) in NAMES.iter().zip(&before) {
        // The whole word: "one" is in "none" too.
        let named = format!("{namespace}/{name}");
        assert!(plan.split_whitespace().any(|word| word == named), "{plan}");
        let pods = cluster.pods(&namespace, name).await;
        assert_eq!(pods.len(), 1, "{name} was restarted");
        assert_eq!(&pods[0].metadata.uid, uid, "{name} was restarted");
    }
    next.stop().await.unwrap();
    scale("--replicas=1");
    cluster.delete_namespace(&namespace).await;
}

/// As the installed controller is configured, but for its servers.
async fn config(cluster: &Cluster) -> ControllerConfig {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), INSTALLATION);
    let installed = deployments.get("workstead-controller").await.unwrap();
    let containers = installed.spec.unwrap().template.spec.unwrap().containers;
    ControllerConfig {
        scope: Scope::default(),
        // The image whose tools are mounted is the controller's own.
        tools_image: containers[0].image.clone().unwrap(),
        ..mk_config(
            INSTALLATION,
            "next-release",
            env!("CARGO_BIN_EXE_workstead"),
        )
    }
}
