//! How somebody gets a session: two legs, one on the workspace's host and one on the auth host, each bound to the browser
//! that began it. And how it ends.
//!
//! - `begin`: a request without a session; a navigation goes to the auth host, the rest gets 401.
//! - `auth_host`: what the auth host answers: the login request, the way back from the provider.
//! - `ticket`: from the auth host to the workspace's host, which opens the session.
//! - `oidc`: the provider: discovery, keys, codes, ID tokens.
//! - `link`: the login of one machine, without a provider.
//! - `sign_out`: sign-out here, everywhere, at the provider; and when the provider says so.
//! - `outside`: what it asks of the rest; `cluster`: what of that is written into Kubernetes.
//! - `query`, `answers`: addresses in and out, what is answered.

mod answers;
mod auth_host;
mod begin;
pub mod cluster;
pub mod link;
pub mod oidc;
pub mod outside;
pub(crate) mod query;
mod sign_out;
#[cfg(test)]
pub(crate) mod tests;
mod ticket;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;

use crate::model::clock::Clock;
use crate::model::entropy::Entropy;
use crate::proxy::door::{Answer, Client, Fields, Request};
use crate::proxy::host::Site;
use crate::proxy::limits::network_of;
use crate::proxy::limits::rate::Limiter;
use crate::proxy::session::claims::AuthSession;
use crate::proxy::session::cookies::{self, Found};
use crate::proxy::session::{Sessions, SignedIn, sealed};

use oidc::Provider;
use outside::{Directory, Effects, Event, Place, Record, Step};

/// Where the auth host takes login requests and links.
pub const LOGIN_PATH: &str = "/.workstead-proxy/login";
/// Where the provider sends browsers back to.
pub const PROVIDER_CALLBACK_PATH: &str = "/.workstead-proxy/oidc/callback";
/// Where the provider says that somebody signed out there.
pub const BACK_CHANNEL_PATH: &str = "/.workstead-proxy/oidc/back-channel-logout";
/// Where a workspace's host takes tickets.
pub const TICKET_PATH: &str = "/.workstead-proxy/callback";
/// Where somebody signs out, on any host.
pub const SIGN_OUT_PATH: &str = "/.workstead-proxy/sign-out";
/// Where somebody who signed out ends up, on the auth host.
pub const SIGNED_OUT_PATH: &str = "/.workstead-proxy/signed-out";

/// What the cookie of the auth session is bound to, beside its kind.
const AUTH_SESSION: &str = "auth";

/// How people prove who they are.
pub enum Means {
    /// At an OpenID Connect provider.
    Provider(Arc<Provider>),
    /// By a link from whoever holds the key ring. For the listener of one machine alone.
    Link,
}

/// How many logins there may be within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// From one address.
    pub per_address: u32,
    /// Of one person.
    pub per_user: u32,
}

/// What a login is made of.
pub struct Parts {
    /// The names it is for.
    pub site: Site,
    /// The sessions of those names.
    pub sessions: Arc<Sessions>,
    /// How people prove who they are.
    pub means: Means,
    /// What is known of workspaces.
    pub directory: Arc<dyn Directory>,
    /// What is written.
    pub effects: Arc<dyn Effects>,
    /// Who keeps account.
    pub record: Arc<dyn Record>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// How often.
    pub rates: Rates,
}

/// The login of one site: of the listener by TLS, or of the one of this machine.
pub struct Login {
    site: Site,
    sessions: Arc<Sessions>,
    means: Means,
    directory: Arc<dyn Directory>,
    effects: Arc<dyn Effects>,
    record: Arc<dyn Record>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    by_address: Limiter<IpAddr>,
    by_user: Limiter<String>,
}

impl Login {
    /// Of these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            site: parts.site,
            sessions: parts.sessions,
            means: parts.means,
            directory: parts.directory,
            effects: parts.effects,
            record: parts.record,
            clock: parts.clock,
            entropy: parts.entropy,
            by_address: Limiter::new(parts.rates.per_address),
            by_user: Limiter::new(parts.rates.per_user),
        }
    }

    /// Whether a path of a workspace's host is answered by [`Login::reserved`].
    pub fn owns(path: &str) -> bool {
        path == TICKET_PATH || path == SIGN_OUT_PATH
    }

    /// Whether the body of a request to one of our paths is read before it is answered.
    pub fn wants_body(method: &Method, path: &str) -> bool {
        *method == Method::POST && (path == SIGN_OUT_PATH || path == BACK_CHANNEL_PATH)
    }

    /// Answers a reserved path of a workspace's host. `place` is the workspace that the host stands for, `signed_in` the
    /// live session of the request, if it has one.
    pub async fn reserved(
        &self,
        request: &Request<'_>,
        place: &Place,
        signed_in: Option<&SignedIn>,
    ) -> Answer {
        if is_service_worker(request) {
            return no_service_worker();
        }
        match request.path() {
            TICKET_PATH => self.take_ticket(request, place),
            SIGN_OUT_PATH => self.sign_out_here(request, signed_in).await,
            _ => nothing_here(),
        }
    }

    /// Answers the auth host, whatever is asked of it.
    pub async fn auth_host(&self, request: &Request<'_>) -> Answer {
        if is_service_worker(request) {
            return no_service_worker();
        }
        match request.path() {
            LOGIN_PATH => match self.means {
                Means::Link if request.query().is_some_and(|q| q.contains("link=")) => {
                    self.take_link(request).await
                }
                _ => self.take_request(request).await,
            },
            PROVIDER_CALLBACK_PATH => self.take_code(request).await,
            BACK_CHANNEL_PATH => self.back_channel(request).await,
            SIGN_OUT_PATH => self.sign_out_at_auth_host(request).await,
            SIGNED_OUT_PATH => self.signed_out(request).await,
            _ => nothing_here(),
        }
    }

    /// The provider, where there is one: for readiness.
    pub fn provider(&self) -> Option<&Arc<Provider>> {
        match &self.means {
            Means::Provider(provider) => Some(provider),
            Means::Link => None,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The session of the auth host that a request shows, if it lives.
    fn auth_session(&self, fields: &dyn Fields, now: Timestamp) -> Option<AuthSession> {
        let session = self.any_auth_session(fields, now)?;
        (!self.directory.epochs().ends(&session.who)).then_some(session)
    }

    /// The same, ended or not: for those who sign out.
    fn any_auth_session(&self, fields: &dyn Fields, now: Timestamp) -> Option<AuthSession> {
        let value = cookie(fields, cookies::AUTH).one()?;
        let ring = self.sessions.keys().load();
        sealed::open(&ring, value, AUTH_SESSION, now).ok()
    }

    fn takes_address(&self, client: &Client, now: Timestamp) -> bool {
        self.by_address.take(&network_of(client.address), now)
    }

    fn note(&self, request: &Request<'_>, step: Step, outcome: &'static str, user: Option<&str>) {
        self.note_why(request, step, outcome, user, None);
    }

    fn note_why(
        &self,
        request: &Request<'_>,
        step: Step,
        outcome: &'static str,
        user: Option<&str>,
        note: Option<String>,
    ) {
        self.record.record(&Event {
            step,
            outcome,
            user,
            host: Some(&request.host.name),
            address: request.client.address,
            note,
        });
    }
}

/// The cookies of a request by one name.
fn cookie<'a>(fields: &'a dyn Fields, name: &str) -> Found<'a> {
    let mut found = Found::Absent;
    fields.each("cookie", &mut |field| found = found.and_in(field, name));
    found
}

/// The cookies of a request whose names begin so.
fn cookies_below<'a>(fields: &'a dyn Fields, prefix: &str) -> Vec<(&'a [u8], &'a [u8])> {
    let mut all = Vec::new();
    fields.each("cookie", &mut |field| all.push(field));
    cookies::find_all(all, prefix)
}

/// At most four attempts stay beside the one that is added: the oldest go. Their names begin with when they were made.
fn removals(fields: &dyn Fields, prefix: &str) -> Vec<HeaderValue> {
    /// More were not set by us, and an answer has an end.
    const MOST: usize = 20;
    let all = cookies_below(fields, prefix);
    let names = all
        .iter()
        .take(all.len().saturating_sub(4))
        .filter_map(|(name, _)| std::str::from_utf8(name).ok());
    names
        .filter_map(|name| cookies::remove(&format!("{prefix}{name}")).ok())
        .take(MOST)
        .collect()
}

/// A name for an attempt that sorts by when it was made, and that nobody guesses.
fn attempt_name(now: Timestamp, entropy: &dyn Entropy) -> String {
    let random = crate::proxy::session::entropy::random_text::<16>(entropy);
    format!("{:08x}{random}", now.as_second())
}

/// A service worker of ours would see every ticket that comes after.
fn is_service_worker(request: &Request<'_>) -> bool {
    let mut found = false;
    request.fields.each("service-worker", &mut |_| found = true);
    found
}

fn no_service_worker() -> Answer {
    answers::page(
        StatusCode::FORBIDDEN,
        "No service worker here",
        "This address serves no service worker.",
    )
}

fn nothing_here() -> Answer {
    answers::page(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "There is nothing at this address.",
    )
}

fn wrong_method() -> Answer {
    answers::page(
        StatusCode::METHOD_NOT_ALLOWED,
        "Not this way",
        "This address does not take such a request.",
    )
}

fn not_now() -> Answer {
    answers::page(
        StatusCode::SERVICE_UNAVAILABLE,
        "Sign-in is not possible right now",
        "The proxy has not heard from the Kubernetes API for a while, and lets nobody in on old news. Try again in a minute.",
    )
}
