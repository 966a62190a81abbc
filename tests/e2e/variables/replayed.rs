//! An older text comes back.

use serde_json::json;

use super::{Desk, digest, listing};
use crate::harness::{Cluster, Repository, condition};
use crate::inside::{Room, has};

#[tokio::test]
#[ignore = "needs the node"]
async fn an_old_serial_that_a_git_revert_brings_back_is_refused_and_the_way_out_is_named() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "revert").await;
    let desk = Desk::new(&room);
    let text = |serial: u64, value: &str| {
        let set = json!({"serial": serial, "env": {"TOKEN": value}});
        desk.seal("api", &set, &[])
    };
    let (first, second) = (text(1, "one"), text(2, "two"));
    let repository = Repository::create(&cluster, &room.namespace);
    let workspace = listing(&room, "api", &["api"], json!({}));
    repository.write("workspace.yaml", &workspace.to_string());
    repository.write("variables.yaml", &first);
    repository.push("Begin");
    let push = |text: &str, message: &str| {
        repository.write("variables.yaml", text);
        repository.push(message);
        let sync = ["sync", "team", "-n", &room.namespace];
        cluster.workstead(&sync).success();
    };
    cluster.apply(&format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {{name: team, namespace: {}}}\nspec: {{url: {}, ref: {{branch: main}}, interval: 5m}}\n",
        room.namespace, repository.cluster_url
    ));
    room.until_ready("api").await;
    assert_eq!(desk.value("api", "TOKEN"), "one");
    push(&second, "Exchange the token");
    let newer = |w: &workstead::api::Workspace| has(w, "VariablesOutdated", "True");
    room.until("api", "to see the newer set", newer).await;
    desk.update("api", "second").await;
    assert_eq!(desk.value("api", "TOKEN"), "two");

    push(&first, "Revert \"Exchange the token\"");
    let refused = desk.until("api", "ReplayedVariables").await;
    let status = refused.status.as_ref().unwrap();
    let message = &condition(&status.conditions, "Ready").unwrap().message;
    let sealed = digest(&refused.spec.sealed);
    for word in [
        "WV102",
        "serial is 1",
        "2 was accepted",
        "workstead.dev/accept-serial",
        &sealed,
    ] {
        assert!(message.contains(word), "no '{word}' in {message}");
    }
    assert_eq!(status.serial, Some(2));
    // Not even who asks for the newest gets it: what was good stays in use.
    desk.ask("api", "after-the-revert");
    room.verb("restart", "api");
    room.until_ready("api").await;
    assert_eq!(desk.value("api", "TOKEN"), "two");

    // The way out, for exactly this text.
    let accept = format!("workstead.dev/accept-serial={sealed}");
    let annotate = ["annotate", "workspacevariables", "api", &accept];
    cluster.kubectl(&[&annotate[..], &["-n", &room.namespace]].concat());
    desk.until("api", "Accepted").await;
    desk.update("api", "after-the-way-out").await;
    assert_eq!(desk.value("api", "TOKEN"), "one");
    room.leave(&[]).await;
}
