mod crashes;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::gitsync::SyncedKind;
use crate::model::names::{GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL};
use crate::model::sync::value_digest;

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn id(name: &str) -> ObjectId {
    ObjectId {
        kind: SyncedKind::Workspace,
        namespace: Some("team-a".into()),
        name: name.into(),
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<ObjectId> {
    range.map(|n| id(&format!("w{n}"))).collect()
}

fn object(id: &ObjectId, version: u32) -> SourceObject {
    let value = json!({"metadata": {"name": id.name}, "spec": {"version": version}});
    SourceObject {
        id: id.clone(),
        file: format!("{}.yaml", id.name),
        line: 1,
        digest: value_digest(&value),
        value,
    }
}

fn snapshot(ids: &[ObjectId]) -> Snapshot {
    Snapshot {
        commit: COMMIT.into(),
        objects: ids.iter().map(|id| (id.clone(), object(id, 1))).collect(),
        ..Snapshot::default()
    }
}

fn ours() -> Live {
    Live {
        uid: "u".into(),
        generation: 1,
        labels: [
            (GITSYNC_NAMESPACE_LABEL.to_owned(), "team-a".to_owned()),
            (GITSYNC_NAME_LABEL.to_owned(), "dev".to_owned()),
        ]
        .into(),
        ..Live::default()
    }
}

fn applied(ids: &[ObjectId]) -> (Inventory, BTreeMap<ObjectId, Live>) {
    let mut inventory = Inventory::default();
    let mut live = BTreeMap::new();
    for id in ids {
        inventory.applied(id, &object(id, 1).digest, 1);
        live.insert(id.clone(), ours());
    }
    (inventory, live)
}

fn settings<'a>(prune: Option<&'a Prune>, approval: Option<&'a str>) -> Settings<'a> {
    Settings {
        namespace: "team-a",
        name: "dev",
        prune,
        approval,
    }
}

fn max(value: MaxDeletes) -> Prune {
    Prune {
        enabled: None,
        max_deletes: Some(value),
    }
}

#[rstest]
#[case(10, None, 2)]
#[case(9, None, 1)]
#[case(3, None, 1)]
#[case(1, None, 1)]
#[case(10, Some(MaxDeletes::Count(0)), 0)]
#[case(10, Some(MaxDeletes::Count(7)), 7)]
#[case(10, Some(MaxDeletes::Share("0%".into())), 0)]
#[case(10, Some(MaxDeletes::Share("50%".into())), 5)]
#[case(10, Some(MaxDeletes::Share("5%".into())), 1)]
#[case(10, Some(MaxDeletes::Share("100%".into())), 10)]
fn so_many_deletes_need_no_approval(
    #[case] base: usize,
    #[case] value: Option<MaxDeletes>,
    #[case] expected: usize,
) {
    let prune = value.map(max);
    assert_eq!(allowed_deletes(prune.as_ref(), base), expected);
}

#[test]
fn deletes_within_bounds_go_in_reverse_order() {
    let ids = names(0..10);
    let (inventory, live) = applied(&ids);
    let plan = plan(
        &snapshot(&ids[2..]),
        &inventory,
        &live,
        settings(None, None),
    );
    assert_eq!(plan.guard, Guard::Passed);
    let deleted: Vec<&ObjectId> = plan.deletes.iter().map(|delete| &delete.id).collect();
    assert_eq!(deleted, [&ids[1], &ids[0]]);
    assert_eq!(plan.unchanged.len(), 8);
    assert!(plan.applies.is_empty() && plan.errors.is_empty());
}

#[test]
fn more_deletes_than_allowed_are_held_and_the_rest_is_applied() {
    let ids = names(0..10);
    let (inventory, live) = applied(&ids);
    let mut snapshot = snapshot(&ids[3..]);
    let new = id("new");
    snapshot.objects.insert(new.clone(), object(&new, 1));
    let plan = plan(&snapshot, &inventory, &live, settings(None, None));
    let Guard::Blocked(block) = &plan.guard else {
        panic!("{:?}", plan.guard);
    };
    assert_eq!(
        block.reason,
        BlockReason::TooMany {
            deletes: 3,
            allowed: 2
        }
    );
    assert!(plan.deletes.is_empty() && plan.creates().count() == 1);
    assert_eq!(plan.errors[0].code, Code::PruneBlocked);
    assert!(plan.errors[0].message.contains(&block.approval()));
    assert_eq!(block.status().count, 3);
}

#[test]
fn an_approval_holds_for_exactly_this_commit_and_this_set() {
    let ids = names(0..10);
    let (inventory, live) = applied(&ids);
    let of = |kept: &[ObjectId], commit: &str, approval: &str| {
        let mut snapshot = snapshot(kept);
        snapshot.commit = commit.to_owned();
        plan(&snapshot, &inventory, &live, settings(None, Some(approval))).guard
    };
    let approval = format!("{COMMIT}/{}", set_digest(&ids[..4]));
    assert_eq!(of(&ids[4..], COMMIT, &approval), Guard::Approved);
    for (kept, commit) in [(&ids[5..], COMMIT), (&ids[4..], "b")] {
        match of(kept, commit, &approval) {
            Guard::Blocked(block) => assert!(block.approval_is_stale),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        of(&[], COMMIT, &format!("{COMMIT}/{}", set_digest(&ids))),
        Guard::Approved
    );
}

#[test]
fn an_approval_survives_a_prune_that_stopped_half_way() {
    let ids = names(0..10);
    let (inventory, mut live) = applied(&ids);
    let approval = format!("{COMMIT}/{}", set_digest(&ids[..6]));
    live.remove(&ids[0]);
    live.get_mut(&ids[1]).unwrap().deleting = true;
    let plan = plan(
        &snapshot(&ids[6..]),
        &inventory,
        &live,
        settings(None, Some(&approval)),
    );
    assert_eq!(plan.guard, Guard::Approved);
    assert_eq!(plan.deletes.len(), 4);
    // Nothing leaves the inventory before all of the set is gone.
    assert!(
        plan.settled(&ids[2..5].iter().cloned().collect())
            .is_empty()
    );
}

#[test]
fn a_gitsync_that_takes_its_objects_along_goes_only_by_approval_whatever_max_deletes_says() {
    let prune = max(MaxDeletes::Share("100%".into()));
    let nested = ObjectId {
        kind: SyncedKind::GitSync,
        ..id("nested")
    };
    let mut ids = names(0..10);
    ids.push(nested.clone());
    let (inventory, mut live) = applied(&ids);
    let of = |live: &BTreeMap<ObjectId, Live>, approval: Option<&str>| {
        let snapshot = snapshot(&ids[..10]);
        plan(
            &snapshot,
            &inventory,
            live,
            settings(Some(&prune), approval),
        )
    };
    // Without its finalizer it leaves its objects behind, and is one delete of one object.
    assert_eq!(of(&live, None).guard, Guard::Passed);
    live.get_mut(&nested).unwrap().finalizers = vec!["workstead.dev/gitsync".into()];
    let held = of(&live, None);
    let Guard::Blocked(block) = &held.guard else {
        panic!("{:?}", held.guard);
    };
    assert_eq!(block.reason, BlockReason::TakesAlong);
    assert!(held.deletes.is_empty());
    assert!(block.why().contains("deletionPolicy"));
    let approved = of(&live, Some(&block.approval()));
    assert_eq!(approved.guard, Guard::Approved);
    assert!(approved.deletes[0].takes_along);
}

#[test]
fn an_object_of_a_gitsync_that_is_gone_is_adopted_and_others_are_told_how_to_free_it() {
    let ids = names(0..2);
    let mut live = BTreeMap::new();
    for (id, orphaned) in ids.iter().zip([true, false]) {
        let mut other = ours();
        other.labels.insert(GITSYNC_NAME_LABEL.into(), "old".into());
        other.orphaned = orphaned;
        live.insert(id.clone(), other);
    }
    let plan = plan(
        &snapshot(&ids),
        &Inventory::default(),
        &live,
        settings(None, None),
    );
    assert_eq!(plan.applies.len(), 1);
    assert_eq!(plan.applies[0].change, Change::Adopt);
    assert_eq!(plan.applies[0].object.id, ids[0]);
    let message = &plan.errors[0].message;
    for part in [
        "kept by GitSync team-a/old",
        "gitsync.workstead.dev/name",
        "kubectl label workspaces.workstead.dev w1 --namespace team-a gitsync.workstead.dev/name- gitsync.workstead.dev/namespace-",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Whoever else keeps it still does.
    let orphan = live.get_mut(&ids[0]).unwrap();
    let flux = "kustomize.toolkit.fluxcd.io/name".to_owned();
    orphan.labels.insert(flux, "apps".into());
    assert!(orphan.other_manager("team-a", "dev").is_some());
}

#[test]
fn an_empty_tree_is_held_whatever_max_deletes_says() {
    let prune = max(MaxDeletes::Share("100%".into()));
    for count in [1, 2, 10] {
        let ids = names(0..count);
        let (inventory, live) = applied(&ids);
        let plan = plan(
            &snapshot(&[]),
            &inventory,
            &live,
            settings(Some(&prune), None),
        );
        assert!(matches!(&plan.guard, Guard::Blocked(b) if b.reason == BlockReason::EmptyTree));
        assert_eq!(plan.errors[0].code, Code::EmptySource);
        assert_eq!(plan.guarded.len(), count);
    }
}

#[test]
fn the_loss_of_all_is_held_even_when_others_took_their_place() {
    let prune = max(MaxDeletes::Share("100%".into()));
    let (old, new) = (names(0..4), names(10..30));
    let (mut inventory, mut live) = applied(&old);
    let first = plan(
        &snapshot(&new),
        &inventory,
        &live,
        settings(Some(&prune), None),
    );
    assert!(matches!(&first.guard, Guard::Blocked(b) if b.reason == BlockReason::AllGone));
    // What comes with the commit is applied. It must not dilute the loss in the next pass, nor in the next commit.
    inventory.note_guard(&first);
    for id in &new {
        inventory.applied(id, &object(id, 1).digest, 1);
        live.insert(id.clone(), ours());
    }
    let inventory = Inventory::decode(&inventory.encode()).unwrap();
    let mut next = snapshot(&new[1..]);
    next.commit = "b".repeat(40);
    for snapshot in [snapshot(&new), next] {
        let again = plan(&snapshot, &inventory, &live, settings(Some(&prune), None));
        assert!(matches!(&again.guard, Guard::Blocked(b) if b.reason == BlockReason::WentWithAll));
    }
    // Whoever comes back is free again.
    let mut all = new.clone();
    all.extend(old[1..].to_vec());
    let back = plan(
        &snapshot(&all),
        &inventory,
        &live,
        settings(Some(&prune), None),
    );
    assert_eq!(back.guarded, [old[0].clone()].into());
    let mut inventory = inventory.clone();
    inventory.note_guard(&back);
    let guarded = inventory.iter().filter(|(_, entry)| entry.guarded);
    assert_eq!(guarded.count(), 1);
}

#[test]
fn what_a_blocked_commit_adds_makes_no_room_for_its_deletes() {
    let (old, new) = (names(0..10), names(10..60));
    let (mut inventory, mut live) = applied(&old);
    let mut tree = old[3..].to_vec();
    tree.extend(new.clone());
    let first = plan(&snapshot(&tree), &inventory, &live, settings(None, None));
    assert!(matches!(first.guard, Guard::Blocked(_)));
    inventory.note_guard(&first);
    for id in &new {
        inventory.applied(id, &object(id, 1).digest, 1);
        live.insert(id.clone(), ours());
    }
    let inventory = Inventory::decode(&inventory.encode()).unwrap();
    let again = plan(&snapshot(&tree), &inventory, &live, settings(None, None));
    assert!(
        matches!(again.guard, Guard::Blocked(_)),
        "{:?}",
        again.guard
    );
    // More allowed by the administrator lets them go.
    let prune = max(MaxDeletes::Count(3));
    let raised = plan(
        &snapshot(&tree),
        &inventory,
        &live,
        settings(Some(&prune), None),
    );
    assert_eq!(raised.guard, Guard::Passed);
}

#[test]
fn a_missing_path_deletes_nothing_and_takes_no_approval() {
    let ids = names(0..3);
    let (inventory, live) = applied(&ids);
    let snapshot = Snapshot {
        path_missing: true,
        ..snapshot(&[])
    };
    let approval = format!("{COMMIT}/{}", set_digest(&ids));
    let plan = plan(
        &snapshot,
        &inventory,
        &live,
        settings(None, Some(&approval)),
    );
    assert_eq!(plan.guard, Guard::PathMissing);
    assert!(
        plan.deletes.is_empty()
            && plan.guarded.is_empty()
            && plan.settled(&BTreeSet::new()).is_empty()
    );
}

#[test]
fn a_file_that_cannot_be_attributed_freezes_deletes_and_nothing_else() {
    let ids = names(0..10);
    let (inventory, live) = applied(&ids);
    let mut snapshot = snapshot(&ids[1..]);
    snapshot.unattributable.insert("bad.yaml".into());
    snapshot.objects.insert(ids[1].clone(), object(&ids[1], 2));
    let plan = plan(&snapshot, &inventory, &live, settings(None, None));
    assert_eq!(plan.guard, Guard::Frozen(vec!["bad.yaml".into()]));
    assert!(plan.deletes.is_empty() && plan.updates().count() == 1);
}

#[test]
fn an_object_that_moved_or_is_held_is_no_delete() {
    let ids = names(0..4);
    let (inventory, live) = applied(&ids);
    let mut snapshot = snapshot(&ids[..1]);
    snapshot.objects.get_mut(&ids[0]).unwrap().file = "elsewhere/x.yaml".into();
    snapshot.held.insert(ids[1].clone());
    snapshot
        .held_names
        .insert(("w2".into(), Some("team-a".into())));
    snapshot.held_names.insert(("w3".into(), None));
    let plan = plan(&snapshot, &inventory, &live, settings(None, None));
    assert!(plan.is_no_op() && plan.guard == Guard::Nothing);
}

#[test]
fn a_rebuilt_inventory_deletes_nothing_in_its_pass() {
    let ids = names(0..10);
    let (_, live) = applied(&ids);
    let inventory = Inventory::rebuild(ids.clone());
    let plan = plan(
        &snapshot(&ids[1..]),
        &inventory,
        &live,
        settings(None, None),
    );
    assert_eq!(plan.guard, Guard::InventoryRebuilt);
    assert_eq!(plan.errors[0].code, Code::InventoryMissing);
}

#[test]
fn what_is_not_ours_or_is_protected_is_not_deleted() {
    let ids = names(0..20);
    let (inventory, mut live) = applied(&ids);
    live.get_mut(&ids[0]).unwrap().labels.clear();
    live.get_mut(&ids[1])
        .unwrap()
        .labels
        .insert(GITSYNC_NAME_LABEL.into(), "other".into());
    for (index, key) in [(2, PRUNE_ANNOTATION), (3, RECONCILE_ANNOTATION)] {
        let annotations = &mut live.get_mut(&ids[index]).unwrap().annotations;
        annotations.insert(key.into(), "disabled".into());
    }
    let plan = plan(
        &snapshot(&ids[4..]),
        &inventory,
        &live,
        settings(None, None),
    );
    assert!(plan.deletes.is_empty());
    assert_eq!(plan.released, ids[..2]);
    assert_eq!(
        plan.kept.iter().map(|k| k.id.clone()).collect::<Vec<_>>(),
        ids[2..4]
    );
    assert_eq!(plan.settled(&BTreeSet::new()), ids[..2]);
}

#[test]
fn who_is_written_and_why() {
    let ids = names(0..8);
    let (mut inventory, mut live) = applied(&ids);
    live.get_mut(&ids[1]).unwrap().generation = 5;
    live.get_mut(&ids[2]).unwrap().labels.clear();
    live.remove(&ids[3]);
    live.get_mut(&ids[4]).unwrap().deleting = true;
    live.get_mut(&ids[5])
        .unwrap()
        .annotations
        .insert(RECONCILE_ANNOTATION.into(), "disabled".into());
    live.get_mut(&ids[6])
        .unwrap()
        .labels
        .insert("kustomize.toolkit.fluxcd.io/name".into(), "apps".into());
    inventory.remove(&ids[7]);
    live.get_mut(&ids[7]).unwrap().labels.clear();
    let plan = plan(&snapshot(&ids), &inventory, &live, settings(None, None));
    let written: Vec<(&ObjectId, Change)> = plan
        .applies
        .iter()
        .map(|a| (&a.object.id, a.change))
        .collect();
    assert_eq!(
        written,
        [
            (&ids[1], Change::Drift),
            (&ids[2], Change::Drift),
            (&ids[3], Change::Create),
            (&ids[7], Change::Adopt),
        ]
    );
    assert_eq!(plan.unchanged, [ids[0].clone()]);
    assert_eq!(plan.waiting, [ids[4].clone()]);
    assert_eq!(plan.disabled, [ids[5].clone()]);
    assert_eq!(plan.errors[0].code, Code::ManagementConflict);
    assert!(plan.errors[0].message.contains("Flux Kustomization"));
}

#[test]
fn a_label_that_was_changed_by_hand_is_drift() {
    let id = id("a");
    let value = json!({"metadata": {"name": "a", "labels": {"team": "x"}}});
    let desired = SourceObject {
        digest: value_digest(&value),
        value,
        ..object(&id, 1)
    };
    let mut inventory = Inventory::default();
    inventory.applied(&id, &desired.digest, 1);
    let mut snapshot = snapshot(&[]);
    snapshot.objects.insert(id.clone(), desired);
    let mut live = ours();
    live.labels.insert("team".into(), "y".into());
    let planned = plan(
        &snapshot,
        &inventory,
        &[(id.clone(), live.clone())].into(),
        settings(None, None),
    );
    assert_eq!(planned.applies[0].change, Change::Drift);
    live.labels.insert("team".into(), "x".into());
    let planned = plan(
        &snapshot,
        &inventory,
        &[(id, live)].into(),
        settings(None, None),
    );
    assert!(planned.is_no_op());
}
