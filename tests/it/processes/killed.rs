//! A real kill -9, in the middle of a call. In this process a crash at every call is played through already (workspace,
//! sync); here the process goes with its sockets, its children and its memory, and only its folder is left.

use std::time::Duration;

use http::Method;
use serde_json::json;
use workstead::api::GitSync;
use workstead::testkit::GitServer;
use workstead::testkit::faults::{Call, Cut, When, lines};

use super::{
    Replica, Yardstick, assert_same, file, picture, sync, until_running, until_synced, world,
};

/// What is being written when the process dies, on the way from a commit to a running workspace.
const WRITES: [(&str, &str); 5] = [
    ("configmaps", ""),
    ("workspaces", ""),
    ("persistentvolumeclaims", ""),
    ("deployments", ""),
    ("workspaces", "status"),
];

#[tokio::test]
async fn kill_9_in_the_middle_of_a_write_in_either_form_comes_to_the_same_after_a_restart() {
    let server = GitServer::start();
    let repository = server.repository("team");
    let mut commit = repository.commit(&[("begin.yaml", &file("begin"))]);
    let mut names = vec!["begin".to_owned()];
    let plain = Yardstick::start(&repository).await;
    let world = world("killed").await;
    let _kubelet = world.auto_ready();
    let replica = Replica::new(&world, "only", &world.faults).await;
    let mut program = replica.start();
    sync(&world, &repository).await;
    until_synced(&world, &commit, &program).await;

    for (resource, subresource) in WRITES {
        for cut in Cut::BOTH {
            let name = format!("made-{}", names.len());
            world
                .faults
                .freeze(write_of(resource, subresource, &name), cut);
            let path = format!("{name}.yaml");
            commit = repository.change().file(&path, file(&name)).commit();
            let ask = json!({"metadata": {"annotations": {"workstead.dev/reconcile-requested-at": name}}});
            let patch = kube::api::Patch::Merge(ask);
            world
                .api::<GitSync>()
                .patch("team", &Default::default(), &patch)
                .await
                .unwrap();
            let crash =
                tokio::time::timeout(Duration::from_secs(30), world.faults.wait_for_crash());
            assert!(
                crash.await.is_ok(),
                "no write of {resource} {subresource} for {name}:\n{}\n{}",
                lines(&world.faults.writes()),
                program.log()
            );
            program.kill();
            world.faults.heal();
            program = replica.start();
            names.push(name);
        }
    }

    until_synced(&world, &commit, &program).await;
    for name in &names {
        until_running(&world, name, &program).await;
    }
    world.settle().await;
    let wanted = plain.picture(&names, &commit).await;
    assert_same(&picture(&world).await, &wanted);
    assert_eq!(program.end().await, Some(0), "{}", program.log());
}

/// The next write of a kind that is about a Workspace or its child; the inventory is about all.
fn write_of(resource: &'static str, subresource: &'static str, name: &str) -> When {
    let name = name.to_owned();
    When::matching(move |call: &Call| {
        call.method == Method::PATCH
            && call.is_write()
            && (call.resource(), call.subresource()) == (resource, subresource)
            && (resource == "configmaps" || call.name().starts_with(&name))
    })
}
