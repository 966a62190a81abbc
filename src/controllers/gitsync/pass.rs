//! From a tree to applied objects: plan → guard → widen the inventory → apply → prune → narrow the inventory.
//!
//! At each point where this may be cut off, the stored inventory lists everything that lives and is ours.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::runtime::events::EventType;

use super::apply::{self, Applied, ApplyError, Written};
use super::context::{Context, Memory};
use super::dereference::{self, DereferenceError};
use super::inventory::{self, Order, Store, StoreError};
use super::keeper::{self, KeeperError};
use super::kinds;
use super::live::{self, LiveError};
use super::outcome;
use super::prune::{self, PruneError, Pruned};
use crate::api::GitSync;
use crate::api::gitsync::PruneBlocked;
use crate::api::workspace::Origin;
use crate::controllers::cache::Key;
use crate::gitsync::plan::{Settings, plan};
use crate::model::names::{APPROVE_PRUNE_ANNOTATION, ORIGIN_ANNOTATION};
use crate::model::sync::{
    Change, Code, Guard, Inventory, Live, ObjectId, Plan, PlannedApply, Snapshot, SourceError,
};

/// Tries of one object while others write it too.
const APPLY_TRIES: usize = 3;

/// Why a tree could not be carried out to its end. What was done stays done; the next pass goes on.
#[derive(Debug, thiserror::Error)]
pub enum CarryOutError {
    /// The inventory could not be read or written.
    #[error(transparent)]
    Inventory(#[from] StoreError),
    /// It is not known whether a namespace accepts us.
    #[error(transparent)]
    Namespace(#[from] DereferenceError),
    /// It is not known what lives.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// It is not known whose an object is.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The API server did not answer an apply.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The API server did not answer a delete.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

/// What became of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// What stands against single files and objects, sorted.
    pub errors: Vec<SourceError>,
    /// How many objects are kept applied.
    pub objects: usize,
    /// Deletes that wait for approval.
    pub blocked: Option<PruneBlocked>,
    /// Objects that somebody changes back each time, in words.
    pub fights: Vec<String>,
    /// What is wanted and is still being deleted, in words.
    pub waiting: Vec<String>,
    /// Deletes are left that need a tree fetched anew.
    pub prune_again: bool,
}

/// Carries out a tree. Deletes only when it was fetched in this very pass (`fresh`): never from a memory.
///
/// 1. Read the inventory, and what lives of it and of the tree.
/// 2. Plan; the guard judges the deletes.
/// 3. Widen the inventory.
/// 4. Apply, one by one; one that fails stops no other.
/// 5. Prune.
/// 6. Narrow the inventory to what still lives.
///
/// # Errors
/// When the API server does not answer.
pub async fn carry_out(
    context: &Context,
    gitsync: &GitSync,
    memory: &mut Memory,
    admitted: &Snapshot,
    fresh: bool,
) -> Result<Done, CarryOutError> {
    let mut pass = Pass::begin(context, gitsync, memory, admitted, fresh).await?;
    pass.widen().await?;
    pass.apply().await?;
    pass.prune().await?;
    pass.narrow().await?;
    Ok(pass.end())
}

struct Pass<'a> {
    context: &'a Context,
    gitsync: &'a GitSync,
    key: Key,
    memory: &'a mut Memory,
    snapshot: &'a Snapshot,
    fresh: bool,
    store: Store,
    inventory: Inventory,
    live: BTreeMap<ObjectId, Live>,
    plan: Plan,
    deleted: BTreeSet<ObjectId>,
    /// Creates that the API server refused: nothing lives under these names.
    refused: BTreeSet<ObjectId>,
    done: Done,
    now: Timestamp,
}

impl<'a> Pass<'a> {
    async fn begin(
        context: &'a Context,
        gitsync: &'a GitSync,
        memory: &'a mut Memory,
        snapshot: &'a Snapshot,
        fresh: bool,
    ) -> Result<Self, CarryOutError> {
        let key = Key::of(gitsync);
        let client = &context.shared.client;
        let loaded = inventory::load(client, gitsync).await?;
        if let Some(lost) = &loaded.lost {
            tracing::warn!(gitsync = %key, %lost, "the inventory is rebuilt from live labels");
        }
        let ids = snapshot
            .objects
            .keys()
            .chain(loaded.inventory.iter().map(|(id, _)| id))
            .cloned()
            .collect();
        let mut live = live::find_live(client, &context.watched, ids).await?;
        keeper::note_orphans(client, &key, live.values_mut()).await?;
        let mut plan = plan(snapshot, &loaded.inventory, &live, settings(gitsync, &key));
        mark_origins(&mut plan, snapshot, &live, &gitsync.spec.url);
        drop_clean(&mut plan, memory, &live);
        Ok(Self {
            context,
            gitsync,
            key,
            memory,
            snapshot,
            fresh,
            store: loaded.store,
            inventory: loaded.inventory,
            live,
            plan,
            deleted: BTreeSet::new(),
            refused: BTreeSet::new(),
            done: Done::default(),
            now: context.shared.clock.now(),
        })
    }

    async fn widen(&mut self) -> Result<(), CarryOutError> {
        if self.fresh {
            self.inventory.note_guard(&self.plan);
        }
        let ids: Vec<ObjectId> = self
            .plan
            .applies
            .iter()
            .map(|planned| planned.object.id.clone())
            .collect();
        self.inventory.widen(ids);
        self.store.save(&self.inventory, Order::Widen).await?;
        Ok(())
    }

    async fn apply(&mut self) -> Result<(), CarryOutError> {
        for planned in std::mem::take(&mut self.plan.applies) {
            let id = planned.object.id.clone();
            match self.apply_one(&planned).await {
                Ok(Applied::Written(written)) => self.note_written(&planned, *written).await,
                Ok(Applied::AsWanted(object)) => {
                    let seen = kinds::live_of(&object.metadata);
                    self.memory.fights.settled(&id, self.now);
                    self.memory.clean.insert(id, seen);
                }
                Ok(Applied::Held(what)) => self.note_fight(&planned, &what),
                Err(error) if error.is_unavailable() => return Err(error.into()),
                Err(error) => {
                    if planned.change == Change::Create {
                        self.refused.insert(id);
                    }
                    self.note_error(&planned, error.code(), error.message());
                }
            }
        }
        Ok(())
    }

    /// One object, tried again after a look when somebody was faster.
    async fn apply_one(&mut self, planned: &PlannedApply) -> Result<Applied, ApplyError> {
        let id = &planned.object.id;
        // An object that somebody deleted by hand is a correction too.
        let correcting = planned.change == Change::Drift || self.is_lost(planned);
        if planned.change == Change::Create
            && correcting
            && let Err((about, _)) = self.memory.fights.may_correct(id, self.now)
        {
            return Ok(Applied::Held(about));
        }
        let source = apply::Source {
            key: &self.key,
            repository: &self.gitsync.spec.url,
            revision: &self.snapshot.revision,
        };
        let known = self
            .inventory
            .get(id)
            .is_some_and(crate::model::sync::InventoryEntry::is_applied);
        let mut look = planned.uid.is_some() && !(known && planned.change == Change::Update);
        let (fights, now) = (&self.memory.fights, self.now);
        let client = &self.context.shared.client;
        let may_correct = |_: &str| fights.may_correct(id, now).is_ok();
        for _ in 1..APPLY_TRIES {
            match apply::apply_one(client, &source, planned, look, may_correct).await {
                Err(error) if error.is_conflict() => look = true,
                other => return other,
            }
        }
        apply::apply_one(client, &source, planned, look, may_correct).await
    }

    /// Whether an object that we left is simply gone.
    fn is_lost(&self, planned: &PlannedApply) -> bool {
        planned.change == Change::Create
            && self
                .inventory
                .get(&planned.object.id)
                .is_some_and(|entry| entry.digest == planned.object.digest)
    }

    async fn note_written(&mut self, planned: &PlannedApply, written: Written) {
        let id = &planned.object.id;
        let lost = self.is_lost(planned);
        let metadata = &written.object.metadata;
        let live = kinds::live_of(metadata);
        self.inventory
            .applied(id, &planned.object.digest, live.generation);
        self.memory.clean.remove(id);
        let version = metadata.resource_version.clone().unwrap_or_default();
        self.context.watched.expect(id, live, version);
        let correction = match &written.corrected {
            Some(what) => Some(what.clone()),
            None if lost => Some("the object was deleted".to_owned()),
            None => None,
        };
        match correction {
            Some(what) if written.changed => self.note_correction(planned, &written, what).await,
            Some(_) => {}
            None if written.created => self.memory.counts.created += 1,
            None if written.changed => self.memory.counts.updated += 1,
            None => {}
        }
    }

    async fn note_correction(&mut self, planned: &PlannedApply, written: &Written, what: String) {
        let id = &planned.object.id;
        let note = format!("{what}: set back to what {} says", planned.object.file);
        tracing::info!(gitsync = %self.key, object = %id, what, "drift was corrected");
        let about = kube::Resource::object_ref(&written.object, &kinds::resource(id.kind));
        let events = &self.context.shared.events;
        events
            .publish_about(&about, EventType::Normal, "DriftCorrected", &what, &note)
            .await;
        if self.memory.fights.corrected(id, what.clone(), self.now) {
            events
                .publish_about(
                    &about,
                    EventType::Warning,
                    Code::FightDetected.reason(),
                    &what,
                    &format!("{what} more than five times a minute: corrections pause"),
                )
                .await;
        }
    }

    fn note_fight(&mut self, planned: &PlannedApply, what: &str) {
        let id = &planned.object.id;
        let about = self
            .memory
            .fights
            .may_correct(id, self.now)
            .err()
            .map_or_else(|| what.to_owned(), |(about, _)| about);
        self.done.fights.push(format!("{id}: {about}"));
        self.note_error(
            planned,
            Code::FightDetected,
            format!(
                "{about} more than five times a minute after it was set back: corrections pause; take the field out of the file, or stop the other writer"
            ),
        );
    }

    fn note_error(&mut self, planned: &PlannedApply, code: Code, message: String) {
        self.done.errors.push(
            SourceError::new(code, message)
                .in_file(&planned.object.file)
                .at(Some((planned.object.line, 1)))
                .of(&planned.object.id),
        );
    }

    async fn prune(&mut self) -> Result<(), CarryOutError> {
        if !self.fresh {
            self.done.prune_again = !self.plan.deletes.is_empty() || self.inventory.is_rebuilt();
            return Ok(());
        }
        self.done.prune_again = self.inventory.is_rebuilt();
        let ids = self.plan.deletes.iter().map(|planned| &planned.id);
        let client = &self.context.shared.client;
        let closed = dereference::closed_namespaces(client, &self.key, ids).await?;
        for planned in &self.plan.deletes {
            let id = &planned.id;
            if let Some(refusal) = id.namespace.as_ref().and_then(|name| closed.get(name)) {
                let error = SourceError::new(Code::NamespaceNotAllowed, refusal).of(id);
                self.done.errors.push(error);
                continue;
            }
            match prune::prune_one(&self.context.shared.client, &self.key, planned).await {
                Ok(Pruned::Deleted) => {
                    self.context.watched.expect_gone(id);
                    self.deleted.insert(id.clone());
                    self.memory.counts.deleted += 1;
                }
                Ok(Pruned::NotOurs) => {
                    self.deleted.insert(id.clone());
                }
                Ok(Pruned::Marked) => self.memory.counts.deleted += 1,
                Ok(Pruned::Going) => {}
                // The next plan says why.
                Ok(Pruned::Kept) => self.done.prune_again = true,
                Err(error) if apply::is_unavailable(error.client_error()) => {
                    return Err(error.into());
                }
                Err(error) => {
                    self.done.prune_again = true;
                    self.done
                        .errors
                        .push(SourceError::new(Code::PruneFailed, error.message()).of(id));
                }
            }
        }
        Ok(())
    }

    async fn narrow(&mut self) -> Result<(), CarryOutError> {
        // Without a fresh tree the deletes of the plan wait, and the set that they belong to stays together.
        let mut leaving = if self.fresh || self.plan.deletes.is_empty() {
            self.plan.settled(&self.deleted)
        } else {
            Vec::new()
        };
        leaving.extend(self.refused.iter().cloned());
        // What the tree speaks of without its being applied, and that does not live, is covered by nothing.
        let idle = self.inventory.iter().filter(|(id, entry)| {
            !self.live.contains_key(id) && !entry.is_applied() && self.snapshot.mentions(id)
        });
        leaving.extend(idle.map(|(id, _)| id.clone()));
        for id in &leaving {
            self.inventory.remove(id);
        }
        self.store.save(&self.inventory, Order::Narrow).await?;
        Ok(())
    }

    fn end(mut self) -> Done {
        self.done.objects = self.inventory.len();
        self.done.blocked = match &self.plan.guard {
            Guard::Blocked(block) => Some(block.status()),
            _ => None,
        };
        let waiting = self.plan.waiting.iter();
        self.done.waiting = waiting
            .map(|id| outcome::going(id, self.live.get(id)))
            .collect();
        let errors = &mut self.done.errors;
        errors.extend(self.snapshot.errors.iter().cloned());
        errors.append(&mut self.plan.errors);
        SourceError::sort(errors);
        let inventory = &self.inventory;
        self.memory.clean.retain(|id, _| inventory.contains(id));
        self.done
    }
}

fn settings<'a>(gitsync: &'a GitSync, key: &'a Key) -> Settings<'a> {
    Settings {
        namespace: &key.namespace,
        name: &key.name,
        prune: gitsync.spec.prune.as_ref(),
        approval: gitsync
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(APPROVE_PRUNE_ANNOTATION))
            .map(String::as_str),
    }
}

/// Where an object comes from is ours to keep right: it is put back when somebody took it off, and follows a file that
/// moved.
fn mark_origins(
    plan: &mut Plan,
    snapshot: &Snapshot,
    live: &BTreeMap<ObjectId, Live>,
    repository: &str,
) {
    let mut unchanged = Vec::new();
    for id in std::mem::take(&mut plan.unchanged) {
        let found = snapshot.objects.get(&id).zip(live.get(&id));
        let change = found.and_then(|(object, live)| {
            let text = live.annotations.get(ORIGIN_ANNOTATION)?;
            let Ok(origin) = serde_json::from_str::<Origin>(text) else {
                return Some(Change::Drift);
            };
            let holds = origin.repository == repository && origin.file == object.file;
            (!holds).then_some(Change::Update)
        });
        let missing =
            found.is_some_and(|(_, live)| !live.annotations.contains_key(ORIGIN_ANNOTATION));
        match (change.or(missing.then_some(Change::Drift)), found) {
            (Some(change), Some((object, live))) => plan.applies.push(PlannedApply {
                change,
                object: object.clone(),
                uid: Some(live.uid.clone()),
            }),
            _ => unchanged.push(id),
        }
    }
    plan.unchanged = unchanged;
    plan.applies.sort_by(|a, b| a.object.id.cmp(&b.object.id));
}

/// A drift that was looked at and found to concern nothing that Git sets is none, until the object changes again.
fn drop_clean(plan: &mut Plan, memory: &Memory, live: &BTreeMap<ObjectId, Live>) {
    let is_clean = |planned: &PlannedApply| {
        let id = &planned.object.id;
        planned.change == Change::Drift
            && memory
                .clean
                .get(id)
                .is_some_and(|seen| live.get(id) == Some(seen))
    };
    let (clean, applies) = std::mem::take(&mut plan.applies)
        .into_iter()
        .partition(is_clean);
    plan.applies = applies;
    plan.unchanged.extend(
        clean
            .into_iter()
            .map(|planned: PlannedApply| planned.object.id),
    );
}
