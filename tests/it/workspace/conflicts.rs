//! Conflicts: one is made good at once, one that never ends is told of and waited out.

use std::time::Duration;

use serde_json::json;
use workstead::api::shared::Blame;
use workstead::api::workspace::{ActualState, Cause};
use workstead::testkit::faults::{Call, Fault, When};

use super::World;

/// How many calls like these the controller makes in two seconds.
async fn calls_in_two_seconds(world: &World, like: impl Fn(&Call) -> bool) -> usize {
    let mark = world.faults.mark();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = world.faults.calls_since(mark);
    calls.iter().filter(|call| like(call)).count()
}

#[tokio::test]
async fn a_webhook_that_always_answers_409_is_told_of_and_asked_ever_more_rarely() {
    let world = World::new("webhook").await;
    let is_refused = |call: &Call| call.is_write() && call.resource() == "deployments";
    world
        .faults
        .always(When::matching(is_refused), Fault::Answer(409));
    let process = world.start();
    world.create("dev", json!({})).await;
    let status = world.until_state("dev", ActualState::Error).await;
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.cause, failure.blame, failure.retryable),
        (Cause::ApplyRejected, Blame::Platform, true)
    );
    assert!(failure.message.contains("Deployment dev"), "{failure:?}");
    assert!(failure.next_step.contains("409"), "{failure:?}");
    // The pauses of the test grow from 50 ms to 1 s.
    let asked = calls_in_two_seconds(&world, is_refused).await;
    assert!((1..15).contains(&asked), "{asked} times");
    world.faults.heal();
    world.make_ready("dev").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_status_that_always_conflicts_is_written_ever_more_rarely() {
    let world = World::new("stale").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let is_status = |call: &Call| call.is_write() && call.subresource() == "status";
    world
        .faults
        .always(When::matching(is_status), Fault::Answer(409));
    world.want("dev", "Stopped").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = calls_in_two_seconds(&world, is_status).await;
    assert!((1..15).contains(&asked), "{asked} times");
    world.faults.heal();
    world.until_state("dev", ActualState::Stopped).await;
    process.stop().await.unwrap();
}
