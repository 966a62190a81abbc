//! Every CEL rule and every limit of the schemas, with something that it accepts and something that it refuses.
//!
//! The same table is put to the API server and to the offline check: the two must agree.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use workstead::api::{GitSync, Workspace, WorkspaceClass};
use workstead::testkit::ControlPlane;

use super::{definitions, objects, schema};
use crate::object;

/// Our kinds, in the order of their definitions.
pub const KINDS: [&str; 3] = ["WorkspaceClass", "Workspace", "GitSync"];

/// The least that a file of a kind may say.
pub fn minimal(kind: &str) -> Value {
    let spec = match kind {
        "Workspace" => json!({"owner": "alice@example.com", "image": "registry.example.com/dev:1"}),
        "WorkspaceClass" => json!({}),
        "GitSync" => json!({"url": "https://git.example.com/team.git"}),
        other => panic!("no kind {other}"),
    };
    json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": kind, "metadata": {"name": "dev"}, "spec": spec,
    })
}

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
    let mut cases = workspace_rules();
    cases.extend(class_rules());
    cases.extend(gitsync_rules());
    cases
}

fn workspace_rules() -> Vec<Case> {
    let workspace =
        |message, at, accepted, refused| case("Workspace", message, at, accepted, refused);
    let name = "/metadata/name";
    vec![
        workspace(
            "the name of a Workspace has at most 57 characters",
            name,
            json!("a".repeat(57)),
            json!("a".repeat(58)),
        ),
        workspace(
            "the name of a Workspace contains no '.'",
            name,
            json!("a-b"),
            json!("a.b"),
        ),
        workspace(
            "the name of a Workspace contains no '--'",
            name,
            json!("a-b-c"),
            json!("a--b"),
        ),
        workspace(
            "the name of a Workspace does not begin with digits and '-'",
            name,
            json!("3000a-b"),
            json!("3000-a"),
        ),
        workspace(
            "spec.args needs spec.command",
            "/spec",
            json!({"owner": "a", "image": "i", "command": ["cargo"], "args": ["run"]}),
            json!({"owner": "a", "image": "i", "args": ["run"]}),
        ),
        Case {
            before: Some(json!("alice@example.com")),
            ..workspace(
                "spec.owner can't be changed",
                "/spec/owner",
                json!("alice@example.com"),
                json!("mallory@example.com"),
            )
        },
        workspace(
            "spec.owner has no spaces or control characters",
            "/spec/owner",
            json!("https://id.example.com#4711"),
            json!("alice smith"),
        ),
        workspace(
            "spec.image has no spaces or control characters",
            "/spec/image",
            json!("registry.example.com:5000/dev/rust@sha256:0123"),
            json!("dev rust"),
        ),
        workspace(
            "spec.endpoints names a port twice",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000}, {"name": "api", "port": 3001}]),
            json!([{"name": "web", "port": 3000}, {"name": "api", "port": 3000}]),
        ),
        workspace(
            "the name of an endpoint is lower-case letters",
            "/spec/endpoints",
            json!([{"name": "web-2", "port": 3000}]),
            json!([{"name": "2-web", "port": 3000}]),
        ),
        workspace(
            "ports 60001, 60003, 60004 and 60022 are Workstead's own",
            "/spec/endpoints",
            json!([{"name": "web", "port": 60002}]),
            json!([{"name": "web", "port": 60003}]),
        ),
        workspace(
            "the name of an environment variable is letters",
            "/spec/env",
            json!([{"name": "_RUST_LOG2", "value": "debug"}]),
            json!([{"name": "2RUST", "value": "debug"}]),
        ),
        workspace(
            "names that begin with WORKSTEAD_ are reserved",
            "/spec/env",
            json!([{"name": "WORKSTEADY", "value": "1"}]),
            json!([{"name": "WORKSTEAD_NAME", "value": "1"}]),
        ),
        Case {
            before: Some(json!("10Gi")),
            ..workspace(
                "spec.storage.size can't shrink",
                "/spec/storage/size",
                json!("10240Mi"),
                json!("9.5Gi"),
            )
        },
        workspace(
            "spec.storage.size is more than 0",
            "/spec/storage/size",
            json!(1),
            json!("0"),
        ),
    ]
}

fn class_rules() -> Vec<Case> {
    let class =
        |message, at, accepted, refused| case("WorkspaceClass", message, at, accepted, refused);
    vec![
        class(
            "pod.allowPrivilegeEscalation needs",
            "/spec/pod",
            json!({"allowPrivilegeEscalation": true, "userNamespaces": true}),
            json!({"allowPrivilegeEscalation": true, "userNamespaces": false}),
        ),
        class(
            "allow is a range of addresses",
            "/spec/network/egress",
            json!([{"allow": "10.0.0.0/8"}, {"allow": "2001:db8::/32"}]),
            json!([{"allow": "10.0.0.1"}]),
        ),
        class(
            "childMetadata.labels can't set keys",
            "/spec/childMetadata/labels",
            json!({"team": "a", "example.com/team": "a", "notkubernetes.io/a": "b"}),
            json!({"app.kubernetes.io/name": "a"}),
        ),
        class(
            "childMetadata.annotations can't set keys",
            "/spec/childMetadata/annotations",
            json!({"example.com/team": "a"}),
            json!({"workstead.dev/origin": "a"}),
        ),
    ]
}

fn gitsync_rules() -> Vec<Case> {
    let sync = |message, at, accepted, refused| case("GitSync", message, at, accepted, refused);
    vec![
        sync(
            "spec.url begins with https:// or http://",
            "/spec/url",
            json!("http://git.example.com:8080/a@b.git"),
            json!("git@git.example.com:team.git"),
        ),
        sync(
            "spec.url carries no credentials",
            "/spec/url",
            json!("https://git.example.com/team"),
            json!("https://alice:secret@git.example.com/team"),
        ),
        sync(
            "spec.interval is 5s or more",
            "/spec/interval",
            json!("1m30s"),
            json!("4s900ms"),
        ),
        sync(
            "spec.timeout is 1s or more",
            "/spec/timeout",
            json!("1s"),
            json!("999ms"),
        ),
        sync(
            "spec.path stays inside the repository",
            "/spec/path",
            json!("teams/a..b"),
            json!("teams/../../etc"),
        ),
        sync(
            "ref.commit is the full 40 hexadecimal digits",
            "/spec/ref/commit",
            json!("0123456789abcdef0123456789abcdef01234567"),
            json!("0123456"),
        ),
    ]
}

/// The limits that the schemas state without CEL.
pub fn limits() -> Vec<Case> {
    let workspace =
        |message, at, accepted, refused| case("Workspace", message, at, accepted, refused);
    let class =
        |message, at, accepted, refused| case("WorkspaceClass", message, at, accepted, refused);
    let sync = |message, at, accepted, refused| case("GitSync", message, at, accepted, refused);
    vec![
        workspace(
            "spec.owner",
            "/spec/owner",
            json!("a".repeat(320)),
            json!("a".repeat(321)),
        ),
        workspace("spec.owner", "/spec/owner", json!("a"), json!(null)),
        workspace(
            "spec.image",
            "/spec/image",
            json!("a".repeat(512)),
            json!(""),
        ),
        workspace(
            "spec.desiredState",
            "/spec/desiredState",
            json!("Stopped"),
            json!("stopped"),
        ),
        workspace(
            "spec.endpoints[0].port",
            "/spec/endpoints",
            json!([{"name": "web", "port": 65535}]),
            json!([{"name": "web", "port": 65536}]),
        ),
        workspace(
            ".spec.endpoints: duplicate entries for key",
            "/spec/endpoints",
            json!([{"name": "web", "port": 1}, {"name": "api", "port": 2}]),
            json!([{"name": "web", "port": 1}, {"name": "web", "port": 2}]),
        ),
        workspace(
            ".spec.env: duplicate entries for key",
            "/spec/env",
            json!([{"name": "A", "value": "1"}, {"name": "B"}]),
            json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        ),
        workspace(
            "spec.resources.requests.cpu",
            "/spec/resources",
            json!({"requests": {"cpu": 1, "memory": "2Gi"}}),
            json!({"requests": {"cpu": "1 core"}}),
        ),
        workspace(
            "spec.timeouts.startup",
            "/spec/timeouts",
            json!({"startup": "1h30m"}),
            json!({"startup": "90"}),
        ),
        workspace(
            "spec.storage.size",
            "/spec/storage/size",
            json!("1e3"),
            json!("-1Gi"),
        ),
        class(
            "spec.pod.runAsUser",
            "/spec/pod/runAsUser",
            json!(1),
            json!(0),
        ),
        class("spec.quota.total", "/spec/quota/total", json!(0), json!(-1)),
        class(
            "spec.network.profile",
            "/spec/network/profile",
            json!("none"),
            json!("ipsec"),
        ),
        class(
            "spec.network.egress[0].ports[0]",
            "/spec/network/egress",
            json!([{"allow": "0.0.0.0/0", "ports": [443]}]),
            json!([{"allow": "0.0.0.0/0", "ports": [0]}]),
        ),
        class(
            "spec.storage.retention",
            "/spec/storage/retention",
            json!("Delete"),
            json!("Keep"),
        ),
        sync(
            "spec.prune.maxDeletes",
            "/spec/prune/maxDeletes",
            json!("100%"),
            json!("101%"),
        ),
        sync(
            "spec.prune.maxDeletes",
            "/spec/prune/maxDeletes",
            json!(0),
            json!(-1),
        ),
        sync(
            "spec.allowedKinds[0]",
            "/spec/allowedKinds",
            json!(["GitSync"]),
            json!(["Secret"]),
        ),
        sync(
            "spec.deletionPolicy",
            "/spec/deletionPolicy",
            json!("Orphan"),
            json!("Keep"),
        ),
    ]
}

/// What the server says to an object, without keeping it. Strict: fields that it does not know are errors.
pub async fn dry_run(api: &Api<DynamicObject>, value: &Value) -> Result<(), String> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply("workstead/testkit")
        .force()
        .validation_strict();
    let params = PatchParams {
        dry_run: true,
        ..params
    };
    api.patch(name, &params, &Patch::Apply(value))
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// What the server says to an object that is new, as `kubectl apply --dry-run=server` asks it. `path` is that of the
/// list of objects. Gives the object as it would be stored.
pub async fn dry_create(client: &Client, path: &str, value: &Value) -> Result<Value, String> {
    let request = http::Request::post(format!("{path}?dryRun=All&fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(value.to_string().into_bytes())
        .unwrap();
    let answer = client.request::<Value>(request).await;
    answer.map_err(|error| error.to_string())
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
