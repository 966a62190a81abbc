//! Many Workspaces.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::wait::await_condition;
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::kubelet::PodStep;
use workstead::testkit::wait::eventually;

use super::World;

/// How many there are beside those that are measured.
const MANY: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run by make test-long"]
async fn a_ready_pod_shows_as_running_at_once_among_a_thousand_workspaces() {
    let world = World::new("scale").await;
    let process = world.start();
    let begin = now();
    futures::stream::iter(0..MANY)
        .for_each_concurrent(8, async |number| {
            let spec = json!({"desiredState": "Stopped"});
            world.create(&format!("ws{number}"), spec).await;
        })
        .await;
    println!("created after {:?}", begin.elapsed());
    let api: Api<Workspace> = world.api();
    let stopped = async || {
        let list = api.list(&ListParams::default()).await.unwrap();
        let is_stopped = |w: &&Workspace| {
            w.status.as_ref().and_then(|s| s.actual_state) == Some(ActualState::Stopped)
        };
        let count = list.iter().filter(is_stopped).count();
        (count == MANY).then_some(())
    };
    while stopped().await.is_none() {
        assert!(begin.elapsed() < Duration::from_secs(500));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("stopped after {:?}", begin.elapsed());
    let mut times = Vec::new();
    for number in 0..20 {
        let name = format!("measured{number}");
        world.create(&name, json!({})).await;
        let pod = world.pod(&name, None).await;
        eventually("it to start", async || {
            (world.status(&name).await.actual_state == Some(ActualState::Starting)).then_some(())
        })
        .await;
        let running = |w: Option<&Workspace>| {
            w.and_then(|w| w.status.as_ref()?.actual_state) == Some(ActualState::Running)
        };
        let mut seen = std::pin::pin!(await_condition(api.clone(), &name, running));
        // The watch is there before the pod is ready.
        let early = tokio::time::timeout(Duration::from_millis(200), seen.as_mut()).await;
        assert!(early.is_err());
        world.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
        let begin = now();
        seen.await.unwrap();
        times.push(begin.elapsed());
    }
    times.sort();
    println!("ready to running: {times:?}");
    assert!(times[18] < Duration::from_millis(300), "{times:?}");
    process.stop().await.unwrap();
}

#[allow(clippy::disallowed_methods)] // measured, not decided
fn now() -> Instant {
    Instant::now()
}
