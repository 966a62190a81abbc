//! The end of a GitSync: what goes with it, what stays, and what holds it up.

use kube::ResourceExt;
use serde_json::json;

use super::{Fixture, NAME, condition, holds, workspace};

async fn delete(f: &Fixture) {
    f.gitsyncs()
        .delete(NAME, &Default::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn deleting_the_gitsync_keeps_its_objects_unless_its_policy_says_otherwise() {
    for (policy, suspended, left) in [
        (None, false, 2),
        (Some("Delete"), true, 2),
        (Some("Delete"), false, 0),
    ] {
        let f = Fixture::new().await;
        let first = f.push(&["a", "b"]);
        let mut spec = json!({});
        if let Some(policy) = policy {
            spec["deletionPolicy"] = json!(policy);
        }
        let running = f.start_at(&first, spec).await;
        let gitsync = f.gitsyncs().get(NAME).await.unwrap();
        assert_eq!(gitsync.finalizers().len(), usize::from(policy.is_some()));
        let uid = gitsync.uid().unwrap();
        assert!(f.state_path(&uid).is_dir());
        if suspended {
            f.change(json!({"spec": {"suspend": true}})).await;
            f.until_reason("Suspended").await;
        }
        delete(&f).await;
        f.until_gone().await;
        assert_eq!(f.names().await.len(), left, "{policy:?} {suspended}");
        // And the repository goes with it.
        workstead::testkit::wait::eventually("the repository to be swept", || async {
            (!f.state_path(&uid).exists()).then_some(())
        })
        .await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_deletion_does_not_trust_an_inventory_that_was_rebuilt_in_the_same_pass() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b"]);
    let running = f
        .start_at(&first, json!({"deletionPolicy": "Delete"}))
        .await;
    running.stop().await;
    f.lose_inventory(true).await;
    delete(&f).await;
    let running = f.start();
    f.until_gone().await;
    assert_eq!(f.names().await, Vec::<String>::new());
    let writes = f.faults.writes();
    let place = |what: &str, fits: &dyn Fn(&workstead::testkit::faults::Call) -> bool| {
        let place = writes.iter().position(fits);
        place.unwrap_or_else(|| panic!("no {what}"))
    };
    let told = place("GS302", &|call| call.body.contains("GS302"));
    let deleted = place("delete", &|call| {
        call.method == http::Method::DELETE && call.resource() == "workspaces"
    });
    assert!(told < deleted, "no delete in the pass that rebuilt it");
    running.stop().await;
}

#[tokio::test]
async fn a_deletion_leaves_what_lives_in_a_namespace_that_accepts_it_no_more() {
    let f = Fixture::new().await;
    let other = f.another_namespace().await;
    f.let_in(&other, true).await;
    let far =
        workspace("far", "i:1").replace("name: far", &format!("name: far\n  namespace: {other}"));
    let first = f
        .repository
        .commit(&[("far.yaml", &far), ("near.yaml", &workspace("near", "i:1"))]);
    f.create(json!({"deletionPolicy": "Delete", "allowedNamespaces": [f.namespace, other]}))
        .await;
    let running = f.start();
    f.until_applied(&first).await;
    f.let_in(&other, false).await;
    delete(&f).await;
    f.until_gone().await;
    assert_eq!(f.names().await, Vec::<String>::new());
    let there: kube::Api<workstead::api::Workspace> =
        kube::Api::namespaced(f.client.clone(), &other);
    let far = there.get("far").await.unwrap();
    assert!(far.metadata.deletion_timestamp.is_none());
    let events: kube::Api<k8s_openapi::api::events::v1::Event> =
        kube::Api::namespaced(f.client.clone(), &f.namespace);
    let events = events.list(&Default::default()).await.unwrap();
    let told = events
        .iter()
        .find(|event| event.reason.as_deref() == Some("LeftBehind"));
    let note = told.and_then(|event| event.note.as_deref()).unwrap();
    assert!(note.contains(&other), "{note}");
    running.stop().await;
}

#[tokio::test]
async fn a_deletion_that_somebodys_finalizer_holds_says_so_and_how_to_end_it() {
    let f = Fixture::new().await;
    let first = f.push(&["a", "b"]);
    let running = f
        .start_at(&first, json!({"deletionPolicy": "Delete"}))
        .await;
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    f.edit("a", hold).await;
    delete(&f).await;
    let status = f.until_reason("Deleting").await;
    assert!(holds(&status, "Reconciling"));
    let (_, _, message) = condition(&status, "Reconciling").unwrap();
    for part in [
        "Workspace",
        "/a, which finalizer example.com/hold holds",
        "spec.deletionPolicy: Orphan",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(f.names().await, ["a"]);
    f.change(json!({"spec": {"deletionPolicy": "Orphan"}}))
        .await;
    f.until_gone().await;
    running.stop().await;
}
