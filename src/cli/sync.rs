//! `workstead sync`: a pass now.

use std::process::ExitCode;

use kube::api::Api;

use crate::api::GitSync;
use crate::cli::args::SyncArgs;
use crate::cli::call::{annotate, call};
use crate::cli::connect::{Connection, connect};
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::runstate::request_value;
use crate::cli::show::condition;
use crate::cli::wait::{Verdict, wait_for};
use crate::cli::why::explain_gitsync;
use crate::model::names::RECONCILE_REQUESTED_ANNOTATION;

/// Asks a GitSync for a pass.
pub async fn run(arguments: SyncArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let Connection { client, namespace } = connect(&arguments.cluster).await?;
    let api: Api<GitSync> = Api::namespaced(client, &namespace);
    let name = &arguments.name;
    let shown = format!("GitSync {namespace}/{name}");
    let found = call(&format!("read {shown}"), api.get(name)).await?;
    if found.spec.suspend {
        return Err(
            CliError::no(format!("{shown} is suspended: nothing would happen"))
                .next("take spec.suspend out, then sync again"),
        );
    }
    let value = request_value();
    annotate(&api, name, RECONCILE_REQUESTED_ANNOTATION, &value).await?;
    if !arguments.wait.wait {
        screen.print(&format!("{shown}: asked for a pass\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let judge = |gitsync: &GitSync| judge(gitsync, &value);
    let synced = wait_for(api, name, arguments.wait.timeout, screen, judge).await;
    let synced = synced.map_err(|error| {
        error.next("look whether the controller runs: kubectl get deployments -A -l app.kubernetes.io/name=workstead")
    })?;
    let (text, good) = explain_gitsync(&synced);
    screen.print(&text)?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        crate::cli::error::ANSWER_NO.into()
    })
}

fn judge(gitsync: &GitSync, value: &str) -> Verdict<GitSync> {
    let status = gitsync.status.clone().unwrap_or_default();
    if status.last_handled_reconcile_at.as_deref() == Some(value) {
        return Verdict::Done(gitsync.clone());
    }
    Verdict::Waiting(match condition(&status.conditions, "Reconciling") {
        Some(condition) => condition.message.clone(),
        None => "waiting for the controller".to_owned(),
    })
}
