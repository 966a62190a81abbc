//! Events, on transitions only.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::controllers::apply::is_namespace_ending;
use crate::controllers::guard::UNREADABLE;

/// Longest reason and action that the API takes.
const SHORT: usize = 128;
/// Longest note that the API takes.
const NOTE: usize = 1024;

/// Publishes Events about objects.
///
/// The recorder under it folds an Event into an earlier one of the same type, action, reason and object for six
/// minutes and keeps the *earlier* note. So what changes belongs into reason and action (the failure's cause, the
/// state), and whoever wants the detail finds it in the object's conditions.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of one controller process.
    pub fn new(client: Client, identity: &str) -> Self {
        Self {
            recorder: Recorder::new(
                client,
                Reporter {
                    controller: "workstead.dev/controller".to_owned(),
                    instance: Some(cut(identity, SHORT).to_owned()),
                },
            ),
        }
    }

    /// Publishes one. A failure is logged and nothing else: Events are hints.
    pub async fn publish<K>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) where
        K: Resource<DynamicType = ()>,
    {
        self.publish_about(&object.object_ref(&()), type_, reason, action, note)
            .await;
    }

    /// Tells of fields of a status that another release wrote and this one could not read. It has written them anew.
    pub async fn unreadable<K>(&self, object: &K, fields: &[String])
    where
        K: Resource<DynamicType = ()>,
    {
        if fields.is_empty() {
            return;
        }
        let fields = fields.join(", ");
        tracing::warn!(
            kind = %K::kind(&()),
            object = object.meta().name,
            namespace = object.meta().namespace,
            fields,
            "a part of the status could not be read and was written anew"
        );
        let note = format!(
            "{fields} came from another release and could not be read by this one: written anew from what is there"
        );
        self.publish(object, EventType::Warning, UNREADABLE, "ReadStatus", &note)
            .await;
    }

    /// Publishes one about an object that is known by reference.
    pub async fn publish_about(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: cut(reason, SHORT).to_owned(),
            action: cut(action, SHORT).to_owned(),
            note: Some(cut(note, NOTE).to_owned()),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            if is_namespace_ending(&error) {
                return;
            }
            tracing::warn!(%error, reason, "failed to publish an event");
        }
    }
}

/// At most `most` bytes of a text, never half a character.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(cut("äää", 3), "ä");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
    }
}
