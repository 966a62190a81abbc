mod host;
mod properties;
mod skew;
mod timers;
mod variables;
mod volume;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::workspace::Cause;
use crate::model::desired::{Blocked, Question, decide};
use crate::model::evidence::{ApplyError, Facts, PreviousFailure, Termination};
use crate::model::fixtures::*;
use crate::model::names::INSPECT_REQUESTED_ANNOTATION;
use crate::model::revision::{Pin, PinInputs};
use crate::model::workspace::leaving_volume;

/// A workspace that should run, and its pin of a start at [`start`].
fn pinned() -> Pinned {
    let workspace = validated(&workspace_with(json!({})), &valid_class(json!({})));
    Pinned {
        name: "api-1".to_owned(),
        number: 1,
        pin: Pin {
            inputs: PinInputs::of(&workspace, start()),
            template: Default::default(),
            network_policy: None,
        },
    }
}

#[derive(Debug)]
struct Pass {
    workspace: Workspace,
    seen: Facts,
    blocked: Option<Failure>,
    apply_error: Option<ApplyError>,
    termination: Termination,
    pinned: Option<Pinned>,
    pinned_at: Option<Timestamp>,
    deleted_rejected: u32,
    hidden_error: bool,
    retention: Retention,
    volume: Option<crate::model::workspace::VolumeFacts>,
    told: Told,
    answer: Answer,
    conflict: Option<Conflict>,
    variables: VariablesFound,
}

impl Pass {
    fn new(desired: Option<&str>, seen: Facts) -> Self {
        let workspace =
            workspace_with(desired.map_or(json!({}), |desired| json!({"desiredState": desired})));
        Self {
            workspace,
            seen,
            blocked: None,
            apply_error: None,
            termination: Termination::None,
            pinned: Some(pinned()),
            pinned_at: Some(start()),
            deleted_rejected: 0,
            hidden_error: false,
            retention: Retention::Retain,
            told: Told::Nothing,
            answer: Answer::Nobody,
            conflict: None,
            volume: Some(crate::model::workspace::VolumeFacts {
                name: "api-home".into(),
                phase: Some("Bound".into()),
                capacity: Some("10Gi".into()),
                ..Default::default()
            }),
            variables: VariablesFound::default(),
        }
    }

    /// One pass, as the controller makes it; the status is what the API server would give back.
    fn run(&mut self, now: Timestamp) -> (WorkspaceStatus, Evidence) {
        let previous = self.workspace.status.clone().unwrap_or_default();
        let mut seen = self.seen.clone();
        seen.volume = self.volume.clone();
        let decision = decide(&Question {
            workspace: &self.workspace,
            previous: &previous,
            facts: &seen,
            blocked: Blocked::of(self.blocked.as_ref()),
            over: None,
        });
        let timers = timers(&previous, &decision, &seen, self.pinned.as_ref(), now);
        let evidence = Evidence {
            apply_error: self.apply_error.clone(),
            termination: self.termination,
            waits: decision.waits,
            applied_before: applied_before(&previous),
            facts: seen,
            timers,
            pinned_at: self.pinned_at,
            previous: PreviousFailure::of(&previous),
            rejected: rejected_before(&previous, &timers) + self.deleted_rejected,
            told: self.told.clone(),
            answer: self.answer.clone(),
            ..Evidence::default()
        };
        let report = Report {
            workspace: &self.workspace,
            decision: &decision,
            evidence: &evidence,
            blocked: self.blocked.as_ref(),
            class_name: Some("standard"),
            retention: self.retention,
            url: Some("https://api.work.example.com"),
            endpoints: &[EndpointStatus {
                name: "web".to_owned(),
                port: 3000,
                url: Some("https://3000-api.work.example.com".to_owned()),
                ..EndpointStatus::default()
            }],
            conflict: self.conflict.as_ref(),
            activity: None,
            public_key: Some("00"),
            pinned: self.pinned.as_ref(),
            variables: &self.variables,
            pending: &[],
            notices: &[],
            all_applied: !self.hidden_error,
            deleted_rejected: self.deleted_rejected,
        };
        let status = build(&report, now);
        let stored: WorkspaceStatus =
            serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
        assert_eq!(stored, status, "what is stored is what was built");
        self.workspace.status = Some(stored.clone());
        (stored, evidence)
    }

    fn status(&mut self, now: Timestamp) -> WorkspaceStatus {
        self.run(now).0
    }
}

fn up() -> Facts {
    facts(Some(&settled(1, 1)), Some(&[ready_pod()]))
}

fn pulling() -> Facts {
    facts(
        Some(&rolling(1)),
        Some(&[waiting_pod("ErrImagePull", "not found")]),
    )
}

/// Nothing was made yet.
fn nothing() -> Facts {
    Facts {
        pods: Some(vec![]),
        ..Facts::default()
    }
}

fn down() -> Facts {
    facts(Some(&settled(0, 0)), Some(&[]))
}

/// Conditions as `Type=Status Reason`.
fn told(status: &WorkspaceStatus) -> Vec<String> {
    status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}", c.type_, c.status, c.reason))
        .collect()
}

fn config_invalid() -> Failure {
    crate::model::workspace::config("spec.command", "wrong")
}

fn refused(code: u16, while_stopping: bool) -> ApplyError {
    ApplyError {
        object: "PersistentVolumeClaim api-home".into(),
        field: Some("spec.resources.requests.storage".into()),
        code: Some(code),
        reason: "Invalid".into(),
        message: "can not be less than".into(),
        while_stopping,
    }
}

#[test]
fn a_workspace_that_runs_is_ready() {
    let status = Pass::new(None, up()).status(at(5));
    assert_eq!(
        told(&status),
        [
            "Ready=True Running",
            "StorageReady=True Bound",
            "PodReady=True PodReady"
        ]
    );
    assert_eq!(
        (status.observed_generation, status.failure),
        (Some(1), None)
    );
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(1))
    );
    let pod = status.pod.unwrap();
    assert_eq!(
        (pod.name.as_str(), pod.node.as_deref()),
        ("api-1-x", Some("node-1"))
    );
    assert_eq!(
        pod.image_id.as_deref(),
        Some("registry.example.com/dev/rust@sha256:abc")
    );
}

#[test]
fn a_stopped_workspace_that_should_be_stopped_is_ready() {
    let status = Pass::new(Some("Stopped"), down()).status(at(5));
    assert_eq!(
        told(&status),
        [
            "Ready=True Stopped",
            "StorageReady=True Bound",
            "PodReady=False NoPod"
        ]
    );
    assert_eq!(status.pod, None);
}

#[test]
fn a_start_is_reconciling_and_shows_trouble_that_may_mend_itself() {
    let status = Pass::new(None, pulling()).status(at(5));
    assert_eq!(
        told(&status)[..2],
        [
            "Ready=False ImageNotFound",
            "Reconciling=True ImageNotFound"
        ]
    );
    assert_eq!(status.actual_state, Some(ActualState::Starting));
}

#[test]
fn a_failed_workspace_is_stalled_and_recovery_clears_everything() {
    let mut pass = Pass::new(None, pulling());
    pass.status(at(5));
    let failed = pass.status(at(65));
    assert_eq!(failed.actual_state, Some(ActualState::Failed));
    assert_eq!(
        told(&failed)[..2],
        ["Ready=False ImageNotFound", "Stalled=True ImageNotFound"]
    );
    assert_eq!(
        failed.failure.as_ref().unwrap().since.as_ref().unwrap().0,
        at(5)
    );
    pass.seen = up();
    let recovered = pass.status(at(70));
    assert_eq!(told(&recovered)[0], "Ready=True Running");
    assert_eq!(recovered.failure, None);
    assert!(
        !told(&recovered)
            .iter()
            .any(|text| text.starts_with("Stalled"))
    );
}

#[test]
fn a_blocked_spec_leaves_a_running_workspace_running_and_says_so() {
    let mut pass = Pass::new(None, up());
    pass.blocked = Some(config_invalid());
    let status = pass.status(at(5));
    assert_eq!(status.actual_state, Some(ActualState::Running));
    assert_eq!(
        told(&status)[..2],
        ["Ready=False ConfigInvalid", "Stalled=True ConfigInvalid"]
    );
    assert!(told(&status).contains(&"PodReady=True PodReady".to_owned()));
}

#[test]
fn a_blocked_spec_does_not_disturb_a_workspace_that_should_be_stopped() {
    let mut pass = Pass::new(Some("Stopped"), down());
    pass.blocked = Some(config_invalid());
    let status = pass.status(at(5));
    assert_eq!(
        (told(&status)[0].as_str(), status.failure),
        ("Ready=True Stopped", None)
    );
}

#[test]
fn one_that_waits_for_a_quota_stays_requested_and_is_stalled() {
    let mut pass = Pass::new(None, nothing());
    pass.pinned = None;
    pass.volume = None;
    pass.blocked = Some(Failure {
        cause: Cause::QuotaExceeded,
        retryable: true,
        ..config_invalid()
    });
    let status = pass.status(at(5));
    assert_eq!(status.actual_state, Some(ActualState::CreationRequested));
    assert_eq!(
        told(&status)[..2],
        ["Ready=False QuotaExceeded", "Stalled=True QuotaExceeded"]
    );
    assert_eq!((status.start_requested_at, status.timeline), (None, vec![]));
}

#[rstest]
#[case(422, "Stalled")]
#[case(503, "Reconciling")]
#[case(429, "Reconciling")]
fn what_the_api_server_refuses_is_stalled_unless_it_is_tried_again(
    #[case] code: u16,
    #[case] condition: &str,
) {
    let mut pass = Pass::new(None, nothing());
    pass.apply_error = Some(refused(code, false));
    let status = pass.status(at(5));
    assert_eq!(status.actual_state, Some(ActualState::Error));
    assert_eq!(told(&status)[1], format!("{condition}=True ApplyRejected"));
}

#[test]
fn a_refused_change_of_a_live_child_leaves_it_running_but_not_ready() {
    let mut pass = Pass::new(None, up());
    pass.apply_error = Some(refused(422, false));
    let status = pass.status(at(5));
    assert_eq!(status.actual_state, Some(ActualState::Running));
    assert_eq!(
        told(&status)[..2],
        ["Ready=False ApplyRejected", "Stalled=True ApplyRejected"]
    );
    assert!(
        status
            .failure
            .unwrap()
            .message
            .contains("spec.resources.requests.storage")
    );
}

#[test]
fn the_time_of_a_transition_moves_only_with_the_status() {
    let mut pass = Pass::new(None, pulling());
    let ready = |status: &WorkspaceStatus| status.conditions[0].last_transition_time.0;
    assert_eq!(ready(&pass.status(at(5))), at(5));
    assert_eq!(ready(&pass.status(at(70))), at(5));
    pass.seen = up();
    assert_eq!(ready(&pass.status(at(80))), at(80));
}

#[test]
fn conditions_of_others_are_left_alone() {
    let mut pass = Pass::new(None, up());
    pass.workspace.status = serde_json::from_value(
        json!({"conditions": [{"type": "NetworkDegraded", "status": "True", "reason": "X",
        "message": "", "lastTransitionTime": time(1)}]}),
    )
    .unwrap();
    assert!(told(&pass.status(at(5))).contains(&"NetworkDegraded=True X".to_owned()));
}

#[test]
fn rejected_pods_are_counted_once_and_forgotten_at_the_next_start() {
    let mut pass = Pass::new(None, pulling());
    pass.deleted_rejected = 2;
    assert_eq!(pass.status(at(5)).pod.unwrap().rejected, Some(2));
    pass.deleted_rejected = 0;
    assert_eq!(pass.status(at(6)).pod.unwrap().rejected, Some(2));
    let mut next = pinned();
    next.pin.inputs.started_at = micro(at(100));
    pass.pinned = Some(next);
    assert_eq!(pass.status(at(101)).pod.unwrap().rejected, None);
}

#[test]
fn the_origin_is_what_gitsync_wrote_down() {
    let mut pass = Pass::new(None, up());
    let text = json!({"repository": "https://git.example.com/w.git", "revision": "main@sha1:1", "file": "a.yaml"}).to_string();
    pass.workspace.metadata.annotations = Some(map(&[(ORIGIN_ANNOTATION, &text)]));
    assert_eq!(pass.status(at(5)).origin.unwrap().file, "a.yaml");
    pass.workspace.metadata.annotations = Some(map(&[(ORIGIN_ANNOTATION, "not json")]));
    assert_eq!(pass.status(at(6)).origin, None);
}

#[test]
fn a_restart_is_echoed_only_when_everything_was_applied() {
    let mut pass = Pass::new(None, down());
    pass.workspace.metadata.annotations = Some(map(&[(
        crate::model::names::RESTART_REQUESTED_ANNOTATION,
        "noon",
    )]));
    let recorded = pass.status(at(5));
    assert!(recorded.restart.unwrap().stop_observed);
    assert_eq!(
        recorded.desired_state,
        Some(EffectiveDesiredState::RestartRequested)
    );
    pass.apply_error = Some(refused(503, false));
    let refused = pass.status(at(6));
    assert!(refused.restart.unwrap().stop_observed);
    assert_eq!(refused.last_handled_restart_at, None);
    pass.apply_error = None;
    pass.hidden_error = true;
    assert_eq!(pass.status(at(7)).last_handled_restart_at, None);
    pass.hidden_error = false;
    let done = pass.status(at(7));
    assert_eq!(
        (done.restart, done.last_handled_restart_at.as_deref()),
        (None, Some("noon"))
    );
}

#[test]
fn a_request_to_look_inside_is_echoed_when_it_is_answered_and_moves_nothing_until_then() {
    let mut pass = Pass::new(
        Some("Running"),
        facts(Some(&settled(1, 1)), Some(&[ready_pod()])),
    );
    pass.told = Told::Heard(Default::default());
    pass.status(at(5));
    let report = std::sync::Arc::new(workstead_link::Report {
        settled: true,
        ports: vec![3000],
        ..Default::default()
    });
    pass.told = Told::Heard(report.clone());
    let before = pass.status(at(6));
    assert!(before.supervisor.as_ref().unwrap().settled.is_some());

    let asked = [(INSPECT_REQUESTED_ANNOTATION.to_owned(), "now".to_owned())];
    pass.workspace.metadata.annotations = Some(asked.into());
    pass.told = Told::Settled;
    pass.answer = Answer::Awaited;
    assert_eq!(pass.status(at(7)), before, "nothing is known yet");

    pass.told = Told::Heard(report.clone());
    pass.answer = Answer::Given(report);
    let after = pass.status(at(8));
    assert_eq!(after.last_handled_inspect_at.as_deref(), Some("now"));
    let inspection = after.supervisor.clone().unwrap().inspection.unwrap();
    assert_eq!(
        (inspection.at.0, &*inspection.listening),
        (at(8), &[3000][..])
    );
    assert_eq!(after.conditions, before.conditions);

    // It stays until the container goes.
    pass.told = Told::Settled;
    pass.answer = Answer::Nobody;
    assert_eq!(pass.status(at(9)), after);
    pass.seen = facts(Some(&settled(0, 0)), Some(&[]));
    pass.told = Told::Nothing;
    let gone = pass.status(at(10));
    assert_eq!(gone.supervisor.unwrap().inspection, None);
}
