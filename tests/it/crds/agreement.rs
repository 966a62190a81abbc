//! The offline verdict, which GitSync and `workstead validate` give, is that of the API server: every field of a full
//! object of each kind is replaced by every awkward value, and the two must agree.

use futures::{StreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};
use workstead::api::gitsync::SyncedKind;
use workstead::api::{GitSync, Workspace, WorkspaceClass, WorkspaceVariables};
use workstead::gitsync::verdict::Verdict;
use workstead::testkit::ControlPlane;

use super::dry_run::{SEALED, dry_create, minimal};

/// An object that uses every field of its spec.
fn full(kind: &str) -> Value {
    let mut object = minimal(kind);
    object["metadata"]["labels"] = json!({"team": "a"});
    object["metadata"]["annotations"] = json!({"note": "b"});
    object["spec"] = match kind {
        "Workspace" => json!({
            "owner": "alice@example.com",
            "className": "standard",
            "desiredState": "Running",
            "image": "registry.example.com/dev:1",
            "command": ["sh", "-c"],
            "args": ["sleep 1"],
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "2Gi"}},
            "storage": {"size": "20Gi"},
            "shared": {"users": ["bob@example.com"], "groups": ["team a"], "editor": "Private"},
            "endpoints": [{
                "name": "web",
                "port": 3000,
                "visibility": "Public",
                "allowedOrigins": ["https://app.example.com"],
                "cors": "Passthrough",
                "protocol": "Http",
                "publicWake": true,
            }],
            "env": [
                {"name": "RUST_LOG", "value": "debug"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "token"}}},
            ],
            "variables": [{"name": "alice-api"}],
            "timeouts": {
                "startup": "5m", "stopping": "1m", "idle": "30m", "maxActive": "36h", "maxStopped": "744h",
                "maxLifetime": "8760h", "keepAlive": ["cargo"],
            },
            "projects": [{
                "name": "api",
                "folder": "api",
                "git": {
                    "url": "https://git.example.com/api.git",
                    "ref": "main",
                    "remotes": {"upstream": "ssh://git@git.example.org/api.git"},
                    "shallow": true,
                    "sparse": ["docs"],
                    "subdirectory": "services/api",
                },
            }],
            "postStart": [{"name": "build", "run": "make", "workingDir": "api", "timeout": "5m"}],
            "editor": "vscode",
        }),
        "WorkspaceClass" => json!({
            "allowedNamespaces": ["team-a"],
            "resources": {
                "default": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
                "max": {"cpu": "4"},
            },
            "storage": {"default": "10Gi", "max": "100Gi", "className": "fast", "retention": "Retain"},
            "network": {
                "profile": "none",
                "egress": [{"allow": "0.0.0.0/0", "except": ["10.0.0.0/8"], "ports": [443]}],
            },
            "quota": {"perOwner": 3, "total": 10},
            "timeouts": {
                "startup": "5m", "stopping": "1m", "maxStartup": "1h", "maxStopping": "1h",
                "imagePull": "60s", "containerConfig": "60s", "admission": "30s",
                "idle": "30m", "maxActive": "36h", "maxStopped": "744h", "maxLifetime": "8760h",
                "longest": {"idle": "36h", "maxActive": "72h", "maxStopped": "744h", "maxLifetime": "8760h"},
                "pausedUntil": "2026-12-01T00:00:00Z",
            },
            "access": {"maxVisibility": "Shared", "editor": "Private", "undeclaredPorts": true},
            "pod": {
                "runAsUser": 10001,
                "userNamespaces": true,
                "runtimeClassName": "gvisor",
                "allowPrivilegeEscalation": true,
                "nodeSelector": {"disk": "fast"},
                "tolerations": [
                    {"key": "dev", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
                ],
            },
            "editors": [{
                "name": "vscode",
                "image": format!("registry.example.com/vscode@sha256:{}", "0a".repeat(32)),
                "command": ["bin/code-server"],
                "port": 60001,
                "readinessPath": "/healthz",
                "needs": {"architectures": ["amd64"], "glibc": "2.28"},
                "default": true,
            }],
            "tools": {"delivery": "Auto", "image": "registry.example.com/workstead:1"},
            "gitIdentity": {"nameFrom": "LocalPart", "emailDomain": "example.com"},
            "variables": {"refreshAtStart": true},
            "imagePullSecrets": [{"name": "registry"}],
            "childMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        }),
        "WorkspaceVariables" => json!({"format": "Age", "sealed": SEALED}),
        _ => json!({
            "url": "https://git.example.com/team.git",
            "ref": {"branch": "main", "tag": "v1", "commit": "0123456789abcdef0123456789abcdef01234567"},
            "interval": "5m",
            "retryInterval": "1m",
            "timeout": "60s",
            "secretRef": {"name": "git"},
            "path": "teams/a",
            "ignore": "*.md",
            "prune": {"enabled": true, "maxDeletes": "20%"},
            "deletionPolicy": "Orphan",
            "owners": [{"path": "teams/a", "owners": ["alice@example.com"]}],
            "allowedNamespaces": ["team-a"],
            "allowedKinds": ["Workspace"],
            "webhook": {"secretRef": {"name": "hook"}},
            "suspend": true,
        }),
    };
    object
}

/// Values as they come from YAML: there a float without a fraction is an integer (see src/yaml).
fn awkward() -> Vec<Value> {
    vec![
        json!(null),
        json!(""),
        json!(" "),
        json!("x"),
        json!("X_9"),
        json!("ü"),
        json!("a/b"),
        json!("../a"),
        json!("5m"),
        json!("1h30m5s"),
        json!("0s"),
        json!("-5m"),
        json!("9999999999h"),
        json!("999999999h"),
        json!("1Gi"),
        json!("0"),
        json!("-1"),
        json!("1.5"),
        json!("1e3"),
        json!("1E"),
        json!("0.0000000001"),
        json!("99999999999999999999"),
        json!("50%"),
        json!("10.0.0.0/8"),
        json!("10.0.0.1/8"),
        json!("2001:DB8::/32"),
        json!("::ffff:1.2.3.4/96"),
        json!("010.0.0.0/8"),
        json!("http://a"),
        json!("HTTPS://a"),
        json!("a\nb"),
        json!("a".repeat(64)),
        json!("a".repeat(600)),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(60003),
        json!(70000),
        json!(9_007_199_254_740_993_i64),
        json!(u64::MAX),
        json!([]),
        json!([null]),
        json!(["a", "a"]),
        json!({}),
        json!({"a": null}),
        json!({"a": "b"}),
        json!({"name": "a", "name2": "b"}),
    ]
}

/// The pointers of all values, from `place` down.
fn pointers(place: &str, value: &Value, found: &mut Vec<String>) {
    found.push(place.to_owned());
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                pointers(&format!("{place}/{key}"), value, found);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                pointers(&format!("{place}/{number}"), value, found);
            }
        }
        _ => {}
    }
}

/// Every object that differs from a full one in one place, with what differs.
fn variants(kind: &str) -> Vec<(String, Value)> {
    let full = full(kind);
    let mut places = Vec::new();
    pointers("/spec", &full["spec"], &mut places);
    pointers("/metadata", &full["metadata"], &mut places);
    let mut variants = vec![("as it is".to_owned(), full.clone())];
    for place in places {
        for value in awkward() {
            let mut object = full.clone();
            *object.pointer_mut(&place).unwrap() = value.clone();
            variants.push((format!("{place} = {value}"), object));
        }
        let (parent, key) = place.rsplit_once('/').unwrap();
        let mut object = full.clone();
        match object.pointer_mut(parent).unwrap() {
            Value::Object(map) => {
                map.remove(key);
                map.insert(format!("{key}x"), json!("x"));
            }
            Value::Array(items) => items.push(items[0].clone()),
            _ => continue,
        }
        variants.push((format!("{place} renamed or doubled"), object));
        let mut object = full.clone();
        if let Some(map) = object.pointer_mut(parent).unwrap().as_object_mut() {
            map.remove(key);
            variants.push((format!("{place} removed"), object));
        }
    }
    variants
}

/// Whether our types can read what the server stores.
fn readable(kind: &str, stored: &Value) -> Result<(), serde_json::Error> {
    match kind {
        "Workspace" => serde_json::from_value::<Workspace>(stored.clone()).map(drop),
        "WorkspaceClass" => serde_json::from_value::<WorkspaceClass>(stored.clone()).map(drop),
        "WorkspaceVariables" => {
            serde_json::from_value::<WorkspaceVariables>(stored.clone()).map(drop)
        }
        _ => serde_json::from_value::<GitSync>(stored.clone()).map(drop),
    }
}

async fn disagreements(client: Client, kind: &'static str, namespace: &str) -> Vec<String> {
    let path = match kind {
        "WorkspaceClass" => "workspaceclasses".to_owned(),
        "GitSync" => format!("namespaces/{namespace}/gitsyncs"),
        "WorkspaceVariables" => format!("namespaces/{namespace}/workspacevariables"),
        _ => format!("namespaces/{namespace}/workspaces"),
    };
    let path = format!("/apis/workstead.dev/v1alpha1/{path}");
    let synced = match kind {
        "Workspace" => SyncedKind::Workspace,
        "WorkspaceClass" => SyncedKind::WorkspaceClass,
        "WorkspaceVariables" => SyncedKind::WorkspaceVariables,
        _ => SyncedKind::GitSync,
    };
    let verdict = Verdict::default();
    let wrong = stream::iter(variants(kind))
        .map(|(what, object)| {
            let (client, path) = (&client, &path);
            async move {
                let server = dry_create(client, path, &object).await;
                (what, object, server)
            }
        })
        .buffer_unordered(16);
    let mut found = Vec::new();
    let mut wrong = std::pin::pin!(wrong);
    while let Some((what, object, server)) = wrong.next().await {
        if let Ok(stored) = &server
            && let Err(error) = readable(kind, stored)
        {
            found.push(format!(
                "{kind} {what}\n    the server accepts what we can't read: {error}"
            ));
        }
        let offline = verdict.findings(synced, &object, None);
        if offline.is_empty() != server.is_ok() {
            let offline: Vec<String> = offline.iter().map(ToString::to_string).collect();
            let server = server.err().unwrap_or_else(|| "accepts it".to_owned());
            let server: String = server.chars().take(300).collect();
            found.push(format!(
                "{kind} {what}\n    offline: {offline:?}\n    server: {server}"
            ));
        }
    }
    found
}

async fn agree(kind: &'static str) {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("agree").await.unwrap();
    let wrong = disagreements(plane.client(), kind, &namespace).await;
    assert!(
        wrong.is_empty(),
        "{} disagreements\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn offline_and_server_agree_on_workspaces() {
    agree("Workspace").await;
}

#[tokio::test]
async fn offline_and_server_agree_on_classes() {
    agree("WorkspaceClass").await;
}

#[tokio::test]
async fn offline_and_server_agree_on_gitsyncs() {
    agree("GitSync").await;
}

#[test]
fn the_full_objects_use_every_field_of_their_specs() {
    for definition in super::definitions() {
        let kind = definition.spec.names.kind.clone();
        let root = super::schema::root(&definition);
        let fields: Vec<String> = root["properties"]["spec"]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let full = full(&kind);
        let missing: Vec<&String> = fields
            .iter()
            .filter(|field| full["spec"].get(field).is_none())
            .collect();
        assert!(missing.is_empty(), "{kind}: {missing:?}");
    }
}

#[tokio::test]
async fn offline_and_server_agree_on_variables() {
    agree("WorkspaceVariables").await;
}
