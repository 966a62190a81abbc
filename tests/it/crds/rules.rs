//! Every CEL rule and every limit of the schemas, with something that it accepts and something that it refuses.
//!
//! The same table is put to the API server and to the offline check: the two must agree.

mod cel;
mod limits;

use kube::api::{Patch, PatchParams};
use serde_json::Value;
use workstead::api::{GitSync, Workspace, WorkspaceClass, WorkspaceVariables};
use workstead::testkit::ControlPlane;

use super::dry_run::{dry_run, minimal};
use super::{definitions, objects, schema};
use crate::object;

/// One question.
pub struct Case {
    /// Which kind.
    pub kind: &'static str,
    /// The beginning of the rule's message, or what the server says of a limit.
    pub message: &'static str,
    /// Where the values below belong, as a JSON pointer.
    pub at: &'static str,
    /// A value that is fine.
    pub accepted: Value,
    /// A value that is not.
    pub refused: Value,
    /// What was there before, for rules about changes.
    pub before: Option<Value>,
}

impl Case {
    fn with(&self, value: &Value) -> Value {
        let mut object = minimal(self.kind);
        let mut place = &mut object;
        for part in self.at.split('/').skip(1) {
            place = &mut place[part];
        }
        *place = value.clone();
        object
    }

    /// The object that is fine.
    pub fn good(&self) -> Value {
        self.with(&self.accepted)
    }

    /// The object that is not.
    pub fn bad(&self) -> Value {
        self.with(&self.refused)
    }

    /// The object before.
    pub fn old(&self) -> Option<Value> {
        self.before.as_ref().map(|before| self.with(before))
    }
}

fn case(
    kind: &'static str,
    message: &'static str,
    at: &'static str,
    accepted: Value,
    refused: Value,
) -> Case {
    Case {
        kind,
        message,
        at,
        accepted,
        refused,
        before: None,
    }
}

/// The CEL rules.
pub fn rules() -> Vec<Case> {
    let mut cases = cel::workspace_rules();
    cases.extend(cel::class_rules());
    cases.extend(cel::variables_rules());
    cases.extend(cel::gitsync_rules());
    cases
}

/// The limits that the schemas state without CEL.
pub fn limits() -> Vec<Case> {
    let mut cases = limits::workspace_limits();
    cases.extend(limits::class_limits());
    cases.extend(limits::variables_limits());
    cases.extend(limits::gitsync_limits());
    cases
}

#[test]
fn no_rule_is_without_a_case() {
    let cases = rules();
    let mut used = vec![false; cases.len()];
    for rule in definitions().iter().flat_map(schema::rules) {
        let fits: Vec<usize> = (0..cases.len())
            .filter(|i| rule.kind == cases[*i].kind && rule.message.starts_with(cases[*i].message))
            .collect();
        let [one] = fits[..] else {
            panic!("{rule:?} has {} cases, one is needed", fits.len());
        };
        used[one] = true;
    }
    let unused: Vec<&str> = (0..cases.len())
        .filter(|i| !used[*i])
        .map(|i| cases[i].message)
        .collect();
    assert!(unused.is_empty(), "no rule says this: {unused:?}");
}

#[test]
fn every_rule_says_what_to_write_instead() {
    for rule in definitions().iter().flat_map(schema::rules) {
        assert!(rule.message.chars().count() > 20, "{rule:?}");
    }
}

#[tokio::test]
async fn the_server_accepts_and_refuses_what_the_table_says() {
    let plane = ControlPlane::shared().await.unwrap();
    let client = plane.client();
    let mut wrong = Vec::new();
    for case in rules().into_iter().chain(limits()) {
        let namespace = match &case.before {
            Some(_) => plane.namespace("rules").await.unwrap(),
            None => "default".to_owned(),
        };
        let api = objects(client.clone(), case.kind, &namespace);
        if let Some(old) = case.old() {
            let params = PatchParams::apply("workstead/testkit");
            let name = old["metadata"]["name"].as_str().unwrap();
            api.patch(name, &params, &Patch::Apply(&old)).await.unwrap();
        }
        if let Err(error) = dry_run(&api, &case.good()).await {
            wrong.push(format!(
                "{} {}: refused {}: {error}",
                case.kind, case.message, case.accepted
            ));
        }
        match dry_run(&api, &case.bad()).await {
            Ok(()) => wrong.push(format!(
                "{} {}: accepted {}",
                case.kind, case.message, case.refused
            )),
            Err(error) if error.contains(case.message) => {}
            Err(error) => wrong.push(format!("{} {}: says {error}", case.kind, case.message)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The offline verdict on the rules of one object: the messages of those that it breaks.
fn offline(value: &Value, old: Option<&Value>) -> Vec<String> {
    fn judge<K: serde::de::DeserializeOwned>(
        value: &Value,
        old: Option<&Value>,
        check: impl Fn(&K, Option<&K>) -> Result<(), kube::core::cel::ValidationErrors>,
    ) -> Vec<String> {
        let old: Option<K> = old.map(|old| object(old.clone()));
        match check(&object(value.clone()), old.as_ref()) {
            Ok(()) => vec![],
            Err(errors) => errors
                .into_iter()
                .map(|error| error.message.clone())
                .collect(),
        }
    }
    match value["kind"].as_str() {
        Some("Workspace") => judge(value, old, |new: &Workspace, old| match old {
            Some(old) => new.validate_cel_update(old),
            None => new.validate_cel(),
        }),
        Some("WorkspaceClass") => judge(value, old, |new: &WorkspaceClass, _| new.validate_cel()),
        Some("WorkspaceVariables") => {
            judge(value, old, |new: &WorkspaceVariables, _| new.validate_cel())
        }
        _ => judge(value, old, |new: &GitSync, _| new.validate_cel()),
    }
}

#[test]
fn the_offline_check_of_the_rules_says_the_same() {
    let mut wrong = Vec::new();
    for case in rules() {
        let old = case.old();
        let good = offline(&case.good(), old.as_ref());
        if !good.is_empty() {
            wrong.push(format!(
                "{}: refused {}: {good:?}",
                case.message, case.accepted
            ));
        }
        let bad = offline(&case.bad(), old.as_ref());
        if !bad.iter().any(|message| message.starts_with(case.message)) {
            wrong.push(format!(
                "{}: says {bad:?} to {}",
                case.message, case.refused
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
