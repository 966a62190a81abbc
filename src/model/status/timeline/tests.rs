use proptest::prelude::*;
use serde_json::json;
use workstead_link::{Step, StepKind, StepState};

use super::*;
use crate::model::fixtures::{at, evidence, ready_pod, settled, start};

fn done(kind: StepKind, at_ms: u64) -> Step {
    Step {
        kind,
        state: StepState::Done,
        at_ms,
        ..Step::default()
    }
}

fn report(uptime_ms: u64, steps: Vec<Step>) -> Report {
    Report {
        uptime_ms,
        steps,
        ..Report::default()
    }
}

fn of_pod(steps: &[(StartStep, i64)]) -> Vec<TimelineStep> {
    let steps = steps.iter().map(|(step, at)| TimelineStep {
        step: *step,
        at_milliseconds: *at,
        milliseconds: 0,
    });
    merged(Vec::new(), steps.collect())
}

fn told(steps: &[TimelineStep]) -> Vec<(StartStep, i64, i64)> {
    let steps = steps.iter();
    steps
        .map(|step| (step.step, step.at_milliseconds, step.milliseconds))
        .collect()
}

#[test]
fn a_start_that_went_over_to_copying_says_when_and_says_it_once() {
    let mut seen = evidence(Some(&settled(1, 1)), Some(&[ready_pod()]));
    seen.tools_refused_at = Some(at(3));
    let mut previous = WorkspaceStatus {
        start_requested_at: Some(crate::model::revision::micro(start())),
        ..WorkspaceStatus::default()
    };
    for _ in 0..2 {
        let steps = build(&previous, &seen, true, ActualState::Running, at(9));
        let refused: Vec<i64> = steps
            .iter()
            .filter(|step| step.step == StartStep::ToolsRefused)
            .map(|step| step.at_milliseconds)
            .collect();
        assert_eq!(refused, [3000]);
        assert!(steps.is_sorted_by_key(|step| step.at_milliseconds));
        previous.timeline = steps;
    }
}

#[test]
fn what_the_workspace_reports_stands_where_it_happened() {
    let pod = of_pod(&[
        (StartStep::ContainerStarted, 1000),
        (StartStep::PodReady, 1600),
        (StartStep::Running, 1700),
    ]);
    let report = report(
        4000,
        vec![
            done(StepKind::Network, 5),
            done(StepKind::Editor, 400),
            done(StepKind::Clone, 3500),
        ],
    );
    let all = with_inside(pod, &report, at(5), start());
    assert_eq!(
        told(&all),
        [
            (StartStep::ContainerStarted, 1000, 1000),
            (StartStep::NetworkAttached, 1005, 5),
            (StartStep::EditorReady, 1400, 395),
            (StartStep::PodReady, 1600, 200),
            (StartStep::Running, 1700, 100),
            (StartStep::Cloned, 4500, 2800),
        ]
    );
    assert_eq!(with_inside(all.clone(), &report, at(9), start()), all);
}

#[test]
fn a_pass_after_the_report_adds_no_step_of_the_pod_twice() {
    let mut previous = WorkspaceStatus::default();
    let mut seen = evidence(Some(&settled(1, 1)), Some(&[ready_pod()]));
    seen.timers.start_requested_at = Some(start());
    previous.start_requested_at = Some(crate::model::revision::micro(start()));
    let pass =
        |previous: &WorkspaceStatus| build(previous, &seen, true, ActualState::Running, at(6));
    previous.timeline = pass(&previous);
    let late = report(100, vec![done(StepKind::Clone, 100)]);
    previous.timeline = with_inside(pass(&previous), &late, at(8), start());
    assert_eq!(pass(&previous), previous.timeline);
    assert_eq!(previous.timeline.last().unwrap().step, StartStep::Cloned);
    // Another start begins anew.
    previous.start_requested_at = Some(crate::model::revision::micro(at(-60)));
    assert!(
        pass(&previous)
            .iter()
            .all(|step| step.step != StartStep::Cloned)
    );
}

proptest! {
    #[test]
    fn no_report_makes_times_run_backwards_or_doubles_a_step(
        uptimes in prop::collection::vec((any::<u64>(), any::<[u64; 3]>(), 0..100_000_i64), 0..4),
        pod in prop::collection::btree_set(0..100_000_i64, 3),
    ) {
        let pod: Vec<i64> = pod.into_iter().collect();
        let mut all = of_pod(&[
            (StartStep::Applied, pod[0]), (StartStep::PodReady, pod[1]), (StartStep::Running, pod[2]),
        ]);
        for (uptime, at_ms, seconds) in uptimes {
            let kinds = [StepKind::Network, StepKind::Clone, StepKind::Editor];
            let steps = kinds.iter().zip(at_ms).map(|(kind, at_ms)| done(*kind, at_ms)).collect();
            all = with_inside(all, &report(uptime, steps), at(seconds), start());
        }
        let mut names: Vec<StartStep> = all.iter().map(|step| step.step).collect();
        let mut before = 0;
        for step in &all {
            prop_assert!(step.at_milliseconds >= before);
            prop_assert_eq!(step.milliseconds, step.at_milliseconds - before);
            before = step.at_milliseconds;
        }
        let count = names.len();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), count);
        let text = json!(all).to_string();
        prop_assert!(text.len() < 2048);
    }
}
