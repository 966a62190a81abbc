//! Cases for the limits that the schemas state without CEL.

use serde_json::json;

use super::{Case, case};
use crate::crds::dry_run::SEALED;

pub fn workspace_limits() -> Vec<Case> {
    let workspace =
        |message, at, accepted, refused| case("Workspace", message, at, accepted, refused);
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
            ".spec.variables: duplicate entries for key",
            "/spec/variables",
            json!([{"name": "a"}, {"name": "b"}]),
            json!([{"name": "a"}, {"name": "a"}]),
        ),
        workspace(
            "spec.variables",
            "/spec/variables",
            json!(
                (0..32)
                    .map(|n| json!({"name": format!("s{n}")}))
                    .collect::<Vec<_>>()
            ),
            json!(
                (0..33)
                    .map(|n| json!({"name": format!("s{n}")}))
                    .collect::<Vec<_>>()
            ),
        ),
        workspace(
            "spec.resources.requests.cpu",
            "/spec/resources",
            json!({"requests": {"cpu": 1, "memory": "2Gi"}}),
            json!({"requests": {"cpu": "1 core"}}),
        ),
        workspace(
            "spec.shared.users",
            "/spec/shared",
            json!({"users": (0..64).map(|n| format!("u{n}")).collect::<Vec<_>>()}),
            json!({"users": (0..65).map(|n| format!("u{n}")).collect::<Vec<_>>()}),
        ),
        workspace(
            "spec.shared.groups: duplicate entries",
            "/spec/shared",
            json!({"groups": ["a", "b"]}),
            json!({"groups": ["a", "a"]}),
        ),
        workspace(
            "spec.shared.editor",
            "/spec/shared",
            json!({"editor": "Shared"}),
            json!({"editor": "Authenticated"}),
        ),
        workspace(
            "spec.endpoints[0].visibility",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000, "visibility": "Shared"}]),
            json!([{"name": "web", "port": 3000, "visibility": "public"}]),
        ),
        workspace(
            "spec.endpoints[0].protocol",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000, "protocol": "H2c"}]),
            json!([{"name": "web", "port": 3000, "protocol": "Grpc"}]),
        ),
        workspace(
            "spec.timeouts.maxLifetime",
            "/spec/timeouts",
            json!({"idle": "2h", "maxActive": "48h", "maxStopped": "744h", "maxLifetime": "8760h"}),
            json!({"maxLifetime": "1y"}),
        ),
        // A pattern binds text alone: without quotes it is a number.
        workspace(
            "spec.resources.requests.cpu",
            "/spec/resources",
            json!({"requests": {"cpu": 0}}),
            json!({"requests": {"cpu": -1}}),
        ),
        workspace(
            "spec.storage.size",
            "/spec/storage/size",
            json!(1_000_000),
            json!(-1),
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
        workspace(
            "spec.postStart[0].timeout",
            "/spec/postStart",
            json!([{"name": "a", "run": "a".repeat(4096), "timeout": "1h30m"}]),
            json!([{"name": "a", "run": "a", "timeout": "90"}]),
        ),
        workspace(
            "spec.projects[0].git.url",
            "/spec/projects",
            json!([{"name": "a", "git": {"url": "https://a.example/b"}}]),
            json!([{"name": "a", "git": {"url": format!("https://a.example/{}", "b".repeat(1024))}}]),
        ),
        workspace(
            ".spec.projects: duplicate entries for key",
            "/spec/projects",
            json!([{"name": "a", "git": {"url": "https://a.example/b"}}, {"name": "b", "git": {"url": "https://a.example/b"}}]),
            json!([{"name": "a", "git": {"url": "https://a.example/b"}}, {"name": "a", "folder": "b", "git": {"url": "https://a.example/b"}}]),
        ),
    ]
}

pub fn variables_limits() -> Vec<Case> {
    let sealed = |length: usize| json!({"format": "Age", "sealed": SEALED.to_owned() + &"a".repeat(length - SEALED.len())});
    vec![case(
        "WorkspaceVariables",
        "spec.sealed",
        "/spec",
        sealed(1_048_576),
        sealed(1_048_577),
    )]
}

pub fn class_limits() -> Vec<Case> {
    let class =
        |message, at, accepted, refused| case("WorkspaceClass", message, at, accepted, refused);
    vec![
        class(
            "spec.resources.max.cpu",
            "/spec/resources/max",
            json!({"cpu": 0}),
            json!({"cpu": -1}),
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
        class(
            "spec.tools.delivery",
            "/spec/tools",
            json!({"delivery": "Auto"}),
            json!({"delivery": "auto"}),
        ),
        class(
            "spec.gitIdentity.nameFrom",
            "/spec/gitIdentity",
            json!({"nameFrom": "LocalPart"}),
            json!({"nameFrom": "Claim"}),
        ),
    ]
}

pub fn gitsync_limits() -> Vec<Case> {
    let sync = |message, at, accepted, refused| case("GitSync", message, at, accepted, refused);
    vec![
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
