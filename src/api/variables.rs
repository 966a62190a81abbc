//! `WorkspaceVariables`: a sealed set of environment variables and files.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::lenient::leniently;
use crate::api::shared::conditions_schema;

/// A sealed text. Who may use it, and where, stands inside of it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "workstead.dev",
    version = "v1alpha1",
    kind = "WorkspaceVariables",
    plural = "workspacevariables",
    singular = "workspacevariables",
    shortname = "wsvars",
    category = "workstead",
    namespaced,
    status = "WorkspaceVariablesStatus",
    derive = "PartialEq",
    doc = "A sealed set of environment variables and files: anybody may read the object, and only the controller opens it.",
    cel,
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Serial", type_ = "integer", json_path = ".status.serial"),
    printcolumn(
        name = "Used-By",
        type_ = "integer",
        json_path = ".status.usedBy.count"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Opened-By",
        type_ = "string",
        json_path = ".status.openedBy",
        priority = 1
    ),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.format != 'Age' || self.sealed.startsWith('-----BEGIN AGE ENCRYPTED FILE-----')").message("spec.sealed is no armored age file: seal it with workstead seal, or age --armor. If a secret stands there in plain text, exchange it: it was sent"))]
#[x_kube(validation = Rule::new("self.format != 'Sops' || (self.sealed.contains('ENC[AES256_GCM,') && self.sealed.contains('sops'))").message("spec.sealed is no document of SOPS: encrypt it with sops. If a secret stands there in plain text, exchange it: it was sent"))]
pub struct WorkspaceVariablesSpec {
    /// How it is sealed: Age or Sops.
    pub format: SealedFormat,
    /// The sealed text, whole: an armored age file as `workstead seal` or `age --armor` writes it, or a SOPS document.
    #[schemars(length(min = 1, max = 1_048_576))]
    pub sealed: String,
}

/// How a set is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SealedFormat {
    /// One armored age file.
    Age,
    /// A document of SOPS with age recipients, of which every value is sealed.
    Sops,
}

/// What the controller found. Names of variables and files, never a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct WorkspaceVariablesStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready says whether it can be used.
    #[schemars(schema_with = "conditions_schema")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last text that was accepted. One that is refused changes none of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedSet>,
    /// The highest serial that was ever accepted: it may only rise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<i64>,
    /// The fingerprint of the recipient whose identity opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<String>,
    /// Which Workspaces have something of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<UsedBy>,
    /// Fields that another release wrote in a way that this one can't read. Never written.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

leniently!(WorkspaceVariablesStatus, |_| {});

/// A text that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedSet {
    /// SHA-256 of the sealed text, in hexadecimal. Never of what is in it.
    pub digest: String,
    /// Says whether another text has the same content, to who holds the identity; nothing to anybody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where it may be used: Strict, Namespace or Cluster.
    pub scope: String,
    /// Who gets it without listing it: an owner, or every Workspace of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<AppliesTo>,
    /// Names of its variables, the first 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Paths of its files, the first 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How many more variables and files it has than are named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<i64>,
}

/// Who gets a set without listing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliesTo {
    /// Workspaces of this owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// All Workspaces of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<bool>,
}

/// Which Workspaces have something of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UsedBy {
    /// How many.
    pub count: i64,
    /// Their names, the first 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<String>,
}
