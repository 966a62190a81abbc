//! The controller as the chart starts it: the real binary, as its own ServiceAccount, with the rights of the chart.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use workstead::api::{GitSync, Workspace};
use workstead::testkit::kubelet::{Kubelet, PodStep, mk_node_of};
use workstead::testkit::wait::{eventually, within};
use workstead::testkit::{ControlPlane, GitServer};

use crate::chart::{CONTROLLER, install};
use crate::processes::Program;

fn file(name: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n\
         spec: {{owner: alice, image: debian, endpoints: [{{name: web, port: 3000}}]}}\n"
    )
}

/// Lets the controller try a node: the probe, what it found out, and the end of the probe.
async fn try_a_node(plane: &ControlPlane, controller: &Program) {
    const INSTALLATION: &str = "workstead-system";
    // A controller-manager would have made it.
    let account = crate::object(json!({"metadata": {"name": "default"}}));
    Api::<ServiceAccount>::namespaced(plane.client(), INSTALLATION)
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    mk_node_of(plane.client(), "node", "containerd://2.4.2")
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(plane.client(), INSTALLATION);
    let probe = within(Duration::from_secs(60), async || {
        let list = pods.list(&ListParams::default()).await.unwrap();
        list.into_iter().next()
    });
    let probe = probe
        .await
        .unwrap_or_else(|| panic!("no probe:\n{}", controller.log()));
    Kubelet::new(plane.client(), INSTALLATION)
        .report(&probe.name_any(), &PodStep::Completed)
        .await
        .unwrap();
    let known: Api<ConfigMap> = Api::namespaced(plane.client(), INSTALLATION);
    let done = within(Duration::from_secs(60), async || {
        let written = known.get_opt("workstead-image-volumes").await.unwrap();
        let gone = pods.get_opt(&probe.name_any()).await.unwrap().is_none();
        written.filter(|_| gone)
    });
    assert!(
        done.await.is_some(),
        "not written down:\n{}",
        controller.log()
    );
}

#[tokio::test]
async fn the_chart_allows_the_controller_all_that_it_asks_for_from_push_to_prune() {
    let plane = ControlPlane::start().await.unwrap();
    install(&plane, &[]).unwrap();
    let namespace = plane.namespace("role").await.unwrap();
    let server = GitServer::start();
    let repository = server.repository("team");
    repository.commit(&[("a.yaml", &file("kept")), ("b.yaml", &file("leaving"))]);
    let kubeconfig = plane.kubeconfig_of("workstead-system", "workstead-controller");
    let state = tempfile::tempdir().unwrap();
    let mut controller = Program::start(&kubeconfig.await.unwrap(), state.path(), &[]);

    let gitsyncs: Api<GitSync> = Api::namespaced(plane.client(), &namespace);
    let gitsync = crate::object(json!({
        "metadata": {"name": "team"},
        "spec": {"url": repository.url(), "interval": "5s", "deletionPolicy": "Delete"},
    }));
    gitsyncs
        .create(&PostParams::default(), &gitsync)
        .await
        .unwrap();
    try_a_node(&plane, &controller).await;
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), &namespace);
    for name in ["kept", "leaving"] {
        let made = within(Duration::from_secs(60), async || {
            deployments.get_opt(name).await.unwrap()
        });
        assert!(
            made.await.is_some(),
            "no Deployment {name}:\n{}",
            controller.log()
        );
    }

    repository.change().delete("b.yaml").commit();
    let workspaces: Api<Workspace> = Api::namespaced(plane.client(), &namespace);
    let ask = Patch::Merge(json!({"metadata": {"annotations": {
        "workstead.dev/reconcile-requested-at": "now",
    }}}));
    gitsyncs
        .patch("team", &PatchParams::default(), &ask)
        .await
        .unwrap();
    eventually("the prune", async || {
        workspaces
            .get_opt("leaving")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    workspaces
        .patch(
            "kept",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"desiredState": "Terminated"}})),
        )
        .await
        .unwrap();
    gitsyncs.delete("team", &Default::default()).await.unwrap();
    eventually("the GitSync's end", async || {
        gitsyncs
            .get_opt("team")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(controller.end().await, Some(0), "{}", controller.log());

    let refused: BTreeSet<String> = plane
        .audit()
        .unwrap()
        .iter()
        .filter(|event| event.user() == CONTROLLER)
        .filter(|event| {
            event
                .response_status
                .as_ref()
                .is_some_and(|status| status.code == 403)
        })
        .map(|event| format!("{} {}", event.verb, event.request_uri))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}\n{}", controller.log());
}
