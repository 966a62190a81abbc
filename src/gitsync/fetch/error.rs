//! Why a fetch failed.

use git2::{ErrorClass, ErrorCode};
use serde::{Deserialize, Serialize};

use crate::gitsync::tree::TreeTooLarge;
use crate::model::sync::Code;

/// Name of the limit that one repository on disk has.
pub(super) const REPOSITORY_BYTES: &str = "repositoryBytes";

/// Why a fetch failed. The last good revision stays applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum FetchError {
    /// The request makes no sense.
    #[error("{0}")]
    Request(String),
    /// The server refused us.
    #[error("the server refused {who}: {detail}")]
    Authentication {
        /// The credentials, or a client without any.
        who: String,
        /// What it said.
        detail: String,
    },
    /// Its certificate can't be trusted.
    #[error(
        "the certificate of the server can't be trusted: {0}. For a private authority put its certificate into key ca.crt of the Secret in spec.secretRef"
    )]
    Tls(String),
    /// It can't be reached, or does not answer as a Git server does.
    #[error("failed to fetch: {0}")]
    Remote(String),
    /// It has no such repository.
    #[error(
        "the server knows no repository at this URL, or does not show it to {0}: check spec.url and spec.secretRef"
    )]
    NoRepository(String),
    /// Time was up.
    #[error(
        "the fetch took longer than spec.timeout ({0} ms): a slow or silent server, or a large repository"
    )]
    Timeout(u64),
    /// The ref is not there.
    #[error("{0}")]
    NoRef(String),
    /// It is too large.
    #[error("the repository exceeds limit {limit}: {detail}")]
    Limit {
        /// Name of the limit.
        limit: String,
        /// What was found, and what to do.
        detail: String,
    },
    /// The cached repository can't be used.
    #[error("failed to use the cached repository: {detail}")]
    Repository {
        /// What went wrong.
        detail: String,
    },
    /// The process that fetches ended without an answer.
    #[error("the process that fetches ended without an answer: {0}")]
    Worker(String),
}

impl From<TreeTooLarge> for FetchError {
    fn from(error: TreeTooLarge) -> Self {
        Self::Limit {
            limit: error.limit,
            detail: error.detail,
        }
    }
}

impl FetchError {
    /// Its stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Request(_) => Code::InvalidConfig,
            Self::Authentication { .. } => Code::AuthenticationFailed,
            Self::Tls(_) => Code::TlsFailed,
            Self::Remote(_) | Self::NoRepository(_) | Self::Repository { .. } | Self::Worker(_) => {
                Code::FetchFailed
            }
            Self::Timeout(_) => Code::FetchTimeout,
            Self::NoRef(_) => Code::RefNotFound,
            Self::Limit { .. } => Code::LimitExceeded,
        }
    }

    pub(super) const fn timeout(timeout_ms: u64) -> Self {
        Self::Timeout(timeout_ms)
    }

    pub(super) const fn is_limit(&self) -> bool {
        matches!(self, Self::Limit { .. })
    }

    /// Whether a repository that is made anew may help.
    pub(super) fn is_of_the_cache(&self) -> bool {
        match self {
            Self::Repository { .. } => true,
            Self::Limit { limit, .. } => limit == REPOSITORY_BYTES,
            _ => false,
        }
    }

    /// Of the cached repository, whatever libgit2 says.
    pub(super) fn repository(error: &git2::Error) -> Self {
        limit_of(error).unwrap_or_else(|| Self::Repository {
            detail: error.message().to_owned(),
        })
    }

    /// Of a transfer: libgit2's class and code say whose trouble it is.
    pub(super) fn transfer(error: &git2::Error, who: &str, timeout_ms: u64) -> Self {
        let detail = error.message().to_owned();
        let refused = |detail| Self::Authentication {
            who: who.to_owned(),
            detail,
        };
        if let Some(limit) = limit_of(error) {
            return limit;
        }
        match (error.code(), error.class()) {
            (ErrorCode::Auth, _) => refused(detail),
            (ErrorCode::Certificate, _) | (_, ErrorClass::Ssl) => Self::Tls(detail),
            (ErrorCode::Timeout, _) => Self::timeout(timeout_ms),
            (_, ErrorClass::Http) => match status(&detail) {
                Some(401 | 403) => refused(detail),
                Some(404 | 410) => Self::NoRepository(who.to_owned()),
                _ => Self::Remote(detail),
            },
            (
                _,
                ErrorClass::Os
                | ErrorClass::Odb
                | ErrorClass::Zlib
                | ErrorClass::Indexer
                | ErrorClass::Reference
                | ErrorClass::Repository
                | ErrorClass::Filesystem
                | ErrorClass::Config
                | ErrorClass::Object
                | ErrorClass::Tree
                | ErrorClass::Sha1,
            ) if !is_network(&detail) => Self::Repository { detail },
            _ => Self::Remote(detail),
        }
    }
}

/// What libgit2 says when one of the limits that it was given is exceeded, or when it gets no more memory.
fn limit_of(error: &git2::Error) -> Option<FetchError> {
    let message = error.message();
    // zlib says it in its own way.
    let no_memory =
        error.class() == ErrorClass::NoMemory || message.contains("failed to init packfile stream");
    let (limit, detail) = if no_memory {
        ("fetchMemory", "the process that fetches got no more memory")
    } else if message.contains("overly large object") {
        (
            "objectBytes",
            "it has an object that is larger, unpacked: keep large files elsewhere",
        )
    } else if message.contains("too many objects") {
        (
            "fetchObjects",
            "one transfer has more objects than are taken",
        )
    } else {
        return None;
    };
    Some(FetchError::Limit {
        limit: limit.to_owned(),
        detail: detail.to_owned(),
    })
}

/// The HTTP status that libgit2 wraps into its message.
fn status(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once("status code: ")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Errors of the operating system that are the network's, not the disk's.
fn is_network(message: &str) -> bool {
    ["connect", "socket", "resolve", "network", "recv", "send"]
        .iter()
        .any(|word| message.contains(word))
}
