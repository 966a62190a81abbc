//! The timeline, and the times from which timers run.

use super::*;
use crate::api::workspace::{StartStep, TimelineStep};
use crate::model::failures::next_deadline;

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

fn told_of<'a>(
    listed: &'a [k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    type_: &str,
) -> &'a str {
    let found = listed.iter().find(|condition| condition.type_ == type_);
    &found.unwrap().message
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
    pass.pinned_at = Some(at(100));
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
fn a_start_that_waits_for_the_pod_before_it_is_starting_and_the_stopping_timer_goes_on() {
    let leaving = facts(Some(&settled(0, 0)), Some(&[ready_pod()]));
    let mut pass = Pass::new(Some("Stopped"), leaving);
    assert_eq!(pass.status(at(5)).actual_state, Some(ActualState::Stopping));
    pass.workspace.spec.desired_state = None;
    let (status, evidence) = pass.run(at(10));
    assert_eq!(status.actual_state, Some(ActualState::Starting));
    assert_eq!(status.stop_requested_at.unwrap().0, at(5));
    assert_eq!(
        told_of(&status.conditions, "Reconciling"),
        "it starts as soon as the pod before it is gone"
    );
    assert_eq!(next_deadline(&evidence, at(10)), Some(at(125)));
    let stuck = pass.status(at(125));
    assert_eq!(
        (stuck.actual_state, stuck.failure.unwrap().cause),
        (Some(ActualState::Failed), Cause::StopStuck)
    );
    // The new start has its own pin and its whole startup timer.
    let mut next = pinned();
    next.name = "api-2".into();
    next.pin.inputs.started_at = micro(at(130));
    pass.pinned = Some(next);
    pass.seen = facts(Some(&rolling(1)), Some(&[]));
    let (status, evidence) = pass.run(at(130));
    assert_eq!(
        (
            status.actual_state,
            status.failure,
            status.stop_requested_at
        ),
        (Some(ActualState::Starting), None, None)
    );
    assert_eq!(status.last_ready_at, None);
    assert_eq!(next_deadline(&evidence, at(130)), Some(at(430)));
}

#[test]
fn a_start_whose_deployment_was_deleted_begins_its_startup_timer_again() {
    let mut pass = Pass::new(None, up());
    pass.status(at(10));
    // Its Deployment is deleted a while later: the pod goes, then the same start comes back.
    pass.seen = facts(None, Some(&[ready_pod()]));
    let waiting = pass.status(at(1000));
    assert_eq!(waiting.actual_state, Some(ActualState::Starting));
    pass.seen = facts(Some(&rolling(1)), Some(&[]));
    let (status, evidence) = pass.run(at(1020));
    assert_eq!(
        (status.actual_state, status.last_ready_at.unwrap().0),
        (Some(ActualState::Starting), at(1020))
    );
    assert_eq!(next_deadline(&evidence, at(1020)), Some(at(1320)));
    assert_eq!(pass.status(at(1030)).last_ready_at.unwrap().0, at(1020));
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
