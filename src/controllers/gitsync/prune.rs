//! Deleting one object, after a last look at whose it is.

use kube::Client;
use kube::api::{DeleteParams, Preconditions};

use super::kinds;
use crate::api::gitsync::SyncedKind;
use crate::controllers::cache::Key;
use crate::model::names::{PRUNE_ANNOTATION, RECONCILE_ANNOTATION};
use crate::model::sync::{ObjectId, PlannedDelete};

/// Why an object was not deleted. It stays in the inventory.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// It could not be read.
    #[error("failed to read {id} before deleting it")]
    Read {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The API server refused.
    #[error("failed to delete {id}")]
    Delete {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

impl PruneError {
    /// What the client said.
    pub fn client_error(&self) -> &kube::Error {
        match self {
            Self::Read { source, .. } | Self::Delete { source, .. } => source,
        }
    }

    /// What is wrong.
    pub fn message(&self) -> String {
        match self.client_error() {
            kube::Error::Api(status) => format!("{self}: {}", status.message),
            other => format!("{self}: {other}"),
        }
    }
}

/// What became of an object that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// It is gone, by us.
    Deleted,
    /// The delete was accepted, and somebody's finalizer holds it. It leaves the inventory when it is gone.
    Marked,
    /// It was being deleted already.
    Going,
    /// It was gone already, or is another object by now, or is not ours any more.
    NotOurs,
    /// Its annotations keep us from it since the plan was made.
    Kept,
}

/// Deletes what the inventory lists, whose UID is the one that was planned, and whose live labels still name us.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn prune_one(
    client: &Client,
    key: &Key,
    planned: &PlannedDelete,
) -> Result<Pruned, PruneError> {
    let id = &planned.id;
    let api = kinds::api_of(client, id);
    let read = api.get_metadata_opt(&id.name).await;
    let live = read.map_err(|source| PruneError::Read {
        id: id.clone(),
        source,
    })?;
    let Some(live) = live else {
        return Ok(Pruned::NotOurs);
    };
    let version = live.metadata.resource_version.clone();
    let live = kinds::live_of(&live.metadata);
    if live.uid != planned.uid || !live.is_owned_by(&key.namespace, &key.name) {
        return Ok(Pruned::NotOurs);
    }
    if live.is_disabled(PRUNE_ANNOTATION) || live.is_disabled(RECONCILE_ANNOTATION) {
        return Ok(Pruned::Kept);
    }
    if live.deleting {
        return Ok(Pruned::Going);
    }
    if live.takes_along() && !planned.takes_along {
        // It came to this since the plan was made, and nobody approved it.
        return Ok(Pruned::Kept);
    }
    let may_come_to_it = id.kind == SyncedKind::GitSync && !planned.takes_along;
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(planned.uid.clone()),
            resource_version: version.filter(|_| may_come_to_it),
        }),
        ..DeleteParams::background()
    };
    match api.delete(&id.name, &parameters).await {
        // The object itself comes back while a finalizer holds it.
        Ok(answer) if answer.is_left() => Ok(Pruned::Marked),
        Ok(_) => Ok(Pruned::Deleted),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Pruned::NotOurs),
        Err(source) => Err(PruneError::Delete {
            id: id.clone(),
            source,
        }),
    }
}
