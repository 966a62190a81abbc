//! The status of a class, from what was judged. Pure.

use jiff::Timestamp;

use crate::api::WorkspaceClass;
use crate::api::class::{InvalidField, WorkspaceClassStatus};
use crate::model::class::{self, ClassVerdict};
use crate::model::conditions::Told;
use crate::model::names::DEFAULT_CLASS_ANNOTATION;

/// What status says of a class. `defaults` are the names of all classes that are annotated as default, sorted.
pub fn judge(
    class: &WorkspaceClass,
    verdict: &ClassVerdict,
    defaults: &[String],
    now: Timestamp,
) -> WorkspaceClassStatus {
    let mut invalid_fields = verdict.invalid.clone();
    let several = class::is_default(class) && defaults.len() > 1;
    if several {
        invalid_fields.push(InvalidField {
            field: format!("metadata.annotations[{DEFAULT_CLASS_ANNOTATION}]"),
            message: format!(
                "{} classes are annotated as default ({}): leave the annotation on one",
                defaults.len(),
                defaults.join(", ")
            ),
        });
    }
    let (reason, message) = reason_and_message(verdict, &invalid_fields, several);
    let is_ready = verdict.is_usable() && !several;
    let ready = Told {
        type_: "Ready",
        status: Some(is_ready),
        reason,
        message: &message,
    };
    let before = class.status.as_ref();
    let before = before.map(|status| status.conditions.as_slice());
    WorkspaceClassStatus {
        observed_generation: class.metadata.generation,
        conditions: vec![ready.after(before.unwrap_or_default(), class.metadata.generation, now)],
        invalid_fields,
        unreadable: Vec::new(),
    }
}

fn reason_and_message(
    verdict: &ClassVerdict,
    invalid: &[InvalidField],
    several: bool,
) -> (&'static str, String) {
    let listed = invalid
        .iter()
        .map(|field| format!("{}: {}", field.field, field.message))
        .collect::<Vec<_>>()
        .join("; ");
    if !verdict.is_usable() {
        (
            "Invalid",
            format!("Workspaces can't use the class: {listed}"),
        )
    } else if several {
        (
            "SeveralDefaults",
            format!("Workspaces that name no class can't start: {listed}"),
        )
    } else if invalid.is_empty() {
        ("Valid", "every field holds".to_owned())
    } else {
        (
            "PartlyValid",
            format!("these fields are left out, the others hold: {listed}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn mk_class(spec: serde_json::Value, is_default: bool) -> WorkspaceClass {
        let mut class = WorkspaceClass::new("standard", serde_json::from_value(spec).unwrap());
        class.metadata.generation = Some(3);
        if is_default {
            class.metadata.annotations = Some(BTreeMap::from([(
                DEFAULT_CLASS_ANNOTATION.to_owned(),
                "true".to_owned(),
            )]));
        }
        class
    }

    fn judged(class: &WorkspaceClass, defaults: &[&str], now: Timestamp) -> WorkspaceClassStatus {
        let defaults: Vec<String> = defaults.iter().map(|name| (*name).to_owned()).collect();
        judge(class, &class::validate(class), &defaults, now)
    }

    fn ready(status: &WorkspaceClassStatus) -> (&str, &str) {
        let condition = &status.conditions[0];
        (&condition.status, &condition.reason)
    }

    #[test]
    fn a_class_whose_fields_hold_is_ready() {
        let status = judged(&mk_class(json!({}), false), &[], Timestamp::UNIX_EPOCH);
        assert_eq!(ready(&status), ("True", "Valid"));
        assert_eq!(status.observed_generation, Some(3));
        assert!(status.invalid_fields.is_empty());
    }

    #[test]
    fn each_of_two_defaults_says_so() {
        let class = mk_class(json!({}), true);
        let status = judged(&class, &["other", "standard"], Timestamp::UNIX_EPOCH);
        assert_eq!(ready(&status), ("False", "SeveralDefaults"));
        assert!(status.invalid_fields[0].message.contains("other, standard"));
        let alone = judged(&class, &["standard"], Timestamp::UNIX_EPOCH);
        assert_eq!(ready(&alone), ("True", "Valid"));
    }

    #[test]
    fn the_time_of_the_condition_moves_only_with_its_status() {
        let mut class = mk_class(json!({}), false);
        let first = Timestamp::from_second(100).unwrap();
        class.status = Some(judged(&class, &[], first));
        class.metadata.generation = Some(4);
        let later = judged(&class, &[], Timestamp::from_second(200).unwrap());
        assert_eq!(later.conditions[0].last_transition_time.0, first);
        assert_eq!(later.observed_generation, Some(4));
    }
}
