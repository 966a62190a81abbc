//! What passes over GitSyncs share, and what one remembers of a GitSync between two passes.
//!
//! All of it can be lost: a process that begins anew reads the inventory, fetches, and comes to the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::fights::Fights;
use super::outcome::Counts;
use super::requests::Requests;
use super::slots::Slots;
use super::watch::Watched;
use crate::api::GitSync;
use crate::controllers::Shared;
use crate::controllers::cache::{Cache, Key};
use crate::controllers::passes::Passes;
use crate::gitsync::snapshot::Readings;
use crate::gitsync::worker::FetchWorker;
use crate::model::sync::{Live, ObjectId, Snapshot, SourceError};

/// What passes share.
pub struct Context {
    /// Client, clock, metrics.
    pub shared: Arc<Shared>,
    /// The GitSyncs, our own writes included.
    pub gitsyncs: Arc<Cache<GitSync>>,
    /// What our labels are on.
    pub watched: Arc<Watched>,
    /// Who asked for a fetch.
    pub requests: Requests,
    /// Counts, logs and spaces passes.
    pub passes: Passes,
    /// Who may fetch at the same time.
    pub slots: Slots,
    /// What repositories and trees cost together.
    pub budget: Budget,
    /// Runs fetches.
    pub worker: FetchWorker,
    /// A GitSync went away.
    pub gone: Notify,
    /// The process is to end: fetches are broken off, everything else ends what it began.
    pub stop: CancellationToken,
    memories: Mutex<HashMap<Key, Memory>>,
}

impl Context {
    /// Nothing remembered yet.
    pub fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self {
            gitsyncs: Arc::new(Cache::new()),
            watched: Arc::new(Watched::new(shared.config.scope.namespace.clone())),
            passes: Passes::new("gitsync", shared.metrics.clone(), shared.config.backoff),
            slots: Slots::new(shared.config.git.fetches),
            budget: Budget::new(shared.config.git),
            worker: FetchWorker::new(&shared.config.git_program),
            gone: Notify::new(),
            stop,
            memories: Mutex::default(),
            requests: shared.gitsync_requests.clone(),
            shared,
        }
    }

    /// What is remembered of this GitSync; nothing of an earlier one of the name. No other pass over it runs meanwhile.
    pub fn recall(&self, key: &Key, uid: &str) -> Memory {
        self.memories()
            .remove(key)
            .filter(|memory| memory.uid == uid)
            .unwrap_or_else(|| Memory::new(uid))
    }

    /// Keeps it for the next pass.
    pub fn remember(&self, key: Key, memory: Memory) {
        self.memories().insert(key, memory);
    }

    /// Forgets a GitSync that is gone.
    pub fn forget(&self, key: &Key) {
        self.memories().remove(key);
        self.passes.forget(key);
        self.budget.forget(key);
        self.gone.notify_one();
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<Key, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered of one GitSync.
#[derive(Debug, Default)]
pub struct Memory {
    uid: String,
    /// It was deleted and let go: what is still seen of it is old.
    pub let_go: bool,
    /// The tree that was read last.
    pub tree: Option<Tree>,
    /// When to fetch next without being told.
    pub next_fetch: Option<Timestamp>,
    /// The generation of the spec that was last tried to fetch.
    pub attempted_generation: Option<i64>,
    /// Passes in a row that the API server cut off.
    pub cut_off: u32,
    /// Why the last fetch failed.
    pub fetch_error: Option<SourceError>,
    /// Fetches that failed in a row.
    pub failures: u32,
    /// Resource version of the Secret that the last fetch used.
    pub secret_version: Option<String>,
    /// The values of the two annotations that ask for a pass, as they were last carried out.
    pub requests: Option<Asked>,
    /// The approval that the last fetched pass saw.
    pub approval: Option<String>,
    /// Passes in a row that left something to retry.
    pub retries: u32,
    /// Objects that differ from what we left although nothing that Git sets does, as they were when that was seen.
    pub clean: HashMap<ObjectId, Live>,
    /// What was written and not yet told.
    pub counts: Counts,
    /// Corrections of drift.
    pub fights: Fights,
}

impl Memory {
    fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            ..Self::default()
        }
    }
}

/// A tree that was read.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The generation of the spec under which it was read.
    pub generation: i64,
    /// What it says. What of it is meant for namespaces that do not accept it is taken out in each pass anew.
    pub read: Arc<Snapshot>,
    /// What was made of each of its files.
    pub readings: Arc<Readings>,
}

/// The values of the two annotations that ask for a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `workstead.dev/reconcile-requested-at`.
    pub ours: Option<String>,
    /// What Flux's tools write.
    pub flux: Option<String>,
}

impl Asked {
    /// Which request is new, if one is: the value to echo, and what is carried out after it. One at a time, since there
    /// is one echo, and whoever asked waits for theirs.
    pub fn next(&self, done: Option<&Self>, echoed: Option<&str>) -> Option<(String, Self)> {
        let done = match done {
            Some(done) => done.clone(),
            // After a restart only the echo is known: what it names was the last one.
            None if echoed.is_some()
                && (echoed == self.ours.as_deref() || echoed == self.flux.as_deref()) =>
            {
                self.clone()
            }
            None => Self::default(),
        };
        if let Some(ours) = &self.ours
            && done.ours.as_ref() != Some(ours)
        {
            let after = Self {
                ours: Some(ours.clone()),
                flux: done.flux,
            };
            return Some((ours.clone(), after));
        }
        if let Some(flux) = &self.flux
            && done.flux.as_ref() != Some(flux)
        {
            let after = Self {
                ours: done.ours,
                flux: Some(flux.clone()),
            };
            return Some((flux.clone(), after));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(ours: &str, flux: &str) -> Asked {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Asked {
            ours: some(ours),
            flux: some(flux),
        }
    }

    #[test]
    fn each_request_is_carried_out_once_and_echoed() {
        let now = asked("1", "a");
        let (echo, done) = now.next(None, None).unwrap();
        assert_eq!(echo, "1");
        let (echo, done) = now.next(Some(&done), Some("1")).unwrap();
        assert_eq!(echo, "a");
        assert_eq!(now.next(Some(&done), Some("a")), None);
        let (echo, done) = asked("2", "a").next(Some(&done), Some("a")).unwrap();
        assert_eq!(echo, "2");
        assert_eq!(asked("2", "a").next(Some(&done), Some("2")), None);
    }

    #[test]
    fn after_a_restart_what_was_echoed_is_not_carried_out_again() {
        assert_eq!(asked("1", "a").next(None, Some("1")), None);
        assert_eq!(asked("1", "a").next(None, Some("a")), None);
        assert_eq!(asked("", "").next(None, Some("a")), None);
        assert!(asked("2", "").next(None, Some("1")).is_some());
    }
}
