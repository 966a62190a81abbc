//! Tells of what was refused, as Events beside the objects.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::proxy::route::refusal::Notice;

const REPORTER: &str = "workstead.dev/proxy";
const ACTION: &str = "Route";
/// Notices that wait to be published.
pub const WAITING: usize = 64;

/// Publishes until it is told to stop. A failure is logged and nothing else: Events are hints, and counters and logs have
/// said it before.
pub async fn publish(
    client: Client,
    instance: &str,
    mut notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
) {
    let reporter = Reporter {
        controller: REPORTER.to_owned(),
        instance: Some(instance.chars().take(128).collect()),
    };
    // It folds what the replicas say again and again into one.
    let recorder = Recorder::new(client, reporter);
    let publishing = async {
        while let Some(notice) = notices.recv().await {
            let event = Event {
                type_: EventType::Warning,
                reason: notice.refusal.reason().to_owned(),
                action: ACTION.to_owned(),
                note: Some(notice.refusal.to_string()),
                secondary: None,
            };
            if let Err(error) = recorder.publish(&event, &reference(&notice)).await {
                tracing::debug!(%error, reason = event.reason, "failed to publish an event");
            }
        }
    };
    tokio::select! {
        () = publishing => {}
        () = stop.cancelled() => {}
    }
}

fn reference(notice: &Notice) -> ObjectReference {
    let object = &notice.object;
    ObjectReference {
        api_version: Some(object.kind.api_version().to_owned()),
        kind: Some(object.kind.as_str().to_owned()),
        name: Some(object.key.name.to_string()),
        namespace: Some(object.key.namespace.to_string()),
        uid: Some(object.uid.to_string()),
        ..ObjectReference::default()
    }
}
