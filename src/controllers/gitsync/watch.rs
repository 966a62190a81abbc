//! What our labels are on, as the watches tell us, and whom a change of it wakes.
//!
//! Metadata only: a change of what Git sets moves the generation, the labels or the annotations. A change that we made
//! ourselves wakes nobody, and neither does one of status.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher as watch};
use tokio::sync::watch as signal;

use super::kinds;
use super::requests::Requests;
use crate::api::gitsync::SyncedKind;
use crate::controllers::Shared;
use crate::controllers::cache::Key;
use crate::model::names::{GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL};
use crate::model::sync::{Live, ObjectId};
use crate::telemetry::metrics::WatchLabels;

/// What our labels are on.
pub struct Watched {
    /// The one namespace that is watched; none, all of them.
    scope: Option<String>,
    kinds: Mutex<HashMap<SyncedKind, HashMap<ObjectId, Seen>>>,
    /// Resource versions that our own writes made and the watch has not shown yet.
    expected: Mutex<HashMap<ObjectId, String>>,
    /// The kinds that were listed whole.
    listed: Mutex<HashSet<SyncedKind>>,
    /// How many these are.
    ready: signal::Sender<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    live: Live,
    version: String,
}

impl Default for Watched {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Watched {
    /// What is watched in one namespace, or in all.
    pub fn new(scope: Option<String>) -> Self {
        Self {
            scope,
            kinds: Mutex::default(),
            expected: Mutex::default(),
            listed: Mutex::default(),
            ready: signal::Sender::new(0),
        }
    }

    /// The live object, if our labels are on it.
    pub fn get(&self, id: &ObjectId) -> Option<Live> {
        lock(&self.kinds)
            .get(&id.kind)
            .and_then(|kind| kind.get(id))
            .map(|seen| seen.live.clone())
    }

    /// Notes our own write before the watch shows it, so that it wakes nobody.
    pub fn expect(&self, id: &ObjectId, live: Live, version: String) {
        if self.scope.is_some() && id.namespace.is_some() && id.namespace != self.scope {
            // Nobody would tell us of later changes.
            return;
        }
        lock(&self.expected).insert(id.clone(), version.clone());
        let seen = Seen { live, version };
        lock(&self.kinds)
            .entry(id.kind)
            .or_default()
            .insert(id.clone(), seen);
    }

    /// Notes our own delete.
    pub fn expect_gone(&self, id: &ObjectId) {
        if let Some(kind) = lock(&self.kinds).get_mut(&id.kind) {
            kind.remove(id);
        }
    }

    /// The kinds that were not listed yet.
    pub fn unseen_kinds(&self) -> Vec<&'static str> {
        let kinds = lock(&self.listed);
        let unseen = SyncedKind::IN_ORDER
            .into_iter()
            .filter(|kind| !kinds.contains(kind));
        unseen.map(|kind| kind.name()).collect()
    }

    /// Waits until every kind was listed once.
    pub async fn until_ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives in self, so this can't fail.
        let _ = ready
            .wait_for(|count| *count >= SyncedKind::IN_ORDER.len())
            .await;
    }

    /// Takes what the watch shows of one object. Says whom it wakes.
    fn shown(&self, id: ObjectId, live: Live, version: String) -> Option<Key> {
        let key = owner(&live);
        let ours = {
            let mut expected = lock(&self.expected);
            match expected.get(&id) {
                Some(own) if *own == version => {
                    expected.remove(&id);
                    true
                }
                _ => false,
            }
        };
        let seen = Seen { live, version };
        let mut kinds = lock(&self.kinds);
        let before = kinds.entry(id.kind).or_default().insert(id, seen.clone());
        let same = before.is_some_and(|before| before.live == seen.live);
        if ours || same { None } else { key }
    }

    fn gone(&self, id: &ObjectId, live: &Live) -> Option<Key> {
        lock(&self.expected).remove(id);
        let before = lock(&self.kinds)
            .get_mut(&id.kind)
            .and_then(|kind| kind.remove(id));
        match before {
            // A name that we wrote again since: the event is of the one before.
            Some(newer) if newer.live.uid != live.uid => {
                self.restore(id, newer);
                None
            }
            // The labels may be gone from the event: those that were seen before say whose it was.
            Some(before) => owner(&before.live),
            // We deleted it ourselves, but one that was slow to go still has to leave the inventory.
            None => owner(live),
        }
    }

    fn restore(&self, id: &ObjectId, seen: Seen) {
        lock(&self.kinds)
            .entry(id.kind)
            .or_default()
            .insert(id.clone(), seen);
    }

    /// A kind was listed anew: what is not in the list is gone.
    fn listed(&self, kind: SyncedKind, listed: HashMap<ObjectId, Seen>) -> Vec<Key> {
        let before = lock(&self.kinds).insert(kind, listed.clone());
        // A write of ours may have made an entry of the kind before.
        let is_first = lock(&self.listed).insert(kind);
        if is_first {
            self.ready.send_modify(|count| *count += 1);
            return Vec::new();
        }
        let before = before.unwrap_or_default();
        let changed = |(id, seen): (&ObjectId, &Seen)| {
            (listed.get(id).map(|now| &now.live) != Some(&seen.live))
                .then(|| owner(&seen.live))
                .flatten()
        };
        let appeared = |(id, seen): (&ObjectId, &Seen)| {
            (!before.contains_key(id))
                .then(|| owner(&seen.live))
                .flatten()
        };
        before
            .iter()
            .filter_map(changed)
            .chain(listed.iter().filter_map(appeared))
            .collect()
    }
}

/// The GitSync that an object's labels name.
fn owner(live: &Live) -> Option<Key> {
    Some(Key::new(
        live.labels.get(GITSYNC_NAMESPACE_LABEL)?,
        live.labels.get(GITSYNC_NAME_LABEL)?,
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches one kind for ever.
pub async fn watch_kind(
    shared: Arc<Shared>,
    watched: Arc<Watched>,
    requests: Requests,
    kind: SyncedKind,
) {
    let config = watch::Config::default().labels(GITSYNC_NAME_LABEL);
    let mut events = Box::pin(watch::watcher(api(&shared, kind), config).default_backoff());
    let mut listing = HashMap::new();
    while let Some(event) = events.next().await {
        let woken = match event {
            Ok(event) => take(&watched, kind, event, &mut listing),
            Err(error) => {
                tracing::warn!(kind = kind.name(), %error, "failed to watch synced objects");
                let labels = WatchLabels { kind: kind.name() };
                shared.metrics.watch_errors.get_or_create(&labels).inc();
                Vec::new()
            }
        };
        for key in woken {
            requests.wake(key);
        }
    }
}

fn api(shared: &Shared, kind: SyncedKind) -> Api<PartialObjectMeta<DynamicObject>> {
    let resource = kinds::resource(kind);
    match &shared.config.scope.namespace {
        Some(namespace) if kind.is_namespaced() => {
            Api::namespaced_with(shared.client.clone(), namespace, &resource)
        }
        _ => Api::all_with(shared.client.clone(), &resource),
    }
}

fn take(
    watched: &Watched,
    kind: SyncedKind,
    event: Event<PartialObjectMeta<DynamicObject>>,
    listing: &mut HashMap<ObjectId, Seen>,
) -> Vec<Key> {
    let read = |object: &PartialObjectMeta<DynamicObject>| {
        let id = kinds::id_of(kind, &object.metadata)?;
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        Some((id, kinds::live_of(&object.metadata), version))
    };
    match event {
        Event::Init => {
            listing.clear();
            Vec::new()
        }
        Event::InitApply(object) => {
            if let Some((id, live, version)) = read(&object) {
                listing.insert(id, Seen { live, version });
            }
            Vec::new()
        }
        Event::InitDone => watched.listed(kind, std::mem::take(listing)),
        Event::Apply(object) => read(&object)
            .and_then(|(id, live, version)| watched.shown(id, live, version))
            .into_iter()
            .collect(),
        Event::Delete(object) => read(&object)
            .and_then(|(id, live, _)| watched.gone(&id, &live))
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            kind: SyncedKind::Workspace,
            namespace: Some("team".into()),
            name: name.into(),
        }
    }

    fn live(uid: &str, generation: i64) -> Live {
        Live {
            uid: uid.into(),
            generation,
            labels: [
                (GITSYNC_NAMESPACE_LABEL.to_owned(), "flux".to_owned()),
                (GITSYNC_NAME_LABEL.to_owned(), "all".to_owned()),
            ]
            .into(),
            ..Live::default()
        }
    }

    fn owner_key() -> Option<Key> {
        Some(Key::new("flux", "all"))
    }

    #[test]
    fn our_own_write_wakes_nobody_and_a_change_by_others_does() {
        let watched = Watched::default();
        watched.expect(&id("x"), live("u", 1), "10".into());
        assert_eq!(watched.shown(id("x"), live("u", 1), "10".into()), None);
        // A status write moves the resource version only.
        assert_eq!(watched.shown(id("x"), live("u", 1), "11".into()), None);
        assert_eq!(
            watched.shown(id("x"), live("u", 2), "12".into()),
            owner_key()
        );
        assert_eq!(watched.get(&id("x")).unwrap().generation, 2);
    }

    #[test]
    fn a_change_that_comes_before_our_own_write_is_shown_still_wakes() {
        let watched = Watched::default();
        watched.expect(&id("x"), live("u", 3), "10".into());
        assert_eq!(
            watched.shown(id("x"), live("u", 2), "9".into()),
            owner_key()
        );
    }

    #[test]
    fn a_delete_by_others_wakes_and_that_of_an_older_namesake_does_not() {
        let watched = Watched::default();
        watched.expect(&id("x"), live("new", 1), "10".into());
        assert_eq!(watched.gone(&id("x"), &live("old", 1)), None);
        assert!(watched.get(&id("x")).is_some());
        assert_eq!(watched.gone(&id("x"), &live("new", 1)), owner_key());
        assert_eq!(watched.get(&id("x")), None);
    }

    #[test]
    fn a_fresh_list_wakes_the_owners_of_what_changed_meanwhile() {
        let watched = Watched::default();
        let seen = |generation| Seen {
            live: live("u", generation),
            version: "1".into(),
        };
        let first = HashMap::from([(id("same"), seen(1)), (id("gone"), seen(1))]);
        assert!(watched.listed(SyncedKind::Workspace, first).is_empty());
        let second = HashMap::from([(id("same"), seen(1))]);
        let woken = watched.listed(SyncedKind::Workspace, second.clone());
        assert_eq!(woken, [owner_key().unwrap()]);
        assert!(watched.listed(SyncedKind::Workspace, second).is_empty());
    }
}
