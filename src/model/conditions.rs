//! Conditions: their types and reasons as enums, and one way to put them into a list.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::workspace::{ActualState, Cause};

/// Types of conditions of a Workspace, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// It is as it should be, and every part is ready.
    Ready,
    /// We are working on it. There only while True.
    Reconciling,
    /// Only a person can help. There only while True.
    Stalled,
    /// The home volume is there.
    StorageReady,
    /// What it has of sealed sets is at hand.
    VariablesReady,
    /// The pod serves.
    PodReady,
    /// The projects are cloned.
    ProjectsReady,
    /// The start commands have run.
    PostStartReady,
    /// The editor answers.
    EditorReady,
    /// A start would change what it has of sealed sets, if it took what is newest. There only while True.
    VariablesOutdated,
    /// It does not hold the host of its name, so it opens nowhere. There only while True.
    HostConflict,
}

impl ConditionType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::StorageReady,
        Self::VariablesReady,
        Self::PodReady,
        Self::ProjectsReady,
        Self::PostStartReady,
        Self::EditorReady,
        Self::VariablesOutdated,
        Self::HostConflict,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::StorageReady => "StorageReady",
            Self::VariablesReady => "VariablesReady",
            Self::PodReady => "PodReady",
            Self::ProjectsReady => "ProjectsReady",
            Self::PostStartReady => "PostStartReady",
            Self::EditorReady => "EditorReady",
            Self::VariablesOutdated => "VariablesOutdated",
            Self::HostConflict => "HostConflict",
        }
    }
}

/// Reasons of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The state that it is in.
    State(ActualState),
    /// The cause of a failure.
    Cause(Cause),
    /// The desired state was not reached yet, although nothing is wrong with the present one.
    Progressing,
    /// The pod is ready.
    PodReady,
    /// The pod is not ready yet.
    PodNotReady,
    /// There is no pod.
    NoPod,
    /// Every step of the part ended well.
    Done,
    /// Steps of the part are still to be done.
    InProgress,
    /// The claim is bound.
    Bound,
    /// The claim waits for the first start.
    WaitingForFirstStart,
    /// The claim is not bound.
    NotBound,
    /// The volume of the claim is gone.
    Lost,
    /// There is no claim.
    NoClaim,
    /// The claim is being deleted.
    Deleting,
    /// The claim outlives its Workspace.
    Retained,
    /// A Secret of its own holds it.
    Pinned,
    /// There are newer ones.
    NewerSets,
    /// Nobody checked who its owner is.
    OwnerUnchecked,
    /// An older Workspace has the name.
    NameTaken,
    /// The name is the installation's.
    NameReserved,
}

impl Reason {
    /// As it is written.
    pub fn as_text(self) -> String {
        match self {
            Self::State(state) => format!("{state:?}"),
            Self::Cause(cause) => format!("{cause:?}"),
            Self::Progressing
            | Self::PodReady
            | Self::PodNotReady
            | Self::NoPod
            | Self::Done
            | Self::InProgress
            | Self::Bound
            | Self::WaitingForFirstStart
            | Self::NotBound
            | Self::Lost
            | Self::NoClaim
            | Self::Deleting
            | Self::Retained
            | Self::Pinned
            | Self::NewerSets
            | Self::OwnerUnchecked
            | Self::NameTaken
            | Self::NameReserved => format!("{self:?}"),
        }
    }
}

/// A condition to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its type.
    pub type_: ConditionType,
    /// None is `Unknown`.
    pub status: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// What a condition of any object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Its type.
    pub type_: &'a str,
    /// None is `Unknown`.
    pub status: Option<bool>,
    /// Why, in one word.
    pub reason: &'a str,
    /// In words.
    pub message: &'a str,
}

impl Told<'_> {
    /// The condition, after those before: the time of its transition moves only when its status does.
    pub fn after(
        self,
        previous: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Condition {
        let status = match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let since = previous
            .iter()
            .find(|before| before.type_ == self.type_ && before.status == status)
            .map(|before| before.last_transition_time.clone());
        Condition {
            type_: self.type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.to_owned(),
            observed_generation: generation,
            last_transition_time: since.unwrap_or_else(|| seconds(now)),
        }
    }
}

/// Puts conditions into a list. Of our types, those that are not wanted and not to be kept go; others stay as they are.
/// The time of a transition moves only when the status does.
pub fn upsert(
    previous: &[Condition],
    wanted: &[Wanted],
    kept: &[ConditionType],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let told = |want: &Wanted| {
        let told = Told {
            type_: want.type_.as_str(),
            status: want.status,
            reason: &want.reason.as_text(),
            message: &want.message,
        };
        told.after(previous, generation, now)
    };
    let mut list: Vec<Condition> = wanted.iter().map(told).collect();
    let is_kept = |condition: &&Condition| kept.iter().any(|k| k.as_str() == condition.type_);
    list.extend(previous.iter().filter(is_kept).cloned());
    let order = |condition: &Condition| {
        ConditionType::ALL
            .iter()
            .position(|type_| type_.as_str() == condition.type_)
    };
    list.sort_by_key(|condition| order(condition).unwrap_or(usize::MAX));
    let others = previous
        .iter()
        .filter(|condition| order(condition).is_none());
    list.extend(others.cloned());
    list
}

/// Whether a condition is True.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == type_.as_str() && condition.status == "True")
}

/// A moment as a condition keeps it: to the second.
pub fn seconds(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}
