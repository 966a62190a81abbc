//! The GitSync controller: from a commit to applied objects.
//!
//! Owns the pass over one repository: dereference → fetch → plan → guard → widen the inventory → apply → prune →
//! narrow the inventory → report. The pure half (snapshot, plan, guard) lives in model/sync.rs and gitsync.

mod apply;
pub mod budget;
mod context;
pub mod dereference;
mod fields;
mod fights;
mod finalize;
pub mod inventory;
pub mod keeper;
pub mod kinds;
mod live;
mod outcome;
mod pass;
mod prune;
mod reconcile;
mod report;
pub mod requests;
mod slots;
pub mod source;
mod status;
mod watch;
pub mod webhook;
mod work;

use std::sync::Arc;

use futures::StreamExt;
use kube::Api;
use kube::runtime::controller::{self, Controller};
use kube::runtime::predicates;
use kube::runtime::reflector;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Predicate, WatchStreamExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::context::Context;
use crate::api::GitSync;
use crate::api::gitsync::SyncedKind;
use crate::controllers::cache::{Key, counted};
use crate::controllers::guard::{self, Guarded, Sentinel};
use crate::controllers::{Shared, health};

/// The name under which `/readyz` lists what is not seen yet.
const CACHES: &str = "caches of gitsyncs";

/// Runs the controller while this process leads.
///
/// Passes are started by a change of spec, annotations or finalizers, by requests (hooks, drift), and by the waits that
/// passes ask for themselves.
pub async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    let context = Arc::new(Context::new(shared.clone(), shutdown.clone()));
    let requests = shared.gitsync_requests.clone();
    let _attached = requests.attach();
    let mut watches = JoinSet::new();
    for kind in SyncedKind::IN_ORDER {
        watches.spawn(watch::watch_kind(
            shared.clone(),
            context.watched.clone(),
            requests.clone(),
            kind,
        ));
    }
    watches.spawn(source::sweep_for_ever(context.clone()));
    let (reader, writer) = reflector::store();
    let seen = context.clone();
    let changed = predicates::generation
        .combine(predicates::annotations)
        .combine(predicates::finalizers);
    let (sentinel, news) = Sentinel::new("GitSync", shared.metrics.clone());
    let guarded: Api<Guarded<GitSync>> = shared.config.scope.api(&shared.client);
    let own = watcher::watcher(guarded, watcher::Config::default())
        .default_backoff()
        .filter_map(move |event| {
            let event = counted(event, "GitSync", &seen.shared.metrics)
                .and_then(|event| sentinel.sift(event, |key| seen.gitsyncs.watched(key)))
                .inspect(|event| {
                    seen.gitsyncs.take(event.clone());
                    if let Event::Delete(gone) = event {
                        seen.forget(&Key::of(gone));
                    }
                });
            std::future::ready(event)
        })
        .map(Ok)
        .reflect(writer)
        .applied_objects()
        .predicate_filter(changed, Default::default());
    let running = Controller::for_stream(own, reader.clone())
        // Unbounded: a pass that waits for a silent remote must not keep others from theirs. There are as many as
        // GitSyncs at most, and the lanes bound the fetches.
        .with_config(controller::Config::default().concurrency(0))
        .reconcile_on(requests.stream())
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            reconcile::reconcile,
            reconcile::error_policy,
            context.clone(),
        );
    tokio::join!(
        context.passes.drain(running, reader, &shutdown),
        guard::tell(news, &shared, &shutdown),
        report_caches(&context, &shutdown)
    );
    watches.shutdown().await;
}

/// Says in `/readyz` which kinds were not listed yet.
async fn report_caches(context: &Context, shutdown: &CancellationToken) {
    let unseen = || {
        let mut kinds = context.watched.unseen_kinds();
        if !context.gitsyncs.is_ready() {
            kinds.push("the GitSyncs themselves");
        }
        kinds
    };
    health::report_caches(&context.shared.health, CACHES, unseen, shutdown).await;
}
