//! The identities of an installation are exchanged: a new one, all sets sealed anew, the old one retired.

use std::process::{Command, Output};

use serde_json::Value;
use workstead::secrets::identity::Recipient;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::variables::World;

/// Runs the command line. The controller runs in the thread of the test.
async fn identity(world: &World, arguments: &[&str]) -> Output {
    let plane = ControlPlane::shared().await.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_workstead"));
    command
        .arg("identity")
        .args(arguments)
        .args(["--installation-namespace", &world.namespace])
        .env("KUBECONFIG", plane.kubeconfig());
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.unwrap().unwrap()
}

async fn done(world: &World, arguments: &[&str]) -> String {
    let output = identity(world, arguments).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("AGE-SECRET-KEY"), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(world: &World, arguments: &[&str], words: &[&str]) {
    let output = identity(world, arguments).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "no '{word}' in {said}");
    }
}

/// Fingerprints in order, each with its sets.
async fn listed(world: &World) -> Vec<(String, Vec<String>, Option<String>)> {
    let text = done(world, &["list", "-o", "json"]).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let ours = format!("{}/", world.namespace);
    let identities = answer["identities"].as_array().unwrap().iter();
    identities
        .map(|one| {
            let sets = one["sets"].as_array().unwrap().iter();
            let sets = sets.filter_map(|name| name.as_str()?.strip_prefix(&ours));
            (
                one["fingerprint"].as_str().unwrap().to_owned(),
                sets.map(str::to_owned).collect(),
                one["recipient"].as_str().map(str::to_owned),
            )
        })
        // Those of other tests are gone from here.
        .filter(|(_, sets, recipient): &(_, Vec<String>, _)| {
            recipient.is_some() || !sets.is_empty()
        })
        .collect()
}

#[tokio::test]
async fn an_identity_is_retired_as_soon_as_no_set_needs_it_and_not_before() {
    let (mut world, process) = World::start("rotation").await;
    let old = world.recipient.fingerprint().to_string();
    world.accepted("api", "env: {A: x}").await;
    world.accepted("web", "env: {A: x}").await;
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    let before = listed(&world).await;
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(
        (&before[0].0, &before[0].1),
        (&old, &names(&["api", "web"]))
    );
    refused(
        &world,
        &["retire", &old],
        &["only identity", "new --install"],
    )
    .await;

    done(&world, &["new", "--install"]).await;
    let both = eventually("both recipients", || async {
        let both = listed(&world).await;
        (both.len() == 2).then_some(both)
    })
    .await;
    assert_eq!((&both[1].0, &both[1].1), (&old, &names(&["api", "web"])));
    assert!(
        both[0].1.is_empty(),
        "the new one is first and has nothing yet"
    );
    let sets = ["identity", &old, "2 sets", "/api", "/web", "workstead seal"];
    refused(&world, &["retire", &old], &sets).await;

    world.recipient = Recipient::parse(both[0].2.as_deref().unwrap()).unwrap();
    world.accepted("api", "env: {A: new}").await;
    refused(&world, &["retire", &old], &["1 set", "/web"]).await;
    world.accepted("web", "env: {A: new}").await;
    done(&world, &["retire", &old]).await;
    eventually("the new recipient alone", || async {
        let left = listed(&world).await;
        (left.len() == 1 && left[0].0 == both[0].0).then_some(())
    })
    .await;
    let unknown = identity(&world, &["retire", &old]).await;
    assert_eq!(unknown.status.code(), Some(2));
    // Whatever is sealed from now on opens.
    world.accepted("api", "env: {A: newer}").await;
    process.stop().await.unwrap();
}
