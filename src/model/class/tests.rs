use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::model::fixtures::{class_with, valid_class};

fn fields(list: &[InvalidField]) -> Vec<&str> {
    list.iter().map(|field| field.field.as_str()).collect()
}

fn named(name: &str, default: bool, spec: Value) -> WorkspaceClass {
    let mut class = class_with(spec);
    class.metadata.name = Some(name.to_owned());
    if default {
        class.metadata.annotations =
            Some([(DEFAULT_CLASS_ANNOTATION.to_owned(), "true".to_owned())].into());
    }
    class
}

#[test]
fn an_empty_class_has_the_defaults_of_the_sheet() {
    let class = valid_class(json!({}));
    assert_eq!(class.pod.run_as_user, 10001);
    assert_eq!(class.deadlines.startup.to_string(), "5m");
    assert_eq!(class.deadlines.stopping.to_string(), "2m");
    assert_eq!(class.deadlines.image_pull.to_string(), "1m");
    assert_eq!(class.deadlines.container_config.to_string(), "1m");
    assert_eq!(class.deadlines.admission.to_string(), "30s");
    assert_eq!(
        (
            class.max_startup.to_string(),
            class.max_stopping.to_string()
        ),
        ("1h".into(), "1h".into())
    );
    assert_eq!(class.storage.default.to_string(), "10Gi");
    assert_eq!(class.storage.retention, Retention::Retain);
    assert_eq!(class.quota, Quota::default());
    let [rule] = class.egress.as_slice() else {
        panic!("{:?}", class.egress)
    };
    assert_eq!(rule.allow.to_string(), "0.0.0.0/0");
    let except: Vec<String> = rule.except.iter().map(ToString::to_string).collect();
    assert_eq!(
        except,
        [
            "10.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16"
        ]
    );
}

#[rstest]
#[case::silent(json!({}), ["30m", "36h", "744h", "8760h"], ["36h", "36h", "744h", "8760h"])]
#[case::longer_than_usual(json!({"idle": "48h", "maxStopped": "1000h"}), ["48h", "36h", "1000h", "8760h"], ["48h", "36h", "1000h", "8760h"])]
#[case::a_cap_below_the_usual(json!({"longest": {"idle": "10m", "maxActive": "8h"}}), ["10m", "8h", "744h", "8760h"], ["10m", "8h", "744h", "8760h"])]
#[case::more_may_be_asked_for(json!({"idle": "1h", "longest": {"idle": "8h", "maxLifetime": "87600h"}}), ["1h", "36h", "744h", "8760h"], ["8h", "36h", "744h", "87600h"])]
fn timers_have_their_defaults_and_their_longest(
    #[case] timeouts: Value,
    #[case] default: [&str; 4],
    #[case] longest: [&str; 4],
) {
    let class = valid_class(json!({"timeouts": timeouts}));
    let text = |of: &Lifetimes| {
        [of.idle, of.max_active, of.max_stopped, of.max_lifetime].map(|span| span.to_string())
    };
    assert_eq!(text(&class.deadlines.lifetimes), default);
    assert_eq!(text(&class.longest), longest);
}

#[test]
fn an_empty_list_of_egress_opens_nothing() {
    assert_eq!(
        valid_class(json!({"network": {"egress": []}})).egress,
        vec![]
    );
}

#[test]
fn what_is_never_reached_is_cut_out_of_every_rule() {
    let class = valid_class(json!({"network": {"egress": [
        {"allow": "::/0"}, {"allow": "169.0.0.0/8", "ports": [443, 80]}, {"allow": "10.1.2.3/8"},
    ]}}));
    let text: Vec<String> = class
        .egress
        .iter()
        .map(|rule| {
            format!(
                "{} - {:?} {:?}",
                rule.allow,
                rule.except
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
                rule.ports
            )
        })
        .collect();
    assert_eq!(
        text,
        [
            "10.0.0.0/8 - [] {}",
            "169.0.0.0/8 - [\"169.254.0.0/16\"] {80, 443}",
            "::/0 - [\"fc00::/7\", \"fe80::/10\"] {}",
        ]
    );
}

/// Wrong fields that are left out: the class stays usable.
#[rstest]
#[case(json!({"network": {"egress": [{"allow": "169.254.169.254/32"}]}}), "spec.network.egress[0]")]
#[case(json!({"network": {"egress": [{"allow": "fd00::/8"}]}}), "spec.network.egress[0]")]
#[case(json!({"network": {"egress": [{"allow": "10.0.0.0/8", "except": ["11.0.0.0/8"]}]}}), "spec.network.egress[0]")]
#[case(json!({"network": {"egress": [{"allow": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]}}), "spec.network.egress[0]")]
#[case(json!({"network": {"egress": [{"allow": "all"}]}}), "spec.network.egress[0]")]
#[case(json!({"imagePullSecrets": [{"name": "A"}]}), "spec.imagePullSecrets[0].name")]
#[case(json!({"childMetadata": {"labels": {"workstead.dev/x": "y"}}}), "spec.childMetadata.labels.workstead.dev/x")]
#[case(json!({"childMetadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}), "spec.childMetadata.labels.app.kubernetes.io/managed-by")]
#[case(json!({"childMetadata": {"labels": {"x": "not a value"}}}), "spec.childMetadata.labels.x")]
#[case(json!({"childMetadata": {"annotations": {"a b": ""}}}), "spec.childMetadata.annotations.a b")]
#[case(json!({"resources": {"default": {"requests": {"cpus": "1"}}}}), "spec.resources.default.requests.cpus")]
#[case(json!({"resources": {"default": {"limits": {"memory": "1gb"}}}}), "spec.resources.default.limits.memory")]
#[case(json!({"resources": {"default": {"limits": {"memory": "8Gi"}}, "max": {"memory": "4Gi"}}}), "spec.resources.default.limits.memory")]
#[case(json!({"resources": {"default": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}}), "spec.resources.default.requests.cpu")]
#[case(json!({"storage": {"default": "20Gi", "max": "10Gi"}}), "spec.storage.default")]
#[case(json!({"storage": {"default": "0"}}), "spec.storage.default")]
#[case(json!({"timeouts": {"startup": "2h"}}), "spec.timeouts.startup")]
#[case(json!({"timeouts": {"idle": "119s"}}), "spec.timeouts.idle")]
#[case(json!({"timeouts": {"maxStopped": "59m"}}), "spec.timeouts.maxStopped")]
#[case(json!({"timeouts": {"maxActive": "3h", "longest": {"maxActive": "2h"}}}), "spec.timeouts.maxActive")]
#[case(json!({"timeouts": {"stopping": "1s"}}), "spec.timeouts.stopping")]
#[case(json!({"timeouts": {"imagePull": "soon"}}), "spec.timeouts.imagePull")]
#[case(json!({"pod": {"allowPrivilegeEscalation": true}}), "spec.pod.allowPrivilegeEscalation")]
#[case(json!({"pod": {"tolerations": [{"operator": "Equal"}]}}), "spec.pod.tolerations[0]")]
#[case(json!({"pod": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}), "spec.pod.tolerations[0]")]
fn a_field_that_can_be_left_out_leaves_the_class_usable(#[case] spec: Value, #[case] field: &str) {
    let verdict = validate(&class_with(spec));
    assert_eq!(fields(&verdict.invalid), [field]);
    assert!(verdict.is_usable());
}

/// Wrong fields without which a limit would be lifted, or the API server would refuse the pod.
#[rstest]
#[case(json!({"pod": {"runAsUser": 65536, "userNamespaces": true}}), "spec.pod.runAsUser")]
#[case(json!({"pod": {"runAsUser": 0}}), "spec.pod.runAsUser")]
#[case(json!({"pod": {"runtimeClassName": "not a name"}}), "spec.pod.runtimeClassName")]
#[case(json!({"pod": {"nodeSelector": {"a": "b c"}}}), "spec.pod.nodeSelector.a")]
#[case(json!({"resources": {"max": {"memory": "lots"}}}), "spec.resources.max.memory")]
#[case(json!({"storage": {"max": "lots"}}), "spec.storage.max")]
#[case(json!({"storage": {"className": "Not_A_Name"}}), "spec.storage.className")]
#[case(json!({"timeouts": {"maxStartup": "long"}}), "spec.timeouts.maxStartup")]
#[case(json!({"timeouts": {"longest": {"idle": "0s"}}}), "spec.timeouts.longest.idle")]
fn a_field_that_cannot_be_left_out_makes_workspaces_wait(#[case] spec: Value, #[case] field: &str) {
    let class = class_with(spec);
    let verdict = validate(&class);
    assert_eq!(fields(&verdict.blocking), [field]);
    let failure = choose(Some("standard"), "team-a", [&class]).unwrap_err();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ClassInvalid, Blame::Platform)
    );
    assert!(failure.evidence.contains(field), "{}", failure.evidence);
}

#[test]
fn each_wrong_field_is_named_and_the_others_hold() {
    let verdict = validate(&class_with(json!({
        "storage": {"default": "20Gi"}, "timeouts": {"startup": "x", "admission": "5s"},
        "childMetadata": {"labels": {"k8s.io/a": "b", "team": "a"}},
    })));
    assert_eq!(
        fields(&verdict.invalid),
        [
            "spec.timeouts.startup",
            "spec.childMetadata.labels.k8s.io/a"
        ]
    );
    let class = verdict.class.unwrap();
    assert_eq!(class.storage.default.to_string(), "20Gi");
    assert_eq!(class.deadlines.startup.to_string(), "5m");
    assert_eq!(class.deadlines.admission.to_string(), "5s");
    assert_eq!(class.child_labels.keys().collect::<Vec<_>>(), ["team"]);
}

#[test]
fn a_large_user_is_fine_without_user_namespaces() {
    assert_eq!(
        valid_class(json!({"pod": {"runAsUser": 65536}}))
            .pod
            .run_as_user,
        65536
    );
    assert_eq!(
        valid_class(json!({"pod": {"runAsUser": 65535, "userNamespaces": true}}))
            .pod
            .run_as_user,
        65535
    );
}

#[test]
fn a_short_cap_also_caps_the_default_timers() {
    let class = valid_class(json!({"timeouts": {"maxStartup": "1m"}}));
    assert_eq!(class.deadlines.startup.to_string(), "1m");
}

#[test]
fn the_named_class_is_chosen_else_the_one_default() {
    let classes = [named("a", false, json!({})), named("b", true, json!({}))];
    assert_eq!(choose(Some("a"), "n", &classes).unwrap().name.as_str(), "a");
    assert_eq!(choose(None, "n", &classes).unwrap().name.as_str(), "b");
}

#[test]
fn a_class_that_is_not_there_is_named_with_those_that_are() {
    let classes = [named("b", true, json!({})), named("a", false, json!({}))];
    let failure = choose(Some("c"), "n", &classes).unwrap_err();
    assert_eq!(failure.cause, Cause::ClassInvalid);
    assert!(
        failure.message.contains("'c'") && failure.evidence.contains("a, b"),
        "{failure:?}"
    );
}

#[test]
fn without_a_default_or_with_two_the_failure_names_them() {
    let none = [named("a", false, json!({}))];
    assert!(
        choose(None, "n", &none)
            .unwrap_err()
            .message
            .contains("no WorkspaceClass is the default")
    );
    let two = [named("b", true, json!({})), named("a", true, json!({}))];
    assert!(
        choose(None, "n", &two)
            .unwrap_err()
            .message
            .contains("a, b")
    );
}

#[rstest]
#[case(json!({"allowedNamespaces": ["team-a"]}), "team-a", true)]
#[case(json!({"allowedNamespaces": ["team-a"]}), "team-b", false)]
#[case(json!({"allowedNamespaces": []}), "team-a", false)]
#[case(json!({}), "team-a", true)]
fn only_allowed_namespaces_use_a_class(
    #[case] spec: Value,
    #[case] namespace: &str,
    #[case] allowed: bool,
) {
    assert_eq!(
        choose(Some("a"), namespace, [&named("a", false, spec)]).is_ok(),
        allowed
    );
}

#[rstest]
#[case("workstead.dev/a", true)]
#[case("x.workstead.dev/a", true)]
#[case("kubernetes.io/a", true)]
#[case("k8s.io/a", true)]
#[case("myk8s.io/a", false)]
#[case("example.com/a", false)]
#[case("a", false)]
fn keys_of_ours_and_of_kubernetes_are_reserved(#[case] key: &str, #[case] reserved: bool) {
    assert_eq!(is_reserved(key), reserved);
}

proptest! {
    #[test]
    fn no_egress_rule_reaches_what_is_never_reached(allow in "([0-9]{1,3}\\.0\\.0\\.0/[0-9]{1,2})|(f[c-f][0-9a-f]{2}::/[0-9]{1,3})|(::/0)", metadata in Just("169.254.169.254/32")) {
        let verdict = validate(&class_with(json!({"network": {"egress": [{"allow": allow}]}})));
        for rule in verdict.class.unwrap().egress {
            for forbidden in [metadata, "fd00:ec2::254/128", "fe80::1/128"] {
                let forbidden = Cidr::parse(forbidden).unwrap();
                let open = rule.allow.contains(forbidden) && !rule.except.iter().any(|except| except.contains(forbidden));
                prop_assert!(!open, "{} opens {}", rule.allow, forbidden);
            }
        }
    }
}
