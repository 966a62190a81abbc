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
    /// As the watch showed them last, or as their last pass saw them.
    records: HashMap<Key, CensusRecord>,
    /// The class that a Workspace was let into, while the watch does not show its start there yet.
    admitted: HashMap<Key, String>,
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
    pub fn set(&self, key: Key, record: CensusRecord) -> bool {
        let mut inner = self.lock();
        let is_new = match inner.records.get(&key) {
            Some(old) if *old == record => return false,
            Some(old) => old.created != record.created,
            None => true,
        };
        if is_new {
            // A new object of the name was let in nowhere.
            inner.admitted.remove(&key);
        }
        inner.records.insert(key, record);
        inner.stale = true;
        true
    }

    /// Takes out a Workspace that was deleted. Returns whether it was there.
    pub fn remove(&self, key: &Key) -> bool {
        let mut inner = self.lock();
        inner.admitted.remove(key);
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

    /// The quota that a Workspace waits for, as a pass sees it. Without one it is let in, and keeps its place from now on:
    /// a Workspace of the same second whose name comes first must not take it while the start is being written.
    ///
    /// The record is that of the pass: it may know of a change of the class before the watch shows it.
    pub fn admit(&self, key: &Key, record: CensusRecord) -> Option<Exceeded> {
        let mut inner = self.lock();
        let class = record.class.clone();
        match inner.records.get_mut(key) {
            Some(known) if *known == record => {}
            Some(known) => {
                *known = record;
                inner.stale = true;
            }
            // Gone meanwhile.
            None => return None,
        }
        if inner.admitted.get(key) != class.as_ref() {
            inner.withdraw(key);
        }
        inner.refresh();
        let verdict = inner.census.verdict(&key.namespace, &key.name).cloned();
        if verdict.is_none()
            && let Some(class) = class
        {
            inner.admitted.insert(key.clone(), class);
        }
        verdict
    }

    /// Takes back what a Workspace was let into and did not start in.
    pub fn withdraw(&self, key: &Key) {
        self.lock().withdraw(key);
    }

    /// Whether somebody waits no more and was not told of yet.
    pub fn has_freed(&self) -> bool {
        let mut inner = self.lock();
        inner.refresh();
        !inner.freed.is_empty()
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
            let records: Vec<CensusRecord> = self
                .records
                .iter()
                .map(|(key, record)| {
                    let mut record = record.clone();
                    record.holds.extend(self.admitted.get(key).cloned());
                    record
                })
                .collect();
            self.census = Census::take(&records, &self.limits);
            let after = self.waiting();
            self.freed.extend(before.difference(&after).cloned());
        }
    }

    fn withdraw(&mut self, key: &Key) {
        self.stale |= self.admitted.remove(key).is_some();
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
    use crate::model::class::Quota;

    fn mk_record(name: &str, created: i64) -> CensusRecord {
        CensusRecord {
            namespace: "team".to_owned(),
            name: name.to_owned(),
            owner: "alice".to_owned(),
            class: Some("small".to_owned()),
            holds: BTreeSet::new(),
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
        let [a, b, c] = [mk_record("a", 1), mk_record("b", 2), mk_record("c", 3)];
        for record in [&a, &b, &c] {
            roll.set(key(&record.name), record.clone());
        }
        assert!(roll.admit(&key("a"), a).is_none());
        assert!(roll.admit(&key("b"), b).is_some());
        assert_eq!(roll.freed(), []);
        assert!(roll.remove(&key("a")));
        assert_eq!(roll.freed(), [key("b")]);
        assert!(roll.admit(&key("c"), c).is_some());
    }

    #[test]
    fn an_admitted_one_keeps_its_place_before_its_start_is_seen() {
        let roll = mk_roll(1);
        let [a, b] = [mk_record("a", 1), mk_record("b", 1)];
        roll.set(key("b"), b.clone());
        assert!(roll.admit(&key("b"), b.clone()).is_none());
        roll.set(key("a"), a.clone());
        assert!(roll.admit(&key("a"), a.clone()).is_some());
        assert!(roll.admit(&key("b"), b.clone()).is_none());
        // The watch shows it once more, still without its start.
        assert!(!roll.set(key("b"), b));
        assert!(roll.admit(&key("a"), a).is_some());
    }

    #[test]
    fn a_higher_limit_frees_places() {
        let roll = mk_roll(0);
        let a = mk_record("a", 1);
        roll.set(key("a"), a.clone());
        assert!(roll.admit(&key("a"), a).is_some());
        assert!(roll.set_limits(Limits::default()));
        assert_eq!(roll.freed(), [key("a")]);
    }

    fn mk_gpu_roll(total: u32) -> Roll {
        let roll = Roll::new();
        let quota = Quota {
            per_owner: None,
            total: Some(total),
        };
        roll.set_limits(Limits {
            classes: [("gpu".to_owned(), quota)].into(),
            installation: None,
        });
        roll
    }

    fn moved_to_gpu(name: &str, created: i64) -> CensusRecord {
        CensusRecord {
            class: Some("gpu".to_owned()),
            holds: ["small".to_owned()].into(),
            started: true,
            ..mk_record(name, created)
        }
    }

    #[test]
    fn a_pass_that_knows_of_another_class_before_the_watch_waits_for_that_class() {
        let roll = mk_gpu_roll(0);
        let before = CensusRecord {
            class: Some("small".to_owned()),
            ..moved_to_gpu("a", 1)
        };
        roll.set(key("a"), before.clone());
        assert!(roll.admit(&key("a"), before).is_none());
        let exceeded = roll.admit(&key("a"), moved_to_gpu("a", 1)).unwrap();
        assert_eq!(exceeded.stays_in.as_deref(), Some("small"));
    }

    #[test]
    fn whoever_turns_away_before_it_started_there_frees_the_place_that_it_was_let_into() {
        let roll = mk_gpu_roll(1);
        let [one, two] = [moved_to_gpu("one", 1), moved_to_gpu("two", 2)];
        roll.set(key("one"), one.clone());
        roll.set(key("two"), two.clone());
        assert!(roll.admit(&key("one"), one.clone()).is_none());
        assert!(roll.admit(&key("two"), two.clone()).is_some());
        let back = CensusRecord {
            class: Some("small".to_owned()),
            ..one
        };
        assert!(roll.admit(&key("one"), back).is_none());
        assert!(roll.has_freed());
        assert_eq!(roll.freed(), [key("two")]);
        assert!(roll.admit(&key("two"), two).is_none());
        roll.withdraw(&key("two"));
        assert!(roll.admit(&key("two"), moved_to_gpu("two", 2)).is_none());
    }
}
