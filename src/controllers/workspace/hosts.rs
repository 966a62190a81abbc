//! Which Workspace holds the host of its name, kept up to date from the watch.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::Workspace;
use crate::controllers::cache::Key;
use crate::model::access::{Claim, Conflict, Hosts};

/// All Workspaces by the host that they ask for.
pub struct Holders {
    reserved: Vec<String>,
    inner: Mutex<Inner>,
    /// Rings when somebody may have another verdict.
    bell: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    hosts: Hosts,
    uids: HashMap<Key, Arc<str>>,
    moved: BTreeSet<Key>,
}

impl Holders {
    /// Nobody yet; these names are the installation's.
    pub fn new(reserved: Vec<String>) -> Self {
        Self {
            reserved,
            inner: Mutex::default(),
            bell: watch::Sender::new(()),
        }
    }

    /// Takes in a Workspace.
    pub fn insert(&self, claim: Claim) {
        let key = Key::new(&*claim.namespace, &*claim.name);
        let mut inner = self.lock();
        let before = inner.uids.insert(key.clone(), claim.uid.clone());
        if before.as_ref() == Some(&claim.uid) {
            return;
        }
        // One of the same name was deleted and made anew.
        let mut moved = match before {
            Some(before) => inner.hosts.remove(&key.name, &before),
            None => Vec::new(),
        };
        moved.extend(inner.hosts.insert(claim));
        self.ring(inner, moved);
    }

    /// Takes out a Workspace that was deleted.
    pub fn remove(&self, key: &Key) {
        let mut inner = self.lock();
        let Some(uid) = inner.uids.remove(key) else {
            return;
        };
        let moved = inner.hosts.remove(&key.name, &uid);
        self.ring(inner, moved);
    }

    /// Why a Workspace does not hold the host of its name.
    pub fn conflict(&self, workspace: &Workspace) -> Option<Conflict> {
        let claim = Claim::of(workspace);
        self.lock()
            .hosts
            .conflict(&claim.name, &claim.uid, &self.reserved)
    }

    /// Those that may have another verdict, each told once.
    pub fn moved(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.lock().moved)
    }

    /// Rings when there are some.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    fn ring(&self, mut inner: MutexGuard<'_, Inner>, moved: Vec<Claim>) {
        let keys = moved
            .into_iter()
            .map(|claim| Key::new(&*claim.namespace, &*claim.name));
        inner.moved.extend(keys);
        let any = !inner.moved.is_empty();
        drop(inner);
        if any {
            self.bell.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
