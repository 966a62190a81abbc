//! Workspaces take values from Secrets that say they may.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use workstead::api::environment::VariableChange;
use workstead::api::workspace::{ActualState, Cause, WorkspaceStatus};

use super::World;
use super::variables::{changes, condition, is_outdated, restart, values};

const NEWER: [(&str, VariableChange); 1] = [("TOKEN", VariableChange::Changed)];

/// Lets every Workspace of the namespace have the values.
fn consent() -> Value {
    json!({"labels": {"workstead.dev/use": "variables"}})
}

/// A spec with a variable from an entry of the Secret.
fn from_entry(variable: &str, key: &str) -> Value {
    let source = json!({"secretKeyRef": {"name": "store", "key": key}});
    json!({"env": [{"name": variable, "valueFrom": source}]})
}

/// Makes the Secret, or changes it.
async fn put(world: &World, metadata: Value, token: &str) {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "store"}, "stringData": {"token": token},
    });
    for (key, value) in metadata.as_object().unwrap() {
        secret["metadata"][key] = value.clone();
    }
    let parameters = PatchParams::apply("test").force();
    world
        .api::<Secret>()
        .patch("store", &parameters, &Patch::Apply(&secret))
        .await
        .unwrap();
}

/// Waits until it does not start for this reason.
async fn waits(world: &World, name: &str, why: &str) {
    let status = world
        .until(name, why, |status| {
            let failure = status.failure.as_ref();
            failure.is_some_and(|failure| failure.message.contains(why))
        })
        .await;
    assert_eq!(status.failure.unwrap().cause, Cause::VariablesUnavailable);
    assert_eq!(world.pods(name).await.len(), 0);
}

/// Waits until what it would take can't be had, for this reason, while it runs.
async fn refused(world: &World, name: &str, why: &str) -> WorkspaceStatus {
    world
        .until(name, why, |status| {
            condition(status, "VariablesReady")
                .is_some_and(|(holds, _, message)| holds == "False" && message.contains(why))
                && status.actual_state == Some(ActualState::Running)
        })
        .await
}

#[tokio::test]
async fn a_secret_is_used_from_when_it_says_that_it_may_be_and_its_newer_values_are_named() {
    let world = World::new("store").await;
    let process = world.start();
    let _ready = world.auto_ready();
    world.create("dev", from_entry("TOKEN", "token")).await;
    waits(&world, "dev", "WV109: Secret store is not there").await;
    // Without the label nobody watches it; who comes now is told so.
    put(&world, json!({}), "first").await;
    world.create("second", from_entry("TOKEN", "token")).await;
    waits(&world, "second", "does not say that its values may be used").await;
    let foreign = json!({
        "labels": {"workstead.dev/use": "variables"},
        "annotations": {"workstead.dev/owner": "bob@example.com"},
    });
    put(&world, foreign, "first").await;
    waits(&world, "dev", "for Workspaces of bob@example.com alone").await;

    put(&world, consent(), "first").await;
    let first = world.until_state("dev", ActualState::Running).await;
    assert_eq!(values(&world, &first).await["TOKEN"], "first");

    // As with sets: it has what its start took, and what is newer is named.
    put(&world, consent(), "second").await;
    let status = world.until("dev", "a newer value", is_outdated).await;
    assert_eq!(changes(status.variables.as_ref().unwrap()), NEWER);
    let status = restart(&world, "dev", "1").await;
    assert_eq!(values(&world, &status).await["TOKEN"], "first");
    let ask =
        json!({"metadata": {"annotations": {"workstead.dev/variables-update-requested-at": "1"}}});
    world.change("dev", ask).await;
    let status = restart(&world, "dev", "2").await;
    assert_eq!(values(&world, &status).await["TOKEN"], "second");
    assert!(!is_outdated(&status));

    // It consents no more: who has the value keeps it, nobody new gets it.
    put(&world, json!({}), "third").await;
    refused(&world, "dev", "does not say that its values may be used").await;
    let status = restart(&world, "dev", "3").await;
    assert_eq!(values(&world, &status).await["TOKEN"], "second");
    world.create("other", from_entry("TOKEN", "token")).await;
    waits(&world, "other", "does not say that its values may be used").await;
    world.delete::<Secret>("store").await;
    put(&world, consent(), "fourth").await;
    let status = world.until_state("other", ActualState::Running).await;
    assert_eq!(values(&world, &status).await["TOKEN"], "fourth");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn an_entry_that_a_secret_does_not_have_is_named_and_taken_when_it_is_there() {
    let world = World::new("entry").await;
    let process = world.start();
    let _ready = world.auto_ready();
    put(&world, consent(), "first").await;
    world.create("dev", from_entry("OTHER", "other")).await;
    waits(&world, "dev", "other").await;
    let patch = Patch::Merge(json!({"stringData": {"other": "there"}}));
    world
        .api::<Secret>()
        .patch("store", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(values(&world, &status).await["OTHER"], "there");
    process.stop().await.unwrap();
}
