//! Why a GitSync is as it is.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::GitSync;
use crate::api::gitsync::{HistoryEntry, PruneBlocked, SyncError};
use crate::cli::again::program;
use crate::cli::output::{BAD, Cell, GOOD, HEADING, MOVING, table};
use crate::cli::show::{self, condition, is_true};
use crate::cli::why::facts;
use crate::model::names::APPROVE_PRUNE_ANNOTATION;

/// All that there is to say about a GitSync.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    namespace: String,
    name: String,
    url: String,
    suspended: bool,
    ready: bool,
    stalled: bool,
    outdated: bool,
    reason: Option<String>,
    message: Option<String>,
    objects: Option<u32>,
    last_applied_revision: Option<String>,
    last_attempted_revision: Option<String>,
    error_count: u32,
    errors: Vec<SyncError>,
    prune_blocked: Option<PruneBlocked>,
    notices: Vec<String>,
    history: Vec<HistoryEntry>,
}

impl Explanation {
    /// Gathers it from the object.
    pub fn new(gitsync: &GitSync) -> Self {
        let status = gitsync.status.clone().unwrap_or_default();
        let ready = condition(&status.conditions, "Ready");
        let notices = ["HistoryRewritten", "FightDetected"]
            .iter()
            .filter_map(|kind| condition(&status.conditions, kind))
            .filter(|condition| condition.status == "True")
            .map(|condition| format!("{}: {}", condition.type_, condition.message))
            .collect();
        Self {
            namespace: gitsync.namespace().unwrap_or_default(),
            name: gitsync.name_any(),
            url: gitsync.spec.url.clone(),
            suspended: gitsync.spec.suspend,
            ready: is_true(&status.conditions, "Ready"),
            stalled: is_true(&status.conditions, "Stalled"),
            outdated: status.observed_generation != gitsync.metadata.generation,
            reason: ready.map(|condition| condition.reason.clone()),
            message: ready.map(|condition| condition.message.clone()),
            objects: status.objects,
            last_applied_revision: status.last_applied_revision,
            last_attempted_revision: status.last_attempted_revision,
            error_count: status.error_count.unwrap_or_default(),
            errors: status.errors,
            prune_blocked: status.prune_blocked,
            notices,
            history: status.history,
        }
    }

    /// Whether everything of the last pass was applied.
    pub fn is_good(&self) -> bool {
        self.ready && self.error_count == 0 && self.prune_blocked.is_none()
    }

    /// For people.
    pub fn text(&self, now: Timestamp) -> String {
        let (word, style) = match (self.suspended, self.ready, self.stalled) {
            (true, _, _) => ("suspended", MOVING),
            (false, true, _) => ("ready", GOOD),
            (false, false, true) => ("stalled, only a person can help", BAD),
            (false, false, false) => ("not ready", MOVING),
        };
        let mut text = format!(
            "{HEADING}GitSync {}/{}{HEADING:#}: {style}{word}{style:#}\n",
            self.namespace, self.name
        );
        text.push_str(&facts(&self.situation()));
        text.push_str(&self.errors_text());
        text.push_str(&self.blocked_text());
        text.push_str(&self.history_text(now));
        text
    }

    fn situation(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("repository", self.url.clone())];
        if let (Some(reason), Some(message)) = (&self.reason, &self.message) {
            lines.push(("says", format!("{reason}: {message}")));
        }
        if self.outdated {
            lines.push((
                "note",
                "the controller has not looked at the latest spec yet".to_owned(),
            ));
        }
        if let Some(revision) = &self.last_applied_revision {
            let objects = self.objects.unwrap_or_default();
            let objects = show::count(objects as usize, "object");
            lines.push(("applied", format!("{revision}, {objects}")));
        }
        if let Some(revision) = &self.last_attempted_revision
            && self.last_applied_revision.as_ref() != Some(revision)
        {
            lines.push(("attempted", revision.clone()));
        }
        lines.extend(self.notices.iter().map(|notice| ("notice", notice.clone())));
        lines
    }

    fn errors_text(&self) -> String {
        if self.errors.is_empty() {
            return String::new();
        }
        let count = show::count(self.error_count as usize, "error");
        let mut text = format!("\n{HEADING}{count}{HEADING:#}\n");
        for error in &self.errors {
            text.push_str(&format!("  {}\n", line(error)));
        }
        let hidden = (self.error_count as usize).saturating_sub(self.errors.len());
        if hidden > 0 {
            text.push_str(&format!(
                "  and {hidden} more: {} validate shows all of them\n",
                program()
            ));
        }
        text
    }

    fn blocked_text(&self) -> String {
        let Some(blocked) = &self.prune_blocked else {
            return String::new();
        };
        let mut text = format!(
            "\n{BAD}{} for approval{BAD:#}: {}\n",
            show::counted(blocked.count as usize, "delete waits", "deletes wait"),
            blocked.reason
        );
        for object in &blocked.objects {
            text.push_str(&format!("  {object}\n"));
        }
        let hidden = (blocked.count as usize).saturating_sub(blocked.objects.len());
        if hidden > 0 {
            text.push_str(&format!("  and {hidden} more\n"));
        }
        text.push_str(&format!(
            "to let exactly these go:\n  kubectl -n {} annotate gitsync {} --overwrite {APPROVE_PRUNE_ANNOTATION}={}\n",
            self.namespace, self.name, blocked.approval
        ));
        text
    }

    fn history_text(&self, now: Timestamp) -> String {
        if self.history.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<Cell>> = self
            .history
            .iter()
            .map(|entry| {
                vec![
                    format!("  {}", entry.revision).into(),
                    format!("{} ago", show::ago(now, entry.applied_at.0)).into(),
                    entry.created.to_string().into(),
                    entry.updated.to_string().into(),
                    entry.deleted.to_string().into(),
                ]
            })
            .collect();
        let header = ["LAST REVISIONS", "APPLIED", "CREATED", "CHANGED", "DELETED"];
        format!("\n{}", table(&header, &rows))
    }
}

/// An error as compilers write it, so that editors can jump there.
pub fn line(error: &SyncError) -> String {
    let mut place = error.file.clone().unwrap_or_default();
    for number in [error.line, error.column].into_iter().flatten() {
        place.push_str(&format!(":{number}"));
    }
    if !place.is_empty() {
        place.push_str(": ");
    }
    let object = error
        .object
        .as_ref()
        .map(|object| format!(" ({object})"))
        .unwrap_or_default();
    format!(
        "{place}{BAD}{}{BAD:#} {}{object}",
        error.code, error.message
    )
}
