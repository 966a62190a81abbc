use std::collections::HashSet;

use futures::FutureExt as _;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::proxy::route::facts::Key;
use crate::proxy::route::fixtures::{Person, route, routes};
use crate::testkit::TestClock;

/// A table, a registry, and who is revoked.
struct World {
    table: Arc<Table>,
    clock: TestClock,
    freshness: Arc<Freshness>,
    revoked: Arc<Mutex<HashSet<String>>>,
    registry: Arc<Registry<Person>>,
    metrics: RouteMetrics,
}

fn spec() -> Value {
    json!({
        "shared": {"users": ["bob@example.com"], "groups": ["team-a"]},
        "endpoints": [
            {"name": "shared", "port": 3001, "visibility": "Shared"},
            {"name": "public", "port": 3003, "visibility": "Public"},
        ],
    })
}

fn named(name: &str, spec: Value) -> Route {
    let mut route = route(spec, json!({"maxVisibility": "Public"}));
    route.key = Key::new("team-a", name);
    route.uid = format!("uid-of-{name}").into();
    route
}

impl World {
    fn new() -> Self {
        let table = Arc::new(Table::default());
        let clock = TestClock::default();
        let life = Duration::from_secs(3600);
        let freshness = Arc::new(Freshness::new(Arc::new(clock.clone()), life));
        let revoked: Arc<Mutex<HashSet<String>>> = Arc::default();
        let metrics = RouteMetrics::default();
        let asked = revoked.clone();
        let registry = Registry::new(
            table.clone(),
            freshness.clone(),
            Arc::new(clock.clone()),
            metrics.clone(),
            Box::new(move |person: &Person| !asked.lock().unwrap().contains(&person.user)),
        );
        let world = Self {
            table,
            clock,
            freshness,
            revoked,
            registry,
            metrics,
        };
        world.publish([named("api", spec()), named("other", spec())]);
        world
    }

    /// These are all that there are. What did not change stays the same object, as the index keeps it.
    fn publish(&self, all: impl IntoIterator<Item = Route>) {
        let (before, after) = (self.table.snapshot(), routes(all));
        let mut changes = Vec::new();
        for route in before.iter() {
            if after.find(route.name()).is_none() {
                changes.push((route.key.name.clone(), None));
            }
        }
        for route in after.iter() {
            if before.find(route.name()) != Some(route) {
                changes.push((route.key.name.clone(), Some(route.clone())));
            }
        }
        self.table.publish(before.with(changes, None));
    }

    fn right(&self, name: &str, port: Option<u16>, viewer: Option<Person>) -> Arc<Right<Person>> {
        let route = self.table.load().find(name).unwrap().clone();
        self.registry.right(Inputs {
            route,
            port,
            viewer: viewer.map(Arc::new),
        })
    }

    /// A right that somebody waits for.
    fn stream(&self, name: &str, port: Option<u16>, viewer: Option<Person>) -> Arc<Right<Person>> {
        let right = self.right(name, port, viewer);
        assert!(right.cut().now_or_never().is_none());
        right
    }

    fn revoke(&self, user: &str) {
        self.revoked.lock().unwrap().insert(user.to_owned());
    }
}

fn alice() -> Option<Person> {
    Some(Person::new("alice@example.com", &[]))
}

fn bob() -> Option<Person> {
    Some(Person::new("bob@example.com", &[]))
}

fn member() -> Option<Person> {
    Some(Person::new("carol@example.com", &["team-a"]))
}

#[test]
fn stale_authorization_a_share_that_is_taken_back_cuts_its_streams_and_no_others() {
    let world = World::new();
    let owner = world.stream("api", None, alice());
    let shared = world.stream("api", None, bob());
    let by_group = world.stream("api", Some(3001), member());
    let elsewhere = world.stream("other", None, bob());
    let mut taken = spec();
    taken["shared"] = json!({"groups": ["team-a"]});
    world.publish([named("api", taken), named("other", spec())]);
    world.registry.decide_again(false);
    assert_eq!((shared.is_over(), shared.why()), (true, Some("no_access")));
    assert!(shared.cut().now_or_never().is_some());
    for kept in [&owner, &by_group, &elsewhere] {
        assert!(!kept.is_over());
    }
    assert_eq!((world.registry.len(), world.metrics.streams.get()), (3, 3));
}

#[test]
fn stale_authorization_a_public_port_that_is_closed_cuts_those_whom_nobody_knows() {
    let world = World::new();
    let anonymous = world.stream("api", Some(3003), None);
    let owner = world.stream("api", Some(3003), alice());
    let mut closed = spec();
    closed["endpoints"] = json!([{"name": "public", "port": 3003}]);
    world.publish([named("api", closed), named("other", spec())]);
    world.registry.decide_again(false);
    assert!(anonymous.is_over() && !owner.is_over());
}

#[test]
fn stale_authorization_a_cap_of_the_class_cuts_the_owners_stream_too() {
    let world = World::new();
    let mut open = named("api", spec());
    open.rules.undeclared_ports = true;
    world.publish([open, named("other", spec())]);
    let owner = world.stream("api", Some(4000), alice());
    world.publish([named("api", spec()), named("other", spec())]);
    world.registry.decide_again(false);
    assert_eq!(owner.why(), Some("port_closed"));
}

#[test]
fn stale_authorization_who_is_revoked_loses_every_stream() {
    let world = World::new();
    let streams = ["api", "other"].map(|name| world.stream(name, None, bob()));
    let owner = world.stream("api", None, alice());
    // What is everybody's stays open for them as well.
    let public = world.stream("api", Some(3003), bob());
    world.revoke("bob@example.com");
    world.registry.decide_again(true);
    for stream in streams {
        assert_eq!(stream.why(), Some("revoked"));
    }
    assert!(!owner.is_over() && !public.is_over());
}

#[test]
fn stale_authorization_a_workspace_that_comes_later_has_none_of_the_old_ones_streams() {
    let world = World::new();
    let stream = world.stream("api", None, alice());
    let mut next = named("api", spec());
    next.uid = "another".into();
    world.publish([next, named("other", spec())]);
    world.registry.decide_again(false);
    assert_eq!(stream.why(), Some("workspace_gone"));
    assert!(world.registry.is_empty());
}

#[test]
fn a_workspace_that_goes_takes_its_streams_along() {
    let world = World::new();
    let (gone, kept) = (
        world.stream("api", Some(3003), None),
        world.stream("other", Some(3003), None),
    );
    world.publish([named("other", spec())]);
    world.registry.decide_again(false);
    assert_eq!(gone.why(), Some("workspace_gone"));
    assert!(!kept.is_over());
}

#[test]
fn a_login_ends_its_streams_by_itself_and_what_rests_on_groups_sooner() {
    let world = World::new();
    let owner = world.stream("api", None, alice());
    let by_group = world.stream("api", None, member());
    world.clock.set("2026-01-01T01:00:00Z".parse().unwrap());
    world.freshness.heard();
    world.registry.decide_again(true);
    assert_eq!(by_group.why(), Some("session_over"));
    assert!(!owner.is_over());
    world.clock.set("2026-01-01T12:00:00Z".parse().unwrap());
    world.freshness.heard();
    world.registry.decide_again(true);
    assert_eq!(owner.why(), Some("session_over"));
}

#[test]
fn stale_authorization_when_the_cluster_is_not_heard_of_only_owners_stay() {
    let world = World::new();
    let owner = world.stream("api", None, alice());
    let shared = world.stream("api", None, bob());
    world.clock.advance(SignedDuration::from_secs(599));
    world.registry.decide_again(true);
    assert!(!shared.is_over());
    world.clock.advance(SignedDuration::from_secs(2));
    world.registry.decide_again(true);
    assert_eq!(shared.why(), Some("stale"));
    assert!(!owner.is_over());
    world.clock.advance(SignedDuration::from_secs(3600));
    world.registry.decide_again(true);
    assert_eq!(owner.why(), Some("stale"));
}

#[test]
fn what_changed_between_the_decision_and_the_wait_is_not_missed() {
    let world = World::new();
    let right = world.right("api", None, bob());
    world.publish([named("other", spec())]);
    world.registry.decide_again(false);
    // Nobody waited for it until now, so nobody looked at it.
    assert!(!right.is_over());
    assert!(right.cut().now_or_never().is_some());
    assert_eq!(right.why(), Some("workspace_gone"));
    assert_eq!((world.registry.len(), world.metrics.streams.get()), (0, 0));
}

#[test]
fn a_request_that_ends_leaves_nothing_behind() {
    let world = World::new();
    drop(world.right("api", None, alice()));
    let one = world.stream("api", None, alice());
    let two = world.stream("api", None, alice());
    // Waiting twice is one stream.
    assert!(two.cut().now_or_never().is_none());
    assert_eq!(world.registry.len(), 2);
    drop(one);
    assert_eq!(world.registry.len(), 1);
    drop(two);
    assert!(world.registry.is_empty());
    assert_eq!(world.metrics.streams.get(), 0);
}

#[tokio::test]
async fn stale_authorization_of_five_thousand_streams_those_without_a_right_are_cut_at_once() {
    let world = World::new();
    let streams: Vec<_> = (0..5000)
        .map(|number| {
            let viewer = if number % 2 == 0 { bob() } else { alice() };
            let name = if number % 4 < 2 { "api" } else { "other" };
            world.stream(name, None, viewer)
        })
        .collect();
    let stop = CancellationToken::new();
    let (revocations, changed) = watch::channel(0);
    let mut tasks = tokio::task::JoinSet::new();
    let (registry, stopped) = (world.registry.clone(), stop.clone());
    tasks.spawn(async move { registry.run(vec![changed], stopped).await });
    // Those of Bob at one workspace, then all of Bob's.
    let all_cut = async |every: usize| {
        let cut = streams.iter().step_by(every).map(|stream| stream.cut());
        let cut = futures::future::join_all(cut);
        let bound = Duration::from_secs(2);
        tokio::time::timeout(bound, cut).await.unwrap();
        streams.iter().filter(|stream| stream.is_over()).count()
    };
    let mut taken = spec();
    taken["shared"] = json!({});
    world.publish([named("api", taken), named("other", spec())]);
    assert_eq!(all_cut(4).await, 1250);
    world.revoke("bob@example.com");
    revocations.send_replace(1);
    assert_eq!(all_cut(2).await, 2500);
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
}
