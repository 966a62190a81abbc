//! The Workspace controller: from a spec and what is there to children and a status that tells the truth.
//!
//! [`reconcile`] is the table of contents; one file a step. What is decided is decided in `model`, what objects look like
//! in `render`: here is what talks to the API server.

mod activity;
mod apply;
mod census;
mod children;
mod dereference;
mod error;
mod hints;
mod hosts;
mod inside;
mod latest;
mod mounting;
mod nodes;
mod observe;
mod plan;
mod reconcile;
pub mod references;
pub mod renderer;
mod status;
mod terminate;
mod tools;
mod variables;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::controller::{self, Controller};
use tokio_util::sync::CancellationToken;

use crate::controllers::Shared;
use crate::controllers::cache::Key;
use crate::controllers::guard;
use crate::controllers::health;
use crate::controllers::owners::OwnerChecks;
use crate::controllers::passes::{Passes, chain};
use crate::controllers::supervisor::follow::Followers;
use crate::controllers::supervisor::keys::Keys;
use crate::controllers::variables::Sets;
use crate::controllers::workspace::children::{Children, object_ref};
use crate::controllers::workspace::mounting::Mounting;
use crate::controllers::workspace::nodes::Nodes;
use crate::controllers::workspace::renderer::Renderer;
use crate::controllers::workspace::watches::Watched;
use crate::controllers::{keyring, links};
use crate::model::installation::{Cluster, Installation};

/// The name under which `/readyz` lists caches.
const CACHES: &str = "caches of workspaces";
/// The name under which it lists the authority of supervisors.
const AUTHORITY: &str = "authority of supervisors";
/// After a failure with the keys.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// A Secret that somebody deletes is made anew within this.
const LOOK_AT_PROXY: Duration = Duration::from_secs(600);

/// What passes over Workspaces share.
pub struct Context {
    /// Client, clock, metrics.
    pub shared: Arc<Shared>,
    /// What the installation is.
    pub installation: Installation,
    /// What the cluster can do.
    pub cluster: Cluster,
    /// Makes the objects.
    pub renderer: Arc<dyn Renderer>,
    /// The children.
    pub children: Children,
    /// Keys of supervisors, and ours for them.
    pub keys: Keys,
    /// What supervisors tell.
    pub followers: Followers,
    /// What nodes have to give.
    pub nodes: Nodes,
    /// Whether they mount tools.
    pub mounting: Mounting,
    /// The sealed sets.
    pub sets: Arc<Sets>,
    /// The Workspaces and classes.
    pub watched: Arc<Watched>,
    /// Whether owners are checked.
    pub owners: OwnerChecks,
    /// Counts, logs and spaces passes.
    pub passes: Passes,
    /// Cancelled when no pass is to begin any more.
    pub stop: CancellationToken,
}

/// Runs the controller while this process leads.
pub async fn run(
    shared: Arc<Shared>,
    sets: Arc<Sets>,
    installation: Installation,
    cluster: Cluster,
    renderer: Arc<dyn Renderer>,
    shutdown: CancellationToken,
) {
    // Until the authority is there nobody would say that they are missing, and the process would be ready by the others.
    shared.health.set_missing(CACHES, "not looked at yet");
    let Some(keys) = open_keys(&shared, &shutdown).await else {
        return;
    };
    let (followers, ends) = Followers::new();
    let (told, orders) = ends.split();
    let context = Arc::new(Context {
        keys,
        followers,
        children: Children::new(&shared),
        nodes: Nodes::default(),
        mounting: Mounting::new(installation.tools_image.to_string()),
        watched: Arc::new(Watched::new(&installation, sets.clone())),
        owners: OwnerChecks::new(),
        passes: Passes::new("workspace", shared.metrics.clone(), shared.config.backoff),
        sets,
        installation,
        cluster,
        renderer,
        stop: shutdown.clone(),
        shared: shared.clone(),
    });
    let (store, workspaces, news) = context.watched.workspaces(&shared, {
        let context = context.clone();
        move |key: &Key| {
            context.passes.forget(key);
            context.followers.leave(key);
            context.children.attention.forget(key);
        }
    });
    let classes = context.watched.classes(&shared, store.clone());
    let referable = context.children.watch_referable(&shared);
    let referrers = references::wakes(referable, store.clone());
    let running = Controller::for_stream(workspaces, store.clone())
        .with_config(controller::Config::default().concurrency(shared.config.concurrency))
        .reconcile_on(context.children.watch(&shared))
        .reconcile_on(classes)
        .reconcile_on(referrers)
        .reconcile_on(context.watched.freed())
        .reconcile_on(context.watched.host_moves())
        .reconcile_on(context.watched.set_moves(store.clone()))
        .reconcile_all_on(context.owners.changes())
        .reconcile_on(told.map(object_ref))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            reconcile::reconcile,
            reconcile::error_policy,
            context.clone(),
        );
    tokio::join!(
        context.passes.drain(running, store, &shutdown),
        report_caches(&context, &shutdown),
        guard::tell(news, &shared, &shutdown),
        follow_nodes(&context, &shutdown),
        context.owners.run(&shared, &shutdown),
        mounting::run(&context, &shutdown),
        context
            .followers
            .run(orders, &context.keys, &*shared.clock, &shutdown),
        renew_proxy(&context, &shutdown),
        keyring::run(&shared, &shutdown),
        links::run(&shared, &shutdown)
    );
}

/// Reads or makes the authority of supervisors. None at the end of the process.
async fn open_keys(shared: &Shared, shutdown: &CancellationToken) -> Option<Keys> {
    loop {
        let client = shared.client.clone();
        let opening = Keys::open(client, &shared.config.namespace, shared.clock.now());
        let opened = tokio::select! {
            opened = opening => opened,
            () = shutdown.cancelled() => return None,
        };
        match opened {
            Ok(keys) => {
                shared.health.set_met(AUTHORITY);
                return Some(keys);
            }
            Err(error) => {
                let why = chain(&error);
                tracing::warn!(error = why, "no workspace can be started yet");
                shared.health.set_missing(AUTHORITY, why);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Keeps the proxy's certificate fresh.
async fn renew_proxy(context: &Context, shutdown: &CancellationToken) {
    let shared = &context.shared;
    loop {
        let now = shared.clock.now();
        let renewing = context.keys.renew_proxy(&shared.config.namespace, now);
        let pause = match renewing.await {
            Ok(until) => {
                let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                left.clamp(TRY_AGAIN, LOOK_AT_PROXY)
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the certificate of the proxy is not renewed"
                );
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn follow_nodes(context: &Context, shutdown: &CancellationToken) {
    tokio::select! {
        () = context.nodes.follow(context.shared.client.clone()) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Says in `/readyz` which caches are not filled yet.
async fn report_caches(context: &Context, shutdown: &CancellationToken) {
    let unseen = || {
        let mut kinds = context.children.unseen_kinds();
        kinds.extend(context.watched.unseen_kinds());
        if !context.sets.is_listed() {
            kinds.push("WorkspaceVariables");
        }
        kinds.extend(context.owners.unseen_kinds());
        kinds
    };
    health::report_caches(&context.shared.health, CACHES, unseen, shutdown).await;
}
