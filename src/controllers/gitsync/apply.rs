//! Writing one object: as Git wrote it, plus whose it is and where it comes from.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::fields;
use super::kinds;
use crate::api::workspace::Origin;
use crate::controllers::cache::Key;
use crate::model::names::{
    GITSYNC_MANAGER, GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL, ORIGIN_ANNOTATION,
};
use crate::model::sync::{Change, Code, ObjectId, PlannedApply};

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The live object could not be read.
    #[error("failed to read {id}")]
    Read {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// Fields of client-side apply could not be taken over.
    #[error("failed to take over the fields that kubectl apply left on {id}")]
    TakeOver {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The API server refused it.
    #[error("failed to apply {id}")]
    Apply {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// Somebody else began to keep it since the plan was made.
    #[error("{id} is kept by {other}")]
    Conflict {
        /// Which.
        id: ObjectId,
        /// By whom.
        other: String,
    },
    /// What Git wrote is no object, which the snapshot rules out.
    #[error("{0} is not written as an object")]
    NotAnObject(ObjectId),
}

impl ApplyError {
    /// What the client said.
    pub fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Read { source, .. }
            | Self::TakeOver { source, .. }
            | Self::Apply { source, .. } => Some(source),
            Self::Conflict { .. } | Self::NotAnObject(_) => None,
        }
    }

    /// Whether somebody was faster, so that it is worth trying again at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self.client_error(), Some(kube::Error::Api(status)) if status.is_conflict())
    }

    /// Whether the API server did not really answer: the other objects would fare no better.
    pub fn is_unavailable(&self) -> bool {
        self.client_error().is_some_and(is_unavailable)
    }

    /// The code under which it is reported.
    pub fn code(&self) -> Code {
        match self.client_error() {
            Some(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                Code::ApplyForbidden
            }
            Some(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                Code::ApplyRejected
            }
            Some(_) => Code::ApiUnavailable,
            None if matches!(self, Self::Conflict { .. }) => Code::ManagementConflict,
            None => Code::ApplyRejected,
        }
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> String {
        match (self, self.client_error()) {
            (Self::Conflict { other, .. }, _) => conflict_message(other),
            (_, Some(kube::Error::Api(status))) => format!("{self}: {}", status.message),
            (_, Some(source)) => format!("{self}: {source}"),
            (_, None) => self.to_string(),
        }
    }
}

/// What to do about an object that somebody else keeps.
pub fn conflict_message(other: &str) -> String {
    format!(
        "it is kept by {other}: take it out of one of the two, or remove the other's labels from the live object"
    )
}

/// Whether an error means that the API server could not be asked, rather than that it said no.
pub fn is_unavailable(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 503 | 504),
        _ => true,
    }
}

/// Whose objects are written, and from where.
pub struct Source<'a> {
    /// The GitSync.
    pub key: &'a Key,
    /// `spec.url`.
    pub repository: &'a str,
    /// The revision of this pass.
    pub revision: &'a str,
}

/// What became of one object.
#[derive(Debug)]
pub enum Applied {
    /// It was written.
    Written(Box<Written>),
    /// It differs from what we left, but not in what Git sets: there is nothing to write.
    AsWanted(Box<DynamicObject>),
    /// It differs, and is left alone for now: the fields and who wrote them.
    Held(String),
}

/// An object that was written.
#[derive(Debug)]
pub struct Written {
    /// The answer.
    pub object: DynamicObject,
    /// For a correction: which fields, and who had written them.
    pub corrected: Option<String>,
    /// Whether anything changed: an apply that changes nothing leaves the resource version.
    pub changed: bool,
}

/// Brings one object to what Git says.
///
/// 1. Read it, unless the plan says that nothing but the file changed: then one write is all.
/// 2. A drift is looked at: fields that Git leaves out are no drift; `may_correct` may hold it.
/// 3. Take over what client-side apply left, on adoption.
/// 4. Apply.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn apply_one(
    client: &Client,
    source: &Source<'_>,
    planned: &PlannedApply,
    known: bool,
    may_correct: impl FnOnce(&str) -> bool,
) -> Result<Applied, ApplyError> {
    let id = &planned.object.id;
    let api = kinds::api_of(client, id);
    let looks = planned.uid.is_some() && !(known && planned.change == Change::Update);
    let live = if looks { read(&api, id).await? } else { None };
    let uid = match &live {
        Some(live) => live.metadata.uid.clone(),
        // It went away since the plan was made: it is made anew.
        None if looks => None,
        None => planned.uid.clone(),
    };
    if let Some(live) = &live {
        let keeper = kinds::live_of(&live.metadata);
        if let Some(other) = keeper.other_manager(&source.key.namespace, &source.key.name) {
            return Err(ApplyError::Conflict {
                id: id.clone(),
                other,
            });
        }
    }
    let body = body(source, planned, live.as_ref(), uid)?;
    let mut corrected = None;
    if planned.change == Change::Drift
        && let Some(live) = &live
    {
        match drift(&body, live) {
            None => return Ok(Applied::AsWanted(Box::new(live.clone()))),
            Some(what) if !may_correct(&what) => return Ok(Applied::Held(what)),
            Some(what) => corrected = Some(what),
        }
    }
    if let Some(live) = &live {
        take_over(&api, id, live).await?;
    }
    let object = send(&api, id, &body).await?;
    let changed = live
        .as_ref()
        .is_none_or(|live| live.metadata.resource_version != object.metadata.resource_version);
    Ok(Applied::Written(Box::new(Written {
        object,
        corrected,
        changed,
    })))
}

async fn read(
    api: &Api<DynamicObject>,
    id: &ObjectId,
) -> Result<Option<DynamicObject>, ApplyError> {
    api.get_opt(&id.name)
        .await
        .map_err(|source| ApplyError::Read {
            id: id.clone(),
            source,
        })
}

/// What is sent: the document as written, our labels, the origin, and the UID of the live object.
fn body(
    source: &Source<'_>,
    planned: &PlannedApply,
    live: Option<&DynamicObject>,
    uid: Option<String>,
) -> Result<Value, ApplyError> {
    let mut body = planned.object.value.clone();
    let not_an_object = || ApplyError::NotAnObject(planned.object.id.clone());
    let metadata = body
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .ok_or_else(not_an_object)?;
    let labels = metadata
        .entry("labels")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(not_an_object)?;
    labels.insert(
        GITSYNC_NAMESPACE_LABEL.to_owned(),
        json!(source.key.namespace),
    );
    labels.insert(GITSYNC_NAME_LABEL.to_owned(), json!(source.key.name));
    let annotations = metadata
        .entry("annotations")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(not_an_object)?;
    annotations.insert(
        ORIGIN_ANNOTATION.to_owned(),
        json!(origin(source, planned, live)),
    );
    if let Some(uid) = uid {
        // A precondition: should another object have taken the name meanwhile, this is a conflict.
        metadata.insert("uid".to_owned(), json!(uid));
    }
    Ok(body)
}

/// Where the object comes from. Its revision is the one at which it last changed: else each commit would rewrite
/// every object.
fn origin(source: &Source<'_>, planned: &PlannedApply, live: Option<&DynamicObject>) -> String {
    let kept = live
        .filter(|_| planned.change == Change::Drift)
        .and_then(|live| live.metadata.annotations.as_ref()?.get(ORIGIN_ANNOTATION))
        .and_then(|text| serde_json::from_str::<Origin>(text).ok())
        .filter(|origin| {
            origin.repository == source.repository && origin.file == planned.object.file
        })
        .map(|origin| origin.revision);
    let origin = Origin {
        repository: source.repository.to_owned(),
        revision: kept.unwrap_or_else(|| source.revision.to_owned()),
        file: planned.object.file.clone(),
    };
    // Three texts always write as JSON.
    serde_json::to_string(&origin).unwrap_or_default()
}

/// Which fields drifted and who wrote them, in words; none when all that Git sets is there.
fn drift(body: &Value, live: &DynamicObject) -> Option<String> {
    let shown = serde_json::to_value(live).ok()?;
    let differing = fields::differences(body, &shown);
    if differing.is_empty() {
        return None;
    }
    let names: Vec<String> = differing
        .iter()
        .map(|path| fields::path_text(path))
        .collect();
    let managed = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let writer = fields::last_writer(managed, &differing);
    Some(match writer {
        Some(writer) => format!("{} changed by {writer}", names.join(", ")),
        None => format!("{} changed", names.join(", ")),
    })
}

async fn take_over(
    api: &Api<DynamicObject>,
    id: &ObjectId,
    live: &DynamicObject,
) -> Result<(), ApplyError> {
    let managed = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let Some(taken) = fields::take_over(managed) else {
        return Ok(());
    };
    // The resource version is a precondition: whoever wrote meanwhile may own fields that we did not see.
    let operations = json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": taken },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": live.metadata.resource_version },
    ]);
    let patch =
        Patch::Json::<DynamicObject>(serde_json::from_value(operations).map_err(|source| {
            ApplyError::TakeOver {
                id: id.clone(),
                source: kube::Error::SerdeError(source),
            }
        })?);
    api.patch(&id.name, &PatchParams::default(), &patch)
        .await
        .map(|_| ())
        .map_err(|source| ApplyError::TakeOver {
            id: id.clone(),
            source,
        })
}

async fn send(
    api: &Api<DynamicObject>,
    id: &ObjectId,
    body: &Value,
) -> Result<DynamicObject, ApplyError> {
    // Forced: what Git sets is Git's, whoever wrote it last. Strict: a field that the schema does not know is refused,
    // not dropped.
    let parameters = PatchParams::apply(GITSYNC_MANAGER)
        .force()
        .validation_strict();
    api.patch(&id.name, &parameters, &Patch::Apply(body))
        .await
        .map_err(|source| ApplyError::Apply {
            id: id.clone(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gitsync::SyncedKind;
    use crate::model::sync::SourceObject;

    fn planned(change: Change) -> PlannedApply {
        PlannedApply {
            change,
            object: SourceObject {
                id: ObjectId {
                    kind: SyncedKind::Workspace,
                    namespace: Some("team".into()),
                    name: "x".into(),
                },
                file: "x.yaml".into(),
                line: 1,
                value: json!({
                    "apiVersion": "workstead.dev/v1alpha1",
                    "kind": "Workspace",
                    "metadata": {"name": "x", "namespace": "team", "labels": {"a": "b"}},
                    "spec": {"owner": "alice", "image": "i"},
                }),
                digest: "d".into(),
            },
            uid: Some("u".into()),
        }
    }

    fn live(revision: &str, file: &str) -> DynamicObject {
        let origin = Origin {
            repository: "https://git/r.git".into(),
            revision: revision.into(),
            file: file.into(),
        };
        serde_json::from_value(json!({
            "apiVersion": "workstead.dev/v1alpha1",
            "kind": "Workspace",
            "metadata": {
                "name": "x", "namespace": "team", "uid": "u",
                "labels": {"a": "b", GITSYNC_NAMESPACE_LABEL: "sync", GITSYNC_NAME_LABEL: "all"},
                "annotations": {ORIGIN_ANNOTATION: serde_json::to_string(&origin).unwrap()},
            },
            "spec": {"owner": "alice", "image": "i", "desiredState": "Stopped"},
        }))
        .unwrap()
    }

    fn with_source<T>(act: impl FnOnce(&Source<'_>) -> T) -> T {
        act(&Source {
            key: &Key::new("sync", "all"),
            repository: "https://git/r.git",
            revision: "main@sha1:new",
        })
    }

    fn revision_in(body: &Value) -> String {
        let text = body["metadata"]["annotations"][ORIGIN_ANNOTATION]
            .as_str()
            .unwrap();
        serde_json::from_str::<Origin>(text).unwrap().revision
    }

    #[test]
    fn what_is_sent_is_the_document_with_our_marks() {
        let body =
            with_source(|s| body(s, &planned(Change::Update), None, Some("u".into()))).unwrap();
        assert_eq!(body["metadata"]["labels"]["a"], "b");
        assert_eq!(body["metadata"]["labels"][GITSYNC_NAME_LABEL], "all");
        assert_eq!(body["metadata"]["uid"], "u");
        assert_eq!(revision_in(&body), "main@sha1:new");
        assert_eq!(body["spec"], json!({"owner": "alice", "image": "i"}));
    }

    #[test]
    fn a_correction_keeps_the_revision_and_an_update_does_not() {
        let old = live("main@sha1:old", "x.yaml");
        let of = |change| with_source(|s| body(s, &planned(change), Some(&old), None)).unwrap();
        assert_eq!(revision_in(&of(Change::Drift)), "main@sha1:old");
        assert_eq!(revision_in(&of(Change::Update)), "main@sha1:new");
        let moved = live("main@sha1:old", "elsewhere.yaml");
        let body = with_source(|s| body(s, &planned(Change::Drift), Some(&moved), None)).unwrap();
        assert_eq!(revision_in(&body), "main@sha1:new");
    }

    #[test]
    fn a_field_that_git_leaves_out_is_no_drift() {
        let same = live("main@sha1:old", "x.yaml");
        let body = with_source(|s| body(s, &planned(Change::Drift), Some(&same), None)).unwrap();
        assert_eq!(drift(&body, &same), None);
        let mut edited = same.clone();
        edited.data["spec"]["image"] = json!("other");
        assert_eq!(drift(&body, &edited).as_deref(), Some("spec.image changed"));
        let mut unlabelled = same;
        unlabelled.metadata.labels = None;
        assert_eq!(
            drift(&body, &unlabelled).as_deref(),
            Some("metadata.labels changed")
        );
    }
}
