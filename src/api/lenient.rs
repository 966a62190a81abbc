//! Reading a status that another release wrote.
//!
//! A status is written by us and read by us, but not always by the same release: after a rollback the one before reads
//! what the one after it wrote. A cause or a step that it does not know must neither hide the object nor the rest of its
//! status. So each field is read by itself, a list item by item. What can't be read is left out and named, and the next
//! status write replaces it.

use serde_json::{Map, Value};

/// Reads what can be read of a status, and names the fields that can't.
pub(super) fn read<T: Default>(
    value: Value,
    parse: impl Fn(Value) -> Result<T, serde_json::Error>,
) -> (T, Vec<String>) {
    if let Ok(whole) = parse(value.clone()) {
        return (whole, Vec::new());
    }
    let Value::Object(fields) = value else {
        return (T::default(), vec!["status".to_owned()]);
    };
    let mut readable = Map::new();
    let mut unreadable = Vec::new();
    for (name, value) in fields {
        let reads = |value: &Value| parse(one(&name, value.clone())).is_ok();
        if reads(&value) {
            readable.insert(name, value);
        } else if let Value::Array(items) = value {
            let mut kept = Vec::new();
            for (index, item) in items.into_iter().enumerate() {
                if reads(&Value::Array(vec![item.clone()])) {
                    kept.push(item);
                } else {
                    unreadable.push(format!("status.{name}[{index}]"));
                }
            }
            readable.insert(name, Value::Array(kept));
        } else {
            unreadable.push(format!("status.{name}"));
        }
    }
    // Each of them was read alone.
    let status = parse(Value::Object(readable)).unwrap_or_default();
    (status, unreadable)
}

fn one(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// Lets a status be read leniently. The type derives serde's traits with `remote = "Self"`, which makes them functions of
/// its own, and has a field `unreadable` that is not serialized.
macro_rules! leniently {
    ($status:ty, $after:expr) => {
        impl serde::Serialize for $status {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$status>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $status {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                let (mut status, unreadable) =
                    $crate::api::lenient::read(value, |value| <$status>::deserialize(value));
                status.unreadable = unreadable;
                let complete: fn(&mut $status) = $after;
                complete(&mut status);
                Ok(status)
            }
        }
    };
}
pub(super) use leniently;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::gitsync::GitSyncStatus;
    use crate::api::workspace::{ActualState, StartStep, WorkspaceStatus};

    #[test]
    fn a_status_of_this_release_is_read_whole_and_written_as_it_was() {
        let value = json!({
            "observedGeneration": 3, "actualState": "Running",
            "startRequestedAt": "2026-11-24T10:00:00.000000Z",
        });
        let status: WorkspaceStatus = serde_json::from_value(value.clone()).unwrap();
        assert!(status.unreadable.is_empty());
        assert_eq!(serde_json::to_value(&status).unwrap(), value);
    }

    #[test]
    fn a_cause_or_a_step_of_a_later_release_hides_nothing_else() {
        let status: WorkspaceStatus = serde_json::from_value(json!({
            "actualState": "Running", "className": "small",
            "failure": {"cause": "Bewitched", "blame": "User", "message": "m", "evidence": "e",
                "retryable": true, "nextStep": "n"},
            "timeline": [
                {"step": "Applied", "atMilliseconds": 1, "milliseconds": 1},
                {"step": "Enchanted", "atMilliseconds": 2, "milliseconds": 1},
                {"step": "PodReady", "atMilliseconds": 3, "milliseconds": 1},
            ],
            "startRequestedAt": "2026-11-24T10:00:00.000000Z",
            "aFieldOfALaterRelease": {"any": "thing"},
        }))
        .unwrap();
        assert_eq!(status.unreadable, ["status.failure", "status.timeline[1]"]);
        assert_eq!(status.failure, None);
        assert_eq!(status.class_name.as_deref(), Some("small"));
        assert_eq!(status.actual_state, Some(ActualState::Running));
        assert!(status.start_requested_at.is_some());
        let steps: Vec<StartStep> = status.timeline.iter().map(|step| step.step).collect();
        assert_eq!(steps, [StartStep::Applied, StartStep::PodReady]);
    }

    #[test]
    fn a_state_of_a_later_release_reads_as_unknown_and_not_as_never_started() {
        let status: WorkspaceStatus =
            serde_json::from_value(json!({"actualState": "Hibernating"})).unwrap();
        assert_eq!(status.actual_state, Some(ActualState::Unknown));
        assert_eq!(status.unreadable, ["status.actualState"]);
    }

    #[test]
    fn a_status_that_is_no_object_is_named_as_a_whole() {
        let status: GitSyncStatus = serde_json::from_value(json!("lost")).unwrap();
        assert_eq!(status.unreadable, ["status"]);
    }
}
