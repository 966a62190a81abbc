//! How it is inside of a workspace that runs, by the word of its first process.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::inspection::{InsideStep, InsideStepState, Inspection};
use crate::api::workspace::Failure;
use crate::cli::output::{BAD, Cell, FAINT, GOOD, HEADING, MOVING, table};
use crate::cli::show::{self, NOTHING};
use crate::cli::why::ask::Freshness;
use crate::cli::why::facts;

/// What it said, and when.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inside {
    /// Whether it was asked just now.
    fresh: bool,
    /// Why it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_fresh_because: Option<String>,
    #[serde(flatten)]
    said: Option<Inspection>,
}

impl Inside {
    /// Nothing where nobody runs.
    pub fn new(said: Option<Inspection>, freshness: Freshness) -> Option<Self> {
        let (fresh, not_fresh_because) = match freshness {
            Freshness::NobodyRuns => return None,
            Freshness::Fresh => (true, None),
            Freshness::Known(why) => (false, Some(why)),
        };
        Some(Self {
            fresh,
            not_fresh_because,
            said,
        })
    }

    /// For people. The step whose failure is `shown` already is not explained twice.
    pub fn text(&self, shown: Option<&Failure>, now: Timestamp) -> String {
        let mut text = String::from("\n");
        if let Some(why) = &self.not_fresh_because {
            let what = self.said.as_ref().map_or_else(
                || "the status is all that is known".to_owned(),
                |said| format!("this is from {} ago", show::ago(now, said.at.0)),
            );
            text.push_str(&format!(
                "{MOVING}not asked just now how it is inside{MOVING:#}, {what}: {why}\n"
            ));
        }
        let Some(said) = &self.said else {
            return text;
        };
        let title = if self.fresh { "INSIDE, NOW" } else { "INSIDE" };
        let rows: Vec<Vec<Cell>> = said.steps.iter().map(row).collect();
        text.push_str(&table(&[title, "OF", "STATE", "AFTER", "TOOK"], &rows));
        for step in &said.steps {
            text.push_str(&trouble(step, shown));
        }
        let ports: Vec<String> = said.listening.iter().map(u16::to_string).collect();
        text.push_str(&facts(&[
            ("listens on", or(&ports, "no port")),
            (
                "busy with",
                or(&said.keep_alive, "nothing that keeps it alive"),
            ),
            ("runs for", show::milliseconds(said.uptime_milliseconds)),
        ]));
        text
    }
}

fn row(step: &InsideStep) -> Vec<Cell> {
    let style = match step.state {
        InsideStepState::Done => GOOD,
        InsideStepState::Failed => BAD,
        InsideStepState::Running | InsideStepState::Retrying => MOVING,
        InsideStepState::Waiting | InsideStepState::Unknown => FAINT,
    };
    let took = step.milliseconds.map(show::milliseconds);
    vec![
        format!("  {:?}", step.step).into(),
        step.subject.as_deref().unwrap_or(NOTHING).into(),
        Cell::styled(format!("{:?}", step.state), style),
        show::milliseconds(step.at_milliseconds).into(),
        took.unwrap_or_else(|| NOTHING.to_owned()).into(),
    ]
}

/// What a step that failed said, with its last lines.
fn trouble(step: &InsideStep, shown: Option<&Failure>) -> String {
    let message = step.message.as_deref().unwrap_or_default();
    let is_bad = matches!(
        step.state,
        InsideStepState::Failed | InsideStepState::Retrying
    );
    if !is_bad || shown.is_some_and(|failure| failure.message.ends_with(message)) {
        return String::new();
    }
    let name = step.subject.as_deref().map_or_else(
        || format!("{:?}", step.step),
        |subject| format!("{:?} {subject}", step.step),
    );
    let mut text = format!("  {HEADING}{name}{HEADING:#}: {message}\n");
    let evidence = step.evidence.as_deref().unwrap_or_default();
    for line in evidence.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

fn or(list: &[String], nothing: &str) -> String {
    if list.is_empty() {
        nothing.to_owned()
    } else {
        list.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::inspection::InsideStepKind;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    fn said() -> Inspection {
        let step = |subject: &str, state| InsideStep {
            step: InsideStepKind::PostStart,
            subject: Some(subject.to_owned()),
            state,
            at_milliseconds: 700,
            milliseconds: Some(200),
            message: Some(format!("{subject} failed")),
            evidence: Some(format!("exit code 2\nlast line of {subject}")),
        };
        Inspection {
            at: MicroTime("2026-01-10T00:00:00Z".parse().unwrap()),
            uptime_milliseconds: 12_345,
            steps: vec![
                step("one", InsideStepState::Failed),
                step("two", InsideStepState::Failed),
                step("three", InsideStepState::Done),
            ],
            listening: vec![3000, 8080],
            keep_alive: vec![],
        }
    }

    fn text(freshness: Freshness, said: Option<Inspection>) -> String {
        let inside = Inside::new(said, freshness).unwrap();
        let now = "2026-01-10T00:01:00Z".parse().unwrap();
        let failure = serde_json::json!({
            "cause": "PostStartFailed", "blame": "User", "message": "start command one: one failed",
            "evidence": "exit code 2\nlast line of one", "retryable": false, "nextStep": "n",
        });
        let failure: Failure = serde_json::from_value(failure).unwrap();
        let text = inside.text(Some(&failure), now);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn each_step_that_failed_shows_its_last_lines_once() {
        let text = text(Freshness::Fresh, Some(said()));
        for line in [
            "INSIDE, NOW",
            "PostStart two: two failed",
            "3000, 8080",
            "12.3 s",
        ] {
            assert!(text.contains(line), "no '{line}' in:\n{text}");
        }
        assert!(text.contains("last line of two"), "{text}");
        assert!(
            !text.contains("last line of one") && !text.contains("one failed"),
            "{text}"
        );
        assert!(!text.contains("last line of three"), "{text}");
        assert!(!text.contains("not asked"), "{text}");
    }

    #[test]
    fn what_is_not_fresh_says_so_in_one_line_and_how_old_it_is() {
        let old = text(Freshness::Known("forbidden".to_owned()), Some(said()));
        let line = old.lines().find(|line| line.contains("not asked")).unwrap();
        assert!(line.contains("60s ago: forbidden"), "{line}");
        let never = text(Freshness::Known("no answer".to_owned()), None);
        assert_eq!(never.trim().lines().count(), 1, "{never}");
        assert!(Inside::new(None, Freshness::NobodyRuns).is_none());
    }
}
