use proptest::prelude::*;
use serde_json::json;

use super::table::table;
use super::*;
use crate::api::workspace::Cause;
use crate::model::evidence::{EventFacts, Facts};
use crate::model::failures::next_deadline;
use crate::model::fixtures::*;
use ActualState::*;

#[test]
fn every_row_of_the_table_says_what_the_sheet_says() {
    for (row, name, evidence, second, state, cause) in table() {
        let derived = derive(&evidence, at(second));
        let found = (
            derived.row,
            derived.state,
            derived.failure.as_ref().map(|failure| failure.cause),
        );
        assert_eq!(found, (row, state, cause), "row {row}: {name}");
    }
}

#[test]
fn every_row_of_the_table_has_a_test() {
    let tested: std::collections::BTreeSet<&str> = table().into_iter().map(|row| row.0).collect();
    let all = [
        "1", "2", "2a", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14a", "14b",
        "14c", "14d", "15",
    ];
    assert_eq!(tested, all.into_iter().collect());
}

#[test]
fn a_crash_loop_that_is_ready_again_leaves_failed() {
    let looping = evidence(Some(&settled(1, 0)), Some(&[crash_looping(json!({}))]));
    assert_eq!(actual_state(&looping, at(11)).0, Failed);
    let mut recovered = ready_pod();
    if let Some(status) = &mut recovered.status
        && let Some(containers) = &mut status.container_statuses
    {
        containers[0].restart_count = 7;
        containers[0].last_state =
            serde_json::from_value(json!({"terminated": {"exitCode": 1, "finishedAt": time(10)}}))
                .unwrap();
    }
    let ready = evidence(Some(&settled(1, 1)), Some(&[recovered]));
    assert_eq!(actual_state(&ready, at(12)), (Running, None));
}

#[test]
fn trouble_that_may_mend_itself_is_shown_while_it_starts() {
    let pod = waiting_pod(
        "ErrImagePull",
        "registry.example.com/dev/rust:1.95: not found",
    );
    let pulling = evidence(Some(&rolling(1)), Some(&[pod]));
    let (state, failure) = actual_state(&pulling, at(5));
    assert_eq!(
        (state, failure.unwrap().cause),
        (Starting, Cause::ImageNotFound)
    );
}

/// The rules of the peer that users know, written again from the sheet: the Deployment alone, no generation.
fn as_the_peer_says(deployment: &k8s_openapi::api::apps::v1::Deployment) -> ActualState {
    let Some(spec) = &deployment.spec else {
        return Unknown;
    };
    let Some(conditions) = deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
    else {
        return Unknown;
    };
    let reason = |type_: &str| {
        conditions
            .iter()
            .find(|c| c.type_ == type_)
            .and_then(|c| c.reason.clone())
    };
    let Some(progressing) = reason("Progressing") else {
        return Unknown;
    };
    let Some(replicas) = spec.replicas else {
        return Unknown;
    };
    let status = deployment.status.clone().unwrap_or_default();
    let up = status.available_replicas.unwrap_or(0);
    let down = status.unavailable_replicas.unwrap_or(0);
    if progressing == "ProgressDeadlineExceeded" {
        return Failed;
    }
    if matches!(
        progressing.as_str(),
        "NewReplicaSetCreated" | "FoundNewReplicaSet" | "ReplicaSetUpdated"
    ) {
        if replicas == 0 {
            return Stopping;
        }
        if replicas == 1 {
            return Starting;
        }
    }
    let Some(available) = reason("Available") else {
        return Unknown;
    };
    if progressing == "NewReplicaSetAvailable" && available == "MinimumReplicasAvailable" {
        if replicas == 0 && up == 0 {
            return Stopped;
        }
        if replicas == up && down == 0 {
            return Running;
        }
        if replicas == 0 && up == 1 {
            return Stopping;
        }
    }
    let either =
        available == "MinimumReplicasAvailable" || available == "MinimumReplicasUnavailable";
    if progressing == "NewReplicaSetAvailable" && either && replicas == 1 && up == 0 {
        return Starting;
    }
    Unknown
}

proptest! {
    #![proptest_config(at_least(1024))]

    #[test]
    fn without_pods_timers_and_generation_the_answer_is_the_peers(deployment in any_deployment(), second in 0..10_000_i64) {
        let evidence = Evidence {
            facts: facts(Some(&deployment), None),
            applied_before: true,
            ..Evidence::default()
        };
        prop_assert_eq!(actual_state(&evidence, at(second)).0, as_the_peer_says(&deployment));
    }

    #[test]
    fn every_evidence_has_a_state(evidence in any_evidence(), second in -2_000..2_000_i64) {
        let (state, failure) = actual_state(&evidence, at(second));
        if matches!(state, Failed | Error) {
            let failure = failure.clone().unwrap();
            prop_assert!(!failure.message.is_empty() && !failure.next_step.is_empty());
        }
        if matches!(state, Running | Stopped | Terminated | CreationRequested) {
            prop_assert_eq!(&failure, &None);
        }
        if let Some(failure) = failure {
            prop_assert!(failure.evidence.len() <= 2048);
            prop_assert!(failure.evidence.lines().count() <= 21);
        }
    }

    #[test]
    fn nothing_changes_before_the_next_deadline(evidence in any_evidence(), second in -2_000..2_000_i64, ahead in 0.0..1.0_f64) {
        // What the status remembers does not move between two looks.
        let now = at(second);
        let first = actual_state(&evidence, now);
        let mut evidence = evidence;
        if let Some(failure) = &first.1 {
            let since = evidence.previous.filter(|p| crate::model::failures::same_trouble(p.cause, failure.cause)).and_then(|p| p.since);
            evidence.previous = Some(crate::model::evidence::PreviousFailure { cause: failure.cause, since: Some(since.unwrap_or(now)) });
        }
        let first = actual_state(&evidence, now);
        let deadline = next_deadline(&evidence, now);
        let end = deadline.unwrap_or(at(100_000));
        prop_assert!(end > now);
        let span = end.duration_since(now).as_millis() as f64;
        let later = now + jiff::SignedDuration::from_millis(((span - 1.0).max(0.0) * ahead) as i64);
        prop_assert_eq!(actual_state(&evidence, later), first);
    }

    #[test]
    fn the_order_in_which_pods_are_listed_does_not_matter(pods in prop::collection::vec(any_pod(), 0..4)) {
        let mut pods = pods;
        for (number, pod) in pods.iter_mut().enumerate() {
            pod.metadata.name = Some(format!("api-1-{number}"));
        }
        let listed = facts(Some(&rolling(1)), Some(&pods));
        pods.reverse();
        prop_assert_eq!(facts(Some(&rolling(1)), Some(&pods)), listed);
    }
}

#[test]
fn events_about_other_pods_explain_nothing() {
    let mut stranger = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod("ContainerCreating", "")]),
    );
    stranger.facts = Facts {
        events: vec![EventFacts {
            kind: "Pod".into(),
            name: "another".into(),
            reason: "FailedMount".into(),
            message: "no".into(),
            last_seen: None,
        }],
        ..stranger.facts
    };
    assert_eq!(actual_state(&stranger, at(5)), (Starting, None));
}
