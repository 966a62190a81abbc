//! One pass over one GitSync.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::context::{Asked, Context, Memory, Tree};
use super::dereference::{self, Access, DereferenceError, Times};
use super::finalize::{self, FinalizeError, Stage};
use super::outcome::{Applied, Counts, Ending, Failed, History, Outcome};
use super::pass::{self, CarryOutError, Done};
use super::report::{self, ReportError};
use super::source;
use crate::api::GitSync;
use crate::controllers::cache::Key;
use crate::controllers::passes::{PassError, Retry, chain};
use crate::model::names::{
    APPROVE_PRUNE_ANNOTATION, FLUX_RECONCILE_REQUESTED_ANNOTATION, RECONCILE_REQUESTED_ANNOTATION,
};
use crate::model::sync::{Code, SourceError};

/// A corrected Secret is seen within this, however long the wait for the next try is.
const SECRET_LOOK: Duration = Duration::from_secs(60);
/// Objects that wait for somebody's finalizer.
const GOING_LOOK: Duration = Duration::from_secs(5);

/// Why a pass has to be taken up again soon. Everything else is told in the status.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The finalizer, or the end of the GitSync.
    #[error(transparent)]
    Finalize(#[from] FinalizeError),
    /// Something that the spec refers to could not be read.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// The tree could not be carried out to its end.
    #[error(transparent)]
    CarryOut(#[from] CarryOutError),
    /// The status could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl SyncError {
    fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Finalize(FinalizeError::Write(source)) => Some(source),
            Self::Finalize(FinalizeError::Inventory(error))
            | Self::CarryOut(CarryOutError::Inventory(error)) => error.client_error(),
            Self::Finalize(FinalizeError::Live(error))
            | Self::CarryOut(CarryOutError::Live(error)) => Some(error.client_error()),
            Self::Finalize(FinalizeError::Prune(_, error))
            | Self::CarryOut(CarryOutError::Prune(error)) => Some(error.client_error()),
            Self::CarryOut(CarryOutError::Apply(error)) => error.client_error(),
            Self::Dereference(error) => error.client_error(),
            Self::Report(ReportError::Write(source)) => Some(source),
        }
    }

    /// As it is reported, when it can be.
    fn report(&self) -> SourceError {
        let code = match self.client_error() {
            Some(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                Code::ApplyForbidden
            }
            Some(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                Code::ApplyRejected
            }
            Some(_) => Code::ApiUnavailable,
            None => Code::ApplyRejected,
        };
        SourceError::new(code, chain(self))
    }
}

impl PassError for SyncError {
    fn category(&self) -> &'static str {
        self.client_error()
            .map_or("foreign", crate::controllers::apply::client_category)
    }

    fn retry(&self) -> Retry {
        match self.client_error() {
            Some(kube::Error::Api(status)) if status.is_conflict() => Retry::AtOnce,
            _ => Retry::BackOff,
        }
    }
}

/// One pass:
/// 1. end it, or keep its finalizer as it should be,
/// 2. dereference: times, webhook, Secret,
/// 3. fetch, when it is time or somebody asked; else the tree that was read last holds,
/// 4. admit: namespaces that don't accept it,
/// 5. carry the tree out: plan, guard, widen the inventory, apply, prune, narrow the inventory,
/// 6. report, and say when to look again.
///
/// # Errors
/// When the API server does not answer, or somebody was faster.
pub async fn reconcile(gitsync: Arc<GitSync>, context: Arc<Context>) -> Result<Action, SyncError> {
    let key = Key::of(&*gitsync);
    context
        .passes
        .count(&key, async {
            context.gitsyncs.wait_until_ready().await;
            context.watched.until_ready().await;
            let gitsync = context
                .gitsyncs
                .get(&key)
                .unwrap_or_else(|| gitsync.clone());
            let mut memory = context.recall(&key, &gitsync.uid().unwrap_or_default());
            let result = one_pass(&context, &gitsync, &mut memory).await;
            context.remember(key.clone(), memory);
            result
        })
        .await
}

/// What to do after a pass that failed.
pub fn error_policy(gitsync: Arc<GitSync>, error: &SyncError, context: Arc<Context>) -> Action {
    context.passes.failed(&Key::of(&*gitsync), error)
}

async fn one_pass(
    context: &Context,
    gitsync: &GitSync,
    memory: &mut Memory,
) -> Result<Action, SyncError> {
    if let Some(action) = keep_finalizer(context, gitsync).await? {
        return Ok(action);
    }
    let asked = asked(gitsync);
    let echoed = gitsync
        .status
        .as_ref()
        .and_then(|status| status.last_handled_reconcile_at.as_deref());
    let request = asked.next(memory.requests.as_ref(), echoed);
    let mut work = Work {
        context,
        gitsync,
        memory,
        asked: request.is_some(),
        now: context.shared.clock.now(),
    };
    let ended = work.run().await;
    let mut outcome = Outcome {
        generation: gitsync.metadata.generation.unwrap_or_default(),
        handled_request: None,
        webhook_path: None,
        result: Ending::Suspended,
    };
    let (wait, failure) = match ended {
        Ok(Ended {
            webhook_path,
            ending,
            wait,
        }) => {
            outcome.webhook_path = webhook_path;
            outcome.result = ending;
            memory.cut_off = 0;
            outcome.handled_request = request.as_ref().map(|(echo, _)| echo.clone());
            (wait, None)
        }
        Err(error) => {
            // The request is not carried out: it is taken up again with the pass, from a tree that is fetched again.
            memory.next_fetch = None;
            memory.cut_off = memory.cut_off.saturating_add(1);
            // One lost call is made good at once; it is no news.
            if memory.cut_off < 2 || error.retry() == Retry::AtOnce {
                return Err(error);
            }
            outcome.webhook_path = gitsync.status.as_ref().and_then(|s| s.webhook_path.clone());
            outcome.result = Ending::Failed(Failed {
                error: error.report(),
                attempted: None,
                others: Vec::new(),
                history: History::Same,
            });
            (None, Some(error))
        }
    };
    let reported = report::report(context, gitsync, &outcome).await;
    if let Some(error) = failure {
        // The cause is worth more than what came of telling it.
        return Err(error);
    }
    if reported.is_err() {
        // What is only known from this fetch has to be told by the next one.
        memory.next_fetch = None;
    }
    reported?;
    memory.counts = Counts::default();
    memory.requests = Some(request.map_or_else(|| asked.clone(), |(_, after)| after));
    let more = asked.next(memory.requests.as_ref(), None).is_some();
    Ok(match wait {
        _ if more => Action::requeue(Duration::ZERO),
        Some(wait) => Action::requeue(wait),
        None => Action::await_change(),
    })
}

/// Step 1. `Some` when the pass ends here.
async fn keep_finalizer(
    context: &Context,
    gitsync: &GitSync,
) -> Result<Option<Action>, FinalizeError> {
    let client = &context.shared.client;
    let wanted = match finalize::stage(gitsync) {
        Stage::Alive => return Ok(None),
        Stage::Gone => return Ok(Some(Action::await_change())),
        Stage::Add => true,
        Stage::Remove => false,
        Stage::DeleteObjects => {
            let going = finalize::delete_objects(client, &context.watched, gitsync).await?;
            if going > 0 {
                return Ok(Some(Action::requeue(GOING_LOOK)));
            }
            false
        }
    };
    match finalize::set_finalizer(client, gitsync, wanted).await? {
        // The pass goes on with the object that has it: its event is not waited for.
        Some(written) if written.metadata.deletion_timestamp.is_none() => {
            context.gitsyncs.wrote(written);
            Ok(Some(Action::requeue(Duration::ZERO)))
        }
        _ => Ok(Some(Action::await_change())),
    }
}

fn asked(gitsync: &GitSync) -> Asked {
    let annotation = |key: &str| gitsync.annotations().get(key).cloned();
    Asked {
        ours: annotation(RECONCILE_REQUESTED_ANNOTATION),
        flux: annotation(FLUX_RECONCILE_REQUESTED_ANNOTATION),
    }
}

/// What a pass came to, and when to look again without being told.
struct Ended {
    webhook_path: Option<String>,
    ending: Ending,
    wait: Option<Duration>,
}

struct Work<'a> {
    context: &'a Context,
    gitsync: &'a GitSync,
    memory: &'a mut Memory,
    asked: bool,
    now: Timestamp,
}

impl Work<'_> {
    /// Steps 2 to 5.
    async fn run(&mut self) -> Result<Ended, SyncError> {
        if self.gitsync.spec.suspend {
            return Ok(Ended {
                webhook_path: self
                    .gitsync
                    .status
                    .as_ref()
                    .and_then(|s| s.webhook_path.clone()),
                ending: Ending::Suspended,
                wait: None,
            });
        }
        let times = match dereference::times(self.gitsync) {
            Ok(times) => times,
            Err(error) => return Ok(failed(error.report(), None)),
        };
        let client = &self.context.shared.client;
        let (webhook_path, hook_error) = match dereference::webhook_path(client, self.gitsync).await
        {
            Ok(path) => (path, None),
            Err(error) if error.client_error().is_some() => return Err(error.into()),
            Err(error) => (None, Some(error.report())),
        };
        let mut ended = self.sync(times).await?;
        ended.webhook_path = webhook_path;
        if let Some(error) = hook_error {
            add_error(&mut ended, error);
        }
        Ok(ended)
    }

    async fn sync(&mut self, times: Times) -> Result<Ended, SyncError> {
        let due = self.is_due();
        let (fresh, history) = if due || self.memory.fetch_error.is_some() {
            // While a fetch fails the Secret is read at each look, so that a corrected one is seen.
            let access = dereference::access(&self.context.shared.client, self.gitsync).await;
            match access {
                Err(error) if error.client_error().is_some() => return Err(error.into()),
                Ok(access) if !due && access.version == self.memory.secret_version => {
                    (false, History::Same)
                }
                Err(_) if !due => (false, History::Same),
                access => self.fetch(times, access).await?,
            }
        } else {
            (false, History::Same)
        };
        let generation = self.gitsync.metadata.generation.unwrap_or_default();
        let Some(tree) = self.known(generation).cloned() else {
            let error =
                self.memory.fetch_error.clone().unwrap_or_else(|| {
                    SourceError::new(Code::FetchFailed, "nothing was fetched yet")
                });
            return Ok(failed(error, Some(self.next_look(times))));
        };
        if tree.admitted.path_missing {
            return Ok(self.path_missing(&tree, history, times));
        }
        let done = pass::carry_out(self.context, self.gitsync, self.memory, &tree, fresh).await?;
        Ok(self.applied(&tree, history, done, times))
    }

    /// Whether to ask the remote: because somebody asked, something changed, or it is time.
    fn is_due(&mut self) -> bool {
        let key = Key::of(self.gitsync);
        let hooked = self.context.requests.take_fetch(&key);
        let generation = self.gitsync.metadata.generation.unwrap_or_default();
        let changed = self
            .memory
            .tree
            .as_ref()
            .is_none_or(|tree| tree.generation != generation);
        let approval = self
            .gitsync
            .annotations()
            .get(APPROVE_PRUNE_ANNOTATION)
            .cloned();
        let approved = approval.is_some() && approval != self.memory.approval;
        let time = self.memory.next_fetch.is_none_or(|next| self.now >= next);
        // A spec that can't be fetched is not tried faster for never having been.
        let untried = self.memory.attempted_generation != Some(generation);
        hooked || self.asked || approved || time || (changed && untried)
    }

    /// Step 3 and 4. A failure is remembered and told; it is no reason to stop repairing drift.
    async fn fetch(
        &mut self,
        times: Times,
        access: Result<Access, DereferenceError>,
    ) -> Result<(bool, History), SyncError> {
        let generation = self.gitsync.metadata.generation.unwrap_or_default();
        self.memory.attempted_generation = Some(generation);
        let fetched = match access {
            Ok(access) => {
                self.memory.secret_version.clone_from(&access.version);
                let failed_before = self.memory.failures > 0;
                source::fetch(
                    self.context,
                    self.gitsync,
                    access,
                    times.timeout,
                    self.known(generation),
                    failed_before,
                )
                .await
            }
            Err(error) => {
                self.memory.secret_version = None;
                Err(error.report())
            }
        };
        match fetched {
            Ok(fetched) => {
                let client = &self.context.shared.client;
                let admitted = dereference::admit(client, self.gitsync, &fetched.snapshot).await?;
                self.memory.tree = Some(Tree {
                    generation,
                    read: fetched.snapshot,
                    readings: fetched.readings,
                    admitted,
                });
                self.memory.fetch_error = None;
                self.memory.failures = 0;
                self.memory.approval = self
                    .gitsync
                    .annotations()
                    .get(APPROVE_PRUNE_ANNOTATION)
                    .cloned();
                self.memory.next_fetch = self.after(jittered(times.interval));
                Ok((true, fetched.history))
            }
            Err(error) => {
                tracing::warn!(gitsync = %Key::of(self.gitsync), %error, "a fetch failed");
                let settings = crate::controllers::backoff::BackoffSettings {
                    first: self.context.shared.config.backoff.first,
                    most: times.retry_interval,
                };
                let wait = settings.delay(self.memory.failures, rand::random());
                self.memory.failures = self.memory.failures.saturating_add(1);
                self.memory.fetch_error = Some(error);
                self.memory.next_fetch = self.after(wait);
                Ok((false, History::Same))
            }
        }
    }

    /// The tree that was read last, if it was under this very spec.
    fn known(&self, generation: i64) -> Option<&Tree> {
        self.memory
            .tree
            .as_ref()
            .filter(|tree| tree.generation == generation)
    }

    fn after(&self, wait: Duration) -> Option<Timestamp> {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_secs(300));
        self.now.checked_add(wait).ok()
    }

    /// Until the next fetch; with a Secret that may be at fault, at most until the next look at it.
    fn next_look(&self, times: Times) -> Duration {
        let until = self.memory.next_fetch.map_or(times.interval, |next| {
            Duration::try_from(next.duration_since(self.context.shared.clock.now()))
                .unwrap_or_default()
        });
        let soonest = Duration::from_millis(1);
        if self.memory.fetch_error.is_some() && self.gitsync.spec.secret_ref.is_some() {
            until.min(SECRET_LOOK).max(soonest)
        } else {
            until.max(soonest)
        }
    }

    fn path_missing(&self, tree: &Tree, history: History, times: Times) -> Ended {
        let path = self.gitsync.spec.path.as_deref().unwrap_or_default();
        let error = SourceError::new(
            Code::PathNotFound,
            format!(
                "spec.path '{path}' is not in {}: nothing was applied or deleted; correct the path, or bring the folder back",
                tree.admitted.revision
            ),
        );
        Ended {
            webhook_path: None,
            ending: Ending::Failed(Failed {
                error,
                attempted: Some(tree.admitted.revision.clone()),
                others: tree.admitted.errors.clone(),
                history,
            }),
            wait: Some(self.next_look(times)),
        }
    }

    fn applied(&mut self, tree: &Tree, history: History, done: Done, times: Times) -> Ended {
        let retries = done.errors.iter().any(|error| {
            matches!(
                error.code.retry(),
                crate::model::sync::Retry::BackOff | crate::model::sync::Retry::NextPass
            )
        });
        let mut wait = self.next_look(times);
        if retries || done.prune_again {
            let again = self
                .context
                .shared
                .config
                .backoff
                .delay(self.memory.retries, rand::random());
            self.memory.retries = self.memory.retries.saturating_add(1);
            wait = wait.min(again);
            if done.prune_again && self.memory.fetch_error.is_none() {
                self.memory.next_fetch = self.after(again);
            }
        } else {
            self.memory.retries = 0;
        }
        Ended {
            webhook_path: None,
            ending: Ending::Applied(Applied {
                revision: tree.admitted.revision.clone(),
                at: self.now,
                fetch_error: self.memory.fetch_error.clone(),
                errors: done.errors,
                counts: self.memory.counts,
                objects: done.objects,
                blocked: done.blocked,
                history,
                fights: done.fights,
            }),
            wait: Some(wait),
        }
    }
}

fn failed(error: SourceError, wait: Option<Duration>) -> Ended {
    Ended {
        webhook_path: None,
        ending: Ending::Failed(Failed {
            error,
            attempted: None,
            others: Vec::new(),
            history: History::Same,
        }),
        wait,
    }
}

/// An error that hinders no apply.
fn add_error(ended: &mut Ended, error: SourceError) {
    ended.wait = Some(ended.wait.map_or(SECRET_LOOK, |wait| wait.min(SECRET_LOOK)));
    match &mut ended.ending {
        Ending::Applied(applied) => {
            applied.errors.push(error);
            SourceError::sort(&mut applied.errors);
        }
        Ending::Failed(failed) => failed.others.push(error),
        Ending::Suspended => {}
    }
}

/// Between 90 % and 110 %: those that were made together do not fetch together for ever.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * rand::random::<f64>())
}
