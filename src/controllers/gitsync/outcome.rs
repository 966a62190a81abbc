//! What a pass came to, in the words that its status is computed from. Pure.

use jiff::Timestamp;

use crate::api::gitsync::PruneBlocked;
use crate::model::sync::{Live, ObjectId, SourceError};

/// What a pass came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The generation of the spec that was acted on.
    pub generation: i64,
    /// The value of the annotation that asked for this pass, if it was carried out.
    pub handled_request: Option<String>,
    /// Where the webhook listens; none when there is none, or when its Secret can't be used.
    pub webhook_path: Option<String>,
    /// How far it came.
    pub result: Ending,
}

/// How far a pass came.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// `spec.suspend`: nothing was done.
    Suspended,
    /// It ended before anything could be applied.
    Failed(Failed),
    /// A commit was carried out, as far as it could be.
    Applied(Applied),
    /// It is deleted, and its objects are not all gone yet.
    Deleting(Deleting),
}

/// What keeps a GitSync that is deleted from being gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deleting {
    /// Objects that are still being deleted, in words.
    pub going: Vec<String>,
    /// Why others are not.
    pub errors: Vec<SourceError>,
    /// Why what lives in some namespaces stays.
    pub left: Vec<String>,
}

impl Deleting {
    /// Whether there is nothing to wait for.
    pub fn is_done(&self) -> bool {
        self.going.is_empty() && self.errors.is_empty()
    }
}

/// An object that is being deleted, and what holds it.
pub fn going(id: &ObjectId, live: Option<&Live>) -> String {
    match live.map(|live| live.finalizers.join(", ")) {
        Some(finalizers) if !finalizers.is_empty() => {
            format!("{id}, which finalizer {finalizers} holds")
        }
        _ => id.to_string(),
    }
}

/// A pass that ended before anything could be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// Why. What is wrong with single files stands in `others`.
    pub error: SourceError,
    /// The revision that was tried, if it came so far.
    pub attempted: Option<String>,
    /// What the tree's own errors were, if it came so far.
    pub others: Vec<SourceError>,
    /// What is known of the history.
    pub history: History,
}

/// A commit that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Its revision.
    pub revision: String,
    /// When.
    pub at: Timestamp,
    /// Why there is no newer one, when the last fetch failed: what was applied is kept applied meanwhile.
    pub fetch_error: Option<SourceError>,
    /// What is wrong with single files and objects, sorted.
    pub errors: Vec<SourceError>,
    /// How many objects were written for this commit.
    pub counts: Counts,
    /// How many objects are kept applied.
    pub objects: usize,
    /// Deletes that wait for approval.
    pub blocked: Option<Box<PruneBlocked>>,
    /// What is known of the history.
    pub history: History,
    /// Objects that somebody else changes back each time, in words.
    pub fights: Vec<String>,
    /// What is wanted and is still being deleted, in words.
    pub waiting: Vec<String>,
}

/// How many objects a pass wrote. Corrections of drift are no changes of the commit and do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made.
    pub created: u32,
    /// Changed.
    pub updated: u32,
    /// Deleted.
    pub deleted: u32,
}

impl Counts {
    /// Whether nothing was written.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// How the commit stands to the one that was applied before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// It is the same one, or nothing is known: what was said before still holds.
    Same,
    /// It descends from it, or nothing was applied before.
    Descends,
    /// It does not descend from it.
    Rewritten(String),
}
