//! What the first process answered to somebody's question, in the words of the status. It comes from the workspace, which
//! may say anything: all of it is cut to what a status can bear.

use jiff::Timestamp;
use workstead_link::{Report, Step, StepKind, StepState};

use crate::api::inspection::{InsideStep, InsideStepKind, InsideStepState, Inspection};
use crate::api::workspace::SupervisorStatus;
use crate::model::evidence::{ContainerState, Facts};
use crate::model::failures::redact::one_line;
use crate::model::inside::{steps, told};
use crate::model::names::MAIN_CONTAINER;
use crate::model::revision::micro;

/// More steps than a Workspace can have.
const STEPS: usize = 48;
/// The longest name.
const NAME: usize = 64;
/// The longest sentence.
const SENTENCE: usize = 512;
/// Together no more than this of what steps wrote.
const EVIDENCE: usize = 8 * 1024;
/// The most ports.
const PORTS: usize = 64;
/// The most programs.
const PROGRAMS: usize = 16;

/// A report, as the answer of this moment.
pub fn of(report: &Report, now: Timestamp) -> Inspection {
    let mut left = EVIDENCE;
    let steps = report.steps.iter().take(STEPS);
    Inspection {
        at: micro(now),
        uptime_milliseconds: milliseconds(report.uptime_ms),
        steps: steps.map(|step| of_step(step, &mut left)).collect(),
        listening: report.ports.iter().copied().take(PORTS).collect(),
        keep_alive: report
            .idle
            .keep_alive
            .iter()
            .take(PROGRAMS)
            .map(|name| one_line(name, NAME))
            .collect(),
    }
}

/// Whether the last answer came from the container that runs now.
pub fn is_of_this_life(known: &SupervisorStatus, facts: &Facts) -> bool {
    let Some((container, pod)) = told::life(facts) else {
        return false;
    };
    if let Some(settled) = &known.settled {
        return settled == container;
    }
    // Until all is told the status names no container: then it is the clock that says.
    let state = pod.container(MAIN_CONTAINER).map(|main| &main.state);
    match (state, &known.inspection) {
        (Some(ContainerState::Running { since }), Some(inspection)) => {
            since.is_none_or(|since| since <= inspection.at.0)
        }
        _ => false,
    }
}

fn of_step(step: &Step, left: &mut usize) -> InsideStep {
    let failure = step.failure.as_ref();
    let message = failure.map(|failure| &failure.message);
    let evidence = failure
        .filter(|failure| failure.exit_code.is_some() || !failure.tail.is_empty())
        .map(steps::evidence)
        .filter(|text| text.len() <= *left);
    *left -= evidence.as_ref().map_or(0, String::len);
    InsideStep {
        step: kind(step.kind),
        subject: step.subject.as_deref().map(|name| one_line(name, NAME)),
        state: state(step.state),
        at_milliseconds: milliseconds(step.at_ms),
        milliseconds: step.took_ms.map(milliseconds),
        message: message
            .or(step.note.as_ref())
            .map(|text| one_line(text, SENTENCE)),
        evidence,
    }
}

fn milliseconds(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn kind(kind: StepKind) -> InsideStepKind {
    match kind {
        StepKind::Network => InsideStepKind::Network,
        StepKind::Files => InsideStepKind::Files,
        StepKind::Clone => InsideStepKind::Clone,
        StepKind::PostStart => InsideStepKind::PostStart,
        StepKind::Editor => InsideStepKind::Editor,
        StepKind::Other => InsideStepKind::Other,
    }
}

fn state(state: StepState) -> InsideStepState {
    match state {
        StepState::Waiting => InsideStepState::Waiting,
        StepState::Running => InsideStepState::Running,
        StepState::Retrying => InsideStepState::Retrying,
        StepState::Done => InsideStepState::Done,
        StepState::Failed => InsideStepState::Failed,
        StepState::Other => InsideStepState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use workstead_link::{Idle, StepFailure};

    use super::*;
    use crate::model::fixtures::{at, facts, ready_pod, settled};

    #[test]
    fn an_answer_names_steps_ports_and_programs() {
        let report = Report {
            uptime_ms: 5000,
            steps: vec![Step {
                kind: StepKind::PostStart,
                subject: Some("build".to_owned()),
                state: StepState::Failed,
                at_ms: 700,
                took_ms: Some(200),
                failure: Some(StepFailure {
                    message: "it failed".to_owned(),
                    exit_code: Some(2),
                    tail: vec!["a reason".to_owned()],
                    ..StepFailure::default()
                }),
                ..Step::default()
            }],
            ports: vec![3000],
            idle: Idle {
                keep_alive: vec!["cargo".to_owned()],
            },
            ..Report::default()
        };
        let answer = of(&report, at(5));
        assert_eq!(
            (answer.at.0, answer.uptime_milliseconds, &*answer.listening),
            (at(5), 5000, &[3000][..])
        );
        assert_eq!(answer.keep_alive, ["cargo"]);
        let step = &answer.steps[0];
        assert_eq!(step.step, InsideStepKind::PostStart);
        assert_eq!(step.state, InsideStepState::Failed);
        assert_eq!((step.at_milliseconds, step.milliseconds), (700, Some(200)));
        assert_eq!(step.message.as_deref(), Some("it failed"));
        assert_eq!(step.evidence.as_deref(), Some("exit code 2\na reason"));
    }

    #[test]
    fn a_hostile_answer_stays_short() {
        let step = Step {
            subject: Some("s".repeat(10_000)),
            failure: Some(StepFailure {
                message: "m".repeat(10_000),
                tail: vec!["t".repeat(10_000); 50],
                ..StepFailure::default()
            }),
            ..Step::default()
        };
        let report = Report {
            steps: vec![step; 500],
            ports: (1..20_000).collect(),
            idle: Idle {
                keep_alive: vec!["k".repeat(10_000); 500],
            },
            ..Report::default()
        };
        let text = serde_json::to_string(&of(&report, at(5))).unwrap();
        assert!(text.len() < 64 * 1024, "{}", text.len());
    }

    #[test]
    fn an_answer_goes_with_the_container_that_gave_it() {
        let known = |second, settled: Option<&str>| SupervisorStatus {
            inspection: Some(of(&Report::default(), at(second))),
            settled: settled.map(str::to_owned),
            ..SupervisorStatus::default()
        };
        let runs = facts(Some(&settled(1, 1)), Some(&[ready_pod()]));
        let (container, _) = told::life(&runs).unwrap();
        assert!(is_of_this_life(&known(50, None), &runs));
        assert!(!is_of_this_life(&known(-50, None), &runs));
        // Clocks differ; the name of the container does not.
        assert!(is_of_this_life(&known(-50, Some(container)), &runs));
        assert!(!is_of_this_life(&known(50, Some("an earlier one")), &runs));
        let stopped = facts(Some(&settled(0, 0)), Some(&[]));
        assert!(!is_of_this_life(&known(50, Some(container)), &stopped));
    }
}
