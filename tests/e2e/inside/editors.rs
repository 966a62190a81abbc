//! Editors: which image they run in, and VS Code as a person uses it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};
use workstead::api::workspace::Cause;

use super::life::kill_first_process;
use super::{Room, has, is_ready, project, status};
use crate::harness::{
    Cluster, Guarded, OwnNode, Way, debian_image, editor_images, forward, musl_image, skipped,
    tiny_image,
};

/// A class with both editors, of which VS Code is what a workspace gets that names none.
fn class(room: &Room<'_>) -> Option<Value> {
    let [vscode, terminal] = editor_images()?;
    let editors = json!([
        {
            "name": "vscode", "image": vscode, "command": ["bin/start"], "readinessPath": "/healthz", "default": true,
            "needs": {"architectures": ["amd64"], "glibc": "2.34"},
        },
        {"name": "terminal", "image": terminal, "command": ["bin/start"], "needs": {"architectures": ["amd64"]}},
    ]);
    Some(room.class("editors", json!({"editors": editors})))
}

#[tokio::test]
#[ignore = "needs the node"]
async fn an_image_without_glibc_is_told_so_in_seconds_and_offered_the_terminal_which_runs_there() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "editors").await;
    let Some(class) = class(&room) else {
        skipped(
            "editors: E2E_VSCODE_IMAGE and E2E_TERMINAL_IMAGE name none, and the node is not ours",
        );
        return room.leave(&[]).await;
    };
    let mut objects = vec![class];
    let images = [("musl", musl_image()), ("tiny", tiny_image())];
    for (image, reference) in &images {
        let more =
            |editor: &str| json!({"className": room.class_name("editors"), "editor": editor});
        objects.extend(
            ["vscode", "terminal"].map(|editor| {
                room.workspace(&format!("{image}-{editor}"), reference, more(editor))
            }),
        );
    }
    cluster.apply_all(objects);
    for (image, _) in &images {
        let name = format!("{image}-vscode");
        let told = |w: &_| {
            let failure = status(w).failure.as_ref();
            failure.is_some_and(|f| f.cause == Cause::EditorIncompatible)
        };
        let workspace = room.until(&name, "to tell of its image", told).await;
        let failure = status(&workspace).failure.clone().unwrap();
        let said = format!("{} {}", failure.message, failure.evidence);
        assert!(said.contains("glibc"), "{failure:?}");
        assert!(failure.next_step.contains("editor"), "{failure:?}");
        assert!(!failure.retryable, "{failure:?}");
        let started = status(&workspace).start_requested_at.clone().unwrap();
        let since = failure.since.clone().unwrap();
        let took = since.0.duration_since(started.0).as_secs();
        assert!(took < 30, "{took} s");

        let name = format!("{image}-terminal");
        let open = |w: &_| is_ready(w) && has(w, "EditorReady", "True");
        room.until(&name, "to open its terminal", open).await;
    }
    for (image, _) in &images {
        // By now the terminal beside it is open: nothing was tried again and again.
        let pods = cluster
            .pods(&room.namespace, &format!("{image}-vscode"))
            .await;
        assert_eq!(pods.len(), 1, "{image}");
        let containers = pods[0].status.clone().unwrap().container_statuses.unwrap();
        assert_eq!(containers[0].restart_count, 0, "{image}");
    }
    room.leave(&["editors"]).await;
}

/// Lets nothing begin a conversation with the world from inside of a pod, and counts who tries. Of TCP that is a SYN: nobody
/// has tracked the connections that were there before, so that answers on them would look new.
const CLOSE: &str = r#"
pid=$(ctr -n k8s.io task ls | awk -v id="$1" '$1 == id {print $2}')
nsenter --net="/proc/$pid/ns/net" nft -f - <<RULES
table inet watch {
  set seen { type inet_proto . inet_service; flags dynamic; size 1024; }
  counter tried { }
  chain output {
    type filter hook output priority 0; policy accept;
    oifname "lo" accept
    ct state established,related accept
    tcp flags & (syn | ack) != syn accept
    meta l4proto { tcp, udp } add @seen { meta l4proto . th dport } counter name tried drop
  }
}
RULES
"#;

/// What has tried.
const TRIED: &str = r#"
pid=$(ctr -n k8s.io task ls | awk -v id="$1" '$1 == id {print $2}')
nsenter --net="/proc/$pid/ns/net" nft list table inet watch
"#;

async fn container(room: &Room<'_>, name: &str) -> String {
    let pod = room.cluster.pods(&room.namespace, name).await.remove(0);
    let statuses = pod.status.unwrap().container_statuses.unwrap();
    let id = statuses[0].container_id.clone().unwrap();
    id.strip_prefix("containerd://").unwrap().to_owned()
}

async fn on_node(node: &OwnNode, room: &Room<'_>, script: &str) -> String {
    let id = container(room, "vscode").await;
    let output = node.exec(&["sh", "-c", script, "sh", &id]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The browser, with a way to the editor that ends with it.
struct Browser {
    forward: Child,
    url: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.forward.kill());
        drop(self.forward.wait());
    }
}

/// Whether anybody speaks HTTP there.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut begin = [0; 5];
        stream.read_exact(&mut begin)?;
        Ok(String::from_utf8_lossy(&begin).into_owned())
    };
    ask().is_ok_and(|begin| begin == "HTTP/")
}

impl Browser {
    /// Once the editor answers: right after a restart the status may still be that of before, and a way that leads to
    /// nobody ends.
    async fn open(room: &Room<'_>) -> Self {
        crate::harness::eventually("the editor to answer", || async {
            let (forward, port) =
                forward(room.cluster, &room.namespace, "deployment/vscode", 60001);
            let url = format!("http://127.0.0.1:{port}/");
            let browser = Self { forward, url };
            answers(port).then_some(browser)
        })
        .await
    }

    /// Does a part of what tests/e2e/browser/vscode.cjs has.
    fn does(&self, part: &str) {
        let drive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/browser/drive");
        let output = Command::new(drive)
            .args(["vscode.cjs", part, &self.url])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{part}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs the node"]
async fn vs_code_in_a_browser_edits_saves_and_runs_a_terminal_finds_it_again_and_calls_nobody() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "vscode").await;
    let Some(class) = class(&room) else {
        skipped(
            "VS Code in a browser: E2E_VSCODE_IMAGE and E2E_TERMINAL_IMAGE name none, and the node is not ours",
        );
        return room.leave(&[]).await;
    };
    let server = Guarded::start(&cluster, &room.namespace, &["git"], "open-sesame");
    let more = json!({
        "className": room.class_name("editors"), "projects": [project("code", &server.url("git", Way::Https))],
    });
    cluster.apply_all(vec![
        server.secret("git", "git", None, server.right("git")),
        class,
        room.workspace("vscode", &debian_image(), more),
    ]);
    let open = |w: &_| is_ready(w) && has(w, "EditorReady", "True");
    room.until("vscode", "to open its editor", open).await;
    let node = OwnNode::here();
    if let Some(node) = &node {
        // The editor begins once more, where it can reach nobody: the pod's network stays when its first process goes.
        on_node(node, &room, CLOSE).await;
        let pod = cluster.pods(&room.namespace, "vscode").await.remove(0);
        let before = container(&room, "vscode").await;
        kill_first_process(node, &pod);
        crate::harness::eventually("the container to begin anew", || async {
            (container(&room, "vscode").await != before).then_some(())
        })
        .await;
        room.until("vscode", "to open its editor again", open).await;
    } else {
        skipped("the watch on the editor's connections: the node is not ours");
    }
    Browser::open(&room).await.does("begin");
    let readme = room.exec("vscode", "cat /projects/code/README");
    assert!(readme.contains("written in the browser"), "{readme}");
    let seen = room.exec("vscode", "cat /projects/code/from-terminal");
    assert_eq!(seen.trim(), "42 in /projects/code");
    let commits = "git -C /projects/code log --format=%s | head -1";
    assert_eq!(room.exec("vscode", commits).trim(), "Terminal");
    if let Some(node) = &node {
        let tried = on_node(node, &room, TRIED).await;
        assert!(tried.contains("packets 0 "), "it calls somebody: {tried}");
        // Whoever does is seen.
        room.exec(
            "vscode",
            "timeout 1 curl --silent http://192.0.2.1/ || true",
        );
        let tried = on_node(node, &room, TRIED).await;
        assert!(!tried.contains("packets 0 "), "{tried}");
    }

    room.verb("stop", "vscode");
    room.verb("start", "vscode");
    room.until("vscode", "to open its editor after a stop", open)
        .await;
    Browser::open(&room).await.does("again");
    // Git in the terminal was let in by the server without a question.
    let pushed = ["exec", "-n", &room.namespace, "pod/guarded", "--", "git"];
    let log = [
        "-C",
        "/srv/git/demo.git",
        "log",
        "-1",
        "--format=%s",
        "main",
    ];
    let pushed = cluster.kubectl(&[&pushed[..], &log].concat());
    assert_eq!(pushed.trim(), "Terminal");
    room.leave(&["editors"]).await;
}
