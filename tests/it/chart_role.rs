//! The controller as the chart starts it: the real binary, as its own ServiceAccount, with the rights of the chart.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
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

/// Whom to seal for is published for everybody and put right, and what opens it is for the controller alone.
async fn put_recipients_right(plane: &ControlPlane, controller: &Program) {
    const INSTALLATION: &str = "workstead-system";
    const MAP: &str = "workstead-recipients";
    const SECRET: &str = "workstead-identities";
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), INSTALLATION);
    let secrets: Api<Secret> = Api::namespaced(plane.client(), INSTALLATION);
    let right = maps.get(MAP).await.unwrap().data.unwrap();
    for edit in [
        json!({"data": null}),
        json!({"data": null, "immutable": true}),
    ] {
        maps.patch(MAP, &PatchParams::default(), &Patch::Merge(edit))
            .await
            .unwrap();
        let done = within(Duration::from_secs(60), async || {
            let now = maps.get_opt(MAP).await.unwrap()?;
            (now.data.as_ref() == Some(&right)).then_some(())
        });
        assert!(done.await.is_some(), "not put right:\n{}", controller.log());
    }

    let anybody = plane.client_as("alice", &["system:authenticated"]);
    let read: Api<ConfigMap> = Api::namespaced(anybody.clone(), INSTALLATION);
    assert_eq!(read.get(MAP).await.unwrap().data.unwrap(), right);
    read.get("workstead-image-volumes").await.unwrap_err();
    read.list(&ListParams::default()).await.unwrap_err();
    read.delete(MAP, &DeleteParams::default())
        .await
        .unwrap_err();
    let read: Api<Secret> = Api::namespaced(anybody, INSTALLATION);
    read.get(SECRET).await.unwrap_err();

    let data = secrets.get(SECRET).await.unwrap().data.unwrap();
    let text = String::from_utf8(data["identities.txt"].0.clone()).unwrap();
    let encoded = serde_json::to_value(&data["identities.txt"]).unwrap();
    let key = text
        .lines()
        .find(|line| line.starts_with("AGE-SECRET-KEY-1"));
    for canary in [key.unwrap(), encoded.as_str().unwrap()] {
        assert!(!controller.log().contains(canary), "the log holds the key");
        assert!(!format!("{right:?}").contains(canary));
    }
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
    put_recipients_right(&plane, &controller).await;
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
