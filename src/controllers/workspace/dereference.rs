//! Step 1: everything that a pass needs to know beside the Workspace itself.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::api::Workspace;
use crate::api::workspace::{DesiredState, Failure};
use crate::controllers::apply::{ApplyError, Ownership, Parent, ownership};
use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::model::class::ValidatedClass;
use crate::model::quota::Exceeded;
use crate::model::status::applied_before;
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
    /// Children of ours that the caches do not show, since somebody took our label away.
    pub unlabelled: Unlabelled,
}

impl Dereferenced {
    /// Whether the Workspace itself is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.workspace.metadata.deletion_timestamp.is_some()
    }
}

/// Children without which a pass would take a workspace that runs for one that does not.
#[derive(Default)]
pub struct Unlabelled {
    /// The Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// The pin of the last start.
    pub pin: Option<Arc<ControllerRevision>>,
}

/// Looks everything up: in the caches, but for what they do not show and should.
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
    let class = context.watched.class_of(&workspace);
    let ends = workspace.spec.desired_state == Some(DesiredState::Terminated)
        || workspace.metadata.deletion_timestamp.is_some();
    // Whoever has no class, or is to go, takes no new place.
    let exceeded = match &class {
        Ok(class) if !ends => context.watched.admit(&workspace, class.name.as_str()),
        _ => {
            context.watched.withdraw(&key);
            None
        }
    };
    let identity = Identity::of(&workspace);
    let volume = match &identity {
        Ok(identity) => {
            let name = Key::new(&key.namespace, identity.name.volume());
            context.children.volumes.live(&name).await?
        }
        Err(_) => None,
    };
    let unlabelled = unlabelled(context, &workspace, &parent).await?;
    Ok(Dereferenced {
        workspace,
        key,
        parent,
        identity,
        class,
        exceeded,
        volume,
        unlabelled,
    })
}

/// Asks the API server for what the status speaks of and the caches lack. Mostly it is gone, which has to be known too.
async fn unlabelled(
    context: &Context,
    workspace: &Workspace,
    parent: &Parent,
) -> Result<Unlabelled, ApplyError> {
    let children = &context.children;
    let Some(status) = workspace.status.as_ref().filter(|s| applied_before(s)) else {
        return Ok(Unlabelled::default());
    };
    let mut found = Unlabelled::default();
    if children.deployments.cache().get(&parent.key).is_none() {
        found.deployment = children.deployments.live(&parent.key).await?;
    }
    if let Some(revision) = &status.revision {
        let name = Key::new(&parent.key.namespace, &revision.name);
        if children.revisions.cache().get(&name).is_none() {
            found.pin = children.revisions.live(&name).await?;
        }
    }
    found.deployment = found
        .deployment
        .filter(|live| ownership(parent, &**live) == Ownership::Ours);
    found.pin = found
        .pin
        .filter(|live| ownership(parent, &**live) == Ownership::Ours);
    Ok(found)
}
