//! Who may name whom as owner, on the installed policies.

use kube::api::{Api, PostParams};
use workstead::api::Workspace;

use crate::harness::{Cluster, tiny_image};

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
