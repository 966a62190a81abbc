//! Every name that two rooms share, once: labels, annotations, ports, field managers, objects.

use std::fmt;

/// `app.kubernetes.io/managed-by` of every child; the selector of our caches.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "workstead";
/// Label of children: name of the Workspace.
pub const WORKSPACE_LABEL: &str = "workstead.dev/workspace";
/// Label of children: UID of the Workspace.
pub const WORKSPACE_UID_LABEL: &str = "workstead.dev/workspace-uid";
/// Label of what a GitSync applies: its name. Only the controller may set it (admission policy).
pub const GITSYNC_NAME_LABEL: &str = "gitsync.workstead.dev/name";
/// Label of what a GitSync applies: its namespace. Only the controller may set it (admission policy).
pub const GITSYNC_NAMESPACE_LABEL: &str = "gitsync.workstead.dev/namespace";
/// Label of the ConfigMaps that hold an inventory: UID of the GitSync.
pub const INVENTORY_OF_LABEL: &str = "workstead.dev/inventory-of";

/// Workspace: a new value asks for a restart; echoed in `status.lastHandledRestartAt`.
pub const RESTART_REQUESTED_ANNOTATION: &str = "workstead.dev/restart-requested-at";
/// Workspace: a new value undoes a stop by timer; echoed in `status.lastHandledWakeAt`.
pub const WAKE_REQUESTED_ANNOTATION: &str = "workstead.dev/wake-requested-at";
/// Workspace: a new value has the first process asked now; echoed in `status.lastHandledInspectAt`.
pub const INSPECT_REQUESTED_ANNOTATION: &str = "workstead.dev/inspect-requested-at";
/// Workspace: a new value has the next start take what is newest of its sealed sets; echoed in
/// `status.lastHandledVariablesUpdateAt`.
pub const VARIABLES_UPDATE_ANNOTATION: &str = "workstead.dev/variables-update-requested-at";
/// Synced objects: `disabled` keeps GitSync's hands off.
pub const RECONCILE_ANNOTATION: &str = "workstead.dev/reconcile";
/// Synced objects: `disabled` keeps GitSync from pruning.
pub const PRUNE_ANNOTATION: &str = "workstead.dev/prune";
/// Lease: what the proxy may write it for.
pub const LEASE_LABEL: &str = "workstead.dev/lease";
/// Value of [`LEASE_LABEL`]: its `renewTime` is when a workspace was last used.
pub const ACTIVITY_LEASE: &str = "activity";
/// Value of [`LEASE_LABEL`]: a login link that was used.
pub const LOGIN_LEASE: &str = "login";
/// The value that switches [`RECONCILE_ANNOTATION`] and [`PRUNE_ANNOTATION`] off.
pub const DISABLED: &str = "disabled";
/// Synced objects: JSON of repository, revision and file at which this object last changed. Controller only.
pub const ORIGIN_ANNOTATION: &str = "workstead.dev/origin";
/// WorkspaceVariables: the digest of a sealed text that is let in although its serial does not rise.
pub const ACCEPT_SERIAL_ANNOTATION: &str = "workstead.dev/accept-serial";
/// WorkspaceClass: `"true"` makes it the default.
pub const DEFAULT_CLASS_ANNOTATION: &str = "workstead.dev/is-default-class";
/// GitSync: a new value asks for a pass; echoed in `status.lastHandledReconcileAt`.
pub const RECONCILE_REQUESTED_ANNOTATION: &str = "workstead.dev/reconcile-requested-at";
/// GitSync: what Flux's tools write; means the same as [`RECONCILE_REQUESTED_ANNOTATION`].
pub const FLUX_RECONCILE_REQUESTED_ANNOTATION: &str = "reconcile.fluxcd.io/requestedAt";
/// GitSync: `<commit>/<set digest>`, approval of exactly that set of deletes.
pub const APPROVE_PRUNE_ANNOTATION: &str = "workstead.dev/approve-prune";
/// Namespace: `<ns>/<name>[,…]` of GitSyncs from elsewhere that may apply here.
pub const ACCEPT_GITSYNC_ANNOTATION: &str = "workstead.dev/accept-gitsync";
/// Secret: may be used by Workspaces of its namespace, and for what.
pub const USE_LABEL: &str = "workstead.dev/use";
/// Value of [`USE_LABEL`]: credentials for Git servers.
pub const GIT_CREDENTIALS: &str = "git-credentials";
/// Value of [`USE_LABEL`]: values that `env[].valueFrom` of a Workspace may name.
pub const VARIABLES: &str = "variables";
/// Secret with Git credentials: `<host>[:port][,…]` that it is for.
pub const CREDENTIAL_HOSTS_ANNOTATION: &str = "workstead.dev/hosts";
/// PVC: whose volume it is. Secret: whose it is, if not everybody's in the namespace.
pub const OWNER_ANNOTATION: &str = "workstead.dev/owner";
/// PVC: UID of the Workspace that uses it.
pub const VOLUME_WORKSPACE_UID_ANNOTATION: &str = "workstead.dev/workspace-uid";

/// Children: digest of what the controller last applied.
pub const APPLIED_ANNOTATION: &str = "workstead.dev/applied";

/// Secret of a supervisor: SHA-256 of the public key in it.
pub const PUBLIC_KEY_ANNOTATION: &str = "workstead.dev/public-key-sha256";
/// Secret with the variables of a workspace: SHA-256 over what it was put together from.
pub const VARIABLES_DIGEST_ANNOTATION: &str = "workstead.dev/variables-digest";
/// Secret with the variables of a workspace: JSON of who brings which of them, by name.
pub const VARIABLES_ORIGINS_ANNOTATION: &str = "workstead.dev/variables-origins";
/// Secret of the proxy's certificate: when another one is made.
pub const RENEW_AT_ANNOTATION: &str = "workstead.dev/renew-at";
/// Secret of the installation with the authority of all supervisors. The controller's alone.
pub const AUTHORITY_SECRET: &str = "workstead-supervisor-ca";
/// Secret of the installation with the certificate by which supervisors know the proxy.
pub const PROXY_CLIENT_SECRET: &str = "workstead-proxy-client";
/// Secret of the installation with the keys that sign sessions.
pub const PROXY_KEYS_SECRET: &str = "workstead-proxy-keys";
/// Secret of the installation with what opens sealed variables. The controller's alone.
pub const IDENTITIES_SECRET: &str = "workstead-identities";
/// Entry of [`IDENTITIES_SECRET`]: `AGE-SECRET-KEY-1…` line by line, the newest first.
pub const IDENTITIES_ENTRY: &str = "identities.txt";
/// ConfigMap of the installation with whom to seal variables for. Whoever is signed in may read it.
pub const RECIPIENTS_CONFIG_MAP: &str = "workstead-recipients";
/// Entry of [`RECIPIENTS_CONFIG_MAP`]: `age1…` line by line, the newest first.
pub const RECIPIENTS_ENTRY: &str = "recipients.txt";
/// ConfigMap of the installation with what is revoked.
pub const REVOCATIONS_CONFIG_MAP: &str = "workstead-revocations";
/// Label of what the controller makes in the installation's namespace to find something out: what it is about.
pub const PROBE_LABEL: &str = "workstead.dev/probe";
/// Value of [`PROBE_LABEL`]: whether tools can be mounted as image volumes and run from there.
pub const PROBE_IMAGE_VOLUMES: &str = "image-volumes";
/// ConfigMap of the installation with what was found out about image volumes, by versions of kubelet and runtime.
pub const IMAGE_VOLUMES_CONFIG_MAP: &str = "workstead-image-volumes";

/// Field manager of GitSync.
pub const GITSYNC_MANAGER: &str = "workstead/gitsync";
/// Field manager of the Workspace controller.
pub const WORKSPACE_MANAGER: &str = "workstead/workspace";
/// Field manager of the WorkspaceClass controller.
pub const CLASS_MANAGER: &str = "workstead/workspaceclass";
/// Field manager of the WorkspaceVariables controller.
pub const VARIABLES_MANAGER: &str = "workstead/workspacevariables";
/// Field manager of the proxy.
pub const PROXY_MANAGER: &str = "workstead/proxy";
/// Field manager of the command line; never forced.
pub const CLI_MANAGER: &str = "workstead/cli";

/// Finalizer of a GitSync whose deletion takes its objects along.
pub const GITSYNC_FINALIZER: &str = "workstead.dev/gitsync";
/// Lease of the leading controller, in the installation's namespace.
pub const CONTROLLER_LEASE: &str = "workstead-controller";
/// The verb on Workspaces that lets somebody name another owner.
pub const ASSIGN_OWNER_VERB: &str = "assign-owner";
/// Admission policy, and its binding, that lets people name only themselves as owner.
pub const OWNER_POLICY: &str = "workstead-owner";
/// Admission policy, and its binding, that lets only the controller say which object comes from Git.
pub const OWNERSHIP_POLICY: &str = "workstead-gitsync-ownership";

/// `/metrics`, `/healthz`, `/readyz`.
pub const HEALTH_PORT: u16 = 8080;
/// Webhook receiver, on every replica of the controller.
pub const WEBHOOK_PORT: u16 = 8082;
/// Where the home volume is mounted.
pub const HOME_PATH: &str = "/projects";
/// Name of the main container.
pub const MAIN_CONTAINER: &str = "workspace";
/// What a Secret with Git credentials may hold: for http, the authority that signs the server, and for ssh.
pub const CREDENTIAL_KEYS: [&str; 6] = [
    "username",
    "password",
    "bearerToken",
    "ca.crt",
    "identity",
    "known_hosts",
];
/// Name of the init container that copies the tools, where they can't be mounted.
pub const COPY_TOOLS_CONTAINER: &str = "copy-tools";
/// Name of the init container that copies the editor, where it can't be mounted.
pub const COPY_EDITOR_CONTAINER: &str = "copy-editor";
/// Prefix of our own environment variables in workspaces.
pub const ENVIRONMENT_PREFIX: &str = "WORKSTEAD_";

/// Labels below the domain that are never a workspace's. An installation may reserve more.
pub const RESERVED_LABELS: [&str; 3] = ["auth", "ssh", "hub"];

/// Why a text is not a Kubernetes name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty or too long.
    #[error("'{0}' has {1} characters: a name has 1 to {2}")]
    Length(String, usize, usize),
    /// It has a character that is not allowed.
    #[error(
        "'{0}' is no name: write lower-case letters, digits and '-', a letter or digit first and last"
    )]
    Characters(String),
}

/// A DNS label: lower-case letters, digits and `-`, at most 63 characters (RFC 1123).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsLabel(String);

impl DnsLabel {
    /// Longest label.
    pub const MAX: usize = 63;

    /// Checks and takes a label.
    ///
    /// # Errors
    /// When the text is not an RFC 1123 label.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text, Self::MAX, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
        })?;
        Ok(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS subdomain: labels with `.` between them, at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsSubdomain(String);

impl DnsSubdomain {
    /// Longest subdomain.
    pub const MAX: usize = 253;

    /// Checks and takes a subdomain.
    ///
    /// # Errors
    /// When the text is not an RFC 1123 subdomain.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX {
            return Err(NameError::Length(
                text.clone(),
                text.chars().count(),
                Self::MAX,
            ));
        }
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text
            .split('.')
            .any(|part| check(part, Self::MAX, label).is_err())
        {
            return Err(NameError::Characters(text));
        }
        Ok(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsSubdomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    let length = text.chars().count();
    if length == 0 || length > max {
        return Err(NameError::Length(text.to_owned(), length, max));
    }
    if !text.chars().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Characters(text.to_owned()));
    }
    Ok(())
}
