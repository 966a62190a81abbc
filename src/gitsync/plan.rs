//! From a snapshot, the inventory and what lives to a plan, with the deletion guard. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::gitsync::{MaxDeletes, Prune};
use crate::model::names::{PRUNE_ANNOTATION, RECONCILE_ANNOTATION};
use crate::model::sync::{
    Block, BlockReason, Change, Code, Guard, Inventory, Kept, KeptReason, Live, Manager, ObjectId,
    Plan, PlannedApply, PlannedDelete, Snapshot, SourceError, SourceObject, set_digest,
};

/// Share of Workspaces that one commit may delete when the spec says nothing, in percent.
const DEFAULT_SHARE: usize = 20;

/// Whose plan it is, and how far it may go.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Namespace of the GitSync.
    pub namespace: &'a str,
    /// Name of the GitSync.
    pub name: &'a str,
    /// `spec.prune`.
    pub prune: Option<&'a Prune>,
    /// The annotation `workstead.dev/approve-prune`.
    pub approval: Option<&'a str>,
}

/// Plans a pass. `live` holds what the API said about every object of the snapshot and of the inventory; what is not in
/// it does not live.
pub fn plan(
    snapshot: &Snapshot,
    inventory: &Inventory,
    live: &BTreeMap<ObjectId, Live>,
    settings: Settings<'_>,
) -> Plan {
    let mut plan = Plan::default();
    for object in snapshot.objects.values() {
        plan_object(&mut plan, object, inventory, live.get(&object.id), settings);
    }
    if inventory.is_rebuilt() {
        plan.errors.push(SourceError::new(
            Code::InventoryMissing,
            "the inventory was missing and was rebuilt from the labels of live objects: nothing is deleted in this pass",
        ));
    }
    plan_deletes(&mut plan, snapshot, inventory, live, settings);
    plan
}

fn plan_object(
    plan: &mut Plan,
    object: &SourceObject,
    inventory: &Inventory,
    live: Option<&Live>,
    settings: Settings<'_>,
) {
    let id = &object.id;
    let off_in_git = annotation(&object.value, RECONCILE_ANNOTATION) == Some("disabled");
    if off_in_git || live.is_some_and(|live| live.is_disabled(RECONCILE_ANNOTATION)) {
        plan.disabled.push(id.clone());
        return;
    }
    let change = match live {
        None => Change::Create,
        Some(live) if live.deleting => {
            plan.waiting.push(id.clone());
            return;
        }
        Some(live) => {
            if let Some(manager) = live.other_manager(settings.namespace, settings.name) {
                plan.errors.push(conflict(object, &manager));
                return;
            }
            match change_of(object, inventory, live, settings) {
                Some(change) => change,
                None => {
                    plan.unchanged.push(id.clone());
                    return;
                }
            }
        }
    };
    plan.applies.push(PlannedApply {
        change,
        object: object.clone(),
        uid: live.map(|live| live.uid.clone()),
    });
}

fn conflict(object: &SourceObject, manager: &Manager) -> SourceError {
    SourceError::new(Code::ManagementConflict, manager.conflict(&object.id))
        .in_file(&object.file)
        .at(Some((object.line, 1)))
        .of(&object.id)
}

/// Why a live object is written, if it is.
fn change_of(
    object: &SourceObject,
    inventory: &Inventory,
    live: &Live,
    settings: Settings<'_>,
) -> Option<Change> {
    let is_ours = live.is_owned_by(settings.namespace, settings.name);
    match inventory.get(&object.id) {
        None if !is_ours => Some(Change::Adopt),
        Some(entry) if entry.is_applied() && entry.digest == object.digest => {
            let drifted = !is_ours
                || live.generation != entry.generation
                || !metadata_holds(&object.value, live);
            drifted.then_some(Change::Drift)
        }
        _ => Some(Change::Update),
    }
}

/// Whether the live object has the labels and annotations of the file; more of them do no harm. The generation does not
/// count them.
fn metadata_holds(desired: &Value, live: &Live) -> bool {
    let holds = |field: &str, live: &BTreeMap<String, String>| {
        desired
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .all(|(key, value)| live.get(key).map(String::as_str) == value.as_str())
    };
    holds("labels", &live.labels) && holds("annotations", &live.annotations)
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(key)?
        .as_str()
}

/// What left the tree, sorted by whether it may be deleted.
#[derive(Default)]
struct Removed {
    /// What would be deleted, in the order of the inventory.
    candidates: Vec<PlannedDelete>,
    /// The set that an approval names: the candidates, and what is gone or going already.
    set: BTreeSet<ObjectId>,
    /// Whether the inventory names nothing else.
    all: bool,
}

/// Sorts what left the tree. What is no candidate is noted in the plan at once.
fn removed(
    plan: &mut Plan,
    snapshot: &Snapshot,
    inventory: &Inventory,
    live: &BTreeMap<ObjectId, Live>,
    settings: Settings<'_>,
) -> Removed {
    let ids: Vec<&ObjectId> = inventory
        .iter()
        .map(|(id, _)| id)
        .filter(|id| snapshot.path_missing || !snapshot.mentions(id))
        .collect();
    let mut removed = Removed {
        all: ids.len() == inventory.len(),
        ..Removed::default()
    };
    for id in ids.into_iter().cloned() {
        match live.get(&id) {
            None => {
                removed.set.insert(id.clone());
                plan.gone.push(id);
            }
            Some(live) if !live.is_owned_by(settings.namespace, settings.name) => {
                plan.released.push(id);
            }
            Some(live)
                if live.is_disabled(PRUNE_ANNOTATION) || live.is_disabled(RECONCILE_ANNOTATION) =>
            {
                plan.kept.push(Kept {
                    id,
                    reason: KeptReason::Annotation,
                });
            }
            Some(live) if live.deleting => {
                removed.set.insert(id.clone());
                plan.kept.push(Kept {
                    id,
                    reason: KeptReason::Deleting,
                });
            }
            Some(live) => {
                removed.set.insert(id.clone());
                removed.candidates.push(PlannedDelete {
                    id,
                    uid: live.uid.clone(),
                    takes_along: live.takes_along(),
                });
            }
        }
    }
    removed
}

fn plan_deletes(
    plan: &mut Plan,
    snapshot: &Snapshot,
    inventory: &Inventory,
    live: &BTreeMap<ObjectId, Live>,
    settings: Settings<'_>,
) {
    let Removed {
        mut candidates,
        set,
        all,
    } = removed(plan, snapshot, inventory, live, settings);
    if candidates.is_empty() {
        return;
    }
    let all_gone = inventory.len() >= 2 && all;
    let reason = block_reason(snapshot, inventory, &candidates, all_gone, settings);
    plan.guarded = set
        .iter()
        .filter(|id| match reason {
            _ if snapshot.path_missing => false,
            Some(BlockReason::EmptyTree | BlockReason::AllGone) => true,
            _ => inventory.get(id).is_some_and(|entry| entry.guarded),
        })
        .cloned()
        .collect();
    plan.guard = guard(snapshot, inventory, &candidates, &set, reason, settings);
    if plan.guard.lets_go() {
        candidates.reverse();
        plan.deletes = candidates;
    } else {
        let reason = if plan.guard == Guard::Disabled {
            KeptReason::PruneDisabled
        } else {
            KeptReason::Guard
        };
        plan.kept.extend(candidates.into_iter().map(|delete| Kept {
            id: delete.id,
            reason,
        }));
    }
    guard_errors(plan, settings);
}

/// Why these deletes need approval, if they do.
fn block_reason(
    snapshot: &Snapshot,
    inventory: &Inventory,
    candidates: &[PlannedDelete],
    all_gone: bool,
    settings: Settings<'_>,
) -> Option<BlockReason> {
    let is_guarded =
        |delete: &PlannedDelete| inventory.get(&delete.id).is_some_and(|entry| entry.guarded);
    if snapshot.is_empty() {
        return Some(BlockReason::EmptyTree);
    }
    if all_gone {
        return Some(BlockReason::AllGone);
    }
    if candidates.iter().any(is_guarded) {
        return Some(BlockReason::WentWithAll);
    }
    if candidates.iter().any(|delete| delete.takes_along) {
        return Some(BlockReason::TakesAlong);
    }
    let deletes = candidates
        .iter()
        .filter(|delete| delete.id.kind.is_stateful())
        .count();
    let allowed = allowed_deletes(settings.prune, inventory.base());
    (deletes > allowed).then_some(BlockReason::TooMany { deletes, allowed })
}

fn guard(
    snapshot: &Snapshot,
    inventory: &Inventory,
    candidates: &[PlannedDelete],
    set: &BTreeSet<ObjectId>,
    reason: Option<BlockReason>,
    settings: Settings<'_>,
) -> Guard {
    if snapshot.path_missing {
        return Guard::PathMissing;
    }
    if inventory.is_rebuilt() {
        return Guard::InventoryRebuilt;
    }
    if settings.prune.and_then(|prune| prune.enabled) == Some(false) {
        return Guard::Disabled;
    }
    if !snapshot.unattributable.is_empty() {
        return Guard::Frozen(snapshot.unattributable.iter().cloned().collect());
    }
    let Some(reason) = reason else {
        return Guard::Passed;
    };
    let mut block = Block {
        reason,
        commit: snapshot.commit.clone(),
        digest: set_digest(set),
        objects: candidates.iter().map(|delete| delete.id.clone()).collect(),
        approval_is_stale: false,
    };
    match settings.approval {
        Some(approval) if approval == block.approval() && !block.commit.is_empty() => {
            Guard::Approved
        }
        approval => {
            block.approval_is_stale = approval.is_some();
            Guard::Blocked(block)
        }
    }
}

/// How many deletes need no approval: `prune.maxDeletes` of so many objects.
fn allowed_deletes(prune: Option<&Prune>, base: usize) -> usize {
    match prune.and_then(|prune| prune.max_deletes.as_ref()) {
        Some(MaxDeletes::Count(count)) => usize::try_from(*count).unwrap_or(usize::MAX),
        Some(MaxDeletes::Share(text)) => {
            let share = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok());
            share_of(
                share.map_or(DEFAULT_SHARE, |share: usize| share.min(100)),
                base,
            )
        }
        None => share_of(DEFAULT_SHARE, base),
    }
}

/// A share rounds down, but to no less than one: in a small repository too, one delete is everyday work. `0%` is none.
fn share_of(percent: usize, base: usize) -> usize {
    match percent {
        0 => 0,
        percent => (base.saturating_mul(percent) / 100).max(1),
    }
}

/// What the guard has to say, as errors with codes.
fn guard_errors(plan: &mut Plan, settings: Settings<'_>) {
    match &plan.guard {
        Guard::Blocked(block) => {
            if block.reason == BlockReason::EmptyTree {
                plan.errors.push(SourceError::new(
                    Code::EmptySource,
                    "the tree holds no objects: check spec.path, spec.ignore and spec.ref",
                ));
            }
            if block.approval_is_stale {
                plan.errors.push(SourceError::new(
                    Code::ApprovalStale,
                    format!(
                        "the annotation workstead.dev/approve-prune is '{}', for another commit or another set",
                        settings.approval.unwrap_or_default()
                    ),
                ));
            }
            plan.errors.push(SourceError::new(
                Code::PruneBlocked,
                format!(
                    "{} objects would be deleted, {}: bring them back, or approve exactly this set with annotation workstead.dev/approve-prune: {}",
                    block.objects.len(),
                    block.why(),
                    block.approval()
                ),
            ));
        }
        Guard::Nothing
        | Guard::Passed
        | Guard::Approved
        | Guard::Disabled
        | Guard::PathMissing
        | Guard::InventoryRebuilt
        | Guard::Frozen(_) => {}
    }
}

#[cfg(test)]
mod tests;
