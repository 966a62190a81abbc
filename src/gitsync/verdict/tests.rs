use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn workspace(spec: Value) -> Value {
    json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "alice-api", "namespace": "team-a"},
        "spec": spec,
    })
}

fn good() -> Value {
    json!({"owner": "alice@example.com", "image": "registry.example.com/dev/rust:1.95"})
}

fn with(field: &str, value: Value) -> Value {
    let mut spec = good();
    spec[field] = value;
    workspace(spec)
}

fn texts(kind: SyncedKind, object: &Value) -> Vec<String> {
    Verdict::default()
        .findings(kind, object, None)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_construct_of_our_definitions_is_checked() {
    let mut unsupported = Vec::new();
    for crd in crate::api::crds::all() {
        assert!(compile(&crd, &mut unsupported).is_some());
    }
    assert_eq!(unsupported, Vec::<String>::new());
    assert_eq!(DEFINITIONS.len(), SyncedKind::IN_ORDER.len());
}

#[test]
fn a_good_workspace_passes() {
    let object = workspace(json!({
        "owner": "alice@example.com",
        "image": "debian:13",
        "desiredState": "Running",
        "resources": {"requests": {"cpu": 1, "memory": "2Gi"}},
        "storage": {"size": "20Gi"},
        "endpoints": [{"name": "web", "port": 3000}, {"name": "api", "port": 3001}],
        "env": [{"name": "RUST_LOG", "value": "debug"}],
        "className": null,
    }));
    assert_eq!(texts(SyncedKind::Workspace, &object), Vec::<String>::new());
}

#[rstest]
#[case("endpoints", json!([{"name": "web", "prt": 1}]), "spec.endpoints[0].prt: unknown field: did you mean 'port'?")]
#[case("endpoints", json!([{"name": "web", "port": 1}, {"name": "web", "port": 2}]), "spec.endpoints[1]: name \"web\" is there already")]
#[case("endpoints", json!([{"name": "web", "port": 1}, {"name": "x", "port": 1}]), "spec.endpoints names a port twice")]
#[case("endpoints", json!([{"name": "web", "port": 70000}]), "spec.endpoints[0].port: 70000 is too large: 65535 is the most")]
#[case("endpoints", json!([{"name": "web", "port": "80"}]), "spec.endpoints[0].port: must be a whole number, is \"80\": write it without quotes")]
#[case("endpoints", json!({"name": "web"}), "spec.endpoints: must be a list, is a mapping")]
#[case("endpoints", json!([{"port": 1}]), "spec.endpoints[0].name: is missing")]
#[case("endpoints", json!([{"name": "web", "port": 60001}]), "ports 60001, 60003, 60004 and 60022 are Workstead's own")]
#[case("desiredState", json!("running"), "spec.desiredState: \"running\" is not one of Running, Stopped, Terminated")]
#[case("image", json!(""), "spec.image: is empty")]
#[case("image", json!(3), "spec.image: must be text, is 3: put it into quotes")]
#[case("image", json!(null), "spec.image: is missing")]
#[case("owner", json!("al ice"), "spec.owner has no spaces")]
#[case("storage", json!({"size": "20 GB"}), "spec.storage.size: \"20 GB\" is no amount: write for example 500m, 512Mi or 4Gi")]
#[case("storage", json!({"size": 1.5}), "spec.storage.size: must be a whole number or text, is 1.5")]
#[case("storage", json!({"size": "0"}), "spec.storage.size is more than 0")]
#[case("args", json!(["x"]), "spec.args needs spec.command")]
#[case("secrets", json!([]), "spec.secrets: unknown field")]
#[case("env", json!([{"name": "WORKSTEAD_X"}]), "names that begin with WORKSTEAD_ are reserved")]
#[case("timeouts", json!({"startup": "soon"}), "spec.timeouts.startup: \"soon\" is no length of time: write for example 30s, 5m or 1h30m")]
#[case("resources", json!({"requests": {"cpu": -1}}), "spec.resources.requests.cpu: -1 is too small: 0 is the least")]
#[case("resources", json!({"requests": {"cpu": "3"}, "limits": {"cpu": 2}}), "spec.resources: a request is over its limit")]
#[case("image", json!("Debian"), "spec.image is no image reference")]
#[case("image", json!("Not//A:valid:name"), "spec.image is no image reference")]
#[case("className", json!("A b"), "spec.className is the name of a WorkspaceClass")]
fn a_bad_field_is_named(#[case] field: &str, #[case] value: Value, #[case] expected: &str) {
    let found = texts(SyncedKind::Workspace, &with(field, value));
    assert!(
        found.iter().any(|text| text.contains(expected)),
        "{expected} not in {found:#?}"
    );
}

#[rstest]
#[case(json!({"name": "Alice"}), "metadata.name: 'Alice' is no name")]
#[case(json!({"name": 3}), "metadata.name: must be text: put it into quotes")]
#[case(json!({}), "metadata.name: is missing")]
#[case(json!({"name": "a.b"}), "metadata.name: the name of a Workspace contains no '.'")]
#[case(json!({"name": "a--b"}), "metadata.name: the name of a Workspace contains no '--'")]
#[case(json!({"name": "x", "namespace": "a.b"}), "metadata.namespace: 'a.b' is no name")]
#[case(json!({"name": "x", "lables": {}}), "metadata.lables: unknown field")]
#[case(json!({"name": "x", "uid": "1"}), "metadata.uid: has no place in a file")]
#[case(json!({"name": "x", "labels": {"a b": "c"}}), "metadata.labels.a b: 'a b' is no key")]
#[case(json!({"name": "x", "labels": {"example.com/a": "c d"}}), "metadata.labels[example.com/a]: the value of a label")]
#[case(json!({"name": "x", "labels": {"gitsync.workstead.dev/name": "c"}}), "is set by the controller only")]
#[case(json!({"name": "x", "annotations": {"workstead.dev/origin": "c"}}), "is set by the controller only")]
#[case(json!({"name": "x", "annotations": {"a": true}}), "metadata.annotations.a: must be text")]
fn bad_metadata_is_named(#[case] metadata: Value, #[case] expected: &str) {
    let mut object = workspace(good());
    object["metadata"] = metadata;
    let found = texts(SyncedKind::Workspace, &object);
    assert!(
        found.iter().any(|text| text.contains(expected)),
        "{expected} not in {found:#?}"
    );
}

#[test]
fn all_errors_are_reported_not_the_first() {
    let object = workspace(json!({"owner": 1, "imag": "x", "desiredState": "On"}));
    let found = texts(SyncedKind::Workspace, &object);
    assert_eq!(found.len(), 4, "{found:#?}");
}

/// A rule over a value that is wrong in itself says the same a second time, or that it could not be evaluated.
#[rstest]
#[case("owner", json!(""))]
#[case("image", json!(""))]
#[case("storage", json!({"size": "10GB"}))]
#[case("storage", json!({"size": -1}))]
#[case("resources", json!({"requests": {"memory": "4 GB"}, "limits": {"memory": "4Gi"}}))]
fn what_is_wrong_in_itself_is_said_once(#[case] field: &str, #[case] value: Value) {
    let found = texts(SyncedKind::Workspace, &with(field, value));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(!found[0].contains("evaluation"), "{found:#?}");
}

#[test]
fn no_message_shows_a_regular_expression() {
    let gitsync = |share: Value| {
        json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync", "metadata": {"name": "s"},
            "spec": {"url": "https://x/y", "interval": "1d", "prune": {"maxDeletes": share}},
        })
    };
    let found = texts(SyncedKind::GitSync, &gitsync(json!("200%")));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found.iter().all(|text| text.contains("for example")),
        "{found:#?}"
    );
}

/// The server has no say in these, so only people who check their files hear of them before the workspace does.
#[rstest]
#[case("resources", json!({"requests": {"gpu": 1}}), "spec.resources.requests.gpu: there is no resource 'gpu'")]
#[case("resources", json!({"limits": {"example.com/gpu": "1500m"}}), "is not a whole number")]
#[case("timeouts", json!({"stopping": "1s"}), "spec.timeouts.stopping: 1s is too short")]
#[case("command", json!([""]), "spec.command: the program has no name")]
fn what_the_server_takes_and_nothing_can_run_is_found(
    #[case] field: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let object = with(field, value);
    assert_eq!(texts(SyncedKind::Workspace, &object), Vec::<String>::new());
    let found = Verdict::unrunnable(SyncedKind::Workspace, &object);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(expected), "{found:#?}");
}

#[test]
fn what_only_its_class_could_refuse_is_left_to_the_class() {
    let object = with("timeouts", json!({"startup": "9h"}));
    assert_eq!(Verdict::unrunnable(SyncedKind::Workspace, &object), vec![]);
}

#[test]
fn a_class_that_no_workspace_can_use_is_found() {
    let class = json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceClass", "metadata": {"name": "c"},
        "spec": {"storage": {"max": "0"}, "network": {"egress": [{"allow": "169.254.169.254/32"}]}},
    });
    assert_eq!(
        texts(SyncedKind::WorkspaceClass, &class),
        Vec::<String>::new()
    );
    let found = Verdict::unrunnable(SyncedKind::WorkspaceClass, &class);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found
            .iter()
            .any(|text| text.starts_with("spec.storage.max: ")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|text| text.starts_with("spec.network.egress[0]: ")),
        "{found:#?}"
    );
}

#[test]
fn a_changed_owner_is_found_beside_the_old_object() {
    let old = workspace(good());
    let new = with("owner", json!("bob@example.com"));
    let verdict = Verdict::default();
    assert_eq!(verdict.findings(SyncedKind::Workspace, &new, None), vec![]);
    let found = verdict.findings(SyncedKind::Workspace, &new, Some(&old));
    assert!(found[0].message.contains("spec.owner can't be changed"));
}

#[test]
fn a_status_in_the_file_is_ignored_but_for_unknown_fields() {
    let mut object = workspace(good());
    object["status"] = json!({"actualState": "Nonsense"});
    assert_eq!(texts(SyncedKind::Workspace, &object), Vec::<String>::new());
    object["status"] = json!({"actualstate": "Running"});
    assert_eq!(
        texts(SyncedKind::Workspace, &object),
        ["status.actualstate: unknown field: did you mean 'actualState'?"]
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[0-9]{1,3}(m|s|Gi)?".prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-z]{1,5}",
        prop::sample::select(vec![
            "spec",
            "metadata",
            "status",
            "name",
            "namespace",
            "labels",
            "owner",
            "image",
            "storage",
            "size",
            "endpoints",
            "port",
            "env",
            "resources",
            "requests",
            "cpu",
            "network",
            "egress",
            "allow",
            "pod",
            "tolerations",
            "quota",
            "url",
            "ref",
            "prune",
            "maxDeletes",
            "path",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(crate::model::fixtures::at_least(500))]

    #[test]
    fn any_value_gets_a_verdict_without_panic(object in any_value(), spec in any_value()) {
        let verdict = Verdict::default();
        for kind in SyncedKind::IN_ORDER {
            let _ = verdict.findings(kind, &object, None);
            let mut framed = workspace(spec.clone());
            framed["kind"] = json!(kind.name());
            let _ = verdict.findings(kind, &framed, Some(&object));
        }
    }
}

#[test]
fn of_an_object_with_thousands_of_faults_the_first_hundred_are_told() {
    let mut labels = serde_json::Map::new();
    let mut spec = good();
    for number in 0..5_000 {
        labels.insert(format!("-{number}"), json!(number));
        spec[format!("field{number}")] = json!(number);
    }
    let many = |object: &Value| {
        let texts = texts(SyncedKind::Workspace, object);
        assert_eq!(texts.len(), MOST + 1);
        assert!(texts[MOST].starts_with("more than 100 things"), "{texts:?}");
    };
    many(&workspace(spec));
    let mut labelled = workspace(good());
    labelled["metadata"]["labels"] = labels.into();
    many(&labelled);
    many(&with("command", vec![json!(1); 5_000].into()));
}

#[test]
fn a_sealed_text_is_looked_at_as_far_as_it_can_be_without_an_identity() {
    let set = |sealed: &str| {
        let set = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables", "metadata": {"name": "api"},
            "spec": {"format": "Age", "sealed": sealed},
        });
        assert_eq!(
            texts(SyncedKind::WorkspaceVariables, &set),
            Vec::<String>::new()
        );
        Verdict::unrunnable(SyncedKind::WorkspaceVariables, &set)
    };
    let whole = include_str!("../../secrets/vectors/age.txt");
    assert_eq!(set(whole), vec![]);
    let cut = whole.lines().next().unwrap();
    let found: Vec<String> = set(cut).iter().map(ToString::to_string).collect();
    assert!(
        matches!(&found[..], [one] if one.starts_with("spec.sealed: WV103: ")),
        "{found:?}"
    );
}
