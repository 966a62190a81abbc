//! Which Workspaces have something of which set, as their statuses say.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::Workspace;
use crate::api::environment::VariablesLevel;
use crate::api::variables::UsedBy;
use crate::controllers::cache::Key;

/// Workspaces that a status names.
const NAMED: usize = 50;

/// Sets and Workspaces, both ways.
pub struct Uses {
    state: Mutex<State>,
    /// Rings when a set is used by others than before.
    bell: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    by_workspace: HashMap<Key, BTreeSet<String>>,
    by_set: HashMap<Key, BTreeSet<String>>,
    moved: BTreeSet<Key>,
    listed: bool,
}

impl Default for Uses {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            bell: watch::Sender::new(()),
        }
    }
}

impl Uses {
    /// Takes a Workspace in as it is now.
    pub fn insert(&self, workspace: &Workspace) {
        let status = workspace.status.as_ref();
        let pinned = status.and_then(|status| status.variables.as_ref());
        let sets = pinned.iter().flat_map(|pinned| &pinned.sets);
        let sets = sets
            .filter(|set| set.level != VariablesLevel::Inline)
            .map(|set| set.name.clone())
            .collect();
        self.change(&Key::of(workspace), sets);
    }

    /// Takes a Workspace out that is gone.
    pub fn remove(&self, workspace: &Key) {
        self.change(workspace, BTreeSet::new());
    }

    /// All Workspaces were seen: before, what is not known may only not be seen yet.
    pub fn set_listed(&self) {
        let mut state = self.state();
        if !state.listed {
            state.listed = true;
            let used: Vec<Key> = state.by_set.keys().cloned().collect();
            state.moved.extend(used);
            drop(state);
            self.bell.send_replace(());
        }
    }

    /// Who uses a set; `before` is what its status says, which stays until all Workspaces were seen.
    pub fn of(&self, set: &Key, before: Option<&UsedBy>) -> Option<UsedBy> {
        let state = self.state();
        if !state.listed {
            return before.cloned();
        }
        let users = state.by_set.get(set)?;
        Some(UsedBy {
            count: i64::try_from(users.len()).unwrap_or(i64::MAX),
            workspaces: users.iter().take(NAMED).cloned().collect(),
        })
    }

    /// Rings when sets are used by others than before.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Those that are, each told once.
    pub fn moved(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.state().moved)
    }

    fn change(&self, workspace: &Key, sets: BTreeSet<String>) {
        let mut state = self.state();
        let before = if sets.is_empty() {
            state.by_workspace.remove(workspace)
        } else {
            state.by_workspace.insert(workspace.clone(), sets.clone())
        };
        let before = before.unwrap_or_default();
        for name in before.symmetric_difference(&sets) {
            let set = Key::new(&workspace.namespace, name);
            if sets.contains(name) {
                let users = state.by_set.entry(set.clone()).or_default();
                users.insert(workspace.name.clone());
            } else if let Some(users) = state.by_set.get_mut(&set) {
                users.remove(&workspace.name);
                if users.is_empty() {
                    state.by_set.remove(&set);
                }
            }
            state.moved.insert(set);
        }
        let rings = state.listed && !state.moved.is_empty();
        drop(state);
        if rings {
            self.bell.send_replace(());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
