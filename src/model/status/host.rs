//! Where a workspace opens, and that it does not.

use crate::api::access::EndpointStatus;
use crate::model::access::Conflict;
use crate::model::conditions::{ConditionType, Reason, Wanted};
use crate::model::status::Report;

/// Where its endpoints open: nowhere without a host.
pub(super) fn endpoints(report: &Report<'_>) -> Vec<EndpointStatus> {
    let mut endpoints = report.endpoints.to_vec();
    if report.conflict.is_some() {
        for endpoint in &mut endpoints {
            endpoint.url = None;
        }
    }
    endpoints
}

/// For information: it runs, and opens nowhere. Whose the other Workspace is, is not said: its namespace may be none of
/// the reader's business.
pub(super) fn condition(conflict: &Conflict) -> Wanted {
    let (reason, message) = match conflict {
        Conflict::Reserved => (
            Reason::NameReserved,
            "its name is kept for the installation, so it opens at no address: create it again under another name",
        ),
        Conflict::HeldBy { .. } => (
            Reason::NameTaken,
            "an older Workspace of another namespace has the same name, so this one opens at no address: create it again under another name",
        ),
    };
    Wanted {
        type_: ConditionType::HostConflict,
        status: Some(true),
        reason,
        message: message.to_owned(),
    }
}
