//! One pass over one GitSync.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use super::context::{Asked, Context, Memory};
use super::dereference::DereferenceError;
use super::finalize::{self, FinalizeError, Stage};
use super::outcome::{Counts, Deleting, Ending, Failed, History, Outcome};
use super::pass::CarryOutError;
use super::report::{self, ReportError};
use super::work::{Ended, Work};
use crate::api::GitSync;
use crate::controllers::apply::is_namespace_ending;
use crate::controllers::cache::Key;
use crate::controllers::passes::{PassError, Retry, chain};
use crate::model::names::{FLUX_RECONCILE_REQUESTED_ANNOTATION, RECONCILE_REQUESTED_ANNOTATION};
use crate::model::sync::{Code, SourceError};

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
    /// The process is to end, so the pass was broken off.
    #[error("the pass was broken off: this process is to end")]
    Stopping,
}

impl SyncError {
    fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Finalize(FinalizeError::Write(source)) => Some(source),
            Self::Finalize(FinalizeError::Inventory(error))
            | Self::CarryOut(CarryOutError::Inventory(error)) => error.client_error(),
            Self::Finalize(FinalizeError::Live(error))
            | Self::CarryOut(CarryOutError::Live(error)) => Some(error.client_error()),
            Self::Finalize(FinalizeError::Prune(error))
            | Self::CarryOut(CarryOutError::Prune(error)) => Some(error.client_error()),
            Self::CarryOut(CarryOutError::Keeper(error)) => Some(&error.source),
            Self::CarryOut(CarryOutError::Apply(error)) => error.client_error(),
            Self::Dereference(error)
            | Self::Finalize(FinalizeError::Namespace(error))
            | Self::CarryOut(CarryOutError::Namespace(error)) => error.client_error(),
            Self::Report(ReportError::Write(source)) => Some(source),
            Self::Stopping => None,
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
        if matches!(self, Self::Stopping) {
            return "stopping";
        }
        self.client_error()
            .map_or("foreign", crate::controllers::apply::client_category)
    }

    fn retry(&self) -> Retry {
        match self.client_error() {
            Some(kube::Error::Api(status)) if status.is_conflict() => Retry::AtOnce,
            Some(error) if is_namespace_ending(error) => Retry::Never,
            None if matches!(self, Self::Stopping) => Retry::AtOnce,
            _ => Retry::BackOff,
        }
    }
}

/// One pass:
/// 1. end it and say what that waits for, or keep its finalizer as it should be,
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
            tokio::select! {
                () = context.watched.until_ready() => {}
                // With an API server that does not answer the first lists may never come.
                () = context.stop.cancelled() => return Err(SyncError::Stopping),
            }
            let gitsync = context
                .gitsyncs
                .get(&key)
                .unwrap_or_else(|| gitsync.clone());
            let mut memory = context.recall(&key, &gitsync.uid().unwrap_or_default());
            // Boxed: a pass is large, and kube moves it about.
            let result = Box::pin(one_pass(&context, &gitsync, &mut memory)).await;
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
    match finalize::stage(gitsync) {
        Stage::Alive => {}
        _ if memory.let_go => return Ok(Action::await_change()),
        Stage::Gone => return Ok(Action::await_change()),
        Stage::Add => return keep_finalizer(context, gitsync, true).await,
        Stage::Remove => return keep_finalizer(context, gitsync, false).await,
        Stage::DeleteObjects => return end(context, gitsync, memory).await,
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
            if is_no_news(context, gitsync, memory, &error) {
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

/// One lost call is made good at once, and so are a few conflicts: nobody need hear of them.
fn is_no_news(context: &Context, gitsync: &GitSync, memory: &Memory, error: &SyncError) -> bool {
    let hurries = || error.retry() == Retry::AtOnce && context.passes.may_hurry(&Key::of(gitsync));
    memory.cut_off < 2 || matches!(error, SyncError::Stopping) || hurries()
}

/// Step 1, while it lives, and when nothing is left of it.
async fn keep_finalizer(
    context: &Context,
    gitsync: &GitSync,
    wanted: bool,
) -> Result<Action, SyncError> {
    let client = &context.shared.client;
    match finalize::set_finalizer(client, gitsync, wanted).await? {
        // The pass goes on with the object that has it: its event is not waited for.
        Some(written) if written.metadata.deletion_timestamp.is_none() => {
            context.gitsyncs.wrote(written);
            Ok(Action::requeue(Duration::ZERO))
        }
        _ => Ok(Action::await_change()),
    }
}

/// Step 1 of one that was deleted, and its objects with it. What is in the way is told as in any other pass.
async fn end(
    context: &Context,
    gitsync: &GitSync,
    memory: &mut Memory,
) -> Result<Action, SyncError> {
    let client = &context.shared.client;
    let (left, failure) = match finalize::delete_objects(client, &context.watched, gitsync).await {
        Ok(done) if done.is_done() => {
            for refusal in &done.left {
                let note = format!("what was applied there stays: {refusal}");
                let events = &context.shared.events;
                events
                    .publish(gitsync, EventType::Warning, "LeftBehind", refusal, &note)
                    .await;
            }
            let action = keep_finalizer(context, gitsync, false).await?;
            memory.let_go = true;
            return Ok(action);
        }
        Ok(left) => (left, None),
        Err(error) => {
            let error = SyncError::from(error);
            memory.cut_off = memory.cut_off.saturating_add(1);
            if is_no_news(context, gitsync, memory, &error) {
                return Err(error);
            }
            let left = Deleting {
                errors: vec![error.report()],
                ..Deleting::default()
            };
            (left, Some(error))
        }
    };
    let wait = if left.errors.is_empty() {
        GOING_LOOK
    } else {
        let backoff = context.shared.config.backoff;
        memory.retries = memory.retries.saturating_add(1);
        backoff.delay(memory.retries, rand::random())
    };
    let outcome = Outcome {
        generation: gitsync.metadata.generation.unwrap_or_default(),
        handled_request: None,
        webhook_path: gitsync.status.as_ref().and_then(|s| s.webhook_path.clone()),
        result: Ending::Deleting(left),
    };
    let reported = report::report(context, gitsync, &outcome).await;
    if let Some(error) = failure {
        return Err(error);
    }
    reported?;
    memory.cut_off = 0;
    Ok(Action::requeue(wait))
}

fn asked(gitsync: &GitSync) -> Asked {
    let annotation = |key: &str| gitsync.annotations().get(key).cloned();
    Asked {
        ours: annotation(RECONCILE_REQUESTED_ANNOTATION),
        flux: annotation(FLUX_RECONCILE_REQUESTED_ANNOTATION),
    }
}
