//! `workstead sync`: a pass now.

use std::process::ExitCode;

use kube::api::Api;
use serde::Serialize;

use crate::api::GitSync;
use crate::api::gitsync::GitSyncStatus;
use crate::cli::args::SyncArgs;
use crate::cli::call::{annotate, call};
use crate::cli::connect::{Connection, connect};
use crate::cli::error::CliError;
use crate::cli::output::{DataFormat, Screen};
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
    let shown = Shown {
        namespace: &namespace,
        name,
        format: arguments.output,
    };
    if !arguments.wait.wait {
        return shown.asked(screen, &found).map(|()| ExitCode::SUCCESS);
    }
    let judge = |gitsync: &GitSync| judge(gitsync, &value);
    let synced = wait_for(api, name, arguments.wait.timeout, screen, judge).await;
    let synced = synced.map_err(|error| {
        error.next("look whether the controller runs: kubectl get deployments -A -l app.kubernetes.io/name=workstead")
    })?;
    Ok(if shown.done(screen, &synced)? {
        ExitCode::SUCCESS
    } else {
        crate::cli::error::ANSWER_NO.into()
    })
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    namespace: &'a str,
    name: &'a str,
    asked: &'static str,
    /// Why it is ready or not, in a word.
    state: Option<&'a str>,
    /// The status at the end of the wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a GitSyncStatus>,
}

/// Who is spoken of, and how.
struct Shown<'a> {
    namespace: &'a str,
    name: &'a str,
    format: Option<DataFormat>,
}

impl Shown<'_> {
    fn asked(&self, screen: &mut Screen, found: &GitSync) -> Result<(), CliError> {
        let Some(format) = self.format else {
            let Self {
                namespace, name, ..
            } = self;
            return screen.print(&format!("GitSync {namespace}/{name}: asked for a pass\n"));
        };
        screen.data(format, &self.answer(found.status.as_ref(), false))
    }

    /// Shows the outcome; gives whether all of it was applied.
    fn done(&self, screen: &mut Screen, synced: &GitSync) -> Result<bool, CliError> {
        let (text, good) = explain_gitsync(synced);
        match self.format {
            Some(format) => screen.data(format, &self.answer(synced.status.as_ref(), true))?,
            None => screen.print(&text)?,
        }
        Ok(good)
    }

    fn answer<'a>(&'a self, status: Option<&'a GitSyncStatus>, waited: bool) -> Answer<'a> {
        let ready = status.and_then(|status| condition(&status.conditions, "Ready"));
        Answer {
            namespace: self.namespace,
            name: self.name,
            asked: "sync",
            state: ready.map(|ready| ready.reason.as_str()),
            status: status.filter(|_| waited),
        }
    }
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
