//! The door: what becomes of each request.
//!
//! One for each listener, since each has names, sessions and a login of its own; what they know of the cluster is shared.
//!
//! - `workspace`: a request to a host of a workspace: whose it is, who asks, may they, and is it there.
//! - `view`: what the login asks of workspaces, and what decisions ask of a session.
//! - `pass`: the right of a forwarded request, and what is counted and logged of it.
//! - `run`: the life of a proxy process; `listening`: where it listens; `feeds`: what comes in and goes out meanwhile.

mod feeds;
mod listening;
mod pass;
pub mod run;
#[cfg(test)]
mod tests;
mod view;
mod workspace;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, StatusCode};

use crate::model::clock::Clock;
use crate::proxy::authorize::live::Registry;
use crate::proxy::door::{Answer, Client, Door, Failure, MARK, RESERVED_PREFIX, Request, Verdict};
use crate::proxy::host::{Site, Target};
use crate::proxy::limits::network_of;
use crate::proxy::limits::rate::{Limiter, seconds_left};
use crate::proxy::limits::streams::Streams;
use crate::proxy::login::Login;
use crate::proxy::observe::access::AccessLog;
use crate::proxy::observe::metrics::{
    DecisionLabels, ProxyMetrics, RequestLabels, RuleLabels, class_of,
};
use crate::proxy::pages;
use crate::proxy::route::{Freshness, Supervisors, Table};
use crate::proxy::session::{Epochs, Sessions, SignedIn};
use crate::proxy::wake::activity::Activity;
use crate::proxy::wake::hold::Held;
use crate::proxy::wake::visits::Visits;

/// What all listeners of a proxy know.
pub struct Known {
    /// Which host leads where.
    pub table: Arc<Table>,
    /// How old that is.
    pub freshness: Arc<Freshness>,
    /// What ended before its time.
    pub epochs: Arc<ArcSwap<Epochs>>,
    /// Requests that last.
    pub live: Arc<Registry<SignedIn>>,
    /// Proofs that pods are who we think.
    pub supervisors: Supervisors,
    /// Who uses what.
    pub activity: Arc<Activity>,
    /// Visits that ask for a start.
    pub visits: Arc<Visits>,
    /// Requests that wait for a start.
    pub held: Arc<Held>,
    /// Requests that are under way.
    pub streams: Streams,
    /// Answers 401 and 404, by the address that got them.
    pub refusals: Limiter<IpAddr>,
    /// Counters.
    pub metrics: Arc<ProxyMetrics>,
    /// The access log.
    pub access: AccessLog,
    /// Paths that are no sign of anybody's being there.
    pub keep_alive_paths: Vec<String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The door of one listener.
pub struct App {
    site: Arc<Site>,
    sessions: Arc<Sessions>,
    login: Login,
    known: Arc<Known>,
}

impl App {
    /// Of these parts.
    pub fn new(site: Arc<Site>, sessions: Arc<Sessions>, login: Login, known: Arc<Known>) -> Self {
        Self {
            site,
            sessions,
            login,
            known,
        }
    }

    /// The login of its site.
    pub fn login(&self) -> &Login {
        &self.login
    }

    async fn answer(&self, request: &Request<'_>) -> Verdict {
        match &request.host.target {
            Target::Unknown => Verdict::Answer(pages::not_found()),
            // A login is rare, and what it needs while it goes on is large: no other request has to carry it.
            Target::Auth => Verdict::Answer(Box::pin(self.login.auth_host(request)).await),
            Target::Workspace { port, .. } => self.workspace(*request, *port).await,
        }
    }

    /// Whoever was refused very often may be trying names or cookies: it is not even looked at what they ask for.
    fn too_many_refusals(&self, request: &Request<'_>) -> Option<Answer> {
        let now = self.known.clock.now();
        let address = network_of(request.client.address);
        if !self.known.refusals.is_spent(&address, now) {
            return None;
        }
        self.count("deny", "refusals_per_address");
        Some(pages::too_many_refusals(request, seconds_left(now)))
    }

    fn count_refusal(&self, request: &Request<'_>, answer: &Answer) {
        if matches!(
            answer.status(),
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND
        ) {
            let address = network_of(request.client.address);
            self.known.refusals.take(&address, self.known.clock.now());
        }
    }

    fn count(&self, decision: &'static str, reason: &'static str) {
        let labels = DecisionLabels { decision, reason };
        self.known.metrics.decisions.get_or_create(&labels).inc();
    }

    fn count_own(&self, answer: &Answer) {
        let labels = RequestLabels {
            by: "own",
            status: class_of(answer.status().as_u16()),
        };
        self.known.metrics.requests.get_or_create(&labels).inc();
    }
}

impl Door for App {
    fn wants_body(&self, request: &Request<'_>) -> bool {
        // What is not to be read is a program's.
        let is_ours = match request.host.target {
            Target::Auth => true,
            Target::Workspace { .. } => request.path().starts_with(RESERVED_PREFIX),
            Target::Unknown => false,
        };
        is_ours && request.method == Method::POST
    }

    async fn decide(&self, request: Request<'_>) -> Verdict {
        let verdict = match self.too_many_refusals(&request) {
            Some(answer) => Verdict::Answer(answer),
            None => self.answer(&request).await,
        };
        match verdict {
            Verdict::Answer(mut answer) => {
                self.count_own(&answer);
                self.count_refusal(&request, &answer);
                answer
                    .headers_mut()
                    .insert(MARK, HeaderValue::from_static("1"));
                Verdict::Answer(answer)
            }
            forward => forward,
        }
    }

    fn failed(&self, request: Request<'_>, failure: Failure) -> Answer {
        let mut answer = pages::no_response(&request, failure);
        self.count_own(&answer);
        answer
            .headers_mut()
            .insert(MARK, HeaderValue::from_static("1"));
        answer
    }

    fn refused(&self, client: &Client, rule: &'static str) {
        let labels = RuleLabels { rule };
        self.known.metrics.refused.get_or_create(&labels).inc();
        tracing::debug!(address = %client.address, rule, "refused a request");
    }
}

/// What is said where nothing may be let in on old news.
fn unsure() -> Answer {
    pages::message(
        StatusCode::SERVICE_UNAVAILABLE,
        "Not right now",
        "The proxy has not heard from the Kubernetes API for a while, and lets nobody in on old news. It tries again by itself.",
    )
}
