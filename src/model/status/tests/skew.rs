//! Clocks that differ: the API server and the nodes tell one time, we tell another.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;
use crate::api::workspace::StartStep;
use crate::model::names::MAIN_CONTAINER;
use crate::model::revision::{TemplateChoice, TemplateQuestion, template_to_apply};

fn shifted(moment: Timestamp, skew: i64) -> Time {
    Time(moment + SignedDuration::from_secs(skew))
}

/// A pod that another clock timed.
fn by_another_clock(mut pod: Pod, skew: i64) -> Pod {
    let shift = |time: &mut Option<Time>| {
        if let Some(time) = time {
            *time = shifted(time.0, skew);
        }
    };
    shift(&mut pod.metadata.creation_timestamp);
    let status = pod.status.as_mut().unwrap();
    for condition in status.conditions.iter_mut().flatten() {
        shift(&mut condition.last_transition_time);
    }
    for container in status.container_statuses.iter_mut().flatten() {
        let running = container.state.as_mut().and_then(|s| s.running.as_mut());
        if let Some(running) = running {
            shift(&mut running.started_at);
        }
    }
    pod
}

/// The ready pod, ready no more since a second.
fn unready(second: i64) -> Pod {
    let mut pod = ready_pod();
    let listed = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
    listed[2].status = "False".to_owned();
    listed[2].last_transition_time = Some(Time(at(second)));
    pod
}

/// Whether a later spec would replace the pod that runs.
fn would_replace(pass: &Pass) -> bool {
    let workspace = validated(&workspace_with(json!({})), &valid_class(json!({})));
    let pinned = pinned();
    let stored = serde_json::from_value(json!({
        "metadata": {"name": pinned.name, "ownerReferences": [{
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace", "name": "api",
            "uid": workspace.identity.uid, "controller": true,
        }]},
        "revision": 1, "data": serde_json::to_value(&pinned.pin).unwrap(),
    }))
    .unwrap();
    let mut inputs = PinInputs::of(&workspace, at(100));
    inputs.generation += 1;
    let rendered = serde_json::from_value(json!({
        "spec": {"containers": [{"name": MAIN_CONTAINER, "image": "new"}]},
    }))
    .unwrap();
    let choice = template_to_apply(&TemplateQuestion {
        identity: &workspace.identity,
        replicas: 1,
        facts: &pass.seen,
        previous: pass.workspace.status.as_ref().unwrap(),
        revisions: &[stored],
        live: None,
        rendered: &rendered,
        inputs: &inputs,
        network_policy: None,
    });
    matches!(choice, TemplateChoice::Start(_))
}

proptest! {
    #![proptest_config(at_least(256))]

    #[test]
    fn a_start_has_its_whole_timeline_and_its_pod_stays_whatever_the_other_clock_says(
        skew in -300..=300_i64, late in 0..90_i64, lost in 20..600_i64, timeline_lost in any::<bool>(),
    ) {
        let mut pass = Pass::new(None, facts(Some(&rolling(1)), Some(&[])));
        pass.pinned_at = Some(shifted(start(), skew).0);
        pass.status(at(0));
        let pod = by_another_clock(ready_pod(), skew);
        pass.seen = facts(Some(&settled(1, 1)), Some(&[pod]));
        let status = pass.status(at(5 + late));
        prop_assert_eq!(status.actual_state, Some(ActualState::Running));
        let steps: Vec<StartStep> = status.timeline.iter().map(|step| step.step).collect();
        prop_assert_eq!(steps.len(), 7, "{:?}", steps);
        for step in &status.timeline {
            prop_assert!((0..=(5 + late) * 1000).contains(&step.at_milliseconds), "{:?}", step);
        }
        if timeline_lost {
            pass.workspace.status.as_mut().unwrap().timeline.clear();
        }
        // The spec changes; then, for a moment, the pod is not ready.
        let when = 5 + late + lost;
        pass.seen = facts(Some(&settled(1, 0)), Some(&[by_another_clock(unready(when), skew)]));
        prop_assert!(!would_replace(&pass), "at the first look");
        let status = pass.status(at(when + 1));
        prop_assert_eq!(status.actual_state, Some(ActualState::Starting));
        prop_assert!(!would_replace(&pass), "at the second look");
        let again = status.last_ready_at.unwrap().0;
        prop_assert!(again >= start() && again <= at(when + 1));
        // The startup timer is the whole one, but for what clocks may differ.
        let status = pass.status(at(when + 200));
        prop_assert_eq!(status.actual_state, Some(ActualState::Starting));
    }
}
