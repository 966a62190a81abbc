//! Writing one object: as Git wrote it, plus whose it is and where it comes from.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::fields;
use super::keeper::{self, KeeperError};
use super::kinds;
use crate::api::workspace::Origin;
use crate::controllers::cache::Key;
use crate::model::names::{
    GITSYNC_MANAGER, GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL, ORIGIN_ANNOTATION,
};
use crate::model::sync::{Change, Code, Manager, ObjectId, PlannedApply};

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
        other: Manager,
    },
    /// It is not known whether the GitSync that its labels name is still there.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
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
            Self::Keeper(error) => Some(&error.source),
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
            (Self::Conflict { id, other }, _) => other.conflict(id),
            (_, Some(kube::Error::Api(status))) => format!("{self}: {}", status.message),
            (_, Some(source)) => format!("{self}: {source}"),
            (_, None) => self.to_string(),
        }
    }
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
    /// Whether it was not there before.
    pub created: bool,
}

/// Brings one object to what Git says.
///
/// 1. Read it, unless the plan says that nothing but the file changed, or that it is to be made: then one write is all,
///    and the server refuses it when the plan does not hold any more. `look` reads in any case, after such a refusal.
/// 2. Whose it is decides: what somebody else keeps is left alone.
/// 3. A drift is looked at: fields that Git leaves out are no drift; `may_correct` may hold it.
/// 4. Take over what client-side apply left, on adoption.
/// 5. Apply.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn apply_one(
    client: &Client,
    source: &Source<'_>,
    planned: &PlannedApply,
    look: bool,
    may_correct: impl FnOnce(&str) -> bool,
) -> Result<Applied, ApplyError> {
    let id = &planned.object.id;
    let api = kinds::api_of(client, id);
    let live = if look { read(&api, id).await? } else { None };
    let ours = match &live {
        Some(live) => check_keeper(client, source, id, live).await?,
        None => true,
    };
    let must = match &live {
        Some(live) => Must::Be(live.metadata.uid.clone()),
        // It went away since the plan was made: it is made anew.
        None if look => Must::NotExist,
        None => match &planned.uid {
            Some(uid) => Must::Be(Some(uid.clone())),
            None => Must::NotExist,
        },
    };
    let mut body = body(source, planned, live.as_ref(), must)?;
    let mut corrected = None;
    if planned.change == Change::Drift
        && let Some(live) = &live
    {
        match drift(id, &body, live) {
            None => return Ok(Applied::AsWanted(Box::new(live.clone()))),
            Some(what) if !may_correct(&what) => return Ok(Applied::Held(what)),
            Some(what) => corrected = Some(what),
        }
    }
    if let Some(live) = &live {
        let version = take_over(&api, id, live).await?;
        if !ours {
            // Whoever claims it at the same time must not be written over: there is one field manager for all GitSyncs.
            require_version(&mut body, version);
        }
    }
    let object = send(&api, id, &body).await?;
    let changed = live
        .as_ref()
        .is_none_or(|live| live.metadata.resource_version != object.metadata.resource_version);
    Ok(Applied::Written(Box::new(Written {
        object,
        corrected,
        changed,
        created: live.is_none() && planned.uid.is_none(),
    })))
}

/// Whether the live object is ours already.
///
/// # Errors
/// When somebody else keeps it.
async fn check_keeper(
    client: &Client,
    source: &Source<'_>,
    id: &ObjectId,
    live: &DynamicObject,
) -> Result<bool, ApplyError> {
    let Key { namespace, name } = source.key;
    let mut found = kinds::live_of(&live.metadata);
    keeper::note_orphans(client, source.key, [&mut found]).await?;
    match found.other_manager(namespace, name) {
        Some(other) => Err(ApplyError::Conflict {
            id: id.clone(),
            other,
        }),
        None => Ok(found.is_owned_by(namespace, name)),
    }
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

/// What must hold on the server, or else it refuses the apply as a conflict.
enum Must {
    /// The object that is there has this UID.
    Be(Option<String>),
    /// Nothing is there.
    NotExist,
}

/// A resource version that no object has: the store begins to count above it. The server compares it only with that of
/// an object that is there, so it lets an apply create and never change.
const NO_VERSION: &str = "1";

/// What is sent: the document as written, our labels, the origin, and what must hold.
fn body(
    source: &Source<'_>,
    planned: &PlannedApply,
    live: Option<&DynamicObject>,
    must: Must,
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
    // Preconditions: should another object have taken the name meanwhile, this is a conflict.
    match must {
        Must::Be(Some(uid)) => metadata.insert("uid".to_owned(), json!(uid)),
        Must::Be(None) => None,
        Must::NotExist => metadata.insert("resourceVersion".to_owned(), json!(NO_VERSION)),
    };
    Ok(body)
}

fn require_version(body: &mut Value, version: Option<String>) {
    if let (Some(version), Some(metadata)) = (
        version,
        body.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        metadata.insert("resourceVersion".to_owned(), json!(version));
    }
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
fn drift(id: &ObjectId, body: &Value, live: &DynamicObject) -> Option<String> {
    let shown = serde_json::to_value(live).ok()?;
    let differing = fields::differences(id.kind, body, &shown);
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

/// Gives the resource version that the object has then.
async fn take_over(
    api: &Api<DynamicObject>,
    id: &ObjectId,
    live: &DynamicObject,
) -> Result<Option<String>, ApplyError> {
    let managed = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let Some(taken) = fields::take_over(managed) else {
        return Ok(live.metadata.resource_version.clone());
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
        .map(|taken| taken.metadata.resource_version)
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
mod tests;
