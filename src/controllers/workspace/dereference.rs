//! Step 1: everything that a pass needs to know beside the Workspace itself.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::api::Workspace;
use crate::api::workspace::{DesiredState, Failure};
use crate::controllers::apply::{ApplyError, Parent};
use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::model::class::{self, ValidatedClass};
use crate::model::quota::Exceeded;
use crate::model::workspace::Identity;

/// A Workspace with what it refers to.
pub struct Dereferenced {
    /// The newest version that we know of.
    pub workspace: Arc<Workspace>,
    /// Its name.
    pub key: Key,
    /// Its name and UID, for the children.
    pub parent: Parent,
    /// Who it is; a failure when its name breaks the rules, which the CRD refuses.
    pub identity: Result<Identity, Failure>,
    /// Its class, or why there is none.
    pub class: Result<ValidatedClass, Failure>,
    /// The quota that it waits for.
    pub exceeded: Option<Exceeded>,
    /// The claim of its name, whoever made it.
    pub volume: Option<Arc<PersistentVolumeClaim>>,
}

/// Looks everything up: in the caches, but for a claim that they do not show.
pub async fn dereference(
    context: &Context,
    workspace: Arc<Workspace>,
) -> Result<Dereferenced, ApplyError> {
    let workspace = context.watched.latest.newest(workspace);
    let key = Key::of(&*workspace);
    let parent = Parent {
        key: key.clone(),
        uid: workspace.metadata.uid.clone().unwrap_or_default(),
    };
    let classes = context.watched.classes.all();
    let class = class::choose(
        workspace.spec.class_name.as_deref(),
        &key.namespace,
        classes.iter().map(|class| &**class),
    );
    let ends = workspace.spec.desired_state == Some(DesiredState::Terminated)
        || workspace.metadata.deletion_timestamp.is_some();
    // Whoever has no class, or is to go, takes no place.
    let exceeded = match &class {
        Ok(_) if !ends => context.watched.roll.admit(&key),
        _ => None,
    };
    let identity = Identity::of(&workspace);
    let volume = match &identity {
        Ok(identity) => {
            let name = Key::new(&key.namespace, identity.name.volume());
            context.children.volumes.live(&name).await?
        }
        Err(_) => None,
    };
    Ok(Dereferenced {
        workspace,
        key,
        parent,
        identity,
        class,
        exceeded,
        volume,
    })
}
