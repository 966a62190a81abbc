//! A request to a host of a workspace.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::access::EndpointProtocol;
use crate::api::workspace::ActualState;
use crate::model::access::Port;
use crate::proxy::app::pass::{Begin, Pass, Tally};
use crate::proxy::app::{App, unsure, view};
use crate::proxy::authorize::decide::{Allowed, Decision, Forbidden, Question, Role, decide};
use crate::proxy::authorize::live::Inputs;
use crate::proxy::authorize::origin::{self, Context, Preflight};
use crate::proxy::door::{
    Answer, Order, RESERVED_PREFIX, Request, UpstreamKey, UpstreamProtocol, Verdict,
};
use crate::proxy::host::Target;
use crate::proxy::limits::streams::{Place, TooMany};
use crate::proxy::login::Login;
use crate::proxy::pages;
use crate::proxy::route::{Proof, Route};
use crate::proxy::session::{Look, SignedIn};
use crate::proxy::wake::hold::Waited;

/// Who asks, and what they showed.
struct Asking {
    look: Look,
    viewer: Option<Arc<SignedIn>>,
}

/// What a request comes to.
enum Outcome {
    /// This.
    Verdict(Verdict),
    /// It may pass, but nothing answers there yet.
    NotThere(Arc<Route>, Allowed, Asking),
}

impl App {
    /// Decides; and where a workspace is not there yet, wakes it, waits for it and decides anew.
    pub(super) async fn workspace(&self, request: Request<'_>, port: Option<u16>) -> Verdict {
        if !self.known.table.is_synced() {
            return Verdict::Answer(unsure());
        }
        match self.attempt(&request, port).await {
            Outcome::Verdict(verdict) => verdict,
            Outcome::NotThere(route, allowed, asking) => {
                self.wake(&request, &route, allowed, &asking);
                if !is_held(&request) {
                    return Verdict::Answer(pages::not_running(&request, &route, allowed));
                }
                let who = asking.viewer.as_deref().map(SignedIn::subject);
                let wait = self.known.held.wait(&self.known.table, &route, who);
                match Box::pin(wait).await {
                    Waited::Ready => match Box::pin(self.attempt(&request, port)).await {
                        Outcome::Verdict(verdict) => verdict,
                        Outcome::NotThere(route, allowed, _) => {
                            Verdict::Answer(pages::not_running(&request, &route, allowed))
                        }
                    },
                    Waited::Over | Waited::Full => {
                        Verdict::Answer(pages::not_running(&request, &route, allowed))
                    }
                }
            }
        }
    }

    /// 1. Whose host is it? 2. Does the browser only ask what it may do? 3. Who asks? 4. Is it a path of ours? 5. May they?
    /// 6. Did a page of somebody else make the request? 7. Is the workspace there? 8. Forward.
    async fn attempt(&self, request: &Request<'_>, port: Option<u16>) -> Outcome {
        let since = Instant::now();
        let now = self.known.clock.now();
        let routes = self.known.table.snapshot();
        let Some(route) = routes.of_host(request.host).cloned() else {
            return self.denied("not_found", pages::not_found());
        };
        let context = Context {
            site: &self.site,
            routes: &routes,
            route: &route,
            port,
        };
        let visibility = route.port(port).visibility(route.shared(), &route.rules);
        match origin::preflight(request, &context, visibility) {
            Some(Preflight::Refuse) => return self.denied("preflight", pages::no_preflight()),
            Some(Preflight::Forward) => {
                let forwarded = self.forward_preflight(request, &route, port, since, now);
                return Box::pin(forwarded).await;
            }
            None => {}
        }
        let asking = self.asking(request, &route, now);
        if request.path().starts_with(RESERVED_PREFIX) {
            return Outcome::Verdict(Verdict::Answer(
                Box::pin(self.own_path(request, &route, port, &asking)).await,
            ));
        }
        let decision = self.decision(&route, port, &asking);
        let allowed = match decision {
            Decision::Allow(allowed) => allowed,
            Decision::SignIn => {
                return self.denied("sign_in", self.login.begin(request, &asking.look));
            }
            Decision::NotFound => return self.denied("not_found", pages::not_found()),
            Decision::Forbidden(why) => return self.denied(decision.reason(), forbidden(why)),
            Decision::Unsure(_) => return self.denied("stale", unsure()),
        };
        if allowed.role != Role::Public
            && let Err(foreign) = origin::check(request, &context)
        {
            return self.denied(foreign.reason(), pages::foreign(foreign));
        }
        if allowed.port.is_none() && is_running(&route) {
            return self.denied("no_editor", pages::no_editor(request, &route));
        }
        let Some(number) = allowed.port.filter(|_| is_running(&route)) else {
            return Outcome::NotThere(route, allowed, asking);
        };
        let who = asking
            .viewer
            .as_deref()
            .filter(|_| allowed.role != Role::Public);
        let place = match self.place(&route, who) {
            Ok(place) => place,
            Err(what) => return self.crowded(request, what),
        };
        let reached = match self.reach(request, &route, number).await {
            Ok(reached) => reached,
            Err(answer) => return self.denied("no_proof", answer),
        };
        self.known.metrics.allowed(allowed.role).inc();
        let begin = Begin {
            request,
            route: &route,
            viewer: asking.viewer.as_deref(),
            port,
            reason: allowed.role.as_str(),
            counts: self.counts(request, allowed.role),
            since,
            at: now,
        };
        let meter = Arc::new(Tally::begin(&self.known, begin));
        let set_cookie = self.renewed(&asking, allowed.role, now);
        let inputs = Inputs {
            route,
            port,
            viewer: asking.viewer.filter(|_| allowed.role != Role::Public),
        };
        let right = Some(self.known.live.right(inputs));
        let permit = Arc::new(Pass::new(right, reached.proof, place));
        Outcome::Verdict(Verdict::Forward(Box::new(Order {
            upstream: reached.key,
            address: reached.address,
            protocol: upstream_protocol(allowed.protocol),
            set_cookie,
            permit,
            meter,
        })))
    }

    /// A preflight carries no cookie, so nobody's right is asked: the port said that it answers them itself.
    async fn forward_preflight(
        &self,
        request: &Request<'_>,
        route: &Arc<Route>,
        port: Option<u16>,
        since: Instant,
        now: Timestamp,
    ) -> Outcome {
        let declared = match route.port(port) {
            Port::Declared(endpoint) => endpoint,
            Port::Editor | Port::Undeclared(_) | Port::Internal => {
                return self.denied("preflight", pages::no_preflight());
            }
        };
        // It wakes nothing, and waits for nothing.
        if !is_running(route) {
            return self.denied("preflight", pages::no_preflight());
        }
        let place = match self.place(route, None) {
            Ok(place) => place,
            Err(what) => return self.crowded(request, what),
        };
        let reached = match self.reach(request, route, declared.port).await {
            Ok(reached) => reached,
            Err(answer) => return self.denied("no_proof", answer),
        };
        self.count("allow", "preflight");
        let begin = Begin {
            request,
            route,
            viewer: None,
            port,
            reason: "preflight",
            counts: false,
            since,
            at: now,
        };
        Outcome::Verdict(Verdict::Forward(Box::new(Order {
            upstream: reached.key,
            address: reached.address,
            protocol: upstream_protocol(declared.protocol.unwrap_or_default()),
            set_cookie: None,
            meter: Arc::new(Tally::begin(&self.known, begin)),
            permit: Arc::new(Pass::new(None, reached.proof, place)),
        })))
    }

    fn asking(&self, request: &Request<'_>, route: &Route, now: Timestamp) -> Asking {
        let epochs = self.known.epochs.load();
        let (fields, host) = (request.fields, &request.host.name);
        let look = self.sessions.look(fields, host, &route.uid, &epochs, now);
        let viewer = match &look {
            Look::Valid(signed_in) => Some(signed_in.clone()),
            Look::None | Look::Invalid(_) => None,
        };
        Asking { look, viewer }
    }

    fn decision(&self, route: &Route, port: Option<u16>, asking: &Asking) -> Decision {
        decide(&Question {
            route,
            port,
            viewer: asking.viewer.as_deref(),
            stage: self.known.freshness.stage(),
        })
    }

    /// Paths of ours on a workspace's host: the way back from a login, the sign-out, and how a start goes on.
    async fn own_path(
        &self,
        request: &Request<'_>,
        route: &Arc<Route>,
        port: Option<u16>,
        asking: &Asking,
    ) -> Answer {
        if Login::owns(request.path()) {
            let place = view::place(route);
            let viewer = asking.viewer.as_deref();
            return self.login.reserved(request, &place, viewer).await;
        }
        match self.decision(route, port, asking) {
            Decision::Allow(allowed) => pages::own_path(request, route, allowed),
            Decision::SignIn => self.login.begin(request, &asking.look),
            _ => pages::not_found(),
        }
    }

    /// A place among the requests that are under way.
    fn place(&self, route: &Route, who: Option<&SignedIn>) -> Result<Place, TooMany> {
        let streams = &self.known.streams;
        streams.take(&route.uid, who.map(SignedIn::subject))
    }

    fn crowded(&self, request: &Request<'_>, what: TooMany) -> Outcome {
        self.denied(what.reason(), pages::too_many_streams(request, what))
    }

    /// Where a port of the workspace's pod is, once its first process has proved that the pod is the workspace's.
    async fn reach(
        &self,
        request: &Request<'_>,
        route: &Route,
        port: u16,
    ) -> Result<Reached, Answer> {
        let supervisors = &self.known.supervisors;
        let proof = match supervisors.held(route) {
            Some(proof) => proof,
            None => Box::pin(supervisors.prove(route)).await.map_err(|error| {
                let workspace = format!("{}/{}", route.key.namespace, route.key.name);
                tracing::warn!(%workspace, %error, "a pod did not prove that it is a workspace's");
                pages::no_proof(request, error.reason())
            })?,
        };
        let Some(pod) = route.pod() else {
            return Err(pages::no_proof(request, "no_pod"));
        };
        Ok(Reached {
            key: UpstreamKey {
                workspace: route.uid.clone(),
                pod: pod.uid.clone(),
                port,
            },
            address: SocketAddr::new(pod.address, port),
            proof,
        })
    }

    /// The cookie that goes on from here, for pages that stay open.
    fn renewed(&self, asking: &Asking, role: Role, now: Timestamp) -> Option<HeaderValue> {
        let viewer = asking.viewer.as_deref()?;
        if !self.known.freshness.stage().may_begin() {
            return None;
        }
        self.sessions.renewed(viewer, role == Role::ByGroup, now)
    }

    /// Whether a request says that somebody is there.
    fn counts(&self, request: &Request<'_>, role: Role) -> bool {
        let path = request.path();
        role != Role::Public
            && *request.method != Method::OPTIONS
            && !self.known.keep_alive_paths.iter().any(|own| own == path)
    }

    /// Asks for a start, where this request may.
    fn wake(&self, request: &Request<'_>, route: &Arc<Route>, allowed: Allowed, asking: &Asking) {
        let is_public = allowed.role == Role::Public;
        let public_may = match route.port(port_of(request)) {
            Port::Declared(endpoint) => endpoint.public_wake.unwrap_or(false),
            Port::Editor | Port::Undeclared(_) | Port::Internal => false,
        };
        if *request.method == Method::OPTIONS
            || (is_public && !public_may)
            || !self.known.freshness.stage().may_begin()
        {
            return;
        }
        let by = asking.viewer.as_deref().filter(|_| !is_public);
        self.known.visits.ask(route, by.map(SignedIn::subject));
    }

    fn denied(&self, reason: &'static str, answer: Answer) -> Outcome {
        let decision = if reason == "sign_in" { reason } else { "deny" };
        self.count(decision, reason);
        Outcome::Verdict(Verdict::Answer(answer))
    }
}

/// Where a request goes.
struct Reached {
    key: UpstreamKey,
    address: SocketAddr,
    proof: Proof,
}

fn port_of(request: &Request<'_>) -> Option<u16> {
    match request.host.target {
        Target::Workspace { port, .. } => port,
        Target::Auth | Target::Unknown => None,
    }
}

/// Whether something may be dialled: a pod is there, and the controller says that it runs.
fn is_running(route: &Route) -> bool {
    let runs = matches!(route.status.actual_state, Some(ActualState::Running));
    runs && route.pod().is_some()
}

/// Whether a request waits for a start instead of a page: nobody would look at the page.
fn is_held(request: &Request<'_>) -> bool {
    const SMALL_BODY: u64 = 64 * 1024;
    if request.is_websocket {
        return true;
    }
    if request.navigation().is_some() || *request.method == Method::OPTIONS {
        return false;
    }
    request
        .body_length
        .is_some_and(|length| length <= SMALL_BODY)
        || matches!(*request.method, Method::GET | Method::HEAD)
}

fn upstream_protocol(protocol: EndpointProtocol) -> UpstreamProtocol {
    match protocol {
        EndpointProtocol::Http => UpstreamProtocol::Http,
        EndpointProtocol::Https => UpstreamProtocol::Https,
        EndpointProtocol::H2c => UpstreamProtocol::H2c,
    }
}

fn forbidden(why: Forbidden) -> Answer {
    let text = match why {
        Forbidden::InternalPort => "This port belongs to Workstead itself and opens to nobody.",
        Forbidden::UndeclaredPort => {
            "No endpoint of the workspace names this port, and its class does not open such ports. Add it to spec.endpoints."
        }
    };
    pages::message(StatusCode::FORBIDDEN, "This port is closed", text)
}
