//! `Workspace`: one development environment of one owner.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::access::EndpointStatus;
pub use crate::api::access::{Endpoint, Shared};
use crate::api::activity::{Activity, Wake};
pub use crate::api::activity::{StoppedByTimer, Timeouts};
use crate::api::editors::Delivery;
pub use crate::api::environment::EnvironmentVariable;
use crate::api::environment::{PinnedVariables, VariablesReference};
use crate::api::inspection::Inspection;
use crate::api::lenient::leniently;
use crate::api::projects::{PostStartCommand, Project};
use crate::api::shared::{Blame, Quantity, Resources, conditions_schema};
pub use crate::api::steps::{Cause, StartStep, TimelineStep};

/// One development environment of one owner.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "workstead.dev",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    singular = "workspace",
    shortname = "ws",
    category = "workstead",
    namespaced,
    status = "WorkspaceStatus",
    derive = "PartialEq",
    doc = "A development environment of one owner: an image, a home volume, a pod while it should run.",
    cel,
    selectable = ".spec.owner",
    selectable = ".spec.className",
    printcolumn(name = "State", type_ = "string", json_path = ".status.actualState"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Desired", type_ = "string", json_path = ".status.desiredState", priority = 1),
    printcolumn(name = "Cause", type_ = "string", json_path = ".status.failure.cause", priority = 1),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.className", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.pod.node", priority = 1),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    validation = Rule::new("self.metadata.name.size() <= 57").message("the name of a Workspace has at most 57 characters: it becomes part of a host name beside a port"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("the name of a Workspace contains no '.': write '-' instead, it becomes one label of a host name"),
    validation = Rule::new("!self.metadata.name.contains('--')").message("the name of a Workspace contains no '--': write a single '-', the double one separates parts of a host name"),
    validation = Rule::new("!self.metadata.name.matches('^[0-9]+-')").message("the name of a Workspace does not begin with digits and '-': put a letter first, '3000-name' stands for port 3000 of 'name'")
)]
#[x_kube(validation = Rule::new("!has(self.args) || self.args.size() == 0 || (has(self.command) && self.command.size() > 0)").message("spec.args needs spec.command: the image's own entrypoint is not run, so write the program in spec.command"))]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// Who it belongs to, as the identity provider names them. It can't be changed: make a new Workspace for somebody else.
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.owner can't be changed: the home volume belongs to the owner. Create a Workspace of another name for the new owner"))]
    #[x_kube(validation = Rule::new("self.matches('^[!-~]+$')").message("spec.owner has no spaces or control characters: write it as the identity provider does, for example alice@example.com"))]
    pub owner: String,

    /// Name of the WorkspaceClass. Left out, the class that is annotated as default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("spec.className is the name of a WorkspaceClass: lower-case letters, digits, '-' and '.', as kubectl get workspaceclasses shows it"))]
    pub class_name: Option<String>,

    /// Running, Stopped or Terminated. Left out, the run state is free: `workstead start` and `workstead stop` set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<DesiredState>,

    /// The container image to work in. Its own ENTRYPOINT and CMD are not run.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(r"self.matches('^(([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$')").message("spec.image is no image reference: write registry/name:tag or registry/name@sha256:digest, the name in lower case"))]
    pub image: String,

    /// The program to run beside you working in it, with its first arguments. Left out, the workspace just stays alive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub command: Vec<String>,

    /// More arguments for `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub args: Vec<String>,

    /// Requests and limits. What is left out comes from the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// The home volume, mounted at /projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// Repositories that are cloned into the home volume. The editor opens on the first one. A folder that is there
    /// already is never touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(o, (has(o.folder) ? o.folder : o.name) == (has(p.folder) ? p.folder : p.name)))").message("two projects have the same folder: give each a folder of its own (left out, the folder is called like the project)"))]
    pub projects: Vec<Project>,

    /// Commands that run at every start, one after another in this order, once the projects are there. One that fails
    /// stops none of the others. The workspace can be used meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub post_start: Vec<PostStartCommand>,

    /// Name of an editor that the class offers, or `none`. Left out, the class's default editor.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("spec.editor is the name of an editor of the class, in lower case, or none: kubectl get workspaceclass shows them in spec.editors"))]
    pub editor: Option<String>,

    /// Ports that the workspace serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.all(e, self.exists_one(o, o.port == e.port))").message("spec.endpoints names a port twice: give each endpoint a port of its own"))]
    pub endpoints: Vec<Endpoint>,

    /// Environment variables, in plain text or from a Secret of the namespace. No secrets in plain text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvironmentVariable>,

    /// Sealed sets of its namespace, on top of those that reach it anyway; of two that bring the same name the later one
    /// counts. What they hold is taken when it first starts, and stays so until somebody asks for what is newer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub variables: Vec<VariablesReference>,

    /// With whom it is shared. Left out, with nobody: it opens for its owner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<Shared>,

    /// How long it may take to start and to stop, and when it is stopped or terminated by itself, within what the class
    /// allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

/// The run state that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// A pod runs.
    Running,
    /// No pod; the home volume stays.
    Stopped,
    /// No pod, and the home volume goes the way of the class's retention. Final.
    Terminated,
}

/// The home volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Storage {
    /// Its size, for example `20Gi`. It may grow, never shrink.
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0").message("spec.storage.size can't shrink: keep the size or write a larger one"))]
    #[x_kube(validation = Rule::new("quantity(string(self)).isGreaterThan(quantity('0'))").message("spec.storage.size is more than 0: write for example 10Gi"))]
    pub size: Quantity,
}

/// What the controller observed. Nobody else writes it, but for `wake`, which is the proxy's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct WorkspaceStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_state: Option<ActualState>,
    /// What it is going to be: of the spec, a request to restart, and the timers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<EffectiveDesiredState>,
    /// Where it opens in a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where its endpoints open, and for whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointStatus>,
    /// The class that is in effect: that of the last start. Another one in the spec counts from the next start on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Ready, Reconciling, Stalled, then one for each part.
    #[schemars(schema_with = "conditions_schema")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Why it isn't good, whose fault it is, what shows it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Where the spec came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Each step of the last start, with its milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<TimelineStep>,
    /// When the last start was asked for; the startup timer runs from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_requested_at: Option<MicroTime>,
    /// When the stop in progress was asked for; the stopping timer runs from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_requested_at: Option<MicroTime>,
    /// When it stopped being ready; the startup timer begins again here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ready_at: Option<MicroTime>,
    /// The restart in progress, until its new start was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// The last value of the annotation `workstead.dev/restart-requested-at` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_restart_at: Option<String>,
    /// The last value of the annotation `workstead.dev/wake-requested-at` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_wake_at: Option<String>,
    /// The last value of the annotation `workstead.dev/inspect-requested-at` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_inspect_at: Option<String>,
    /// The last value of the annotation `workstead.dev/variables-update-requested-at` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_variables_update_at: Option<String>,
    /// The last visit that asked for a start. Written by the proxy alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake: Option<Wake>,
    /// The last `wake.requestedAt` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_visit_at: Option<MicroTime>,
    /// When it last became Running; the idle timer runs from here, or from when it was last used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_since: Option<MicroTime>,
    /// When it stopped; the timer of stopped workspaces runs from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_since: Option<MicroTime>,
    /// Why it still runs, and what will end that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// The stop or termination that a timer decided, until somebody wakes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by_timer: Option<StoppedByTimer>,
    /// The pod template that runs, and what will change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionStatus>,
    /// The current pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodStatus>,
    /// The home volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStatus>,
    /// The first process of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<SupervisorStatus>,
    /// The editor of the last start, as the class calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub editor: Option<String>,
    /// The port of that editor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub editor_port: Option<u16>,
    /// The tools of the last start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsStatus>,
    /// What it has of sealed sets since a start took it. Names, never a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<PinnedVariables>,
    /// Fields that another release wrote in a way that this one can't read. Never written.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

leniently!(WorkspaceStatus, |status| {
    // Not none: that would say that it never started.
    if status
        .unreadable
        .iter()
        .any(|field| field == "status.actualState")
    {
        status.actual_state = Some(ActualState::Unknown);
    }
});

/// States as they are seen, never stored as a step of a procedure: derived from evidence each time.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ActualState {
    /// Asked for, not acted on yet.
    CreationRequested,
    /// Being made ready.
    Starting,
    /// Ready for use.
    Running,
    /// Being scaled down.
    Stopping,
    /// Scaled down; the home volume is there.
    Stopped,
    /// Applied, but it does not become ready.
    Failed,
    /// It could not be applied.
    Error,
    /// Termination began.
    Terminating,
    /// Terminated. Final.
    Terminated,
    /// The evidence does not add up.
    Unknown,
}

/// The desired state in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EffectiveDesiredState {
    /// It should run.
    Running,
    /// It should be stopped.
    Stopped,
    /// It should be gone, but for what retention keeps.
    Terminated,
    /// It should stop and then run again.
    RestartRequested,
}

/// Why a workspace isn't good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What went wrong, as a stable name; each has a page in the documentation.
    pub cause: Cause,
    /// Whose fault it is.
    pub blame: Blame,
    /// What went wrong, in a sentence.
    pub message: String,
    /// What was seen: reasons, exit codes, the last lines of the log.
    pub evidence: String,
    /// Whether it may recover without anybody's help.
    pub retryable: bool,
    /// What to do now.
    pub next_step: String,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Where a spec came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// URL of the repository.
    pub repository: String,
    /// The revision at which this object last changed.
    pub revision: String,
    /// The file in the repository.
    pub file: String,
}

/// A restart in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// The value of the annotation that asked for it.
    pub requested: String,
    /// Whether no pod was left at some moment since: only then does it start again.
    pub stop_observed: bool,
}

/// The pinned pod template, and what differs from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionStatus {
    /// The ControllerRevision that holds the template of the last start.
    pub name: String,
    /// What a new start would change, and when it takes effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<PendingChange>,
}

/// A difference between what runs and what the files say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PendingChange {
    /// The field that differs.
    pub field: String,
    /// When it takes effect.
    pub effect: ChangeEffect,
}

/// When a change takes effect.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ChangeEffect {
    /// At once, without a restart.
    Live,
    /// When the workspace next starts.
    NextStart,
    /// By a restart now, since somebody asked for it.
    RestartNow,
}

/// The current pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The image as the node resolved it, by digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// How many pods the node refused or evicted during this start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<i32>,
}

/// The home volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeStatus {
    /// Name of the PersistentVolumeClaim.
    pub name: String,
    /// Its size as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// Kept after the Workspace was terminated: it can be adopted by a new one of this name and owner.
    pub retained: bool,
}

/// The first process of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SupervisorStatus {
    /// SHA-256 of the public key that it proves itself with (of its SubjectPublicKeyInfo), in hexadecimal digits.
    #[serde(rename = "publicKeySHA256")]
    pub public_key_sha256: String,
    /// The life of the main container of which all is told: what the node calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// What it said when it was last asked, while its container runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection: Option<Inspection>,
}

/// The tools of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolsStatus {
    /// How they got in.
    pub delivery: Delivery,
    /// The image that they come from.
    pub image: String,
    /// What a node said that refused to mount them, so that they are copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
