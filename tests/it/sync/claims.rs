//! Whose an object is, when several want it.

use std::time::Duration;

use http::Method;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::{Value, json};
use workstead::testkit::faults::{Fault, When};
use workstead::testkit::wait::eventually;

use super::{Fixture, NAME, codes, condition, holds, workspace};

/// Waits until the controller has asked for Workspace `a` so many times.
async fn until_asked(f: &Fixture, times: usize) {
    eventually("the controller to look for a", || async {
        let asked = f.faults.calls().into_iter().filter(is_look_for_a).count();
        (asked >= times).then_some(())
    })
    .await;
}

#[allow(clippy::needless_pass_by_value)] // as `filter` hands it over
fn is_look_for_a(call: &workstead::testkit::faults::Call) -> bool {
    call.method == Method::GET && call.resource() == "workspaces" && call.name() == "a"
}

/// The answer to the next looks at `a`, which is that it is not there, comes late: room for others to act.
fn delay_looks(f: &Fixture, times: usize) {
    let look = When::matching(is_look_for_a);
    f.faults
        .times(times, look, Fault::Delay(Duration::from_millis(700)));
}

async fn create_by_hand(f: &Fixture, labels: Value, annotations: Value) {
    let body = json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "a", "labels": labels, "annotations": annotations},
        "spec": {"owner": "alice@example.com", "image": "i:theirs"},
    });
    f.workspaces()
        .create(&PostParams::default(), &crate::object(body))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_somebody_else_makes_between_the_look_and_the_create_is_not_written_over() {
    for (labels, annotations, manager) in [
        (
            json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}),
            json!({}),
            "Flux Kustomization flux/apps",
        ),
        (
            json!({}),
            json!({"argocd.argoproj.io/tracking-id": "app:workstead.dev/Workspace:x/a"}),
            "Argo CD application 'app'",
        ),
    ] {
        let f = Fixture::new().await;
        f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
        f.create(json!({})).await;
        delay_looks(&f, 1);
        let running = f.start();
        until_asked(&f, 1).await;
        create_by_hand(&f, labels, annotations).await;
        let before = f.workspace("a").await;
        let status = f.until_reason("PartiallyApplied").await;
        assert_eq!(codes(&status), ["GS402"]);
        let message = &status.errors[0].message;
        assert!(message.contains(manager), "{message}");
        let after = f.workspace("a").await;
        assert_eq!(after.resource_version(), before.resource_version());
        assert_eq!(after.spec.image, "i:theirs");
        assert_eq!(status.objects, Some(0), "it is not in the inventory");
        running.stop().await;
    }
}

#[tokio::test]
async fn what_a_person_makes_between_the_look_and_the_create_is_adopted() {
    let f = Fixture::new().await;
    let commit = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.create(json!({})).await;
    delay_looks(&f, 1);
    let running = f.start();
    until_asked(&f, 1).await;
    create_by_hand(&f, json!({}), json!({})).await;
    let uid = f.workspace("a").await.uid();
    let status = f.until_applied(&commit).await;
    let a = f.workspace("a").await;
    assert_eq!((a.spec.image.as_str(), a.uid()), ("i:1", uid));
    assert_eq!(
        (status.history[0].created, status.history[0].updated),
        (0, 1)
    );
    running.stop().await;
}

#[tokio::test]
async fn of_two_gitsyncs_that_begin_with_one_object_the_second_leaves_it_to_the_first() {
    let f = Fixture::new().await;
    let other = f.server.repository("other");
    f.repository
        .commit(&[("a.yaml", &workspace("a", "i:team"))]);
    other.commit(&[("a.yaml", &workspace("a", "i:other"))]);
    f.create(json!({})).await;
    f.create_beside("other", other.url()).await;
    // Both are told that there is nothing before either writes.
    delay_looks(&f, 2);
    let running = f.start();
    let settled = |status: &workstead::api::gitsync::GitSyncStatus| {
        holds(status, "Ready") || codes(status) == ["GS402"]
    };
    let mine = f.until("the first to settle", settled).await;
    let theirs = f.until_of("other", "the second to settle", settled).await;
    let (winner, loser, status) = match (holds(&mine, "Ready"), holds(&theirs, "Ready")) {
        (true, false) => (NAME, "other", theirs),
        (false, true) => ("other", NAME, mine),
        both => panic!("{both:?}: exactly one of them keeps it"),
    };
    let a = f.workspace("a").await;
    assert_eq!(a.labels()["gitsync.workstead.dev/name"], winner);
    assert_eq!(a.spec.image, format!("i:{winner}"), "not {loser}'s");
    assert_eq!(a.metadata.generation, Some(1), "it was written once");
    let message = &status.errors[0].message;
    let wanted = format!("GitSync {}/{winner}", f.namespace);
    assert!(message.contains(&wanted), "{message}");
    running.stop().await;
}

#[tokio::test]
async fn a_gitsync_under_a_new_name_takes_over_what_the_one_that_is_gone_left() {
    let f = Fixture::new().await;
    let commit = f.repository.commit(&[
        ("a.yaml", &workspace("a", "i:1")),
        ("b.yaml", &workspace("b", "i:1")),
    ]);
    f.create(json!({})).await;
    let running = f.start();
    f.until_applied(&commit).await;
    let uid = f.workspace("a").await.uid();
    // While the old one is there, they are its own, and the error says how to free one.
    f.create_beside("renamed", f.repository.url()).await;
    let status = f
        .until_of("renamed", "the conflict to be told", |status| {
            codes(status) == ["GS402"; 2]
        })
        .await;
    let command = format!(
        "kubectl label workspaces.workstead.dev a --namespace {} gitsync.workstead.dev/name- gitsync.workstead.dev/namespace-",
        f.namespace
    );
    let message = &status.errors[0].message;
    assert!(message.contains(&command), "{message}");
    f.gitsyncs()
        .delete(NAME, &Default::default())
        .await
        .unwrap();
    f.until_gone().await;
    let status = f
        .until_of("renamed", "the objects to be taken over", |status| {
            holds(status, "Ready") && status.objects == Some(2)
        })
        .await;
    assert!(condition(&status, "Stalled").is_none());
    for name in ["a", "b"] {
        let labels = f.workspace(name).await;
        assert_eq!(labels.labels()["gitsync.workstead.dev/name"], "renamed");
    }
    assert_eq!(f.workspace("a").await.uid(), uid);
    // And it prunes as if it had always been its own.
    f.repository.change().delete("b.yaml").commit();
    let gitsyncs = f.gitsyncs();
    let ask = json!({"metadata": {"annotations": {"workstead.dev/reconcile-requested-at": "1"}}});
    let patch = kube::api::Patch::Merge(ask);
    gitsyncs
        .patch("renamed", &Default::default(), &patch)
        .await
        .unwrap();
    f.until_of("renamed", "b to be pruned", |status| {
        status.objects == Some(1)
    })
    .await;
    assert_eq!(f.names().await, ["a"]);
    running.stop().await;
}
