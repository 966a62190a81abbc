//! What the door refuses before anything is dialled. Nothing answers behind it: a request that may pass ends at the
//! proof that its pod is who we think.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::model::clock::Clock;
use crate::proxy::app::{App, Known};
use crate::proxy::authorize::live::Registry;
use crate::proxy::door::{Answer, Client, Door, Request, Verdict};
use crate::proxy::limits::rate::Limiter;
use crate::proxy::limits::streams::{Bounds as StreamBounds, Streams};
use crate::proxy::login::tests::World;
use crate::proxy::observe::access::AccessLog;
use crate::proxy::observe::metrics::{DecisionLabels, ProxyMetrics};
use crate::proxy::route::fixtures::{route, routes};
use crate::proxy::route::metrics::RouteMetrics;
use crate::proxy::route::supervisors::SessionSettings;
use crate::proxy::route::{Freshness, Route, Supervisors, Table};
use crate::proxy::session::Epochs;
use crate::proxy::session::claims::TicketClaims;
use crate::proxy::session::tests::{Lines, at, mk_login};
use crate::proxy::wake::activity::Activity;
use crate::proxy::wake::hold::{Bounds, Held};
use crate::proxy::wake::visits::Visits;

const HOST: &str = "api.ws.localhost";
/// A port of it that is open to everybody.
const PUBLIC_HOST: &str = "3003-api.ws.localhost";

/// A door with one workspace of Alice behind it.
struct House {
    app: App,
    route: Route,
    cookie: String,
}

/// What a request is for.
#[derive(Clone)]
struct What<'a> {
    method: Method,
    target: &'a str,
    is_websocket: bool,
}

const PAGE: What<'_> = What {
    method: Method::GET,
    target: "/",
    is_websocket: false,
};

struct Limits {
    per_user: u32,
    per_workspace: u32,
    refusals: u32,
}

const WIDE: Limits = Limits {
    per_user: 100,
    per_workspace: 100,
    refusals: 100,
};

fn nowhere() -> kube::Client {
    let address = "http://127.0.0.1:1".parse().unwrap();
    kube::Client::try_from(kube::Config::new(address)).unwrap()
}

fn known(clock: Arc<dyn Clock>, limits: &Limits) -> Arc<Known> {
    let (table, routes) = (Arc::new(Table::default()), RouteMetrics::default());
    let freshness = Arc::new(Freshness::new(clock.clone(), Duration::from_secs(3600)));
    let metrics = Arc::new(ProxyMetrics::new(&routes));
    let live = Registry::new(
        table.clone(),
        freshness.clone(),
        clock.clone(),
        routes.clone(),
        Box::new(|_| true),
    );
    let (_, nobody) = watch::channel(None);
    let settings = SessionSettings::default();
    let supervisors = Supervisors::new(settings, nobody, routes, Box::new(|_| {}));
    let bounds = Bounds {
        per_workspace: 1,
        per_user: 1,
        longest: Duration::ZERO,
    };
    Arc::new(Known {
        table,
        freshness,
        epochs: Arc::new(ArcSwap::from_pointee(Epochs::default())),
        live,
        supervisors,
        activity: Activity::new(nowhere(), clock.clone()),
        visits: Visits::new(nowhere(), clock.clone(), metrics.clone()).0,
        held: Held::new(bounds, metrics.clone()),
        streams: Streams::new(StreamBounds {
            per_user: limits.per_user,
            per_workspace: limits.per_workspace,
        }),
        refusals: Limiter::new(limits.refusals),
        access: AccessLog::off(metrics.clone()),
        metrics,
        keep_alive_paths: Vec::new(),
        clock,
    })
}

impl House {
    fn new(limits: &Limits) -> Self {
        let World {
            shared,
            site,
            sessions,
            login,
            ..
        } = World::local();
        let known = known(shared, limits);
        let endpoints = json!([{"name": "open", "port": 3003, "visibility": "Public"}]);
        let route = route(
            json!({"owner": "alice@example.com", "endpoints": endpoints}),
            json!({"maxVisibility": "Public"}),
        );
        known.table.publish(routes([route.clone()]));
        let ticket = TicketClaims {
            iss: site.auth_host().to_owned(),
            aud: HOST.to_owned(),
            ws_uid: route.uid.to_string(),
            nonce: String::new(),
            path: "/".to_owned(),
            who: mk_login(),
            grp: Vec::new(),
            iat: 0,
            exp: 0,
        };
        let set = sessions.open(ticket, at(0)).unwrap();
        let cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        Self {
            app: App::new(Arc::new(site), sessions, login, known),
            route,
            cookie,
        }
    }

    async fn ask(&self, from: &str, host: &str, lines: Lines) -> Answer {
        self.ask_for(from, host, PAGE, lines).await
    }

    async fn ask_for(&self, from: &str, host: &str, what: What<'_>, lines: Lines) -> Answer {
        let What {
            method,
            target,
            is_websocket,
        } = what;
        let client = Client {
            address: from.parse::<IpAddr>().unwrap(),
            is_tls: false,
            is_insecure_local: true,
            version: "1.1",
        };
        let host = self.app.site.parse(host.as_bytes()).unwrap();
        let request = Request {
            method: &method,
            target,
            host: &host,
            fields: &lines,
            is_websocket,
            body_length: Some(0),
            body: &[],
            client: &client,
        };
        match self.app.decide(request).await {
            Verdict::Answer(answer) => answer,
            Verdict::Forward(_) => panic!("nothing is there to forward to"),
        }
    }

    async fn status(&self, from: &str, host: &str) -> u16 {
        self.ask(from, host, Lines::default()).await.status().into()
    }

    /// A request of Alice's to her editor.
    async fn by_owner(&self) -> Answer {
        let lines = Lines::default().with("Cookie", &self.cookie);
        self.ask("192.0.2.1", HOST, lines).await
    }

    fn denied(&self, reason: &'static str) -> u64 {
        let decision = "deny";
        let labels = DecisionLabels { decision, reason };
        let metrics = &self.app.known.metrics;
        metrics.decisions.get_or_create(&labels).get()
    }
}

#[tokio::test]
async fn resource_dos_who_is_refused_very_often_is_not_decided_on_any_more() {
    let limits = Limits {
        refusals: 3,
        ..WIDE
    };
    let house = House::new(&limits);
    for host in ["gone.ws.localhost", "other.test", HOST] {
        let status = house.status("2001:db8::1", host).await;
        assert!(matches!(status, 401 | 404), "{status}");
    }
    // The whole network of that customer, whatever is asked for, and nobody else.
    let answer = house.ask("2001:db8::2", HOST, Lines::default()).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "60");
    assert_eq!(answer.headers()["x-workstead-proxy"], "1");
    assert_eq!(house.denied("refusals_per_address"), 1);
    assert_eq!(house.status("2001:db8:0:1::1", HOST).await, 401);
}

#[tokio::test]
async fn answers_that_are_no_refusals_are_not_counted_as_such() {
    let limits = Limits {
        refusals: 1,
        ..WIDE
    };
    let house = House::new(&limits);
    for _ in 0..3 {
        assert_eq!(house.by_owner().await.status(), 503, "no proof");
    }
}

#[tokio::test]
async fn resource_dos_one_person_has_so_many_requests_at_the_same_time() {
    let limits = Limits {
        per_user: 1,
        ..WIDE
    };
    let house = House::new(&limits);
    let streams = &house.app.known.streams;
    let place = streams.take("another", Some("alice@example.com")).unwrap();
    let answer = house.by_owner().await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(house.denied("streams_per_user"), 1);
    drop(place);
    assert_eq!(house.by_owner().await.status(), 503);
    assert_eq!(house.denied("no_proof"), 1);
    // What was not forwarded left no place taken.
    assert_eq!(house.by_owner().await.status(), 503);
    assert_eq!(house.denied("no_proof"), 2);
}

#[tokio::test]
async fn resource_dos_strangers_at_a_public_port_do_not_keep_the_owner_out() {
    let limits = Limits {
        per_workspace: 2,
        ..WIDE
    };
    let house = House::new(&limits);
    let streams = &house.app.known.streams;
    let _stranger = streams.take(&house.route.uid, None).unwrap();
    let answer = house.ask("192.0.2.9", PUBLIC_HOST, Lines::default()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(house.denied("streams_per_workspace"), 1);
    house.by_owner().await;
    assert_eq!(house.denied("no_proof"), 1, "the owner got through");
    let _owner = streams.take(&house.route.uid, Some("alice@example.com"));
    house.by_owner().await;
    assert_eq!(house.denied("streams_per_workspace"), 2);
}

/// Requests of every kind that is treated in a way of its own somewhere.
fn every_kind() -> Vec<(What<'static>, Lines)> {
    let lines = Lines::default;
    let of = |method, target| What {
        method,
        target,
        ..PAGE
    };
    let socket = What {
        is_websocket: true,
        ..PAGE
    };
    let origin = "http://api.ws.localhost";
    vec![
        (PAGE, lines()),
        (socket, lines().with("Origin", origin)),
        (PAGE, lines().with("Accept", "text/event-stream")),
        (PAGE, lines().with("Range", "bytes=0-1")),
        (of(Method::HEAD, "/"), lines()),
        (of(Method::OPTIONS, "/"), lines().with("Origin", origin)),
        (
            of(Method::POST, "/s/M"),
            lines()
                .with("Content-Type", "application/grpc")
                .with("Origin", origin),
        ),
        (
            of(Method::from_bytes(b"PROPFIND").unwrap(), "/"),
            lines().with("Origin", origin),
        ),
    ]
}

#[tokio::test]
async fn websocket_path_no_kind_of_request_has_another_way_in_than_a_page() {
    let house = House::new(&WIDE);
    for (count, (what, lines)) in every_kind().into_iter().enumerate() {
        let shown = format!("{} websocket: {}", what.method, what.is_websocket);
        let stranger = house
            .ask_for("192.0.2.9", HOST, what.clone(), lines.clone())
            .await;
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{shown}");
        let forged = lines.clone().with("Cookie", "__Host-wsd=forged");
        let forged = house.ask_for("192.0.2.9", HOST, what.clone(), forged).await;
        assert_eq!(forged.status(), StatusCode::UNAUTHORIZED, "{shown}");
        assert_eq!(
            house.denied("no_proof"),
            count as u64,
            "{shown}: a stranger got through"
        );
        let own = lines.with("Cookie", &house.cookie);
        let own = house.ask_for("192.0.2.1", HOST, what, own).await;
        assert_eq!(own.status(), StatusCode::SERVICE_UNAVAILABLE, "{shown}");
        assert_eq!(
            house.denied("no_proof"),
            count as u64 + 1,
            "{shown}: the owner did not get through"
        );
    }
}

#[tokio::test]
async fn auth_bypass_by_exception_nothing_that_a_request_says_of_itself_lets_it_in() {
    let house = House::new(&Limits {
        refusals: 10_000,
        ..WIDE
    });
    let claims = [
        ("User-Agent", "kube-probe/1.34"),
        ("User-Agent", "GoogleHC/1.0"),
        ("User-Agent", "ELB-HealthChecker/2.0"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Original-URL", "/healthz"),
        ("X-Forwarded-User", "alice@example.com"),
        ("X-Workstead-Assertion", "alice@example.com"),
        ("Authorization", "Basic YWxpY2VAZXhhbXBsZS5jb206"),
    ];
    let targets = [
        "/",
        "/healthz",
        "/ping",
        "/metrics",
        "/robots.txt",
        "/favicon.ico",
        "/.well-known/acme-challenge/x",
        "/a.css",
        "/?next=/healthz",
    ];
    for (name, value) in claims {
        for target in targets {
            for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
                let what = What {
                    method,
                    target,
                    ..PAGE
                };
                let lines = Lines::default().with(name, value);
                let answer = house.ask_for("127.0.0.1", HOST, what.clone(), lines).await;
                assert_eq!(
                    answer.status(),
                    StatusCode::UNAUTHORIZED,
                    "{name}: {value} {} {target}",
                    what.method
                );
            }
        }
    }
    assert_eq!(house.denied("no_proof"), 0);
}

#[tokio::test]
async fn dns_rebinding_a_name_that_is_not_ours_leads_nowhere_whoever_asks() {
    let house = House::new(&WIDE);
    for host in [
        "evil.test",
        "localhost",
        "127.0.0.1",
        "ws.localhost",
        "api.ws.localhost.evil.test",
        "auth.ws.localhost.evil.test",
        "api.evil.ws.localhost",
        "3000-auth.ws.localhost",
    ] {
        let lines = Lines::default().with("Cookie", &house.cookie);
        let answer = house.ask("192.0.2.1", host, lines).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{host}");
        assert!(!answer.headers().contains_key("set-cookie"), "{host}");
    }
    assert_eq!(house.denied("no_proof"), 0);
}
