//! `WorkspaceClass`: what an administrator offers, and within which limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::access::ClassAccess;
pub use crate::api::activity::ClassTimeouts;
use crate::api::editors::ClassEditor;
pub use crate::api::editors::{ClassTools, Delivery, GitIdentity, ToolsDelivery};
use crate::api::lenient::leniently;
use crate::api::shared::{LocalReference, Quantity, Resources, conditions_schema};

/// Defaults, caps, network, quotas, and who may use them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "workstead.dev",
    version = "v1alpha1",
    kind = "WorkspaceClass",
    plural = "workspaceclasses",
    singular = "workspaceclass",
    shortname = "wsclass",
    category = "workstead",
    status = "WorkspaceClassStatus",
    derive = "PartialEq",
    doc = "What an administrator offers to Workspaces: defaults, caps, network, quotas, and who may use it.",
    cel,
    printcolumn(
        name = "Default",
        type_ = "string",
        json_path = r".metadata.annotations.workstead\.dev/is-default-class"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Network",
        type_ = "string",
        json_path = ".spec.network.profile"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Per-Owner",
        type_ = "integer",
        json_path = ".spec.quota.perOwner",
        priority = 1
    ),
    printcolumn(
        name = "Total",
        type_ = "integer",
        json_path = ".spec.quota.total",
        priority = 1
    ),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceClassSpec {
    /// Namespaces whose Workspaces may use it. Left out, all; an empty list, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub allowed_namespaces: Option<Vec<String>>,
    /// What a workspace gets that says nothing, and what it may ask for at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ClassResources>,
    /// The home volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<ClassStorage>,
    /// What workspaces may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<ClassNetwork>,
    /// How many Workspaces there may be. Left out, no limit; 0, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<ClassQuota>,
    /// Time limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<ClassTimeouts>,
    /// To whom workspaces may be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<ClassAccess>,
    /// Settings of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<ClassPod>,
    /// Editors that a Workspace can choose from. An entry is all that an editor needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.filter(e, has(e.default) && e.default).size() <= 1").message("two editors are the default: leave default: true on one of them"))]
    pub editors: Vec<ClassEditor>,
    /// How Workstead's tools (first process, Git, ssh) get into a workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<ClassTools>,
    /// Whose name Git writes into commits. Left out, that of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_identity: Option<GitIdentity>,
    /// What workspaces have of sealed variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<ClassVariables>,
    /// Secrets with registry credentials, in the namespace of each Workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// Labels and annotations for the pod, volume and Service of each workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_metadata: Option<ChildMetadata>,
}

// The rules look at three resources alone: see `Resources`.
/// Resources of the main container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.max) || !has(self.default) || !has(self.default.requests) || ['cpu', 'memory', 'ephemeral-storage'].all(k, !(k in self.default.requests) || !(k in self.max) || quantity(string(self.default.requests[k])).compareTo(quantity(string(self.max[k]))) <= 0)").message("resources.default.requests asks for more than resources.max allows: lower the default or raise the max"))]
#[x_kube(validation = Rule::new("!has(self.max) || !has(self.default) || !has(self.default.limits) || ['cpu', 'memory', 'ephemeral-storage'].all(k, !(k in self.default.limits) || !(k in self.max) || quantity(string(self.default.limits[k])).compareTo(quantity(string(self.max[k]))) <= 0)").message("resources.default.limits gives more than resources.max allows: lower the default or raise the max"))]
pub struct ClassResources {
    /// For a workspace that says nothing, by resource name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Resources>,
    /// The most that a workspace may ask for, requests and limits alike, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub max: BTreeMap<String, Quantity>,
}

/// The home volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.default) || !has(self.max) || quantity(string(self.default)).compareTo(quantity(string(self.max))) <= 0").message("storage.default is larger than storage.max: lower the default or raise the max"))]
pub struct ClassStorage {
    /// Size for a workspace that says nothing. Left out, 10Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Quantity>,
    /// The largest size that a workspace may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Quantity>,
    /// Name of the StorageClass. Left out, the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("storage.className is the name of a StorageClass: lower-case letters, digits, '-' and '.', as kubectl get storageclasses shows it"))]
    pub class_name: Option<String>,
    /// What happens to the volume of a terminated Workspace. Left out, Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// What happens to the volume of a terminated Workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// It stays, and a new Workspace of the same name and owner adopts it.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

/// What workspaces may reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClassNetwork {
    /// How a workspace's network is made. Left out, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<NetworkProfile>,
    /// Destinations that workspaces may open connections to, beside cluster DNS. Left out, all public IPv4 addresses;
    /// an empty list, none. Metadata services, link-local and private IPv6 ranges are never reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub egress: Option<Vec<EgressRule>>,
}

/// How a workspace's network is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NetworkProfile {
    /// The pod's network as the cluster makes it, guarded by a NetworkPolicy.
    #[default]
    None,
}

/// Destinations that may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.except) || !isCIDR(self.allow) || self.except.all(e, isCIDR(e) && !e.matches('(^|[.])0[0-9]') && cidr(self.allow).containsCIDR(e) && cidr(e).prefixLength() > cidr(self.allow).prefixLength())").message("except holds ranges inside allow, each smaller than it: for example 10.0.0.0/8 in 0.0.0.0/0"))]
pub struct EgressRule {
    /// A range of addresses, for example `0.0.0.0/0`.
    #[schemars(length(min = 1, max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && !self.matches('(^|[.])0[0-9]')").message("allow is a range of addresses such as 10.0.0.0/8 or 2001:db8::/32"))]
    pub allow: String,
    /// Ranges inside `allow`, each smaller than it, that stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 43)))]
    pub except: Vec<String>,
    /// TCP and UDP ports. Left out, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
}

/// How many Workspaces there may be that aren't terminated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassQuota {
    /// For each owner, within this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000000))]
    pub per_owner: Option<u32>,
    /// In all, within this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000000))]
    pub total: Option<u32>,
}

/// Settings of the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.allowPrivilegeEscalation) || !self.allowPrivilegeEscalation || (has(self.userNamespaces) && self.userNamespaces) || (has(self.runtimeClassName) && self.runtimeClassName != '')").message("pod.allowPrivilegeEscalation needs pod.userNamespaces: true or a pod.runtimeClassName that isolates: set one of them"))]
pub struct ClassPod {
    /// The user that everything runs as; the group is always 0. Left out, 10001.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub run_as_user: Option<i64>,
    /// Give each pod a user namespace of its own, where the cluster can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_namespaces: Option<bool>,
    /// Name of the RuntimeClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("pod.runtimeClassName is the name of a RuntimeClass: lower-case letters, digits, '-' and '.', as kubectl get runtimeclasses shows it"))]
    pub runtime_class_name: Option<String>,
    /// Let programs gain rights by set-user-ID files, for example sudo. Only with one of the two above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
}

/// Sealed variables of workspaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassVariables {
    /// Whether each start takes what is newest. Left out, a workspace keeps what it has until somebody asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_at_start: Option<bool>,
}

/// Labels and annotations for children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ChildMetadata {
    /// Labels. Keys of `workstead.dev`, `kubernetes.io` and `k8s.io` are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, !k.matches('^([^/]*[.])?(workstead[.]dev|kubernetes[.]io|k8s[.]io)/'))").message("childMetadata.labels can't set keys of workstead.dev, kubernetes.io or k8s.io: use a prefix of your own"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations. The same keys are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, !k.matches('^([^/]*[.])?(workstead[.]dev|kubernetes[.]io|k8s[.]io)/'))").message("childMetadata.annotations can't set keys of workstead.dev, kubernetes.io or k8s.io: use a prefix of your own"))]
    pub annotations: BTreeMap<String, String>,
}

/// What the controller makes of the class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct WorkspaceClassStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready says whether Workspaces can use the class.
    #[schemars(schema_with = "conditions_schema")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Each field that is wrong, with what to write instead. The other fields hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid_fields: Vec<InvalidField>,
    /// Fields that another release wrote in a way that this one can't read. Never written.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

leniently!(WorkspaceClassStatus, |_| {});

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvalidField {
    /// Its path.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}
