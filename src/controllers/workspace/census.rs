//! Who may start, kept up to date from the watches, and who may start now that waited before.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::controllers::cache::Key;
use crate::model::quota::{Census, CensusRecord, Exceeded, Limits};

/// All Workspaces as the quotas see them.
///
/// The census is taken anew only when a record that it counts has changed, and only when somebody asks.
#[derive(Debug, Default)]
pub struct Roll {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<Key, CensusRecord>,
    limits: Limits,
    census: Census,
    stale: bool,
    /// Those that waited and wait no more, until somebody takes them.
    freed: BTreeSet<Key>,
}

impl Roll {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a Workspace as it is now. Returns whether anything that counts has changed.
    pub fn set(&self, key: Key, mut record: CensusRecord) -> bool {
        let mut inner = self.lock();
        if let Some(old) = inner.records.get(&key) {
            // Admitted here, while the watch does not show the start yet. A new object of the name has another time.
            record.started |= old.started && old.created == record.created;
            if *old == record {
                return false;
            }
        }
        inner.records.insert(key, record);
        inner.stale = true;
        true
    }

    /// Takes out a Workspace that was deleted. Returns whether it was there.
    pub fn remove(&self, key: &Key) -> bool {
        let mut inner = self.lock();
        let was_there = inner.records.remove(key).is_some();
        inner.stale |= was_there;
        was_there
    }

    /// Those that a fresh list does not have: they are gone.
    pub fn missing_in(&self, listed: &BTreeSet<Key>) -> Vec<Key> {
        let inner = self.lock();
        let missing = inner.records.keys().filter(|key| !listed.contains(key));
        missing.cloned().collect()
    }

    /// Sets the limits. Returns whether they changed.
    pub fn set_limits(&self, limits: Limits) -> bool {
        let mut inner = self.lock();
        if inner.limits == limits {
            return false;
        }
        inner.limits = limits;
        inner.stale = true;
        true
    }

    /// The quota that a Workspace waits for. Without one it is admitted, and keeps its place from now on: a Workspace of
    /// the same second whose name comes first must not take it while the start is being written.
    pub fn admit(&self, key: &Key) -> Option<Exceeded> {
        let mut inner = self.lock();
        inner.refresh();
        let verdict = inner.census.verdict(&key.namespace, &key.name).cloned();
        if verdict.is_none()
            && let Some(record) = inner.records.get_mut(key)
        {
            record.started = true;
        }
        verdict
    }

    /// The Workspaces that waited and wait no more, each told once.
    pub fn freed(&self) -> Vec<Key> {
        let mut inner = self.lock();
        inner.refresh();
        std::mem::take(&mut inner.freed).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn refresh(&mut self) {
        if std::mem::take(&mut self.stale) {
            let before = self.waiting();
            let records: Vec<CensusRecord> = self.records.values().cloned().collect();
            self.census = Census::take(&records, &self.limits);
            let after = self.waiting();
            self.freed.extend(before.difference(&after).cloned());
        }
    }

    fn waiting(&self) -> BTreeSet<Key> {
        self.census
            .waiting()
            .into_iter()
            .map(|(namespace, name)| Key::new(namespace, name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn mk_record(name: &str, created: i64) -> CensusRecord {
        CensusRecord {
            namespace: "team".to_owned(),
            name: name.to_owned(),
            owner: "alice".to_owned(),
            class: None,
            created: Timestamp::from_second(created).ok(),
            started: false,
            terminated: false,
        }
    }

    fn key(name: &str) -> Key {
        Key::new("team", name)
    }

    fn mk_roll(limit: u32) -> Roll {
        let roll = Roll::new();
        roll.set_limits(Limits {
            installation: Some(limit),
            ..Limits::default()
        });
        roll
    }

    #[test]
    fn a_freed_place_wakes_the_next_one_that_waits() {
        let roll = mk_roll(1);
        roll.set(key("a"), mk_record("a", 1));
        roll.set(key("b"), mk_record("b", 2));
        roll.set(key("c"), mk_record("c", 3));
        assert!(roll.admit(&key("a")).is_none());
        assert!(roll.admit(&key("b")).is_some());
        assert_eq!(roll.freed(), []);
        assert!(roll.remove(&key("a")));
        assert_eq!(roll.freed(), [key("b")]);
        assert!(roll.admit(&key("c")).is_some());
    }

    #[test]
    fn an_admitted_one_keeps_its_place_before_its_start_is_seen() {
        let roll = mk_roll(1);
        roll.set(key("b"), mk_record("b", 1));
        assert!(roll.admit(&key("b")).is_none());
        roll.set(key("a"), mk_record("a", 1));
        assert!(roll.admit(&key("a")).is_some());
        assert!(roll.admit(&key("b")).is_none());
        // The watch shows it once more, still without its start.
        assert!(!roll.set(key("b"), mk_record("b", 1)));
        assert!(roll.admit(&key("a")).is_some());
    }

    #[test]
    fn a_higher_limit_frees_places() {
        let roll = mk_roll(0);
        roll.set(key("a"), mk_record("a", 1));
        assert!(roll.admit(&key("a")).is_some());
        assert!(roll.set_limits(Limits::default()));
        assert_eq!(roll.freed(), [key("a")]);
    }
}
