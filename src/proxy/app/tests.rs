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
        let client = Client {
            address: from.parse::<IpAddr>().unwrap(),
            is_tls: false,
            is_insecure_local: true,
            version: "1.1",
        };
        let host = self.app.site.parse(host.as_bytes()).unwrap();
        let request = Request {
            method: &Method::GET,
            target: "/",
            host: &host,
            fields: &lines,
            is_websocket: false,
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
