//! Whether the admission policies of the chart are in force, as the controller believes them.
//!
//! The judgement is strict: whatever narrows a policy beside what the chart installs counts as not in force. Updates need
//! not be covered by the first one, since the definition of Workspaces keeps the owner as it was.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;

use crate::api::{GROUP, VERSION};
use crate::model::names::{OWNER_POLICY, OWNERSHIP_POLICY};

/// What a policy of the chart has to be.
#[derive(Debug)]
pub struct Expected {
    /// Its name, and that of its binding.
    pub name: &'static str,
    /// The requests that it looks at.
    operations: &'static [&'static str],
    /// The kinds of ours that it looks at.
    resources: &'static [&'static str],
    /// What stands in its rules. Whoever may edit policies could write around it; a chart of another release does not.
    says: &'static [&'static str],
    /// Conditions that leave requests out, by name.
    conditions: &'static [&'static str],
}

/// The policies that owners rest on.
pub const EXPECTED: [Expected; 2] = [
    Expected {
        name: OWNER_POLICY,
        operations: &["CREATE"],
        resources: &["workspaces"],
        says: &["request.userInfo.username == ", "object.spec.owner"],
        conditions: &[],
    },
    Expected {
        name: OWNERSHIP_POLICY,
        operations: &["CREATE", "UPDATE"],
        resources: &["workspaces", "workspacevariables"],
        says: &[
            "!key.startsWith('gitsync.workstead.dev/')",
            "object.metadata.annotations['workstead.dev/origin'] == variables.oldOrigin",
            // The origin stays where it is.
            "variables.oldOrigin == ''",
        ],
        conditions: &["not-the-controller"],
    },
];

/// The policies hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// When the last of them and of their bindings was made.
    pub since: Timestamp,
}

/// Why a policy is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    /// An object is not there, or about to go.
    #[error(
        "there is no {0}: install the chart with admission.enabled=true; Workspaces that are older than it have to be made anew"
    )]
    Missing(String),
    /// Something about it is not as the chart has it.
    #[error("{what} {problem}: put it back as the chart has it")]
    Changed {
        /// Kind and name.
        what: String,
        /// How it differs.
        problem: String,
    },
}

/// Judges a policy and its binding.
///
/// # Errors
/// When it is not in force: the first reason.
pub fn judge(
    expected: &Expected,
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> Result<InForce, NotInForce> {
    let name = expected.name;
    let (policy_name, binding_name) = (
        format!("ValidatingAdmissionPolicy {name}"),
        format!("ValidatingAdmissionPolicyBinding {name}"),
    );
    let gone = |name: &str| NotInForce::Missing(name.to_owned());
    let changed = |what: &str, problem: String| NotInForce::Changed {
        what: what.to_owned(),
        problem,
    };
    let policy = policy.filter(|policy| is_there(&policy.metadata));
    let policy = policy.ok_or_else(|| gone(&policy_name))?;
    let binding = binding.filter(|binding| is_there(&binding.metadata));
    let binding = binding.ok_or_else(|| gone(&binding_name))?;
    if let Some(problem) = problem_of_policy(expected, policy) {
        return Err(changed(&policy_name, problem));
    }
    if let Some(problem) = problem_of_binding(expected, binding) {
        return Err(changed(&binding_name, problem));
    }
    let made = |object: &ObjectMeta| object.creation_timestamp.as_ref().map(|time| time.0);
    match (made(&policy.metadata), made(&binding.metadata)) {
        (Some(policy), Some(binding)) => Ok(InForce {
            since: policy.max(binding),
        }),
        _ => Err(changed(
            &policy_name,
            "does not say when it was made".to_owned(),
        )),
    }
}

fn is_there(object: &ObjectMeta) -> bool {
    object.deletion_timestamp.is_none()
}

fn problem_of_policy(expected: &Expected, policy: &ValidatingAdmissionPolicy) -> Option<String> {
    let Some(spec) = &policy.spec else {
        return Some("has no spec".to_owned());
    };
    if spec.failure_policy.as_deref().unwrap_or("Fail") != "Fail" {
        return Some("has another failurePolicy than Fail".to_owned());
    }
    if spec.param_kind.is_some() {
        return Some("takes parameters".to_owned());
    }
    let conditions = spec.match_conditions.iter().flatten();
    for condition in conditions {
        if !expected.conditions.contains(&&*condition.name) {
            return Some(format!(
                "leaves requests out by the condition '{}'",
                condition.name
            ));
        }
    }
    let says = |text: &str| {
        let mut rules = spec.validations.iter().flatten();
        rules.any(|rule| squeezed(&rule.expression).contains(text))
    };
    if let Some(text) = expected.says.iter().find(|text| !says(text)) {
        return Some(format!("has no rule with \"{text}\""));
    }
    let Some(constraints) = &spec.match_constraints else {
        return Some("has no matchConstraints".to_owned());
    };
    if let Some(problem) = narrowed(constraints) {
        return Some(problem);
    }
    let rules = constraints.resource_rules.as_deref().unwrap_or_default();
    for resource in expected.resources {
        for operation in expected.operations {
            if !rules.iter().any(|rule| covers(rule, resource, operation)) {
                return Some(format!("does not look at {operation} of {resource}"));
            }
        }
    }
    None
}

fn problem_of_binding(
    expected: &Expected,
    binding: &ValidatingAdmissionPolicyBinding,
) -> Option<String> {
    let Some(spec) = &binding.spec else {
        return Some("has no spec".to_owned());
    };
    if spec.policy_name.as_deref() != Some(expected.name) {
        return Some("is of another policy".to_owned());
    }
    let actions = spec.validation_actions.as_deref().unwrap_or_default();
    if !actions.iter().any(|action| action == "Deny") {
        return Some(format!(
            "does not deny: its validationActions are [{}]",
            actions.join(", ")
        ));
    }
    if spec.param_ref.is_some() {
        return Some("takes parameters".to_owned());
    }
    let resources = spec.match_resources.as_ref()?;
    let rules = resources.resource_rules.as_deref().unwrap_or_default();
    if !rules.is_empty() {
        return Some("has resourceRules of its own".to_owned());
    }
    narrowed(resources)
}

/// What leaves objects out.
fn narrowed(resources: &MatchResources) -> Option<String> {
    let excluded = resources.exclude_resource_rules.as_deref();
    if excluded.is_some_and(|rules| !rules.is_empty()) {
        return Some("leaves objects out by excludeResourceRules".to_owned());
    }
    if resources.namespace_selector.as_ref().is_some_and(selects) {
        return Some("leaves namespaces out by a namespaceSelector".to_owned());
    }
    if resources.object_selector.as_ref().is_some_and(selects) {
        return Some("leaves objects out by an objectSelector".to_owned());
    }
    None
}

fn selects(selector: &LabelSelector) -> bool {
    let labels = selector.match_labels.as_ref();
    let expressions = selector.match_expressions.as_ref();
    labels.is_some_and(|all| !all.is_empty()) || expressions.is_some_and(|all| !all.is_empty())
}

fn covers(rule: &NamedRuleWithOperations, resource: &str, operation: &str) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        let mut list = list.iter().flatten();
        list.any(|entry| entry == wanted || entry == "*")
    };
    let scope = rule.scope.as_deref().unwrap_or("*");
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(&rule.api_groups, GROUP)
        && has(&rule.api_versions, VERSION)
        && has(&rule.operations, operation)
        && has(&rule.resources, resource)
        && names.is_empty()
        && matches!(scope, "*" | "Namespaced")
}

/// Any space is one space: a template may fold lines elsewhere.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
