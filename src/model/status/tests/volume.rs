//! What is said of the home volume.

use super::*;

#[test]
fn a_foreign_volume_is_not_recorded_as_ours() {
    let mut pass = Pass::new(None, nothing());
    pass.pinned = None;
    pass.blocked = Some(Failure {
        cause: Cause::VolumeForeign,
        ..config_invalid()
    });
    let status = pass.status(at(5));
    assert_eq!(
        (status.actual_state, status.volume.clone()),
        (Some(ActualState::CreationRequested), None)
    );
    assert!(told(&status).contains(&"StorageReady=False VolumeForeign".to_owned()));
}

#[test]
fn a_volume_that_is_deleted_under_a_running_workspace_is_told_with_what_to_save() {
    let mut pass = Pass::new(None, up());
    pass.volume.as_mut().unwrap().deleting = true;
    pass.blocked = leaving_volume(pass.volume.as_ref().unwrap(), true);
    let status = pass.status(at(5));
    assert_eq!(status.actual_state, Some(ActualState::Running));
    assert_eq!(
        told(&status),
        [
            "Ready=False VolumeBind",
            "Stalled=True VolumeBind",
            "StorageReady=False Deleting",
            "PodReady=True PodReady"
        ]
    );
    let failure = status.failure.unwrap();
    assert!(failure.next_step.contains("copy your work"), "{failure:?}");
    // Stopped, a start waits until it is gone.
    pass.seen = down();
    pass.blocked = leaving_volume(pass.volume.as_ref().unwrap(), false);
    let status = pass.status(at(6));
    assert_eq!(status.actual_state, Some(ActualState::Stopped));
    assert_eq!(
        told(&status)[..3],
        [
            "Ready=False VolumeBind",
            "Reconciling=True VolumeBind",
            "StorageReady=False Deleting"
        ]
    );
}

#[test]
fn a_terminated_workspace_is_ready_and_names_its_kept_volume() {
    let mut pass = Pass::new(
        Some("Terminated"),
        Facts {
            pods: Some(vec![]),
            ..Facts::default()
        },
    );
    pass.termination = Termination::Done;
    let status = pass.status(at(5));
    assert_eq!(
        told(&status),
        ["Ready=True Terminated", "StorageReady=True Retained"]
    );
    let volume = status.volume.unwrap();
    assert_eq!((volume.name.as_str(), volume.retained), ("api-home", true));
}

#[test]
fn a_terminated_workspace_that_is_wanted_back_says_that_terminated_is_final() {
    let mut pass = Pass::new(Some("Terminated"), facts(None, Some(&[])));
    pass.termination = Termination::Done;
    assert_eq!(told(&pass.status(at(5)))[0], "Ready=True Terminated");
    pass.workspace.spec.desired_state = Some(crate::api::workspace::DesiredState::Running);
    let status = pass.status(at(6));
    assert_eq!(
        told(&status)[..2],
        ["Ready=False Terminated", "Stalled=True Terminated"]
    );
    assert_eq!(
        status.conditions[0].message,
        "it is terminated, and Terminated is final: delete the Workspace and create it again"
    );
    assert_eq!(
        status.desired_state,
        Some(EffectiveDesiredState::Terminated)
    );
}

#[test]
fn a_kept_volume_stays_kept_whatever_the_class_says_later() {
    let mut pass = Pass::new(Some("Terminated"), facts(None, Some(&[])));
    pass.termination = Termination::Done;
    pass.status(at(5));
    pass.retention = Retention::Delete;
    let volume = pass.status(at(6)).volume.unwrap();
    assert_eq!((volume.name.as_str(), volume.retained), ("api-home", true));
}
