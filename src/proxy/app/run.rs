//! The life of a proxy process.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::model::clock::Clock;
use crate::model::entropy::Entropy;
use crate::model::names::{PROXY_CLIENT_SECRET, PROXY_KEYS_SECRET};
use crate::proxy::app::Known;
use crate::proxy::app::feeds::{
    KEY_RING, first_keys, mirror, take_identity, take_revocations, take_ring, write_access,
};
use crate::proxy::app::listening::Making;
use crate::proxy::authorize::live::Registry;
use crate::proxy::config::{Config, Limits};
use crate::proxy::forward::Forward;
use crate::proxy::front::Drain;
use crate::proxy::limits::rate::Limiter;
use crate::proxy::limits::streams::{Bounds as StreamBounds, Streams};
use crate::proxy::observe::access::AccessLog;
use crate::proxy::observe::metrics::ProxyMetrics;
use crate::proxy::route::facts::Uid;
use crate::proxy::route::index::Settings;
use crate::proxy::route::metrics::RouteMetrics;
use crate::proxy::route::supervisors::SessionSettings;
use crate::proxy::route::watches::{Handed, Kept, Revocations, Scope, WatchSettings, Watches};
use crate::proxy::route::{Denied, Freshness, Supervisors, Table, report};
use crate::proxy::session::claims::SESSION_LIFE;
use crate::proxy::session::{Epochs, Keys, SignedIn};
use crate::proxy::wake::activity::Activity;
use crate::proxy::wake::hold::{Bounds, Held};
use crate::proxy::wake::visits::Visits;
use crate::telemetry::Health;
use crate::telemetry::health;
use crate::telemetry::server::{self, ServerLimits};

/// The name under which it lists the end.
const STOPPING: &str = "stopping";

/// Why a proxy ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port is taken or not ours.
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A setting can't be used.
    #[error("failed to set up {what}: {why}")]
    Setting {
        /// What.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A task that must run ended.
    #[error("the {0} task ended, and the process can't go on without it")]
    TaskEnded(&'static str),
    /// A task panicked.
    #[error("a task failed")]
    TaskFailed(#[source] tokio::task::JoinError),
}

/// What the process brings along, and what tests exchange.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The counters.
    pub metrics: Arc<ProxyMetrics>,
    /// Those of discovery.
    pub routes: RouteMetrics,
    /// What is missing.
    pub health: Health,
    /// How first processes are spoken to.
    pub sessions: SessionSettings,
    /// Whether pods may have addresses of this machine: in tests, where they are processes.
    pub allows_loopback: bool,
    /// Whether the access log is written to standard output.
    pub writes_access: bool,
}

/// Runs a proxy until `shutdown`, then lets streams end.
///
/// 1. Serve health, so that the probes are answered from the begin.
/// 2. Watch the cluster, and wait for the key ring: without it nobody can be told from anybody.
/// 3. Listen.
/// 4. On shutdown: say so, go on for as long as balancers may not know, then drain.
///
/// # Errors
/// When a port can't be had, or when a part ends that must not.
pub async fn run(
    config: Config,
    client: Client,
    parts: Parts,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let mut tasks = Tasks(JoinSet::new());
    let servers = CancellationToken::new();
    serve_health(&config, &parts, &servers, &mut tasks).await?;
    let stop = CancellationToken::new();
    let ended = live(config, client, parts, shutdown, &stop, &mut tasks).await;
    stop.cancel();
    servers.cancel();
    let joined = tasks.join().await;
    ended.and(joined)
}

async fn live(
    config: Config,
    client: Client,
    parts: Parts,
    shutdown: CancellationToken,
    stop: &CancellationToken,
    tasks: &mut Tasks,
) -> Result<(), RunError> {
    let cluster = watch_cluster(&config, &client, &parts, stop, tasks)?;
    let keys = tokio::select! {
        keys = first_keys(cluster.ring.clone(), &parts.health) => Arc::new(keys),
        () = shutdown.cancelled() => return Ok(()),
        error = tasks.failed() => return Err(error),
    };
    let forward = Arc::new(Forward {
        silent_stream: config.limits.silent_stream,
        ..Forward::default()
    });
    let (kept, end) = (forward.clone(), stop.clone());
    tasks.spawn("connections", async move { kept.pool.run(end).await });
    let learning = Learning {
        config: &config,
        client: &client,
        parts: &parts,
        cluster: &cluster,
        keys: &keys,
        forward: &forward,
    };
    let known = learning.know(stop, tasks);
    let drain = Drain::default();
    let making = Making {
        config: &config,
        client: &client,
        parts: &parts,
        known: &known,
        keys: &keys,
        forward: &forward,
        drain: &drain,
    };
    let mut listening = JoinSet::new();
    making.listen(&cluster, &mut listening, stop, tasks).await?;
    parts.health.set_met(KEY_RING);
    tokio::select! {
        () = shutdown.cancelled() => {}
        error = tasks.failed() => return Err(error),
    }
    parts.health.set_missing(STOPPING, "the process ends");
    // Whoever sends connections here learns of the end only after a while.
    sleep(config.drain.lag).await;
    drain.begin.cancel();
    while let Some(joined) = listening.join_next().await {
        joined.map_err(RunError::TaskFailed)?;
    }
    known.activity.write().await;
    Ok(())
}

/// Tasks that must go on for as long as the process does.
pub(super) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits until one ends that must not.
    async fn failed(&mut self) -> RunError {
        match self.0.join_next().await {
            Some(Ok(name)) => RunError::TaskEnded(name),
            Some(Err(error)) => RunError::TaskFailed(error),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended, after they were told to.
    async fn join(mut self) -> Result<(), RunError> {
        while let Some(joined) = self.0.join_next().await {
            joined.map_err(RunError::TaskFailed)?;
        }
        Ok(())
    }
}

/// What is watched.
pub(super) struct Cluster {
    table: Arc<Table>,
    freshness: Arc<Freshness>,
    ring: Handed<Kept>,
    client_key: Handed<Kept>,
    revocations: Handed<Revocations>,
    pub(super) certificates: Vec<(String, Handed<Kept>)>,
}

fn watch_cluster(
    config: &Config,
    client: &Client,
    parts: &Parts,
    stop: &CancellationToken,
    tasks: &mut Tasks,
) -> Result<Cluster, RunError> {
    let table = Arc::new(Table::default());
    let session_life = Duration::from_secs(SESSION_LIFE.unsigned_abs());
    let freshness = Arc::new(Freshness::new(parts.clock.clone(), session_life));
    let (notices, published) = mpsc::channel(report::WAITING);
    let watches = Watches::new(
        client.clone(),
        watch_settings(config, parts),
        table.clone(),
        freshness.clone(),
        parts.routes.clone(),
        notices,
    );
    let secret = |name: &str| {
        watches.secret(name).ok_or_else(|| RunError::Setting {
            what: "the watch of a Secret",
            why: format!("{name} is not among those that are watched"),
        })
    };
    let certificates = certificate_names(config).map(|name| Ok((name.clone(), secret(&name)?)));
    let cluster = Cluster {
        ring: secret(PROXY_KEYS_SECRET)?,
        client_key: secret(PROXY_CLIENT_SECRET)?,
        revocations: watches.revocations(),
        certificates: certificates.collect::<Result<_, RunError>>()?,
        table,
        freshness,
    };
    let missing = watches.missing();
    tasks.spawn("watches", watches.run(stop.clone()));
    let (client, instance, end) = (client.clone(), config.identity.clone(), stop.clone());
    tasks.spawn("events", async move {
        report::publish(client, &instance, published, end).await;
    });
    let (health, end) = (parts.health.clone(), stop.clone());
    tasks.spawn("readiness", until(end, mirror(health, missing)));
    Ok(cluster)
}

fn certificate_names(config: &Config) -> impl Iterator<Item = String> {
    let named = config.listeners.tls().map(|tls| &tls.certificates);
    named.into_iter().flatten().map(ToString::to_string)
}

fn watch_settings(config: &Config, parts: &Parts) -> WatchSettings {
    let (ranges, none) = (&config.denied_addresses, []);
    let denied = if parts.allows_loopback {
        Denied::with_loopback(ranges, none)
    } else {
        Denied::new(ranges, none)
    };
    WatchSettings {
        namespace: config.namespace.to_string(),
        scope: config.watch_namespace.as_ref().map(|namespace| Scope {
            namespace: namespace.to_string(),
            class_labels: None,
        }),
        secrets: [PROXY_KEYS_SECRET, PROXY_CLIENT_SECRET]
            .map(str::to_owned)
            .into_iter()
            .chain(certificate_names(config))
            .collect(),
        index: Settings {
            denied,
            reserved: config
                .reserved_names
                .iter()
                .map(ToString::to_string)
                .collect(),
            denied_ports: config.denied_ports.clone().into(),
        },
    }
}

/// What is needed to know what all listeners share.
struct Learning<'a> {
    config: &'a Config,
    client: &'a Client,
    parts: &'a Parts,
    cluster: &'a Cluster,
    keys: &'a Arc<Keys>,
    forward: &'a Arc<Forward>,
}

impl Learning<'_> {
    /// What all listeners share, and the tasks that keep it true.
    fn know(&self, stop: &CancellationToken, tasks: &mut Tasks) -> Arc<Known> {
        let (cluster, parts) = (self.cluster, self.parts);
        let epochs = Arc::new(ArcSwap::from_pointee(Epochs::default()));
        let changes = watch::Sender::new(0);
        let (identity, us) = watch::channel(None);
        let kept = self.forward.clone();
        // The address of such a pod may be another one's now.
        let ended = move |pod: &Uid| kept.pool.close(|key| key.pod == *pod);
        let supervisors =
            Supervisors::new(parts.sessions, us, parts.routes.clone(), Box::new(ended));
        let live = registry(cluster, self.keys, &epochs, parts);
        let (clock, metrics) = (&parts.clock, &parts.metrics);
        let (visits, visited) = Visits::new(self.client.clone(), clock.clone(), metrics.clone());
        let known = Arc::new(Known {
            table: cluster.table.clone(),
            freshness: cluster.freshness.clone(),
            epochs: epochs.clone(),
            live: live.clone(),
            supervisors: supervisors.clone(),
            activity: Activity::new(self.client.clone(), clock.clone()),
            visits,
            held: Held::new(bounds(&self.config.limits), metrics.clone()),
            streams: Streams::new(StreamBounds {
                per_user: self.config.limits.streams_per_user,
                per_workspace: self.config.limits.streams_per_workspace,
            }),
            refusals: Limiter::new(self.config.limits.refusals_per_address),
            metrics: metrics.clone(),
            access: access_log(parts, stop, tasks),
            keep_alive_paths: self.config.keep_alive_paths.clone(),
            clock: clock.clone(),
        });
        tasks.spawn("visits", visited.run(stop.clone()));
        let (activity, end) = (known.activity.clone(), stop.clone());
        tasks.spawn("activity", async move { activity.run(end).await });
        let (table, end) = (cluster.table.clone(), stop.clone());
        tasks.spawn("first processes", async move {
            supervisors.run(&table, end).await;
        });
        let (told, end) = (changes.subscribe(), stop.clone());
        tasks.spawn(
            "live streams",
            async move { live.run(vec![told], end).await },
        );
        let taking = take_ring(cluster.ring.clone(), self.keys.clone(), changes.clone());
        tasks.spawn("key ring", until(stop.clone(), taking));
        let taking = take_revocations(cluster.revocations.clone(), epochs, changes);
        tasks.spawn("revocations", until(stop.clone(), taking));
        let taking = take_identity(cluster.client_key.clone(), identity);
        tasks.spawn(
            "certificate for first processes",
            until(stop.clone(), taking),
        );
        known
    }
}

fn access_log(parts: &Parts, stop: &CancellationToken, tasks: &mut Tasks) -> AccessLog {
    if !parts.writes_access {
        return AccessLog::off(parts.metrics.clone());
    }
    let (log, lines) = AccessLog::new(parts.metrics.clone());
    tasks.spawn("access log", until(stop.clone(), write_access(lines)));
    log
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        per_workspace: limits.held_per_workspace,
        per_user: limits.held_per_user,
        longest: limits.hold,
    }
}

fn registry(
    cluster: &Cluster,
    keys: &Arc<Keys>,
    epochs: &Arc<ArcSwap<Epochs>>,
    parts: &Parts,
) -> Arc<Registry<SignedIn>> {
    let (keys, epochs, clock) = (keys.clone(), epochs.clone(), parts.clock.clone());
    let stands = move |viewer: &SignedIn| viewer.holds(&keys, &epochs.load(), clock.now());
    Registry::new(
        cluster.table.clone(),
        cluster.freshness.clone(),
        parts.clock.clone(),
        parts.routes.clone(),
        Box::new(stands),
    )
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| RunError::Listen(address, error))
}

async fn serve_health(
    config: &Config,
    parts: &Parts,
    servers: &CancellationToken,
    tasks: &mut Tasks,
) -> Result<(), RunError> {
    let socket = bind(config.health_address).await?;
    parts.health.set_missing(KEY_RING, "not read yet");
    let router = health::router(parts.health.clone(), parts.metrics.clone());
    let servers = servers.clone();
    tasks.spawn(
        "health",
        server::serve(socket, router, ServerLimits::default(), servers),
    );
    Ok(())
}

pub(super) async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    stop.run_until_cancelled(task).await;
}
