//! What the status says of sealed sets.

use super::*;
use crate::api::environment::{OutdatedVariable, VariableChange, VariablesLevel};
use crate::model::status::{Compared, Problem};
use crate::model::variables::pin::{Asked, PinnedFile, Source, VariablesPin};
use crate::model::variables::{FilePath, VariableName};

fn pin() -> VariablesPin {
    let source = |level, name: &str| Source {
        level,
        name: name.to_owned(),
        digest: format!("{name} digest"),
    };
    VariablesPin {
        secret: "api-vars-01234567".to_owned(),
        digest: "0123456789".to_owned(),
        sources: vec![
            source(VariablesLevel::Workspace, "own"),
            source(VariablesLevel::Inline, "vault"),
        ],
        env: [("A", 0), ("B", 1)]
            .map(|(name, of)| (VariableName::new(name).unwrap(), of))
            .into(),
        files: vec![PinnedFile {
            path: FilePath::parse("~/.netrc").unwrap(),
            key: "file-0000".to_owned(),
            mode: 0o440,
            source: 0,
        }],
        asked: Asked::default(),
    }
}

fn running(pin: Option<VariablesPin>) -> Pass {
    let mut pass = Pass::new(None, facts(Some(&settled(1, 1)), Some(&[ready_pod()])));
    pass.pinned.as_mut().unwrap().pin.inputs.variables = pin;
    pass
}

fn told(status: &WorkspaceStatus, type_: &str) -> Option<(String, String, String)> {
    let condition = status.conditions.iter().find(|one| one.type_ == type_)?;
    Some((
        condition.status.clone(),
        condition.reason.clone(),
        condition.message.clone(),
    ))
}

fn changed(count: usize) -> Vec<OutdatedVariable> {
    (0..count)
        .map(|number| OutdatedVariable {
            name: format!("V{number:03}"),
            change: VariableChange::Changed,
        })
        .collect()
}

#[test]
fn what_a_workspace_has_is_told_by_name_and_origin() {
    let mut pass = running(Some(pin()));
    let status = pass.status(at(1));
    let sets = status.variables.clone().unwrap().sets;
    assert_eq!(
        (&*sets[0].env, &*sets[0].files),
        (&["A".to_owned()][..], &["~/.netrc".to_owned()][..])
    );
    assert_eq!(sets[0].digest.as_deref(), Some("own digest"));
    assert_eq!(
        (&*sets[1].env, &sets[1].digest),
        (&["B".to_owned()][..], &None)
    );
    let (is, reason, message) = told(&status, "VariablesReady").unwrap();
    assert_eq!((&*is, &*reason), ("True", "Pinned"));
    assert!(message.contains("api-vars-01234567"), "{message}");
    // A workspace that no set reaches is told nothing of them.
    let status = running(None).status(at(1));
    assert_eq!(status.variables, None);
    assert_eq!(told(&status, "VariablesReady"), None);
}

#[test]
fn what_is_newer_is_named_and_keeps_nobody_from_being_ready() {
    let mut pass = running(Some(pin()));
    pass.variables.compared = Some(Compared::new("n1".to_owned(), changed(3)));
    let status = pass.status(at(1));
    let (.., message) = told(&status, "VariablesOutdated").unwrap();
    assert!(
        message.contains("V000 changed, V001 changed, V002 changed;"),
        "{message}"
    );
    assert_eq!(told(&status, "Ready").unwrap().0, "True");
    // Nobody looked: it stays as it was told.
    pass.variables.compared = None;
    assert_eq!(pass.status(at(2)).variables, status.variables);
    let known = Compared::known(&status, "api-vars-01234567", "n1").unwrap();
    assert_eq!(known.outdated, changed(3));
    assert_eq!(Compared::known(&status, "api-vars-01234567", "n2"), None);
    assert_eq!(Compared::known(&status, "api-vars-76543210", "n1"), None);
    // Taken, or back at what it was.
    pass.variables.compared = Some(Compared::new("n0".to_owned(), Vec::new()));
    let status = pass.status(at(3));
    assert_eq!(told(&status, "VariablesOutdated"), None);
    // A status has a bound, and says what it leaves out.
    pass.variables.compared = Some(Compared::new("n3".to_owned(), changed(1000)));
    let status = pass.status(at(4));
    let variables = status.variables.clone().unwrap();
    assert_eq!(
        (variables.outdated.len(), variables.outdated_unnamed),
        (200, Some(800))
    );
    let (.., message) = told(&status, "VariablesOutdated").unwrap();
    assert!(message.contains("990 more"), "{message}");
}

#[test]
fn a_set_that_is_withheld_or_refused_is_said_and_keeps_nobody_from_being_ready() {
    for (problem, reason) in [
        (Problem::OwnerUnchecked("why".to_owned()), "OwnerUnchecked"),
        (
            Problem::Unavailable("why".to_owned()),
            "VariablesUnavailable",
        ),
    ] {
        let mut pass = running(None);
        pass.variables.problem = Some(problem);
        let status = pass.status(at(1));
        let expected = ("False".to_owned(), reason.to_owned(), "why".to_owned());
        assert_eq!(told(&status, "VariablesReady"), Some(expected));
        assert_eq!(told(&status, "Ready").unwrap().0, "True");
    }
}

#[test]
fn the_request_that_a_start_carried_out_is_echoed() {
    let mut pass = running(Some(pin()));
    let inputs = &mut pass.pinned.as_mut().unwrap().pin.inputs;
    inputs.variables_request = Some("2026-03-01".to_owned());
    let status = pass.status(at(1));
    assert_eq!(
        status.last_handled_variables_update_at.as_deref(),
        Some("2026-03-01")
    );
}
