//! Changes that others make to what Git set.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use workstead::testkit::wait::eventually;

use super::{Fixture, codes, holds, workspace};

async fn edit(f: &Fixture, manager: &str, body: Value) {
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    f.workspaces()
        .patch("a", &params, &Patch::Merge(&body))
        .await
        .unwrap();
}

async fn until_image(f: &Fixture, image: &str) {
    eventually(&format!("the image to be {image}"), || async {
        (f.workspace("a").await.spec.image == image).then_some(())
    })
    .await;
}

async fn synced(f: &Fixture) -> super::Running {
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.start_at(&first, json!({})).await
}

#[tokio::test]
async fn a_field_that_somebody_changes_is_set_back_and_an_event_names_them_and_it() {
    let f = Fixture::new().await;
    let running = synced(&f).await;
    let fetches = f.server.requests().len();
    edit(&f, "meddler", json!({"spec": {"image": "i:bad"}})).await;
    until_image(&f, "i:1").await;
    assert_eq!(f.server.requests().len(), fetches, "drift needs no fetch");
    let events: Api<Event> = Api::namespaced(f.client.clone(), &f.namespace);
    let event = eventually("the event", || async {
        let list = events.list(&Default::default()).await.unwrap();
        list.into_iter()
            .find(|e| e.reason.as_deref() == Some("DriftCorrected"))
    })
    .await;
    let note = event.note.unwrap();
    assert!(
        note.contains("spec.image") && note.contains("meddler"),
        "{note}"
    );
    assert_eq!(event.regarding.unwrap().name.as_deref(), Some("a"));
    running.stop().await;
}

#[tokio::test]
async fn what_git_leaves_out_is_free_and_costs_no_write() {
    let f = Fixture::new().await;
    let running = synced(&f).await;
    let mark = f.faults.mark();
    edit(
        &f,
        "workstead/cli",
        json!({"spec": {"desiredState": "Stopped"}}),
    )
    .await;
    edit(
        &f,
        "somebody",
        json!({"metadata": {"labels": {"theirs": "yes"}}}),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(f.writes_since(mark), Vec::<String>::new());
    // The next commit does not take it away either.
    let second = f.repository.commit(&[("a.yaml", &workspace("a", "i:2"))]);
    f.sync().await;
    f.until_applied(&second).await;
    let a = serde_json::to_value(f.workspace("a").await).unwrap();
    assert_eq!(a["spec"]["desiredState"], "Stopped");
    assert_eq!(a["metadata"]["labels"]["theirs"], "yes");
    running.stop().await;
}

#[tokio::test]
async fn a_deleted_object_is_made_again_and_lost_labels_and_origin_come_back() {
    let f = Fixture::new().await;
    let running = synced(&f).await;
    let uid = f.workspace("a").await.uid();
    f.workspaces()
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    eventually("a to be made again", || async {
        let a = f.workspaces().get_opt("a").await.unwrap()?;
        (a.uid() != uid).then_some(())
    })
    .await;
    edit(
        &f,
        "meddler",
        json!({"metadata": {
            "labels": {"gitsync.workstead.dev/name": null, "gitsync.workstead.dev/namespace": null},
            "annotations": {"workstead.dev/origin": null},
        }}),
    )
    .await;
    eventually("the labels to come back", || async {
        let a = f.workspace("a").await;
        let origin = a.annotations().contains_key("workstead.dev/origin");
        (origin && a.labels().contains_key("gitsync.workstead.dev/name")).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_wanted_and_still_being_deleted_is_told_and_made_anew_once_it_is_gone() {
    let f = Fixture::new().await;
    let running = synced(&f).await;
    edit(
        &f,
        "holder",
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
    )
    .await;
    f.workspaces()
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    let status = f.until_reason("WaitingForDeletion").await;
    assert!(holds(&status, "Reconciling") && !holds(&status, "Ready"));
    let (_, _, message) = super::condition(&status, "Ready").unwrap();
    assert!(
        message.contains("/a, which finalizer example.com/hold holds"),
        "{message}"
    );
    edit(&f, "holder", json!({"metadata": {"finalizers": null}})).await;
    f.until("a to be there again", |status| holds(status, "Ready"))
        .await;
    let a = f.workspace("a").await;
    assert!(a.metadata.deletion_timestamp.is_none());
    running.stop().await;
}

#[tokio::test]
async fn drift_is_not_repaired_where_acceptance_was_withdrawn_since_the_last_fetch() {
    let f = Fixture::new().await;
    let other = f.another_namespace().await;
    f.let_in(&other, true).await;
    let far =
        workspace("far", "i:1").replace("name: far", &format!("name: far\n  namespace: {other}"));
    let commit = f
        .repository
        .commit(&[("far.yaml", &far), ("a.yaml", &workspace("a", "i:1"))]);
    f.create(json!({"allowedNamespaces": [f.namespace, other]}))
        .await;
    let running = f.start();
    f.until_applied(&commit).await;
    let fetches = f.server.requests().len();
    // A pass that is on its way would have asked before.
    f.settle().await;
    f.let_in(&other, false).await;
    let there: Api<workstead::api::Workspace> = Api::namespaced(f.client.clone(), &other);
    let meddle = json!({"spec": {"image": "i:bad"}});
    there
        .patch("far", &PatchParams::default(), &Patch::Merge(&meddle))
        .await
        .unwrap();
    // The fixture watches its own namespace only: a change of the one beside it is what starts the pass.
    edit(&f, "meddler", json!({"spec": {"image": "i:bad"}})).await;
    until_image(&f, "i:1").await;
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS213"]);
    assert_eq!(there.get("far").await.unwrap().spec.image, "i:bad");
    assert_eq!(f.server.requests().len(), fetches, "nothing was fetched");
    running.stop().await;
}

#[tokio::test]
async fn drift_is_repaired_while_the_git_server_is_down() {
    let f = Fixture::new().await;
    let running = synced(&f).await;
    f.server.be_silent();
    edit(&f, "meddler", json!({"spec": {"image": "i:bad"}})).await;
    until_image(&f, "i:1").await;
    running.stop().await;
}

#[tokio::test]
async fn somebody_who_changes_it_back_each_time_is_named_and_corrections_pause() {
    let f = Fixture::new().await;
    let running = synced(&f).await;
    for n in 0..6 {
        edit(
            &f,
            "fighter",
            json!({"spec": {"image": format!("i:bad{n}")}}),
        )
        .await;
        until_image(&f, "i:1").await;
    }
    edit(&f, "fighter", json!({"spec": {"image": "i:last"}})).await;
    let status = f
        .until("the fight to be told", |status| {
            holds(status, "FightDetected")
        })
        .await;
    assert_eq!(codes(&status), ["GS404"]);
    assert!(
        status.errors[0].message.contains("fighter"),
        "{:?}",
        status.errors
    );
    assert!(status.errors[0].message.contains("spec.image"));
    assert!(holds(&status, "Reconciling") && !holds(&status, "Ready"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(f.workspace("a").await.spec.image, "i:last");
    running.stop().await;
}

#[tokio::test]
async fn what_kubectl_apply_made_is_adopted_and_a_field_that_git_drops_goes() {
    let f = Fixture::new().await;
    let file = workspace("a", "i:1");
    f.kubectl_apply(&format!("{file}  env:\n  - name: OLD\n    value: x\n"))
        .await;
    f.repository.commit(&[(
        "a.yaml",
        &format!("{file}  env:\n  - name: OLD\n    value: x\n"),
    )]);
    f.create(json!({})).await;
    let running = f.start();
    f.until("a to be applied", |status| {
        holds(status, "Ready") && status.objects == Some(1)
    })
    .await;
    let second = f.repository.commit(&[("a.yaml", &file)]);
    f.sync().await;
    f.until_applied(&second).await;
    assert!(
        f.workspace("a").await.spec.env.is_empty(),
        "nobody holds the field any more"
    );
    running.stop().await;
}

#[tokio::test]
async fn the_same_file_by_kubectl_and_by_gitsync_in_turn_loses_no_field() {
    let f = Fixture::new().await;
    let file = format!(
        "{}  command: [sh]\n  env:\n  - name: A\n    value: x\n  endpoints:\n  - name: web\n    port: 3000\n",
        workspace("a", "i:1")
    );
    f.kubectl_apply(&file).await;
    let whole = serde_json::to_value(&f.workspace("a").await.spec).unwrap();
    f.repository.commit(&[("a.yaml", &file)]);
    f.create(json!({})).await;
    let running = f.start();
    f.until("a to be applied", |status| {
        holds(status, "Ready") && status.objects == Some(1)
    })
    .await;
    for _ in 0..3 {
        f.kubectl_apply(&file).await;
        f.sync().await;
        let now = serde_json::to_value(&f.workspace("a").await.spec).unwrap();
        assert_eq!(now, whole);
    }
    let status = f.status().await;
    assert!(holds(&status, "Ready"), "{status:?}");
    running.stop().await;
}
