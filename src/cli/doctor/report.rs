//! What the doctor found: a verdict a step, what shows it, and what to do.

use serde::Serialize;

use crate::cli::output::{BAD, FAINT, GOOD, HEADING, MOVING};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and something about it should be known.
    Warning,
    /// It can't work so.
    Wrong,
    /// It could not be looked at.
    Skipped,
}

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which step.
    pub step: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// In one sentence.
    pub summary: String,
    /// What shows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn new(step: &'static str, verdict: Verdict, summary: impl Into<String>) -> Self {
        Self {
            step,
            verdict,
            summary: summary.into(),
            evidence: Vec::new(),
            fix: None,
        }
    }

    /// As it should be.
    pub fn good(step: &'static str, summary: impl Into<String>) -> Self {
        Self::new(step, Verdict::Good, summary)
    }

    /// It works, and something about it should be known.
    pub fn warning(step: &'static str, summary: impl Into<String>) -> Self {
        Self::new(step, Verdict::Warning, summary)
    }

    /// It can't work so.
    pub fn wrong(step: &'static str, summary: impl Into<String>) -> Self {
        Self::new(step, Verdict::Wrong, summary)
    }

    /// It could not be looked at.
    pub fn skipped(step: &'static str, summary: impl Into<String>) -> Self {
        Self::new(step, Verdict::Skipped, summary)
    }

    /// With what shows it.
    #[must_use]
    pub fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// For people.
    pub fn text(&self) -> String {
        let (word, style) = match self.verdict {
            Verdict::Good => ("good", GOOD),
            Verdict::Warning => ("warning", MOVING),
            Verdict::Wrong => ("wrong", BAD),
            Verdict::Skipped => ("skipped", FAINT),
        };
        let mut text = format!(
            "{style}{word:<7}{style:#}  {HEADING}{}{HEADING:#}: {}\n",
            self.step, self.summary
        );
        for line in self.evidence.iter().flat_map(|evidence| evidence.lines()) {
            text.push_str(&format!("         {FAINT}{line}{FAINT:#}\n"));
        }
        if let Some(fix) = &self.fix {
            text.push_str(&format!("         {HEADING}fix:{HEADING:#} {fix}\n"));
        }
        text
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub well: bool,
    /// A finding a step.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Puts findings together.
    pub fn new(findings: Vec<Finding>) -> Self {
        Self {
            well: findings
                .iter()
                .all(|finding| finding.verdict != Verdict::Wrong),
            findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_step_makes_the_whole_ill_and_a_warning_or_a_skipped_one_does_not() {
        let fine = vec![
            Finding::good("a", "is"),
            Finding::warning("b", "is"),
            Finding::skipped("c", "is"),
        ];
        assert!(Report::new(fine.clone()).well);
        assert!(!Report::new([fine, vec![Finding::wrong("d", "is")]].concat()).well);
    }

    #[test]
    fn a_finding_shows_its_evidence_below_it_and_then_the_fix() {
        let finding = Finding::wrong("clock", "is slow")
            .seen("12:00\n12:01")
            .fix("set it");
        let plain = anstream::adapter::strip_str(&finding.text()).to_string();
        assert_eq!(
            plain,
            "wrong    clock: is slow\n         12:00\n         12:01\n         fix: set it\n"
        );
    }
}
