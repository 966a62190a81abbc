//! Proof that a pod is who we think: a session with its first process.
//!
//! A watch lags, and an address may be another user's pod by the time that it is dialled. So before the first connection
//! to a pod its first process has to prove itself by the key in the Workspace's status, and that connection is kept: while
//! it lasts, the address is that pod's. Its end says that whatever else leads there is to be given up.
//!
//! One session for each pod and proxy, shared by all requests, kept while somebody holds a [`Proof`], and closed some time
//! after.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use workstead_link::SUPERVISOR_PORT;

use crate::inside::dial::{DialError, Stay, Target, stay};
use crate::inside::identity::Identity;
use crate::inside::pin::PublicKeyDigest;
use crate::proxy::route::facts::{Key, Uid};
use crate::proxy::route::metrics::{ReasonLabels, RouteMetrics};
use crate::proxy::route::table::{Backend, Route, Routes, Table};

/// Changes of the table within this are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// How sessions are kept.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// Where first processes answer.
    pub port: u16,
    /// How many there are at most.
    pub most: usize,
    /// How long one is kept that nobody needs.
    pub idle: Duration,
    /// How long a failure is believed before it is tried again.
    pub pause: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            port: SUPERVISOR_PORT,
            most: 16 * 1024,
            idle: Duration::from_secs(5 * 60),
            pause: Duration::from_secs(1),
        }
    }
}

/// Why there is no proof.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProveError {
    /// No pod may be used.
    #[error("no pod answers for Workspace {0}")]
    NoPod(String),
    /// The controller has not told the key yet.
    #[error("the status of Workspace {0} does not name the key of its first process yet")]
    NoKey(String),
    /// We have no certificate.
    #[error(
        "the proxy has no certificate yet: the controller makes it, in Secret workstead-proxy-client"
    )]
    NoIdentity,
    /// Too many sessions, all in use.
    #[error("{0} sessions with first processes are in use, and no more are allowed")]
    Full(usize),
    /// It does not answer as it should.
    #[error(transparent)]
    Dial(Arc<DialError>),
    /// The proxy ends.
    #[error("the proxy is stopping")]
    Stopping,
}

impl ProveError {
    /// For counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPod(_) => "no_pod",
            Self::NoKey(_) => "no_key",
            Self::NoIdentity => "no_identity",
            Self::Full(_) => "full",
            Self::Stopping => "stopping",
            Self::Dial(error) => match **error {
                DialError::Prepare(..) | DialError::Configure(..) => "certificate",
                DialError::Connect(..) => "connect",
                DialError::Silent(..) => "silent",
                DialError::Handshake(..) => "handshake",
                DialError::Lost(..) | DialError::Ended(..) => "ended",
                DialError::TooLong(..) | DialError::Parse(..) => "protocol",
            },
        }
    }
}

/// That a pod is who we think, for as long as [`Proof::closed`] waits. Whoever uses the pod holds one.
#[derive(Debug)]
pub struct Proof(Arc<Session>);

#[derive(Debug)]
struct Session {
    closed: CancellationToken,
    users: AtomicUsize,
    idle_since: Mutex<Instant>,
}

impl Proof {
    fn of(session: &Arc<Session>) -> Self {
        session.users.fetch_add(1, Ordering::AcqRel);
        Self(session.clone())
    }

    /// Ends when the pod is no longer proved.
    pub fn closed(&self) -> WaitForCancellationFutureOwned {
        self.0.closed.clone().cancelled_owned()
    }

    /// Whether it is still proved.
    pub fn holds(&self) -> bool {
        !self.0.closed.is_cancelled()
    }
}

impl Clone for Proof {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        *lock(&self.0.idle_since) = Instant::now();
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who is to be proved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whom {
    workspace: Key,
    uid: Uid,
    address: SocketAddr,
    key: PublicKeyDigest,
}

/// Is told of each pod that is proved no more.
pub type Ended = dyn Fn(&Uid) + Send + Sync;

type Outcome = Option<Result<Arc<Session>, ProveError>>;

#[derive(Debug)]
struct Slot {
    whom: Whom,
    stop: CancellationToken,
    state: State,
}

#[derive(Debug)]
enum State {
    Opening(watch::Receiver<Outcome>),
    Open(Arc<Session>),
    Failed(ProveError, Instant),
}

/// All sessions of this proxy. Clones speak of the same.
#[derive(Clone)]
pub struct Supervisors(Arc<Inner>);

struct Inner {
    settings: SessionSettings,
    us: watch::Receiver<Option<Arc<Identity>>>,
    metrics: RouteMetrics,
    ended: Box<Ended>,
    /// By UID of the pod.
    slots: Mutex<HashMap<Uid, Slot>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Supervisors {
    /// None yet. They know us by the certificate in `us`. `ended` is told of each pod that is proved no more.
    pub fn new(
        settings: SessionSettings,
        us: watch::Receiver<Option<Arc<Identity>>>,
        metrics: RouteMetrics,
        ended: Box<Ended>,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            us,
            metrics,
            ended,
            slots: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// The proof for a workspace's pod, if it is there already. For every request: it waits for nothing.
    pub fn held(&self, route: &Route) -> Option<Proof> {
        let pod = route.pod()?;
        let slots = lock(&self.0.slots);
        let slot = slots.get(&pod.uid)?;
        match &slot.state {
            State::Open(session) if self.is_whom(&slot.whom, route) => {
                Some(Proof::of(session)).filter(Proof::holds)
            }
            _ => None,
        }
    }

    /// Has a workspace's pod prove itself, or waits for whoever asked before.
    ///
    /// # Errors
    /// When there is no pod, or it is not who it should be.
    pub async fn prove(&self, route: &Route) -> Result<Proof, ProveError> {
        let whom = self.whom(route)?;
        let Some(pod) = route.pod() else {
            return Err(ProveError::NoPod(whom.workspace.name.to_string()));
        };
        let mut opening = match self.ask(&pod.uid, whom)? {
            Asked::Open(proof) => return Ok(proof),
            Asked::Opening(opening) => opening,
        };
        let outcome = opening.wait_for(Option::is_some).await;
        match outcome.map(|outcome| outcome.clone()) {
            Ok(Some(Ok(session))) => Ok(Proof::of(&session)),
            Ok(Some(Err(error))) => Err(error),
            // The task that would have told is gone.
            Ok(None) | Err(_) => Err(ProveError::Stopping),
        }
    }

    /// Closes the sessions with pods that the table gave up, until it is told to stop; then all.
    pub async fn run(&self, table: &Table, stop: CancellationToken) {
        let mut changes = table.subscribe();
        let working = async {
            while changes.changed().await.is_ok() {
                changes.mark_unchanged();
                self.drop_gone(&table.load());
                sleep(TOGETHER).await;
            }
        };
        tokio::select! {
            () = working => {}
            () = stop.cancelled() => {}
        }
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// How many sessions there are or are being opened.
    pub fn len(&self) -> usize {
        lock(&self.0.slots).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn whom(&self, route: &Route) -> Result<Whom, ProveError> {
        let name = || route.name().to_owned();
        let pod = route.pod().ok_or_else(|| ProveError::NoPod(name()))?;
        Ok(Whom {
            workspace: route.key.clone(),
            uid: route.uid.clone(),
            address: SocketAddr::new(pod.address, self.0.settings.port),
            key: route.supervisor.ok_or_else(|| ProveError::NoKey(name()))?,
        })
    }

    /// Whether that is who it was.
    fn is_whom(&self, whom: &Whom, route: &Route) -> bool {
        let address = SocketAddr::new;
        let pod = route
            .pod()
            .map(|pod| address(pod.address, self.0.settings.port));
        whom.workspace == route.key
            && whom.uid == route.uid
            && Some(whom.address) == pod
            && Some(whom.key) == route.supervisor
    }

    fn ask(&self, pod: &Uid, whom: Whom) -> Result<Asked, ProveError> {
        if self.0.stop.is_cancelled() {
            return Err(ProveError::Stopping);
        }
        let mut slots = lock(&self.0.slots);
        if let Some(slot) = slots.get(pod)
            && slot.whom == whom
        {
            match &slot.state {
                State::Open(session) if !session.closed.is_cancelled() => {
                    return Ok(Asked::Open(Proof::of(session)));
                }
                State::Opening(opening) => return Ok(Asked::Opening(opening.clone())),
                State::Failed(error, until) if Instant::now() < *until => {
                    return Err(error.clone());
                }
                State::Open(_) | State::Failed(..) => {}
            }
        }
        let us = self.0.us.borrow().clone();
        let us = us.ok_or(ProveError::NoIdentity)?;
        // The pod has another address or key: what was proved was something else.
        if let Some(slot) = slots.remove(pod) {
            slot.close();
        }
        if slots.len() >= self.0.settings.most {
            make_room(&mut slots).ok_or(ProveError::Full(self.0.settings.most))?;
        }
        let (told, opening) = watch::channel(None);
        let stop = self.0.stop.child_token();
        let slot = Slot {
            whom: whom.clone(),
            stop: stop.clone(),
            state: State::Opening(opening.clone()),
        };
        slots.insert(pod.clone(), slot);
        let task = self.clone().open(pod.clone(), whom, us, told, stop);
        self.0.tasks.spawn(task);
        Ok(Asked::Opening(opening))
    }

    /// Opens a session and keeps it.
    async fn open(
        self,
        pod: Uid,
        whom: Whom,
        us: Arc<Identity>,
        told: watch::Sender<Outcome>,
        stop: CancellationToken,
    ) {
        let target = Target {
            address: whom.address,
            key: whom.key,
        };
        let opened = tokio::select! {
            opened = stay(&us, target) => opened.map_err(|error| ProveError::Dial(Arc::new(error))),
            () = stop.cancelled() => Err(ProveError::Stopping),
        };
        drop(us);
        let mut stay = match opened {
            Ok(stay) => stay,
            Err(error) => {
                self.failed(&pod, &stop, &error);
                told.send_replace(Some(Err(error)));
                return;
            }
        };
        let session = Arc::new(Session {
            closed: CancellationToken::new(),
            users: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
        });
        self.set(&pod, &stop, State::Open(session.clone()));
        told.send_replace(Some(Ok(session.clone())));
        self.0.metrics.supervisors.inc();
        self.keep(&pod, &session, &mut stay, &stop).await;
        session.closed.cancel();
        (self.0.ended)(&pod);
        self.remove(&pod, &stop);
        self.0.metrics.supervisors.dec();
    }

    /// Returns when the session is over: by the other end, by order, or since nobody has needed it for long.
    async fn keep(&self, pod: &Uid, session: &Session, stay: &mut Stay, stop: &CancellationToken) {
        let mut look = Instant::now() + self.0.settings.idle;
        let end = stay.end();
        tokio::pin!(end);
        loop {
            tokio::select! {
                error = &mut end => {
                    tracing::debug!(pod = &**pod, %error, "a first process is gone");
                    return;
                }
                () = stop.cancelled() => return,
                () = sleep_until(look) => {}
            }
            // Nobody can begin to use it while the slots are locked.
            let slots = lock(&self.0.slots);
            let over = *lock(&session.idle_since) + self.0.settings.idle;
            if session.users.load(Ordering::Acquire) == 0 && over <= Instant::now() {
                session.closed.cancel();
                drop(slots);
                return;
            }
            look = over.max(Instant::now() + self.0.settings.idle / 4);
        }
    }

    fn failed(&self, pod: &Uid, stop: &CancellationToken, error: &ProveError) {
        let reason = error.reason();
        let failures = &self.0.metrics.supervisor_failures;
        failures.get_or_create(&ReasonLabels { reason }).inc();
        let until = Instant::now() + self.0.settings.pause;
        self.set(pod, stop, State::Failed(error.clone(), until));
    }

    /// Changes a slot, if it is still that of this token.
    fn set(&self, pod: &Uid, token: &CancellationToken, state: State) {
        if let Some(slot) = lock(&self.0.slots).get_mut(pod)
            && is_same(&slot.stop, token)
        {
            slot.state = state;
        }
    }

    fn remove(&self, pod: &Uid, token: &CancellationToken) {
        let mut slots = lock(&self.0.slots);
        if slots
            .get(pod)
            .is_some_and(|slot| is_same(&slot.stop, token))
        {
            slots.remove(pod);
        }
    }

    fn drop_gone(&self, routes: &Routes) {
        let port = self.0.settings.port;
        lock(&self.0.slots).retain(|pod, slot| {
            let is_wanted = slot.is_wanted(pod, port, routes);
            if !is_wanted {
                slot.close();
            }
            is_wanted
        });
    }
}

enum Asked {
    Open(Proof),
    Opening(watch::Receiver<Outcome>),
}

impl Slot {
    fn close(&self) {
        // At once, not when its task comes to it: nobody may take it for proved meanwhile.
        if let State::Open(session) = &self.state {
            session.closed.cancel();
        }
        self.stop.cancel();
    }

    fn is_wanted(&self, pod: &Uid, port: u16, routes: &Routes) -> bool {
        let route = routes.find(&self.whom.workspace.name);
        let Some(route) = route.filter(|route| route.uid == self.whom.uid) else {
            return false;
        };
        match &route.backend {
            Backend::Pod(now) => {
                now.uid == *pod
                    && SocketAddr::new(now.address, port) == self.whom.address
                    && route.supervisor == Some(self.whom.key)
            }
            // Not ready for a moment: if it is gone, its session ends by itself.
            Backend::None => true,
            Backend::Refused(_) => false,
        }
    }
}

/// Every token of a slot is its own: a session that was replaced must not touch the one that came after it.
fn is_same(one: &CancellationToken, other: &CancellationToken) -> bool {
    one == other
}

/// Gives up the session that nobody has needed for longest, or a failure.
fn make_room(slots: &mut HashMap<Uid, Slot>) -> Option<()> {
    let idle = slots.iter().filter_map(|(pod, slot)| match &slot.state {
        State::Failed(_, until) => Some((*until, pod)),
        State::Open(session) if session.users.load(Ordering::Acquire) == 0 => {
            Some((*lock(&session.idle_since), pod))
        }
        State::Open(_) | State::Opening(_) => None,
    });
    let (_, pod) = idle.min()?;
    let pod = pod.clone();
    slots.remove(&pod)?.close();
    Some(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
