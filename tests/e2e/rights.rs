//! Who may name whom as owner, on the installed policies.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, PostParams};
use workstead::api::workspace::ActualState;
use workstead::api::{GitSync, Workspace, WorkspaceClass};
use workstead::testkit::wait::within;

use crate::harness::{Cluster, INSTALLATION, Repository, tiny_image};

const LIMIT: Duration = Duration::from_secs(90);

fn workspace(name: &str, owner: &str) -> Workspace {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "spec": {"owner": owner, "image": tiny_image(), "desiredState": "Stopped"},
    }))
    .unwrap()
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_user_may_not_name_somebody_else_as_owner() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("rights").await;
    for user in ["alice@example.com", "carol@example.com"] {
        cluster.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: edit-{}, namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}}\nsubjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]\n",
            &user[..5]
        ));
    }
    cluster.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: assign, namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: workstead-assign-owner}}\nsubjects: [{{kind: User, name: carol@example.com, apiGroup: rbac.authorization.k8s.io}}]\n"
    ));
    let as_user = |client| Api::<Workspace>::namespaced(client, &namespace);
    let alice = as_user(cluster.client_as("alice@example.com").await);
    let carol = as_user(cluster.client_as("carol@example.com").await);
    let create = PostParams::default();

    alice
        .create(&create, &workspace("own", "alice@example.com"))
        .await
        .unwrap();
    let refused = alice
        .create(&create, &workspace("forged", "bob@example.com"))
        .await;
    let kube::Error::Api(status) = refused.expect_err("a forged owner was let in") else {
        panic!("no answer of the API server");
    };
    assert_eq!(status.code, 403);
    assert!(
        status.message.contains("bob@example.com"),
        "{}",
        status.message
    );
    carol
        .create(&create, &workspace("assigned", "bob@example.com"))
        .await
        .unwrap();

    let mut claimed = workspace("claimed", "alice@example.com");
    claimed.metadata.labels =
        Some([("gitsync.workstead.dev/name".to_owned(), "team".to_owned())].into());
    let refused = alice.create(&create, &claimed).await;
    assert!(refused.is_err(), "a user claimed to be a GitSync");
    cluster.delete_namespace(&namespace).await;
}

/// Files of an administrator's repository: a class whose volumes go with their Workspaces, a GitSync that does
/// nothing, and a Workspace of another namespace.
fn platform(
    name: &str,
    state: &str,
    interval: &str,
    repository: &Repository,
) -> [(String, String); 3] {
    let class = format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceClass\nmetadata: {{name: {name}}}\nspec: {{storage: {{retention: Delete, default: 1Gi}}, timeouts: {{startup: {interval}}}}}\n"
    );
    let sync = format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {{name: {name}, namespace: {INSTALLATION}}}\nspec: {{url: \"{}\", suspend: true, interval: {interval}}}\n",
        repository.cluster_url
    );
    let workspace = format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: guest, namespace: {name}}}\nspec: {{owner: kim@example.com, className: {name}, image: \"{}\", desiredState: {state}}}\n",
        tiny_image()
    );
    [
        ("class.yaml".to_owned(), class),
        ("sync.yaml".to_owned(), sync),
        ("guest.yaml".to_owned(), workspace),
    ]
}

#[tokio::test]
#[ignore = "needs the node"]
async fn an_administrators_gitsync_keeps_classes_gitsyncs_and_guests_in_namespaces_that_accept_it()
{
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("platform").await;
    let repository = Repository::create(&cluster, &namespace);
    let push = |state: &str, interval: &str| {
        for (file, text) in platform(&namespace, state, interval, &repository) {
            repository.write(&file, &text);
        }
        repository.push(&format!("{state}, {interval}"))
    };
    push("Running", "5m");
    cluster.kubectl(&[
        "create",
        "secret",
        "generic",
        &namespace,
        "-n",
        INSTALLATION,
        "--from-literal=username=reader",
        "--from-literal=password=unused",
    ]);
    let name = format!("{namespace}-admin");
    cluster.apply(&format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {{name: {name}, namespace: {INSTALLATION}}}\nspec:\n  url: {}\n  ref: {{branch: main}}\n  interval: 5s\n  secretRef: {{name: {namespace}}}\n  prune: {{maxDeletes: 100%}}\n  allowedNamespaces: [{namespace}, {INSTALLATION}]\n  allowedKinds: [Workspace, WorkspaceClass, GitSync]\n",
        repository.cluster_url
    ));
    let refused = cluster
        .await_sync(
            INSTALLATION,
            &name,
            LIMIT,
            "to be refused by the namespace",
            |s| s.status.as_ref().is_some_and(|s| !s.errors.is_empty()),
        )
        .await;
    let errors = refused.status.unwrap().errors;
    assert_eq!(errors[0].code, "GS213", "{errors:?}");
    assert!(
        cluster
            .workspaces(&namespace)
            .get_opt("guest")
            .await
            .unwrap()
            .is_none()
    );

    let accept = format!("workstead.dev/accept-gitsync={INSTALLATION}/{name}");
    cluster.kubectl(&["annotate", "namespace", &namespace, &accept]);
    let is = |state| {
        move |w: &Workspace| {
            w.status
                .as_ref()
                .is_some_and(|s| s.actual_state == Some(state))
        }
    };
    cluster
        .await_workspace(
            &namespace,
            "guest",
            LIMIT,
            "to run",
            is(ActualState::Running),
        )
        .await;
    push("Terminated", "6m");
    cluster
        .await_workspace(
            &namespace,
            "guest",
            LIMIT,
            "to terminate",
            is(ActualState::Terminated),
        )
        .await;
    let volumes: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &namespace);
    let gone = within(LIMIT, || async {
        volumes
            .get_opt("guest-home")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert!(
        gone.is_some(),
        "the class says Delete, and the volume stays"
    );

    // One file stays, so that this is no wipe; the others are pruned.
    repository.remove("class.yaml");
    repository.remove("sync.yaml");
    repository.push("Give up the class and the GitSync");
    let classes: Api<WorkspaceClass> = Api::all(cluster.client.clone());
    let syncs: Api<GitSync> = cluster.syncs(INSTALLATION);
    let pruned = within(LIMIT, || async {
        let class = classes.get_opt(&namespace).await.unwrap();
        let sync = syncs.get_opt(&namespace).await.unwrap();
        (class.is_none() && sync.is_none()).then_some(())
    })
    .await;
    assert!(pruned.is_some(), "the class or the GitSync stays");
    cluster.kubectl(&["delete", "gitsync", &name, "-n", INSTALLATION]);
    cluster.kubectl(&["delete", "secret", &namespace, "-n", INSTALLATION]);
    cluster.delete_namespace(&namespace).await;
}
