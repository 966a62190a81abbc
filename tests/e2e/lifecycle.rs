//! Stop, start, restart and terminate, by a person and by Git.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, DeleteParams};
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::wait::within;

use crate::harness::{Cluster, Repository, debian_image};

const LIMIT: Duration = Duration::from_secs(90);

fn is(state: ActualState) -> impl Fn(&Workspace) -> bool {
    move |w| {
        w.status.as_ref().is_some_and(|s| {
            s.actual_state == Some(state) && s.observed_generation == w.metadata.generation
        })
    }
}

fn workspace(namespace: &str, more: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: api, namespace: {namespace}}}\nspec:\n  owner: kim@example.com\n  className: standard\n  image: {}\n  storage: {{size: 1Gi}}\n  endpoints: [{{name: web, port: 3000}}]\n{more}",
        debian_image()
    )
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_person_stops_starts_restarts_and_terminates_and_the_work_is_kept() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("life").await;
    let yaml = workspace(&namespace, "");
    cluster.apply(&yaml);
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    let exec = |script: &str| {
        cluster.kubectl(&[
            "exec",
            "-n",
            &namespace,
            "deployment/api",
            "--",
            "sh",
            "-c",
            script,
        ])
    };
    exec("echo mine > /projects/file");
    let verb = |verb: &str| {
        cluster
            .workstead(&[verb, "api", "-n", &namespace, "--wait"])
            .success()
    };

    verb("stop");
    cluster
        .await_workspace(
            &namespace,
            "api",
            LIMIT,
            "to stop",
            is(ActualState::Stopped),
        )
        .await;
    assert!(cluster.pods(&namespace, "api").await.is_empty());
    verb("start");
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    assert_eq!(exec("cat /projects/file").trim(), "mine");

    let before = cluster.pods(&namespace, "api").await[0]
        .metadata
        .uid
        .clone();
    verb("restart");
    let restarted = cluster
        .await_workspace(&namespace, "api", LIMIT, "to run again", |w| {
            is(ActualState::Running)(w)
                && w.status
                    .as_ref()
                    .is_some_and(|s| s.last_handled_restart_at.is_some())
        })
        .await;
    assert!(restarted.status.unwrap().restart.is_none());
    let after = cluster.pods(&namespace, "api").await;
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].metadata.uid, before, "the same pod runs on");

    cluster.apply(&workspace(&namespace, "  desiredState: Terminated\n"));
    let terminated = cluster
        .await_workspace(
            &namespace,
            "api",
            LIMIT,
            "to terminate",
            is(ActualState::Terminated),
        )
        .await;
    let volume = terminated
        .status
        .unwrap()
        .volume
        .expect("status names the volume");
    assert!(volume.retained, "{volume:?}");
    let volumes: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &namespace);
    assert!(
        volumes
            .get(&volume.name)
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );

    // Final, until it is deleted and made again; then the same owner finds the work.
    cluster.kubectl(&["delete", "workspace", "api", "-n", &namespace]);
    cluster.apply(&yaml);
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    assert_eq!(exec("cat /projects/file").trim(), "mine");
    cluster.delete_namespace(&namespace).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn the_volume_of_another_owner_is_refused() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("foreign").await;
    cluster.apply(&workspace(&namespace, ""));
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    cluster.kubectl(&["delete", "workspace", "api", "-n", &namespace]);
    cluster.apply(&workspace(&namespace, "").replace("kim@", "eve@"));
    let refused = cluster
        .await_workspace(&namespace, "api", LIMIT, "to be refused", |w| {
            w.status.as_ref().is_some_and(|s| s.failure.is_some())
        })
        .await;
    let failure = refused.status.unwrap().failure.unwrap();
    assert_eq!(format!("{:?}", failure.cause), "VolumeForeign");
    let told = format!("{} {}", failure.message, failure.evidence);
    assert!(
        told.contains("kim@example.com") && told.contains("eve@example.com"),
        "{told}"
    );
    cluster.delete_namespace(&namespace).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn where_git_sets_the_run_state_stop_refuses_and_names_the_file() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("decided").await;
    let repository = Repository::create(&cluster, &namespace);
    let text = workspace(&namespace, "  desiredState: Running\n");
    repository.write("team/api.yaml", &text);
    repository.push("Add a workspace that runs");
    cluster.apply(&format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {{name: team, namespace: {namespace}}}\nspec: {{url: {}, ref: {{branch: main}}}}\n",
        repository.cluster_url
    ));
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    let refused = cluster.workstead(&["stop", "api", "-n", &namespace]);
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.stderr.contains("team/api.yaml"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        cluster
            .workspaces(&namespace)
            .get("api")
            .await
            .unwrap()
            .status
            .unwrap()
            .actual_state,
        Some(ActualState::Running)
    );
    cluster.delete_namespace(&namespace).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_deployment_that_is_deleted_or_edited_by_hand_is_repaired() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("repair").await;
    cluster.apply(&workspace(&namespace, ""));
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), &namespace);
    let first = deployments.get("api").await.unwrap();

    cluster.kubectl(&[
        "scale",
        "deployment",
        "api",
        "-n",
        &namespace,
        "--replicas=3",
    ]);
    cluster.kubectl(&[
        "set",
        "image",
        "deployment/api",
        "-n",
        &namespace,
        "workspace=localhost/other:1",
    ]);
    let repaired = within(LIMIT, || async {
        let now = deployments.get("api").await.unwrap();
        let (spec, wanted) = (now.spec.unwrap(), first.spec.as_ref().unwrap());
        (spec.replicas == Some(1) && spec.template == wanted.template).then_some(())
    })
    .await;
    assert!(repaired.is_some(), "the edits stay");

    deployments
        .delete("api", &DeleteParams::background())
        .await
        .unwrap();
    let again = within(LIMIT, || async {
        deployments
            .get_opt("api")
            .await
            .unwrap()
            .filter(|d| d.metadata.uid != first.metadata.uid)
    })
    .await;
    assert!(again.is_some(), "the Deployment was not made again");
    cluster
        .await_workspace(&namespace, "api", LIMIT, "to run", is(ActualState::Running))
        .await;
    cluster.delete_namespace(&namespace).await;
}
