//! The offline verdict is that of the server's strict dry run (I8), and files mean what kubectl reads in them.

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use workstead::api::gitsync::SyncedKind;
use workstead::gitsync::rules::{ObjectRules, TreeLimits, TreeRules};
use workstead::gitsync::verdict::{Verdict, prune_nulls};
use workstead::testkit::ControlPlane;

use crate::crds::{objects, rules};

/// An object of each kind with every field that its schema knows, more or less.
fn full() -> Vec<(SyncedKind, Value)> {
    let frame = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "workstead.dev/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": "dev",
                "labels": {"app.kubernetes.io/name": "dev", "team": ""},
                "annotations": {"example.com/Note": "any text at all: ä"},
            },
            "spec": spec,
        })
    };
    let workspace = json!({
        "owner": "alice@example.com",
        "className": "standard",
        "desiredState": "Running",
        "image": "registry.example.com/dev/rust:1.95",
        "command": ["sleep"],
        "args": ["infinity"],
        "resources": {"requests": {"cpu": 1, "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        "storage": {"size": "20Gi"},
        "endpoints": [{"name": "web", "port": 3000}, {"name": "api", "port": 3001}],
        "env": [{"name": "RUST_LOG", "value": "debug"}, {"name": "EMPTY"}],
        "timeouts": {"startup": "5m", "stopping": "90s"},
    });
    let class = json!({
        "allowedNamespaces": ["team-a"],
        "resources": {"default": {"requests": {"cpu": "100m"}}, "max": {"cpu": 4}},
        "storage": {"default": "10Gi", "max": "50Gi", "className": "fast", "retention": "Retain"},
        "network": {"profile": "none", "egress": [{"allow": "10.0.0.0/8", "except": ["10.1.0.0/16"], "ports": [443]}]},
        "quota": {"perOwner": 3, "total": 100},
        "timeouts": {"startup": "5m", "maxStartup": "1h", "imagePull": "60s"},
        "pod": {
            "runAsUser": 10001,
            "userNamespaces": true,
            "allowPrivilegeEscalation": true,
            "nodeSelector": {"pool": "dev"},
            "tolerations": [{"key": "dev", "operator": "Equal", "value": "true", "effect": "NoSchedule"}],
        },
        "imagePullSecrets": [{"name": "registry"}],
        "childMetadata": {"labels": {"cost": "dev"}, "annotations": {"a": "b"}},
    });
    let sync = json!({
        "url": "https://git.example.com/team.git",
        "ref": {"branch": "main"},
        "interval": "5m",
        "timeout": "60s",
        "secretRef": {"name": "git"},
        "path": "workspaces",
        "ignore": "docs/",
        "prune": {"enabled": true, "maxDeletes": "20%"},
        "deletionPolicy": "Orphan",
        "owners": [{"path": "a", "owners": ["alice"]}],
        "allowedNamespaces": ["team-a"],
        "allowedKinds": ["Workspace"],
        "webhook": {"secretRef": {"name": "hook"}},
        "suspend": false,
    });
    vec![
        (SyncedKind::Workspace, frame("Workspace", workspace)),
        (SyncedKind::WorkspaceClass, frame("WorkspaceClass", class)),
        (SyncedKind::GitSync, frame("GitSync", sync)),
    ]
}

/// Every place of a value, as a JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// The object with each of its places damaged in many ways.
fn damaged(object: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for top in ["/metadata", "/spec"] {
        places(object.pointer(top).unwrap(), top, &mut found);
    }
    let values = [
        json!(null),
        json!(""),
        json!("some text"),
        json!("x".repeat(300)),
        json!("a--b"),
        json!("7"),
        json!("-1"),
        json!(0),
        json!(7),
        json!(-7),
        json!(70_000),
        json!(5_000_000_000_i64),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!([null]),
        json!(["a", "a"]),
        json!({"a": null}),
        json!({"a b": "c"}),
        json!([{}]),
        json!("1h2m"),
    ];
    let mut damaged = Vec::new();
    for place in &found {
        for value in &values {
            let mut changed = object.clone();
            *changed.pointer_mut(place).unwrap() = value.clone();
            damaged.push((format!("{place} = {value}"), changed));
        }
        let (parent, key) = place.rsplit_once('/').unwrap();
        let mut without = object.clone();
        let mut twice = object.clone();
        let mut more = object.clone();
        match (without.pointer_mut(parent), twice.pointer_mut(parent)) {
            (Some(Value::Object(map)), _) if !parent.is_empty() => {
                map.remove(&key.replace("~1", "/"));
                damaged.push((format!("without {place}"), without));
            }
            (_, Some(Value::Array(items))) => {
                items.push(items[0].clone());
                damaged.push((format!("first item of {parent} twice"), twice));
            }
            _ => {}
        }
        if let Some(Value::Object(map)) = more.pointer_mut(place) {
            map.insert("colour".into(), json!("green"));
            damaged.push((format!("{place} with a colour"), more));
        }
    }
    damaged
}

/// What the server says to exactly this.
async fn dry_run(api: &Api<DynamicObject>, value: &Value) -> Result<(), String> {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply("workstead/testkit")
            .force()
            .validation_strict()
    };
    let name = value["metadata"]["name"].as_str().unwrap();
    match api.patch(name, &params, &Patch::Apply(value)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn the_verdict_is_that_of_the_servers_dry_run() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("verdict").await.unwrap();
    let verdict = Verdict::default();
    let mut questions: Vec<(SyncedKind, String, Value)> = Vec::new();
    for (kind, object) in full() {
        questions.push((kind, "as it is".into(), object.clone()));
        questions.extend(
            damaged(&object)
                .into_iter()
                .map(|(what, object)| (kind, what, object)),
        );
    }
    for case in rules::rules().into_iter().chain(rules::limits()) {
        let kind = SyncedKind::from_name(case.kind).unwrap();
        if case.before.is_none() {
            questions.push((kind, format!("good: {}", case.message), case.good()));
            questions.push((kind, format!("bad: {}", case.message), case.bad()));
        }
    }
    let mut wrong = Vec::new();
    for (kind, what, object) in &questions {
        // Without a text as name there is no URL to send it to; a name is checked below.
        if !object["metadata"]["name"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
        {
            assert!(!verdict.findings(*kind, object, None).is_empty(), "{what}");
            continue;
        }
        let ours = verdict.findings(*kind, object, None);
        let api = objects(plane.client(), kind.name(), &namespace);
        let mut sent = object.clone();
        prune_nulls(*kind, &mut sent);
        let server = dry_run(&api, &sent).await;
        match (&server, ours.is_empty()) {
            (Ok(()), false) => {
                wrong.push(format!("{} {what}: only we say {}", kind.name(), ours[0]))
            }
            (Err(error), true) => wrong.push(format!(
                "{} {what}: only the server says {error}",
                kind.name()
            )),
            _ => {}
        }
    }
    println!("{} questions", questions.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        questions.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn the_verdict_on_a_change_is_that_of_the_server() {
    let plane = ControlPlane::shared().await.unwrap();
    for case in rules::rules().into_iter().chain(rules::limits()) {
        let Some(old) = case.old() else {
            continue;
        };
        let kind = SyncedKind::from_name(case.kind).unwrap();
        let _ = plane;
        let verdict = Verdict::default();
        assert_eq!(
            verdict.findings(kind, &case.good(), Some(&old)),
            vec![],
            "{}",
            case.message
        );
        let found = verdict.findings(kind, &case.bad(), Some(&old));
        assert!(
            found.iter().any(|f| f.message.starts_with(case.message)),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_file_means_what_kubectl_reads_in_it() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("scalars").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Env values must be text, so each scalar shows what it was read as: text is taken, anything else refused.
    let scalars = [
        "yes",
        "No",
        "on",
        "y",
        "~",
        "null",
        "12",
        "0x1F",
        "0o17",
        "010",
        "08",
        "1_000",
        "1e3",
        ".5",
        "1.0",
        "-.inf",
        ".nan",
        "1:30",
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "500m",
        "2Gi",
        "+12",
        "0b11",
        "1e999",
        "'yes'",
        "\"12\"",
        "!!str 12",
        "|\n        yes",
        "<<",
        "=",
        "1__",
        "_1",
        "0x",
        "12e03",
        "-0",
        "&a text",
        "!!float 3",
        "!!int \"3\"",
        "TRUE",
        "tRUE",
    ];
    let mut wrong = Vec::new();
    for (number, scalar) in scalars.iter().enumerate() {
        let text = format!(
            "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: w{number}\nspec:\n  owner: alice\n  image: debian:13\n  env:\n    - name: A\n      value: {scalar}\n"
        );
        let file = folder.path().join(format!("w{number}.yaml"));
        std::fs::write(&file, &text).unwrap();
        let output = plane
            .kubectl()
            .args([
                "apply",
                "--dry-run=server",
                "--validate=strict",
                "-o",
                "json",
                "-n",
                &namespace,
                "-f",
            ])
            .arg(&file)
            .output()
            .unwrap();
        let snapshot = workstead::gitsync::validate_dir(
            &file,
            &TreeRules::new("", "", TreeLimits::default()).unwrap(),
            &ObjectRules::anything(&namespace),
        )
        .unwrap();
        let ours = snapshot
            .objects
            .values()
            .next()
            .map(|object| object.value["spec"]["env"][0].get("value").cloned());
        let theirs = output.status.success().then(|| {
            let object: Value = serde_json::from_slice(&output.stdout).unwrap();
            object["spec"]["env"][0].get("value").cloned()
        });
        if ours != theirs {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!(
                "{scalar}: we read {ours:?}, kubectl {theirs:?} {said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
