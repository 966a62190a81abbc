//! What goes wrong when a child is written, and what kind of trouble that is.

use crate::controllers::cache::Key;
use crate::controllers::supervisor::authority::AuthorityError;

/// Why a child could not be brought to what we want.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else's object has the name.
    #[error("{kind} {key} is there already and is not ours: {why}")]
    Foreign {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// How we know.
        why: String,
    },
    /// An object of an earlier Workspace of the name is still being removed.
    #[error("{kind} {key} of an earlier Workspace of this name is still there")]
    Leftover {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
    },
    /// An object that must be looked at came between the look and the write.
    #[error("{kind} {key} came while it was about to be made")]
    Appeared {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
    },
    /// It could not be read.
    #[error("failed to read {kind} {key}")]
    Read {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// It could not be written.
    #[error("failed to apply {kind} {key}")]
    Apply {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// It could not be deleted.
    #[error("failed to delete {kind} {key}")]
    Delete {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The key in it could not be made.
    #[error("failed to make the key for Secret {key}")]
    Key {
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: AuthorityError,
    },
    /// It could not be written as JSON, which its types rule out.
    #[error("failed to write {kind} {key} as JSON")]
    Serialize {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ApplyError {
    /// The object that it is about.
    pub fn object(&self) -> (&'static str, &Key) {
        match self {
            Self::Foreign { kind, key, .. }
            | Self::Leftover { kind, key }
            | Self::Appeared { kind, key }
            | Self::Read { kind, key, .. }
            | Self::Apply { kind, key, .. }
            | Self::Delete { kind, key, .. }
            | Self::Serialize { kind, key, .. } => (kind, key),
            Self::Key { key, .. } => ("Secret", key),
        }
    }

    /// What the client said.
    pub fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Read { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. } => Some(source),
            Self::Foreign { .. }
            | Self::Leftover { .. }
            | Self::Appeared { .. }
            | Self::Key { .. }
            | Self::Serialize { .. } => None,
        }
    }

    /// The status that the API server answered with.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self.client_error()? {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Whether somebody was faster, so that it should be tried again at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Appeared { .. })
            || self.status().is_some_and(|status| status.is_conflict())
    }

    /// Whether the namespace is being deleted, and everything in it with it.
    pub fn is_namespace_ending(&self) -> bool {
        self.client_error().is_some_and(is_namespace_ending)
    }

    /// For metrics and Events.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Leftover { .. } => "leftover",
            Self::Appeared { .. } => "conflict",
            Self::Serialize { .. } => "serialize",
            Self::Key { .. } => "key",
            Self::Read { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. } => client_category(source),
        }
    }
}

/// Whether the API server takes nothing new since the namespace is being deleted.
pub fn is_namespace_ending(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403
        && causes
            .into_iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
}

/// What kind of trouble a call to the API server had: a closed set.
pub fn client_category(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            400..=499 => "rejected",
            _ => "server",
        },
        _ => "transport",
    }
}
