//! The controller dies, or comes back as another version.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use workstead::testkit::kubelet::is_ready;
use workstead::testkit::wait::within;

use crate::harness::{Cluster, INSTALLATION, OwnNode, Repository, may_disrupt, tiny_image};

const LIMIT: Duration = Duration::from_secs(120);

fn workspace(name: &str, value: usize) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\nspec:\n  owner: kim@example.com\n  className: standard\n  desiredState: Stopped\n  image: {}\n  env: [{{name: ROUND, value: \"{value}\"}}]\n",
        tiny_image()
    )
}

/// Kills the controller's process without a word; where the node is not ours, its pod.
async fn kill_controller(cluster: &Cluster) {
    if let Some(node) = OwnNode::here() {
        // The kubelet waits longer after each kill: there may be no process just now.
        let killed = within(LIMIT, || async {
            let killed = node.exec(&["pkill", "-9", "-f", "workstead controller"]);
            killed.status.success().then_some(())
        })
        .await;
        assert!(killed.is_some(), "no controller was there to be killed");
    } else {
        let pods = ["-l", "app.kubernetes.io/name=workstead"];
        let now = ["--grace-period=0", "--force"];
        let delete = [&["delete", "pod", "-n", INSTALLATION][..], &pods, &now];
        cluster.kubectl(&delete.concat());
    }
}

#[tokio::test]
#[ignore = "needs the node"]
async fn kill_9_in_the_middle_of_a_stream_of_commits_ends_at_the_last_commit() {
    if !may_disrupt("kill -9 of the controller") {
        return;
    }
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("killed").await;
    let repository = Repository::create(&cluster, &namespace);
    for name in ["a", "b", "c"] {
        repository.write(&format!("{name}.yaml"), &workspace(name, 0));
    }
    repository.push("Begin");
    cluster.apply(&format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {{name: team, namespace: {namespace}}}\nspec: {{url: {}, ref: {{branch: main}}, interval: 5s}}\n",
        repository.cluster_url
    ));
    cluster
        .await_workspace(&namespace, "a", LIMIT, "to be applied", |_| true)
        .await;
    let mut last = String::new();
    let rounds = if std::env::var_os("WORKSTEAD_LONG").is_some() {
        120
    } else {
        12
    };
    for round in 1..=rounds {
        for name in ["a", "b", "c"] {
            repository.write(&format!("{name}.yaml"), &workspace(name, round));
        }
        repository.write(
            &format!("extra-{}.yaml", round % 3),
            &workspace(&format!("extra-{}", round % 3), round),
        );
        last = repository.push(&format!("Round {round}"));
        // The request may meet no controller: the interval brings the commit then.
        cluster
            .workstead(&["sync", "team", "-n", &namespace])
            .success();
        if round % 4 == 0 {
            kill_controller(&cluster).await;
        }
    }
    cluster
        .await_sync(
            &namespace,
            "team",
            LIMIT,
            "to end at the last commit",
            |s| {
                s.status
                    .as_ref()
                    .and_then(|s| s.last_applied_revision.as_ref())
                    .is_some_and(|revision| revision.ends_with(&last))
            },
        )
        .await;
    let all = cluster
        .workspaces(&namespace)
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let mut seen: Vec<(String, String)> = all
        .into_iter()
        .map(|w| (w.metadata.name.unwrap(), w.spec.env[0].value.clone()))
        .collect();
    seen.sort();
    // The number of rounds is a multiple of three.
    let expected: Vec<(String, String)> = [
        ("a", rounds),
        ("b", rounds),
        ("c", rounds),
        ("extra-0", rounds),
        ("extra-1", rounds - 2),
        ("extra-2", rounds - 1),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .into();
    assert_eq!(seen, expected);
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), INSTALLATION);
    let back = within(LIMIT, || async {
        let list = ListParams::default().labels("app.kubernetes.io/name=workstead");
        let pods = pods.list(&list).await.unwrap().items;
        pods.iter().any(is_ready).then_some(())
    })
    .await;
    assert!(back.is_some(), "the controller is not ready again");
    cluster.delete_namespace(&namespace).await;
}
