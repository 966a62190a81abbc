//! What holds of the status of any pass.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::failures::next_deadline;

fn any_pass() -> impl Strategy<Value = (Pass, Evidence)> {
    (
        any_evidence(),
        proptest::option::of(prop::sample::select(vec!["Running", "Stopped", "Terminated"])),
        prop::bool::weighted(0.2),
        any::<bool>(),
        prop::sample::select(vec![json!({}), json!({"actualState": "Running", "volume": {"name": "api-home", "retained": false}}),
            json!({"conditions": [{"type": "PodReady", "status": "True", "reason": "PodReady", "message": "", "lastTransitionTime": time(0)}]})]),
    )
        .prop_map(|(evidence, desired, blocked, has_pin, status): (Evidence, Option<&str>, bool, bool, Value)| {
            let mut pass = Pass::new(desired, evidence.facts.clone());
            pass.blocked = blocked.then(config_invalid);
            pass.apply_error = evidence.apply_error.clone();
            pass.termination = evidence.termination;
            pass.workspace.status = serde_json::from_value(status).unwrap();
            if !has_pin {
                pass.pinned = None;
            }
            (pass, evidence)
        })
}

proptest! {
    #![proptest_config(at_least(512))]

    #[test]
    fn the_same_input_gives_the_same_status_again((pass, _) in any_pass(), second in 0..2_000_i64, ahead in 0.0..1.0_f64) {
        let mut pass = pass;
        // A restart and the end of a termination take two passes; after them all is said.
        pass.run(at(second));
        let (first, evidence) = pass.run(at(second));
        let end = next_deadline(&evidence, at(second)).unwrap_or(at(50_000));
        let span = end.duration_since(at(second)).as_millis() as f64 - 1.0;
        let later = at(second) + jiff::SignedDuration::from_millis((span.max(0.0) * ahead) as i64);
        prop_assert_eq!(pass.run(later).0, first);
    }

    #[test]
    fn the_conditions_agree_with_each_other((pass, _) in any_pass(), second in 0..2_000_i64) {
        let mut pass = pass;
        let status = pass.status(at(second));
        let find = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
        let ready = find("Ready").unwrap();
        let (reconciling, stalled) = (find("Reconciling"), find("Stalled"));
        prop_assert!(reconciling.is_none() || stalled.is_none());
        for condition in reconciling.into_iter().chain(stalled) {
            prop_assert_eq!(condition.status.as_str(), "True");
            prop_assert_eq!((&condition.reason, &condition.message), (&ready.reason, &ready.message));
        }
        if ready.status == "True" {
            prop_assert!(reconciling.is_none() && stalled.is_none() && status.failure.is_none());
            prop_assert!(pass.apply_error.is_none() || status.actual_state == Some(ActualState::Terminated));
            let wanted = match status.desired_state.unwrap() {
                EffectiveDesiredState::Running => Some(ActualState::Running),
                EffectiveDesiredState::Stopped => Some(ActualState::Stopped),
                EffectiveDesiredState::Terminated => Some(ActualState::Terminated),
                EffectiveDesiredState::RestartRequested => None,
            };
            prop_assert_eq!(status.actual_state, wanted);
            if wanted == Some(ActualState::Running) {
                prop_assert_ne!(find("PodReady").map(|condition| condition.status.as_str()), Some("False").filter(|_| pass.seen.pods.is_some()));
            }
        } else {
            prop_assert!(reconciling.is_some() || stalled.is_some());
        }
        if let Some(failure) = &status.failure {
            prop_assert_eq!(&ready.message, &failure.message);
        }
        let types: std::collections::BTreeSet<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        prop_assert_eq!(types.len(), status.conditions.len());
    }

    #[test]
    fn the_timeline_runs_forwards((pass, _) in any_pass(), seconds in prop::collection::vec(0..100_i64, 1..4)) {
        let mut pass = pass;
        let mut now = 0;
        for step in seconds {
            now += step;
            let timeline = pass.status(at(now)).timeline;
            for pair in timeline.windows(2) {
                prop_assert!(pair[0].step < pair[1].step);
                prop_assert!(pair[0].at_milliseconds <= pair[1].at_milliseconds);
                prop_assert_eq!(pair[1].milliseconds, pair[1].at_milliseconds - pair[0].at_milliseconds);
            }
        }
    }
}
