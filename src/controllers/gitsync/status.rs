//! The status of a GitSync, from what a pass came to. Pure.
//!
//! `Ready` is always there; `Reconciling` and `Stalled` only while true, never both: tools that wait read them in
//! that order, and spin for ever on a `Ready=False` that nothing explains. Nothing here ticks: the same outcome gives
//! the same status, so that a pass that changes nothing writes nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::outcome::{Applied, Deleting, Ending, Failed, History, Outcome};
use crate::api::gitsync::{GitSyncStatus, HistoryEntry, SyncError};
use crate::model::conditions::{Told, seconds};
use crate::model::sync::{Code, Retry, SourceError};

/// Errors that are shown; `errorCount` has the total.
const MAX_ERRORS: usize = 50;
/// Longest message of one error or condition, in bytes.
const MAX_MESSAGE: usize = 1024;
/// Objects that a condition names.
const MAX_NAMES: usize = 5;
/// Revisions that are remembered.
const MAX_HISTORY: usize = 5;

/// The conditions of a GitSync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// All of the commit is applied.
    Ready,
    /// The controller goes on trying.
    Reconciling,
    /// Nobody but a person can help.
    Stalled,
    /// Deletes wait for approval.
    PruneBlocked,
    /// For information: the commit does not descend from the one before.
    HistoryRewritten,
    /// Somebody changes an object back each time.
    FightDetected,
}

impl ConditionType {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::PruneBlocked => "PruneBlocked",
            Self::HistoryRewritten => "HistoryRewritten",
            Self::FightDetected => "FightDetected",
        }
    }
}

/// The status after a pass, from the one before it.
pub fn next_status(before: &GitSyncStatus, outcome: &Outcome, now: Timestamp) -> GitSyncStatus {
    let mut status = before.clone();
    // What could not be read is not written again.
    status.unreadable.clear();
    status.observed_generation = Some(outcome.generation);
    status.webhook_path.clone_from(&outcome.webhook_path);
    if let Some(handled) = &outcome.handled_request {
        status.last_handled_reconcile_at = Some(handled.clone());
    }
    let mut conditions = Conditions {
        before: &before.conditions,
        after: Vec::new(),
        generation: outcome.generation,
        now,
    };
    match &outcome.result {
        Ending::Suspended => suspended(&mut conditions),
        Ending::Failed(failed) => after_failure(&mut status, &mut conditions, failed),
        Ending::Applied(applied) => after_apply(&mut status, &mut conditions, applied),
        Ending::Deleting(deleting) => while_deleting(&mut status, &mut conditions, deleting),
    }
    status.conditions = conditions.after;
    status
}

/// What was good stays good; what was not can't become so, since nothing is tried.
fn suspended(conditions: &mut Conditions<'_>) {
    const REASON: &str = "Suspended";
    const MESSAGE: &str =
        "suspended: nothing is fetched, applied or deleted until spec.suspend is false";
    let was_ready = conditions.was_true(ConditionType::Ready);
    conditions.set(ConditionType::Ready, was_ready, REASON, MESSAGE);
    if !was_ready {
        conditions.set(ConditionType::Stalled, true, REASON, MESSAGE);
    }
    conditions.keep(ConditionType::PruneBlocked);
    conditions.keep(ConditionType::HistoryRewritten);
    conditions.keep(ConditionType::FightDetected);
}

/// A deletion that takes long says what it waits for, and how to end it without.
fn while_deleting(
    status: &mut GitSyncStatus,
    conditions: &mut Conditions<'_>,
    deleting: &Deleting,
) {
    set_errors(status, &deleting.errors);
    let mut parts = Vec::new();
    if !deleting.going.is_empty() {
        let count = objects(deleting.going.len());
        parts.push(format!("waits for {count}: {}", some(&deleting.going)));
    }
    if let Some(first) = deleting.errors.first() {
        parts.push(format!("{}: {first}", errors(deleting.errors.len())));
    }
    let message = format!(
        "deleted, and its objects with it: {}. To let it go and keep what is left of them set spec.deletionPolicy: Orphan",
        parts.join("; ")
    );
    conditions.not_ready(false, "Deleting", &message);
}

fn after_failure(status: &mut GitSyncStatus, conditions: &mut Conditions<'_>, failed: &Failed) {
    if let Some(attempted) = &failed.attempted {
        status.last_attempted_revision = Some(attempted.clone());
    }
    let mut errors = vec![failed.error.clone()];
    errors.extend(failed.others.iter().cloned());
    set_errors(status, &errors);
    let stalled = failed.error.code.is_stalling();
    let reason = failed.error.code.reason();
    conditions.not_ready(stalled, reason, &headline(&failed.error));
    // The set that waits is bound to a commit that was not looked at again: it still waits.
    conditions.keep(ConditionType::PruneBlocked);
    // Nothing was looked at that could have ended a fight.
    conditions.keep(ConditionType::FightDetected);
    conditions.history(&failed.history);
}

fn after_apply(status: &mut GitSyncStatus, conditions: &mut Conditions<'_>, applied: &Applied) {
    status.last_applied_revision = Some(applied.revision.clone());
    if applied.fetch_error.is_none() {
        status.last_attempted_revision = Some(applied.revision.clone());
    }
    status.objects = Some(to_u32(applied.objects));
    status.prune_blocked = applied.blocked.as_deref().cloned();
    note_history(status, applied);
    let errors: Vec<SourceError> = applied
        .fetch_error
        .iter()
        .chain(&applied.errors)
        .cloned()
        .collect();
    set_errors(status, &errors);

    let verdict = verdict(applied);
    match &verdict {
        None => conditions.set(
            ConditionType::Ready,
            true,
            "Applied",
            &format!("applied {}: {}", applied.revision, objects(applied.objects)),
        ),
        Some(bad) => conditions.not_ready(bad.stalled, bad.reason, &bad.message),
    }
    if let Some(blocked) = &applied.blocked {
        let message = format!(
            "{} would be deleted: {}; approve exactly this with: kubectl annotate gitsync <name> --overwrite workstead.dev/approve-prune={}",
            objects(blocked.count as usize),
            blocked.reason,
            blocked.approval
        );
        conditions.set(
            ConditionType::PruneBlocked,
            true,
            Code::PruneBlocked.reason(),
            &message,
        );
    }
    if !applied.fights.is_empty() {
        conditions.set(
            ConditionType::FightDetected,
            true,
            Code::FightDetected.reason(),
            &applied.fights.join("; "),
        );
    }
    conditions.history(&applied.history);
}

/// What keeps a commit that was carried out from being all applied.
struct Verdict {
    stalled: bool,
    reason: &'static str,
    message: String,
}

/// The worst first: deletes that wait, a remote that can't be read, single files and objects.
fn verdict(applied: &Applied) -> Option<Verdict> {
    let count = applied.errors.len();
    if let Some(blocked) = &applied.blocked {
        // Whatever else is retried: somebody has to decide, and tools that wait must not wait for it.
        let beside = match applied.errors.iter().filter(|e| !is_guard(e)).count() {
            0 => String::new(),
            more => format!("; beside that, {}", errors(more)),
        };
        return Some(Verdict {
            stalled: true,
            reason: Code::PruneBlocked.reason(),
            message: format!(
                "applied {}, but {} would be deleted: {}{beside}",
                applied.revision,
                objects(blocked.count as usize),
                blocked.reason
            ),
        });
    }
    if let Some(error) = &applied.fetch_error {
        return Some(Verdict {
            stalled: error.code.is_stalling(),
            reason: error.code.reason(),
            message: format!("{}; {} stays applied", headline(error), applied.revision),
        });
    }
    let waiting = match applied.waiting.len() {
        0 => None,
        count => Some(format!(
            "waits until {} that is being deleted is gone, to make it anew: {}",
            objects(count),
            some(&applied.waiting)
        )),
    };
    match (applied.errors.first(), waiting) {
        (None, None) => None,
        (None, Some(waiting)) => Some(Verdict {
            stalled: false,
            reason: "WaitingForDeletion",
            message: format!("applied {}, but {waiting}", applied.revision),
        }),
        // One file is named; the rest is in status.errors.
        (Some(first), waiting) => Some(Verdict {
            stalled: waiting.is_none() && applied.errors.iter().all(|e| !is_retried(e)),
            reason: "PartiallyApplied",
            message: format!(
                "applied {} but for {}: {first}{}",
                applied.revision,
                errors(count),
                waiting.map_or_else(String::new, |text| format!("; it also {text}"))
            ),
        }),
    }
}

/// The first few of a list.
fn some(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

fn is_retried(error: &SourceError) -> bool {
    matches!(error.code.retry(), Retry::BackOff | Retry::NextPass)
}

fn is_guard(error: &SourceError) -> bool {
    matches!(
        error.code,
        Code::PruneBlocked | Code::ApprovalStale | Code::EmptySource
    )
}

fn set_errors(status: &mut GitSyncStatus, errors: &[SourceError]) {
    status.error_count = Some(to_u32(errors.len()));
    status.errors = errors
        .iter()
        .take(MAX_ERRORS)
        .map(|error| {
            let mut shown = SyncError::from(error);
            // Names and paths are as long as a stranger wrote them, and a status that is too large is not stored at all.
            shown.message = cut(&shown.message).to_owned();
            shown.file = shown.file.as_deref().map(cut).map(ToOwned::to_owned);
            shown.object = shown.object.as_deref().map(cut).map(ToOwned::to_owned);
            shown
        })
        .collect();
}

/// Several passes over one commit are one entry: what a retry made belongs to the commit that wanted it.
fn note_history(status: &mut GitSyncStatus, applied: &Applied) {
    let counts = applied.counts;
    if counts.is_zero() {
        return;
    }
    match status.history.first_mut() {
        Some(entry) if entry.revision == applied.revision => {
            entry.created = entry.created.saturating_add(counts.created);
            entry.updated = entry.updated.saturating_add(counts.updated);
            entry.deleted = entry.deleted.saturating_add(counts.deleted);
        }
        _ => {
            status.history.insert(
                0,
                HistoryEntry {
                    revision: applied.revision.clone(),
                    applied_at: seconds(applied.at),
                    created: counts.created,
                    updated: counts.updated,
                    deleted: counts.deleted,
                },
            );
            status.history.truncate(MAX_HISTORY);
        }
    }
}

struct Conditions<'a> {
    before: &'a [Condition],
    after: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions<'_> {
    fn find(&self, kind: ConditionType) -> Option<&Condition> {
        self.before.iter().find(|c| c.type_ == kind.name())
    }

    fn was_true(&self, kind: ConditionType) -> bool {
        self.find(kind).is_some_and(|c| c.status == "True")
    }

    /// Sets one; its transition time moves only when its status does.
    fn set(&mut self, kind: ConditionType, holds: bool, reason: &str, message: &str) {
        let told = Told {
            type_: kind.name(),
            status: Some(holds),
            reason,
            message: cut(message),
        };
        let condition = told.after(self.before, Some(self.generation), self.now);
        self.after.push(condition);
    }

    fn not_ready(&mut self, stalled: bool, reason: &str, message: &str) {
        self.set(ConditionType::Ready, false, reason, message);
        let kind = if stalled {
            ConditionType::Stalled
        } else {
            ConditionType::Reconciling
        };
        self.set(kind, true, reason, message);
    }

    /// Carries one over as it was.
    fn keep(&mut self, kind: ConditionType) {
        if let Some(before) = self.find(kind) {
            let mut kept = before.clone();
            kept.observed_generation = Some(self.generation);
            self.after.push(kept);
        }
    }

    fn history(&mut self, history: &History) {
        match history {
            History::Same => self.keep(ConditionType::HistoryRewritten),
            History::Descends => {}
            History::Rewritten(message) => self.set(
                ConditionType::HistoryRewritten,
                true,
                Code::HistoryRewritten.reason(),
                message,
            ),
        }
    }
}

/// The error without its place: the condition speaks of the whole.
fn headline(error: &SourceError) -> String {
    format!("{}: {}", error.code, error.message)
}

fn objects(count: usize) -> String {
    match count {
        1 => "1 object".to_owned(),
        many => format!("{many} objects"),
    }
}

fn errors(count: usize) -> String {
    match count {
        1 => "1 error".to_owned(),
        many => format!("{many} errors"),
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// At most [`MAX_MESSAGE`] bytes, never half a character.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
