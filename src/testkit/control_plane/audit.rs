//! What the API server was asked for, by its own account.

use jiff::Timestamp;
use serde::Deserialize;

/// One answered request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Where the request stood: `ResponseStarted` for watches that go on, else `ResponseComplete`.
    pub stage: String,
    /// Who asked.
    pub user: AuditUser,
    /// As whom, where the request impersonated somebody.
    pub impersonated_user: Option<AuditUser>,
    /// What it was about; none for paths that are no resource.
    pub object_ref: Option<AuditObject>,
    /// How it was answered.
    pub response_status: Option<AuditStatus>,
    /// The program that asked.
    pub user_agent: Option<String>,
    /// When the server had the request.
    pub request_received_timestamp: Timestamp,
    /// When the server wrote this down: for a whole request, when it was done.
    pub stage_timestamp: Timestamp,
}

impl AuditEvent {
    /// As whom the request was carried out.
    pub fn user(&self) -> &str {
        &self
            .impersonated_user
            .as_ref()
            .unwrap_or(&self.user)
            .username
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditUser {
    /// The name.
    pub username: String,
    /// The groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// Plural name of the kind.
    pub resource: String,
    /// `status`, `scale`, … or nothing.
    pub subresource: String,
    /// The API group; nothing for the core.
    pub api_group: String,
    /// The namespace, where there is one.
    pub namespace: String,
    /// The name, where there is one.
    pub name: String,
}

/// How a request was answered.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditStatus {
    /// HTTP status.
    #[serde(default)]
    pub code: u16,
}

/// What is written down: every request but those that the control plane makes of itself.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, users: ['system:apiserver', 'system:kube-controller-manager']}
  - {level: None, nonResourceURLs: ['/readyz*', '/livez*', '/healthz*']}
  - {level: Metadata}
";

/// Reads the log. A line that is still being written is left for the next look.
pub(super) fn read(log: &str) -> Vec<AuditEvent> {
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
