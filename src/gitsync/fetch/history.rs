//! How a new commit stands to the one that is applied.

use git2::{Oid, Repository};
use serde::{Deserialize, Serialize};

use super::{APPLIED_REF, FetchError};

/// How a new commit stands to the one that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum History {
    /// Nothing is applied yet.
    First,
    /// It is the same.
    Same,
    /// It descends from it.
    Forward,
    /// It is an ancestor of it: a rollback by force.
    Back,
    /// Neither descends from the other: history was rewritten.
    Rewritten,
    /// The applied commit is no longer at hand, so nobody can tell.
    Unknown,
}

impl History {
    /// Whether history was rewritten, as far as can be told.
    pub const fn is_rewritten(self) -> bool {
        matches!(self, Self::Back | Self::Rewritten)
    }
}

/// Holds a ref to the applied commit: it must stay at hand after the remote forgot it.
pub(super) fn keep_applied(
    repository: &Repository,
    applied: Option<&str>,
) -> Result<Option<Oid>, FetchError> {
    let Some(applied) = applied.and_then(|commit| Oid::from_str(commit).ok()) else {
        return Ok(None);
    };
    if repository.find_commit(applied).is_err() {
        return Ok(None);
    }
    repository
        .reference(APPLIED_REF, applied, true, "applied")
        .map_err(|error| FetchError::repository(&error))?;
    Ok(Some(applied))
}

pub(super) fn compare(
    repository: &Repository,
    new: Oid,
    applied: Option<Oid>,
    is_applied: bool,
) -> Result<History, FetchError> {
    let Some(old) = applied else {
        return Ok(if is_applied {
            History::Unknown
        } else {
            History::First
        });
    };
    if old == new {
        return Ok(History::Same);
    }
    let descends = |commit, ancestor| {
        repository
            .graph_descendant_of(commit, ancestor)
            .map_err(|error| FetchError::repository(&error))
    };
    if descends(new, old)? {
        Ok(History::Forward)
    } else if descends(old, new)? {
        Ok(History::Back)
    } else {
        Ok(History::Rewritten)
    }
}
