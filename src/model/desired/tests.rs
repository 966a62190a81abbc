mod one_pod;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::fixtures::*;
use EffectiveDesiredState::{RestartRequested, Running, Stopped, Terminated};

fn status(value: Value) -> WorkspaceStatus {
    serde_json::from_value(value).unwrap()
}

fn asked(desired: Option<&str>, annotations: &[(&str, &str)]) -> Workspace {
    let mut workspace = workspace_with(match desired {
        Some(desired) => json!({"desiredState": desired}),
        None => json!({}),
    });
    workspace.metadata.annotations = Some(map(annotations));
    workspace
}

fn look(workspace: &Workspace, previous: &WorkspaceStatus, facts: &Facts) -> Decision {
    decide(&Question {
        workspace,
        previous,
        facts,
        blocked: Blocked::No,
        over: None,
    })
}

const RESTART: &str = RESTART_REQUESTED_ANNOTATION;
const WAKE: &str = WAKE_REQUESTED_ANNOTATION;

fn up() -> Facts {
    facts(Some(&settled(1, 1)), Some(&[ready_pod()]))
}

fn down() -> Facts {
    facts(Some(&settled(0, 0)), Some(&[]))
}

#[test]
fn the_spec_decides_and_left_out_means_running() {
    for (desired, effective, replicas) in [
        (None, Running, 1),
        (Some("Running"), Running, 1),
        (Some("Stopped"), Stopped, 0),
        (Some("Terminated"), Terminated, 0),
    ] {
        let nothing_there = facts(None, Some(&[]));
        let decision = look(
            &asked(desired, &[]),
            &WorkspaceStatus::default(),
            &nothing_there,
        );
        assert_eq!(
            (decision.effective, decision.replicas, decision.waits),
            (effective, replicas, false)
        );
    }
}

#[test]
fn terminated_is_final_and_so_is_a_termination_that_began() {
    for state in ["Terminated", "Terminating"] {
        let previous = status(json!({"actualState": state}));
        let workspace = asked(Some("Running"), &[(RESTART, "1"), (WAKE, "1")]);
        let decision = look(&workspace, &previous, &Facts::default());
        assert_eq!((decision.effective, decision.replicas), (Terminated, 0));
        assert_eq!(
            (
                decision.last_handled_restart_at,
                decision.last_handled_wake_at
            ),
            (None, None)
        );
    }
}

#[test]
fn a_termination_that_began_is_final_also_when_an_error_comes_between() {
    for state in ["Error", "Unknown", "Failed"] {
        let previous = status(json!({"actualState": state, "desiredState": "Terminated"}));
        let decision = look(&asked(Some("Running"), &[]), &previous, &up());
        assert_eq!((decision.effective, decision.replicas), (Terminated, 0));
        assert!(decision.is_asked_back(&asked(Some("Running"), &[])));
    }
}

#[test]
fn only_a_spec_that_asks_for_something_else_wants_a_terminated_workspace_back() {
    let asks = |desired: Option<&str>, previous: Value| {
        let workspace = asked(desired, &[]);
        look(&workspace, &status(previous), &down()).is_asked_back(&workspace)
    };
    let ended = json!({"actualState": "Terminated"});
    assert!(asks(Some("Running"), ended.clone()));
    assert!(asks(Some("Stopped"), ended.clone()));
    assert!(asks(None, ended.clone()), "left out, it means Running");
    assert!(!asks(Some("Terminated"), ended));
    assert!(!asks(Some("Running"), json!({"actualState": "Running"})));
    let timer = json!({"timer": "maxStopped", "at": time(5), "generation": 1});
    let by_timer = json!({"actualState": "Terminated", "stoppedByTimer": timer});
    assert!(!asks(None, by_timer));
}

#[test]
fn a_workspace_that_is_being_deleted_is_terminated() {
    let mut workspace = asked(None, &[]);
    workspace.metadata.deletion_timestamp = serde_json::from_value(time(5)).unwrap();
    assert_eq!(
        look(&workspace, &WorkspaceStatus::default(), &up()).effective,
        Terminated
    );
}

#[test]
fn a_restart_stops_first_records_that_and_starts_in_a_later_pass() {
    let workspace = asked(None, &[(RESTART, "noon")]);
    let mut previous = status(json!({"actualState": "Running", "lastHandledRestartAt": "morning"}));

    let first = look(&workspace, &previous, &up());
    assert_eq!(
        (first.effective, first.replicas, first.again),
        (RestartRequested, 0, false)
    );
    assert_eq!(
        first.restart,
        Some(Restart {
            requested: "noon".into(),
            stop_observed: false
        })
    );
    assert_eq!(first.last_handled_restart_at.as_deref(), Some("morning"));
    previous.restart = first.restart;

    let leaving = facts(Some(&settled(0, 0)), Some(&[ready_pod()]));
    let second = look(&workspace, &previous, &leaving);
    assert_eq!(
        (
            second.replicas,
            second.restart.clone().unwrap().stop_observed
        ),
        (0, false)
    );
    previous.restart = second.restart;

    let third = look(&workspace, &previous, &down());
    assert_eq!(
        (third.effective, third.replicas, third.again),
        (RestartRequested, 0, true)
    );
    assert_eq!(
        third.restart,
        Some(Restart {
            requested: "noon".into(),
            stop_observed: true
        })
    );
    assert_eq!(third.last_handled_restart_at.as_deref(), Some("morning"));
    previous.restart = third.restart;

    let fourth = look(&workspace, &previous, &down());
    assert_eq!(
        (fourth.effective, fourth.replicas, fourth.restart),
        (Running, 1, None)
    );
    assert_eq!(fourth.last_handled_restart_at.as_deref(), Some("noon"));

    // A controller that died before it wrote the echo does the same again, although a pod is there.
    let again = look(&workspace, &previous, &up());
    assert_eq!((again.effective, again.replicas), (Running, 1));

    previous.restart = None;
    previous.last_handled_restart_at = fourth.last_handled_restart_at;
    let after = look(&workspace, &previous, &up());
    assert_eq!(
        (after.effective, after.replicas, after.restart),
        (Running, 1, None)
    );
}

#[test]
fn a_newer_request_during_a_restart_begins_it_again() {
    let previous = status(json!({"restart": {"requested": "noon", "stopObserved": true}}));
    let decision = look(&asked(None, &[(RESTART, "later")]), &previous, &up());
    assert_eq!(
        decision.restart,
        Some(Restart {
            requested: "later".into(),
            stop_observed: false
        })
    );
    assert_eq!(decision.replicas, 0);
}

#[test]
fn a_restart_of_a_workspace_without_a_pod_is_a_start() {
    let workspace = asked(None, &[(RESTART, "noon")]);
    let never_started = facts(None, Some(&[]));
    let decision = look(&workspace, &WorkspaceStatus::default(), &never_started);
    assert_eq!((decision.effective, decision.replicas), (Running, 1));
    assert_eq!(decision.last_handled_restart_at.as_deref(), Some("noon"));
}

#[test]
fn a_restart_where_the_spec_says_stopped_is_answered_and_forgotten() {
    let decision = look(
        &asked(Some("Stopped"), &[(RESTART, "noon")]),
        &WorkspaceStatus::default(),
        &down(),
    );
    assert_eq!(
        (decision.effective, decision.replicas, decision.restart),
        (Stopped, 0, None)
    );
    assert_eq!(decision.last_handled_restart_at.as_deref(), Some("noon"));
}

#[test]
fn a_stop_by_timer_holds_until_it_is_woken_restarted_or_the_spec_changes() {
    let stopped = json!({"stoppedByTimer": {"timer": "idle", "at": time(5), "generation": 1}});
    let previous = status(stopped.clone());
    let held = look(&asked(Some("Running"), &[]), &previous, &down());
    assert_eq!((held.effective, held.replicas), (Stopped, 0));
    assert_eq!(held.stopped_by_timer, previous.stopped_by_timer);

    let woken = look(&asked(Some("Running"), &[(WAKE, "1")]), &previous, &down());
    assert_eq!((woken.effective, woken.stopped_by_timer), (Running, None));
    assert_eq!(woken.last_handled_wake_at.as_deref(), Some("1"));

    let mut handled = status(stopped);
    handled.last_handled_wake_at = Some("1".to_owned());
    assert_eq!(
        look(&asked(Some("Running"), &[(WAKE, "1")]), &handled, &down()).effective,
        Stopped
    );

    let restarted = look(&asked(None, &[(RESTART, "noon")]), &previous, &down());
    assert_eq!(
        (restarted.effective, restarted.stopped_by_timer),
        (RestartRequested, None)
    );

    let mut changed = asked(None, &[]);
    changed.metadata.generation = Some(2);
    assert_eq!(look(&changed, &previous, &down()).effective, Running);
}

fn ended(timer: &str) -> StoppedByTimer {
    serde_json::from_value(json!({"timer": timer, "at": time(9), "generation": 1})).unwrap()
}

/// The decision when a timer ends it now.
fn look_when_over(
    workspace: &Workspace,
    previous: &WorkspaceStatus,
    facts: &Facts,
    stop: &StoppedByTimer,
) -> Decision {
    decide(&Question {
        workspace,
        previous,
        facts,
        blocked: Blocked::No,
        over: Some(stop),
    })
}

#[test]
fn a_timer_that_is_over_stops_or_terminates() {
    for (timer, effective) in [
        ("idle", Stopped),
        ("maxActive", Stopped),
        ("maxStopped", Terminated),
        ("maxLifetime", Terminated),
    ] {
        let stop = ended(timer);
        let decision = look_when_over(
            &asked(Some("Running"), &[]),
            &WorkspaceStatus::default(),
            &up(),
            &stop,
        );
        assert_eq!(
            (
                decision.effective,
                decision.replicas,
                decision.stopped_by_timer
            ),
            (effective, 0, Some(stop)),
            "{timer}"
        );
    }
}

#[test]
fn a_blocked_spec_keeps_no_timer_from_stopping() {
    let stop = ended("idle");
    let decision = decide(&Question {
        workspace: &asked(None, &[]),
        previous: &WorkspaceStatus::default(),
        facts: &up(),
        blocked: Blocked::Spec,
        over: Some(&stop),
    });
    assert_eq!((decision.effective, decision.replicas), (Stopped, 0));
}

fn visit(at: i64) -> Value {
    json!({"requestedAt": format!("2026-03-01T13:00:{at:02}.000000Z"), "by": "alice@example.com"})
}

#[test]
fn a_visit_wakes_what_a_timer_stopped_once() {
    let mut previous = status(json!({
        "stoppedByTimer": {"timer": "idle", "at": time(5), "generation": 1}, "wake": visit(1),
    }));
    let woken = look(&asked(Some("Running"), &[]), &previous, &down());
    assert_eq!((woken.effective, woken.stopped_by_timer), (Running, None));
    assert_eq!(
        woken.last_handled_visit_at.as_ref(),
        previous.wake.as_ref().map(|wake| &wake.requested_at)
    );
    previous.last_handled_visit_at = woken.last_handled_visit_at;
    let held = look(&asked(Some("Running"), &[]), &previous, &down());
    assert_eq!(held.effective, Stopped, "the same visit wakes it once");
}

#[test]
fn a_visit_of_a_running_workspace_is_forgotten_before_it_stops() {
    let previous = status(json!({"wake": visit(1)}));
    let decision = look(&asked(None, &[]), &previous, &up());
    assert_eq!(decision.effective, Running);
    assert!(decision.last_handled_visit_at.is_some());
}

#[test]
fn a_visit_does_not_start_what_the_spec_wants_stopped_and_is_forgotten() {
    let previous = status(json!({"wake": visit(1)}));
    let decision = look(&asked(Some("Stopped"), &[]), &previous, &down());
    assert_eq!((decision.effective, decision.replicas), (Stopped, 0));
    assert!(decision.last_handled_visit_at.is_some());
}

#[test]
fn nothing_wakes_what_is_terminated() {
    let previous = status(json!({
        "actualState": "Terminated", "desiredState": "Terminated", "wake": visit(1),
        "stoppedByTimer": {"timer": "maxStopped", "at": time(5), "generation": 1},
    }));
    let workspace = asked(Some("Running"), &[(WAKE, "1"), (RESTART, "1")]);
    let decision = look(&workspace, &previous, &facts(None, Some(&[])));
    assert_eq!((decision.effective, decision.replicas), (Terminated, 0));
    assert_eq!(decision.last_handled_visit_at, None);
}

#[test]
fn a_visit_as_the_timer_ends_starts_it_again_once_it_is_stopped() {
    let mut previous = status(json!({"wake": visit(1)}));
    let stop = look_when_over(&asked(None, &[]), &previous, &up(), &ended("maxActive"));
    assert_eq!(
        (stop.effective, stop.last_handled_visit_at),
        (Stopped, None)
    );
    previous.stopped_by_timer = stop.stopped_by_timer;
    let start = look(&asked(None, &[]), &previous, &down());
    assert_eq!((start.effective, start.replicas), (Running, 1));
    assert!(start.last_handled_visit_at.is_some());
}

#[test]
fn a_restart_as_a_timer_ends_begins_a_new_start_and_undoes_no_termination() {
    let workspace = asked(None, &[(RESTART, "noon")]);
    let of = |timer| {
        look_when_over(
            &workspace,
            &WorkspaceStatus::default(),
            &up(),
            &ended(timer),
        )
        .effective
    };
    assert_eq!(
        (of("idle"), of("maxActive")),
        (RestartRequested, RestartRequested)
    );
    assert_eq!(
        (of("maxStopped"), of("maxLifetime")),
        (Terminated, Terminated)
    );
}

#[test]
fn a_timer_may_terminate() {
    let previous =
        status(json!({"stoppedByTimer": {"timer": "maxStopped", "at": time(5), "generation": 1}}));
    assert_eq!(
        look(&asked(None, &[]), &previous, &down()).effective,
        Terminated
    );
}

#[test]
fn while_the_spec_is_blocked_what_runs_goes_on_and_nothing_starts() {
    let blocked = |workspace: &Workspace, facts: &Facts| {
        decide(&Question {
            workspace,
            previous: &WorkspaceStatus::default(),
            facts,
            blocked: Blocked::Spec,
            over: None,
        })
    };
    assert_eq!(blocked(&asked(None, &[]), &up()).replicas, 1);
    assert_eq!(blocked(&asked(None, &[]), &down()).replicas, 0);
    assert_eq!(blocked(&asked(None, &[]), &Facts::default()).replicas, 0);
    assert_eq!(blocked(&asked(Some("Stopped"), &[]), &up()).replicas, 0);
    let restart = blocked(&asked(None, &[(RESTART, "noon")]), &up());
    assert_eq!((restart.effective, restart.replicas), (RestartRequested, 1));
}

fn leaving(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = serde_json::from_value(time(5)).unwrap();
    pod
}

#[test]
fn a_termination_is_done_when_nothing_is_left_that_must_go() {
    let decision = look(
        &asked(Some("Terminated"), &[]),
        &WorkspaceStatus::default(),
        &up(),
    );
    let previous = WorkspaceStatus::default();
    let left = |objects, volume_to_delete| {
        termination(
            &decision,
            &previous,
            Remaining {
                objects,
                volume_to_delete,
            },
        )
    };
    assert_eq!(left(true, false), Termination::InProgress);
    assert_eq!(left(false, true), Termination::InProgress);
    assert_eq!(left(false, false), Termination::Done);
    let running = look(&asked(None, &[]), &previous, &up());
    assert_eq!(
        termination(&running, &previous, Remaining::default()),
        Termination::None
    );
    let ended = status(json!({"actualState": "Terminated"}));
    assert_eq!(
        termination(
            &running,
            &ended,
            Remaining {
                objects: true,
                volume_to_delete: true
            }
        ),
        Termination::Done
    );
}

#[test]
fn a_class_that_is_edited_later_deletes_no_volume_that_a_termination_kept() {
    let on_its_way = status(json!({"actualState": "Terminating"}));
    assert!(may_delete_volume(&on_its_way, Retention::Delete));
    assert!(!may_delete_volume(&on_its_way, Retention::Retain));
    let ended = status(json!({"actualState": "Terminated"}));
    assert!(!may_delete_volume(&ended, Retention::Delete));
}

#[test]
fn a_restart_whose_class_breaks_in_between_is_finished_with_the_start_before_it() {
    let workspace = asked(None, &[(RESTART, "noon")]);
    let step = |previous: &WorkspaceStatus, facts: &Facts, blocked: Blocked| {
        decide(&Question {
            workspace: &workspace,
            previous,
            facts,
            blocked,
            over: None,
        })
    };
    let leaves = facts(Some(&settled(0, 0)), Some(&[leaving(ready_pod())]));
    let mut previous = status(json!({"restart": {"requested": "noon", "stopObserved": false}}));
    let waiting = step(&previous, &leaves, Blocked::Spec);
    assert_eq!((waiting.replicas, waiting.again), (0, false));

    let seen = step(&previous, &down(), Blocked::Spec);
    assert_eq!(
        (seen.replicas, seen.again),
        (0, true),
        "first it is recorded"
    );
    previous.restart = seen.restart;
    let last = step(&previous, &down(), Blocked::Spec);
    assert_eq!((last.effective, last.replicas), (RestartRequested, 1));
    assert_eq!(step(&previous, &leaves, Blocked::Spec).replicas, 0);
    assert_eq!(step(&previous, &down(), Blocked::Volume).replicas, 0);

    // It is answered when the spec holds again, without another stop.
    previous.restart = last.restart;
    let answered = step(&previous, &up(), Blocked::No);
    assert_eq!((answered.effective, answered.replicas), (Running, 1));
    assert_eq!(answered.last_handled_restart_at.as_deref(), Some("noon"));
}

#[test]
fn a_restart_that_is_asked_for_while_the_spec_is_blocked_starts_nothing() {
    let workspace = asked(None, &[(RESTART, "noon")]);
    let mut previous = WorkspaceStatus::default();
    for _ in 0..3 {
        let decision = decide(&Question {
            workspace: &workspace,
            previous: &previous,
            facts: &down(),
            blocked: Blocked::Spec,
            over: None,
        });
        assert_eq!((decision.replicas, decision.again), (0, false));
        previous.restart = decision.restart;
    }
}

#[test]
fn what_blocks_a_volume_lets_nothing_start() {
    let of = |cause| {
        Blocked::of(Some(&Failure {
            cause,
            ..crate::model::workspace::config("spec", "wrong")
        }))
    };
    assert_eq!(Blocked::of(None), Blocked::No);
    assert_eq!(of(Cause::ClassInvalid), Blocked::Spec);
    assert_eq!(of(Cause::VolumeForeign), Blocked::Volume);
    assert_eq!(of(Cause::VolumeBind), Blocked::Volume);
}

fn any_blocked() -> impl Strategy<Value = Blocked> {
    prop::sample::select(vec![Blocked::No, Blocked::Spec, Blocked::Volume])
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (
        proptest::option::weighted(0.9, any_deployment()),
        proptest::option::of(prop::collection::vec(any_pod(), 0..3)),
    )
        .prop_map(|(deployment, pods)| facts(deployment.as_ref(), pods.as_deref()))
}

proptest! {
    #[test]
    fn a_restart_never_scales_up_before_a_stop_was_recorded(facts in any_facts(), blocked in any_blocked()) {
        let workspace = asked(None, &[(RESTART, "noon")]);
        let decision = decide(&Question { workspace: &workspace, previous: &WorkspaceStatus::default(), facts: &facts, blocked, over: None });
        let nothing_there = facts.deployment.is_none() && !facts.has_pod_left();
        let runs_on = blocked != Blocked::No && facts.replicas().is_some_and(|replicas| replicas > 0);
        prop_assert!(decision.replicas == 0 || nothing_there || runs_on);
    }

    #[test]
    fn nothing_goes_up_from_0_while_a_pod_may_hold_the_volume(
        facts in any_facts(),
        blocked in any_blocked(),
        restart in any::<bool>(),
        recorded in any::<bool>(),
        desired in proptest::option::of(prop::sample::select(vec!["Running", "Stopped", "Terminated"])),
    ) {
        let annotations: &[(&str, &str)] = if restart { &[(RESTART, "noon")] } else { &[] };
        let workspace = asked(desired, annotations);
        let previous = if recorded {
            status(json!({"restart": {"requested": "noon", "stopObserved": true}}))
        } else {
            WorkspaceStatus::default()
        };
        let decision = decide(&Question { workspace: &workspace, previous: &previous, facts: &facts, blocked, over: None });
        let may_hold = facts.pods.is_none() || facts.has_pod_left();
        if facts.replicas().unwrap_or(0) == 0 && may_hold {
            prop_assert_eq!(decision.replicas, 0);
        }
        prop_assert!(!decision.waits || (decision.wants_running() && decision.replicas == 0));
    }

    #[test]
    fn stopped_means_that_no_pod_is_left(facts in any_facts()) {
        if is_stopped(&facts) {
            prop_assert!(!facts.has_pod_left());
            prop_assert_eq!(facts.replicas(), Some(0));
        }
    }

    #[test]
    fn replicas_are_none_or_one(facts in any_facts(), blocked in any_blocked(), desired in proptest::option::of(prop::sample::select(vec!["Running", "Stopped", "Terminated"]))) {
        let workspace = asked(desired, &[]);
        let decision = decide(&Question { workspace: &workspace, previous: &WorkspaceStatus::default(), facts: &facts, blocked, over: None });
        prop_assert!((0..=1).contains(&decision.replicas));
        if matches!(decision.effective, Stopped | Terminated) {
            prop_assert_eq!(decision.replicas, 0);
        }
    }
}
