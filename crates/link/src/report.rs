//! What a supervisor tells: lines of JSON over TLS, one [`Request`] from the client, [`Report`]s from the server.

use serde::{Deserialize, Serialize};

/// How long a line of either side may be, its end included.
pub const LINE_LIMIT: usize = 64 * 1024;

/// How many lines of output a failure carries.
pub const TAIL_LINES: usize = 20;

/// How many bytes these lines have together.
pub const TAIL_BYTES: usize = 2048;

/// The version that this crate writes.
pub const REPORT_VERSION: u32 = 1;

/// The one thing that a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request")]
pub enum Request {
    /// A report at once and one at each change, until all steps are settled.
    Watch,
    /// One report.
    Inspect,
    /// One report, and then nothing: the connection itself is the answer. It lasts until one of the two ends, so who holds
    /// it knows that this very first process still runs.
    Stay,
    /// One that this version does not know. It is not answered.
    #[serde(other)]
    Other,
}

/// How a workspace is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// [`REPORT_VERSION`] of the writer.
    pub version: u32,
    /// Since the supervisor started.
    pub uptime_ms: u64,
    /// In the order in which they run.
    pub steps: Vec<Step>,
    /// TCP ports on which something listens, ascending, Workstead's own left out.
    pub ports: Vec<u16>,
    /// What keeps it from being idle.
    pub idle: Idle,
    /// Every step is done or has failed for good; an editor that dies later unsettles it again.
    pub settled: bool,
}

/// What keeps a workspace from being idle, as far as it can be seen from inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Idle {
    /// The keep-alive commands of the plan that run, each named once.
    pub keep_alive: Vec<String>,
}

/// Something that happens after the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// What it is.
    pub kind: StepKind,
    /// Which project or command; none where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How far it is.
    pub state: StepState,
    /// When it came into this state, since the supervisor started.
    pub at_ms: u64,
    /// How long it ran, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// What else there is to say of a good end, such as that the folder was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it failed, or why it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<StepFailure>,
}

/// The kinds of steps, in the order in which they run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum StepKind {
    /// The network is attached.
    Network,
    /// The files that the plan counts on are there.
    Files,
    /// A project is cloned.
    Clone,
    /// A command runs.
    PostStart,
    /// The editor answers.
    Editor,
    /// One that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepState {
    /// Others come first.
    Waiting,
    /// It runs.
    Running,
    /// It failed and will be tried again.
    Retrying,
    /// It ended well.
    Done,
    /// It failed for good, until the next start.
    Failed,
    /// One that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl StepState {
    /// Whether nothing more will come.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// Why a step failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepFailure {
    /// What kind of failure.
    pub cause: Cause,
    /// For people: what failed and why, in a sentence.
    pub message: String,
    /// Of the program that failed, if one ran and ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last lines that it wrote, at most [`TAIL_LINES`] and [`TAIL_BYTES`], without anything secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<String>,
    /// For people: what to do.
    pub next_step: String,
}

/// The kinds of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// The network can't be attached.
    NetworkNotReady,
    /// Files that the plan counts on are missing.
    FilesMissing,
    /// Files of sealed sets have no link in HOME.
    FilesNotLinked,
    /// The Git server wants other credentials, or two Secrets fit its host.
    CloneAuth,
    /// There is no such branch, tag, commit, folder or repository.
    CloneRef,
    /// The Git server can't be reached, or broke off.
    CloneNetwork,
    /// Anything else that ends a clone, such as a full volume.
    CloneFailed,
    /// A command failed, took too long, or could not be started.
    PostStartFailed,
    /// The editor keeps ending, or does not answer.
    EditorNotReady,
    /// The editor can't run in this image.
    EditorIncompatible,
    /// One that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_an_object_that_can_grow() {
        let text = serde_json::to_string(&Request::Watch).unwrap();
        assert_eq!(text, r#"{"request":"Watch"}"#);
        let newer = r#"{"request":"Inspect","since":4}"#;
        assert_eq!(
            serde_json::from_str::<Request>(newer).unwrap(),
            Request::Inspect
        );
        let unknown = r#"{"request":"Stop","now":true}"#;
        assert_eq!(
            serde_json::from_str::<Request>(unknown).unwrap(),
            Request::Other
        );
    }

    #[test]
    fn a_report_survives_the_way_through_json() {
        let report = Report {
            version: REPORT_VERSION,
            uptime_ms: 12,
            steps: vec![Step {
                kind: StepKind::Clone,
                subject: Some("api".to_owned()),
                state: StepState::Failed,
                at_ms: 11,
                took_ms: Some(9),
                note: None,
                failure: Some(StepFailure {
                    cause: Cause::CloneAuth,
                    message: "no".to_owned(),
                    exit_code: Some(128),
                    tail: vec!["fatal: no".to_owned()],
                    next_step: "add a Secret".to_owned(),
                }),
            }],
            ports: vec![3000],
            idle: Idle {
                keep_alive: vec!["cargo".to_owned()],
            },
            settled: true,
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(!text.contains('\n'));
        for name in [
            "uptimeMs",
            "atMs",
            "tookMs",
            "exitCode",
            "nextStep",
            "keepAlive",
        ] {
            assert!(text.contains(&format!("\"{name}\"")), "{name}: {text}");
        }
    }

    #[test]
    fn a_report_of_a_newer_supervisor_is_still_read() {
        let text = r#"{
            "version": 9, "uptimeMs": 1, "settled": false, "memory": {"bytes": 1},
            "steps": [
                {"kind": "Devfile", "state": "Paused", "atMs": 1, "owner": "x",
                 "failure": {"cause": "DevfileInvalid", "message": "m", "nextStep": "n", "line": 3}},
                {"kind": "Editor", "state": "Done", "atMs": 2}
            ]
        }"#;
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(
            (report.steps[0].kind, report.steps[0].state),
            (StepKind::Other, StepState::Other)
        );
        assert_eq!(
            report.steps[0].failure.as_ref().unwrap().cause,
            Cause::Other
        );
        assert_eq!(
            (report.steps[1].kind, report.steps[1].state),
            (StepKind::Editor, StepState::Done)
        );
        assert_eq!(report.ports, Vec::<u16>::new());
    }

    #[test]
    fn only_an_end_is_settled() {
        let settled: Vec<_> = [
            StepState::Waiting,
            StepState::Running,
            StepState::Retrying,
            StepState::Done,
            StepState::Failed,
            StepState::Other,
        ]
        .into_iter()
        .filter(|state| state.is_settled())
        .collect();
        assert_eq!(settled, [StepState::Done, StepState::Failed]);
    }
}
