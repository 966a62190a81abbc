//! Which identity each set was opened with, for the metric that says what still depends on an old one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::watcher::Event;

use crate::api::WorkspaceVariables;
use crate::controllers::cache::Key;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::IdentityLabels;

/// Sets by the fingerprint of the identity that opened them.
pub struct HeldBy {
    sets: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    by: HashMap<Key, String>,
    /// Those of a list in progress.
    listing: HashMap<Key, String>,
}

impl HeldBy {
    /// None known.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            sets: Mutex::default(),
            metrics,
        }
    }

    /// Takes an event of the watch in: sets that are gone count no more.
    pub fn take(&self, event: &Event<WorkspaceVariables>) {
        let mut state = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(_) => {}
            Event::Delete(set) => self.set(&mut state.by, &Key::of(set), None),
            Event::Init => state.listing.clear(),
            Event::InitApply(set) => {
                let by = set
                    .status
                    .as_ref()
                    .and_then(|status| status.opened_by.clone());
                state.listing.extend(by.map(|by| (Key::of(set), by)));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listing);
                let gone: Vec<Key> = state
                    .by
                    .keys()
                    .filter(|key| !listed.contains_key(*key))
                    .cloned()
                    .collect();
                for key in gone {
                    self.set(&mut state.by, &key, None);
                }
                for (key, by) in listed {
                    self.set(&mut state.by, &key, Some(&by));
                }
            }
        }
    }

    /// A set is opened with this one.
    pub fn note(&self, key: &Key, by: Option<&str>) {
        let mut state = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        self.set(&mut state.by, key, by);
    }

    fn set(&self, known: &mut HashMap<Key, String>, key: &Key, by: Option<&str>) {
        let before = match by {
            Some(by) => known.insert(key.clone(), by.to_owned()),
            None => known.remove(key),
        };
        if before.as_deref() == by {
            return;
        }
        let gauge = |fingerprint: &str| {
            let identity = fingerprint.to_owned();
            let labels = IdentityLabels { identity };
            self.metrics.sets_by_identity.get_or_create(&labels).clone()
        };
        if let Some(before) = before {
            gauge(&before).dec();
        }
        if let Some(by) = by {
            gauge(by).inc();
        }
    }
}
