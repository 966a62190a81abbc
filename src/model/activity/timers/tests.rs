use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use workstead_link::{Idle, Step};

use super::*;
use crate::api::activity::Wake;
use crate::model::fixtures::{at, at_least, start, time, workspace_with};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// A workspace as its passes see it: each turn judges, and the next one has what it reported.
struct World {
    workspace: Workspace,
    status: WorkspaceStatus,
    lifetimes: Lifetimes,
    paused_until: Option<Timestamp>,
    used: Option<Used>,
    is_up: bool,
    started_at: Option<Timestamp>,
    may_terminate: bool,
    /// What the first process says.
    said: Asked,
    /// What it was asked.
    asked: Vec<String>,
}

fn report(programs: &[&str]) -> Asked {
    Asked::Said(Arc::new(Report {
        idle: Idle {
            keep_alive: programs.iter().map(|name| (*name).to_owned()).collect(),
        },
        ..Report::default()
    }))
}

impl World {
    /// Made and started at second 0, running since second 10.
    fn running() -> Self {
        let status = json!({"actualState": "Running", "runningSince": micros(10)});
        Self {
            workspace: workspace_with(json!({})),
            status: serde_json::from_value(status).unwrap(),
            lifetimes: Lifetimes::default(),
            paused_until: None,
            used: None,
            is_up: true,
            started_at: Some(start()),
            may_terminate: true,
            said: report(&[]),
            asked: Vec::new(),
        }
    }

    /// Stopped since second 10.
    fn stopped() -> Self {
        let status = json!({"actualState": "Stopped", "stoppedSince": micros(10)});
        Self {
            status: serde_json::from_value(status).unwrap(),
            is_up: false,
            ..Self::running()
        }
    }

    fn use_at(&mut self, seconds: i64, kind: ActivityKind) {
        let by = KeptAliveBy { kind, detail: None };
        self.used = Some(Used {
            at: at(seconds),
            by,
        });
    }

    fn turn(&mut self, seconds: i64) -> Verdict {
        let question = Question {
            workspace: &self.workspace,
            previous: &self.status,
            lifetimes: &self.lifetimes,
            paused_until: self.paused_until,
            used: self.used.as_ref(),
            is_up: self.is_up,
            started_at: self.started_at,
            may_terminate: self.may_terminate,
        };
        let (asked, said) = (&mut self.asked, &self.said);
        let verdict = judge(&question, at(seconds), &mut |name| {
            asked.push(name.to_owned());
            said.clone()
        });
        self.status.activity.clone_from(&verdict.activity);
        verdict
    }

    /// The warnings after a turn: which timer, and after how many seconds it ends.
    fn warnings(&mut self, seconds: i64) -> Vec<(Timer, i64)> {
        let activity = self.turn(seconds).activity.unwrap_or_default();
        let warnings = activity.warnings.iter();
        warnings
            .map(|warning| {
                (
                    warning.timer,
                    warning.at.0.duration_since(start()).as_secs(),
                )
            })
            .collect()
    }
}

fn micros(seconds: i64) -> Value {
    json!(at(seconds).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

#[test]
fn one_that_nobody_uses_is_warned_and_then_stopped_exactly_when_it_was_told() {
    let mut world = World::running();
    let quiet = world.turn(11);
    assert_eq!((quiet.over, quiet.activity), (None, None));
    assert_eq!(quiet.next, Some(at(10 + 25 * MINUTE)));
    let end = 10 + 30 * MINUTE;
    assert_eq!(world.warnings(10 + 25 * MINUTE), [(Timer::Idle, end)]);
    let warned = world.turn(10 + 26 * MINUTE);
    assert_eq!((warned.over, warned.next), (None, Some(at(end))));
    assert_eq!(world.turn(end - 1).over, None);
    assert_eq!(world.turn(end).over, Some(Timer::Idle));
}

#[test]
fn use_ends_the_warning_and_begins_the_time_anew() {
    let mut world = World::running();
    assert_eq!(world.warnings(10 + 25 * MINUTE).len(), 1);
    let used = 10 + 27 * MINUTE;
    world.use_at(used, ActivityKind::WebSocket);
    let verdict = world.turn(used + 1);
    assert_eq!(verdict.next, Some(at(used + 25 * MINUTE)));
    let activity = verdict.activity.unwrap();
    assert_eq!(activity.warnings, []);
    assert_eq!(
        activity.kept_alive_by.map(|by| by.kind),
        Some(ActivityKind::WebSocket)
    );
    assert_eq!(world.turn(10 + 30 * MINUTE).over, None);
}

#[test]
fn use_before_it_ran_does_not_count_and_nothing_is_said_of_it() {
    let mut world = World::running();
    world.use_at(5, ActivityKind::Http);
    let verdict = world.turn(11);
    assert_eq!(verdict.next, Some(at(10 + 25 * MINUTE)));
    assert_eq!(verdict.activity, None);
}

#[test]
fn a_visit_is_a_use() {
    let mut world = World::running();
    let visited = 10 + 29 * MINUTE;
    world.status.wake = Some(Wake {
        requested_at: micro(at(visited)),
        by: None,
    });
    assert_eq!(world.turn(visited).next, Some(at(visited + 25 * MINUTE)));
}

#[test]
fn a_proxy_whose_clock_runs_ahead_does_not_keep_it_alive_for_longer() {
    let mut world = World::running();
    world.use_at(10 * HOUR, ActivityKind::Http);
    assert_eq!(world.turn(60).next, Some(at(60 + 25 * MINUTE)));
}

#[test]
fn programs_that_were_named_keep_it_alive_and_it_is_said_which() {
    let mut world = World::running();
    world.said = report(&["cargo", "make", "rustc", "ld", "cc"]);
    let asked = 10 + 25 * MINUTE;
    let verdict = world.turn(asked);
    let activity = verdict.activity.unwrap();
    assert_eq!(activity.warnings, [], "nobody is warned for nothing");
    assert_eq!(
        activity.kept_alive_by,
        Some(KeptAliveBy {
            kind: ActivityKind::Programs,
            detail: Some("cargo, make, rustc and 2 more".to_owned()),
        })
    );
    assert_eq!(verdict.next, Some(at(asked + 25 * MINUTE)));
    // Nothing is asked meanwhile, and what was said stands.
    world.asked.clear();
    let told = world.status.activity.clone();
    let later = world.turn(asked + MINUTE);
    assert_eq!((later.activity, world.asked.len()), (told, 0));
    world.said = report(&[]);
    assert_eq!(
        world.warnings(asked + 25 * MINUTE),
        [(Timer::Idle, asked + 30 * MINUTE)]
    );
    assert_eq!(world.turn(asked + 30 * MINUTE).over, Some(Timer::Idle));
}

#[test]
fn it_is_asked_once_more_before_it_stops() {
    let mut world = World::running();
    let end = 10 + 30 * MINUTE;
    assert_eq!(world.warnings(end - 5 * MINUTE).len(), 1);
    world.said = report(&["cargo"]);
    let verdict = world.turn(end);
    assert_eq!(verdict.over, None);
    assert_eq!(verdict.activity.unwrap().warnings, []);
    assert_eq!(world.asked.len(), 2);
    assert_ne!(
        world.asked.first(),
        world.asked.last(),
        "an old answer is none"
    );
}

#[rstest]
#[case(StepKind::PostStart, StepState::Running, true)]
#[case(StepKind::Clone, StepState::Running, true)]
#[case(StepKind::Clone, StepState::Retrying, false)]
#[case(StepKind::Editor, StepState::Running, false)]
#[case(StepKind::PostStart, StepState::Done, false)]
fn a_start_that_still_works_keeps_it_alive(
    #[case] kind: StepKind,
    #[case] state: StepState,
    #[case] keeps: bool,
) {
    let mut world = World::running();
    let step = Step {
        kind,
        state,
        subject: Some("build".to_owned()),
        ..Step::default()
    };
    world.said = Asked::Said(Arc::new(Report {
        steps: vec![step],
        ..Report::default()
    }));
    assert_eq!(world.warnings(10 + 25 * MINUTE).is_empty(), keeps);
}

#[test]
fn one_that_does_not_answer_is_waited_for_and_not_for_ever() {
    let mut world = World::running();
    let end = 10 + 30 * MINUTE;
    world.said = Asked::Awaited(at(end - 5 * MINUTE));
    let first = world.turn(end - 5 * MINUTE);
    assert_eq!(
        (first.activity, first.next),
        (None, Some(at(end - 5 * MINUTE + 15)))
    );
    assert_eq!(world.warnings(end - 5 * MINUTE + 15).len(), 1);
    let at_end = world.status.activity.as_ref().unwrap().warnings[0].at.0;
    let end = at_end.duration_since(start()).as_secs();
    world.said = Asked::Awaited(at(end));
    let waits = world.turn(end);
    assert_eq!((waits.over, waits.next), (None, Some(at(end + 15))));
    assert_eq!(
        waits.activity.unwrap().warnings.len(),
        1,
        "the warning stands"
    );
    assert_eq!(world.turn(end + 15).over, Some(Timer::Idle));
}

#[test]
fn a_controller_that_was_away_warns_before_it_stops() {
    let mut world = World::running();
    let late = 5 * HOUR;
    assert_eq!(world.warnings(late), [(Timer::Idle, late + 5 * MINUTE)]);
    assert_eq!(world.turn(late + 5 * MINUTE - 1).over, None);
    assert_eq!(world.turn(late + 5 * MINUTE).over, Some(Timer::Idle));
}

#[test]
fn a_limit_that_is_lowered_ends_nothing_without_a_warning() {
    let mut world = World::running();
    world.use_at(10 * HOUR - 1, ActivityKind::Http);
    world.turn(10 * HOUR);
    world.lifetimes.max_active = Span::from_seconds(3600);
    let end = 10 * HOUR + 15 * MINUTE;
    assert_eq!(world.warnings(10 * HOUR), [(Timer::MaxActive, end)]);
    assert_eq!(world.turn(end).over, Some(Timer::MaxActive));
}

#[test]
fn a_limit_that_is_raised_takes_the_warning_back() {
    let mut world = World::running();
    world.use_at(35 * HOUR + 30 * MINUTE, ActivityKind::Http);
    assert_eq!(
        world.warnings(35 * HOUR + 31 * MINUTE),
        [(Timer::MaxActive, 36 * HOUR + 31 * MINUTE)],
        "seen late, it ends later"
    );
    world.lifetimes.max_active = Span::from_seconds(72 * 3600);
    assert_eq!(world.warnings(35 * HOUR + 32 * MINUTE), []);
}

#[test]
fn use_does_not_put_off_the_longest_time_of_a_start() {
    let mut world = World::running();
    let warned = 35 * HOUR;
    world.use_at(warned, ActivityKind::WebSocket);
    assert_eq!(world.warnings(warned), [(Timer::MaxActive, 36 * HOUR)]);
    world.use_at(36 * HOUR, ActivityKind::WebSocket);
    assert_eq!(world.turn(36 * HOUR).over, Some(Timer::MaxActive));
}

#[test]
fn a_start_that_never_becomes_ready_ends_too() {
    let mut world = World::running();
    world.status = serde_json::from_value(json!({"actualState": "Failed"})).unwrap();
    assert_eq!(world.warnings(35 * HOUR).len(), 1);
    assert_eq!(world.turn(36 * HOUR).over, Some(Timer::MaxActive));
}

#[test]
fn one_that_is_stopped_for_too_long_is_terminated_after_days_of_warning() {
    let mut world = World::stopped();
    let end = 10 + 744 * HOUR;
    assert_eq!(world.turn(11).next, Some(at(end - 72 * HOUR)));
    assert_eq!(world.warnings(end - 72 * HOUR), [(Timer::MaxStopped, end)]);
    assert_eq!(world.turn(end - 1).over, None);
    assert_eq!(world.turn(end).over, Some(Timer::MaxStopped));
}

#[test]
fn one_that_is_too_old_is_terminated_whatever_it_does() {
    for mut world in [World::running(), World::stopped()] {
        world.lifetimes.max_stopped = Span::MAX;
        world.lifetimes.max_active = Span::MAX;
        let end = 8760 * HOUR;
        world.use_at(end - 7 * 24 * HOUR, ActivityKind::Http);
        assert_eq!(
            world.warnings(end - 7 * 24 * HOUR),
            [(Timer::MaxLifetime, end)]
        );
        assert_eq!(world.turn(end).over, Some(Timer::MaxLifetime));
    }
}

#[test]
fn without_a_class_nothing_is_terminated() {
    let mut world = World::stopped();
    world.may_terminate = false;
    let verdict = world.turn(10_000 * HOUR);
    assert_eq!((verdict.over, verdict.activity), (None, None));
}

#[test]
fn what_ends_already_has_no_timers() {
    for state in ["Terminating", "Terminated"] {
        let mut world = World::stopped();
        world.status = serde_json::from_value(json!({"actualState": state})).unwrap();
        assert_eq!(world.turn(10_000 * HOUR), Verdict::default());
    }
}

#[test]
fn a_maintenance_puts_all_of_them_off_and_ends_by_itself() {
    let until = 9000 * HOUR;
    for mut world in [World::running(), World::stopped()] {
        world.paused_until = Some(at(until));
        world.turn(8900 * HOUR);
        assert_eq!(world.turn(until - 1).over, None);
        let mut turns = [0, 1, 100, 200, 201].into_iter();
        assert!(turns.any(|hours| world.turn(until + hours * HOUR).over.is_some()));
    }
}

#[test]
fn a_visit_of_what_is_being_started_again_is_not_stopped_by_the_start_before() {
    let mut world = World::running();
    // It was stopped by maxActive, is woken, and its Deployment is still down: the old start has no say.
    world.status = serde_json::from_value(
        json!({"actualState": "Stopped", "stoppedSince": micros(36 * HOUR)}),
    )
    .unwrap();
    world.is_up = false;
    assert_eq!(world.turn(36 * HOUR + 1).over, None);
}

#[test]
fn moments_between_seconds_end_no_sooner() {
    let mut world = World::running();
    let since = at(10) + SignedDuration::from_millis(400);
    world.status.running_since = Some(micro(since));
    let end = 10 + 30 * MINUTE;
    assert_eq!(
        world.warnings(end - MINUTE),
        [(Timer::Idle, end + 4 * MINUTE)]
    );
    let mut world = World::running();
    world.status.running_since = Some(micro(since));
    let warn = since + SignedDuration::from_mins(25);
    let second = warn.duration_since(start()).as_secs();
    assert_eq!(world.turn(second).next, Some(warn));
    assert_eq!(
        world.warnings(second + 1),
        [(Timer::Idle, second + 1 + 5 * MINUTE)]
    );
}

proptest! {
    #![proptest_config(at_least(256))]

    /// Whenever passes happen and whatever is used: nothing stops that was used within its time, none is stopped without
    /// a warning that stood, the status writes nothing while nothing happens, and there is always a next look.
    #[test]
    fn nobody_who_works_is_stopped(
        steps in proptest::collection::vec((1i64..2000, any::<bool>()), 1..60), idle_minutes in 2u64..60,
    ) {
        let mut world = World::running();
        world.lifetimes.idle = Span::from_seconds(idle_minutes * 60);
        world.lifetimes.max_active = Span::MAX;
        let idle = i64::try_from(idle_minutes).unwrap() * MINUTE;
        let (mut now, mut last) = (10, 10);
        for (pause, used) in steps {
            now += pause;
            if used {
                world.use_at(now, ActivityKind::Http);
                last = now;
            }
            let before = world.status.activity.clone();
            let verdict = world.turn(now);
            if verdict.over == Some(Timer::Idle) {
                prop_assert!(now - last >= idle);
                let warned = before.unwrap().warnings[0].at.0;
                prop_assert!(warned <= at(now));
                return Ok(());
            }
            prop_assert!(verdict.next.unwrap() > at(now), "{:?}", verdict);
            let again = world.turn(now);
            prop_assert_eq!(again.activity, verdict.activity);
        }
    }

    /// Looking exactly when it was said to: it ends, and in as many looks as it has stages.
    #[test]
    fn who_looks_when_told_sees_every_end(idle in 120u64..100_000, since in 0i64..1000) {
        let mut world = World::running();
        world.lifetimes.idle = Span::from_seconds(idle);
        world.status.running_since = Some(micro(at(since)));
        let mut now = at(since);
        for _ in 0..4 {
            let second = now.duration_since(start()).as_secs();
            let verdict = world.turn(second);
            if let Some(over) = verdict.over {
                let ends = i64::try_from(idle).unwrap() + since;
                prop_assert_eq!((over, second >= ends, second <= ends + 2), (Timer::Idle, true, true));
                return Ok(());
            }
            // A pass comes a moment later, never sooner.
            now = verdict.next.unwrap() + SignedDuration::from_millis(999);
        }
        prop_assert!(false, "it never ended");
    }
}

#[test]
fn the_fixture_is_as_old_as_it_says() {
    let created = workspace_with(json!({})).metadata.creation_timestamp;
    assert_eq!(json!(created), time(0));
}
