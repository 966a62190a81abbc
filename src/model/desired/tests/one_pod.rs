//! A start waits for whatever pod may still hold the home volume.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::*;
use crate::model::evidence::Observed;

fn waits(facts: &Facts) -> bool {
    let decision = look(&asked(None, &[]), &WorkspaceStatus::default(), facts);
    assert_eq!(
        (decision.effective, decision.replicas),
        (Running, i32::from(!decision.waits)),
        "it should run all the time, and has no replicas while it waits"
    );
    decision.waits
}

#[test]
fn a_start_waits_for_the_pod_that_was_stopped_before_it() {
    let stopped = |pods: &[Pod]| facts(Some(&settled(0, 0)), Some(pods));
    assert!(waits(&stopped(&[leaving(ready_pod())])));
    assert!(
        waits(&stopped(&[ready_pod()])),
        "its deletion is not seen yet"
    );
    assert!(!waits(&stopped(&[])));
    let dead = pod(json!({"phase": "Failed", "reason": "Evicted"}));
    assert!(
        !waits(&stopped(std::slice::from_ref(&dead))),
        "a dead pod holds nothing"
    );
    assert!(waits(&stopped(&[leaving(dead)])), "it may be unmounting");
    // What is up is not scaled down for a pod beside it.
    let replaced = facts(
        Some(&settled(1, 1)),
        Some(&[leaving(ready_pod()), ready_pod()]),
    );
    assert!(!waits(&replaced));
}

#[test]
fn a_start_waits_for_the_pod_of_a_deployment_that_was_deleted() {
    assert!(waits(&facts(None, Some(&[ready_pod()]))));
    assert!(waits(&facts(None, Some(&[leaving(ready_pod())]))));
    assert!(!waits(&facts(None, Some(&[]))));
}

#[test]
fn a_pod_that_a_new_deployment_adopts_is_not_waited_for() {
    let mut orphan = replica_set();
    orphan.metadata.owner_references = None;
    let look = |set: &ReplicaSet, pods: &[Pod]| {
        waits(&Facts::of(&Observed {
            replica_sets: std::slice::from_ref(set),
            pods: Some(pods),
            ..Observed::default()
        }))
    };
    assert!(!look(&orphan, &[ready_pod()]));
    let mut other = ready_pod();
    other.metadata.owner_references = None;
    assert!(
        look(&orphan, &[ready_pod(), other]),
        "nothing deletes that one"
    );
    orphan.metadata.deletion_timestamp = serde_json::from_value(time(5)).unwrap();
    assert!(look(&orphan, &[ready_pod()]));
}

#[test]
fn a_start_waits_until_the_deployment_has_caught_up_with_the_stop() {
    let scaled = |generation: i64, up: i32, down: i32| {
        let status =
            json!({"observedGeneration": 2, "availableReplicas": up, "unavailableReplicas": down});
        facts(
            Some(&deployment(
                json!(generation),
                json!({"replicas": 0}),
                status,
            )),
            Some(&[]),
        )
    };
    assert!(
        waits(&scaled(3, 0, 0)),
        "it may still be about to make a pod"
    );
    assert!(waits(&scaled(2, 1, 0)));
    assert!(waits(&scaled(2, 0, 1)));
    assert!(!waits(&scaled(2, 0, 0)));
    let new = deployment(json!(1), json!({"replicas": 0}), Value::Null);
    assert!(
        !waits(&facts(Some(&new), Some(&[]))),
        "nobody has looked at it: it made nothing"
    );
}

#[test]
fn pods_that_nobody_looked_at_may_be_there() {
    assert!(waits(&facts(Some(&settled(0, 0)), None)));
    assert!(!waits(&facts(Some(&settled(1, 1)), None)));
}
