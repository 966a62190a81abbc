//! A request on its way to a workspace: its right to go on, what counts as use, and what is written of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::api::activity::ActivityKind;
use crate::proxy::app::Known;
use crate::proxy::authorize::live::Right;
use crate::proxy::door::{Ended, Meter, Permit, Request};
use crate::proxy::limits::streams::Place;
use crate::proxy::observe::access::Line;
use crate::proxy::route::{Proof, Route};
use crate::proxy::session::SignedIn;
use crate::proxy::wake::activity::Use;

/// Numbers requests of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The right of a request, and the proof that its pod is who we think for as long as it lasts.
pub struct Pass {
    /// The right; none for what has nobody's right, such as a preflight that a port asked for.
    right: Option<Arc<Right<SignedIn>>>,
    /// Held, so that the session with the first process stays.
    proof: Proof,
    /// Its place among the requests that are under way: given back when the last byte is through.
    _place: Place,
}

impl Pass {
    /// Of these, for as long as the request lasts.
    pub fn new(right: Option<Arc<Right<SignedIn>>>, proof: Proof, place: Place) -> Self {
        Self {
            right,
            proof,
            _place: place,
        }
    }
}

impl Permit for Pass {
    fn cut(&self) -> WaitForCancellationFutureOwned {
        match &self.right {
            Some(right) => right.cut(),
            None => self.proof.closed(),
        }
    }
}

/// What is known of a request when it sets out.
pub struct Begin<'a> {
    /// The request.
    pub request: &'a Request<'a>,
    /// Where it goes.
    pub route: &'a Route,
    /// Who asks.
    pub viewer: Option<&'a SignedIn>,
    /// The port that its host stands for.
    pub port: Option<u16>,
    /// By which right.
    pub reason: &'static str,
    /// Whether it counts as use.
    pub counts: bool,
    /// When its head had come.
    pub since: Instant,
    /// The same, by the clock.
    pub at: Timestamp,
}

/// Counts and logs one request.
pub struct Tally {
    known: Arc<Known>,
    used: Option<Arc<Use>>,
    /// Taken by the end of the request.
    line: Mutex<Option<Line>>,
    since: Instant,
    is_websocket: bool,
    upgraded: AtomicBool,
}

impl Tally {
    /// Begins to count.
    pub fn begin(known: &Arc<Known>, begin: Begin<'_>) -> Self {
        let request = begin.request;
        let kind = if request.is_websocket {
            ActivityKind::WebSocket
        } else {
            ActivityKind::Http
        };
        let used = begin.counts.then(|| {
            known
                .activity
                .of(&begin.route.key, &begin.route.uid, kind, begin.port)
        });
        known
            .metrics
            .decide_seconds
            .observe(begin.since.elapsed().as_secs_f64());
        known.metrics.open(request.is_websocket).inc();
        Self {
            line: Mutex::new(known.access.is_on().then(|| line(&begin))),
            known: known.clone(),
            used,
            since: begin.since,
            is_websocket: request.is_websocket,
            upgraded: AtomicBool::new(false),
        }
    }
}

impl Tally {
    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(begin: &Begin<'_>) -> Line {
    let request = begin.request;
    let route = begin.route;
    Line {
        time: begin.at,
        event: "request",
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        client: request.client.address.to_string(),
        method: request.method.to_string(),
        host: request.host.name.clone(),
        path: request.path().to_owned(),
        version: request.client.version,
        user: begin.viewer.map(|viewer| viewer.subject().into()),
        workspace: Some(format!("{}/{}", route.key.namespace, route.key.name).into()),
        port: begin.port,
        decision: "allow",
        reason: begin.reason,
        status: None,
        received: 0,
        sent: 0,
        milliseconds: 0,
    }
}

impl Meter for Tally {
    fn touch(&self) {
        if let Some(used) = &self.used {
            used.touch();
        }
    }

    fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
        let line = self.line().clone();
        if let Some(mut line) = line {
            line.event = "open";
            line.status = Some(101);
            self.known.access.add(line);
        }
    }

    fn ended(&self, ended: &Ended) {
        let metrics = &self.known.metrics;
        metrics.open(self.is_websocket).dec();
        metrics.answered(ended.status).inc();
        if let Some(connect) = ended.connect {
            metrics.connect_seconds.observe(connect.as_secs_f64());
        }
        let line = self.line().take();
        if let Some(mut line) = line {
            if self.upgraded.load(Ordering::Relaxed) {
                line.event = "close";
            }
            line.status = ended.status;
            line.received = ended.received;
            line.sent = ended.sent;
            let taken = self.since.elapsed().as_millis();
            line.milliseconds = u64::try_from(taken).unwrap_or(u64::MAX);
            self.known.access.add(line);
        }
    }
}
