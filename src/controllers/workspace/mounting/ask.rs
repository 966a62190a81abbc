//! One question: a pod on a node, watched until it tells, and deleted.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;

use crate::controllers::Shared;
use crate::controllers::passes::chain;
use crate::model::evidence::{EventFacts, PodFacts};
use crate::model::mounting::{Finding, Runtime, finding, short_digest, waited};
use crate::render::probe::{PROBE_SECONDS, Probe, probe};

/// Longer than the kubelet lets it run: who is silent until then has no kubelet that works.
const PATIENCE: Duration = Duration::from_secs(PROBE_SECONDS.unsigned_abs() + 30);

/// Asks a node. Never [`Finding::Pending`].
pub async fn ask(shared: &Shared, image: &str, runtime: &Runtime, node: &str) -> Finding {
    let client = &shared.client;
    let namespace = shared.config.namespace.as_str();
    // The same question has the same name: what a process that died left behind is taken up, not asked twice.
    let digest = short_digest(&format!("{runtime} {image} {node}"));
    let question = Probe {
        namespace,
        name: format!("workstead-probe-{digest}"),
        image,
        node,
        pull_secrets: &shared.config.pull_secrets,
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), &probe(&question)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => {
            return Finding::Nothing(format!("no probe could be made: {}", chain(&error)));
        }
    }
    let mut last = None;
    let told = tokio::time::timeout(PATIENCE, watch(&api, &question.name, &mut last)).await;
    let found = match (told, last) {
        (Ok(Finding::Nothing(_)) | Err(_), Some(pod)) => explained(client, namespace, &pod).await,
        (Ok(found), _) => found,
        (Err(_), None) => Finding::Nothing("the probe was never seen".to_owned()),
    };
    if let Err(error) = api.delete(&question.name, &DeleteParams::default()).await
        && !matches!(&error, kube::Error::Api(status) if status.is_not_found())
    {
        tracing::warn!(
            error = chain(&error),
            pod = question.name,
            "a probe pod stays: it could not be deleted"
        );
    }
    found
}

/// Watches the pod until it tells, and keeps what was last seen of it.
async fn watch(api: &Api<Pod>, name: &str, last: &mut Option<PodFacts>) -> Finding {
    let mut events = watch_object(api.clone(), name).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let pod = match event {
            Ok(Some(pod)) => pod,
            Ok(None) => return Finding::Nothing("the probe was taken away".to_owned()),
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to watch a probe");
                continue;
            }
        };
        let facts = PodFacts::of(&pod);
        let found = finding(&facts, &[]);
        let leaves = facts.deleting.is_some();
        *last = Some(facts);
        if found != Finding::Pending {
            return found;
        }
        if leaves {
            return Finding::Nothing("the probe is being taken away".to_owned());
        }
    }
    Finding::Nothing("the probe could not be watched".to_owned())
}

/// What a pod that told nothing was held up by: its Events may be the answer.
async fn explained(client: &Client, namespace: &str, pod: &PodFacts) -> Finding {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let about = format!("involvedObject.kind=Pod,involvedObject.name={}", pod.name);
    let events: Vec<EventFacts> = match api.list(&ListParams::default().fields(&about)).await {
        Ok(list) => list.items.iter().map(EventFacts::of).collect(),
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "failed to read the Events of a probe"
            );
            Vec::new()
        }
    };
    match finding(pod, &events) {
        Finding::Pending => Finding::Nothing(waited(pod, &events)),
        found => found,
    }
}
