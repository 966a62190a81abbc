use serde_json::json;

use super::*;
use crate::api::variables::AcceptedSet;
use crate::secrets::binding::Audience;
use crate::secrets::error::SetError;
use crate::secrets::identity::Identity;

fn mk_set() -> WorkspaceVariables {
    serde_json::from_value(json!({
        "metadata": {"namespace": "team-a", "name": "api", "generation": 3},
        "spec": {"format": "Age", "sealed": "-----BEGIN AGE ENCRYPTED FILE-----"},
    }))
    .unwrap()
}

fn accepted(applies_to: Option<AppliesTo>) -> Outcome {
    Outcome::Accepted(Accepted {
        set: AcceptedSet {
            digest: "d1".to_owned(),
            applies_to,
            env: vec!["A".to_owned()],
            files: vec![".netrc".to_owned(), "x".to_owned()],
            ..AcceptedSet::default()
        },
        serial: Some(7),
        audience: Audience::default(),
        by: Identity::generate().fingerprint().clone(),
        variables: 1,
        files: 2,
    })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Conditions by type: status, reason, message and since when.
fn told(status: &WorkspaceVariablesStatus) -> Vec<(&str, &str, &str, &str, i64)> {
    let conditions = status.conditions.iter();
    conditions
        .map(|condition| {
            (
                condition.type_.as_str(),
                condition.status.as_str(),
                condition.reason.as_str(),
                condition.message.as_str(),
                condition.last_transition_time.0.as_second(),
            )
        })
        .collect()
}

#[test]
fn a_set_that_may_be_used_says_how_much_it_has_and_for_whom() {
    let set = mk_set();
    let owner = AppliesTo {
        owner: Some("alice@example.com".to_owned()),
        namespace: None,
    };
    let namespace = AppliesTo {
        owner: None,
        namespace: Some(true),
    };
    for (applies_to, whom) in [
        (None, "Workspaces that list it"),
        (Some(owner), "Workspaces of alice@example.com"),
        (Some(namespace), "all Workspaces of the namespace"),
    ] {
        let status = of(&set, &accepted(applies_to), None, at(100));
        let message = format!("1 variable and 2 files, for {whom}");
        assert_eq!(
            told(&status),
            [("Ready", "True", "Accepted", &*message, 100)]
        );
        assert_eq!(
            (status.observed_generation, status.serial),
            (Some(3), Some(7))
        );
        assert_eq!(status.accepted.unwrap().digest, "d1");
    }
}

#[test]
fn a_refusal_keeps_what_was_accepted_and_says_that_it_stays_in_use() {
    let mut set = mk_set();
    let good = of(&set, &accepted(None), None, at(100));
    let refused = || Outcome::Refused(SetError::BindingMissing);
    let first = of(&set, &refused(), None, at(200));
    assert!(first.accepted.is_none() && !first.conditions[0].message.contains("stays in use"));
    set.status = Some(good.clone());
    let status = of(&set, &refused(), None, at(200));
    let [ready, stalled] = told(&status)[..] else {
        panic!("{status:?}");
    };
    assert_eq!(
        (ready.0, ready.1, ready.2, ready.4),
        ("Ready", "False", "BindingMissing", 200)
    );
    assert_eq!(
        (stalled.0, stalled.1, stalled.2, stalled.4),
        ("Stalled", "True", "BindingMissing", 200)
    );
    assert!(
        ready.3.starts_with("WV101: ") && ready.3.ends_with("stays in use"),
        "{ready:?}"
    );
    assert_eq!(
        (&status.accepted, status.serial, &status.opened_by),
        (&good.accepted, Some(7), &good.opened_by)
    );
    // Nothing moves while nothing changes.
    set.status = Some(status.clone());
    assert_eq!(of(&set, &refused(), None, at(300)), status);
    assert_eq!(ready_reason(Some(&status)), Some("BindingMissing"));
}

#[test]
fn without_identities_a_set_says_so() {
    let why = "Secret workstead-identities is gone: restore it".to_owned();
    let status = of(
        &mk_set(),
        &Outcome::NoIdentities(why.clone()),
        None,
        at(100),
    );
    let told = told(&status);
    assert_eq!(told[0], ("Ready", "False", "IdentitiesMissing", &*why, 100));
    assert_eq!(told[1].0, "Stalled");
}
