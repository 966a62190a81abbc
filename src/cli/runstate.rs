//! `workstead start`, `stop` and `restart`: the person's wish, never against a file's.

use std::process::ExitCode;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use crate::api::API_VERSION;
use crate::api::workspace::{ActualState, DesiredState, Failure, Workspace, WorkspaceStatus};
use crate::cli::args::{ClusterArgs, RunStateArgs, WaitArgs};
use crate::cli::call::{annotate_all, call};
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::managed;
use crate::cli::output::{DataFormat, Screen};
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
    let target = Target::find(&arguments.cluster, &arguments.name).await?;
    target.refuse_terminated("start")?;
    let stopped_by_timer = target.status().stopped_by_timer.is_some();
    let wish = target.set_desired_state(DesiredState::Running).await?;
    let woken = stopped_by_timer && wish == Wish::Unchanged;
    let asked = woken.then(request_value);
    if let Some(value) = &asked {
        target.annotate(WAKE_REQUESTED_ANNOTATION, value).await?;
    }
    let said = match (woken, wish) {
        (true, _) => Said::new("wake", "asked to wake up"),
        (false, Wish::Written) => Said::new("start", "asked to run"),
        (false, Wish::Unchanged) => Said::nothing("is wanted Running already"),
    };
    target
        .answer(&arguments.into(), screen, said, |workspace| {
            let status = workspace.status.clone().unwrap_or_default();
            let handled = asked.is_none() || status.last_handled_wake_at == asked;
            Progress::of(handled, runs(workspace))
        })
        .await
}

/// Stops a workspace.
pub async fn stop(arguments: RunStateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let target = Target::find(&arguments.cluster, &arguments.name).await?;
    target.refuse_terminated("stop")?;
    let wish = target.set_desired_state(DesiredState::Stopped).await?;
    let said = match wish {
        Wish::Written => Said::new("stop", "asked to stop"),
        Wish::Unchanged => Said::nothing("is wanted Stopped already"),
    };
    target
        .answer(&arguments.into(), screen, said, |workspace| {
            Progress::of(true, state(workspace) == Some(ActualState::Stopped))
        })
        .await
}

/// Restarts a workspace.
pub async fn restart(arguments: RunStateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let target = Target::find(&arguments.cluster, &arguments.name).await?;
    target.refuse_terminated("restart")?;
    target.refuse_stopped()?;
    let value = request_value();
    target
        .annotate(RESTART_REQUESTED_ANNOTATION, &value)
        .await?;
    let said = Said::new("restart", "asked to restart");
    target
        .answer(&arguments.into(), screen, said, |workspace| {
            let status = workspace.status.clone().unwrap_or_default();
            let handled = status.last_handled_restart_at.as_ref() == Some(&value);
            Progress::of(handled, runs(workspace))
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

/// Whether it runs and is ready.
pub fn runs(workspace: &Workspace) -> bool {
    let conditions = workspace
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    state(workspace) == Some(ActualState::Running)
        && show::is_true(conditions.unwrap_or_default(), "Ready")
}

/// How far it is with what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The status still speaks of the time before: a failure in it is an old one.
    Unheard,
    /// It is being done.
    UnderWay,
    /// It is as wanted.
    Reached,
}

impl Progress {
    /// By whether the request was heard, and whether it is as wanted.
    pub const fn of(heard: bool, reached: bool) -> Self {
        match (heard, reached) {
            (false, _) => Self::Unheard,
            (true, false) => Self::UnderWay,
            (true, true) => Self::Reached,
        }
    }
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// It was written.
    Written,
    /// It stood there already.
    Unchanged,
}

/// What was asked for: for programs, and in words.
pub struct Said {
    asked: Option<&'static str>,
    words: &'static str,
}

impl Said {
    /// Something was asked for.
    pub const fn new(asked: &'static str, words: &'static str) -> Self {
        Self {
            asked: Some(asked),
            words,
        }
    }

    /// It is as wanted already, so nothing was asked for.
    const fn nothing(words: &'static str) -> Self {
        Self { asked: None, words }
    }
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    namespace: String,
    name: String,
    /// What was asked for; null where it was wanted already.
    asked: Option<&'a str>,
    state: Option<ActualState>,
    /// The status at the end of the wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<WorkspaceStatus>,
}

/// How to answer.
pub struct Answering {
    /// Whether to wait.
    pub wait: WaitArgs,
    /// How to write it.
    pub output: Option<DataFormat>,
}

impl From<RunStateArgs> for Answering {
    fn from(arguments: RunStateArgs) -> Self {
        Self {
            wait: arguments.wait,
            output: arguments.output,
        }
    }
}

/// The workspace that was named, as it was found.
pub struct Target {
    api: Api<Workspace>,
    cluster: ClusterArgs,
    /// As it was then.
    pub workspace: Workspace,
}

impl Target {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not there, or can't be read.
    pub async fn find(cluster: &ClusterArgs, name: &str) -> Result<Self, CliError> {
        let connection = connect(cluster).await?;
        let api: Api<Workspace> = Api::namespaced(connection.client, &connection.namespace);
        let what = format!("read Workspace {}/{name}", connection.namespace);
        let workspace = call(&what, api.get(name)).await?;
        let cluster = cluster.clone();
        Ok(Self {
            api,
            cluster,
            workspace,
        })
    }

    fn name(&self) -> String {
        self.workspace.name_any()
    }

    /// A command about it, to be typed next.
    pub fn again(&self, verb: &str) -> String {
        self.cluster.again(&format!("{verb} {}", self.name()))
    }

    /// As people name it.
    pub fn shown(&self) -> String {
        format!(
            "Workspace {}/{}",
            self.workspace.namespace().unwrap_or_default(),
            self.name()
        )
    }

    /// Its status; an empty one, if it has none yet.
    pub fn status(&self) -> WorkspaceStatus {
        self.workspace.status.clone().unwrap_or_default()
    }

    /// Terminated is final.
    ///
    /// # Errors
    /// When it is terminated.
    pub fn refuse_terminated(&self, verb: &str) -> Result<(), CliError> {
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

    /// What is wanted Stopped can't be restarted.
    ///
    /// # Errors
    /// When it is wanted Stopped.
    pub fn refuse_stopped(&self) -> Result<(), CliError> {
        if self.workspace.spec.desired_state != Some(DesiredState::Stopped) {
            return Ok(());
        }
        Err(CliError::no(format!("{} is wanted Stopped", self.shown()))
            .next(format!("start it: {}", self.again("start"))))
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

    fn managed_fields(&self) -> &[ManagedFieldsEntry] {
        let entries = &self.workspace.metadata.managed_fields;
        entries.as_deref().unwrap_or_default()
    }

    /// The manager, other than the command line, that set a field; None where nobody did.
    fn other_manager_of(&self, path: &[&str]) -> Option<String> {
        self.managed_fields()
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
        self.annotate_all(&[key], value).await
    }

    /// Sets several at once.
    ///
    /// # Errors
    /// When a file sets one of them, or the call fails.
    pub async fn annotate_all(&self, keys: &[&str], value: &str) -> Result<(), CliError> {
        let mut applied = keys.iter().filter_map(|key| {
            let manager = managed::applies(&self.workspace, key)?;
            Some((*key, manager))
        });
        if let Some((key, manager)) = applied.next() {
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
        annotate_all(&self.api, &self.name(), keys, value).await
    }

    /// Says what was asked for, and waits until the workspace is as wanted if that was asked for too.
    ///
    /// # Errors
    /// When it can't be told, or does not become so.
    pub async fn answer(
        &self,
        arguments: &Answering,
        screen: &mut Screen,
        said: Said,
        progress: impl Fn(&Workspace) -> Progress,
    ) -> Result<ExitCode, CliError> {
        let Some(format) = arguments.output else {
            screen.print(&format!("{}: {}\n", self.shown(), said.words))?;
            return self
                .wait(arguments, screen, progress)
                .await
                .map(|()| ExitCode::SUCCESS);
        };
        let waited = self.wait(arguments, screen, progress).await;
        // Programs want to see how it stands also where waiting was in vain.
        let now = call(
            &format!("read {}", self.shown()),
            self.api.get(&self.name()),
        )
        .await;
        let status = match now {
            Ok(workspace) => workspace.status.unwrap_or_default(),
            Err(error) => return Err(waited.err().unwrap_or(error)),
        };
        let answer = Answer {
            namespace: self.workspace.namespace().unwrap_or_default(),
            name: self.name(),
            asked: said.asked,
            state: status.actual_state,
            status: arguments.wait.wait.then_some(status),
        };
        screen.data(format, &answer)?;
        waited.map(|()| ExitCode::SUCCESS)
    }

    async fn wait(
        &self,
        arguments: &Answering,
        screen: &mut Screen,
        progress: impl Fn(&Workspace) -> Progress,
    ) -> Result<(), CliError> {
        if !arguments.wait.wait {
            return Ok(());
        }
        let judge = |workspace: &Workspace| judge(workspace, progress(workspace));
        let name = self.name();
        let api = self.api.clone();
        wait_for(api, &name, arguments.wait.timeout, screen, judge)
            .await
            .map_err(|error| match error.next_step {
                Some(_) => error,
                None => error.next(format!("ask why: {}", self.again("why"))),
            })
    }
}

fn judge(workspace: &Workspace, progress: Progress) -> Verdict<()> {
    let status = workspace.status.clone().unwrap_or_default();
    let seen = status.observed_generation == workspace.metadata.generation
        && progress != Progress::Unheard;
    if seen && progress == Progress::Reached {
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
