//! Addresses, and since when it runs or is stopped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::*;
use crate::api::workspace::ActualState::{Running, Stopped};

fn of<'a>(status: &'a WorkspaceStatus, type_: &str) -> Option<&'a str> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == type_)?;
    Some(&found.reason)
}

#[test]
fn one_that_lost_its_host_runs_says_so_and_names_no_address() {
    let mut pass = Pass::new(None, up());
    let before = pass.status(at(10));
    assert_eq!(before.url.as_deref(), Some("https://api.work.example.com"));
    assert_eq!(of(&before, "HostConflict"), None);
    for (conflict, reason) in [
        (Conflict::Reserved, "NameReserved"),
        (
            Conflict::HeldBy {
                namespace: "secret".into(),
                uid: "u".into(),
            },
            "NameTaken",
        ),
    ] {
        pass.conflict = Some(conflict);
        let status = pass.status(at(20));
        assert_eq!(of(&status, "HostConflict"), Some(reason));
        assert_eq!(
            of(&status, "Ready"),
            Some("Running"),
            "it is for information"
        );
        assert_eq!(
            (status.url.as_ref(), &status.endpoints[0].url),
            (None, &None)
        );
        assert!(!format!("{:?}", status.conditions).contains("secret"));
    }
    pass.conflict = None;
    let after = pass.status(at(30));
    assert_eq!(
        (of(&after, "HostConflict"), after.url.clone()),
        (None, before.url)
    );
}

#[test]
fn since_when_it_runs_and_since_when_it_is_stopped_move_only_when_that_begins() {
    let mut pass = Pass::new(None, up());
    let since = |status: &WorkspaceStatus| {
        let of = |moment: &Option<MicroTime>| moment.as_ref().map(|moment| moment.0);
        (of(&status.running_since), of(&status.stopped_since))
    };
    let first = pass.status(at(10));
    assert_eq!(
        (first.actual_state, since(&first)),
        (Some(Running), (Some(at(10)), None))
    );
    assert_eq!(since(&pass.status(at(500))), (Some(at(10)), None));

    pass.workspace.spec.desired_state = Some(crate::api::workspace::DesiredState::Stopped);
    pass.seen = down();
    let stopped = pass.status(at(600));
    assert_eq!(
        (stopped.actual_state, since(&stopped)),
        (Some(Stopped), (None, Some(at(600))))
    );
    pass.apply_error = Some(refused(503, true));
    assert_eq!(since(&pass.status(at(700))), (None, Some(at(600))));
    pass.apply_error = None;
    assert_eq!(since(&pass.status(at(800))), (None, Some(at(600))));

    // A start that is refused is none.
    pass.workspace.spec.desired_state = None;
    pass.workspace
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(
            crate::model::names::RESTART_REQUESTED_ANNOTATION.to_owned(),
            "1".to_owned(),
        );
    pass.blocked = Some(config_invalid());
    for seconds in [820, 840] {
        let refused = pass.status(at(seconds));
        assert_eq!(
            (refused.actual_state, since(&refused)),
            (Some(Stopped), (None, Some(at(600))))
        );
    }
    pass.blocked = None;

    pass.seen = up();
    assert_eq!(since(&pass.status(at(900))), (Some(at(900)), None));
}
