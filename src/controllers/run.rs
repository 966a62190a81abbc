//! The life of a controller process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::controllers::clock::SystemClock;
use crate::controllers::context::{ControllerConfig, Shared};
use crate::controllers::events::Events;
use crate::controllers::gitsync::requests::Requests;
use crate::controllers::gitsync::{self, webhook};
use crate::controllers::lease::{Claim, Elector, LeaseError};
use crate::controllers::workspace::renderer::{Renderer, Standard};
use crate::controllers::{class, cluster, crds, door, variables, workspace};
use crate::model::clock::Clock;
use crate::model::identity::ImageReference;
use crate::model::installation::Installation;
use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::telemetry::health;
use crate::telemetry::server::{self, ServerLimits};
use crate::telemetry::{Health, Metrics};

/// The name under which `/readyz` lists the lease.
const LEASE: &str = "lease";

/// How long passes may go on after the end was asked for: longer than a write may take, and less than the 30 s that a
/// pod has.
const DRAIN: Duration = Duration::from_secs(15);

/// Why the controllers ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port is taken or not ours.
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A setting can't be used.
    #[error("failed to read the setting {setting}: {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// We lead no more.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A task that must run ended.
    #[error("the {0} task ended, and the process can't go on without it")]
    TaskEnded(&'static str),
    /// A task panicked.
    #[error("a task failed")]
    TaskFailed(#[source] tokio::task::JoinError),
}

/// What tests exchange: the clock, the renderer; and what they look at: the metrics, the health.
pub struct Parts {
    /// Makes the objects of workspaces.
    pub renderer: Arc<dyn Renderer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metric families.
    pub metrics: Arc<Metrics>,
    /// What is missing.
    pub health: Health,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            renderer: Arc::new(Standard),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::new()),
            health: Health::new(),
        }
    }
}

/// Runs the controllers until `shutdown`, or until they can't go on.
///
/// # Errors
/// When a port can't be had, when the lease is lost, or when a part ends that must not.
pub async fn run(
    config: ControllerConfig,
    client: Client,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    run_with(config, client, shutdown, Parts::default()).await
}

/// Runs the controllers with parts of the caller's own.
///
/// 1. Serve health, so that the probes are answered from the begin.
/// 2. Wait for the CRDs.
/// 3. Serve the webhook: a standby passes reports on too.
/// 4. Stand by for the lease.
/// 5. Lead: run the controllers until shutdown.
/// 6. Let passes end, then release the lease.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: ControllerConfig,
    client: Client,
    shutdown: CancellationToken,
    parts: Parts,
) -> Result<(), RunError> {
    let making = Making {
        installation: installation(&config)?,
        renderer: parts.renderer.clone(),
    };
    let (claim_sender, claim) = watch::channel(Claim::default());
    let shared = Arc::new(share(config, client, claim, parts));
    shared.health.set_missing("crds", "not looked for yet");
    shared.health.set_missing(LEASE, "not looked at yet");
    let mut tasks: JoinSet<Result<(), RunError>> = JoinSet::new();
    // Servers outlive the rest, so that probes are answered while passes end.
    let servers = CancellationToken::new();
    serve_health(&shared, &servers, &mut tasks).await?;
    let life = live(shared, making, claim_sender, shutdown);
    let ended = tokio::select! {
        ended = life => ended,
        failed = first_failure(&mut tasks) => Err(failed),
    };
    servers.cancel();
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(RunError::TaskFailed)??;
    }
    ended
}

/// What workspaces are made with.
struct Making {
    installation: Installation,
    renderer: Arc<dyn Renderer>,
}

/// The installation as the model knows it.
fn installation(config: &ControllerConfig) -> Result<Installation, RunError> {
    let setting = |setting, why: String| RunError::Setting { setting, why };
    let namespace = DnsLabel::new(config.namespace.clone())
        .map_err(|error| setting("namespace", error.to_string()))?;
    let tools_image = ImageReference::new(&config.tools_image)
        .map_err(|error| setting("tools image", error.to_string()))?;
    let base_domain = config
        .base_domain
        .clone()
        .map(DnsSubdomain::new)
        .transpose()
        .map_err(|error| setting("base domain", error.to_string()))?;
    Ok(Installation {
        base_domain,
        proxy_pods: config.proxy.pod_labels.clone(),
        dns: config.dns.clone(),
        total_quota: config.total_quota,
        is_tls: config.is_tls,
        base_port: config.base_port,
        reserved_names: config.reserved_names.clone(),
        ..Installation::new(namespace, tools_image)
    })
}

fn share(
    config: ControllerConfig,
    client: Client,
    claim: watch::Receiver<Claim>,
    parts: Parts,
) -> Shared {
    let leading = door::client(client.clone(), parts.metrics.clone(), Some(claim.clone()));
    Shared {
        events: Events::new(leading.clone(), &config.lease.identity),
        client: leading,
        standby_client: door::client(client, parts.metrics.clone(), None),
        config,
        clock: parts.clock,
        metrics: parts.metrics,
        health: parts.health,
        claim,
        gitsync_requests: Requests::new(),
    }
}

async fn serve_health(
    shared: &Shared,
    servers: &CancellationToken,
    tasks: &mut JoinSet<Result<(), RunError>>,
) -> Result<(), RunError> {
    let Some(address) = shared.config.health_address else {
        return Ok(());
    };
    let listener = listen(address).await?;
    let router = health::router(shared.health.clone(), shared.metrics.clone());
    let servers = servers.clone();
    tasks.spawn(async move {
        server::serve(listener, router, ServerLimits::default(), servers).await;
        Ok(())
    });
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| RunError::Listen(address, error))
}

/// Waits for a task that fails; never returns while all is well.
async fn first_failure(tasks: &mut JoinSet<Result<(), RunError>>) -> RunError {
    loop {
        match tasks.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return error,
            Some(Err(error)) => return RunError::TaskFailed(error),
            None => std::future::pending().await,
        }
    }
}

/// Steps 2 to 6 of [`run_with`].
async fn live(
    shared: Arc<Shared>,
    making: Making,
    claim: watch::Sender<Claim>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    tokio::select! {
        () = crds::wait(&shared.standby_client, &shared.health) => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    let hooks = CancellationToken::new();
    let receiving = receive_hooks(&shared, hooks.clone()).await?;
    let leading = async {
        let ended = elect(shared, making, claim, shutdown).await;
        hooks.cancel();
        ended
    };
    let (ended, ()) = tokio::join!(leading, receiving);
    ended
}

/// The webhook receiver, which runs whoever leads.
async fn receive_hooks(
    shared: &Shared,
    hooks: CancellationToken,
) -> Result<BoxFuture<'static, ()>, RunError> {
    let Some(address) = shared.config.webhook_address else {
        return Ok(std::future::ready(()).boxed());
    };
    let receiver = webhook::Receiver {
        gitsyncs: shared.config.scope.api(&shared.standby_client),
        client: shared.standby_client.clone(),
        requests: shared.gitsync_requests.clone(),
        clock: shared.clock.clone(),
    };
    Ok(webhook::serve(listen(address).await?, receiver, hooks).boxed())
}

/// Steps 4 to 6.
async fn elect(
    shared: Arc<Shared>,
    making: Making,
    claim: watch::Sender<Claim>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let clock = shared.clock.clone();
    let elector = Elector::new(
        shared.standby_client.clone(),
        &shared.config.namespace,
        shared.config.lease.clone(),
        &*clock,
        claim,
    );
    // Cancelled last: the lease is released when nobody writes any more.
    let release = CancellationToken::new();
    let mut electing = std::pin::pin!(elector.run(release.clone()).fuse());
    let mut working = std::pin::pin!(stand_by_then_lead(shared.clone(), making, shutdown).fuse());
    let worked = futures::select_biased! {
        lost = electing.as_mut() => {
            shared.metrics.leader.set(0);
            return match lost {
                Ok(()) => Err(RunError::TaskEnded("lease")),
                Err(error) => Err(error.into()),
            };
        }
        worked = working.as_mut() => worked,
    };
    release.cancel();
    shared.metrics.leader.set(0);
    electing.await?;
    worked
}

async fn stand_by_then_lead(
    shared: Arc<Shared>,
    making: Making,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let mut claim = shared.claim.clone();
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = until_leading(&mut claim, &shared.health) => {}
    }
    tracing::info!(identity = shared.config.lease.identity, "leading");
    shared.metrics.leader.set(1);
    lead(shared, making, shutdown).await
}

/// A standby is ready as soon as it could look at the lease: it stands by as it should.
async fn until_leading(claim: &mut watch::Receiver<Claim>, health: &Health) {
    loop {
        let seen = claim.borrow_and_update().clone();
        if seen.looked {
            health.set_met(LEASE);
        }
        if seen.leads() {
            return;
        }
        if claim.changed().await.is_err() {
            // The elector is gone, which ends the process elsewhere.
            std::future::pending::<()>().await;
        }
    }
}

/// Runs all controllers; when one ends before shutdown, the others are ended too.
async fn lead(
    shared: Arc<Shared>,
    making: Making,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let stop = shutdown.child_token();
    let cluster = tokio::select! {
        cluster = cluster::detect(&shared.client, &shared.config.namespace) => cluster,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(?cluster, "what the cluster can do");
    let known_sets = Arc::new(variables::Sets::new(shared.metrics.clone()));
    let workspaces = workspace::run(
        shared.clone(),
        known_sets.clone(),
        making.installation,
        cluster,
        making.renderer,
        stop.clone(),
    );
    let classes = class::run(shared.clone(), stop.clone());
    let syncs = gitsync::run(shared.clone(), stop.clone());
    let sets = variables::run(shared.clone(), known_sets, stop.clone());
    let controllers: [(&'static str, BoxFuture<'static, ()>); 4] = [
        ("workspace", workspaces.boxed()),
        ("workspaceclass", classes.boxed()),
        ("gitsync", syncs.boxed()),
        ("workspacevariables", sets.boxed()),
    ];
    let mut running = JoinSet::new();
    for (name, controller) in controllers {
        running.spawn(controller.map(move |()| name));
    }
    let first = tokio::select! {
        ended = running.join_next() => ended,
        () = stop.cancelled() => None,
    };
    let outcome = match first {
        Some(ended) if !stop.is_cancelled() => Err(match ended {
            Ok(name) => RunError::TaskEnded(name),
            Err(error) => RunError::TaskFailed(error),
        }),
        _ => Ok(()),
    };
    stop.cancel();
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("passes did not end in time; they are cut off");
        running.shutdown().await;
    }
    outcome
}
