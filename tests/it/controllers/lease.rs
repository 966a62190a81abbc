//! Leadership.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;
use workstead::controllers::RunError;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::{Process, mk_config};

async fn until_leading(process: &Process) {
    eventually("a process to lead", || async {
        process.leads().then_some(())
    })
    .await;
}

/// Two processes, of which the first leads and the second is ready.
async fn leader_and_standby(name: &str) -> (Process, Process) {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace(name).await.unwrap();
    let first = Process::start(mk_config(&namespace, "first"), plane.client());
    until_leading(&first).await;
    let second = Process::start(mk_config(&namespace, "second"), plane.client());
    eventually("the standby to be ready", || async {
        second.health.missing().is_empty().then_some(())
    })
    .await;
    (first, second)
}

#[tokio::test]
async fn a_standby_is_ready_and_takes_over_at_once_when_the_leader_ends_in_order() {
    let (first, second) = leader_and_standby("handover").await;
    assert!(!second.leads());
    let begin = Instant::now();
    first.stop().await.unwrap();
    until_leading(&second).await;
    // Released, not run out: that would take the 3 s of the lease and more.
    assert!(
        begin.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begin.elapsed()
    );
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_crashed_leader_is_followed_after_its_lease_ran_out_and_not_before() {
    let (first, second) = leader_and_standby("crash").await;
    first.kill().await;
    let begin = Instant::now();
    until_leading(&second).await;
    // The last renewal was at most 500 ms (and a call) before the crash.
    assert!(
        begin.elapsed() > Duration::from_millis(2000),
        "{:?}",
        begin.elapsed()
    );
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_lease_was_taken_ends_with_the_name_of_the_other() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("taken").await.unwrap();
    let first = Process::start(mk_config(&namespace, "first"), plane.client());
    until_leading(&first).await;
    let leases: Api<Lease> = Api::namespaced(plane.client(), &namespace);
    let thief = json!({"spec": {
        "holderIdentity": "thief",
        "renewTime": MicroTime(Timestamp::now()),
    }});
    leases
        .patch(
            "workstead-controller",
            &PatchParams::default(),
            &Patch::Merge(thief),
        )
        .await
        .unwrap();
    let error = first.ended().await.unwrap_err();
    assert!(matches!(error, RunError::Lease(_)));
    assert!(error.to_string().contains("thief"), "{error}");
}
