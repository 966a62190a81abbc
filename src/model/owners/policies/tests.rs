use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn policy(name: &str) -> Value {
    let (operations, expressions) = match name {
        OWNER_POLICY => (
            json!(["CREATE"]),
            json!([{"expression": "request.userInfo.username == '' + object.spec.owner || allowed()"}]),
        ),
        _ => (
            json!(["CREATE", "UPDATE"]),
            json!([
                {"expression": "labels.all(key, !key.startsWith('gitsync.workstead.dev/'))"},
                {"expression": "object.metadata.annotations['workstead.dev/origin']\n == variables.oldOrigin"},
                {"expression": "variables.oldOrigin == '' || has(object.metadata.annotations)"},
            ]),
        ),
    };
    json!({
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {},
                "objectSelector": {},
                "resourceRules": [{
                    "apiGroups": ["workstead.dev"], "apiVersions": ["*"], "operations": operations, "scope": "*",
                    "resources": ["workspaces", "workspacevariables"],
                }],
            },
            "validations": expressions,
        },
    })
}

fn binding(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "creationTimestamp": "2026-01-02T00:00:00Z"},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    })
}

fn judged(index: usize, policy: &Value, binding: &Value) -> Result<InForce, String> {
    let policy = serde_json::from_value(policy.clone()).unwrap();
    let binding = serde_json::from_value(binding.clone()).unwrap();
    judge(&EXPECTED[index], Some(&policy), Some(&binding)).map_err(|error| error.to_string())
}

/// Sets one value, or takes it away by null.
fn set(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    if value.is_null() {
        parent.as_object_mut().unwrap().remove(key);
    } else if let Some(list) = parent.as_array_mut() {
        list[key.parse::<usize>().unwrap()] = value;
    } else {
        parent[key] = value;
    }
    object
}

#[test]
fn what_the_chart_installs_is_in_force_since_the_later_of_policy_and_binding() {
    for (index, name) in [OWNER_POLICY, OWNERSHIP_POLICY].into_iter().enumerate() {
        let in_force = judged(index, &policy(name), &binding(name)).unwrap();
        assert_eq!(in_force.since, "2026-01-02T00:00:00Z".parse().unwrap());
    }
}

#[test]
fn an_object_that_is_not_there_or_about_to_go_is_named() {
    let [expected, _] = &EXPECTED;
    let there: ValidatingAdmissionPolicy = serde_json::from_value(policy(OWNER_POLICY)).unwrap();
    let bound = serde_json::from_value(binding(OWNER_POLICY)).unwrap();
    let said = |policy, binding| judge(expected, policy, binding).unwrap_err().to_string();
    assert!(said(None, Some(&bound)).contains("no ValidatingAdmissionPolicy workstead-owner:"));
    let lacks_binding = said(Some(&there), None);
    assert!(lacks_binding.contains("no ValidatingAdmissionPolicyBinding workstead-owner:"));
    assert!(lacks_binding.contains("admission.enabled=true"));
    let mut going = there.clone();
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
    assert!(said(Some(&going), Some(&bound)).contains("no ValidatingAdmissionPolicy "));
}

#[rstest]
#[case::no_policy_to_fail_by_is_to_fail("/spec/failurePolicy", Value::Null, None)]
#[case::failures_let_through("/spec/failurePolicy", json!("Ignore"), Some("failurePolicy"))]
#[case::parameters("/spec/paramKind", json!({"apiVersion": "v1", "kind": "ConfigMap"}), Some("parameters"))]
#[case::a_condition(
    "/spec/matchConditions",
    json!([{"name": "not-mallory", "expression": "request.userInfo.username != 'mallory'"}]),
    Some("condition 'not-mallory'")
)]
#[case::no_rules("/spec/validations", json!([]), Some("no rule"))]
#[case::another_rule("/spec/validations", json!([{"expression": "true"}]), Some("no rule"))]
#[case::no_constraints("/spec/matchConstraints", Value::Null, Some("no matchConstraints"))]
#[case::other_namespaces(
    "/spec/matchConstraints/namespaceSelector",
    json!({"matchLabels": {"a": "b"}}),
    Some("namespaceSelector")
)]
#[case::other_namespaces_by_expression(
    "/spec/matchConstraints/namespaceSelector",
    json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["a"]}]}),
    Some("namespaceSelector")
)]
#[case::other_objects(
    "/spec/matchConstraints/objectSelector",
    json!({"matchLabels": {"a": "b"}}),
    Some("objectSelector")
)]
#[case::left_out(
    "/spec/matchConstraints/excludeResourceRules",
    json!([{"apiGroups": ["workstead.dev"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]),
    Some("excludeResourceRules")
)]
#[case::stars(
    "/spec/matchConstraints/resourceRules/0",
    json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}),
    None
)]
#[case::another_group("/spec/matchConstraints/resourceRules/0/apiGroups", json!(["apps"]), Some("CREATE of workspaces"))]
#[case::another_version("/spec/matchConstraints/resourceRules/0/apiVersions", json!(["v1"]), Some("CREATE of workspaces"))]
#[case::another_kind(
    "/spec/matchConstraints/resourceRules/0/resources",
    json!(["workspaces/status"]),
    Some("CREATE of workspaces")
)]
#[case::other_requests(
    "/spec/matchConstraints/resourceRules/0/operations",
    json!(["UPDATE", "DELETE"]),
    Some("CREATE of workspaces")
)]
#[case::some_names(
    "/spec/matchConstraints/resourceRules/0/resourceNames",
    json!(["api"]),
    Some("CREATE of workspaces")
)]
#[case::no_time("/metadata/creationTimestamp", Value::Null, Some("when it was made"))]
fn whatever_narrows_the_policy_takes_it_out_of_force(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] said: Option<&str>,
) {
    let policy = set(policy(OWNER_POLICY), pointer, value);
    let judged = judged(0, &policy, &binding(OWNER_POLICY));
    match said {
        None => assert!(judged.is_ok(), "{judged:?}"),
        Some(said) => {
            let error = judged.unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(
                error.contains("ValidatingAdmissionPolicy workstead-owner"),
                "{error}"
            );
        }
    }
}

#[rstest]
#[case::of_another_policy("/spec/policyName", json!("other"), Some("another policy"))]
#[case::it_only_writes_down("/spec/validationActions", json!(["Audit"]), Some("[Audit]"))]
#[case::it_only_warns("/spec/validationActions", json!(["Warn", "Audit"]), Some("[Warn, Audit]"))]
#[case::it_denies_too("/spec/validationActions", json!(["Deny", "Audit"]), None)]
#[case::parameters("/spec/paramRef", json!({"name": "a"}), Some("parameters"))]
#[case::nothing_is_left_out("/spec/matchResources", json!({"namespaceSelector": {}, "objectSelector": {}}), None)]
#[case::other_namespaces(
    "/spec/matchResources",
    json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}),
    Some("namespaceSelector")
)]
#[case::other_objects(
    "/spec/matchResources",
    json!({"objectSelector": {"matchLabels": {"a": "b"}}}),
    Some("objectSelector")
)]
#[case::rules_of_its_own(
    "/spec/matchResources",
    json!({"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}),
    Some("resourceRules")
)]
fn whatever_narrows_the_binding_takes_it_out_of_force(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] said: Option<&str>,
) {
    let binding = set(binding(OWNER_POLICY), pointer, value);
    let judged = judged(0, &policy(OWNER_POLICY), &binding);
    match said {
        None => assert!(judged.is_ok(), "{judged:?}"),
        Some(said) => {
            let error = judged.unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(
                error.contains("ValidatingAdmissionPolicyBinding workstead-owner"),
                "{error}"
            );
        }
    }
}

#[test]
fn the_policy_about_origins_has_to_keep_them_and_to_look_at_updates() {
    let right = policy(OWNERSHIP_POLICY);
    let binding = binding(OWNERSHIP_POLICY);
    let condition = json!([{"name": "not-the-controller", "expression": "true"}]);
    let as_in_the_chart = set(right.clone(), "/spec/matchConditions", condition);
    judged(1, &as_in_the_chart, &binding).unwrap();
    let creates = set(
        right.clone(),
        "/spec/matchConstraints/resourceRules/0/operations",
        json!(["CREATE"]),
    );
    let error = judged(1, &creates, &binding).unwrap_err();
    assert!(error.contains("UPDATE of workspaces"), "{error}");
    let lets_go = set(right, "/spec/validations/2/expression", json!("true"));
    let error = judged(1, &lets_go, &binding).unwrap_err();
    assert!(error.contains("variables.oldOrigin == ''"), "{error}");
}
