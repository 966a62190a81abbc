//! Why a pass over a Workspace failed.

use crate::controllers::apply::{ApplyError, client_category, is_namespace_ending};
use crate::controllers::cache::Key;
use crate::controllers::passes::{PassError, Retry};

/// Why a pass over a Workspace failed, by the step.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// What it refers to could not be looked up.
    #[error("failed to look up what Workspace {0} refers to")]
    Dereference(Key, #[source] Box<ApplyError>),
    /// A child could not be brought to what is wanted.
    #[error("failed to bring Workspace {0} to what is wanted")]
    Apply(Key, #[source] Box<ApplyError>),
    /// The status could not be written.
    #[error("failed to write the status of Workspace {0}")]
    Report(Key, #[source] Box<kube::Error>),
}

impl PassError for WorkspaceError {
    fn category(&self) -> &'static str {
        match self {
            Self::Dereference(_, error) | Self::Apply(_, error) => error.category(),
            Self::Report(_, error) => client_category(error),
        }
    }

    fn retry(&self) -> Retry {
        let ending = match self {
            Self::Dereference(_, error) | Self::Apply(_, error) => error.is_namespace_ending(),
            Self::Report(_, error) => is_namespace_ending(error),
        };
        if ending {
            return Retry::Never;
        }
        let conflict = match self {
            Self::Dereference(_, error) | Self::Apply(_, error) => error.is_conflict(),
            Self::Report(_, error) => {
                matches!(&**error, kube::Error::Api(status) if status.is_conflict())
            }
        };
        if conflict {
            Retry::AtOnce
        } else {
            // Also for what only a person can mend: a foreign object or an admission policy changes unseen by us.
            Retry::BackOff
        }
    }
}
