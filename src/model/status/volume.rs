//! What the status says of the home volume.

use crate::api::workspace::{ActualState, Cause, VolumeStatus, WorkspaceStatus};
use crate::model::conditions::{ConditionType, Reason, Wanted};
use crate::model::desired::may_delete_volume;
use crate::model::evidence::Termination;
use crate::model::status::Report;

/// Whether the home volume is there.
pub(super) fn condition(report: &Report<'_>, state: ActualState) -> Option<Wanted> {
    let want = |status: Option<bool>, reason: Reason, message: String| {
        Some(Wanted {
            type_: ConditionType::StorageReady,
            status,
            reason,
            message,
        })
    };
    let foreign = report
        .blocked
        .filter(|blocked| blocked.cause == Cause::VolumeForeign);
    if let Some(blocked) = foreign {
        return want(
            Some(false),
            Reason::Cause(blocked.cause),
            blocked.message.clone(),
        );
    }
    let Some(volume) = &report.evidence.facts.volume else {
        return match state {
            ActualState::Terminated => None,
            _ => want(
                Some(false),
                Reason::NoClaim,
                "there is no volume yet".to_owned(),
            ),
        };
    };
    let name = &volume.name;
    match volume.phase.as_deref() {
        _ if state == ActualState::Terminated => want(
            Some(true),
            Reason::Retained,
            format!("the volume {name} is kept"),
        ),
        _ if volume.deleting => want(
            Some(false),
            Reason::Deleting,
            format!("the volume {name} is being deleted"),
        ),
        Some("Bound") => want(
            Some(true),
            Reason::Bound,
            format!("the volume {name} is bound"),
        ),
        Some("Lost") => want(
            Some(false),
            Reason::Lost,
            format!("what the volume {name} was bound to is gone"),
        ),
        _ if report.evidence.timers.start_requested_at.is_none() => want(
            None,
            Reason::WaitingForFirstStart,
            format!("the volume {name} may be made at the first start"),
        ),
        _ => want(
            Some(false),
            Reason::NotBound,
            format!("the volume {name} is not bound yet"),
        ),
    }
}

/// The home volume, unless it is somebody else's.
pub(super) fn status(report: &Report<'_>, previous: &WorkspaceStatus) -> Option<VolumeStatus> {
    if report
        .blocked
        .is_some_and(|blocked| blocked.cause == Cause::VolumeForeign)
    {
        return None;
    }
    let volume = report.evidence.facts.volume.as_ref()?;
    Some(VolumeStatus {
        name: volume.name.clone(),
        capacity: volume.capacity.clone(),
        retained: report.evidence.termination == Termination::Done
            && !may_delete_volume(previous, report.retention),
    })
}
