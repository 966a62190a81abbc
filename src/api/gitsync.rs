//! `GitSync`: which repository, ref and path are kept applied, and how.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::api::lenient::leniently;
use crate::api::shared::{DurationText, LocalReference, SHARE_PATTERN, conditions_schema};

/// A Git repository that is kept applied.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "workstead.dev",
    version = "v1alpha1",
    kind = "GitSync",
    plural = "gitsyncs",
    singular = "gitsync",
    shortname = "gsync",
    category = "workstead",
    namespaced,
    status = "GitSyncStatus",
    derive = "PartialEq",
    doc = "A Git repository whose Workspaces are kept applied.",
    cel,
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(
        name = "Revision",
        type_ = "string",
        json_path = ".status.lastAppliedRevision"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url", priority = 1),
    printcolumn(
        name = "Objects",
        type_ = "integer",
        json_path = ".status.objects",
        priority = 1
    ),
    printcolumn(
        name = "Errors",
        type_ = "integer",
        json_path = ".status.errorCount",
        priority = 1
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspend",
        priority = 1
    ),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled")
)]
#[serde(rename_all = "camelCase")]
pub struct GitSyncSpec {
    /// Where the repository is, over https or http.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://')").message("spec.url begins with https:// or http://; instead of git@host:path write https://host/path"))]
    #[x_kube(validation = Rule::new("!self.matches('^https?://[^/]*@')").message("spec.url carries no credentials: put them into a Secret and name it in spec.secretRef"))]
    pub url: String,
    /// What to follow. Left out, the HEAD of the remote.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitReference>,
    /// How often to look without being told. Left out, 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('5s')").message("spec.interval is 5s or more: a webhook brings commits faster than polling"))]
    pub interval: Option<DurationText>,
    /// How long to wait after a failure. Left out, 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<DurationText>,
    /// How long a fetch may take. Left out, 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("spec.timeout is 1s or more"))]
    pub timeout: Option<DurationText>,
    /// A Secret of this namespace: `username` and `password`, or `bearerToken`; `ca.crt` for a private authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// The folder to read, from the root of the repository. Left out, all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '..')").message("spec.path stays inside the repository: write it relative to the root, without '..'"))]
    pub path: Option<String>,
    /// Files to leave out, in gitignore syntax.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub ignore: Option<String>,
    /// Whether and how far objects are deleted that left the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
    /// What happens to the applied objects when this GitSync is deleted. Left out, Orphan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Who may be named as `spec.owner` under which path. Left out, anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub owners: Vec<OwnersRule>,
    /// Namespaces that may be written to. Left out, this namespace. Another one must carry the annotation
    /// `workstead.dev/accept-gitsync: <namespace>/<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub allowed_namespaces: Option<Vec<String>>,
    /// Kinds that may be written. Left out, Workspace and WorkspaceVariables.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub allowed_kinds: Option<Vec<SyncedKind>>,
    /// Lets a Git server report pushes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Do nothing for now: no fetch, no apply, no prune.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What to follow; the later one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct GitReference {
    /// A branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: Option<String>,
    /// A tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub tag: Option<String>,
    /// A commit, as its 40 hexadecimal digits. With `branch`, it must be reachable from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{40}$')").message("ref.commit is the full 40 hexadecimal digits of the commit, in lower case"))]
    #[schemars(length(max = 64))]
    pub commit: Option<String>,
}

/// Whether and how far objects are deleted that left the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prune {
    /// Whether to delete at all. Left out, true: the guard and the volume's retention stand before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How many Workspaces one commit may delete without approval: a number, or a share such as `20%`. Left out, 20%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deletes: Option<MaxDeletes>,
}

/// A number, or a share in percent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaxDeletes {
    /// So many.
    Count(u32),
    /// A share such as `20%`.
    Share(String),
}

impl JsonSchema for MaxDeletes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxDeletes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": SHARE_PATTERN,
            "minimum": 0,
            "maximum": 1000000,
        })
    }
}

/// What happens to the applied objects when the GitSync is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Orphan,
    /// They are deleted, unless the GitSync is suspended.
    Delete,
}

/// Who may be named as owner under a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct OwnersRule {
    /// A folder, from the root of the repository; the deepest rule that fits a file holds.
    #[schemars(length(max = 1024))]
    pub path: String,
    /// Owners that files under it may name.
    #[schemars(length(max = 1024))]
    pub owners: Vec<String>,
}

/// Kinds that a GitSync may write.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SyncedKind {
    /// Workspaces.
    Workspace,
    /// Sealed variables.
    WorkspaceVariables,
    /// WorkspaceClasses; only from the controller's own namespace.
    WorkspaceClass,
    /// Other GitSyncs; only from the controller's own namespace.
    GitSync,
}

/// Lets a Git server report pushes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// A Secret of this namespace whose key `token` signs the report.
    pub secret_ref: LocalReference,
}

/// How the last passes went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct GitSyncStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled; PruneBlocked, HistoryRewritten and FightDetected where they apply.
    #[schemars(schema_with = "conditions_schema")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The revision of the last attempt, as `branch@sha1:<commit>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// The revision that is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// The last value of the annotation `workstead.dev/reconcile-requested-at` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// What was wrong in the last pass; capped, `errorCount` has the total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SyncError>,
    /// How many errors the last pass had in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_count: Option<u32>,
    /// How many objects are kept applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u32>,
    /// The last five revisions that changed something, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// Deletes that wait for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune_blocked: Option<PruneBlocked>,
    /// Path of the webhook on port 8082 of the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
    /// Fields that another release wrote in a way that this one can't read. Never written.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

leniently!(GitSyncStatus, |_| {});

/// Something wrong with one file or object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncError {
    /// Stable code, for example `GS211`; each has a page in the documentation.
    pub code: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The object, as `Kind namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A revision that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The revision.
    pub revision: String,
    /// When it was applied.
    pub applied_at: Time,
    /// How many objects were created.
    pub created: u32,
    /// How many objects were changed.
    pub updated: u32,
    /// How many objects were deleted.
    pub deleted: u32,
}

/// Deletes that wait for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneBlocked {
    /// The commit that no longer has them.
    pub commit: String,
    /// Digest of the set.
    pub digest: String,
    /// How many.
    pub count: u32,
    /// Their names; capped.
    pub objects: Vec<String>,
    /// Why it was blocked.
    pub reason: String,
    /// The value for the annotation `workstead.dev/approve-prune` that lets exactly this set go.
    pub approval: String,
}
