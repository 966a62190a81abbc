//! Which Secret is used for which host, what is said when none opens the door, and that what is in it stays there.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use workstead::api::workspace::Cause;

use super::{OWNER, Room, command, project};
use crate::harness::{
    Cluster, Guarded, INSTALLATION, OwnNode, TEXT, USER, Way, debian_image, skipped, stray_key,
};

/// In every password of this test.
const CANARY: &str = "canary7f3a9c";

/// Everybody's names for the server.
const HOSTS: [&str; 5] = ["right", "wrong", "none", "bobs", "two"];

#[tokio::test]
#[ignore = "needs the node"]
async fn the_secret_of_host_and_owner_opens_the_door_no_other_does_and_nothing_of_it_is_seen() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "keys").await;
    let server = Guarded::start(
        &cluster,
        &room.namespace,
        &HOSTS,
        &format!("{CANARY}-right"),
    );
    let lookout = Lookout::begin(&room.namespace);
    cluster.apply_all(secrets(&server));
    cluster.apply_all(workspaces(&room, &server));

    for (name, said) in [
        ("wrong-https", "Authentication failed"),
        ("wrong-ssh", "Permission denied"),
        ("none-http", "could not read Username"),
        ("none-ssh", "Host key verification failed"),
        ("not-bob", "could not read Username"),
    ] {
        let failure = room.until_failed(name, Cause::CloneAuth).await;
        let all = format!("{} {}", failure.message, failure.evidence);
        assert!(all.contains(said), "{name}: {failure:?}");
        assert!(failure.next_step.contains("workstead.dev/hosts"), "{name}");
    }
    let two = room.until_failed("two", Cause::CloneAuth).await;
    assert!(two.message.contains("two-a and two-b"), "{two:?}");
    let stranger = room.until_failed("stranger", Cause::CloneNetwork).await;
    assert!(stranger.next_step.contains("ca.crt"), "{stranger:?}");

    room.until_ready("bob").await;
    room.until_ready("right").await;
    for project in ["http", "https", "ssh"] {
        let text = room.exec("right", &format!("cat /projects/{project}/README"));
        assert_eq!(text.trim(), TEXT);
    }
    let author = room.exec("right", "git -C /projects/ssh log -1 --format=%ae");
    assert_eq!(author.trim(), OWNER);
    // In a shell that nobody prepared, too; and what a person sets counts before what we set.
    let fetched = "git -C /projects/https fetch --quiet && git -C /projects/ssh fetch --quiet && git config user.email";
    assert_eq!(room.exec("right", fetched).trim(), OWNER);
    let own = "git config --global user.email me@example.com && git config user.email; git config --global --unset user.email";
    assert_eq!(room.exec("right", own).trim(), "me@example.com");
    // The helper's answer, as a digest: in no log it would be told from a leak.
    let answer = room.exec("right", "cat /projects/answer");
    let expected = format!("{}\n", server.password);
    assert_eq!(answer.trim(), hex::encode(Sha256::digest(expected)));

    if let Some(lookout) = lookout {
        // A decoy shows that it looks; its name is put together where no other process sees it.
        let decoy = "A=canary7f3; A=${A}a9c; export A; exec sleep 1.5";
        room.exec("right", decoy);
        let seen = lookout.end();
        assert!(seen.contains("sleep 1.5"), "the decoy was not seen");
        let others: Vec<_> = seen
            .lines()
            .filter(|line| line.trim() != "sleep 1.5")
            .collect();
        assert!(others.is_empty(), "in processes: {others:?}");
    }
    search(&room, &server);
    room.leave(&[]).await;
}

fn secrets(server: &Guarded) -> Vec<Value> {
    let mut wrong = server.right("wrong");
    wrong["password"] = format!("{CANARY}-wrong").into();
    wrong["identity"] = stray_key().into();
    let one = |name: &str| server.secret(name, "two", None, server.right("two"));
    vec![
        server.secret("right", "right", None, server.right("right")),
        server.secret("wrong", "wrong", None, wrong),
        server.secret(
            "bobs",
            "bobs",
            Some("bob@example.com"),
            server.right("bobs"),
        ),
        one("two-a"),
        one("two-b"),
    ]
}

fn workspaces(room: &Room<'_>, server: &Guarded) -> Vec<Value> {
    let image = debian_image();
    let one = |name: &str, host: &str, way| {
        let more = json!({"projects": [project("demo", &server.url(host, way))]});
        room.workspace(name, &image, more)
    };
    let projects = [
        ("http", Way::Http),
        ("https", Way::Https),
        ("ssh", Way::Ssh),
    ]
    .map(|(name, way)| project(name, &server.url("right", way)));
    // Git as a person uses it: it asks nothing, and knows who they are.
    let ask = format!(
        "printf 'protocol=https\\nhost={}\\n\\n' | git credential fill | sed -n 's/^password=//p' | sha256sum | cut -d' ' -f1 >/projects/answer",
        server.host("right")
    );
    let push = "for way in http https ssh; do cd /projects/$way && git pull --quiet && git commit --quiet --allow-empty -m $way && git push --quiet origin HEAD:refs/heads/$way || exit 1; done";
    let post_start = [command("push", push), command("ask", &ask)];
    let mut bob = one("bob", "bobs", Way::Https);
    bob["spec"]["owner"] = "bob@example.com".into();
    vec![
        room.workspace(
            "right",
            &image,
            json!({"projects": projects, "postStart": post_start}),
        ),
        one("wrong-https", "wrong", Way::Https),
        one("wrong-ssh", "wrong", Way::Ssh),
        one("none-http", "none", Way::Http),
        one("none-ssh", "none", Way::Ssh),
        // Its certificate is vouched for in the Secrets of other hosts.
        one("stranger", "none", Way::Https),
        one("not-bob", "bobs", Way::Http),
        one("two", "two", Way::Http),
        bob,
    ]
}

/// What must not be found anywhere: the passwords, what HTTP makes of the right one, and a line of the key.
fn needles(server: &Guarded) -> Vec<String> {
    let line = server.identity.lines().nth(1).unwrap();
    let header = BASE64_STANDARD.encode(format!("{USER}:{}", server.password));
    vec![
        CANARY.to_owned(),
        header,
        BASE64_STANDARD.encode(&server.password),
        line.to_owned(),
    ]
}

/// Looks for the secrets wherever somebody but their user could read them.
fn search(room: &Room<'_>, server: &Guarded) {
    let cluster = room.cluster;
    let needles = needles(server);
    let is_clean = |text: &str, what: &str| {
        for needle in &needles {
            let found = text.lines().find(|line| line.contains(needle.as_str()));
            assert!(found.is_none(), "{what} has it: {found:?}");
        }
    };
    let log = ["-l", "app.kubernetes.io/name=workstead", "--tail=-1"];
    is_clean(
        &cluster.kubectl(&[&["logs", "-n", INSTALLATION][..], &log].concat()),
        "the controller's log",
    );
    for pod in ["right", "wrong-https", "wrong-ssh", "two", "bob"] {
        let deployment = format!("deployment/{pod}");
        let log = cluster.kubectl(&["logs", "-n", &room.namespace, &deployment]);
        is_clean(&log, &format!("the log of {pod}"));
    }
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds = kinds.split_whitespace().collect::<Vec<_>>().join(",");
    let all = cluster.kubectl(&["get", &kinds, "-A", "-o", "json"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    let items = all["items"].as_array().unwrap();
    // The test is of no use where it can't see.
    let kinds_seen: std::collections::BTreeSet<_> =
        items.iter().map(|item| item["kind"].as_str()).collect();
    for kind in [
        "Workspace",
        "Pod",
        "Event",
        "ControllerRevision",
        "Deployment",
        "Secret",
    ] {
        assert!(kinds_seen.contains(&Some(kind)), "no {kind} was looked at");
    }
    for item in items {
        let is_own = item["kind"] == "Secret"
            && item["metadata"]["namespace"] == room.namespace.as_str()
            && (item["metadata"]["labels"]["workstead.dev/use"] == "git-credentials"
                || item["metadata"]["name"] == "server-keys");
        if !is_own {
            let name = format!("{} {}", item["kind"], item["metadata"]["name"]);
            is_clean(&item.to_string(), &name);
        }
    }
    // The volume, and all else that programs in the workspace can write; the Secret itself is mounted in the last one.
    let find =
        "grep -rlaFf - --exclude-dir=git-credentials /projects /tmp /run/workstead; test $? = 1";
    let patterns = needles.join("\n");
    for workspace in ["right", "wrong-https", "bob"] {
        let outcome = room.run(workspace, &["sh", "-c", find], &patterns);
        assert_eq!(outcome.stdout, "", "{workspace}");
        assert_eq!(outcome.code, Some(0), "{workspace}: {}", outcome.stderr);
    }
    match std::env::var_os("E2E_AUDIT_LOG") {
        Some(log) => {
            let log = std::fs::read_to_string(log).unwrap();
            let bodies = log
                .lines()
                .filter(|line| line.contains("requestObject") && line.contains(&room.namespace));
            assert!(bodies.count() > 0, "the audit log has no bodies");
            is_clean(&log, "the audit log");
        }
        None => skipped("the audit log in the search for secrets: E2E_AUDIT_LOG names none"),
    }
}

/// Looks at arguments and environment of every process of the node's workspaces, again and again.
struct Lookout {
    node: OwnNode,
    flag: String,
    child: std::process::Child,
}

/// The file with the name $1 ends it. A bracket keeps it from finding itself.
const LOOK: &str = r#"
until [ -e "$1" ]; do
  for process in $(grep -la 'canary[7]f3a9c' /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null); do
    folder=$(dirname "$process")
    # The server knows passwords, too.
    [ ! -e "$folder/root/opt/workstead" ] || { tr '\0' ' ' <"$folder/cmdline" && echo; }
  done
  sleep 0.05
done
"#;

impl Lookout {
    fn begin(namespace: &str) -> Option<Self> {
        let Some(node) = OwnNode::here() else {
            skipped("arguments and environment in the search for secrets: the node is not ours");
            return None;
        };
        let flag = format!("/tmp/{namespace}-end");
        let child = node.start(&["sh", "-c", LOOK, "sh", &flag]);
        Some(Self { node, flag, child })
    }

    /// The command lines of the processes that have it.
    fn end(self) -> String {
        assert!(self.node.exec(&["touch", &self.flag]).status.success());
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "nobody looked");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
