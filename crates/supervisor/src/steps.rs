//! The steps of a plan, in both processes: the branch takes them, the first process tells of them.

use serde::{Deserialize, Serialize};
use workstead_link::{Plan, Step, StepKind, StepState};

/// What the branch tells the first process: a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub struct News {
    /// Which step of [`planned`].
    pub index: usize,
    /// How it is now.
    pub step: Step,
}

/// All steps of a plan, in order, none begun.
pub fn planned(plan: &Plan) -> Vec<Step> {
    let step = |kind, subject: Option<&str>| Step {
        kind,
        subject: subject.map(str::to_owned),
        state: StepState::Waiting,
        ..Step::default()
    };
    let mut steps = vec![step(StepKind::Network, None), step(StepKind::Files, None)];
    steps.extend(
        plan.projects
            .iter()
            .map(|p| step(StepKind::Clone, Some(&p.name))),
    );
    steps.extend(
        plan.post_start
            .iter()
            .map(|c| step(StepKind::PostStart, Some(&c.name))),
    );
    steps.extend(
        plan.editor
            .iter()
            .map(|e| step(StepKind::Editor, Some(&e.name))),
    );
    steps
}

/// Where the steps of a kind are in [`planned`]: the first, then the others one by one. Behind all when there are none.
pub fn first(steps: &[Step], kind: StepKind) -> usize {
    steps
        .iter()
        .position(|step| step.kind == kind)
        .unwrap_or(steps.len())
}

/// Whether the network is attached and the editor, if there is one, answers.
pub fn is_ready(steps: &[Step]) -> bool {
    steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::Network | StepKind::Editor))
        .all(|step| step.state == StepState::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use workstead_link::{Command, Editor, Project};

    fn full() -> Plan {
        Plan {
            projects: vec![Project::default(), Project::default()],
            post_start: vec![Command::default()],
            editor: Some(Editor::default()),
            ..Plan::default()
        }
    }

    #[test]
    fn the_steps_come_in_the_order_of_their_kinds() {
        let steps = planned(&full());
        let kinds: Vec<_> = steps.iter().map(|step| step.kind).collect();
        let expected = [
            StepKind::Network,
            StepKind::Files,
            StepKind::Clone,
            StepKind::Clone,
            StepKind::PostStart,
            StepKind::Editor,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(first(&steps, StepKind::PostStart), 4);
        assert_eq!(first(&planned(&Plan::default()), StepKind::Editor), 2);
    }

    #[test]
    fn only_network_and_editor_enter_into_readiness() {
        let mut steps = planned(&full());
        assert!(!is_ready(&steps));
        for step in &mut steps {
            step.state = match step.kind {
                StepKind::Network | StepKind::Editor => StepState::Done,
                _ => StepState::Failed,
            };
        }
        assert!(is_ready(&steps));
        steps[5].state = StepState::Retrying;
        assert!(!is_ready(&steps));
    }
}
