//! A workspace keeps what it had, until somebody asks for something newer.

use std::time::Duration;

use serde_json::json;
use workstead::api::environment::{OutdatedVariable, VariableChange};
use workstead::testkit::wait::within;

use super::{Desk, listing};
use crate::harness::Cluster;
use crate::inside::{Room, has, status};

/// The garbage collector of Kubernetes takes its time.
const COLLECTED: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "needs the node"]
async fn a_newer_set_is_told_by_name_and_waits_until_somebody_asks_for_it() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "newer").await;
    let desk = Desk::new(&room);
    let file = |content: &str| json!({"content": content});
    let first = json!({
        "env": {"TOKEN": "one", "SAME": "same", "OLD": "old"},
        "files": {"~/.netrc": file("one"), "~/old": file("old")},
    });
    let second = json!({
        "env": {"TOKEN": "two", "SAME": "same", "NEW": "new"},
        "files": {"~/.netrc": file("two"), "~/new": file("new")},
    });
    desk.put("api", &first).await;
    cluster.apply_all(vec![listing(&room, "api", &["api"], json!({}))]);
    room.until_ready("api").await;
    let life = desk.life("api").await;
    // Sealed anew, the same content is nothing new: this comes before, and is not told.
    desk.put("api", &first).await;
    desk.put("api", &second).await;

    let what = "to say that newer variables wait";
    let outdated = room.until("api", what, |w| has(w, "VariablesOutdated", "True"));
    let outdated = outdated.await;
    let mut told = status(&outdated).variables.clone().unwrap().outdated;
    told.sort();
    let one = |name: &str, change| OutdatedVariable {
        name: name.to_owned(),
        change,
    };
    let mut expected = vec![
        one("NEW", VariableChange::Added),
        one("OLD", VariableChange::Removed),
        one("TOKEN", VariableChange::Changed),
        one("~/.netrc", VariableChange::Changed),
        one("~/new", VariableChange::Added),
        one("~/old", VariableChange::Removed),
    ];
    expected.sort();
    assert_eq!(told, expected);
    assert!(has(&outdated, "Ready", "True"), "it goes on");
    assert_eq!(desk.life("api").await, life);
    let values = || ["TOKEN", "SAME", "OLD", "NEW"].map(|name| desk.value("api", name));
    let has_first = ["one", "same", "old", ""];
    assert_eq!(values(), has_first);

    // A restart by itself takes nothing newer.
    room.verb("restart", "api");
    assert_ne!(desk.life("api").await.0, life.0);
    assert_eq!(values(), has_first);
    assert_eq!(room.exec("api", "cat ~/.netrc ~/old"), "oneold");

    let updated = desk.update("api", "first-request").await;
    assert_eq!(values(), ["two", "same", "", "new"]);
    assert_eq!(room.exec("api", "cat ~/.netrc ~/new"), "twonew");
    // The link to a file that is gone went with it.
    assert_eq!(
        room.exec("api", "ls -A ~ | grep -c '^old$' || true").trim(),
        "0"
    );
    let gone = |w: &workstead::api::Workspace| {
        !has(w, "VariablesOutdated", "True")
            && status(w)
                .variables
                .as_ref()
                .is_some_and(|v| v.outdated.is_empty())
    };
    if !gone(&updated) {
        room.until("api", "to have nothing newer to wait for", gone)
            .await;
    }
    room.leave(&[]).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_set_that_is_deleted_takes_nothing_from_those_who_have_it_and_nothing_stays_after_them() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "gone").await;
    let desk = Desk::new(&room);
    let set = json!({"env": {"TOKEN": "kept"}, "files": {"~/.netrc": {"content": "kept"}}});
    desk.put("api", &set).await;
    cluster.apply_all(vec![listing(&room, "api", &["api"], json!({}))]);
    room.until_ready("api").await;
    let life = desk.life("api").await;
    assert_eq!(desk.pinned("api").await.len(), 1);

    let place = ["-n", &room.namespace];
    cluster.kubectl(&[&["delete", "workspacevariables", "api"][..], &place].concat());
    room.until_ready("api").await;
    assert_eq!(desk.life("api").await, life);
    assert_eq!(desk.value("api", "TOKEN"), "kept");
    for _ in 0..2 {
        room.verb("restart", "api");
        assert_eq!(desk.value("api", "TOKEN"), "kept");
        assert_eq!(room.exec("api", "cat ~/.netrc"), "kept");
    }
    // The container alone begins anew, too.
    let before = desk.life("api").await;
    room.run("api", &["sh", "-c", "kill -TERM 1"], "");
    let again = within(COLLECTED, || async {
        let life = desk.life("api").await;
        (life.1 > before.1).then_some(life)
    });
    assert_eq!(again.await.expect("it began anew").0, before.0);
    room.until_ready("api").await;
    assert_eq!(desk.value("api", "TOKEN"), "kept");

    cluster.kubectl(&[&["delete", "workspace", "api"][..], &place].concat());
    let collected = within(COLLECTED, || async {
        desk.pinned("api").await.is_empty().then_some(())
    });
    assert!(
        collected.await.is_some(),
        "its Secrets stay: {:?}",
        desk.pinned("api").await
    );
    room.leave(&[]).await;
}
