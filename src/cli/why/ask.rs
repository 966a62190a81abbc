//! Has the workspace itself asked how it is: an annotation for the controller, and its echo in the status.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::Api;
use tokio::time::{sleep, timeout};

use crate::api::Workspace;
use crate::api::inspection::Inspection;
use crate::api::workspace::{ActualState, WorkspaceStatus};
use crate::cli::call::annotate;
use crate::cli::error::CliError;
use crate::cli::managed;
use crate::cli::runstate::request_value;
use crate::model::names::INSPECT_REQUESTED_ANNOTATION;

/// So long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for it.
const PAUSE: Duration = Duration::from_millis(100);

/// How fresh the news from inside are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// No container runs: there is nobody to ask.
    NobodyRuns,
    /// It was asked just now.
    Fresh,
    /// It was not, and why.
    Known(String),
}

/// Has it asked. The Workspace as it is after that; where it can't be asked, as it was. Never fails.
pub async fn ask(api: &Api<Workspace>, found: Workspace) -> (Workspace, Freshness) {
    if !may_run(&found) {
        return (found, Freshness::NobodyRuns);
    }
    match timeout(PATIENCE, asking(api, &found)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => (found, Freshness::Known(in_a_line(&error))),
        Err(_) => {
            let said = format!("no answer within {} s", PATIENCE.as_secs());
            (found, Freshness::Known(said))
        }
    }
}

/// Whether there may be a first process to ask.
fn may_run(workspace: &Workspace) -> bool {
    let Some(status) = &workspace.status else {
        return false;
    };
    let leaves = matches!(
        status.actual_state,
        None | Some(
            ActualState::Stopping
                | ActualState::Stopped
                | ActualState::Terminating
                | ActualState::Terminated
        )
    );
    !leaves && status.pod.is_some() && status.supervisor.is_some()
}

async fn asking(
    api: &Api<Workspace>,
    found: &Workspace,
) -> Result<(Workspace, Freshness), CliError> {
    let name = found.name_any();
    if let Some(manager) = managed::applies(found, INSPECT_REQUESTED_ANNOTATION) {
        return Err(CliError::no(format!(
            "{manager} applies the annotation {INSPECT_REQUESTED_ANNOTATION}, which is for this command"
        )));
    }
    let request = request_value();
    annotate(api, &name, INSPECT_REQUESTED_ANNOTATION, &request).await?;
    let before = inspection(found).cloned();
    loop {
        // The deadline is the caller's. A look that fails may go better the next time.
        if let Ok(now) = api.get(&name).await {
            let status = now.status.as_ref();
            let echo = status.and_then(|status| status.last_handled_inspect_at.as_ref());
            if echo == Some(&request) {
                let answered = inspection(&now).is_some() && inspection(&now) != before.as_ref();
                let freshness = if answered {
                    Freshness::Fresh
                } else {
                    Freshness::NobodyRuns
                };
                return Ok((now, freshness));
            }
        }
        sleep(PAUSE).await;
    }
}

fn inspection(workspace: &Workspace) -> Option<&Inspection> {
    let status: &WorkspaceStatus = workspace.status.as_ref()?;
    status.supervisor.as_ref()?.inspection.as_ref()
}

fn in_a_line(error: &CliError) -> String {
    let evidence = error.evidence.first();
    let evidence = evidence.and_then(|evidence| evidence.lines().next());
    evidence.map_or_else(
        || error.cause.clone(),
        |line| format!("{}: {line}", error.cause),
    )
}
