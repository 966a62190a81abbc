//! A case for each CEL rule.

use serde_json::json;

use super::{Case, case};
use crate::crds::dry_run::SEALED;

/// An image by digest.
const PINNED: &str = "registry.example.com:5000/editors/e:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn workspace_rules() -> Vec<Case> {
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
            "spec.image is no image reference",
            "/spec/image",
            json!(format!(
                "registry.example.com:5000/dev/a__b.c--d:1.95@sha256:{}",
                "0a".repeat(32)
            )),
            json!("Not//A:valid:name"),
        ),
        workspace(
            "spec.className is the name of a WorkspaceClass",
            "/spec/className",
            json!("team-a.large"),
            json!("A b"),
        ),
        workspace(
            "a request is over its limit",
            "/spec/resources",
            json!({"requests": {"cpu": "2000m", "memory": "1Gi"}, "limits": {"cpu": 2}}),
            json!({"requests": {"cpu": "2001m", "memory": "1Gi"}, "limits": {"cpu": 2}}),
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
        workspace(
            "an environment variable has a value or a valueFrom",
            "/spec/env",
            json!([{"name": "A", "value": "", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "a"}}}]),
            json!([{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "a"}}}]),
        ),
        workspace(
            "secretKeyRef.name is the name of a Secret",
            "/spec/env",
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "my-vault.a", "key": "a"}}}]),
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "My_vault", "key": "a"}}}]),
        ),
        workspace(
            "secretKeyRef.key is an entry of a Secret",
            "/spec/env",
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "a_B-1.x"}}}]),
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "a/b"}}}]),
        ),
        workspace(
            "the name of a WorkspaceVariables is lower-case letters",
            "/spec/variables",
            json!([{"name": "alice-api.v2"}]),
            json!([{"name": "Alice"}]),
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
        workspace(
            "two projects have the same folder",
            "/spec/projects",
            json!([{"name": "a", "git": {"url": "https://git.example.com/a"}}, {"name": "b", "git": {"url": "https://git.example.com/a"}}]),
            json!([{"name": "a", "git": {"url": "https://git.example.com/a"}}, {"name": "b", "folder": "a", "git": {"url": "https://git.example.com/a"}}]),
        ),
        workspace(
            "spec.editor is the name of an editor",
            "/spec/editor",
            json!("none"),
            json!("VS Code"),
        ),
        workspace(
            "shared.users have no spaces",
            "/spec/shared",
            json!({"users": ["bob@example.com", "https://id.example.com#4711"]}),
            json!({"users": ["bob smith"]}),
        ),
        workspace(
            "shared.groups have no control characters",
            "/spec/shared",
            json!({"groups": ["Team A", "größe"], "editor": "Private"}),
            json!({"groups": ["team-a "]}),
        ),
        workspace(
            "cors: Passthrough needs allowedOrigins",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000, "cors": "Passthrough", "allowedOrigins": ["https://a.example.com"]}, {"name": "api", "port": 3001, "cors": "Strict"}]),
            json!([{"name": "web", "port": 3000, "cors": "Passthrough"}]),
        ),
        workspace(
            "publicWake is for endpoints with visibility: Public",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000, "visibility": "Public", "publicWake": true}, {"name": "api", "port": 3001, "publicWake": false}]),
            json!([{"name": "web", "port": 3000, "visibility": "Authenticated", "publicWake": true}]),
        ),
        workspace(
            "allowedOrigins holds origins as browsers send them",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000, "allowedOrigins": ["https://3000-dev.ws.example.com", "http://a.localhost:8000"]}]),
            json!([{"name": "web", "port": 3000, "allowedOrigins": ["https://app.example.com/"]}]),
        ),
        workspace(
            "allowedOrigins leaves out the port",
            "/spec/endpoints",
            json!([{"name": "web", "port": 3000, "allowedOrigins": ["https://app.example.com:80", "http://app.example.com:443"]}]),
            json!([{"name": "web", "port": 3000, "allowedOrigins": ["https://app.example.com:443"]}]),
        ),
        workspace(
            "timeouts.keepAlive holds names of programs",
            "/spec/timeouts",
            json!({"keepAlive": ["cargo", "g++", "python3.11", "webpack-dev_server"]}),
            json!({"keepAlive": ["cargo build"]}),
        ),
        workspace(
            "an endpoint can't be called editor",
            "/spec/endpoints",
            json!([{"name": "editor-2", "port": 3000}]),
            json!([{"name": "editor", "port": 3000}]),
        ),
        workspace(
            "the name of a project is lower-case letters",
            "/spec/projects",
            json!([{"name": "2-a", "git": {"url": "https://git.example.com/a"}}]),
            json!([{"name": "A_b", "git": {"url": "https://git.example.com/a"}}]),
        ),
        workspace(
            "folder is one folder in /projects",
            "/spec/projects",
            json!([{"name": "a", "folder": "A_b.c-d", "git": {"url": "https://git.example.com/a"}}]),
            json!([{"name": "a", "folder": "../a", "git": {"url": "https://git.example.com/a"}}]),
        ),
        workspace(
            "the URL of a repository begins with",
            "/spec/projects",
            json!([{"name": "a", "git": {"url": "http://git:3000/a"}}]),
            json!([{"name": "a", "git": {"url": "git@git.example.com:a.git"}}]),
        ),
        workspace(
            "the URL of a repository carries no credentials",
            "/spec/projects",
            json!([{"name": "a", "git": {"url": "ssh://git@git.example.com:22/a@b.git"}}]),
            json!([{"name": "a", "git": {"url": "https://alice:secret@git.example.com/a"}}]),
        ),
        workspace(
            "the URL of a repository names a host and a path",
            "/spec/projects",
            json!([{"name": "a", "git": {"url": "https://[2001:db8::1]:8443/a"}}]),
            json!([{"name": "a", "git": {"url": "ssh://-oProxyCommand=x/a"}}]),
        ),
        workspace(
            "git.ref is the name of a branch or tag",
            "/spec/projects",
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "ref": "feature/größe-1.2"}}]),
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "ref": "main..other"}}]),
        ),
        workspace(
            "the name of a remote is letters",
            "/spec/projects",
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "remotes": {"up_stream": "ssh://git@b.example/a"}}}]),
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "remotes": {"origin": "ssh://git@b.example/a"}}}]),
        ),
        workspace(
            "git.sparse names folders of the repository",
            "/spec/projects",
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "sparse": ["docs", "services/a b"]}}]),
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "sparse": ["docs", "a/../../b"]}}]),
        ),
        workspace(
            "git.subdirectory is a folder of the repository",
            "/spec/projects",
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "subdirectory": "services/a..b"}}]),
            json!([{"name": "api", "git": {"url": "https://git.example.com/a", "subdirectory": "/etc"}}]),
        ),
        workspace(
            "the name of a start command is lower-case letters",
            "/spec/postStart",
            json!([{"name": "build-2", "run": "make"}]),
            json!([{"name": "Build", "run": "make"}]),
        ),
        workspace(
            "run is a command for a shell",
            "/spec/postStart",
            json!([{"name": "build", "run": "  make"}]),
            json!([{"name": "build", "run": "  "}]),
        ),
        workspace(
            "workingDir is a folder without",
            "/spec/postStart",
            json!([{"name": "build", "run": "make", "workingDir": "/opt/a..b/"}]),
            json!([{"name": "build", "run": "make", "workingDir": "../a"}]),
        ),
        workspace(
            "the timeout of a start command is 1s to 24h",
            "/spec/postStart",
            json!([{"name": "build", "run": "make", "timeout": "24h"}]),
            json!([{"name": "build", "run": "make", "timeout": "25h"}]),
        ),
    ]
}

pub fn variables_rules() -> Vec<Case> {
    let set = |message, accepted, refused| {
        case("WorkspaceVariables", message, "/spec", accepted, refused)
    };
    vec![
        set(
            "spec.sealed is no armored age file",
            json!({"format": "Age", "sealed": SEALED}),
            json!({"format": "Age", "sealed": "env: {PASSWORD: plain}"}),
        ),
        set(
            "spec.sealed is no document of SOPS",
            json!({"format": "Sops", "sealed": "a: ENC[AES256_GCM,data:x]\nsops: {}\n"}),
            json!({"format": "Sops", "sealed": "env: {PASSWORD: plain}"}),
        ),
    ]
}

pub fn class_rules() -> Vec<Case> {
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
            "except holds ranges inside allow",
            "/spec/network/egress",
            json!([{"allow": "0.0.0.0/0", "except": ["10.0.0.0/8"]}, {"allow": "fd00::/8", "except": ["fd00::/16"]}]),
            json!([{"allow": "10.0.0.0/8", "except": ["10.1.0.0/16", "192.168.0.0/16"]}]),
        ),
        class(
            "a request is over its limit",
            "/spec/resources",
            json!({"default": {"requests": {"cpu": 1}, "limits": {"cpu": 1}}}),
            json!({"default": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}),
        ),
        class(
            "resources.default.requests asks for more",
            "/spec/resources",
            json!({"default": {"requests": {"cpu": "4"}}, "max": {"cpu": "4", "memory": "1Gi"}}),
            json!({"default": {"requests": {"cpu": "5"}}, "max": {"cpu": "4", "memory": "1Gi"}}),
        ),
        class(
            "resources.default.limits gives more",
            "/spec/resources",
            json!({"default": {"limits": {"memory": "1024Mi"}}, "max": {"memory": "1Gi"}}),
            json!({"default": {"limits": {"memory": "1025Mi"}}, "max": {"memory": "1Gi"}}),
        ),
        class(
            "storage.default is larger",
            "/spec/storage",
            json!({"default": "10Gi", "max": "10Gi"}),
            json!({"default": "11Gi", "max": "10Gi"}),
        ),
        class(
            "storage.className is the name",
            "/spec/storage/className",
            json!("fast.ssd-2"),
            json!("A b"),
        ),
        class(
            "timeouts.startup is longer",
            "/spec/timeouts",
            json!({"startup": "60m", "maxStartup": "1h"}),
            json!({"startup": "61m", "maxStartup": "1h"}),
        ),
        class(
            "timeouts.stopping is longer",
            "/spec/timeouts",
            json!({"stopping": "5m", "maxStopping": "5m"}),
            json!({"stopping": "5m1s", "maxStopping": "5m"}),
        ),
        class(
            "timeouts.idle is longer",
            "/spec/timeouts",
            json!({"idle": "30m", "longest": {"idle": "30m"}}),
            json!({"idle": "31m", "longest": {"idle": "30m"}}),
        ),
        class(
            "timeouts.maxActive is longer",
            "/spec/timeouts",
            json!({"maxActive": "36h", "longest": {"maxActive": "36h"}}),
            json!({"maxActive": "37h", "longest": {"maxActive": "36h"}}),
        ),
        class(
            "timeouts.maxStopped is longer",
            "/spec/timeouts",
            json!({"maxStopped": "744h", "longest": {"maxStopped": "744h"}}),
            json!({"maxStopped": "745h", "longest": {"maxStopped": "744h"}}),
        ),
        class(
            "timeouts.maxLifetime is longer",
            "/spec/timeouts",
            json!({"maxLifetime": "8760h", "longest": {"maxLifetime": "8760h"}}),
            json!({"maxLifetime": "8761h", "longest": {"maxLifetime": "8760h"}}),
        ),
        class(
            "pausedUntil is a time",
            "/spec/timeouts/pausedUntil",
            json!("2026-12-24T18:00:00Z"),
            json!("1969-12-24T18:00:00Z"),
        ),
        class(
            "pod.runtimeClassName is the name",
            "/spec/pod/runtimeClassName",
            json!("gvisor"),
            json!("g visor"),
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
        class(
            "two editors are the default",
            "/spec/editors",
            json!([{"name": "a", "image": PINNED, "command": ["e"], "default": true}, {"name": "b", "image": PINNED, "command": ["e"], "default": false}]),
            json!([{"name": "a", "image": PINNED, "command": ["e"], "default": true}, {"name": "b", "image": PINNED, "command": ["e"], "default": true}]),
        ),
        class(
            "the name of an editor is lower-case letters",
            "/spec/editors",
            json!([{"name": "vscode-2", "image": PINNED, "command": ["bin/e"]}]),
            json!([{"name": "none", "image": PINNED, "command": ["bin/e"]}]),
        ),
        class(
            "the image of an editor is pinned by digest",
            "/spec/editors",
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"]}]),
            json!([{"name": "e", "image": "registry.example.com/e:1", "command": ["bin/e"]}]),
        ),
        class(
            "ports 60003, 60004 and 60022",
            "/spec/editors",
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "port": 60001}]),
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "port": 60003}]),
        ),
        class(
            "readinessPath begins with",
            "/spec/editors",
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "readinessPath": "/a?b=c"}]),
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "readinessPath": "/a b"}]),
        ),
        class(
            "needs.architectures holds names",
            "/spec/editors",
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "needs": {"architectures": ["amd64", "arm64"]}}]),
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "needs": {"architectures": ["x86_64"]}}]),
        ),
        class(
            "needs.glibc is a version",
            "/spec/editors",
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "needs": {"glibc": "2.28"}}]),
            json!([{"name": "e", "image": PINNED, "command": ["bin/e"], "needs": {"glibc": "2.x"}}]),
        ),
        class(
            "tools.image is no image reference",
            "/spec/tools",
            json!({"image": "registry.example.com:5000/workstead:1"}),
            json!({"image": "Not An Image"}),
        ),
        class(
            "gitIdentity.emailDomain is a domain",
            "/spec/gitIdentity",
            json!({"emailDomain": "example.com", "nameFrom": "Owner"}),
            json!({"emailDomain": "@example.com"}),
        ),
    ]
}

pub fn gitsync_rules() -> Vec<Case> {
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
