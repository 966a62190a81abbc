//! The policies that owners rest on: the controller believes what the chart installs, and nothing less.

use serde_json::{Value, json};
use workstead::model::names::{OWNER_POLICY, OWNERSHIP_POLICY};
use workstead::model::owners::policies::{EXPECTED, judge};

use super::rendered::{named, of_kind, template, texts};

/// As the API server would hand it out.
fn stored<K: serde::de::DeserializeOwned>(object: &Value) -> K {
    let mut object = object.clone();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    crate::object(object)
}

#[test]
fn the_policies_of_the_chart_are_those_that_the_controller_believes() {
    for settings in [
        &[][..],
        &[
            "admission.usernamePrefix=oidc:",
            "admission.trustedUsers={restorer,other}",
        ],
    ] {
        let objects = template(settings).unwrap();
        for expected in &EXPECTED {
            let policy = named(&objects, "ValidatingAdmissionPolicy", expected.name);
            let binding = named(&objects, "ValidatingAdmissionPolicyBinding", expected.name);
            let (policy, binding) = (stored(policy), stored(binding));
            judge(expected, Some(&policy), Some(&binding)).unwrap();
        }
    }
}

#[test]
fn the_controller_may_read_just_these_policies() {
    let objects = template(&[]).unwrap();
    let role = named(&objects, "ClusterRole", "workstead-controller");
    let rules = role["rules"].as_array().unwrap().iter();
    let about: Vec<&Value> = rules
        .filter(|rule| texts(&rule["apiGroups"]).contains(&"admissionregistration.k8s.io"))
        .collect();
    let [rule] = about[..] else {
        panic!("{about:?}");
    };
    assert_eq!(
        texts(&rule["resourceNames"]),
        [OWNER_POLICY, OWNERSHIP_POLICY]
    );
    assert_eq!(
        EXPECTED.map(|expected| expected.name),
        [OWNER_POLICY, OWNERSHIP_POLICY]
    );
    assert_eq!(rule["verbs"], json!(["get"]));
    // The proxy has no part in it.
    let others = of_kind(&objects, "ClusterRole").filter(|role| {
        role["metadata"]["name"] != "workstead-controller"
            && role.to_string().contains("validatingadmissionpolicies")
    });
    assert_eq!(others.count(), 0);
}
