//! What the first process of a workspace said when somebody asked.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An answer of the first process, to `workstead why`. It is as old as it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// When it answered.
    pub at: MicroTime,
    /// How long it had run by then, in milliseconds.
    pub uptime_milliseconds: i64,
    /// What it does at a start, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<InsideStep>,
    /// TCP ports on which programs of the workspace listened, those of Workstead left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listening: Vec<u16>,
    /// Programs that kept it from being idle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_alive: Vec<String>,
}

/// A step inside of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InsideStep {
    /// What it does.
    pub step: InsideStepKind,
    /// Which project or command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How far it is.
    pub state: InsideStepState,
    /// When it came into that state, in milliseconds since the first process began.
    pub at_milliseconds: i64,
    /// How long it ran, in milliseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<i64>,
    /// What else there is to say, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of one that failed: exit code and last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// The steps inside of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InsideStepKind {
    /// The network is attached.
    Network,
    /// Files that were promised are looked for.
    Files,
    /// A project is cloned.
    Clone,
    /// A start command runs.
    PostStart,
    /// The editor is started and asked.
    Editor,
    /// One that this release does not know.
    Other,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InsideStepState {
    /// Others come first.
    Waiting,
    /// It runs.
    Running,
    /// It failed and is tried again.
    Retrying,
    /// It ended well.
    Done,
    /// It failed for good, until the next start.
    Failed,
    /// One that this release does not know.
    Unknown,
}
