//! One controller follows another.

use std::sync::Arc;

use kube::ResourceExt as _;
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::{ActualState, ChangeEffect};
use workstead::controllers::Parts;
use workstead::testkit::faults::{Faults, lines};
use workstead::testkit::renderer::NextRelease;
use workstead::testkit::wait::eventually;

use super::{World, until_passed, writes_since};
use crate::controllers::Process;

#[tokio::test]
async fn a_release_that_renders_differently_restarts_nobody_and_says_what_waits() {
    let world = World::new("release").await;
    let process = world.start();
    let mut pods = Vec::new();
    for name in ["one", "two", "three"] {
        world.run(name, json!({})).await;
        pods.push(world.pod(name, None).await);
    }
    process.stop().await.unwrap();
    let parts = Parts {
        renderer: Arc::new(NextRelease),
        ..Parts::default()
    };
    let process = world.start_with(world.config("two"), parts);
    for (name, pod) in ["one", "two", "three"].into_iter().zip(&pods) {
        let status = world
            .until(name, "what waits to be named", |status| {
                status
                    .revision
                    .as_ref()
                    .is_some_and(|revision| !revision.pending.is_empty())
            })
            .await;
        assert_eq!(status.actual_state, Some(ActualState::Running));
        let pending = &status.revision.unwrap().pending[0];
        assert_eq!(pending.effect, ChangeEffect::NextStart);
        assert_eq!(world.pod(name, None).await, *pod);
    }
    process.stop().await.unwrap();
}

#[tokio::test]
async fn of_two_controllers_only_the_one_with_the_lease_writes() {
    let world = World::new("pair").await;
    let first = world.start();
    until_leading(&first).await;
    let beside = Faults::new();
    let client = beside.client(super::plane().await.config());
    let second = Process::start(world.config("two"), client);
    eventually("the standby to be ready", || async {
        second.health.missing().is_empty().then_some(())
    })
    .await;
    world.run("dev", json!({})).await;
    world.settle().await;
    assert_eq!(
        lines(&beside.writes()),
        "",
        "the standby writes nothing at all"
    );
    first.stop().await.unwrap();
    let mark = world.faults.mark();
    until_leading(&second).await;
    until_passed(&second).await;
    world.want("dev", "Stopped").await;
    world.until_state("dev", ActualState::Stopped).await;
    assert!(!writes_since(&beside, 0).is_empty());
    assert_eq!(
        lines(&world.faults.writes_since(mark)),
        "",
        "the first one is silent"
    );
    let workspace: Workspace = world.api().get("dev").await.unwrap();
    assert_eq!(workspace.name_any(), "dev");
    second.stop().await.unwrap();
}

async fn until_leading(process: &Process) {
    eventually("a process to lead", || async {
        process.leads().then_some(())
    })
    .await;
}
