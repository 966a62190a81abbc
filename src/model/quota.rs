//! Quotas: which Workspaces may start when not all of them may.
//!
//! A caller makes a [`CensusRecord`] of every Workspace in the cluster, takes the [`Census`] once, and asks it for the
//! verdict on one. Pure and the same in every replica: whoever started keeps its place, then the older ones come first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::api::shared::Blame;
use crate::api::workspace::{ActualState, Cause, Failure, Workspace};
use crate::model::class::Quota;

/// What the census needs to know of a Workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CensusRecord {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// Name of its class; none when there is none to be found.
    pub class: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it started at some time: then no quota takes its place away.
    pub started: bool,
    /// Whether it is terminated: then it does not count.
    pub terminated: bool,
}

impl CensusRecord {
    /// The record of a Workspace. `default_class` is the name of the one default class, if there is one.
    pub fn of(workspace: &Workspace, default_class: Option<&str>) -> Self {
        let status = workspace.status.as_ref();
        let state = status.and_then(|status| status.actual_state);
        let in_effect = status.and_then(|status| status.class_name.clone());
        let class = workspace
            .spec
            .class_name
            .clone()
            .or(in_effect)
            .or_else(|| default_class.map(str::to_owned));
        let never_started = [
            None,
            Some(ActualState::CreationRequested),
            Some(ActualState::Error),
        ];
        Self {
            namespace: workspace.metadata.namespace.clone().unwrap_or_default(),
            name: workspace.metadata.name.clone().unwrap_or_default(),
            owner: workspace.spec.owner.clone(),
            class,
            created: workspace
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0),
            started: status.is_some_and(|status| status.start_requested_at.is_some())
                || !never_started.contains(&state),
            terminated: state == Some(ActualState::Terminated),
        }
    }
}

/// The limits that hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Quotas of each class, by its name.
    pub classes: BTreeMap<String, Quota>,
    /// How many Workspaces there may be in the whole installation.
    pub installation: Option<u32>,
}

/// Which quota is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub quota: WhichQuota,
    /// How many Workspaces count.
    pub used: u32,
    /// How many there may be.
    pub limit: u32,
    /// The owner's own Workspaces among those that count, as namespace/name, in order.
    pub own: Vec<String>,
}

/// Names a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichQuota {
    /// `spec.quota.perOwner` of a class.
    PerOwner {
        /// The class.
        class: String,
        /// The owner.
        owner: String,
    },
    /// `spec.quota.total` of a class.
    Class {
        /// The class.
        class: String,
    },
    /// The installation's total.
    Installation,
}

/// How many names of one's own Workspaces a message lists.
const NAMES_SHOWN: usize = 10;

impl Exceeded {
    /// As users see it.
    pub fn failure(&self) -> Failure {
        let Self { used, limit, .. } = self;
        let (message, quota) = match &self.quota {
            WhichQuota::PerOwner { class, owner } => (
                format!("{owner} has {used} of {limit} Workspaces of class '{class}'"),
                format!("spec.quota.perOwner of WorkspaceClass '{class}'"),
            ),
            WhichQuota::Class { class } => (
                format!("class '{class}' has {used} of {limit} Workspaces"),
                format!("spec.quota.total of WorkspaceClass '{class}'"),
            ),
            WhichQuota::Installation => (
                format!("the installation has {used} of {limit} Workspaces"),
                "the installation's total quota".to_owned(),
            ),
        };
        let shown = self
            .own
            .iter()
            .take(NAMES_SHOWN)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let more = self.own.len().saturating_sub(NAMES_SHOWN);
        let own = if more > 0 {
            format!("{shown} and {more} more")
        } else {
            shown
        };
        let next_step = if self.own.is_empty() {
            format!("ask an administrator to raise {quota}")
        } else {
            format!(
                "terminate or delete one of your own (stopped ones count too): {own}; or ask an administrator to raise {quota}"
            )
        };
        Failure {
            cause: Cause::QuotaExceeded,
            blame: Blame::User,
            message,
            evidence: format!("{quota}: {used} used, limit {limit}"),
            retryable: true,
            next_step,
            since: None,
        }
    }
}

/// Who is in, and who waits for which quota.
#[derive(Debug, Clone, Default)]
pub struct Census {
    waiting: HashMap<(String, String), Exceeded>,
}

impl Census {
    /// Counts all Workspaces that are not terminated.
    ///
    /// Those that started keep their place, also when a quota is lowered under them. The others come in the order of
    /// creation, then namespace and name. One that waits for a quota takes no place in another.
    pub fn take(records: &[CensusRecord], limits: &Limits) -> Self {
        let mut order: Vec<&CensusRecord> =
            records.iter().filter(|record| !record.terminated).collect();
        order.sort_by(|a, b| {
            // Without a creation time the API server has not taken it yet: last.
            let key = |r: &CensusRecord| (!r.started, r.created.is_none(), r.created);
            key(a)
                .cmp(&key(b))
                .then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
        });
        let mut places = Places::default();
        let mut waiting = HashMap::new();
        for record in order {
            match places.exceeded(record, limits) {
                Some((quota, used, limit)) if !record.started => {
                    let own = places.own(record, &quota);
                    let exceeded = Exceeded {
                        quota,
                        used,
                        limit,
                        own,
                    };
                    waiting.insert((record.namespace.clone(), record.name.clone()), exceeded);
                }
                _ => places.take(record),
            }
        }
        Self { waiting }
    }

    /// The quota that a Workspace waits for, if any.
    pub fn verdict(&self, namespace: &str, name: &str) -> Option<&Exceeded> {
        self.waiting.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The Workspaces that wait, as (namespace, name).
    pub fn waiting(&self) -> BTreeSet<(&str, &str)> {
        self.waiting
            .keys()
            .map(|(namespace, name)| (namespace.as_str(), name.as_str()))
            .collect()
    }
}

/// Places that are taken.
#[derive(Default)]
struct Places<'a> {
    all: u32,
    by_class: HashMap<&'a str, u32>,
    by_owner: HashMap<(&'a str, &'a str), u32>,
    of_owner: HashMap<&'a str, Vec<&'a CensusRecord>>,
}

impl<'a> Places<'a> {
    fn exceeded(
        &self,
        record: &'a CensusRecord,
        limits: &Limits,
    ) -> Option<(WhichQuota, u32, u32)> {
        let full = |used: u32, limit: Option<u32>| {
            limit
                .filter(|limit| used >= *limit)
                .map(|limit| (used, limit))
        };
        if let Some(class) = record.class.as_deref() {
            let quota = limits.classes.get(class).copied().unwrap_or_default();
            let used = self
                .by_owner
                .get(&(class, record.owner.as_str()))
                .copied()
                .unwrap_or(0);
            if let Some((used, limit)) = full(used, quota.per_owner) {
                let which = WhichQuota::PerOwner {
                    class: class.to_owned(),
                    owner: record.owner.clone(),
                };
                return Some((which, used, limit));
            }
            let used = self.by_class.get(class).copied().unwrap_or(0);
            if let Some((used, limit)) = full(used, quota.total) {
                return Some((
                    WhichQuota::Class {
                        class: class.to_owned(),
                    },
                    used,
                    limit,
                ));
            }
        }
        full(self.all, limits.installation)
            .map(|(used, limit)| (WhichQuota::Installation, used, limit))
    }

    fn take(&mut self, record: &'a CensusRecord) {
        self.all = self.all.saturating_add(1);
        if let Some(class) = record.class.as_deref() {
            *self.by_class.entry(class).or_default() += 1;
            *self
                .by_owner
                .entry((class, record.owner.as_str()))
                .or_default() += 1;
        }
        self.of_owner
            .entry(record.owner.as_str())
            .or_default()
            .push(record);
    }

    fn own(&self, record: &CensusRecord, quota: &WhichQuota) -> Vec<String> {
        let same_class = !matches!(quota, WhichQuota::Installation);
        let own = self
            .of_owner
            .get(record.owner.as_str())
            .map(Vec::as_slice)
            .unwrap_or_default();
        own.iter()
            .filter(|other| !same_class || other.class == record.class)
            .map(|other| format!("{}/{}", other.namespace, other.name))
            .collect()
    }
}

#[cfg(test)]
mod tests;
