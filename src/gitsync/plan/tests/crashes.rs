//! What holds when passes are cut off between any two writes.

use proptest::prelude::*;

use super::*;
use crate::model::sync::Shards;

/// A cluster in miniature, and a pass that stops after so many writes.
#[derive(Clone, Debug, Default)]
struct World {
    shards: Option<Shards>,
    live: BTreeMap<ObjectId, Live>,
    writes: usize,
}

impl World {
    /// One pass; `Err` when it crashed.
    fn pass(
        &mut self,
        snapshot: &Snapshot,
        settings: Settings<'_>,
        mut budget: usize,
    ) -> Result<Plan, ()> {
        let mut inventory = match &self.shards {
            Some(shards) => Inventory::decode(shards).unwrap(),
            None => Inventory::default(),
        };
        let plan = plan(snapshot, &inventory, &self.live, settings);
        inventory.note_guard(&plan);
        inventory.widen(plan.applies.iter().map(|apply| apply.object.id.clone()));
        self.write_inventory(&inventory, &mut budget)?;
        for apply in &plan.applies {
            self.spend(&mut budget)?;
            let live = self
                .live
                .entry(apply.object.id.clone())
                .or_insert_with(|| Live {
                    uid: format!("u{}", self.writes),
                    ..Live::default()
                });
            live.generation += 1;
            live.labels = ours().labels;
            let generation = live.generation;
            inventory.applied(&apply.object.id, &apply.object.digest, generation);
        }
        let mut deleted = BTreeSet::new();
        for delete in &plan.deletes {
            self.spend(&mut budget)?;
            assert_eq!(self.live[&delete.id].uid, delete.uid);
            self.live.remove(&delete.id);
            deleted.insert(delete.id.clone());
        }
        for id in plan.settled(&deleted) {
            inventory.remove(&id);
        }
        self.write_inventory(&inventory, &mut budget)?;
        Ok(plan)
    }

    fn write_inventory(&mut self, inventory: &Inventory, budget: &mut usize) -> Result<(), ()> {
        let shards = inventory.encode();
        if self.shards.as_ref() != Some(&shards) {
            self.spend(budget)?;
            self.shards = Some(shards);
        }
        Ok(())
    }

    fn spend(&mut self, budget: &mut usize) -> Result<(), ()> {
        *budget = budget.checked_sub(1).ok_or(())?;
        self.writes += 1;
        Ok(())
    }

    fn inventory(&self) -> Inventory {
        self.shards
            .as_ref()
            .map_or_else(Inventory::default, |s| Inventory::decode(s).unwrap())
    }
}

/// A commit: which of ten objects, in which version, and whether a file is broken.
fn commits() -> impl Strategy<Value = Vec<Snapshot>> {
    let commit = (
        prop::collection::btree_map(0..10_usize, 1..3_u32, 0..10),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(commit, 1..6).prop_map(|commits| {
        commits
            .into_iter()
            .enumerate()
            .map(|(number, (objects, broken, missing))| {
                let mut snapshot = snapshot(&[]);
                snapshot.commit = format!("{number:040}");
                snapshot.path_missing = missing;
                if broken {
                    snapshot.unattributable.insert("bad.yaml".into());
                }
                for (n, version) in objects.into_iter().filter(|_| !missing) {
                    let id = id(&format!("w{n}"));
                    snapshot.objects.insert(id.clone(), object(&id, version));
                }
                snapshot
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(crate::model::fixtures::at_least(1_000))]

    #[test]
    fn crashes_at_any_write_lose_nothing_and_converge(
        commits in commits(),
        budgets in prop::collection::vec(0..12_usize, 0..12),
        percent in 0..101_usize,
    ) {
        let prune = max(MaxDeletes::Share(format!("{percent}%")));
        let settings = settings(Some(&prune), None);
        let mut world = World::default();
        let mut budgets = budgets.into_iter();
        for snapshot in &commits {
            let before = world.live.clone();
            // Crash some times, then run through.
            for budget in budgets.by_ref().take(2) {
                let _ = world.pass(snapshot, settings, budget);
                // I2: at every crash point the inventory covers what lives and is ours.
                let inventory = world.inventory();
                prop_assert!(world.live.keys().all(|id| inventory.contains(id)));
            }
            let plan = world.pass(snapshot, settings, usize::MAX).unwrap();
            // I1: what went was not in the tree, and the tree was whole.
            for id in before.keys().filter(|id| !world.live.contains_key(id)) {
                prop_assert!(!snapshot.mentions(id));
                prop_assert!(snapshot.unattributable.is_empty() && !snapshot.path_missing);
                prop_assert!(!snapshot.is_empty());
            }
            // I4: the second pass writes nothing.
            let writes = world.writes;
            let again = world.pass(snapshot, settings, usize::MAX).unwrap();
            prop_assert_eq!(world.writes, writes, "{:?}", again);
            // I5: what the tree wants lives, in its version.
            let inventory = world.inventory();
            for (id, object) in &snapshot.objects {
                prop_assert_eq!(&inventory.get(id).unwrap().digest, &object.digest);
                prop_assert!(world.live.contains_key(id));
            }
            if !plan.holds_deletes() && !snapshot.path_missing {
                prop_assert_eq!(world.live.len(), snapshot.objects.len());
            }
        }
    }

    #[test]
    fn an_approved_prune_ends_after_any_crash(count in 2..12_usize, kept in 0..3_usize, crashes in prop::collection::vec(0..14_usize, 0..4)) {
        let ids = names(0..count);
        let mut world = World::default();
        world.pass(&snapshot(&ids), settings(None, None), usize::MAX).unwrap();
        let mut next = snapshot(&ids[..kept.min(count - 1)]);
        next.commit = "b".repeat(40);
        let plan = world.pass(&next, settings(None, None), usize::MAX).unwrap();
        let approval = match &plan.guard {
            Guard::Blocked(block) => block.approval(),
            _ => return Ok(()),
        };
        let approved = settings(None, Some(&approval));
        for budget in crashes {
            let _ = world.pass(&next, approved, budget);
        }
        world.pass(&next, approved, usize::MAX).unwrap();
        prop_assert_eq!(world.live.len(), next.objects.len());
        prop_assert_eq!(world.inventory().len(), next.objects.len());
    }
}
