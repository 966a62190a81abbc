//! A value that is searched for wherever anybody could read it.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::{Value, json};
use workstead::api::workspace::Cause;
use workstead::secrets::identity::Recipient;
use workstead::secrets::seal::seal;

use super::{Desk, listing};
use crate::harness::{Cluster, INSTALLATION, OwnNode, forward};
use crate::inside::{Room, command, has, status};

/// In every value of this test. No form of quoting changes it, so it is found in any of them. Each run has another one: what an
/// earlier one left in a log is not its own.
static CANARY: LazyLock<String> = LazyLock::new(|| {
    let random = RandomState::new().hash_one("canary");
    format!("canary{random:016x}")
});

/// A value with all that is written in another way somewhere.
fn value(before: &str) -> String {
    let canary = &*CANARY;
    format!("{before}{canary}\"\\'\n$(X) ü")
}

/// The canary as it is, and what other codes make of it wherever it stands in a text.
fn needles() -> Vec<String> {
    let canary = &*CANARY;
    let mut needles = vec![CANARY.clone(), hex::encode(&*CANARY)];
    for before in 0..3 {
        // Three characters become four; the ends depend on their neighbours and are left out.
        let text = format!("{}{canary}", "x".repeat(before));
        let whole = text.len() / 3 * 4;
        for code in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
            needles.push(code[if before == 0 { 0 } else { 4 }..whole].to_owned());
        }
    }
    needles.push(CANARY.bytes().map(|byte| format!("{byte}, ")).collect());
    needles
}

/// Looks for the canary in texts.
struct Search(Vec<String>);

impl Search {
    fn is_clean(&self, text: &str, what: &str) {
        for needle in &self.0 {
            let found = text.lines().find(|line| line.contains(needle.as_str()));
            let found = found.map(|line| line.chars().take(300).collect::<String>());
            assert!(found.is_none(), "{what} has {needle}: {found:?}");
        }
    }
}

/// A set that is sealed without a look at what is in it, as stock age does.
fn raw(room: &Room<'_>, name: &str, plaintext: &str) -> Value {
    let listed = room
        .cluster
        .workstead(&["identity", "list", "-o", "json"])
        .success();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let recipient = listed["identities"][0]["recipient"].as_str().unwrap();
    let recipient = Recipient::parse(recipient).unwrap();
    let sealed = seal(plaintext.as_bytes(), &[recipient]).unwrap();
    json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables",
        "metadata": {"name": name, "namespace": room.namespace}, "spec": {"format": "Age", "sealed": sealed},
    })
}

/// Sets of which each is refused in a way of its own, with the canary wherever a message might quote. Names of
/// fields and paths are told, as they have to be; what stands where the name of a variable belongs may be a value.
fn refused(room: &Room<'_>, good: &str) -> Vec<(&'static str, Value)> {
    let canary = &*CANARY;
    let bound = |name: &str, rest: &str| {
        let place = format!("binding: {{namespace: {}, name: {name}}}", room.namespace);
        raw(room, name, &format!("{place}\n{rest}\n"))
    };
    let mut copied: Value = {
        let mut documents =
            workstead::yaml::read(good.as_bytes(), workstead::yaml::Limits::default());
        documents.remove(0).unwrap().root.to_json()
    };
    copied["metadata"]["name"] = "copied".into();
    vec![
        ("BindingMismatch", copied),
        (
            "BindingMissing",
            raw(room, "unbound", &format!("env: {{A: {canary}}}")),
        ),
        (
            "InvalidContent",
            bound("unknown", &format!("envs: {{A: {canary}}}")),
        ),
        (
            "InvalidContent",
            bound("name", &format!("env: {{'{canary} x': b}}")),
        ),
        (
            "InvalidContent",
            bound("broken", &format!("env: {{A: '{canary}")),
        ),
        (
            "InvalidContent",
            bound("twice", &format!("env: {{A: {canary}, A: {canary}}}")),
        ),
        (
            "InvalidContent",
            bound(
                "path",
                &format!("files: {{'../path': {{content: {canary}}}}}"),
            ),
        ),
        (
            "InvalidContent",
            bound("code", &format!("files: {{a: {{b64: '{canary}!'}}}}")),
        ),
        (
            "InvalidContent",
            bound(
                "owner",
                &format!("appliesTo: {{owner: [{canary}]}}\nenv: {{A: b}}"),
            ),
        ),
    ]
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_value_is_in_the_secret_of_its_workspace_and_nowhere_else() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "canary").await;
    let desk = Desk::new(&room);
    let canary = &*CANARY;
    let set = |before: &str| {
        json!({
            "env": {"TOKEN": value(before), "LINE": &*CANARY},
            "files": {"~/.netrc": {"content": value(before)}, "key": {"content": format!("{canary}\n")}},
        })
    };
    let good = desk.seal("good", &set(""), &[]);
    desk.apply(&good);
    desk.until("good", "Accepted").await;
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"a": value("store"), "bad": "x"},
        "metadata": {"name": "store", "namespace": room.namespace, "labels": {"workstead.dev/use": "variables"}},
    })];
    let reference = |key: &str| json!({"env": [{"name": "STORED", "valueFrom": {"secretKeyRef": {"name": "store", "key": key}}}]});
    // What it prints comes back as evidence of the failure.
    let mut tells = reference("a");
    tells["postStart"] = json!([command(
        "tell",
        "echo before; printf '%s\\n' \"$TOKEN\" \"$LINE\" \"$STORED\"; cat ~/.netrc /run/workstead/files/key; exit 3"
    )]);
    objects.push(listing(&room, "tells", &["good"], tells));
    objects.push(listing(
        &room,
        "missing",
        &["good"],
        reference("no-such-entry"),
    ));
    objects.push(listing(&room, "refused", &["good", "unknown"], json!({})));
    let bad = refused(&room, &good);
    objects.extend(bad.iter().map(|(_, set)| set.clone()));
    cluster.apply_all(objects);

    let failed = room.until_failed("tells", Cause::PostStartFailed).await;
    assert!(
        failed.evidence.contains("before") && failed.evidence.contains("***"),
        "{failed:?}"
    );
    for (reason, set) in &bad {
        desk.until(set["metadata"]["name"].as_str().unwrap(), reason)
            .await;
    }
    for name in ["missing", "refused"] {
        let says_why = |w: &workstead::api::Workspace| {
            has(w, "VariablesReady", "False")
                && status(w)
                    .failure
                    .as_ref()
                    .is_some_and(|f| f.cause == Cause::VariablesUnavailable)
        };
        room.until(name, "to say that variables are missing", says_why)
            .await;
    }
    // Once more with another value, so that two are compared.
    desk.put("good", &set("newer-")).await;
    let outdated = |w: &workstead::api::Workspace| has(w, "VariablesOutdated", "True");
    room.until("tells", "to see the newer set", outdated).await;
    assert_eq!(desk.value("tells", "LINE"), *CANARY);

    let search = Search(needles());
    search_logs(&room, &search);
    search_objects(&room, &search);
    search_metrics(&room, &search);
    search_node(&search);
    room.leave(&[]).await;
}

fn search_logs(room: &Room<'_>, search: &Search) {
    let cluster = room.cluster;
    let pods = cluster.kubectl(&["get", "pods", "-n", INSTALLATION, "-o", "name"]);
    assert!(pods.contains("workstead-controller"), "{pods}");
    for pod in pods.lines() {
        let log = [
            "logs",
            "-n",
            INSTALLATION,
            pod,
            "--all-containers",
            "--tail=-1",
        ];
        search.is_clean(&cluster.kubectl(&log), pod);
        let before = [&log[..], &["--previous"]].concat();
        search.is_clean(&cluster.kubectl_with(&before, "").stdout, pod);
    }
    let log = cluster.kubectl(&["logs", "-n", &room.namespace, "deployment/tells"]);
    assert!(log.contains("***"), "{log}");
    search.is_clean(&log, "the log of the workspace");
    let describe = [
        "describe",
        "workspaces,workspacevariables,pods,events",
        "-n",
        &room.namespace,
    ];
    search.is_clean(&cluster.kubectl(&describe), "kubectl describe");
    for command in [&["why", "tells"][..], &["list"], &["why", "refused"]] {
        let said = cluster.workstead(&[command, &["-n", &room.namespace]].concat());
        search.is_clean(
            &format!("{}{}", said.stdout, said.stderr),
            &command.join(" "),
        );
    }
}

/// Every object of every kind, Secrets with these values left out.
fn search_objects(room: &Room<'_>, search: &Search) {
    let cluster = room.cluster;
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds = kinds.split_whitespace().collect::<Vec<_>>().join(",");
    let all = cluster.kubectl(&["get", &kinds, "-A", "-o", "json", "--show-managed-fields"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    let items = all["items"].as_array().unwrap();
    let mut holders = 0;
    let mut seen = std::collections::BTreeSet::new();
    for item in items {
        let (kind, metadata) = (item["kind"].as_str().unwrap(), &item["metadata"]);
        seen.insert(kind);
        let name = metadata["name"].as_str().unwrap_or_default();
        let is_ours = kind == "Secret" && metadata["namespace"] == room.namespace.as_str();
        let what = format!("{kind} {name}");
        if is_ours && name == "store" {
            continue;
        }
        if is_ours && name.contains("-vars-") {
            holders += 1;
            // Its data alone: not its annotations, not its names.
            assert_eq!(item["immutable"], true, "{what}");
            let mut rest = item.clone();
            rest["data"] = Value::Null;
            search.is_clean(&rest.to_string(), &what);
            let data = item["data"].to_string();
            assert!(
                search.0.iter().any(|needle| data.contains(needle.as_str())),
                "the search is blind"
            );
            continue;
        }
        search.is_clean(&item.to_string(), &what);
    }
    assert!(holders > 0, "no Secret holds the values");
    for kind in [
        "Workspace",
        "WorkspaceVariables",
        "Pod",
        "Event",
        "ControllerRevision",
        "Deployment",
        "Lease",
    ] {
        assert!(seen.contains(kind), "no {kind} was looked at");
    }
}

fn search_metrics(room: &Room<'_>, search: &Search) {
    for deployment in ["workstead-controller", "workstead-proxy"] {
        let what = format!("deployment/{deployment}");
        if room
            .cluster
            .kubectl_with(&["get", &what, "-n", INSTALLATION], "")
            .code
            != Some(0)
        {
            continue;
        }
        let (mut child, port) = forward(room.cluster, INSTALLATION, &what, 8080);
        for path in ["/metrics", "/healthz", "/readyz"] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(super::LIMIT)).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{what}{path}: {answer}");
            assert!(
                path != "/metrics" || answer.contains("workstead_"),
                "{answer}"
            );
            search.is_clean(&answer, &format!("{what}{path}"));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Arguments and environment of our processes, and the logs of all pods, on a node of ours.
fn search_node(search: &Search) {
    let Some(node) = OwnNode::here() else { return };
    let script = "for p in $(pgrep -f 'workstead (controller|proxy|netforward)'); do tr '\\0' '\\n' </proc/$p/cmdline; tr '\\0' '\\n' </proc/$p/environ; done; grep -h 'core file size' /proc/$(pgrep -f 'workstead controller' -o)/limits; find /var/log/pods -type f -exec cat {} +";
    let output = node.exec(&["sh", "-c", script]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("HOSTNAME=workstead-controller"),
        "no process of ours was seen"
    );
    let limit = said
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let limit: Vec<&str> = limit.unwrap_or_default().split_whitespace().collect();
    assert_eq!(limit, ["Max", "core", "file", "size", "0", "0", "bytes"]);
    search.is_clean(&said, "the node");
}
