//! Ends and new beginnings: what was there is there again.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams};
use serde_json::json;

use super::{Room, is_ready, project, runs};
use crate::harness::{Cluster, OwnNode, Repository, debian_image, eventually, now, skipped};

/// All that is below a folder: kind, rights, owner, times, and what is in it.
const MANIFEST: &str = r#"
cd "$1" && find . -printf '%p %y %m %U:%G %s %T@ %l\n' | sort &&
find . -type f -exec sha256sum {} + | sort
"#;

/// Work of all kinds: changed, staged, new, removed, ignored, with odd names, rights and times.
const WORK: &str = r#"
cd /projects/code
echo changed >README.md
printf 'raw\000bytes\r\n' >'odd name *'
mkdir -p deep/er && echo staged >deep/er/file && git add deep
rm gone && chmod 600 README.md && ln -s /nowhere link
touch -d '2001-02-03 04:05:06.789' deep/er/file
git stash list >/dev/null
"#;

#[tokio::test]
#[ignore = "needs the node"]
async fn work_is_untouched_to_the_byte_when_the_workspace_starts_again_or_its_first_process_is_killed()
 {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "work").await;
    let repository = Repository::create(&cluster, &room.namespace);
    for file in ["README.md", "gone"] {
        repository.write(file, "first");
    }
    repository.push("Say first");
    let more = json!({"projects": [project("code", &repository.cluster_url)]});
    cluster.apply_all(vec![room.workspace("kept", &debian_image(), more)]);
    room.until_ready("kept").await;
    room.exec("kept", WORK);
    let manifest = || {
        let command = ["sh", "-c", MANIFEST, "sh", "/projects/code"];
        room.run("kept", &command, "").success()
    };
    let before = manifest();
    assert!(before.contains("./odd name * f 644"), "{before}");
    repository.write("README.md", "second");
    repository.push("Say second");
    room.verb("restart", "kept");
    room.until_ready("kept").await;
    assert_eq!(manifest(), before, "after a restart");

    let Some(node) = OwnNode::here() else {
        skipped("a first process that is killed: the node is not ours");
        return room.leave(&[]).await;
    };
    let pod = cluster.pods(&room.namespace, "kept").await.remove(0);
    kill_first_process(&node, &pod);
    // The kubelet starts the container again, in the same pod, and the status tells of it.
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &room.namespace);
    eventually("an Event that tells of the kill", || async {
        let all = events.list(&ListParams::default()).await.unwrap();
        let told = all.items.into_iter().find(|event| {
            event.involved_object.kind.as_deref() == Some("Workspace")
                && event.reason.as_deref() == Some("KilledExternally")
        });
        told.filter(|event| event.message.as_deref().unwrap().contains("exit code 137"))
    })
    .await;
    room.until_ready("kept").await;
    let again = cluster.pods(&room.namespace, "kept").await.remove(0);
    assert_eq!(again.metadata.uid, pod.metadata.uid);
    let restarts = again.status.unwrap().container_statuses.unwrap()[0].restart_count;
    assert_eq!(restarts, 1);
    assert_eq!(manifest(), before, "after a kill");
    room.leave(&[]).await;
}

/// From the node: nobody in the container can.
pub(super) fn kill_first_process(node: &OwnNode, pod: &Pod) {
    let statuses = pod.status.as_ref().unwrap().container_statuses.as_ref();
    let id = statuses.unwrap()[0].container_id.clone().unwrap();
    let id = id.strip_prefix("containerd://").unwrap();
    let script = r#"kill -9 "$(ctr -n k8s.io task ls | awk -v id="$1" '$1 == id {print $2}')""#;
    let killed = node.exec(&["sh", "-c", script, "sh", id]);
    assert!(killed.status.success(), "{killed:?}");
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_stop_lets_programs_end_by_themselves_and_does_not_wait_for_longer_than_they_take() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "stop").await;
    let script = "trap 'sleep 1; echo saved >/projects/saved; exit 0' TERM; echo ready >/projects/ready; while :; do sleep 0.1; done";
    let more = json!({"command": ["sh", "-c", script]});
    let deaf = json!({"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], "timeouts": {"stopping": "10s"}});
    cluster.apply_all(vec![
        room.workspace("polite", &debian_image(), more),
        room.workspace("deaf", &debian_image(), deaf),
    ]);
    room.until("polite", "to run", runs).await;
    room.until("deaf", "to run", runs).await;
    eventually("the command to listen", || async {
        room.run("polite", &["test", "-e", "/projects/ready"], "")
            .code
            .filter(|code| *code == 0)
    })
    .await;
    let begun = now();
    room.verb("stop", "polite");
    // Half a minute is what it might have had.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    // One that does not listen is ended all the same.
    room.verb("stop", "deaf");
    room.verb("start", "polite");
    room.until("polite", "to be ready", is_ready).await;
    assert_eq!(room.exec("polite", "cat /projects/saved").trim(), "saved");
    room.leave(&[]).await;
}
