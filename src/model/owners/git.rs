//! Where an object comes from: from somebody's hands, or by a GitSync from a file.

use std::sync::Arc;

use kube::core::ObjectMeta;

use crate::api::GitSync;
use crate::api::gitsync::OwnersRule;
use crate::api::workspace::Origin;
use crate::model::names::{GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL, ORIGIN_ANNOTATION};

/// What of a GitSync decides whose files it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFacts {
    /// URL of its repository.
    pub repository: String,
    /// Who may be named under which path.
    pub owners: Vec<OwnersRule>,
}

impl SyncFacts {
    /// Of a GitSync.
    pub fn of(sync: &GitSync) -> Self {
        Self {
            repository: sync.spec.url.clone(),
            owners: sync.spec.owners.clone(),
        }
    }
}

/// The GitSyncs that are known.
pub trait Syncs {
    /// The one of this name; none, there is none.
    ///
    /// # Errors
    /// When it is not known yet whether there is one.
    fn find(&self, namespace: &str, name: &str) -> Result<Option<Arc<SyncFacts>>, String>;
}

/// Where an object comes from.
pub(super) enum Provenance {
    /// Somebody made it.
    Hands,
    /// A GitSync that is there applied it.
    Git {
        /// Namespace and name of the GitSync.
        sync: String,
        /// Its rules.
        rules: Arc<SyncFacts>,
        /// The file, from the root of the repository.
        file: String,
    },
}

/// Says where an object comes from.
///
/// # Errors
/// When it comes from Git and nobody can say by whose rules: why, and what to do.
pub(super) fn provenance(object: &ObjectMeta, syncs: &impl Syncs) -> Result<Provenance, String> {
    let label = |key: &str| object.labels.as_ref().and_then(|all| all.get(key));
    let annotation = |key: &str| object.annotations.as_ref().and_then(|all| all.get(key));
    let origin = annotation(ORIGIN_ANNOTATION);
    let (namespace, name) = match (label(GITSYNC_NAMESPACE_LABEL), label(GITSYNC_NAME_LABEL)) {
        (Some(namespace), Some(name)) => (namespace, name),
        (None, None) if origin.is_none() => return Ok(Provenance::Hands),
        // Taken off: else whoever may edit it could hide that a commit, and no person who was checked, named the owner.
        _ => {
            return Err(
                "it came from Git and does not carry the labels of a GitSync any more: bring it back under a GitSync, or \
                 delete it and make it anew by hand"
                    .to_owned(),
            );
        }
    };
    let sync = format!("{namespace}/{name}");
    let Some(rules) = syncs.find(namespace, name)? else {
        return Err(format!(
            "GitSync {sync}, which applied it, is gone: make that GitSync again, or delete it and make it anew by hand"
        ));
    };
    let origin = origin.and_then(|text| serde_json::from_str::<Origin>(text).ok());
    let Some(origin) = origin.filter(|origin| origin.repository == rules.repository) else {
        return Err(format!(
            "its annotation {ORIGIN_ANNOTATION} does not say which file of {} it is from: the next pass of GitSync {sync} \
             writes it",
            rules.repository
        ));
    };
    Ok(Provenance::Git {
        sync,
        rules,
        file: origin.file,
    })
}
