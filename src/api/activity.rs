//! Being used, being idle, and waking up again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::shared::DurationText;

/// Time limits of one Workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// How long a start may take before it is called failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<DurationText>,
    /// How long a stop may take before it is called stuck. Programs get half of it, 30s at most, to end by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping: Option<DurationText>,
    /// How long it may run without being used before it is stopped, 2m at least. Left out, what the class says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// How long it may run after a start, used or not, before it is stopped. Left out, what the class says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<DurationText>,
    /// How long it may be stopped before it is terminated, 1h at least. Left out, what the class says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stopped: Option<DurationText>,
    /// How old it may become before it is terminated, 1h at least. Left out, what the class says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<DurationText>,
    /// Names of programs, such as `cargo`: while one of them runs, the workspace is not idle. New names count from the
    /// next start on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(p, p.matches('^[-A-Za-z0-9_.+]+$'))").message("timeouts.keepAlive holds names of programs, without path and arguments: for example cargo"))]
    pub keep_alive: Vec<String>,
}

/// Time limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.startup) || !has(self.maxStartup) || duration(self.startup) <= duration(self.maxStartup)").message("timeouts.startup is longer than timeouts.maxStartup: lower the one or raise the other"))]
#[x_kube(validation = Rule::new("!has(self.stopping) || !has(self.maxStopping) || duration(self.stopping) <= duration(self.maxStopping)").message("timeouts.stopping is longer than timeouts.maxStopping: lower the one or raise the other"))]
#[x_kube(validation = Rule::new("!has(self.idle) || !has(self.longest) || !has(self.longest.idle) || duration(self.idle) <= duration(self.longest.idle)").message("timeouts.idle is longer than timeouts.longest.idle: lower the one or raise the other"))]
#[x_kube(validation = Rule::new("!has(self.maxActive) || !has(self.longest) || !has(self.longest.maxActive) || duration(self.maxActive) <= duration(self.longest.maxActive)").message("timeouts.maxActive is longer than timeouts.longest.maxActive: lower the one or raise the other"))]
#[x_kube(validation = Rule::new("!has(self.maxStopped) || !has(self.longest) || !has(self.longest.maxStopped) || duration(self.maxStopped) <= duration(self.longest.maxStopped)").message("timeouts.maxStopped is longer than timeouts.longest.maxStopped: lower the one or raise the other"))]
#[x_kube(validation = Rule::new("!has(self.maxLifetime) || !has(self.longest) || !has(self.longest.maxLifetime) || duration(self.maxLifetime) <= duration(self.longest.maxLifetime)").message("timeouts.maxLifetime is longer than timeouts.longest.maxLifetime: lower the one or raise the other"))]
pub struct ClassTimeouts {
    /// How long a start may take, for a workspace that says nothing. Left out, 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<DurationText>,
    /// How long a stop may take, for a workspace that says nothing. Left out, 2m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping: Option<DurationText>,
    /// The longest startup that a workspace may ask for. Left out, 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_startup: Option<DurationText>,
    /// The longest stopping that a workspace may ask for. Left out, 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stopping: Option<DurationText>,
    /// How long an image may fail to be pulled before the start is called failed. Left out, 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull: Option<DurationText>,
    /// How long a container may fail to be made before the start is called failed. Left out, 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<DurationText>,
    /// How long the cluster may refuse to make the pod before the start is called failed. Left out, 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<DurationText>,
    /// How long a workspace may run without being used before it is stopped, for one that says nothing, 2m at least. Left
    /// out, 30m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// How long one may run after a start, used or not, before it is stopped. Left out, 36h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<DurationText>,
    /// How long one may be stopped before it is terminated, 1h at least. Left out, 744h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stopped: Option<DurationText>,
    /// How old one may become before it is terminated, 1h at least. Left out, 8760h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<DurationText>,
    /// The longest of these four that a workspace may ask for. 87600h, ten years, is as good as no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<LongestTimeouts>,
    /// Until then none of these four stops or terminates a workspace: for the time of a maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    // The rule is there for lists: the API server takes them for texts of any format.
    #[x_kube(validation = Rule::new("self >= timestamp('1970-01-01T00:00:00Z')").message("pausedUntil is a time such as 2026-12-24T18:00:00Z"))]
    pub paused_until: Option<Time>,
}

/// The longest that a Workspace may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LongestTimeouts {
    /// Left out, 36h, or the class's own `idle` where that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// Left out, 36h, or the class's own `maxActive` where that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<DurationText>,
    /// Left out, 744h, or the class's own `maxStopped` where that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stopped: Option<DurationText>,
    /// Left out, 8760h, or the class's own `maxLifetime` where that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<DurationText>,
}

/// A timer that stops or terminates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Timer {
    /// It was not used.
    #[serde(rename = "idle")]
    Idle,
    /// It ran for as long as it may.
    #[serde(rename = "maxActive")]
    MaxActive,
    /// It was stopped for as long as it may be.
    #[serde(rename = "maxStopped")]
    MaxStopped,
    /// It is as old as it may become.
    #[serde(rename = "maxLifetime")]
    MaxLifetime,
}

impl std::fmt::Display for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Timer {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::MaxActive => "maxActive",
            Self::MaxStopped => "maxStopped",
            Self::MaxLifetime => "maxLifetime",
        }
    }

    /// Whether it ends a workspace rather than stops it.
    pub const fn terminates(self) -> bool {
        matches!(self, Self::MaxStopped | Self::MaxLifetime)
    }
}

/// A visit that asks for a start. The proxy writes it, and nothing else of a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wake {
    /// When it was asked for. A new time is a new request; the one carried out is in `lastHandledVisitAt`.
    pub requested_at: MicroTime,
    /// Who asked, as the identity provider names them; none for a visitor without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Why it still runs, and what will end that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    /// What kept it from being idle when that was last looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_alive_by: Option<KeptAliveBy>,
    /// When programs inside of it last kept it from being idle. That is asked only before an idle stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_at: Option<MicroTime>,
    /// Timers that will be over soon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<TimerWarning>,
}

/// What keeps a workspace from being idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptAliveBy {
    /// What kind of use it is.
    pub kind: ActivityKind,
    /// The names of the programs, or which port was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Kinds of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ActivityKind {
    /// Requests.
    Http,
    /// What a browser sends through a WebSocket: the editor, a terminal.
    WebSocket,
    /// What a client sends by SSH.
    Ssh,
    /// Programs that `timeouts.keepAlive` names.
    Programs,
    /// Projects that are cloned, and commands of `postStart`.
    Start,
    /// Something else.
    Other,
}

/// A timer that will be over soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimerWarning {
    /// Which one.
    pub timer: Timer,
    /// When.
    pub at: Time,
}

/// A stop that a timer decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoppedByTimer {
    /// Which timer.
    pub timer: Timer,
    /// When.
    pub at: Time,
    /// The generation of the spec then; a later spec starts it again.
    pub generation: i64,
}
