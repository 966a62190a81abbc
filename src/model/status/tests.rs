use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::workspace::{Cause, StartStep, TimelineStep};
use crate::model::desired::{Question, decide};
use crate::model::evidence::{ApplyError, PreviousFailure};
use crate::model::failures::next_deadline;
use crate::model::fixtures::*;
use crate::model::revision::{Pin, PinInputs};

/// A workspace that should run, and its pin of a start at [`start`].
fn pinned() -> Pinned {
    let workspace = validated(&workspace_with(json!({})), &valid_class(json!({})));
    Pinned {
        name: "api-1".to_owned(),
        number: 1,
        pin: Pin {
            inputs: PinInputs::of(&workspace, start()),
            template: Default::default(),
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
    deleted_rejected: u32,
    hidden_error: bool,
    volume: Option<crate::model::workspace::VolumeFacts>,
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
            deleted_rejected: 0,
            hidden_error: false,
            volume: Some(crate::model::workspace::VolumeFacts {
                name: "api-home".into(),
                phase: Some("Bound".into()),
                capacity: Some("10Gi".into()),
                ..Default::default()
            }),
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
            blocked: self.blocked.is_some(),
        });
        let timers = timers(&previous, &decision, &seen, self.pinned.as_ref(), now);
        let evidence = Evidence {
            apply_error: self.apply_error.clone(),
            termination: self.termination,
            applied_before: applied_before(&previous),
            facts: seen,
            timers,
            previous: PreviousFailure::of(&previous),
            rejected: rejected_before(&previous, &timers) + self.deleted_rejected,
            ..Evidence::default()
        };
        let report = Report {
            workspace: &self.workspace,
            decision: &decision,
            evidence: &evidence,
            blocked: self.blocked.as_ref(),
            class_name: Some("standard"),
            retention: Retention::Retain,
            url: None,
            pinned: self.pinned.as_ref(),
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
    let mut pass = Pass::new(
        None,
        Facts {
            pods: Some(vec![]),
            ..Facts::default()
        },
    );
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
    let mut pass = Pass::new(
        None,
        Facts {
            pods: Some(vec![]),
            ..Facts::default()
        },
    );
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
fn a_foreign_volume_is_not_recorded_as_ours() {
    let mut pass = Pass::new(
        None,
        Facts {
            pods: Some(vec![]),
            ..Facts::default()
        },
    );
    pass.pinned = None;
    pass.blocked = Some(Failure {
        cause: Cause::VolumeForeign,
        ..config_invalid()
    });
    let status = pass.status(at(5));
    assert_eq!(
        (status.actual_state, status.volume.clone()),
        (Some(ActualState::CreationRequested), None)
    );
    assert!(told(&status).contains(&"StorageReady=False VolumeForeign".to_owned()));
}

#[test]
fn a_terminated_workspace_is_ready_and_names_its_kept_volume() {
    let mut pass = Pass::new(
        Some("Terminated"),
        Facts {
            pods: Some(vec![]),
            ..Facts::default()
        },
    );
    pass.termination = Termination::Done;
    let status = pass.status(at(5));
    assert_eq!(
        told(&status),
        ["Ready=True Terminated", "StorageReady=True Retained"]
    );
    let volume = status.volume.unwrap();
    assert_eq!((volume.name.as_str(), volume.retained), ("api-home", true));
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
        json!({"conditions": [{"type": "HostConflict", "status": "True", "reason": "X",
        "message": "", "lastTransitionTime": time(1)}]}),
    )
    .unwrap();
    assert!(told(&pass.status(at(5))).contains(&"HostConflict=True X".to_owned()));
}

fn steps(status: &WorkspaceStatus) -> Vec<(StartStep, i64, i64)> {
    status
        .timeline
        .iter()
        .map(
            |TimelineStep {
                 step,
                 at_milliseconds,
                 milliseconds,
             }| (*step, *at_milliseconds, *milliseconds),
        )
        .collect()
}

#[test]
fn the_timeline_has_milliseconds_where_a_step_is_seen_at_once_and_seconds_where_it_is_seen_late() {
    use StartStep::*;
    let ms = |milliseconds: i64| start() + jiff::SignedDuration::from_millis(milliseconds);
    let mut pass = Pass::new(None, facts(Some(&rolling(1)), Some(&[])));
    assert_eq!(steps(&pass.status(ms(120))), [(Applied, 120, 120)]);
    pass.seen = facts(
        Some(&rolling(1)),
        Some(&[pod(
            json!({"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": time(1)}]}),
        )]),
    );
    assert_eq!(
        steps(&pass.status(ms(1350)))[1..],
        [(PodCreated, 1350, 1230), (Scheduled, 1350, 0)]
    );
    // Seen 5 s late: the pod names 2 s, 4 s, 4 s.
    pass.seen = up();
    let status = pass.status(ms(9_400));
    assert_eq!(
        steps(&status)[3..],
        [
            (SandboxReady, 2000, 650),
            (ContainerStarted, 4000, 2000),
            (PodReady, 4000, 0),
            (Running, 9400, 5400)
        ]
    );
    // Nothing is added or moved any more.
    assert_eq!(steps(&pass.status(ms(50_000))), steps(&status));
}

#[test]
fn a_new_start_begins_a_new_timeline() {
    let mut pass = Pass::new(None, up());
    assert_eq!(pass.status(at(9)).timeline.len(), 7);
    let mut next = pinned();
    next.name = "api-2".into();
    next.pin.inputs.started_at = micro(at(100));
    pass.pinned = Some(next);
    pass.seen = facts(Some(&rolling(1)), Some(&[]));
    let status = pass.status(at(101));
    assert_eq!(steps(&status), [(StartStep::Applied, 1000, 1000)]);
    assert_eq!(status.start_requested_at.unwrap().0, at(100));
    assert_eq!(status.revision.unwrap().name, "api-2");
}

#[test]
fn a_pod_of_an_earlier_start_adds_no_step() {
    let mut pass = Pass::new(None, up());
    let mut next = pinned();
    next.pin.inputs.started_at = micro(at(100));
    pass.pinned = Some(next);
    assert_eq!(
        steps(&pass.status(at(101))),
        [(StartStep::Applied, 1000, 1000)]
    );
}

#[test]
fn a_stop_begins_when_it_is_wanted_and_ends_when_nothing_is_left() {
    let mut pass = Pass::new(
        Some("Stopped"),
        facts(Some(&settled(0, 0)), Some(&[ready_pod()])),
    );
    assert_eq!(pass.status(at(5)).stop_requested_at.unwrap().0, at(5));
    assert_eq!(pass.status(at(50)).stop_requested_at.unwrap().0, at(5));
    let (stuck, _) = pass.run(at(125));
    assert_eq!(
        (stuck.actual_state, stuck.failure.unwrap().cause),
        (Some(ActualState::Failed), Cause::StopStuck)
    );
    pass.seen = down();
    let status = pass.status(at(130));
    assert_eq!(
        (status.actual_state, status.stop_requested_at),
        (Some(ActualState::Stopped), None)
    );
}

#[test]
fn a_pod_that_is_ready_no_more_begins_the_startup_timer_again() {
    let mut pass = Pass::new(None, up());
    pass.status(at(10));
    let mut unready = ready_pod();
    let of_pod = unready
        .status
        .as_mut()
        .unwrap()
        .conditions
        .as_mut()
        .unwrap();
    of_pod[2].status = "False".to_owned();
    of_pod[2].last_transition_time = serde_json::from_value(time(1000)).unwrap();
    pass.seen = facts(Some(&settled(1, 0)), Some(&[unready]));
    let (status, evidence) = pass.run(at(1030));
    assert_eq!(
        (status.actual_state, status.last_ready_at.unwrap().0),
        (Some(ActualState::Starting), at(1000))
    );
    assert_eq!(next_deadline(&evidence, at(1030)), Some(at(1300)));
    assert_eq!(pass.status(at(1299)).last_ready_at.unwrap().0, at(1000));
    assert_eq!(
        pass.status(at(1300)).actual_state,
        Some(ActualState::Failed)
    );
}

#[test]
fn a_start_is_timed_from_its_pin_when_the_status_was_lost() {
    let mut pass = Pass::new(None, pulling());
    pass.workspace.status = None;
    assert_eq!(pass.status(at(200)).start_requested_at.unwrap().0, start());
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

fn any_pass() -> impl Strategy<Value = (Pass, Evidence)> {
    (
        any_evidence(),
        proptest::option::of(prop::sample::select(vec!["Running", "Stopped", "Terminated"])),
        prop::bool::weighted(0.2),
        any::<bool>(),
        prop::sample::select(vec![json!({}), json!({"actualState": "Running", "volume": {"name": "api-home", "retained": false}}),
            json!({"conditions": [{"type": "PodReady", "status": "True", "reason": "PodReady", "message": "", "lastTransitionTime": time(0)}]})]),
    )
        .prop_map(|(evidence, desired, blocked, has_pin, status): (Evidence, Option<&str>, bool, bool, Value)| {
            let mut pass = Pass::new(desired, evidence.facts.clone());
            pass.blocked = blocked.then(config_invalid);
            pass.apply_error = evidence.apply_error.clone();
            pass.termination = evidence.termination;
            pass.workspace.status = serde_json::from_value(status).unwrap();
            if !has_pin {
                pass.pinned = None;
            }
            (pass, evidence)
        })
}

proptest! {
    #![proptest_config(at_least(512))]

    #[test]
    fn the_same_input_gives_the_same_status_again((pass, _) in any_pass(), second in 0..2_000_i64, ahead in 0.0..1.0_f64) {
        let mut pass = pass;
        // A restart and the end of a termination take two passes; after them all is said.
        pass.run(at(second));
        let (first, evidence) = pass.run(at(second));
        let end = next_deadline(&evidence, at(second)).unwrap_or(at(50_000));
        let span = end.duration_since(at(second)).as_millis() as f64 - 1.0;
        let later = at(second) + jiff::SignedDuration::from_millis((span.max(0.0) * ahead) as i64);
        prop_assert_eq!(pass.run(later).0, first);
    }

    #[test]
    fn the_conditions_agree_with_each_other((pass, _) in any_pass(), second in 0..2_000_i64) {
        let mut pass = pass;
        let status = pass.status(at(second));
        let find = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
        let ready = find("Ready").unwrap();
        let (reconciling, stalled) = (find("Reconciling"), find("Stalled"));
        prop_assert!(reconciling.is_none() || stalled.is_none());
        for condition in reconciling.into_iter().chain(stalled) {
            prop_assert_eq!(condition.status.as_str(), "True");
            prop_assert_eq!((&condition.reason, &condition.message), (&ready.reason, &ready.message));
        }
        if ready.status == "True" {
            prop_assert!(reconciling.is_none() && stalled.is_none() && status.failure.is_none());
            prop_assert!(pass.apply_error.is_none() || status.actual_state == Some(ActualState::Terminated));
            let wanted = match status.desired_state.unwrap() {
                EffectiveDesiredState::Running => Some(ActualState::Running),
                EffectiveDesiredState::Stopped => Some(ActualState::Stopped),
                EffectiveDesiredState::Terminated => Some(ActualState::Terminated),
                EffectiveDesiredState::RestartRequested => None,
            };
            prop_assert_eq!(status.actual_state, wanted);
            if wanted == Some(ActualState::Running) {
                prop_assert_ne!(find("PodReady").map(|condition| condition.status.as_str()), Some("False").filter(|_| pass.seen.pods.is_some()));
            }
        } else {
            prop_assert!(reconciling.is_some() || stalled.is_some());
        }
        if let Some(failure) = &status.failure {
            prop_assert_eq!(&ready.message, &failure.message);
        }
        let types: std::collections::BTreeSet<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        prop_assert_eq!(types.len(), status.conditions.len());
    }

    #[test]
    fn the_timeline_runs_forwards((pass, _) in any_pass(), seconds in prop::collection::vec(0..100_i64, 1..4)) {
        let mut pass = pass;
        let mut now = 0;
        for step in seconds {
            now += step;
            let timeline = pass.status(at(now)).timeline;
            for pair in timeline.windows(2) {
                prop_assert!(pair[0].step < pair[1].step);
                prop_assert!(pair[0].at_milliseconds <= pair[1].at_milliseconds);
                prop_assert_eq!(pair[1].milliseconds, pair[1].at_milliseconds - pair[0].at_milliseconds);
            }
        }
    }
}
