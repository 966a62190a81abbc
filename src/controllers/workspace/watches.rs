//! What the watches of Workspaces and classes keep up to date, and whom they wake.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_kind};
use kube::{Api, Resource};
use tokio::sync::{mpsc, watch};

use crate::api::workspace::{ActualState, Failure};
use crate::api::{Workspace, WorkspaceClass};
use crate::controllers::Shared;
use crate::controllers::cache::{Cache, Key, changes, counted};
use crate::controllers::guard::{Guarded, News, Sentinel, Unreadable};
use crate::controllers::variables::Sets;
use crate::controllers::workspace::census::Roll;
use crate::controllers::workspace::children::object_ref;
use crate::controllers::workspace::hosts::Holders;
use crate::controllers::workspace::latest::Latest;
use crate::model::access::{Claim, Conflict};
use crate::model::class::{self, ValidatedClass};
use crate::model::installation::Installation;
use crate::model::quota::{CensusRecord, Exceeded, Limits};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::StateLabels;

/// What the watches keep.
pub struct Watched {
    /// The classes.
    pub classes: Arc<Cache<WorkspaceClass>>,
    /// Which classes can't be read. Their own controller tells of them.
    unreadable_classes: Arc<Sentinel>,
    /// Who may start.
    pub roll: Roll,
    /// Our own last status writes.
    pub latest: Latest,
    /// The one default class, if there is one.
    default_class: RwLock<Option<String>>,
    installation_quota: Option<u32>,
    /// Who holds which host.
    hosts: Holders,
    /// The sealed sets, and who uses them.
    sets: Arc<Sets>,
    /// Rings when a place may have become free.
    places: watch::Sender<()>,
    listing: Mutex<BTreeSet<Key>>,
    /// Whether the Workspaces were listed once.
    listed: AtomicBool,
    states: Mutex<States>,
}

/// The state of every Workspace, for the gauge.
#[derive(Default)]
struct States {
    by_key: std::collections::HashMap<Key, ActualState>,
}

impl Watched {
    /// Nothing seen yet.
    pub fn new(installation: &Installation, sets: Arc<Sets>) -> Self {
        let installation_quota = installation.total_quota;
        let roll = Roll::new();
        roll.set_limits(Limits {
            installation: installation_quota,
            ..Limits::default()
        });
        Self {
            classes: Arc::default(),
            unreadable_classes: Arc::new(Sentinel::silent("WorkspaceClass")),
            roll,
            latest: Latest::default(),
            default_class: RwLock::default(),
            installation_quota,
            hosts: Holders::new(installation.reserved_names.clone()),
            sets,
            places: watch::Sender::new(()),
            listing: Mutex::default(),
            listed: AtomicBool::new(false),
            states: Mutex::default(),
        }
    }

    /// Watches Workspaces: the stream that drives the controller, its store, and what is to be told of those that can't
    /// be read.
    pub fn workspaces(
        self: &Arc<Self>,
        shared: &Shared,
        forget: impl Fn(&Key) + Send + 'static,
    ) -> (
        Store<Workspace>,
        impl Stream<Item = Result<Workspace, watcher::Error>> + Send + 'static,
        mpsc::Receiver<News>,
    ) {
        let (reader, writer) = reflector::store();
        let watched = self.clone();
        let metrics = shared.metrics.clone();
        let count = metrics.clone();
        let (sentinel, news) = Sentinel::new("Workspace", metrics.clone());
        let known = reader.clone();
        let stream = watch_kind(
            shared
                .config
                .scope
                .api::<Guarded<Workspace>>(&shared.client),
            watcher::Config::default(),
        )
        .default_backoff()
        .filter_map(move |event| std::future::ready(counted(event, "Workspace", &count)))
        .map(|event| event.modify(|workspace| workspace.meta_mut().managed_fields = None))
        .inspect(move |event| watched.take(event, &metrics, &forget))
        .filter_map(move |event| {
            let before = |key: &Key| {
                let found = known.get(&object_ref(key.clone()))?;
                Some(Arc::unwrap_or_clone(found))
            };
            std::future::ready(sentinel.sift(event, before))
        })
        .map(Ok)
        .reflect(writer)
        .applied_objects();
        (reader, stream, news)
    }

    fn take(&self, event: &Event<Guarded<Workspace>>, metrics: &Metrics, forget: &impl Fn(&Key)) {
        let changed = match event {
            Event::Apply(workspace) => self.set(workspace, metrics),
            Event::Delete(workspace) => {
                let key = Key::of(workspace);
                forget(&key);
                self.remove(&key, metrics)
            }
            Event::Init => {
                self.lock_listing().clear();
                false
            }
            Event::InitApply(workspace) => {
                self.lock_listing().insert(Key::of(workspace));
                self.set(workspace, metrics)
            }
            Event::InitDone => {
                self.listed.store(true, Ordering::Relaxed);
                self.sets.uses.set_listed();
                let listed = std::mem::take(&mut *self.lock_listing());
                let mut changed = false;
                for key in self.roll.missing_in(&listed) {
                    forget(&key);
                    changed |= self.remove(&key, metrics);
                }
                changed
            }
        };
        if changed {
            self.places.send_replace(());
        }
    }

    fn set(&self, workspace: &Guarded<Workspace>, metrics: &Metrics) -> bool {
        self.hosts.insert(Claim::of(workspace));
        let workspace = match &workspace.0 {
            Ok(workspace) => workspace,
            Err(unreadable) => return self.set_unreadable(unreadable, metrics),
        };
        self.latest.watched(workspace);
        self.sets.uses.insert(workspace);
        let key = Key::of(workspace);
        let state = workspace
            .status
            .as_ref()
            .and_then(|status| status.actual_state);
        self.count_state(&key, state, metrics);
        let default = self
            .default_class
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.roll
            .set(key, CensusRecord::of(workspace, default.as_deref()))
    }

    /// Nothing is done for one that can't be read, but what runs keeps its place.
    fn set_unreadable(&self, unreadable: &Unreadable, metrics: &Metrics) -> bool {
        let key = unreadable.key();
        let record = CensusRecord::of_unreadable(&unreadable.metadata, &unreadable.value);
        match record {
            Some(record) => {
                self.latest.forget(&key);
                self.count_state(&key, Some(ActualState::Unknown), metrics);
                self.roll.set(key, record)
            }
            None => self.remove(&key, metrics),
        }
    }

    fn remove(&self, key: &Key, metrics: &Metrics) -> bool {
        self.hosts.remove(key);
        self.latest.forget(key);
        self.sets.uses.remove(key);
        self.count_state(key, None, metrics);
        self.roll.remove(key)
    }

    fn count_state(&self, key: &Key, state: Option<ActualState>, metrics: &Metrics) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match state {
            Some(state) => states.by_key.insert(key.clone(), state),
            None => states.by_key.remove(key),
        };
        if old == state {
            return;
        }
        let gauge = |state| {
            metrics.workspaces.get_or_create_owned(&StateLabels {
                state: state_name(state),
            })
        };
        if let Some(old) = old {
            gauge(old).dec();
        }
        if let Some(state) = state {
            gauge(state).inc();
        }
    }

    fn lock_listing(&self) -> std::sync::MutexGuard<'_, BTreeSet<Key>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches classes, and wakes the Workspaces that a change concerns.
    pub fn classes(
        self: &Arc<Self>,
        shared: &Shared,
        workspaces: Store<Workspace>,
    ) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
        let watched = self.clone();
        self.classes
            .stream_guarded(
                Api::all(shared.client.clone()),
                shared.config.scope.classes(),
                self.unreadable_classes.clone(),
                "WorkspaceClass",
                shared.metrics.clone(),
            )
            .flat_map(move |class| {
                let all = workspaces.state();
                let default_moved = watched.take_classes(&all);
                let name = class.metadata.name.clone();
                let affected: Vec<ObjectRef<Workspace>> = all
                    .iter()
                    .filter(|workspace| match &workspace.spec.class_name {
                        Some(named) => Some(named) == name.as_ref(),
                        None => default_moved || watched.default_class() == name,
                    })
                    .map(|workspace| ObjectRef::from_obj(&**workspace))
                    .collect();
                stream::iter(affected)
            })
    }

    /// Takes the classes in as they are now. Returns whether the default is another one.
    fn take_classes(&self, workspaces: &[Arc<Workspace>]) -> bool {
        let classes = self.classes.all();
        let default = class::default_class_name(classes.iter().map(|class| &**class)).ok();
        let limits = Limits {
            classes: classes
                .iter()
                .filter_map(|class| {
                    let quota = class::validate(class).class?.quota;
                    Some((class.metadata.name.clone()?, quota))
                })
                .collect(),
            installation: self.installation_quota,
        };
        let mut changed = self.roll.set_limits(limits);
        let moved = {
            let mut known = self
                .default_class
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let moved = *known != default;
            known.clone_from(&default);
            moved
        };
        if moved {
            for workspace in workspaces {
                let record = CensusRecord::of(workspace, default.as_deref());
                changed |= self.roll.set(Key::of(&**workspace), record);
            }
        }
        if changed {
            self.places.send_replace(());
        }
        moved
    }

    /// The kinds whose first list is not there yet.
    pub fn unseen_kinds(&self) -> Vec<&'static str> {
        let workspaces = self.listed.load(Ordering::Relaxed);
        [
            ("Workspace", workspaces),
            ("WorkspaceClass", self.classes.is_ready()),
        ]
        .into_iter()
        .filter_map(|(kind, is_listed)| (!is_listed).then_some(kind))
        .collect()
    }

    /// The quota that a Workspace waits for before it may start in a class.
    pub fn admit(&self, workspace: &Workspace, class: &str) -> Option<Exceeded> {
        let record = CensusRecord::of(workspace, Some(class));
        let exceeded = self.roll.admit(&Key::of(workspace), record);
        self.ring_if_freed();
        exceeded
    }

    /// Takes back a place that a Workspace was let into and did not start in.
    pub fn withdraw(&self, key: &Key) {
        self.roll.withdraw(key);
        self.ring_if_freed();
    }

    fn ring_if_freed(&self) {
        if self.roll.has_freed() {
            self.places.send_replace(());
        }
    }

    /// The class of a Workspace, or why there is none to be had.
    pub fn class_of(&self, workspace: &Workspace) -> Result<ValidatedClass, Failure> {
        let classes = self.classes.all();
        let named = workspace.spec.class_name.as_deref();
        let namespace = workspace.metadata.namespace.as_deref().unwrap_or_default();
        let chosen = class::choose(named, namespace, classes.iter().map(|class| &**class));
        chosen.map_err(|failure| {
            let unreadable = named.and_then(|name| {
                let field = self
                    .unreadable_classes
                    .unreadable_field(&Key::new("", name))?;
                Some(class::unreadable(name, &field))
            });
            unreadable.unwrap_or(failure)
        })
    }

    fn default_class(&self) -> Option<String> {
        self.default_class
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Why a Workspace does not hold the host of its name.
    pub fn conflict(&self, workspace: &Workspace) -> Option<Conflict> {
        self.hosts.conflict(workspace)
    }

    /// Wakes the Workspaces that got or lost the host of their name by what became of another one.
    pub fn host_moves(
        self: &Arc<Self>,
    ) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
        let watched = self.clone();
        changes(self.hosts.bell()).flat_map(move |()| {
            let moved = watched.hosts.moved();
            stream::iter(moved.into_iter().map(object_ref))
        })
    }

    /// Wakes the Workspaces that a set concerns which is another one than it was.
    pub fn set_moves(
        self: &Arc<Self>,
        workspaces: Store<Workspace>,
    ) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
        let sets = self.sets.clone();
        changes(sets.bell()).flat_map(move |()| {
            let moved = sets.moved();
            let concerned = move |workspace: &Arc<Workspace>| {
                let namespace = workspace.metadata.namespace.as_deref().unwrap_or_default();
                let of_namespace = moved.iter().filter(|(set, _)| set.namespace == namespace);
                let lists = |name: &str| {
                    let mut listed = workspace.spec.variables.iter();
                    listed.any(|set| set.name == name)
                };
                of_namespace
                    .into_iter()
                    .any(|(set, wide)| *wide || lists(&set.name))
            };
            let all = workspaces.state();
            let woken: Vec<_> = all
                .iter()
                .filter(|workspace| concerned(workspace))
                .map(|workspace| ObjectRef::from_obj(&**workspace))
                .collect();
            stream::iter(woken)
        })
    }

    /// Wakes the Workspaces for which a place became free.
    pub fn freed(self: &Arc<Self>) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
        let watched = self.clone();
        changes(self.places.subscribe())
            .flat_map(move |()| stream::iter(watched.roll.freed().into_iter().map(object_ref)))
    }
}

/// A state as status names it.
pub fn state_name(state: ActualState) -> &'static str {
    match state {
        ActualState::CreationRequested => "CreationRequested",
        ActualState::Starting => "Starting",
        ActualState::Running => "Running",
        ActualState::Stopping => "Stopping",
        ActualState::Stopped => "Stopped",
        ActualState::Failed => "Failed",
        ActualState::Error => "Error",
        ActualState::Terminating => "Terminating",
        ActualState::Terminated => "Terminated",
        ActualState::Unknown => "Unknown",
    }
}
