//! What a login asks of the rest of the proxy.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::proxy::host::RequestHost;
use crate::proxy::session::Epochs;
use crate::proxy::session::revocation::Entry;

/// The workspace that a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// UID of the Workspace.
    pub uid: String,
    /// Whose it is.
    pub owner: String,
    /// The groups that its policy names.
    pub groups: Vec<String>,
}

/// What is known of workspaces. Answers from memory.
pub trait Directory: Send + Sync {
    /// The workspace that a host stands for; none where it is not routed.
    fn workspace(&self, host: &RequestHost) -> Option<Place>;
    /// Whether any workspace's policy names a group.
    fn names_group(&self, group: &str) -> bool;
    /// Whether what is known is young enough to let somebody in by it.
    fn is_fresh(&self) -> bool;
    /// What was ended before its time.
    fn epochs(&self) -> Arc<Epochs>;
}

/// Whether a link was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Not before now.
    First,
    /// It was, here or at another replica.
    Again,
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// The API server said no, or nothing.
    #[error("failed to {action}: {message}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// What it said.
        message: String,
    },
    /// No room, or too many others at the same time.
    #[error("failed to write the revocations: {0}")]
    Revocations(String),
}

/// What a login writes, for all replicas to see.
pub trait Effects: Send + Sync {
    /// Uses a link, named by a digest. It counts until then.
    fn use_link<'a>(
        &'a self,
        digest: &'a str,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Use, EffectError>>;

    /// Ends logins.
    fn revoke<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Result<(), EffectError>>;
}

/// A step of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A workspace's host sent a browser to the auth host, or refused a program.
    Begin,
    /// The auth host took a browser in.
    Request,
    /// The provider sent a browser back.
    Callback,
    /// A link was opened.
    Link,
    /// A workspace's host took a browser back.
    Ticket,
    /// Somebody signed out.
    SignOut,
    /// The provider signed somebody out.
    BackChannel,
}

impl Step {
    /// For counters and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Request => "request",
            Self::Callback => "callback",
            Self::Link => "link",
            Self::Ticket => "ticket",
            Self::SignOut => "sign-out",
            Self::BackChannel => "back-channel",
        }
    }
}

/// How a step went: for counters (`step`, `outcome`) and the audit log. Nothing secret is in it.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Which step.
    pub step: Step,
    /// How it went: few values, known beforehand.
    pub outcome: &'static str,
    /// Who, where that is known.
    pub user: Option<&'a str>,
    /// The workspace's host, where there is one.
    pub host: Option<&'a str>,
    /// From where.
    pub address: IpAddr,
    /// What went wrong, in words.
    pub note: Option<String>,
}

/// Keeps account of logins.
pub trait Record: Send + Sync {
    /// Something happened.
    fn record(&self, event: &Event<'_>);
}

/// Writes each event into the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRecord;

impl Record for LogRecord {
    fn record(&self, event: &Event<'_>) {
        tracing::info!(
            target: "workstead::audit",
            step = event.step.label(),
            outcome = event.outcome,
            user = event.user,
            host = event.host,
            address = %event.address,
            note = event.note.as_deref(),
            "login"
        );
    }
}
