//! Step 6: the status, written only when it changed; Events and metrics on transitions.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;

use crate::api::Workspace;
use crate::api::shared::Blame;
use crate::api::workspace::{ActualState, Cause, Failure, StartStep, WorkspaceStatus};
use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::watches::state_name;
use crate::model::activity::words;
use crate::model::conditions::ConditionType;
use crate::model::names::WORKSPACE_MANAGER;
use crate::telemetry::metrics::FailureLabels;

/// Writes a status, unless it is there already. Returns whether it was written.
///
/// # Errors
/// When the API server refuses; that the Workspace is gone is no failure.
pub async fn write(
    context: &Context,
    workspace: &Arc<Workspace>,
    status: &WorkspaceStatus,
) -> Result<bool, kube::Error> {
    if workspace.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let key = Key::of(&**workspace);
    // What is sent is ours: `wake` stays the proxy's.
    let status = WorkspaceStatus {
        wake: None,
        ..status.clone()
    };
    // Identity and status, nothing else: everything else belongs to others. The UID is a precondition: the status of a
    // Workspace that was deleted does not land on a new one of its name.
    let body = json!({
        "apiVersion": crate::api::API_VERSION,
        "kind": "Workspace",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": workspace.metadata.uid,
        },
        "status": status,
    });
    let api: Api<Workspace> = Api::namespaced(context.shared.client.clone(), &key.namespace);
    let params = PatchParams::apply(WORKSPACE_MANAGER).force();
    match api
        .patch_status(&key.name, &params, &Patch::Apply(&body))
        .await
    {
        Ok(mut written) => {
            written.metadata.managed_fields = None;
            context.watched.latest.wrote(written);
            Ok(true)
        }
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(false),
        // It is going, and another one of its name is there already.
        Err(kube::Error::Api(answer)) if answer.is_conflict() && is_deleted(workspace) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_deleted(workspace: &Workspace) -> bool {
    workspace.metadata.deletion_timestamp.is_some()
}

/// Tells of transitions: an Event for people, numbers for machines.
pub async fn announce(
    context: &Context,
    workspace: &Workspace,
    status: &WorkspaceStatus,
    now: Timestamp,
) {
    let before = workspace.status.as_ref();
    let state = status.actual_state;
    let old_state = before.and_then(|before| before.actual_state);
    let old_cause = before.and_then(|before| Some(before.failure.as_ref()?.cause));
    if let Some(failure) = &status.failure
        && old_cause != Some(failure.cause)
    {
        count_failure(context, failure);
        let note = format!("{}; {}", failure.message, failure.next_step);
        let reason = format!("{:?}", failure.cause);
        let action = state.map_or("Unknown", state_name);
        context
            .shared
            .events
            .publish(workspace, EventType::Warning, &reason, action, &note)
            .await;
    }
    announce_refusal(context, workspace, status).await;
    announce_timers(context, workspace, status).await;
    announce_conflict(context, workspace, status).await;
    let Some(state) = state.filter(|state| old_state != Some(*state)) else {
        return;
    };
    if state == ActualState::Running
        && let Some(requested) = &status.start_requested_at
    {
        let took = now.duration_since(requested.0).as_secs_f64();
        context.shared.metrics.start_seconds.observe(took.max(0.0));
    }
    if status.failure.is_none() {
        let name = state_name(state);
        let note = match old_state {
            Some(old) => format!("from {} to {name}", state_name(old)),
            None => format!("it is {name}"),
        };
        context
            .shared
            .events
            .publish(workspace, EventType::Normal, name, "Observe", &note)
            .await;
    }
}

/// Tells that a start went over to copying its tools: nobody has to do anything, but somebody may want to know.
async fn announce_refusal(context: &Context, workspace: &Workspace, status: &WorkspaceStatus) {
    let went_over = |status: &WorkspaceStatus| {
        let mut steps = status.timeline.iter();
        steps.any(|step| step.step == StartStep::ToolsRefused)
    };
    let told_before = workspace.status.as_ref().is_some_and(|before| {
        went_over(before) && before.start_requested_at == status.start_requested_at
    });
    if told_before || !went_over(status) {
        return;
    }
    let refused = status
        .tools
        .as_ref()
        .and_then(|tools| tools.refused.as_deref());
    let note = format!(
        "tools can't be mounted, so this start copies them; {}",
        refused.unwrap_or_default()
    );
    let cause = Cause::ToolsUnavailable;
    count(context, cause, Blame::Platform);
    context
        .shared
        .events
        .publish(
            workspace,
            EventType::Warning,
            cause_name(cause),
            "CopyTools",
            &note,
        )
        .await;
}

/// Tells of what a timer will end soon, and of what it ended.
async fn announce_timers(context: &Context, workspace: &Workspace, status: &WorkspaceStatus) {
    let before = workspace.status.clone().unwrap_or_default();
    let warnings = |status: &WorkspaceStatus| {
        let activity = status.activity.clone().unwrap_or_default();
        activity.warnings
    };
    let known = warnings(&before);
    let events = &context.shared.events;
    for warning in warnings(status) {
        if known.contains(&warning) {
            continue;
        }
        let reason = if warning.timer.terminates() {
            "TerminatesSoon"
        } else {
            "StopsSoon"
        };
        let note = words::warning(&warning);
        events
            .publish(workspace, EventType::Warning, reason, "Warn", &note)
            .await;
    }
    if let Some(stop) = &status.stopped_by_timer
        && before.stopped_by_timer.as_ref() != Some(stop)
    {
        let reason = if stop.timer.terminates() {
            "TerminatedByTimer"
        } else {
            "StoppedByTimer"
        };
        let note = words::ended(stop);
        events
            .publish(workspace, EventType::Normal, reason, "End", &note)
            .await;
    }
}

/// Tells that a Workspace opens nowhere.
async fn announce_conflict(context: &Context, workspace: &Workspace, status: &WorkspaceStatus) {
    let of = |status: &WorkspaceStatus| {
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|c| c.type_ == ConditionType::HostConflict.as_str());
        found.map(|condition| (condition.reason.clone(), condition.message.clone()))
    };
    let known = workspace.status.as_ref().and_then(of);
    if let Some((reason, note)) = of(status).filter(|found| known.as_ref() != Some(found)) {
        context
            .shared
            .events
            .publish(workspace, EventType::Warning, &reason, "Route", &note)
            .await;
    }
}

fn count_failure(context: &Context, failure: &Failure) {
    count(context, failure.cause, failure.blame);
}

fn count(context: &Context, cause: Cause, blame: Blame) {
    let blame = match blame {
        Blame::User => "user",
        Blame::Platform => "platform",
    };
    context
        .shared
        .metrics
        .failures
        .get_or_create(&FailureLabels {
            cause: cause_name(cause),
            blame,
        })
        .inc();
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Unschedulable => "Unschedulable",
        Cause::QuotaExceeded => "QuotaExceeded",
        Cause::AdmissionDenied => "AdmissionDenied",
        Cause::ImageNotFound => "ImageNotFound",
        Cause::ImageAuth => "ImageAuth",
        Cause::ImagePullTransient => "ImagePullTransient",
        Cause::ConfigInvalid => "ConfigInvalid",
        Cause::VolumeBind => "VolumeBind",
        Cause::VolumeMount => "VolumeMount",
        Cause::VolumeForeign => "VolumeForeign",
        Cause::NodeRejected => "NodeRejected",
        Cause::Evicted => "Evicted",
        Cause::NodeLost => "NodeLost",
        Cause::OutOfMemory => "OutOfMemory",
        Cause::KilledExternally => "KilledExternally",
        Cause::CrashLoop => "CrashLoop",
        Cause::MainExited => "MainExited",
        Cause::ToolsUnavailable => "ToolsUnavailable",
        Cause::CloneAuth => "CloneAuth",
        Cause::CloneRef => "CloneRef",
        Cause::CloneNetwork => "CloneNetwork",
        Cause::CloneFailed => "CloneFailed",
        Cause::PostStartFailed => "PostStartFailed",
        Cause::EditorNotReady => "EditorNotReady",
        Cause::EditorIncompatible => "EditorIncompatible",
        Cause::VariablesUnavailable => "VariablesUnavailable",
        Cause::ClassInvalid => "ClassInvalid",
        Cause::ApplyRejected => "ApplyRejected",
        Cause::StopStuck => "StopStuck",
        Cause::StartupTimeout => "StartupTimeout",
    }
}
