//! What the cluster can do, asked once when this process begins to lead.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodSpec;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::controllers::passes::chain;
use crate::model::failures::is_transient;
use crate::model::installation::Cluster;
use crate::model::names::{PROBE_LABEL, WORKSPACE_MANAGER};

/// How long to wait before asking again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Asks until there is an answer: a controller that took a broken connection for an answer would make weaker pods, or
/// none, until its end.
pub async fn detect(client: &Client, namespace: &str) -> Cluster {
    let version = until_answered("the server's version", || client.apiserver_version()).await;
    let minor = version
        .ok()
        .and_then(|version| Cluster::of_minor(&version.minor))
        .map_or(Cluster::OLDEST_MINOR, |cluster| cluster.minor);
    let keeps_users = || keeps_host_users(client, namespace);
    let keeps_images = || keeps_image_volumes(client, namespace);
    let (users, images) = tokio::join!(
        until_answered("whether pods may have user namespaces", keeps_users),
        until_answered("whether pods may have image volumes", keeps_images),
    );
    Cluster {
        minor,
        user_namespaces: users.ok().flatten(),
        // That the API server takes them says nothing of the nodes.
        image_volumes: images.ok().flatten().filter(|kept| !kept),
    }
}

/// Asks again while the trouble is one that passes. A refusal is an answer.
async fn until_answered<T, F>(what: &str, ask: impl Fn() -> F) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let code = match &error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        };
        tracing::warn!(error = chain(&error), "failed to ask for {what}");
        if !is_transient(code) {
            return Err(error);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Whether the API server keeps `hostUsers`. Where user namespaces are switched off it drops the field without a word,
/// and the pod would run with the node's user IDs. Told by a dry run; None when its answer does not tell.
async fn keeps_host_users(client: &Client, namespace: &str) -> Result<Option<bool>, kube::Error> {
    let pod = json!({"hostUsers": false, "containers": [{"name": "probe", "image": "probe"}]});
    let pod = dry_run(client, namespace, "workstead-probe", pod).await?;
    Ok(pod.map(|pod| pod.host_users == Some(false)))
}

/// Whether the API server keeps image volumes. Where they are switched off it drops them, with their mounts, and the pod
/// would lack its tools.
async fn keeps_image_volumes(
    client: &Client,
    namespace: &str,
) -> Result<Option<bool>, kube::Error> {
    let pod = json!({
        "containers": [{"name": "probe", "image": "probe"}],
        "volumes": [{"name": "probe", "image": {"reference": "probe"}}],
    });
    let pod = dry_run(client, namespace, "workstead-probe-images", pod).await?;
    Ok(pod.map(|pod| {
        let mut volumes = pod.volumes.into_iter().flatten();
        volumes.any(|volume| volume.image.is_some())
    }))
}

/// What the API server would make of a pod, in a Deployment that is not made.
async fn dry_run(
    client: &Client,
    namespace: &str,
    name: &str,
    pod: Value,
) -> Result<Option<PodSpec>, kube::Error> {
    let labels = json!({PROBE_LABEL: name});
    let probe = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod,
            },
        },
    });
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(WORKSPACE_MANAGER).force().dry_run();
    let answer = api.patch(name, &params, &Patch::Apply(&probe)).await?;
    Ok(answer.spec.and_then(|spec| spec.template.spec))
}
