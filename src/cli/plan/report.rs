//! A plan, for people and for programs.

use anstyle::Style;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::gitsync::PruneBlocked;
use crate::api::workspace::{PendingChange, Workspace};
use crate::cli::output::{BAD, FAINT, GOOD, HEADING, MOVING};
use crate::cli::show;
use crate::cli::validate::ReportedError;
use crate::model::sync::ObjectId;

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// It is deleted.
    Delete,
    /// It left the files and stays.
    Keep,
    /// It waits for its next start since an earlier change.
    Pending,
}

/// One object of a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What happens.
    pub action: Action,
    /// To which object.
    pub object: String,
    /// The file that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What differs, and when it takes effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<PendingChange>,
    /// The API server would refuse it, in its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Item {
    /// An object, nothing more known.
    pub fn new(action: Action, id: &ObjectId) -> Self {
        Self {
            action,
            object: id.to_string(),
            file: None,
            changes: Vec::new(),
            refused: None,
            note: None,
        }
    }

    fn text(&self) -> String {
        let (mark, style) = match self.action {
            Action::Create => ("+ create ", GOOD),
            Action::Change => ("~ change ", MOVING),
            Action::Delete => ("- delete ", BAD),
            Action::Keep => ("= keep   ", FAINT),
            Action::Pending => ("… waits  ", MOVING),
        };
        let mut text = format!("{style}{mark}{style:#} {}", self.object);
        if let Some(file) = &self.file {
            text.push_str(&format!("  {FAINT}{file}{FAINT:#}"));
        }
        text.push('\n');
        let mut below = |style: Style, line: &str| {
            text.push_str(&format!("      {style}{line}{style:#}\n"));
        };
        let width = self
            .changes
            .iter()
            .map(|change| change.field.chars().count())
            .max();
        let width = width.unwrap_or_default();
        for change in &self.changes {
            let effect = show::effect(change.effect);
            below(Style::new(), &format!("{:<width$}  {effect}", change.field));
        }
        if let Some(refused) = &self.refused {
            below(BAD, &format!("would be refused: {refused}"));
        }
        if let Some(note) = &self.note {
            below(FAINT, note);
        }
        text
    }
}

/// A plan.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What happens to which object.
    pub items: Vec<Item>,
    /// Objects that are as the files say.
    pub unchanged: usize,
    /// Deletes that would wait for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<PruneBlocked>,
    /// What is wrong in the files.
    pub errors: Vec<ReportedError>,
}

impl Report {
    /// Adds what waits for a start in the cluster already.
    pub fn add_pending<'a>(&mut self, workspaces: impl Iterator<Item = &'a Workspace>) {
        for workspace in workspaces {
            let revision = workspace
                .status
                .as_ref()
                .and_then(|status| status.revision.as_ref());
            let Some(revision) = revision.filter(|revision| !revision.pending.is_empty()) else {
                continue;
            };
            let namespace = workspace.namespace().unwrap_or_default();
            let object = format!("Workspace {namespace}/{}", workspace.name_any());
            // A change or delete of this plan says all of it.
            if self.items.iter().any(|item| item.object == object) {
                continue;
            }
            self.items.push(Item {
                action: Action::Pending,
                object,
                file: None,
                changes: revision.pending.clone(),
                refused: None,
                note: None,
            });
        }
        self.items
            .sort_by(|a, b| (a.action, &a.object).cmp(&(b.action, &b.object)));
    }

    /// Whether all of it would go through.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
            && self.blocked.is_none()
            && self.items.iter().all(|item| item.refused.is_none())
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text: String = self.items.iter().map(Item::text).collect();
        if let Some(blocked) = &self.blocked {
            let (count, reason) = (blocked.count, &blocked.reason);
            text.push_str(&format!(
                "{BAD}! {} would wait for approval{BAD:#}: {reason}\n",
                show::count(count as usize, "delete")
            ));
        }
        for error in &self.errors {
            text.push_str(&format!("{BAD}!{BAD:#} {}\n", error.line()));
        }
        let count = |action| {
            self.items
                .iter()
                .filter(|item| item.action == action)
                .count()
        };
        text.push_str(&format!(
            "{HEADING}{} to create, {} to change, {} to delete, {} unchanged; {} for a start; {}{HEADING:#}\n",
            count(Action::Create),
            count(Action::Change),
            count(Action::Delete),
            self.unchanged,
            show::counted(count(Action::Pending), "waits", "wait"),
            show::count(self.errors.len(), "error"),
        ));
        text
    }
}
