//! What the first process reports, in the words of the status.

use workstead_link::{Cause as Told, Report, Step, StepFailure, StepKind, StepState};

use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure, StartStep};
use crate::model::conditions::{ConditionType, Reason, Wanted};
use crate::model::failures::redact::{cap, log_tail, one_line};

/// The longest sentence that is taken over.
const SENTENCE: usize = 1024;

/// The failure to show: of the steps that failed, or are tried again, the one that comes first. None while all goes well.
pub fn failure(report: &Report) -> Option<Failure> {
    let mut failed: Vec<&Step> = report.steps.iter().filter(|step| is_bad(step)).collect();
    failed.sort_by_key(|step| step.kind);
    failed.into_iter().find_map(failure_of)
}

/// A step that failed, or is tried again, as a failure. None for what only a later release knows.
pub fn failure_of(step: &Step) -> Option<Failure> {
    let told = step.failure.as_ref().filter(|_| is_bad(step))?;
    let (cause, blame) = meaning(told.cause)?;
    let subject = step.subject.as_deref().map(|name| one_line(name, 64));
    let about = match (step.kind, subject) {
        (StepKind::Clone, Some(name)) => format!("project {name}: "),
        (StepKind::PostStart, Some(name)) => format!("start command {name}: "),
        _ => String::new(),
    };
    Some(Failure {
        cause,
        blame,
        message: format!("{about}{}", one_line(&told.message, SENTENCE)),
        evidence: evidence(told),
        retryable: step.state == StepState::Retrying,
        next_step: one_line(&told.next_step, SENTENCE),
        since: None,
    })
}

fn is_bad(step: &Step) -> bool {
    matches!(step.state, StepState::Failed | StepState::Retrying)
}

fn meaning(told: Told) -> Option<(Cause, Blame)> {
    Some(match told {
        Told::CloneAuth => (Cause::CloneAuth, Blame::User),
        Told::CloneRef => (Cause::CloneRef, Blame::User),
        Told::CloneNetwork => (Cause::CloneNetwork, Blame::Platform),
        Told::CloneFailed => (Cause::CloneFailed, Blame::User),
        Told::PostStartFailed => (Cause::PostStartFailed, Blame::User),
        Told::EditorNotReady => (Cause::EditorNotReady, Blame::User),
        Told::EditorIncompatible => (Cause::EditorIncompatible, Blame::User),
        // The files come from Secrets that the pod names.
        Told::FilesMissing => (Cause::ConfigInvalid, Blame::Platform),
        // Something of the person's own is where a set wants its file.
        Told::FilesNotLinked => (Cause::ConfigInvalid, Blame::User),
        Told::NetworkNotReady | Told::Other => return None,
    })
}

/// Exit code, then the last lines: as short, and as clean, as any other log, whatever the workspace says.
pub fn evidence(told: &StepFailure) -> String {
    let code = told.exit_code.map(|code| format!("exit code {code}"));
    let tail = log_tail(&told.tail.join("\n"));
    let lines: Vec<String> = code
        .into_iter()
        .chain((!tail.is_empty()).then_some(tail))
        .collect();
    if lines.is_empty() {
        return "reported by the workspace".to_owned();
    }
    lines.join("\n")
}

/// The conditions of the parts that a workspace has: projects, start commands, editor.
pub fn conditions(report: &Report) -> Vec<Wanted> {
    [
        (StepKind::Clone, ConditionType::ProjectsReady),
        (StepKind::PostStart, ConditionType::PostStartReady),
        (StepKind::Editor, ConditionType::EditorReady),
    ]
    .into_iter()
    .filter_map(|(kind, type_)| condition(report, kind, type_))
    .collect()
}

fn condition(report: &Report, kind: StepKind, type_: ConditionType) -> Option<Wanted> {
    let steps: Vec<&Step> = report
        .steps
        .iter()
        .filter(|step| step.kind == kind)
        .collect();
    if steps.is_empty() {
        return None;
    }
    let failures: Vec<Failure> = steps.iter().filter_map(|step| failure_of(step)).collect();
    let wanted = |status, reason, message: String| Wanted {
        type_,
        status: Some(status),
        reason,
        message: cap(message),
    };
    if let Some(first) = failures.first() {
        let all: Vec<&str> = failures
            .iter()
            .map(|failure| failure.message.as_str())
            .collect();
        return Some(wanted(false, Reason::Cause(first.cause), all.join("; ")));
    }
    let done = steps
        .iter()
        .filter(|step| step.state == StepState::Done)
        .count();
    if done == steps.len() {
        let notes: Vec<String> = steps
            .iter()
            .filter_map(|step| step.note.as_deref())
            .map(|note| one_line(note, 256))
            .collect();
        let said = if notes.is_empty() {
            in_words(kind).0.to_owned()
        } else {
            notes.join("; ")
        };
        return Some(wanted(true, Reason::Done, said));
    }
    let said = format!("{}: {done} of {} done", in_words(kind).1, steps.len());
    Some(wanted(false, Reason::InProgress, said))
}

/// What is said when it is done, and what is said until then.
fn in_words(kind: StepKind) -> (&'static str, &'static str) {
    match kind {
        StepKind::Clone => ("every project is there", "projects"),
        StepKind::PostStart => ("every start command has run", "start commands"),
        _ => ("the editor answers", "the editor"),
    }
}

/// The steps of the timeline that are done, with their milliseconds since the first process began. A kind with several
/// parts is done with the last of them.
pub fn done(report: &Report) -> Vec<(StartStep, u64)> {
    [
        (StepKind::Network, StartStep::NetworkAttached),
        (StepKind::Files, StartStep::FilesPresent),
        (StepKind::Clone, StartStep::Cloned),
        (StepKind::PostStart, StartStep::PostStartDone),
        (StepKind::Editor, StartStep::EditorReady),
    ]
    .into_iter()
    .filter_map(|(kind, step)| {
        let mut parts = report
            .steps
            .iter()
            .filter(|part| part.kind == kind)
            .peekable();
        parts.peek()?;
        let last = parts.try_fold(0, |last: u64, part| {
            (part.state == StepState::Done).then(|| last.max(part.at_ms))
        });
        Some((step, last?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn step(kind: StepKind, subject: &str, state: StepState, at_ms: u64) -> Step {
        Step {
            kind,
            subject: (!subject.is_empty()).then(|| subject.to_owned()),
            state,
            at_ms,
            ..Step::default()
        }
    }

    fn failed(kind: StepKind, subject: &str, cause: Told) -> Step {
        Step {
            failure: Some(StepFailure {
                cause,
                message: "it said no".to_owned(),
                exit_code: Some(128),
                tail: vec!["fatal: one".to_owned(), "two".to_owned()],
                next_step: "do better".to_owned(),
            }),
            ..step(kind, subject, StepState::Failed, 1)
        }
    }

    fn report(steps: Vec<Step>) -> Report {
        Report {
            steps,
            ..Report::default()
        }
    }

    #[rstest]
    #[case(Told::CloneAuth, Cause::CloneAuth, Blame::User)]
    #[case(Told::CloneRef, Cause::CloneRef, Blame::User)]
    #[case(Told::CloneNetwork, Cause::CloneNetwork, Blame::Platform)]
    #[case(Told::CloneFailed, Cause::CloneFailed, Blame::User)]
    #[case(Told::PostStartFailed, Cause::PostStartFailed, Blame::User)]
    #[case(Told::EditorNotReady, Cause::EditorNotReady, Blame::User)]
    #[case(Told::EditorIncompatible, Cause::EditorIncompatible, Blame::User)]
    #[case(Told::FilesMissing, Cause::ConfigInvalid, Blame::Platform)]
    #[case(Told::FilesNotLinked, Cause::ConfigInvalid, Blame::User)]
    fn a_failed_step_has_cause_and_blame(
        #[case] told: Told,
        #[case] cause: Cause,
        #[case] blame: Blame,
    ) {
        let failure = failure(&report(vec![failed(StepKind::Clone, "api", told)])).unwrap();
        assert_eq!((failure.cause, failure.blame), (cause, blame));
        assert_eq!(failure.message, "project api: it said no");
        assert_eq!(failure.evidence, "exit code 128\nfatal: one\ntwo");
        assert_eq!(failure.next_step, "do better");
        assert!(!failure.retryable);
    }

    #[test]
    fn the_first_step_that_fails_is_shown_and_what_nobody_knows_is_not() {
        let both = report(vec![
            failed(StepKind::Editor, "", Told::EditorNotReady),
            failed(StepKind::PostStart, "build", Told::PostStartFailed),
            failed(StepKind::Network, "", Told::Other),
        ]);
        let shown = failure(&both).unwrap();
        assert_eq!(shown.cause, Cause::PostStartFailed);
        assert_eq!(shown.message, "start command build: it said no");
        assert_eq!(
            failure(&report(vec![failed(StepKind::Clone, "", Told::Other)])),
            None
        );
    }

    #[test]
    fn a_step_that_is_tried_again_may_recover() {
        let mut again = failed(StepKind::Clone, "api", Told::CloneNetwork);
        again.state = StepState::Retrying;
        assert!(failure(&report(vec![again])).unwrap().retryable);
    }

    #[test]
    fn a_hostile_report_stays_short() {
        let mut hostile = failed(StepKind::Clone, &"x".repeat(100_000), Told::CloneRef);
        if let Some(told) = &mut hostile.failure {
            told.message = "m\n".repeat(50_000);
            told.next_step = "n".repeat(50_000);
            told.tail = vec!["t".repeat(9000); 50];
        }
        let shown = failure(&report(vec![hostile.clone()])).unwrap();
        let long = shown.message.len() + shown.evidence.len() + shown.next_step.len();
        assert!(long < 8 * 1024, "{long}");
        let conditions = conditions(&report(vec![hostile; 50]));
        assert!(conditions[0].message.len() < 8 * 1024);
    }

    #[test]
    fn each_part_that_a_workspace_has_gets_its_condition() {
        use StepKind::{Clone, Editor, PostStart};
        let seen = |steps| -> Vec<(ConditionType, Option<bool>, Reason)> {
            let all = conditions(&report(steps)).into_iter();
            all.map(|one| (one.type_, one.status, one.reason)).collect()
        };
        assert_eq!(seen(vec![]), vec![]);
        assert_eq!(
            seen(vec![
                step(Clone, "a", StepState::Done, 5),
                step(Clone, "b", StepState::Done, 9),
                step(PostStart, "build", StepState::Running, 9),
                failed(Editor, "", Told::EditorIncompatible),
            ]),
            vec![
                (ConditionType::ProjectsReady, Some(true), Reason::Done),
                (
                    ConditionType::PostStartReady,
                    Some(false),
                    Reason::InProgress
                ),
                (
                    ConditionType::EditorReady,
                    Some(false),
                    Reason::Cause(Cause::EditorIncompatible)
                ),
            ]
        );
    }

    #[test]
    fn a_step_of_the_timeline_is_done_with_its_last_part() {
        use StepKind::{Clone, Files, Network};
        let mut steps = vec![
            step(Network, "", StepState::Done, 1),
            step(Files, "", StepState::Done, 2),
            step(Clone, "a", StepState::Done, 50),
            step(Clone, "b", StepState::Running, 3),
        ];
        let first = [
            (StartStep::NetworkAttached, 1),
            (StartStep::FilesPresent, 2),
        ];
        assert_eq!(done(&report(steps.clone())), first);
        steps[3] = step(Clone, "b", StepState::Done, 40);
        assert_eq!(done(&report(steps))[2], (StartStep::Cloned, 50));
    }
}
