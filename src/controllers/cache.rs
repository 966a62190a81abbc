//! What the API server holds, as far as the watches told us: objects of one kind, and which Workspace they belong to.
//!
//! Beside kube's own store it knows two things that a reconcile needs: the children of one Workspace without a walk
//! over everybody's, and our own last write, which the watch may not have shown yet.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::controllers::guard::{Guarded, Sentinel};
use crate::model::names::WORKSPACE_LABEL;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::WatchLabels;

/// So long our own write is believed although the watch does not show the object. A deletion that the watch shows ends
/// it at once; this bound is for one that got lost with a broken watch.
pub const UNSEEN: Duration = Duration::from_secs(5);

/// An object by its name; the namespace of a cluster-wide one is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key of these two.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(
            object.meta().namespace.clone().unwrap_or_default(),
            object.meta().name.clone().unwrap_or_default(),
        )
    }

    /// The Workspace that a child belongs to: that which controls it, else the one that its label names. Labels may be
    /// edited by hand, and are put right when the Workspace hears of it.
    pub fn of_workspace<K: Resource>(child: &K) -> Option<Self> {
        let owners = child.meta().owner_references.iter().flatten();
        let controller = owners
            .into_iter()
            .find(|owner| owner.controller == Some(true) && owner.kind == "Workspace");
        let workspace = match controller {
            Some(owner) => &owner.name,
            None => child.meta().labels.as_ref()?.get(WORKSPACE_LABEL)?,
        };
        let namespace = child.meta().namespace.as_ref()?;
        Some(Self::new(namespace, workspace))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The kinds that a cache can hold.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Cached for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// Our own last write of an object.
#[derive(Clone, Debug)]
struct Written<K> {
    object: Arc<K>,
    at: Instant,
}

#[derive(Debug)]
struct State<K> {
    objects: HashMap<Key, Arc<K>>,
    by_workspace: HashMap<Key, BTreeMap<String, Arc<K>>>,
    written: HashMap<Key, Written<K>>,
    /// What a list in progress has brought so far.
    listing: HashMap<Key, Arc<K>>,
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            by_workspace: HashMap::new(),
            written: HashMap::new(),
            listing: HashMap::new(),
        }
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Cache<K> {
    state: RwLock<State<K>>,
    ready: watch::Sender<bool>,
}

impl<K: Cached> Default for Cache<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Cached> Cache<K> {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self {
            state: RwLock::default(),
            ready: watch::Sender::new(false),
        }
    }

    /// Watches, keeps the cache, and yields each object that changed or went away. Errors are counted, logged and
    /// waited out here: a broken watch of one kind must not hold up the others.
    pub fn stream(
        self: &Arc<Self>,
        api: Api<K>,
        config: watcher::Config,
        kind: &'static str,
        metrics: Arc<Metrics>,
    ) -> impl Stream<Item = Arc<K>> + Send + 'static {
        let cache = self.clone();
        watcher::watcher(api, config)
            .default_backoff()
            .filter_map(move |event| std::future::ready(counted(event, kind, &metrics)))
            .flat_map(move |event| stream::iter(cache.take(event)))
    }

    /// The same for a kind of ours, of which an object may be unreadable.
    pub fn stream_guarded(
        self: &Arc<Self>,
        api: Api<Guarded<K>>,
        config: watcher::Config,
        sentinel: Arc<Sentinel>,
        kind: &'static str,
        metrics: Arc<Metrics>,
    ) -> impl Stream<Item = Arc<K>> + Send + 'static {
        let cache = self.clone();
        watcher::watcher(api, config)
            .default_backoff()
            .filter_map(move |event| std::future::ready(counted(event, kind, &metrics)))
            .flat_map(move |event| {
                let readable = sentinel.sift(event, |key| cache.watched(key));
                stream::iter(readable.map(|event| cache.take(event)).unwrap_or_default())
            })
    }

    /// The object as the watch showed it last.
    pub fn watched(&self, key: &Key) -> Option<K> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.objects.get(key).map(|object| K::clone(object))
    }

    /// Takes an event of the watch in, and says which objects it touched.
    pub fn take(&self, event: Event<K>) -> Vec<Arc<K>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => {
                let object = strip(object);
                let key = Key::of(&*object);
                let before = state.objects.get(&key).cloned();
                state.insert(key, object.clone());
                // One that lost its label concerns the Workspace that it had.
                let moved = before
                    .filter(|before| Key::of_workspace(&**before) != Key::of_workspace(&*object));
                moved.into_iter().chain([object]).collect()
            }
            Event::Delete(object) => {
                let object = strip(object);
                let key = Key::of(&*object);
                state.remove(&key);
                state.written.remove(&key);
                vec![object]
            }
            Event::Init => {
                state.listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let object = strip(object);
                state.listing.insert(Key::of(&*object), object);
                Vec::new()
            }
            Event::InitDone => {
                let touched = state.relist();
                drop(state);
                self.ready.send_replace(true);
                touched
            }
        }
    }

    /// Whether a whole list was seen.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until a whole list was seen.
    pub async fn wait_until_ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives in self, so this ends by the value alone.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// The newest version of an object that we know of: of the watch or of our own last write.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let watched = state.objects.get(key);
        let written = state.written.get(key);
        match (watched, written) {
            (Some(watched), Some(written)) if is_newer(&*written.object, &**watched) => {
                Some(written.object.clone())
            }
            (Some(watched), _) => Some(watched.clone()),
            (None, Some(written)) if written.at.elapsed() < UNSEEN => Some(written.object.clone()),
            (None, _) => None,
        }
    }

    /// Whether an object is believed to be there by our own write alone.
    pub fn is_unseen(&self, key: &Key) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        !state.objects.contains_key(key) && state.written.contains_key(key)
    }

    /// The children of a Workspace that the watch shows, by name.
    pub fn of_workspace(&self, workspace: &Key) -> Vec<Arc<K>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .by_workspace
            .get(workspace)
            .map(|children| children.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The same, with what we wrote ourselves and the watch does not show yet.
    pub fn of_workspace_with_written(&self, workspace: &Key) -> Vec<Arc<K>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut children = state
            .by_workspace
            .get(workspace)
            .cloned()
            .unwrap_or_default();
        for (key, written) in &state.written {
            if key.namespace == workspace.namespace
                && written.at.elapsed() < UNSEEN
                && Key::of_workspace(&*written.object).as_ref() == Some(workspace)
            {
                children.insert(key.name.clone(), written.object.clone());
            }
        }
        children.into_values().collect()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.objects.values().cloned().collect()
    }

    /// Remembers the API server's answer to a write of ours.
    pub fn wrote(&self, object: K) -> Arc<K> {
        let object = strip(object);
        let key = Key::of(&*object);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = state
            .objects
            .get(&key)
            .is_none_or(|watched| is_newer(&*object, &**watched));
        if is_news {
            let written = Written {
                object: object.clone(),
                at: Instant::now(),
            };
            state.written.insert(key, written);
        }
        object
    }

    /// Forgets a write of ours: the object was deleted.
    pub fn forget(&self, key: &Key) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.written.remove(key);
    }
}

impl<K: Cached> State<K> {
    fn insert(&mut self, key: Key, object: Arc<K>) {
        self.unindex(&key);
        if let Some(workspace) = Key::of_workspace(&*object) {
            self.by_workspace
                .entry(workspace)
                .or_default()
                .insert(key.name.clone(), object.clone());
        }
        // The watch caught up with our write: from now on it tells the truth alone.
        if self
            .written
            .get(&key)
            .is_some_and(|written| !is_newer(&*written.object, &*object))
        {
            self.written.remove(&key);
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, key: &Key) {
        self.unindex(key);
        self.objects.remove(key);
    }

    fn unindex(&mut self, key: &Key) {
        let Some(workspace) = self.objects.get(key).and_then(|o| Key::of_workspace(&**o)) else {
            return;
        };
        if let Some(children) = self.by_workspace.get_mut(&workspace) {
            children.remove(&key.name);
            if children.is_empty() {
                self.by_workspace.remove(&workspace);
            }
        }
    }

    /// Puts a finished list in the place of what was there. What vanished meanwhile counts as touched: its deletion
    /// was never shown.
    fn relist(&mut self) -> Vec<Arc<K>> {
        let listed = std::mem::take(&mut self.listing);
        let gone: Vec<(Key, Arc<K>)> = self
            .objects
            .iter()
            .filter(|(key, _)| !listed.contains_key(*key))
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        let mut touched: Vec<Arc<K>> = listed.values().cloned().collect();
        for (key, object) in gone {
            self.remove(&key);
            self.written.remove(&key);
            touched.push(object);
        }
        for (key, object) in listed {
            self.insert(key, object);
        }
        touched
    }
}

/// An event of a watch; an error is logged and counted here and goes no further.
pub fn counted<K>(
    event: Result<Event<K>, watcher::Error>,
    kind: &'static str,
    metrics: &Metrics,
) -> Option<Event<K>> {
    if let Err(error) = &event {
        tracing::warn!(%error, kind, "a watch broke; it is taken up again");
        metrics
            .watch_errors
            .get_or_create(&WatchLabels { kind })
            .inc();
    }
    event.ok()
}

/// Yields whenever a value changes; several changes while nobody looks are one.
pub fn changes<T: Send + Sync + 'static>(
    receiver: watch::Receiver<T>,
) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

/// Managed fields are as large as the object and nothing here reads them.
fn strip<K: Resource>(mut object: K) -> Arc<K> {
    object.meta_mut().managed_fields = None;
    Arc::new(object)
}

/// Whether `a` is a later version than `b`. Versions of one kind may be compared as numbers; should a server write
/// them otherwise, the watch is believed.
pub fn is_newer<K: Resource>(a: &K, b: &K) -> bool {
    let version = |object: &K| {
        object
            .resource_version()
            .and_then(|version| version.parse::<u64>().ok())
    };
    match (version(a), version(b)) {
        (Some(a), Some(b)) => a > b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::ObjectMeta;

    use super::*;

    fn mk_pod(name: &str, workspace: &str, version: u64) -> Pod {
        Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("team".to_owned()),
                resource_version: Some(version.to_string()),
                labels: Some(BTreeMap::from([(
                    WORKSPACE_LABEL.to_owned(),
                    workspace.to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        }
    }

    fn version(cache: &Cache<Pod>, name: &str) -> Option<String> {
        cache.get(&Key::new("team", name))?.resource_version()
    }

    fn names(cache: &Cache<Pod>, workspace: &str) -> Vec<String> {
        cache
            .of_workspace(&Key::new("team", workspace))
            .iter()
            .map(|pod| pod.name_any())
            .collect()
    }

    #[test]
    fn our_own_write_counts_until_the_watch_shows_it_or_something_later() {
        let cache = Cache::new();
        cache.take(Event::Apply(mk_pod("a", "w", 1)));
        cache.wrote(mk_pod("a", "w", 3));
        cache.take(Event::Apply(mk_pod("a", "w", 2)));
        assert_eq!(version(&cache, "a").as_deref(), Some("3"));
        cache.take(Event::Apply(mk_pod("a", "w", 4)));
        assert_eq!(version(&cache, "a").as_deref(), Some("4"));
    }

    #[test]
    fn a_deletion_that_the_watch_shows_ends_the_belief_in_our_write() {
        let cache = Cache::new();
        cache.wrote(mk_pod("a", "w", 3));
        assert!(cache.is_unseen(&Key::new("team", "a")));
        assert_eq!(version(&cache, "a").as_deref(), Some("3"));
        cache.take(Event::Delete(mk_pod("a", "w", 4)));
        assert_eq!(version(&cache, "a"), None);
    }

    #[test]
    fn a_list_after_a_broken_watch_touches_what_vanished() {
        let cache = Cache::new();
        cache.take(Event::Apply(mk_pod("a", "w", 1)));
        cache.take(Event::Apply(mk_pod("b", "w", 2)));
        cache.take(Event::Init);
        cache.take(Event::InitApply(mk_pod("b", "w", 2)));
        assert!(!cache.is_ready());
        let touched: Vec<String> = cache
            .take(Event::InitDone)
            .iter()
            .map(|pod| pod.name_any())
            .collect();
        assert_eq!(touched, ["b", "a"]);
        assert_eq!(names(&cache, "w"), ["b"]);
        assert!(cache.is_ready());
    }

    #[test]
    fn children_move_with_their_label() {
        let cache = Cache::new();
        cache.take(Event::Apply(mk_pod("a", "w", 1)));
        cache.take(Event::Apply(mk_pod("a", "x", 2)));
        assert_eq!(names(&cache, "w"), Vec::<String>::new());
        assert_eq!(names(&cache, "x"), ["a"]);
        cache.take(Event::Delete(mk_pod("a", "x", 3)));
        assert_eq!(names(&cache, "x"), Vec::<String>::new());
    }
}
