//! `workstead start`, `stop` and `restart`: the person's wish, never against a file's.

use std::process::ExitCode;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::api::workspace::{ActualState, DesiredState, Workspace};
use crate::api::{API_VERSION, workspace::Failure};
use crate::cli::args::RunStateArgs;
use crate::cli::call::{annotate, call};
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::show;
use crate::cli::wait::{Verdict, wait_for};
use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock;
use crate::model::names::{
    CLI_MANAGER, ORIGIN_ANNOTATION, RESTART_REQUESTED_ANNOTATION, WAKE_REQUESTED_ANNOTATION,
};

/// The field that start and stop write.
const FIELD: [&str; 2] = ["f:spec", "f:desiredState"];

/// Starts a workspace.
pub async fn start(arguments: RunStateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let target = Target::find(&arguments).await?;
    target.refuse_terminated("start")?;
    let stopped_by_timer = target.status().stopped_by_timer.is_some();
    let wish = target.set_desired_state(DesiredState::Running).await?;
    let woken = stopped_by_timer && wish == Wish::Unchanged;
    let asked = woken.then(request_value);
    if let Some(value) = &asked {
        target.annotate(WAKE_REQUESTED_ANNOTATION, value).await?;
    }
    screen.print(&match (woken, wish) {
        (true, _) => format!("{}: asked to wake up\n", target.shown()),
        (false, Wish::Written) => format!("{}: asked to run\n", target.shown()),
        (false, Wish::Unchanged) => format!("{}: is wanted Running already\n", target.shown()),
    })?;
    target
        .wait(&arguments, screen, |workspace| {
            let status = workspace.status.clone().unwrap_or_default();
            let handled = asked.is_none() || status.last_handled_wake_at == asked;
            handled && runs(workspace)
        })
        .await
}

/// Stops a workspace.
pub async fn stop(arguments: RunStateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let target = Target::find(&arguments).await?;
    target.refuse_terminated("stop")?;
    let wish = target.set_desired_state(DesiredState::Stopped).await?;
    screen.print(&match wish {
        Wish::Written => format!("{}: asked to stop\n", target.shown()),
        Wish::Unchanged => format!("{}: is wanted Stopped already\n", target.shown()),
    })?;
    target
        .wait(&arguments, screen, |workspace| {
            state(workspace) == Some(ActualState::Stopped)
        })
        .await
}

/// Restarts a workspace.
pub async fn restart(arguments: RunStateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let target = Target::find(&arguments).await?;
    target.refuse_terminated("restart")?;
    if target.workspace.spec.desired_state == Some(DesiredState::Stopped) {
        return Err(
            CliError::no(format!("{} is wanted Stopped", target.shown()))
                .next(format!("start it: workstead start {}", target.name())),
        );
    }
    let value = request_value();
    target
        .annotate(RESTART_REQUESTED_ANNOTATION, &value)
        .await?;
    screen.print(&format!("{}: asked to restart\n", target.shown()))?;
    target
        .wait(&arguments, screen, |workspace| {
            let status = workspace.status.clone().unwrap_or_default();
            status.last_handled_restart_at.as_ref() == Some(&value) && runs(workspace)
        })
        .await
}

/// A value that no earlier request had.
pub fn request_value() -> String {
    SystemClock.now().to_string()
}

fn state(workspace: &Workspace) -> Option<ActualState> {
    workspace
        .status
        .as_ref()
        .and_then(|status| status.actual_state)
}

fn runs(workspace: &Workspace) -> bool {
    let conditions = workspace
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    state(workspace) == Some(ActualState::Running)
        && show::is_true(conditions.unwrap_or_default(), "Ready")
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// It was written.
    Written,
    /// It stood there already.
    Unchanged,
}

/// The workspace that was named, as it was found.
struct Target {
    api: Api<Workspace>,
    workspace: Workspace,
}

impl Target {
    async fn find(arguments: &RunStateArgs) -> Result<Self, CliError> {
        let connection = connect(&arguments.cluster).await?;
        let api: Api<Workspace> = Api::namespaced(connection.client, &connection.namespace);
        let what = format!("read Workspace {}/{}", connection.namespace, arguments.name);
        let workspace = call(&what, api.get(&arguments.name)).await?;
        Ok(Self { api, workspace })
    }

    fn name(&self) -> String {
        self.workspace.name_any()
    }

    fn shown(&self) -> String {
        format!(
            "Workspace {}/{}",
            self.workspace.namespace().unwrap_or_default(),
            self.name()
        )
    }

    fn status(&self) -> crate::api::workspace::WorkspaceStatus {
        self.workspace.status.clone().unwrap_or_default()
    }

    /// Terminated is final.
    fn refuse_terminated(&self, verb: &str) -> Result<(), CliError> {
        let ended = matches!(
            state(&self.workspace),
            Some(ActualState::Terminated | ActualState::Terminating)
        );
        if !ended && self.workspace.spec.desired_state != Some(DesiredState::Terminated) {
            return Ok(());
        }
        Err(CliError::no(format!("{} is terminated, which is final: can't {verb} it", self.shown()))
            .next("delete it and create it again; a retained home volume is adopted by the same name and owner"))
    }

    /// Writes the wish by server-side apply that is never forced, unless somebody else decides.
    ///
    /// The body is always this one field, so an apply never takes back what another command set.
    async fn set_desired_state(&self, wanted: DesiredState) -> Result<Wish, CliError> {
        if self.workspace.spec.desired_state == Some(wanted) {
            return Ok(Wish::Unchanged);
        }
        if let Some(manager) = self.other_manager_of(&FIELD) {
            return Err(self.decided_elsewhere(wanted, &manager));
        }
        let body = json!({
            "apiVersion": API_VERSION,
            "kind": "Workspace",
            "metadata": {"name": self.name(), "namespace": self.workspace.namespace()},
            "spec": {"desiredState": wanted},
        });
        let parameters = PatchParams::apply(CLI_MANAGER);
        let written = self
            .api
            .patch(&self.name(), &parameters, &Patch::Apply(&body))
            .await;
        match written {
            // Between our look and our write somebody else took the field.
            Err(kube::Error::Api(status)) if status.is_conflict() => Err(self
                .decided_elsewhere(wanted, "somebody else")
                .seen(&status.message)),
            written => call(&format!("write to {}", self.shown()), async { written })
                .await
                .map(|_| Wish::Written),
        }
    }

    fn decided_elsewhere(&self, wanted: DesiredState, manager: &str) -> CliError {
        let error = CliError::no(format!(
            "{}: spec.desiredState is decided elsewhere, so it was left alone",
            self.shown()
        ));
        match self.origin() {
            Some(origin) => error
                .seen(format!("{} in {} sets it ({manager})", origin.file, origin.repository))
                .next(format!(
                    "set desiredState: {wanted:?} in {} and push, or take the line out there: then start and stop decide",
                    origin.file
                )),
            None => error.seen(format!("{manager} set it")).next(format!(
                "set desiredState: {wanted:?} where the object is applied from, or take the line out there: then start and stop decide"
            )),
        }
    }

    /// Where the object came from: the controller's annotation, or what status says.
    fn origin(&self) -> Option<crate::api::workspace::Origin> {
        let annotated = self.workspace.annotations().get(ORIGIN_ANNOTATION);
        annotated
            .and_then(|text| serde_json::from_str(text).ok())
            .or_else(|| self.status().origin)
    }

    /// The manager, other than the command line, that set a field; None where nobody did.
    fn other_manager_of(&self, path: &[&str]) -> Option<String> {
        let entries = self
            .workspace
            .metadata
            .managed_fields
            .as_deref()
            .unwrap_or_default();
        entries
            .iter()
            .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
            .filter(|entry| {
                let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
                fields.is_some_and(|fields| {
                    path.iter()
                        .try_fold(fields, |inner, key| inner.get(key))
                        .is_some()
                })
            })
            .map(|entry| entry.manager.clone().unwrap_or_default())
            .find(|manager| manager != CLI_MANAGER)
    }

    /// Sets an annotation that asks for something. A file that sets it decides: whoever applies the file would put the old
    /// value back, which asks a second time.
    async fn annotate(&self, key: &str, value: &str) -> Result<(), CliError> {
        let field = format!("f:{key}");
        let entries = self
            .workspace
            .metadata
            .managed_fields
            .as_deref()
            .unwrap_or_default();
        let applied_by = entries
            .iter()
            .filter(|entry| entry.operation.as_deref() == Some("Apply"));
        let owner = applied_by
            .filter(|entry| entry.manager.as_deref() != Some(CLI_MANAGER))
            .find(|entry| {
                let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
                fields.is_some_and(|fields| {
                    fields
                        .pointer("/f:metadata/f:annotations")
                        .and_then(|all| all.get(&field))
                        .is_some()
                })
            });
        if let Some(entry) = owner {
            let manager = entry.manager.as_deref().unwrap_or("somebody");
            let file = self
                .origin()
                .map_or("the file".to_owned(), |origin| origin.file);
            return Err(CliError::no(format!(
                "{}: annotation {key} is set by a file",
                self.shown()
            ))
            .seen(format!("{manager} applies it"))
            .next(format!(
                "write a new value in {file}, or take the annotation out there"
            )));
        }
        annotate(&self.api, &self.name(), key, value).await
    }

    /// Waits, if that was asked for, until the workspace is as wanted.
    async fn wait(
        &self,
        arguments: &RunStateArgs,
        screen: &mut Screen,
        reached: impl Fn(&Workspace) -> bool,
    ) -> Result<ExitCode, CliError> {
        if !arguments.wait.wait {
            return Ok(ExitCode::SUCCESS);
        }
        let judge = |workspace: &Workspace| judge(workspace, &reached);
        let name = self.name();
        let api = self.api.clone();
        wait_for(api, &name, arguments.wait.timeout, screen, judge)
            .await
            .map_err(|error| match error.next_step {
                Some(_) => error,
                None => error.next(format!("ask why: workstead why {name}")),
            })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn judge(workspace: &Workspace, reached: &impl Fn(&Workspace) -> bool) -> Verdict<()> {
    let status = workspace.status.clone().unwrap_or_default();
    let seen = status.observed_generation == workspace.metadata.generation;
    if seen && reached(workspace) {
        return Verdict::Done(());
    }
    let (word, _) = show::state(workspace);
    match status.failure {
        Some(failure) if seen && show::is_true(&status.conditions, "Stalled") => {
            Verdict::Failed(failed(workspace, &failure))
        }
        Some(failure) => Verdict::Waiting(format!("{word}: {}", failure.message)),
        None => Verdict::Waiting(word),
    }
}

fn failed(workspace: &Workspace, failure: &Failure) -> CliError {
    CliError::no(format!(
        "{} failed: {:?}, {}",
        workspace.name_any(),
        failure.cause,
        failure.message
    ))
    .seen(&failure.evidence)
    .next(&failure.next_step)
}
