//! The Workspace controller: from a spec and what is there to children and a status that tells the truth.
//!
//! [`reconcile`] is the table of contents; one file a step. What is decided is decided in `model`, what objects look like
//! in `render`: here is what talks to the API server.

mod apply;
mod census;
mod children;
mod dereference;
mod error;
mod latest;
mod nodes;
mod observe;
mod plan;
mod reconcile;
pub mod renderer;
mod status;
mod terminate;
mod watches;

use std::sync::Arc;

use kube::runtime::controller::{self, Controller};
use tokio_util::sync::CancellationToken;

use crate::controllers::Shared;
use crate::controllers::cache::Key;
use crate::controllers::passes::Passes;
use crate::controllers::workspace::children::Children;
use crate::controllers::workspace::nodes::Nodes;
use crate::controllers::workspace::renderer::Renderer;
use crate::controllers::workspace::watches::Watched;
use crate::model::installation::{Cluster, Installation};

/// The name under which `/readyz` lists caches.
const CACHES: &str = "caches";

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
    /// What nodes have to give.
    pub nodes: Nodes,
    /// The Workspaces and classes.
    pub watched: Arc<Watched>,
    /// Counts, logs and spaces passes.
    pub passes: Passes,
    /// Cancelled when no pass is to begin any more.
    pub stop: CancellationToken,
}

/// Runs the controller while this process leads.
pub async fn run(
    shared: Arc<Shared>,
    installation: Installation,
    cluster: Cluster,
    renderer: Arc<dyn Renderer>,
    shutdown: CancellationToken,
) {
    let context = Arc::new(Context {
        children: Children::new(&shared),
        nodes: Nodes::default(),
        watched: Arc::new(Watched::new(installation.total_quota)),
        passes: Passes::new("workspace", shared.metrics.clone(), shared.config.backoff),
        installation,
        cluster,
        renderer,
        stop: shutdown.clone(),
        shared: shared.clone(),
    });
    let (store, workspaces) = context.watched.workspaces(&shared, {
        let context = context.clone();
        move |key: &Key| context.passes.forget(key)
    });
    let classes = context.watched.classes(&shared, store.clone());
    let running = Controller::for_stream(workspaces, store.clone())
        .with_config(controller::Config::default().concurrency(shared.config.concurrency))
        .reconcile_on(context.children.watch(&shared))
        .reconcile_on(classes)
        .reconcile_on(context.watched.freed())
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            reconcile::reconcile,
            reconcile::error_policy,
            context.clone(),
        );
    tokio::join!(
        context.passes.drain(running, store, &shutdown),
        report_caches(&context, &shutdown),
        follow_nodes(&context, &shutdown)
    );
}

async fn follow_nodes(context: &Context, shutdown: &CancellationToken) {
    tokio::select! {
        () = context.nodes.follow(context.shared.client.clone()) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Says in `/readyz` which caches are not filled yet.
async fn report_caches(context: &Context, shutdown: &CancellationToken) {
    let health = &context.shared.health;
    let unseen = || context.children.unseen_kinds().join(", ");
    health.set_missing(CACHES, format!("not listed yet: {}", unseen()));
    tokio::select! {
        () = context.children.wait_until_ready() => health.set_met(CACHES),
        () = shutdown.cancelled() => {}
    }
}
