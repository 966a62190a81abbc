//! The installation gets another identity while workspaces start.

use serde_json::{Value, json};
use workstead::api::WorkspaceVariables;
use workstead::testkit::wait::eventually;

use super::{Desk, listing};
use crate::harness::{Cluster, INSTALLATION, may_disrupt};
use crate::inside::Room;

/// How many workspaces start meanwhile.
const LOAD: usize = 6;

/// Fingerprints and recipients of the installation, the newest first.
fn identities(cluster: &Cluster) -> Vec<(String, String)> {
    let text = cluster
        .workstead(&["identity", "list", "-o", "json"])
        .success();
    let answer: Value = serde_json::from_str(&text).unwrap();
    let all = answer["identities"].as_array().unwrap().iter();
    all.filter_map(|one| {
        let text = |field: &str| one[field].as_str().map(str::to_owned);
        Some((text("fingerprint")?, text("recipient")?))
    })
    .collect()
}

fn opened_by(set: &WorkspaceVariables) -> &str {
    set.status.as_ref().unwrap().opened_by.as_deref().unwrap()
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_new_identity_under_load_costs_no_workspace_its_values_and_old_sets_still_open() {
    if !may_disrupt("another identity for the installation") {
        return;
    }
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "rotate").await;
    let desk = Desk::new(&room);
    let before = identities(&cluster);
    let (old, old_recipient) = &before[0];
    let set = |value: &str| json!({"env": {"TOKEN": value, "VALUE": value}});
    let names: Vec<String> = (0..LOAD).map(|n| format!("load-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        if n == LOAD / 2 {
            cluster
                .workstead(&["identity", "new", "--install"])
                .success();
        }
        let only_old = ["--recipient", old_recipient];
        desk.apply(&desk.seal(name, &set(name), &only_old));
        cluster.apply_all(vec![listing(&room, name, &[name], json!({}))]);
    }
    for name in &names {
        room.until_ready(name).await;
        assert_eq!(&desk.value(name, "TOKEN"), name);
        assert_eq!(opened_by(&desk.until(name, "Accepted").await), old);
    }

    let after = identities(&cluster);
    let (new, new_recipient) = &after[0];
    assert_eq!(
        after[1..],
        before[..],
        "the new one is in front of the others"
    );
    eventually("the new recipient to be published", || async {
        let map = [
            "get",
            "configmap",
            "workstead-recipients",
            "-n",
            INSTALLATION,
            "-o",
            "json",
        ];
        cluster.kubectl(&map).contains(new_recipient).then_some(())
    })
    .await;
    // Sealed for the new one alone, beside one that the old one opens.
    desk.apply(&desk.seal(
        "new",
        &json!({"env": {"VALUE": "new"}}),
        &["--recipient", new_recipient],
    ));
    assert_eq!(opened_by(&desk.until("new", "Accepted").await), new);
    cluster.apply_all(vec![listing(&room, "both", &["load-0", "new"], json!({}))]);
    room.until_ready("both").await;
    assert_eq!(desk.value("both", "TOKEN"), "load-0");
    assert_eq!(desk.value("both", "VALUE"), "new");
    // While a set needs it, neither goes.
    for fingerprint in [old, new] {
        let refused = cluster.workstead(&["identity", "retire", fingerprint]);
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
        let said = format!("identity {fingerprint} is not retired");
        assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    }
    let place = ["-n", &room.namespace];
    cluster.kubectl(&[&["delete", "workspacevariables", "new"][..], &place].concat());
    // The ring is left as it was found.
    cluster.workstead(&["identity", "retire", new]).success();
    eventually("the ring to be as it was", || async {
        (identities(&cluster) == before).then_some(())
    })
    .await;
    // What was opened is in the workspace's own Secret: it needs neither.
    room.verb("restart", "both");
    assert_eq!(desk.value("both", "VALUE"), "new");
    room.leave(&[]).await;
}
