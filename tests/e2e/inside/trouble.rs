//! What goes wrong inside: it is said, and the workspace runs on.

use std::time::Duration;

use serde_json::{Value, json};
use workstead::api::workspace::Cause;

use super::{Room, command, has, runs, status};
use crate::harness::{Cluster, OwnNode, Repository, debian_image, now, skipped, tiny_image};

/// A server that begins to answer and dies.
const HALF: &str = "#!/bin/sh
printf 'Content-Type: application/x-git-upload-pack-advertisement\\r\\nContent-Length: 100000\\r\\n\\r\\n'
printf '001e# service=git-upload-pack\\n00000155'
";

/// A server that takes a question and keeps silent.
const SILENT: &str = "#!/bin/sh
exec sleep 1000
";

/// A web server that knows nothing of Git.
fn liar(room: &Room<'_>) -> Vec<Value> {
    let metadata = json!({"name": "liar", "namespace": room.namespace, "labels": {"app": "liar"}});
    let script = "mkdir -p /tmp/www/garbage.git/info /tmp/www/cgi-bin && echo '<html>' >/tmp/www/garbage.git/info/refs && cp /files/half /files/silent /tmp/www/cgi-bin/ && chmod +x /tmp/www/cgi-bin/* && exec busybox httpd -f -p 3000 -h /tmp/www";
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"half": HALF, "silent": SILENT}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": {"app": "liar"}, "ports": [{"port": 80, "targetPort": 3000}],
        }}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "liar", "image": debian_image(), "command": ["sh", "-c", script],
                "readinessProbe": {"tcpSocket": {"port": 3000}, "periodSeconds": 1},
                "volumeMounts": [{"name": "files", "mountPath": "/files"}],
            }],
            "volumes": [{"name": "files", "configMap": {"name": "liar"}}],
        }}),
    ]
}

/// A volume of a few megabytes, made on the node, and the class that gives it to its workspaces.
fn small_volume(room: &Room<'_>, node: &OwnNode) -> Vec<Value> {
    let name = room.class_name("small");
    let folder = format!("/var/tmp/{name}");
    let script = "mkdir -p \"$1\" && mount -t tmpfs -o size=4m,mode=0777 tmpfs \"$1\"";
    let made = node.exec(&["sh", "-c", script, "sh", &folder]);
    assert!(made.status.success(), "{made:?}");
    vec![
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": folder},
            },
        }),
        room.class("small", json!({"storage": {"className": name}})),
    ]
}

#[tokio::test]
#[ignore = "needs the node"]
async fn servers_that_lie_references_that_are_gone_and_full_volumes_are_told_apart() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "trouble").await;
    let repository = Repository::create(&cluster, &room.namespace);
    // No compression makes these few: each line is the digest of the one before.
    repository.write("noise", &noise(8 * 1024 * 1024));
    repository.push("Begin");
    let url = &repository.cluster_url;
    let lies = format!("http://liar.{}.svc", room.namespace);
    let image = tiny_image();
    let one = |name: &str, git: Value| {
        let more = json!({"projects": [{"name": "code", "git": git}]});
        room.workspace(name, &image, more)
    };
    let mut objects = liar(&room);
    let garbage = format!("{lies}/garbage.git");
    let (half, silent) = (
        format!("{lies}/cgi-bin/half"),
        format!("{lies}/cgi-bin/silent"),
    );
    objects.extend([
        one("gone", json!({"url": url, "ref": "no-such-branch"})),
        one("garbage", json!({"url": garbage})),
        one("half", json!({"url": half})),
        one("waits", json!({"url": silent})),
    ]);
    let node = OwnNode::here();
    if let Some(node) = &node {
        objects.extend(small_volume(&room, node));
        let mut full = one("full", json!({"url": url}));
        full["spec"]["className"] = room.class_name("small").into();
        full["spec"]["storage"] = json!({"size": "1Gi"});
        objects.push(full);
    } else {
        skipped("a clone onto a full volume: the node is not ours, and can't be given a small one");
    }
    cluster.apply_all(objects);

    // While it is waited for a server, a workspace runs, says so, and ends as soon as anybody wants.
    let waits = |w: &_| runs(w) && has(w, "Ready", "False") && has(w, "ProjectsReady", "False");
    room.until("waits", "to wait for its project", waits).await;
    let begun = now();
    room.verb("stop", "waits");
    assert!(begun.elapsed() < Duration::from_secs(20));

    let gone = room.until_failed("gone", Cause::CloneRef).await;
    assert!(gone.message.contains("no-such-branch"), "{gone:?}");
    for name in ["garbage", "half"] {
        let failure = room.until_failed(name, Cause::CloneNetwork).await;
        assert!(!failure.evidence.is_empty(), "{failure:?}");
        let left = room.run(name, &["/busybox", "ls", "-A", "/projects"], "");
        assert!(!left.success().contains("code"), "{name}");
    }
    if let Some(node) = &node {
        let full = room.until_failed("full", Cause::CloneFailed).await;
        let said = format!("{} {}", full.message, full.evidence);
        assert!(said.contains("No space left on device"), "{full:?}");
        assert!(full.next_step.contains("spec.storage.size"), "{full:?}");
        // The half that was there has made room again.
        let left = room.run("full", &["/busybox", "ls", "-A", "/projects"], "");
        assert!(!left.success().contains("code"));
        let name = room.class_name("small");
        room.verb("stop", "full");
        for kind in ["workspace/full", "persistentvolumeclaim/full-home"] {
            cluster.kubectl(&["delete", kind, "-n", &room.namespace, "--timeout=60s"]);
        }
        for kind in ["persistentvolume", "storageclass"] {
            cluster.kubectl(&["delete", kind, &name, "--timeout=60s"]);
        }
        let script = "umount \"$1\" && rmdir \"$1\"";
        node.exec(&["sh", "-c", script, "sh", &format!("/var/tmp/{name}")]);
        room.leave(&["small"]).await;
    } else {
        room.leave(&[]).await;
    }
}

/// Text that is as long as it looks.
fn noise(bytes: usize) -> String {
    use sha2::{Digest, Sha256};
    let mut text = String::with_capacity(bytes + 65);
    let mut digest = Sha256::digest(b"noise");
    while text.len() < bytes {
        text.push_str(&hex::encode(digest));
        text.push('\n');
        digest = Sha256::digest(digest);
    }
    text
}

#[tokio::test]
#[ignore = "needs the node"]
async fn start_commands_that_hang_flood_and_leave_orphans_do_no_harm() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "commands").await;
    let image = debian_image();
    let mut hang = command("hang", "echo before; sleep 1000 & wait");
    hang["timeout"] = "2s".into();
    let flood = "head -c 30000000 /dev/zero | tr '\\0' x; yes flood | head -c 30000000; echo the end; exit 9";
    // What is left behind goes to the first process, dead or alive.
    let orphans = "i=0; while [ $i -lt 2000 ]; do ( : & ); i=$((i + 1)); done; (sleep 1000 &)";
    cluster.apply_all(vec![
        room.workspace(
            "hangs",
            &image,
            json!({"postStart": [hang, command("after", "echo ran >after")]}),
        ),
        room.workspace(
            "floods",
            &image,
            json!({"postStart": [command("flood", flood)]}),
        ),
        room.workspace(
            "leaves",
            &image,
            json!({"postStart": [command("leave", orphans)]}),
        ),
    ]);

    let hangs = room.until_failed("hangs", Cause::PostStartFailed).await;
    assert!(
        hangs.message.contains("hang") && hangs.message.contains("2 s"),
        "{hangs:?}"
    );
    assert!(hangs.evidence.contains("before"), "{hangs:?}");
    // It was ended with all that it started, and the next one had its turn.
    assert_eq!(room.exec("hangs", "cat /projects/after").trim(), "ran");
    assert_eq!(room.exec("hangs", "pgrep -c sleep || true").trim(), "0");

    let floods = room.until_failed("floods", Cause::PostStartFailed).await;
    assert!(floods.evidence.contains("exit code 9"), "{floods:?}");
    assert!(floods.evidence.contains("the end"), "{floods:?}");
    assert!(floods.evidence.len() < 4096, "{}", floods.evidence.len());
    let workspace = room.until("floods", "to be there", |_| true).await;
    let size = serde_json::to_vec(status(&workspace)).unwrap().len();
    assert!(size < 16 * 1024, "the status has {size} bytes");

    let leaves = room.until_ready("leaves").await;
    assert!(has(&leaves, "PostStartReady", "True"));
    assert_eq!(room.exec("leaves", "pgrep -xc sleep").trim(), "1");
    let dead = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    crate::harness::eventually("the orphans to be collected", || async {
        (room.exec("leaves", dead).trim() == "0").then_some(())
    })
    .await;
    for name in ["floods", "leaves"] {
        let resident = room.exec(name, "awk '/^VmHWM/ {print $2}' /proc/1/status");
        let kibibytes: u64 = resident.trim().parse().unwrap();
        assert!(kibibytes < 32 * 1024, "{name}: {kibibytes} KiB");
    }
    room.leave(&[]).await;
}
