//! The WorkspaceVariables controller: opens sealed sets and says what came of it, without a value.
//!
//! Sets are opened off the pass, few at a time, so that a costly one delays nobody; each text once for a process.

mod held;
mod judge;
mod opener;
mod sets;
mod status;
mod uses;

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, controller, reflector, watcher};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::WorkspaceVariables;
use crate::api::variables::WorkspaceVariablesStatus;
use crate::controllers::Shared;
use crate::controllers::backoff::jittered;
use crate::controllers::cache::{Cache, Key, changes, counted};
use crate::controllers::guard::{self, Guarded, Sentinel};
use crate::controllers::identities::{self, Ring};
use crate::controllers::passes::{PassError, Passes, Retry};
use crate::model::names::VARIABLES_MANAGER;

use held::HeldBy;
use judge::{Outcome, judge};
pub use opener::Content;
pub use sets::{Known, Sets, Standing, Unopened, Usable};
pub use uses::Uses;

/// The kind, for logs, metrics and `/readyz`.
const KIND: &str = "WorkspaceVariables";
/// Passes at a time.
const CONCURRENCY: u16 = 8;

/// Why a pass over a set failed. That a set can't be used is no failure of a pass: its status says it.
#[derive(Debug, thiserror::Error)]
pub enum VariablesError {
    /// The status could not be written.
    #[error("failed to write the status of WorkspaceVariables {0}")]
    WriteStatus(Key, #[source] kube::Error),
    /// The task that opens sets is gone, which only the end of the process or a panic explains.
    #[error("failed to open WorkspaceVariables {0}: the task ended")]
    Open(Key, #[source] opener::Ended),
}

impl PassError for VariablesError {
    fn category(&self) -> &'static str {
        match self {
            Self::WriteStatus(_, source) => crate::controllers::apply::client_category(source),
            Self::Open(..) => "open",
        }
    }

    fn retry(&self) -> Retry {
        Retry::BackOff
    }
}

struct Context {
    shared: Arc<Shared>,
    sets: Arc<Cache<WorkspaceVariables>>,
    passes: Passes,
    known: Arc<Sets>,
    held_by: HeldBy,
}

/// Runs the controller while this process leads.
pub async fn run(shared: Arc<Shared>, known: Arc<Sets>, shutdown: CancellationToken) {
    let sets = Arc::new(Cache::new());
    let context = Arc::new(Context {
        sets: sets.clone(),
        passes: Passes::new(
            "workspacevariables",
            shared.metrics.clone(),
            shared.config.backoff,
        ),
        known: known.clone(),
        held_by: HeldBy::new(shared.metrics.clone()),
        shared: shared.clone(),
    });
    let (reader, writer) = reflector::store();
    let (sentinel, news) = Sentinel::new(KIND, shared.metrics.clone());
    let metrics = shared.metrics.clone();
    let api: Api<Guarded<WorkspaceVariables>> = shared.config.scope.api(&shared.client);
    let seen = context.clone();
    let own = watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(move |event| std::future::ready(counted(event, KIND, &metrics)))
        .filter_map(move |event| {
            let sifted = sentinel.sift(event, |key| sets.watched(key));
            std::future::ready(sifted)
        })
        .inspect(move |event| {
            seen.sets.take(event.clone());
            seen.known.take(event);
            seen.held_by.take(event);
        })
        .map(Ok)
        .reflect(writer)
        .applied_objects();
    let running = Controller::for_stream(own, reader.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(changes(known.ring.subscribe()))
        .reconcile_on(used(&known))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, error_policy, context.clone());
    tokio::join!(
        context.passes.drain(running, reader, &shutdown),
        guard::tell(news, &shared, &shutdown),
        identities::run(&shared, &known.ring, &shutdown),
    );
}

/// One pass over a set:
/// 1. take the newest version, and the identities,
/// 2. open it, off this pass, if this process has not yet,
/// 3. judge it where it is: binding, serial,
/// 4. make it known to the Workspaces,
/// 5. write what changed of the status, and tell of a refusal that is new.
async fn reconcile(
    set: Arc<WorkspaceVariables>,
    context: Arc<Context>,
) -> Result<Action, VariablesError> {
    let key = Key::of(&*set);
    context
        .passes
        .count(&key, async {
            let set = context.sets.get(&key).unwrap_or(set);
            let Some(outcome) = open(&set, &key, &context).await? else {
                // The first look at the identities starts all passes again.
                return Ok(Action::await_change());
            };
            context.known.judged(&set, outcome.standing(&set));
            let before = set.status.as_ref();
            let before = before.and_then(|status| status.used_by.as_ref());
            let used_by = context.known.uses.of(&key, before);
            let now = context.shared.clock.now();
            let status = status::of(&set, &outcome, used_by, now);
            if set.status.as_ref() != Some(&status) {
                write_status(&context, &key, &status).await?;
                tell(&context, &set, &outcome).await;
            }
            if context.sets.get(&key).is_some() {
                context.held_by.note(&key, status.opened_by.as_deref());
            }
            let every = context.shared.config.full_pass_every;
            Ok(Action::requeue(jittered(every, rand::random())))
        })
        .await
}

/// The sets that others use than before.
fn used(known: &Arc<Sets>) -> impl Stream<Item = ObjectRef<WorkspaceVariables>> + Send + 'static {
    let known = known.clone();
    changes(known.uses.bell()).flat_map(move |()| {
        let moved = known.uses.moved().into_iter();
        stream::iter(moved.map(|key| ObjectRef::new(&key.name).within(&key.namespace)))
    })
}

fn error_policy(
    set: Arc<WorkspaceVariables>,
    error: &VariablesError,
    context: Arc<Context>,
) -> Action {
    context.passes.failed(&Key::of(&*set), error)
}

/// None before the identities were looked for.
async fn open(
    set: &WorkspaceVariables,
    key: &Key,
    context: &Context,
) -> Result<Option<Outcome>, VariablesError> {
    let ring = context.known.ring.borrow().clone();
    let held = match ring {
        Ring::Unread => return Ok(None),
        Ring::Missing(why) => return Ok(Some(Outcome::NoIdentities(why))),
        Ring::Held(held) => held,
    };
    let opened = context
        .known
        .opener
        .open(set, &held)
        .await
        .map_err(|ended| VariablesError::Open(key.clone(), ended))?;
    let digest = opened.digest.clone();
    let accepted = opened
        .content
        .and_then(|opened| judge(set, &digest, &opened, &held.identities));
    Ok(Some(match accepted {
        Ok(accepted) => Outcome::Accepted(accepted),
        Err(error) => Outcome::Refused(error),
    }))
}

/// An Event when a set begins to be refused, or is refused for another reason.
async fn tell(context: &Context, set: &WorkspaceVariables, outcome: &Outcome) {
    if let Some(before) = &set.status {
        let events = &context.shared.events;
        events.unreadable(set, &before.unreadable).await;
    }
    let Some((reason, message)) = outcome.refusal() else {
        return;
    };
    if status::ready_reason(set.status.as_ref()) != Some(reason) {
        let events = &context.shared.events;
        events
            .publish(set, EventType::Warning, reason, "Open", &message)
            .await;
    }
}

async fn write_status(
    context: &Context,
    key: &Key,
    status: &WorkspaceVariablesStatus,
) -> Result<(), VariablesError> {
    let body = json!({
        "apiVersion": crate::api::API_VERSION,
        "kind": KIND,
        "metadata": { "name": key.name },
        "status": status,
    });
    let client = context.shared.client.clone();
    let api: Api<WorkspaceVariables> = Api::namespaced(client, &key.namespace);
    let params = PatchParams::apply(VARIABLES_MANAGER).force();
    match api
        .patch_status(&key.name, &params, &Patch::Apply(&body))
        .await
    {
        Ok(set) => {
            context.sets.wrote(set);
            Ok(())
        }
        // Deleted meanwhile.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(VariablesError::WriteStatus(key.clone(), error)),
    }
}
