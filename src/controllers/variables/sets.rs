//! The sets of all namespaces as this process judged them, for whoever puts a workspace's variables together.
//!
//! What stands here is what a set is, not what is in it: its content is opened again when somebody takes it, which the
//! memory of [`Opener`] mostly answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use crate::api::WorkspaceVariables;
use crate::controllers::cache::Key;
use crate::controllers::identities::Ring;
use crate::controllers::variables::opener::{Content, Ended, Opener};
use crate::controllers::variables::uses::Uses;
use crate::secrets::binding::Audience;
use crate::telemetry::Metrics;

/// All sets.
pub struct Sets {
    pub(super) opener: Opener,
    pub(super) ring: watch::Sender<Ring>,
    /// Who has something of them.
    pub uses: Uses,
    state: Mutex<State>,
    /// Rings when a set is another one than it was.
    bell: watch::Sender<()>,
    /// Whether all sets were listed once.
    listed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    by_namespace: HashMap<String, BTreeMap<String, Known>>,
    listing: BTreeSet<Key>,
    moved: BTreeMap<Key, bool>,
}

/// A set that the API server holds.
#[derive(Clone)]
pub struct Known {
    uid: Option<String>,
    /// What it is; none before it was looked at for the first time.
    pub standing: Option<Standing>,
}

/// What a set is.
#[derive(Clone)]
pub enum Standing {
    /// It may be used.
    Usable(Usable),
    /// It may not.
    Refused {
        /// Why, beginning with the code.
        why: String,
        /// Who got what was accepted before it.
        audience: Option<Audience>,
    },
}

/// A set that may be used.
#[derive(Clone)]
pub struct Usable {
    /// Who gets it.
    pub audience: Audience,
    /// SHA-256 of its sealed text.
    pub digest: String,
    /// The object with this very text.
    pub set: Arc<WorkspaceVariables>,
}

/// Why the content of a set can't be had now, although it may be used.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// The identities went since.
    #[error("there is nothing to open it with any more")]
    NoIdentities,
    /// It was opened before, and now not.
    #[error("{0}")]
    Refused(String),
    /// Opening it ended early.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl Standing {
    /// Who gets it, as far as that is known.
    pub fn audience(&self) -> Option<&Audience> {
        match self {
            Self::Usable(usable) => Some(&usable.audience),
            Self::Refused { audience, .. } => audience.as_ref(),
        }
    }

    /// Whether a workspace would get the same by it.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Usable(one), Self::Usable(other)) => {
                one.digest == other.digest && one.audience == other.audience
            }
            (
                Self::Refused { why, audience },
                Self::Refused {
                    why: other_why,
                    audience: other_audience,
                },
            ) => why == other_why && audience == other_audience,
            _ => false,
        }
    }
}

impl Sets {
    /// Nothing seen yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            opener: Opener::new(metrics),
            ring: watch::Sender::new(Ring::Unread),
            uses: Uses::default(),
            state: Mutex::default(),
            bell: watch::Sender::new(()),
            listed: watch::Sender::new(false),
        }
    }

    /// Takes an event of the watch in: a set that is new is not looked at yet, and one that is gone goes.
    pub(super) fn take(&self, event: &Event<WorkspaceVariables>) {
        let mut state = self.state();
        match event {
            Event::Apply(set) => state.seen(set),
            Event::Delete(set) => state.gone(&Key::of(set)),
            Event::Init => state.listing.clear(),
            Event::InitApply(set) => {
                state.listing.insert(Key::of(set));
                state.seen(set);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listing);
                let known = state.by_namespace.iter();
                let all = known.flat_map(|(namespace, sets)| {
                    sets.keys().map(move |name| Key::new(namespace, name))
                });
                let gone: Vec<Key> = all.filter(|key| !listed.contains(key)).collect();
                for key in gone {
                    state.gone(&key);
                }
                self.listed.send_replace(true);
            }
        }
        self.ring_if_moved(state);
    }

    /// A set was judged.
    pub(super) fn judged(&self, set: &WorkspaceVariables, standing: Standing) {
        let key = Key::of(set);
        let mut state = self.state();
        let sets = state.by_namespace.get_mut(&key.namespace);
        let Some(known) = sets.and_then(|sets| sets.get_mut(&key.name)) else {
            // Deleted meanwhile.
            return;
        };
        if known.uid != set.meta().uid {
            return;
        }
        let before = known.standing.as_ref();
        let is_like = before.is_some_and(|before| before.is_like(&standing));
        let audiences = [before.and_then(Standing::audience), standing.audience()];
        let wide = audiences
            .iter()
            .flatten()
            .any(|audience| **audience != Audience::Listed);
        known.standing = Some(standing);
        if !is_like {
            state.moved(key, wide);
        }
        self.ring_if_moved(state);
    }

    /// Looks at all sets of a namespace, by name.
    pub fn in_namespace<T>(
        &self,
        namespace: &str,
        look: impl FnOnce(&BTreeMap<String, Known>) -> T,
    ) -> T {
        let state = self.state();
        let none = BTreeMap::new();
        look(state.by_namespace.get(namespace).unwrap_or(&none))
    }

    /// Waits until all sets were listed once.
    pub async fn wait_until_listed(&self) {
        let mut listed = self.listed.subscribe();
        // Never closed: the sender is here.
        let _ = listed.wait_for(|listed| *listed).await;
    }

    /// Whether all sets were listed once.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Rings when sets are other ones than they were.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Those that are, each told once, and whether that concerns more Workspaces than list them.
    pub fn moved(&self) -> BTreeMap<Key, bool> {
        std::mem::take(&mut self.state().moved)
    }

    /// The content of a set.
    ///
    /// # Errors
    /// When it can't be opened any more.
    pub async fn content(&self, usable: &Usable) -> Result<Arc<Content>, Unopened> {
        let ring = self.ring.borrow().clone();
        let Ring::Held(held) = ring else {
            return Err(Unopened::NoIdentities);
        };
        let opened = self.opener.open(&usable.set, &held).await?;
        opened
            .content
            .map_err(|error| Unopened::Refused(format!("{}: {error}", error.code())))
    }

    fn ring_if_moved(&self, state: MutexGuard<'_, State>) {
        let any = !state.moved.is_empty();
        drop(state);
        if any {
            self.bell.send_replace(());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seen(&mut self, set: &WorkspaceVariables) {
        let key = Key::of(set);
        let sets = self.by_namespace.entry(key.namespace).or_default();
        let uid = set.meta().uid.clone();
        let known = sets.entry(key.name).or_insert_with(|| Known {
            uid: uid.clone(),
            standing: None,
        });
        if known.uid != uid {
            *known = Known {
                uid,
                standing: None,
            };
        }
    }

    fn gone(&mut self, key: &Key) {
        let Some(sets) = self.by_namespace.get_mut(&key.namespace) else {
            return;
        };
        let gone = sets.remove(&key.name);
        if sets.is_empty() {
            self.by_namespace.remove(&key.namespace);
        }
        if let Some(gone) = gone {
            let audience = gone.standing.as_ref().and_then(Standing::audience);
            let wide = audience.is_some_and(|audience| *audience != Audience::Listed);
            self.moved(key.clone(), wide);
        }
    }

    fn moved(&mut self, key: Key, wide: bool) {
        *self.moved.entry(key).or_default() |= wide;
    }
}
