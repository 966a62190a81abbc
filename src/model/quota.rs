//! Quotas: which Workspaces may start when not all of them may.
//!
//! A caller makes a [`CensusRecord`] of every Workspace in the cluster, takes the [`Census`] once, and asks it for the
//! verdict on one. Pure and the same in every replica: whoever started keeps its place, then the older ones come first.
//!
//! A place is one in a class. Whoever names another class keeps the place of its last start, which still runs or may
//! still be written to, and waits for one in the new class like everybody who never started there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::api::shared::Blame;
use crate::api::workspace::{ActualState, Cause, Failure, Workspace, WorkspaceStatus};
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
    /// Name of the class that its next start is in; none when there is none to be found.
    pub class: Option<String>,
    /// Classes in which it has a place for good: that of its last start, and one that it was let into just now.
    pub holds: BTreeSet<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it started at some time: then no quota of the installation takes its place away.
    pub started: bool,
    /// Whether it is terminated: then it does not count.
    pub terminated: bool,
}

impl CensusRecord {
    /// The record of a Workspace. `default_class` is the name of the one default class, if there is one.
    pub fn of(workspace: &Workspace, default_class: Option<&str>) -> Self {
        let status = workspace.status.as_ref();
        let class = workspace.spec.class_name.as_deref().or(default_class);
        Self::of_parts(&workspace.metadata, &workspace.spec.owner, class, status)
    }

    /// The record of one that can't be read as a whole, if it started: then it keeps its place. Nothing starts it anew.
    pub fn of_unreadable(metadata: &ObjectMeta, value: &Value) -> Option<Self> {
        let owner = value.pointer("/spec/owner").and_then(Value::as_str);
        let status =
            serde_json::from_value::<WorkspaceStatus>(value.get("status")?.clone()).ok()?;
        let class = status.class_name.as_deref();
        let record = Self::of_parts(metadata, owner.unwrap_or_default(), class, Some(&status));
        record.started.then_some(record)
    }

    fn of_parts(
        metadata: &ObjectMeta,
        owner: &str,
        class: Option<&str>,
        status: Option<&WorkspaceStatus>,
    ) -> Self {
        let started = status.is_some_and(has_started);
        let holds = status
            .filter(|_| started)
            .and_then(|status| status.class_name.clone())
            .into_iter()
            .collect();
        let state = status.and_then(|status| status.actual_state);
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            owner: owner.to_owned(),
            class: class.map(str::to_owned),
            holds,
            created,
            started,
            terminated: state == Some(ActualState::Terminated),
        }
    }

    /// Whether it counts without being let in anywhere.
    fn is_counted(&self) -> bool {
        self.started || !self.holds.is_empty()
    }

    /// Whether it has a place already in the class that its next start is in.
    fn is_in(&self) -> bool {
        match &self.class {
            Some(class) => self.holds.contains(class),
            None => self.started,
        }
    }
}

/// Whether a status shows that the Workspace started at some time, or was at least let in.
fn has_started(status: &WorkspaceStatus) -> bool {
    let never = [
        None,
        Some(ActualState::CreationRequested),
        Some(ActualState::Error),
    ];
    status.start_requested_at.is_some() || !never.contains(&status.actual_state)
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
    /// The class in which it stays meanwhile, if it started in another one.
    pub stays_in: Option<String>,
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
        let (mut message, quota) = match &self.quota {
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
        let mut next_step = if self.own.is_empty() {
            format!("ask an administrator to raise {quota}")
        } else {
            format!(
                "terminate or delete one of your own (stopped ones count too): {own}; or ask an administrator to raise {quota}"
            )
        };
        if let Some(class) = &self.stays_in {
            message.push_str(&format!(
                "; until there is a place it stays as it was started, in class '{class}'"
            ));
            next_step.push_str(&format!("; or name class '{class}' again"));
        }
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
    /// Places that are held are held, also when a quota is lowered under them. The others come in the order of creation,
    /// then namespace and name. One that waits for a quota takes no place in another.
    pub fn take(records: &[CensusRecord], limits: &Limits) -> Self {
        let counted = || records.iter().filter(|record| !record.terminated);
        let mut places = Places::default();
        for record in counted() {
            places.keep(record);
        }
        let mut order: Vec<&CensusRecord> = counted().filter(|record| !record.is_in()).collect();
        order.sort_by(|a, b| {
            // Without a creation time the API server has not taken it yet: last.
            let key = |r: &CensusRecord| (r.created.is_none(), r.created);
            key(a)
                .cmp(&key(b))
                .then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
        });
        let mut waiting = HashMap::new();
        for record in order {
            match places.exceeded(record, limits) {
                Some((quota, used, limit)) => {
                    let exceeded = Exceeded {
                        own: places.own(record, &quota),
                        stays_in: record.holds.first().filter(|_| record.started).cloned(),
                        quota,
                        used,
                        limit,
                    };
                    waiting.insert((record.namespace.clone(), record.name.clone()), exceeded);
                }
                None => places.let_in(record),
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
    /// Who has a place in a class, by owner.
    of_owner: HashMap<(&'a str, &'a str), Vec<&'a CensusRecord>>,
    /// Who has a place at all, by owner.
    anywhere: HashMap<&'a str, Vec<&'a CensusRecord>>,
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
            let own = self.of_owner.get(&(class, record.owner.as_str()));
            let used = own.map_or(0, |own| u32::try_from(own.len()).unwrap_or(u32::MAX));
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
        if record.is_counted() {
            return None;
        }
        full(self.all, limits.installation)
            .map(|(used, limit)| (WhichQuota::Installation, used, limit))
    }

    /// Takes the places that a record holds already.
    fn keep(&mut self, record: &'a CensusRecord) {
        if record.is_counted() {
            self.count(record);
        }
        for class in &record.holds {
            self.take(record, class);
        }
    }

    /// Takes a place in the class that a record names.
    fn let_in(&mut self, record: &'a CensusRecord) {
        if !record.is_counted() {
            self.count(record);
        }
        if let Some(class) = record.class.as_deref() {
            self.take(record, class);
        }
    }

    fn count(&mut self, record: &'a CensusRecord) {
        self.all = self.all.saturating_add(1);
        let anywhere = self.anywhere.entry(record.owner.as_str()).or_default();
        anywhere.push(record);
    }

    fn take(&mut self, record: &'a CensusRecord, class: &'a str) {
        let taken = self.by_class.entry(class).or_default();
        *taken = taken.saturating_add(1);
        let key = (class, record.owner.as_str());
        self.of_owner.entry(key).or_default().push(record);
    }

    /// Names of the owner's own among those that count, in their order.
    fn own(&self, record: &CensusRecord, quota: &WhichQuota) -> Vec<String> {
        let own = match (quota, record.class.as_deref()) {
            (WhichQuota::PerOwner { .. } | WhichQuota::Class { .. }, Some(class)) => {
                self.of_owner.get(&(class, record.owner.as_str()))
            }
            _ => self.anywhere.get(record.owner.as_str()),
        };
        let mut names: Vec<_> = own
            .into_iter()
            .flatten()
            .map(|other| (other.created, format!("{}/{}", other.namespace, other.name)))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests;
