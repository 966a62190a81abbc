//! What a Workspace has in its environment: in plain text, from Secrets, of sealed sets.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.valueFrom) || !has(self.value) || self.value == ''").message("an environment variable has a value or a valueFrom: leave one of them out"))]
pub struct EnvironmentVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("the name of an environment variable is letters, digits and '_', no digit first"))]
    #[x_kube(validation = Rule::new("!self.startsWith('WORKSTEAD_')").message("names that begin with WORKSTEAD_ are reserved: choose another prefix"))]
    pub name: String,
    /// Its value, taken literally: `$(NAME)` is not expanded.
    #[serde(default)]
    #[schemars(length(max = 32768))]
    pub value: String,
    /// Where its value comes from instead. It is read when a start takes it, and stays so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<VariableSource>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariableSource {
    /// An entry of a Secret.
    pub secret_key_ref: SecretKeyReference,
}

/// An entry of a Secret of the namespace. The Secret has to carry the label `workstead.dev/use: variables`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema,
)]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("secretKeyRef.name is the name of a Secret: lower-case letters, digits, '-' and '.', as kubectl get secrets shows it"))]
    pub name: String,
    /// Its entry.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("secretKeyRef.key is an entry of a Secret: letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

/// A sealed set of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct VariablesReference {
    /// Name of the WorkspaceVariables.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("the name of a WorkspaceVariables is lower-case letters, digits, '-' and '.', as kubectl get workspacevariables shows it"))]
    pub name: String,
}

/// What a workspace has of sealed sets and Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PinnedVariables {
    /// The Secret that holds all of it, put together.
    pub secret: String,
    /// Where it came from, in the order in which it was put together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<PinnedSet>,
    /// What it was last compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<String>,
    /// What a start would change that takes it anew, the first 200.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<OutdatedVariable>,
    /// How many more there are than are named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated_unnamed: Option<i64>,
}

/// A source of variables and files, and what of it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedSet {
    /// How far it reaches. What comes later in this order counts: Namespace, Owner, Workspace, Inline.
    pub level: VariablesLevel,
    /// Name of the WorkspaceVariables; of Inline that of the Secret.
    pub name: String,
    /// SHA-256 of its sealed text, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Names of the variables that the workspace has of it, the first 200. What a later one brings too is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Paths of files, in the same way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How many more there are than are named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<i64>,
}

/// How far a source of variables reaches. What comes later here counts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum VariablesLevel {
    /// All Workspaces of its namespace.
    Namespace,
    /// All of an owner.
    Owner,
    /// Those that list it.
    Workspace,
    /// A Workspace's own `env`.
    Inline,
}

/// A variable or file that a newer set brings, changes or leaves out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct OutdatedVariable {
    /// Name of the variable, or path of the file.
    pub name: String,
    /// What becomes of it.
    pub change: VariableChange,
}

/// What becomes of a variable.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum VariableChange {
    /// It is new.
    Added,
    /// It has another value.
    Changed,
    /// It goes.
    Removed,
}
