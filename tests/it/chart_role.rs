//! The controller as the chart starts it: the real binary, as its own ServiceAccount, with the rights of the chart.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use workstead::api::{GitSync, Workspace};
use workstead::testkit::wait::{eventually, within};
use workstead::testkit::{ControlPlane, GitServer};

use crate::chart::{CONTROLLER, install};

/// A running controller. Dropping it kills it.
struct Controller {
    child: Child,
    state: tempfile::TempDir,
}

impl Controller {
    async fn start(plane: &ControlPlane) -> Self {
        let kubeconfig = plane
            .kubeconfig_of("workstead-system", "workstead-controller")
            .await
            .unwrap();
        let state = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(state.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_workstead"))
            .args(["controller", "--kubeconfig", kubeconfig.to_str().unwrap()])
            .args([
                "--health-address",
                "127.0.0.1:0",
                "--webhook-address",
                "127.0.0.1:0",
            ])
            .env("WORKSTEAD_TOOLS_IMAGE", "workstead:test")
            .env("WORKSTEAD_NAMESPACE", "workstead-system")
            .env("WORKSTEAD_STATE_DIRECTORY", state.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, state }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.state.path().join("log")).unwrap()
    }

    /// Asks it to end as the kubelet does, and gives its exit code.
    async fn end(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let ended = within(Duration::from_secs(30), || {
            std::future::ready(self.child.try_wait().unwrap())
        })
        .await;
        ended.expect("it ends within its grace period").code()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(name: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n\
         spec: {{owner: alice, image: debian, endpoints: [{{name: web, port: 3000}}]}}\n"
    )
}

#[tokio::test]
async fn the_chart_allows_the_controller_all_that_it_asks_for_from_push_to_prune() {
    let plane = ControlPlane::start().await.unwrap();
    install(&plane, &[]).unwrap();
    let namespace = plane.namespace("role").await.unwrap();
    let server = GitServer::start();
    let repository = server.repository("team");
    repository.commit(&[("a.yaml", &file("kept")), ("b.yaml", &file("leaving"))]);
    let mut controller = Controller::start(&plane).await;

    let gitsyncs: Api<GitSync> = Api::namespaced(plane.client(), &namespace);
    let gitsync = crate::object(json!({
        "metadata": {"name": "team"},
        "spec": {"url": repository.url(), "interval": "5s", "deletionPolicy": "Delete"},
    }));
    gitsyncs
        .create(&PostParams::default(), &gitsync)
        .await
        .unwrap();
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
