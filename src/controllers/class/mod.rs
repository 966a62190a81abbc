//! The WorkspaceClass controller: tells the administrator what holds of a class and what does not.
//!
//! Workspaces do not wait for this status: the Workspace controller judges the spec itself, by the same function.

mod status;

use std::sync::Arc;

use futures::StreamExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector;
use kube::runtime::{WatchStreamExt, controller, watcher};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::WorkspaceClass;
use crate::api::class::WorkspaceClassStatus;
use crate::controllers::Shared;
use crate::controllers::backoff::jittered;
use crate::controllers::cache::{Cache, Key, changes, counted};
use crate::controllers::guard::{self, Guarded, Sentinel};
use crate::controllers::passes::{PassError, Passes, Retry};
use crate::model::class;
use crate::model::names::CLASS_MANAGER;

/// Why a pass over a class failed.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// The status could not be written.
    #[error("failed to write the status of WorkspaceClass {0}")]
    WriteStatus(Key, #[source] kube::Error),
}

impl PassError for ClassError {
    fn category(&self) -> &'static str {
        let Self::WriteStatus(_, source) = self;
        crate::controllers::apply::client_category(source)
    }

    fn retry(&self) -> Retry {
        Retry::BackOff
    }
}

struct Context {
    shared: Arc<Shared>,
    classes: Arc<Cache<WorkspaceClass>>,
    passes: Passes,
}

/// Runs the controller while this process leads.
pub async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    let api: Api<Guarded<WorkspaceClass>> = Api::all(shared.client.clone());
    let classes = Arc::new(Cache::new());
    let context = Arc::new(Context {
        classes: classes.clone(),
        passes: Passes::new(
            "workspaceclass",
            shared.metrics.clone(),
            shared.config.backoff,
        ),
        shared: shared.clone(),
    });
    let (reader, writer) = reflector::store();
    // Which classes are annotated as default concerns all that are.
    let (defaults, defaults_seen) = watch::channel(Vec::new());
    let metrics = shared.metrics.clone();
    let (sentinel, news) = Sentinel::new("WorkspaceClass", metrics.clone());
    let own = watcher(api, shared.config.scope.classes())
        .default_backoff()
        .filter_map(move |event| std::future::ready(counted(event, "WorkspaceClass", &metrics)))
        .filter_map({
            let classes = classes.clone();
            move |event| std::future::ready(sentinel.sift(event, |key| classes.watched(key)))
        })
        .inspect(move |event| {
            classes.take(event.clone());
            let names = default_names(&classes.all());
            defaults.send_if_modified(|known| {
                *known != names && {
                    *known = names;
                    true
                }
            });
        })
        .map(Ok)
        .reflect(writer)
        .applied_objects();
    let running = Controller::for_stream(own, reader.clone())
        .with_config(controller::Config::default().concurrency(4))
        .reconcile_all_on(changes(defaults_seen))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, error_policy, context.clone());
    tokio::join!(
        context.passes.drain(running, reader, &shutdown),
        guard::tell(news, &shared, &shutdown)
    );
}

/// One pass over a class:
/// 1. take the newest version,
/// 2. judge it, and which classes are the default beside it,
/// 3. write what changed of the status.
async fn reconcile(
    class: Arc<WorkspaceClass>,
    context: Arc<Context>,
) -> Result<Action, ClassError> {
    let key = Key::of(&*class);
    context
        .passes
        .count(&key, async {
            let class = context.classes.get(&key).unwrap_or(class);
            let defaults = default_names(&context.classes.all());
            let status = status::judge(
                &class,
                &class::validate(&class),
                &defaults,
                context.shared.clock.now(),
            );
            if class.status.as_ref() != Some(&status) {
                write_status(&context, &key, &status).await?;
                let before = class.status.as_ref();
                if let Some(fields) = before.map(|status| &status.unreadable) {
                    context.shared.events.unreadable(&*class, fields).await;
                }
            }
            let every = context.shared.config.full_pass_every;
            Ok(Action::requeue(jittered(every, rand::random())))
        })
        .await
}

fn error_policy(class: Arc<WorkspaceClass>, error: &ClassError, context: Arc<Context>) -> Action {
    context.passes.failed(&Key::of(&*class), error)
}

fn default_names(classes: &[Arc<WorkspaceClass>]) -> Vec<String> {
    let mut names: Vec<String> = classes
        .iter()
        .filter(|class| class::is_default(class))
        .filter_map(|class| class.metadata.name.clone())
        .collect();
    names.sort();
    names
}

async fn write_status(
    context: &Context,
    key: &Key,
    status: &WorkspaceClassStatus,
) -> Result<(), ClassError> {
    let body = json!({
        "apiVersion": crate::api::API_VERSION,
        "kind": "WorkspaceClass",
        "metadata": { "name": key.name },
        "status": status,
    });
    let api: Api<WorkspaceClass> = Api::all(context.shared.client.clone());
    let written = api
        .patch_status(
            &key.name,
            &PatchParams::apply(CLASS_MANAGER).force(),
            &Patch::Apply(&body),
        )
        .await;
    match written {
        Ok(class) => {
            context.classes.wrote(class);
            Ok(())
        }
        // Deleted meanwhile.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(ClassError::WriteStatus(key.clone(), error)),
    }
}
