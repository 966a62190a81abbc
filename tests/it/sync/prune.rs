//! What is deleted, and what is never.

use kube::ResourceExt;
use serde_json::json;

use super::{Fixture, codes, condition, holds, workspace};

#[tokio::test]
async fn a_file_that_leaves_takes_its_object_along() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b"]);
    let running = f.start_at(&first, json!({})).await;
    let second = f.repository.change().delete("b.yaml").commit();
    f.sync().await;
    let status = f.until_applied(&second).await;
    assert_eq!((status.objects, status.history[0].deleted), (Some(1), 1));
    assert_eq!(f.names().await, ["a"]);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_moves_deletes_nothing() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b"]);
    let running = f.start_at(&first, json!({})).await;
    let uid = f.workspace("a").await.uid();
    let moved = f
        .repository
        .change()
        .delete("a.yaml")
        .file("deeper/a.yml", workspace("a", "i:1"))
        .commit();
    f.sync().await;
    f.until_applied(&moved).await;
    let a = f.workspace("a").await;
    assert_eq!(a.uid(), uid);
    assert!(a.annotations()["workstead.dev/origin"].contains("deeper/a.yml"));
    running.stop().await;
}

#[tokio::test]
async fn removing_everything_deletes_nothing_until_exactly_that_was_approved() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b", "c"]);
    let running = f.start_at(&first, json!({})).await;
    let emptied = f
        .repository
        .change()
        .delete_all()
        .file("README.md", "x")
        .commit();
    f.sync().await;
    let status = f.until_reason("PruneBlocked").await;
    assert!(holds(&status, "Stalled") && holds(&status, "PruneBlocked"));
    let blocked = status.prune_blocked.clone().unwrap();
    assert_eq!(
        (blocked.count, blocked.commit.as_str()),
        (3, emptied.as_str())
    );
    assert_eq!(blocked.objects.len(), 3);
    assert!(codes(&status).contains(&"GS300"));
    assert_eq!(f.names().await, ["a", "b", "c"]);

    // An approval of another commit is void, and says so.
    f.annotate(
        "workstead.dev/approve-prune",
        &format!("{first}/{}", blocked.digest),
    )
    .await;
    let status = f
        .until("the stale approval to be told", |status| {
            codes(status).contains(&"GS301")
        })
        .await;
    assert_eq!(f.names().await, ["a", "b", "c"]);
    // Another commit makes one that was right void too.
    f.repository.commit(&[("README.md", "y")]);
    f.annotate("workstead.dev/approve-prune", &blocked.approval)
        .await;
    f.sync().await;
    assert_eq!(f.names().await, ["a", "b", "c"], "{status:?}");
    let status = f.status().await;
    let blocked = status.prune_blocked.unwrap();
    assert_ne!(blocked.commit, emptied);
    f.annotate("workstead.dev/approve-prune", &blocked.approval)
        .await;
    let status = f
        .until("the approved set to be gone", |status| {
            status.objects == Some(0)
        })
        .await;
    assert_eq!(f.names().await, Vec::<String>::new());
    assert_eq!(status.prune_blocked, None);
    f.until("all to be well", |status| holds(status, "Ready"))
        .await;
    running.stop().await;
}

#[tokio::test]
async fn deletes_within_the_limit_pass_and_more_wait_while_the_rest_is_applied() {
    let f = Fixture::new().await;
    let names: Vec<String> = (0..10).map(|n| format!("w{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = f.push(&all);
    let running = f
        .start_at(&first, json!({"prune": {"maxDeletes": 2}}))
        .await;
    let within = f
        .repository
        .change()
        .delete("w0.yaml")
        .delete("w1.yaml")
        .commit();
    f.sync().await;
    f.until_applied(&within).await;
    assert_eq!(f.names().await.len(), 8);
    let mut change = f
        .repository
        .change()
        .file("w9.yaml", workspace("w9", "i:2"));
    for n in 2..5 {
        change = change.delete(&format!("w{n}.yaml"));
    }
    change.commit();
    f.sync().await;
    let status = f.until_reason("PruneBlocked").await;
    assert!(status.prune_blocked.unwrap().reason.contains("maxDeletes"));
    assert_eq!(f.names().await.len(), 8);
    assert_eq!(f.workspace("w9").await.spec.image, "i:2");
    // Bringing one back is enough.
    let back = f.repository.commit(&[("w2.yaml", &workspace("w2", "i:1"))]);
    f.sync().await;
    f.until_applied(&back).await;
    assert_eq!(f.names().await.len(), 6);
    running.stop().await;
}

#[tokio::test]
async fn a_path_that_is_missing_deletes_nothing() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[
        ("dev/a.yaml", &workspace("a", "i:1")),
        ("dev/b.yaml", &workspace("b", "i:1")),
    ]);
    let running = f.start_at(&first, json!({"path": "dev"})).await;
    f.repository.change().delete("dev").file("x", "y").commit();
    f.sync().await;
    let status = f.until_reason("PathNotFound").await;
    assert!(holds(&status, "Stalled"));
    assert_eq!(
        status.last_applied_revision,
        Some(format!("main@sha1:{first}"))
    );
    f.change(json!({"spec": {"path": "dve"}})).await;
    f.until_reason("PathNotFound").await;
    assert_eq!(f.names().await, ["a", "b"]);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_freezes_deletes_and_nothing_else() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b", "c", "d", "e", "f"]);
    let running = f.start_at(&first, json!({})).await;
    f.repository
        .change()
        .file("a.yaml", "kind: [Workspace\n")
        .delete("b.yaml")
        .file("c.yaml", workspace("c", "i:2"))
        .commit();
    f.sync().await;
    let status = f.until_reason("PartiallyApplied").await;
    assert!(codes(&status).contains(&"GS210"), "{:?}", status.errors);
    assert_eq!(f.names().await, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(f.workspace("c").await.spec.image, "i:2");
    let mended = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.sync().await;
    f.until_applied(&mended).await;
    assert_eq!(f.names().await, ["a", "c", "d", "e", "f"]);
    running.stop().await;
}

#[tokio::test]
async fn only_what_still_carries_our_labels_is_deleted_and_annotations_keep_the_rest() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "lost", "kept", "d", "e", "f"]);
    let running = f
        .start_at(&first, json!({"prune": {"maxDeletes": "100%"}}))
        .await;
    running.stop().await;
    f.edit(
        "lost",
        json!({"metadata": {"labels": {"gitsync.workstead.dev/name": null}}}),
    )
    .await;
    f.edit(
        "kept",
        json!({"metadata": {"annotations": {"workstead.dev/prune": "disabled"}}}),
    )
    .await;
    let mut change = f.repository.change();
    for name in ["a", "lost", "kept"] {
        change = change.delete(&format!("{name}.yaml"));
    }
    let second = change.commit();
    let running = f.start();
    f.until_applied(&second).await;
    assert_eq!(f.names().await, ["d", "e", "f", "kept", "lost"]);
    running.stop().await;
}

#[tokio::test]
async fn a_lost_or_garbled_inventory_is_rebuilt_and_deletes_nothing_in_that_pass() {
    for garble in [false, true] {
        let f = Fixture::new().await;
        let first = f.push(&["a", "b", "c", "d", "e", "f"]);
        let running = f.start_at(&first, json!({})).await;
        running.stop().await;
        f.lose_inventory(garble).await;
        let second = f.repository.change().delete("a.yaml").commit();
        // The first pass of the next process; its deletes are let go by the one after it.
        f.faults.restart_count();
        let running = f.start();
        let status = f.until_applied(&second).await;
        assert_eq!(status.objects, Some(5));
        assert_eq!(f.names().await, ["b", "c", "d", "e", "f"]);
        assert!(!codes(&status).contains(&"GS302"));
        let writes = f.faults.writes();
        let rebuilt = writes
            .iter()
            .position(|call| call.body.contains("GS302"))
            .expect("the rebuilt inventory was told");
        let deleted = writes
            .iter()
            .position(|call| call.method == http::Method::DELETE)
            .expect("a was deleted in the end");
        assert!(rebuilt < deleted, "no delete in the pass that rebuilt it");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_delete_that_is_refused_stays_in_the_inventory_and_is_tried_again() {
    use workstead::testkit::faults::{Fault, When};
    let f = Fixture::new().await;
    let first = f.push(&["a", "b", "c", "d", "e", "f"]);
    let running = f.start_at(&first, json!({})).await;
    f.faults.always(
        When::request(http::Method::DELETE, "workspaces"),
        Fault::Answer(403),
    );
    let second = f.repository.change().delete("a.yaml").commit();
    f.sync().await;
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS403"]);
    assert_eq!(status.objects, Some(6));
    assert!(f.inventory().await.contains("_a_workstead.dev_Workspace"));
    f.faults.heal();
    let status = f.until_applied(&second).await;
    assert_eq!(status.objects, Some(5));
    assert!(!f.inventory().await.contains("_a_workstead.dev_Workspace"));
    running.stop().await;
}

#[tokio::test]
async fn an_object_that_somebodys_finalizer_holds_stays_in_the_inventory_until_it_is_gone() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b", "c", "d", "e", "f"]);
    let running = f.start_at(&first, json!({})).await;
    let finalizers = |list: serde_json::Value| json!({"metadata": {"finalizers": list}});
    f.edit("a", finalizers(json!(["example.com/hold"]))).await;
    f.repository.change().delete("a.yaml").commit();
    f.sync().await;
    assert!(f.workspace("a").await.metadata.deletion_timestamp.is_some());
    assert!(f.inventory().await.contains("_a_workstead.dev_Workspace"));
    f.edit("a", finalizers(json!(null))).await;
    f.until("a to leave the inventory", |status| {
        status.objects == Some(5)
    })
    .await;
    assert!(!f.inventory().await.contains("_a_workstead.dev_Workspace"));
    running.stop().await;
}

#[tokio::test]
async fn a_nested_gitsync_that_deletes_its_objects_is_pruned_only_by_approval() {
    let f = Fixture::new().await;
    let inner = f.server.repository("inner");
    inner.commit(&[
        ("p.yaml", &workspace("p", "i:1")),
        ("q.yaml", &workspace("q", "i:1")),
    ]);
    let nested = format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata:\n  name: nested\nspec:\n  url: {}\n  deletionPolicy: Delete\n",
        inner.url()
    );
    let mut change = f.repository.change().file("nested.yaml", nested);
    for name in ["a", "b", "c", "d", "e"] {
        change = change.file(&format!("{name}.yaml"), workspace(name, "i:1"));
    }
    let first = change.commit();
    f.create(json!({"allowedKinds": ["Workspace", "GitSync"], "prune": {"maxDeletes": "100%"}}))
        .await;
    let running = f.start_in(&f.namespace);
    f.until_applied(&first).await;
    f.until_of("nested", "the nested one to apply", |status| {
        holds(status, "Ready") && status.objects == Some(2)
    })
    .await;
    f.repository.change().delete("nested.yaml").commit();
    f.sync().await;
    let status = f.until_reason("PruneBlocked").await;
    let blocked = status.prune_blocked.unwrap();
    assert!(
        blocked.reason.contains("deletionPolicy"),
        "{}",
        blocked.reason
    );
    assert_eq!(f.names().await, ["a", "b", "c", "d", "e", "p", "q"]);
    f.annotate("workstead.dev/approve-prune", &blocked.approval)
        .await;
    workstead::testkit::wait::eventually("the nested one to go", || async {
        (f.names().await.len() == 5).then_some(())
    })
    .await;
    f.until("all to be well", |status| holds(status, "Ready"))
        .await;
    running.stop().await;
}

#[tokio::test]
async fn switching_pruning_off_keeps_everything_and_says_nothing_is_wrong() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b", "c"]);
    let running = f
        .start_at(&first, json!({"prune": {"enabled": false}}))
        .await;
    let second = f
        .repository
        .change()
        .delete_all()
        .file("README.md", "x")
        .commit();
    f.sync().await;
    let status = f.until_applied(&second).await;
    assert!(condition(&status, "PruneBlocked").is_none());
    assert_eq!(f.names().await, ["a", "b", "c"]);
    running.stop().await;
}
