//! What a pass will do, and what the deletion guard says about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest, Sha256};

use crate::api::GROUP;
use crate::api::gitsync::PruneBlocked;
use crate::model::names;
use crate::model::sync::{ObjectId, SourceError, SourceObject};

/// Where Argo CD writes whose an object is.
const ARGO_ANNOTATION: &str = "argocd.argoproj.io/tracking-id";
/// How many names of blocked deletes are shown.
const SHOWN_NAMES: usize = 20;

/// What is known of a live object: its metadata is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Its UID, for preconditions.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What has to let it go before it can be gone.
    pub finalizers: Vec<String>,
    /// Its labels name a GitSync that does not exist any more: nobody keeps it.
    pub orphaned: bool,
}

impl Live {
    /// Whether its labels name this GitSync.
    pub fn is_owned_by(&self, namespace: &str, name: &str) -> bool {
        self.gitsync() == Some((namespace, name))
    }

    /// Namespace and name of the GitSync that its labels name.
    pub fn gitsync(&self) -> Option<(&str, &str)> {
        self.label(names::GITSYNC_NAMESPACE_LABEL)
            .zip(self.label(names::GITSYNC_NAME_LABEL))
    }

    /// Who else keeps it applied: Flux, Argo CD or another GitSync.
    pub fn other_manager(&self, namespace: &str, name: &str) -> Option<Manager> {
        if let Some((other_namespace, other)) = self.gitsync()
            && !self.is_owned_by(namespace, name)
            && !self.orphaned
        {
            return Some(Manager::GitSync {
                namespace: other_namespace.to_owned(),
                name: other.to_owned(),
            });
        }
        for (kind, prefix) in [
            ("Kustomization", "kustomize.toolkit.fluxcd.io"),
            ("HelmRelease", "helm.toolkit.fluxcd.io"),
        ] {
            if let Some(owner) = self.label(&format!("{prefix}/name")) {
                let space = self.label(&format!("{prefix}/namespace"));
                return Some(Manager::Flux {
                    kind,
                    prefix,
                    object: format!("{}/{owner}", space.unwrap_or_default()),
                });
            }
        }
        let id = self.annotations.get(ARGO_ANNOTATION)?;
        let application = id.split(':').next().unwrap_or(id);
        Some(Manager::Argo(application.to_owned()))
    }

    /// Whether deleting it deletes what it applied: a GitSync with `deletionPolicy: Delete` has our finalizer, and no
    /// other object has.
    pub fn takes_along(&self) -> bool {
        self.finalizers
            .iter()
            .any(|name| name == names::GITSYNC_FINALIZER)
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// Whether an annotation switches something off.
    pub fn is_disabled(&self, annotation: &str) -> bool {
        self.annotations.get(annotation).map(String::as_str) == Some(names::DISABLED)
    }
}

/// Who else keeps an object applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Another GitSync.
    GitSync {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Flux.
    Flux {
        /// Kind of its object.
        kind: &'static str,
        /// What its labels begin with.
        prefix: &'static str,
        /// `<namespace>/<name>` of its object.
        object: String,
    },
    /// An application of Argo CD.
    Argo(String),
}

impl Manager {
    /// What to do about it: what says so on the object, and the command that frees it.
    pub fn conflict(&self, id: &ObjectId) -> String {
        let labels = |prefix: &str| vec![format!("{prefix}/name"), format!("{prefix}/namespace")];
        let (what, verb, keys) = match self {
            Self::GitSync { .. } => (
                "labels",
                "label",
                vec![
                    names::GITSYNC_NAME_LABEL.to_owned(),
                    names::GITSYNC_NAMESPACE_LABEL.to_owned(),
                ],
            ),
            Self::Flux { prefix, .. } => ("labels", "label", labels(prefix)),
            Self::Argo(_) => ("annotation", "annotate", vec![ARGO_ANNOTATION.to_owned()]),
        };
        let plural = id.kind.plural();
        let place = match &id.namespace {
            Some(namespace) => format!(" --namespace {namespace}"),
            None => String::new(),
        };
        format!(
            "the live object is kept by {self}, as its {what} {} say, and is left alone: take the file away here; or take it out there, then free it with: kubectl {verb} {plural}.{GROUP} {}{place} {}-",
            keys.join(" and "),
            id.name,
            keys.join("- ")
        )
    }
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitSync { namespace, name } => write!(f, "GitSync {namespace}/{name}"),
            Self::Flux { kind, object, .. } => write!(f, "Flux {kind} {object}"),
            Self::Argo(application) => write!(f, "Argo CD application '{application}'"),
        }
    }
}

/// Why an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is not there.
    Create,
    /// It is there and not in the inventory: somebody made it, and nobody else keeps it.
    Adopt,
    /// The file changed.
    Update,
    /// The live object changed.
    Drift,
}

/// An object that will be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedApply {
    /// Why.
    pub change: Change,
    /// What.
    pub object: SourceObject,
    /// The live object's UID, when it is there.
    pub uid: Option<String>,
}

/// An object that will be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDelete {
    /// Which.
    pub id: ObjectId,
    /// The precondition of the delete.
    pub uid: String,
    /// With it goes what it applied: a GitSync with `deletionPolicy: Delete`.
    pub takes_along: bool,
}

/// Why an object that left the tree is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeptReason {
    /// `workstead.dev/prune: disabled` or `workstead.dev/reconcile: disabled` on the live object.
    Annotation,
    /// `spec.prune.enabled: false`.
    PruneDisabled,
    /// The guard holds it.
    Guard,
    /// It is being deleted already.
    Deleting,
}

/// An object that left the tree and is left alone. It stays in the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: ObjectId,
    /// Why.
    pub reason: KeptReason,
}

/// Why the guard holds a set of deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockReason {
    /// The tree holds no objects.
    EmptyTree,
    /// None of the objects that are kept is in the tree any more.
    AllGone,
    /// They left in an earlier commit that took everything, and were not approved since.
    WentWithAll,
    /// A GitSync with `deletionPolicy: Delete` is among them: one delete that is many.
    TakesAlong,
    /// More than `prune.maxDeletes` allows.
    TooMany {
        /// How many deletes count.
        deletes: usize,
        /// How many are allowed.
        allowed: usize,
    },
}

/// A set of deletes that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Why.
    pub reason: BlockReason,
    /// The commit that no longer has them.
    pub commit: String,
    /// Digest of the set.
    pub digest: String,
    /// What would be deleted.
    pub objects: Vec<ObjectId>,
    /// There is an approval, for another commit or another set.
    pub approval_is_stale: bool,
}

impl Block {
    /// The value of the annotation that lets exactly this set go.
    pub fn approval(&self) -> String {
        format!("{}/{}", self.commit, self.digest)
    }

    /// Why, in words.
    pub fn why(&self) -> String {
        match self.reason {
            BlockReason::EmptyTree => "the tree holds no objects".to_owned(),
            BlockReason::AllGone => {
                "none of the objects that are kept is in the tree any more".to_owned()
            }
            BlockReason::WentWithAll => {
                "some of them left in a commit that took everything, and wait for approval since then"
                    .to_owned()
            }
            BlockReason::TakesAlong => {
                "a GitSync with deletionPolicy Delete is among them, and with it goes all that it applied; with deletionPolicy Orphan it would go alone".to_owned()
            }
            BlockReason::TooMany { deletes, allowed } => format!(
                "{deletes} Workspaces would be deleted, spec.prune.maxDeletes allows {allowed}"
            ),
        }
    }

    /// For `status.pruneBlocked`.
    pub fn status(&self) -> PruneBlocked {
        PruneBlocked {
            commit: self.commit.clone(),
            digest: self.digest.clone(),
            count: u32::try_from(self.objects.len()).unwrap_or(u32::MAX),
            objects: self
                .objects
                .iter()
                .take(SHOWN_NAMES)
                .map(ToString::to_string)
                .collect(),
            reason: self.why(),
            approval: self.approval(),
        }
    }
}

/// What the deletion guard says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// There is nothing to delete.
    #[default]
    Nothing,
    /// The deletes are within bounds.
    Passed,
    /// Exactly this set was approved.
    Approved,
    /// `spec.prune.enabled` is false.
    Disabled,
    /// `spec.path` is missing from the tree: nothing is deleted, and no approval helps.
    PathMissing,
    /// The inventory was rebuilt in this pass: nothing is deleted until the next.
    InventoryRebuilt,
    /// These files can't be attributed to an object, so what is missing may be in them.
    Frozen(Vec<String>),
    /// The deletes wait for approval.
    Blocked(Block),
}

impl Guard {
    /// Whether the deletes may be carried out.
    pub const fn lets_go(&self) -> bool {
        matches!(self, Self::Passed | Self::Approved)
    }
}

/// What a pass will do.
///
/// The order of steps, so that a crash between any two loses nothing: note the guard in the inventory and widen it by
/// what is applied, write it; apply in order, noting each; delete in order; take [`Plan::settled`] out of the inventory
/// and write it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is written, in order.
    pub applies: Vec<PlannedApply>,
    /// What is as it should be: no write.
    pub unchanged: Vec<ObjectId>,
    /// What the annotation `workstead.dev/reconcile: disabled` keeps us from: no write.
    pub disabled: Vec<ObjectId>,
    /// What is wanted and is still being deleted: it is made anew once it is gone.
    pub waiting: Vec<ObjectId>,
    /// What is deleted, in order; empty unless the guard lets them go.
    pub deletes: Vec<PlannedDelete>,
    /// What left the tree and stays.
    pub kept: Vec<Kept>,
    /// What left the tree, is in the inventory, and does not live any more.
    pub gone: Vec<ObjectId>,
    /// What left the tree and no longer carries our labels: it is not ours to delete, and leaves the inventory.
    pub released: Vec<ObjectId>,
    /// What goes only by approval from now on.
    pub guarded: BTreeSet<ObjectId>,
    /// What the guard says.
    pub guard: Guard,
    /// What stands against single objects, and what the guard has to say.
    pub errors: Vec<SourceError>,
}

impl Plan {
    /// Whether the guard holds deletes back: something left the tree and stays.
    pub fn holds_deletes(&self) -> bool {
        !matches!(self.guard, Guard::Nothing | Guard::Passed | Guard::Approved)
    }

    /// What leaves the inventory at the end of the pass, when `deleted` is what the API says is gone for good.
    ///
    /// A set that was approved stays together until all of it is gone: its digest is that of the whole set, so a crash or
    /// a refused delete half-way does not make the approval void.
    pub fn settled(&self, deleted: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
        let mut settled = self.released.clone();
        let pending = self.deletes.iter().any(|d| !deleted.contains(&d.id))
            || self.kept.iter().any(|kept| {
                matches!(
                    kept.reason,
                    KeptReason::Guard | KeptReason::Deleting | KeptReason::PruneDisabled
                )
            });
        if !pending {
            settled.extend(self.gone.iter().cloned());
            settled.extend(self.deletes.iter().map(|delete| delete.id.clone()));
        }
        settled
    }

    /// Whether carrying it out writes nothing.
    pub fn is_no_op(&self) -> bool {
        self.applies.is_empty()
            && self.deletes.is_empty()
            && self.settled(&BTreeSet::new()).is_empty()
    }

    /// What is created.
    pub fn creates(&self) -> impl Iterator<Item = &PlannedApply> {
        self.applies.iter().filter(|a| a.change == Change::Create)
    }

    /// What is changed: all applies that are no creates.
    pub fn updates(&self) -> impl Iterator<Item = &PlannedApply> {
        self.applies.iter().filter(|a| a.change != Change::Create)
    }
}

/// The digest of a set of objects, whatever their order.
pub fn set_digest<'a>(ids: impl IntoIterator<Item = &'a ObjectId>) -> String {
    let mut names: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    let mut hasher = Sha256::new();
    for name in names {
        hasher.update(name);
        hasher.update(b"\n");
    }
    let mut digest = hex::encode(hasher.finalize());
    digest.truncate(16);
    digest
}
