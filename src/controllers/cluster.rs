//! What the cluster can do, asked once when this process begins to lead.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::controllers::passes::chain;
use crate::model::installation::Cluster;
use crate::model::names::WORKSPACE_MANAGER;

/// How long to wait before asking again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Asks until there is an answer.
pub async fn detect(client: &Client, namespace: &str) -> Cluster {
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                let cluster = Cluster::of_minor(&version.minor).unwrap_or(Cluster {
                    minor: Cluster::OLDEST_MINOR,
                    user_namespaces: None,
                });
                return Cluster {
                    user_namespaces: keeps_host_users(client, namespace).await,
                    ..cluster
                };
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "failed to ask for the server's version"
                );
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// Whether the API server keeps `hostUsers`. Where user namespaces are switched off it drops the field without a word,
/// and the pod would run with the node's user IDs. Told by a dry run; None when it can't be told.
async fn keeps_host_users(client: &Client, namespace: &str) -> Option<bool> {
    let labels = json!({"workstead.dev/probe": "user-namespaces"});
    let probe = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "workstead-probe", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"hostUsers": false, "containers": [{"name": "probe", "image": "probe"}]},
            },
        },
    });
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(WORKSPACE_MANAGER).force().dry_run();
    match api
        .patch("workstead-probe", &params, &Patch::Apply(&probe))
        .await
    {
        Ok(answer) => {
            let template = answer.spec?.template.spec?;
            Some(template.host_users == Some(false))
        }
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "failed to ask whether pods may have user namespaces; taken as this version does by default"
            );
            None
        }
    }
}
