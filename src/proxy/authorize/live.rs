//! Requests that last: each keeps what it was decided by, and is decided again when anything of it changes.
//!
//! A WebSocket, a stream of events or an SSH session would otherwise live on after the share was taken back or the user has
//! logged out. What no longer passes is cut, and nobody else's stream is touched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::model::clock::Clock;
use crate::proxy::authorize::decide::{Decision, Question, Viewer, decide, ends};
use crate::proxy::door::Permit;
use crate::proxy::route::facts::Uid;
use crate::proxy::route::freshness::Freshness;
use crate::proxy::route::metrics::{ReasonLabels, RouteMetrics};
use crate::proxy::route::table::{Route, Table};

/// Changes within this are looked at together. The bound for a cut is two seconds.
const TOGETHER: Duration = Duration::from_millis(20);
/// How often all are looked at without a change: logins end by themselves, and so does what we know of the cluster.
const EVERY: Duration = Duration::from_secs(1);

/// Whether a session still stands: not revoked, and signed by a key that is still there.
pub type Stands<V> = dyn Fn(&V) -> bool + Send + Sync;

/// All requests that last.
pub struct Registry<V> {
    table: Arc<Table>,
    freshness: Arc<Freshness>,
    clock: Arc<dyn Clock>,
    stands: Box<Stands<V>>,
    metrics: RouteMetrics,
    next: AtomicU64,
    /// By UID of the Workspace.
    groups: Mutex<HashMap<Uid, Group<V>>>,
}

/// The streams of one workspace.
struct Group<V> {
    name: Arc<str>,
    /// By which route they were decided last.
    decided: Option<Arc<Route>>,
    streams: HashMap<u64, Stream<V>>,
}

/// What a request was decided by.
pub struct Inputs<V> {
    /// The route.
    pub route: Arc<Route>,
    /// The port that its host stands for.
    pub port: Option<u16>,
    /// Who asked.
    pub viewer: Option<Arc<V>>,
}

struct Stream<V> {
    port: Option<u16>,
    viewer: Option<Arc<V>>,
    token: CancellationToken,
    why: Arc<OnceLock<&'static str>>,
}

/// The right of one request. It costs nothing until somebody waits for its end.
pub struct Right<V: Viewer + 'static> {
    registry: Arc<Registry<V>>,
    inputs: Inputs<V>,
    registered: OnceLock<Registered>,
}

/// What somebody who waits for the end shares with the registry.
struct Registered {
    number: u64,
    token: CancellationToken,
    why: Arc<OnceLock<&'static str>>,
}

impl<V: Viewer + 'static> Registry<V> {
    /// Nobody yet. `stands` says whether a session still does.
    pub fn new(
        table: Arc<Table>,
        freshness: Arc<Freshness>,
        clock: Arc<dyn Clock>,
        metrics: RouteMetrics,
        stands: Box<Stands<V>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table,
            freshness,
            clock,
            stands,
            metrics,
            next: AtomicU64::new(0),
            groups: Mutex::default(),
        })
    }

    /// The right of a request that was decided by these inputs.
    pub fn right(self: &Arc<Self>, inputs: Inputs<V>) -> Arc<Right<V>> {
        Arc::new(Right {
            registry: self.clone(),
            inputs,
            registered: OnceLock::new(),
        })
    }

    /// Decides again whenever routes change or one of `changes` does (revocations, keys), until it is told to stop.
    pub async fn run(&self, mut changes: Vec<watch::Receiver<u64>>, stop: CancellationToken) {
        changes.push(self.table.subscribe());
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let working = async {
            loop {
                let everybody = tokio::select! {
                    everybody = changed(&mut changes) => everybody,
                    _ = ticks.tick() => true,
                };
                self.decide_again(everybody);
                sleep(TOGETHER).await;
            }
        };
        tokio::select! {
            () = working => {}
            () = stop.cancelled() => {}
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let groups = self.lock();
        groups.values().map(|group| group.streams.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Decides again on everybody, or on those whose route is another one now.
    pub fn decide_again(&self, everybody: bool) {
        let mut cut = Vec::new();
        {
            let routes = self.table.load();
            let mut groups = self.lock();
            let now = self.clock.now();
            groups.retain(|uid, group| {
                let route = routes.find(&group.name).filter(|route| route.uid == *uid);
                let is_same = match (route, &group.decided) {
                    (Some(route), Some(decided)) => Arc::ptr_eq(route, decided),
                    _ => false,
                };
                if everybody || !is_same {
                    group.decided = route.cloned();
                    group.streams.retain(|_, stream| {
                        match self.judge(route.map(AsRef::as_ref), stream, now) {
                            Ok(()) => true,
                            Err(why) => {
                                let _ = stream.why.set(why);
                                cut.push((stream.token.clone(), why));
                                false
                            }
                        }
                    });
                }
                !group.streams.is_empty()
            });
        }
        // Whoever waits is woken outside of the lock: it will want to deregister.
        for (token, why) in cut {
            token.cancel();
            self.count_cut(why);
        }
    }

    fn count_cut(&self, reason: &'static str) {
        self.metrics.streams.dec();
        let labels = ReasonLabels { reason };
        self.metrics.cuts.get_or_create(&labels).inc();
    }

    /// Whether a stream still passes; why not.
    fn judge(
        &self,
        route: Option<&Route>,
        stream: &Stream<V>,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let Some(route) = route else {
            return Err("workspace_gone");
        };
        let viewer = stream.viewer.as_deref();
        let standing = viewer.filter(|viewer| (self.stands)(viewer));
        let decision = decide(&Question {
            route,
            port: stream.port,
            viewer: standing,
            stage: self.freshness.stage(),
        });
        match decision {
            Decision::Allow(allowed) => match ends(allowed.role, standing) {
                Some(end) if end <= now => Err("session_over"),
                _ => Ok(()),
            },
            _ if viewer.is_some() && standing.is_none() => Err("revoked"),
            Decision::SignIn | Decision::NotFound => Err("no_access"),
            Decision::Forbidden(_) => Err("port_closed"),
            Decision::Unsure(_) => Err("stale"),
        }
    }

    fn register(&self, inputs: &Inputs<V>) -> Registered {
        let registered = Registered {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            token: CancellationToken::new(),
            why: Arc::default(),
        };
        let stream = Stream {
            port: inputs.port,
            viewer: inputs.viewer.clone(),
            token: registered.token.clone(),
            why: registered.why.clone(),
        };
        let route = &inputs.route;
        let mut groups = self.lock();
        // Something may have changed since it was decided, and nobody else will look: decided here once more, while those
        // who look at changes have to wait.
        let routes = self.table.load();
        let current = routes
            .find(route.name())
            .filter(|current| current.uid == route.uid);
        self.metrics.streams.inc();
        if let Err(why) = self.judge(current.map(AsRef::as_ref), &stream, self.clock.now()) {
            drop(groups);
            let _ = stream.why.set(why);
            stream.token.cancel();
            self.count_cut(why);
            return registered;
        }
        let group = groups.entry(route.uid.clone()).or_insert_with(|| Group {
            name: route.key.name.clone(),
            decided: current.cloned(),
            streams: HashMap::new(),
        });
        group.streams.insert(registered.number, stream);
        registered
    }

    fn deregister(&self, uid: &Uid, number: u64) {
        let mut groups = self.lock();
        let Some(group) = groups.get_mut(uid) else {
            return;
        };
        if group.streams.remove(&number).is_some() {
            self.metrics.streams.dec();
        }
        if group.streams.is_empty() {
            groups.remove(uid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Group<V>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Viewer + 'static> Right<V> {
    /// Why it ended, once it has: for the log.
    pub fn why(&self) -> Option<&'static str> {
        self.registered.get()?.why.get().copied()
    }

    /// Whether it ended while somebody waited for that.
    pub fn is_over(&self) -> bool {
        let registered = self.registered.get();
        registered.is_some_and(|registered| registered.token.is_cancelled())
    }
}

impl<V: Viewer + 'static> Permit for Right<V> {
    fn cut(&self) -> WaitForCancellationFutureOwned {
        let register = || self.registry.register(&self.inputs);
        let registered = self.registered.get_or_init(register);
        registered.token.clone().cancelled_owned()
    }
}

impl<V: Viewer + 'static> Drop for Right<V> {
    fn drop(&mut self) {
        if let Some(registered) = self.registered.get() {
            let uid = &self.inputs.route.uid;
            self.registry.deregister(uid, registered.number);
        }
    }
}

/// Waits for any of these. Returns whether everybody is concerned: all but the last, the routes, say nothing of whom.
async fn changed(changes: &mut Vec<watch::Receiver<u64>>) -> bool {
    let (index, is_open) = {
        let waiting = changes.iter_mut().map(|change| Box::pin(change.changed()));
        let (outcome, index, _) = futures::future::select_all(waiting).await;
        (index, outcome.is_ok())
    };
    let everybody = index + 1 < changes.len();
    if !is_open {
        // Whoever told is gone: never again anything from there. The routes are ours and stay.
        let _ = changes.remove(index);
    }
    // Those that changed at the same time are seen in the next turn.
    everybody
}

#[cfg(test)]
mod tests;
