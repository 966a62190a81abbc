//! From a push to what runs, and what a repository can and can't do to people's work.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, ListParams};
use workstead::api::GitSync;
use workstead::api::workspace::{ActualState, StartStep};
use workstead::testkit::wait::within;

use crate::harness::{Cluster, Repository, condition, debian_image, tiny_image};

const LIMIT: Duration = Duration::from_secs(90);

fn workspace(name: &str, owner: &str, image: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec:\n  owner: {owner}\n  className: standard\n  image: {image}\n  storage: {{size: 1Gi}}\n"
    )
}

fn stopped(name: &str) -> String {
    workspace(name, "kim@example.com", &tiny_image()) + "  desiredState: Stopped\n"
}

fn sync(namespace: &str, repository: &Repository) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {{name: team, namespace: {namespace}}}\nspec: {{url: {}, ref: {{branch: main}}, path: workspaces, interval: 5m}}\n",
        repository.cluster_url
    )
}

fn applied(sync: &GitSync, commit: &str) -> bool {
    sync.status
        .as_ref()
        .and_then(|s| s.last_applied_revision.as_ref())
        .is_some_and(|revision| revision.ends_with(commit))
}

fn attempted(sync: &GitSync, commit: &str) -> bool {
    sync.status
        .as_ref()
        .and_then(|s| s.last_attempted_revision.as_ref())
        .is_some_and(|revision| revision.ends_with(commit))
}

/// Asks for a pass and waits until the commit was looked at.
async fn look_at(cluster: &Cluster, namespace: &str, commit: &str) -> GitSync {
    cluster
        .workstead(&["sync", "team", "-n", namespace])
        .success();
    cluster
        .await_sync(
            namespace,
            "team",
            LIMIT,
            &format!("to look at {commit}"),
            |s| {
                attempted(s, commit)
                    && s.status.as_ref().is_some_and(|s| {
                        condition(&s.conditions, "Reconciling").is_none_or(|c| c.status != "True")
                    })
            },
        )
        .await
}

/// How many Workspaces a namespace has.
async fn count(cluster: &Cluster, namespace: &str) -> usize {
    let workspaces = cluster.workspaces(namespace);
    workspaces
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .len()
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_commit_becomes_a_running_workspace_whose_status_tells_the_truth() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("commit").await;
    let repository = Repository::create(&cluster, &namespace);
    repository.write(
        "workspaces/api.yaml",
        &(workspace("api", "alice@example.com", &debian_image())
            + "  command: [sh, -c, 'busybox httpd -f -p 3000 -h /projects']\n  endpoints: [{name: web, port: 3000}]\n  env: [{name: GREETING, value: hello}]\n"),
    );
    let commit = repository.push("Add a workspace");
    cluster.apply(&sync(&namespace, &repository));
    let running = cluster
        .await_state(&namespace, "api", LIMIT, ActualState::Running)
        .await;
    let status = running.status.unwrap();
    assert_eq!(status.observed_generation, running.metadata.generation);
    assert_eq!(
        condition(&status.conditions, "Ready").unwrap().status,
        "True"
    );
    assert!(condition(&status.conditions, "Stalled").is_none());
    let origin = status.origin.expect("status says where the spec came from");
    assert_eq!(origin.file, "workspaces/api.yaml");
    assert!(origin.revision.ends_with(&commit), "{origin:?}");
    let steps: Vec<StartStep> = status.timeline.iter().map(|step| step.step).collect();
    assert_eq!(
        steps.first(),
        Some(&StartStep::Applied),
        "{:?}",
        status.timeline
    );
    assert_eq!(
        steps.last(),
        Some(&StartStep::Running),
        "{:?}",
        status.timeline
    );
    assert!(
        status
            .timeline
            .is_sorted_by_key(|step| step.at_milliseconds)
    );

    // What runs is what was asked for: the user, the environment, the home volume, and no credentials.
    let deployment = format!("deployment/{}", "api");
    let exec = |script: &str| {
        cluster.kubectl(&[
            "exec",
            "-n",
            &namespace,
            &deployment,
            "--",
            "sh",
            "-c",
            script,
        ])
    };
    assert_eq!(
        exec("id -u; id -g; echo $GREETING; echo $HOME").trim(),
        "10001\n0\nhello\n/projects"
    );
    exec("echo kept > /projects/work");
    assert_eq!(
        exec("test -e /var/run/secrets/kubernetes.io && echo credentials || echo none").trim(),
        "none"
    );
    assert_eq!(exec("curl -s http://ws-api:3000/work").trim(), "kept");

    let synced = cluster
        .await_sync(&namespace, "team", LIMIT, "to be applied", |s| {
            applied(s, &commit)
        })
        .await;
    assert_eq!(
        condition(&synced.status.unwrap().conditions, "Ready")
            .unwrap()
            .status,
        "True"
    );
    cluster.delete_namespace(&namespace).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn one_broken_file_among_fifty_stops_one_workspace() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("fifty").await;
    let repository = Repository::create(&cluster, &namespace);
    for number in 1..=50 {
        let name = format!("member-{number:02}");
        repository.write(&format!("workspaces/{name}.yaml"), &stopped(&name));
    }
    repository.push("Add fifty workspaces");
    cluster.apply(&sync(&namespace, &repository));
    for number in [1, 25, 50] {
        cluster
            .await_state(
                &namespace,
                &format!("member-{number:02}"),
                LIMIT,
                ActualState::Stopped,
            )
            .await;
    }
    // A typo in one file, a real change in another, in one commit.
    repository.write(
        "workspaces/member-07.yaml",
        &stopped("member-07").replace("  image:", "  imge:"),
    );
    repository.write(
        "workspaces/member-08.yaml",
        &(stopped("member-08") + "  env: [{name: NEW, value: \"1\"}]\n"),
    );
    let commit = repository.push("Break one, change another");
    let synced = look_at(&cluster, &namespace, &commit).await;
    let status = synced.status.unwrap();
    // The misspelt field, and the field that it should have been.
    assert_eq!(status.error_count, Some(2), "{:#?}", status.errors);
    let misspelt = status
        .errors
        .iter()
        .find(|e| e.message.contains("imge"))
        .unwrap();
    assert!(status.errors.iter().all(|error| error.code == "GS211"));
    assert!(
        status
            .errors
            .iter()
            .all(|e| e.file.as_deref() == Some("workspaces/member-07.yaml"))
    );
    assert_eq!(misspelt.line, Some(8), "{misspelt:?}");
    let api = cluster.workspaces(&namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 50, "nobody was deleted");
    let changed: Vec<String> = all
        .iter()
        .filter(|w| w.metadata.generation != Some(1))
        .filter_map(|w| w.metadata.name.clone())
        .collect();
    assert_eq!(changed, ["member-08"], "only the changed one changed");
    cluster.delete_namespace(&namespace).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn git_rm_of_everything_waits_for_approval_and_retain_keeps_the_volumes() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("wipe").await;
    let repository = Repository::create(&cluster, &namespace);
    for name in ["one", "two", "three"] {
        repository.write(
            &format!("workspaces/{name}.yaml"),
            &workspace(name, "kim@example.com", &tiny_image()),
        );
    }
    repository.push("Add three workspaces");
    cluster.apply(&sync(&namespace, &repository));
    for name in ["one", "two", "three"] {
        cluster
            .await_state(&namespace, name, LIMIT, ActualState::Running)
            .await;
    }
    for name in ["one", "two", "three"] {
        repository.remove(&format!("workspaces/{name}.yaml"));
    }
    repository.write("workspaces/README.md", "nobody lives here any more\n");
    let commit = repository.push("Remove everybody");
    let synced = look_at(&cluster, &namespace, &commit).await;
    let status = synced.status.unwrap();
    let blocked = status.prune_blocked.expect("the deletes wait for approval");
    assert_eq!(
        (blocked.count, blocked.commit.as_str()),
        (3, commit.as_str())
    );
    assert_eq!(
        condition(&status.conditions, "PruneBlocked")
            .unwrap()
            .status,
        "True"
    );
    assert_eq!(count(&cluster, &namespace).await, 3);

    // Approval of another set is void.
    let annotate = |value: &str| {
        let annotation = format!("workstead.dev/approve-prune={value}");
        cluster.kubectl(&[
            "annotate",
            "gitsync",
            "team",
            "-n",
            &namespace,
            "--overwrite",
            &annotation,
        ]);
    };
    annotate(&format!("{commit}/0000"));
    look_at(&cluster, &namespace, &commit).await;
    assert_eq!(count(&cluster, &namespace).await, 3);

    annotate(&blocked.approval);
    let gone = within(LIMIT, || async {
        (count(&cluster, &namespace).await == 0).then_some(())
    })
    .await;
    assert!(gone.is_some(), "the approved set was not deleted");
    let volumes: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &namespace);
    let no_pods = within(LIMIT, || async {
        cluster
            .pods(&namespace, "one")
            .await
            .is_empty()
            .then_some(())
    })
    .await;
    assert!(no_pods.is_some(), "the pods outlived their Workspaces");
    let kept: Vec<_> = volumes.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(kept.len(), 3, "Retain keeps the home volumes");
    assert!(kept.iter().all(|v| v.metadata.deletion_timestamp.is_none()));
    cluster.delete_namespace(&namespace).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn kubectl_and_gitsync_in_turn_lose_no_field() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("turns").await;
    let repository = Repository::create(&cluster, &namespace);
    let file = stopped("api") + "  env: [{name: A, value: \"1\"}]\n";
    // First by a person, then by Git, then by the person again, then a change in Git.
    cluster
        .kubectl_with(&["apply", "-n", &namespace, "-f", "-"], &file)
        .success();
    repository.write("workspaces/api.yaml", &file);
    let commit = repository.push("Add the same file");
    cluster.apply(&sync(&namespace, &repository));
    cluster
        .await_sync(&namespace, "team", LIMIT, "to be applied", |s| {
            applied(s, &commit)
        })
        .await;
    let before = cluster.workspaces(&namespace).get("api").await.unwrap();
    cluster
        .kubectl_with(&["apply", "-n", &namespace, "-f", "-"], &file)
        .success();
    look_at(&cluster, &namespace, &commit).await;
    let after = cluster.workspaces(&namespace).get("api").await.unwrap();
    assert_eq!(before.spec, after.spec);
    assert_eq!(
        after.metadata.generation, before.metadata.generation,
        "nobody fights"
    );
    // What leaves the file leaves the object, though kubectl once set it too.
    repository.write("workspaces/api.yaml", &stopped("api"));
    let commit = repository.push("Take the variable away");
    look_at(&cluster, &namespace, &commit).await;
    let last = cluster.workspaces(&namespace).get("api").await.unwrap();
    assert!(last.spec.env.is_empty(), "{:?}", last.spec.env);
    assert_eq!(last.spec.image, before.spec.image);
    cluster.delete_namespace(&namespace).await;
}
