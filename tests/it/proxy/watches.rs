//! Discovery by watches: the objects are made by the real controller and the real controller-manager.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workstead::api::Workspace;
use workstead::api::access::Visibility;
use workstead::api::workspace::ActualState;
use workstead::controllers::clock::SystemClock;
use workstead::model::access::AccessRules;
use workstead::proxy::route::index::Settings;
use workstead::proxy::route::metrics::RouteMetrics;
use workstead::proxy::route::report;
use workstead::proxy::route::watches::{Handed, Kept, Revocations, Scope, WatchSettings, Watches};
use workstead::proxy::route::{Backend, Denied, Freshness, Route, Stage, Table};
use workstead::testkit::kubelet::mk_node;
use workstead::testkit::wait::eventually;

use crate::controllers::TEST_LABEL;
use crate::object;
use crate::workspace::World;

/// Watches that run.
struct Watching {
    table: Arc<Table>,
    freshness: Arc<Freshness>,
    keys: Handed<Kept>,
    revocations: Handed<Revocations>,
    missing: watch::Receiver<std::collections::BTreeSet<String>>,
    _tasks: JoinSet<()>,
}

impl Watching {
    fn start(world: &World, client: Client) -> Self {
        let settings = WatchSettings {
            namespace: world.namespace.clone(),
            scope: Some(Scope {
                namespace: world.namespace.clone(),
                class_labels: Some(format!("{TEST_LABEL}={}", world.namespace)),
            }),
            secrets: vec!["workstead-proxy-keys".to_owned()],
            index: Settings {
                denied: Denied::new(&[], []),
                reserved: Vec::new(),
                denied_ports: Arc::default(),
            },
        };
        let table = Arc::new(Table::default());
        let freshness = Arc::new(Freshness::new(
            Arc::new(SystemClock),
            Duration::from_secs(3600),
        ));
        let (notices, heard) = mpsc::channel(report::WAITING);
        let watches = Watches::new(
            client.clone(),
            settings,
            table.clone(),
            freshness.clone(),
            RouteMetrics::default(),
            notices,
        );
        let keys = watches.secret("workstead-proxy-keys").unwrap();
        let (revocations, missing) = (watches.revocations(), watches.missing());
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tasks.spawn(async move { watches.run(stopped).await });
        tasks.spawn(async move { report::publish(client, "proxy-1", heard, stop).await });
        Self {
            table,
            freshness,
            keys,
            revocations,
            missing,
            _tasks: tasks,
        }
    }

    async fn until(&self, what: &str, is: impl Fn(Option<&Route>) -> bool) {
        eventually(what, async || {
            let routes = self.table.load();
            is(routes.find("dev").map(AsRef::as_ref)).then_some(())
        })
        .await;
    }
}

/// Gives a pod an address, as its node does.
async fn give_address(world: &World, pod: &str, address: &str) {
    let status = json!({"status": {
        "podIP": address, "podIPs": [{"ip": address}],
        "hostIP": "192.168.99.1", "hostIPs": [{"ip": "192.168.99.1"}],
    }});
    world
        .api::<Pod>()
        .patch_status(pod, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

/// Lets a Workspace run with an endpoint, on a node: without one its pod would be in no EndpointSlice. Gives its pod.
async fn run(world: &World, address: &str) -> String {
    let endpoints = json!({"endpoints": [{"name": "web", "port": 3000}]});
    world.create("dev", endpoints).await;
    let pod = world.pod("dev", None).await;
    mk_node(world.client.clone(), &world.namespace)
        .await
        .unwrap();
    world.kubelet.bind(&pod, &world.namespace).await.unwrap();
    world.make_ready("dev").await;
    world.until_state("dev", ActualState::Running).await;
    give_address(world, &pod, address).await;
    pod
}

fn leads_to(route: Option<&Route>, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    let pod = route.and_then(|route| route.pod());
    pod.is_some_and(|pod| pod.address == address)
}

#[tokio::test]
async fn a_workspace_is_routed_while_it_runs_and_every_change_is_seen() {
    let world = World::with_class("routed", json!({"access": {"undeclaredPorts": true}})).await;
    let process = world.start();
    let watching = Watching::start(&world, world.client.clone());
    run(&world, "10.77.0.5").await;
    watching
        .until("a route to the pod", |route| leads_to(route, "10.77.0.5"))
        .await;
    let route = watching.table.load().find("dev").cloned().unwrap();
    assert!(route.supervisor.is_some() && route.rules.undeclared_ports);
    assert_eq!(route.owner(), "alice@example.com");
    assert_eq!(watching.freshness.stage(), Stage::Fresh);

    let endpoints = json!([{"name": "web", "port": 3000, "visibility": "Shared"}]);
    let change = json!({"spec": {"endpoints": endpoints, "shared": {"groups": ["team-a"]}}});
    world.change("dev", change).await;
    watching
        .until("what is shared", |route| {
            route.is_some_and(|route| {
                route.asked.endpoints[0].visibility == Some(Visibility::Shared)
            })
        })
        .await;
    assert!(watching.table.load().names_group("team-a"));

    world
        .set_class(&world.class, json!({"access": {"undeclaredPorts": false}}))
        .await;
    watching
        .until("the caps of the class", |route| {
            route.is_some_and(|route| route.rules == AccessRules::of(None))
        })
        .await;

    world.want("dev", "Stopped").await;
    watching
        .until("no pod", |route| {
            route.is_some_and(|route| route.backend == Backend::None)
        })
        .await;
    world.delete::<Workspace>("dev").await;
    watching.until("no route", |route| route.is_none()).await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn watches_that_break_or_expire_are_taken_up_again_and_miss_nothing() {
    let world = World::new("broken").await;
    let process = world.start();
    let pod = run(&world, "10.77.1.5").await;
    let watching = Watching::start(&world, world.faulty());
    watching
        .until("a route to the pod", |route| leads_to(route, "10.77.1.5"))
        .await;
    world.faults.expire_watches("workspaces");
    world.faults.break_watches("pods");
    world.faults.close_watches("endpointslices");
    give_address(&world, &pod, "10.77.1.6").await;
    let shared = json!({"spec": {"shared": {"users": ["bob@example.com"]}}});
    world.change("dev", shared).await;
    watching
        .until("both changes", |route| {
            leads_to(route, "10.77.1.6") && route.is_some_and(|route| route.shared().is_some())
        })
        .await;
    assert_eq!(watching.freshness.stage(), Stage::Fresh);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn ssrf_through_discovery_a_service_of_somebody_else_with_our_labels_is_told_in_an_event() {
    let world = World::new("told").await;
    let watching = Watching::start(&world, world.client.clone());
    let workspace = world.create("dev", json!({})).await;
    let service: Service = object(json!({
        "metadata": {
            "name": "ws-dev",
            "labels": {
                "app.kubernetes.io/managed-by": "workstead",
                "workstead.dev/workspace": "dev",
                "workstead.dev/workspace-uid": workspace.uid().unwrap(),
            },
        },
        "spec": {"type": "ExternalName", "externalName": "metadata.internal"},
    }));
    world
        .api()
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    watching
        .until("the refusal", |route| {
            route.is_some_and(|route| matches!(route.backend, Backend::Refused(_)))
        })
        .await;
    let event = eventually("an event", async || {
        let events: Api<Event> = world.api();
        let events = events.list(&ListParams::default()).await.unwrap();
        events
            .into_iter()
            .find(|event| event.reason.as_deref() == Some("ServiceForeign"))
    })
    .await;
    let about = event.regarding.unwrap();
    assert_eq!(
        (about.kind.as_deref(), about.name.as_deref()),
        (Some("Service"), Some("ws-dev"))
    );
}

#[tokio::test]
async fn nothing_is_published_before_all_is_listed_and_single_objects_are_handed_on() {
    let world = World::new("handed").await;
    let mut watching = Watching::start(&world, world.client.clone());
    watching
        .missing
        .wait_for(|missing| missing.is_empty())
        .await
        .unwrap();
    assert!(watching.table.is_synced() && watching.table.load().is_empty());
    assert!(watching.keys.borrow().is_none() && watching.revocations.borrow().is_none());

    let secret: Secret = object(json!({
        "metadata": {"name": "workstead-proxy-keys"}, "stringData": {"ring": "one"},
    }));
    let other: Secret = object(json!({
        "metadata": {"name": "workstead-supervisor-ca"}, "stringData": {"ring": "other"},
    }));
    for secret in [&secret, &other] {
        world
            .api()
            .create(&PostParams::default(), secret)
            .await
            .unwrap();
    }
    let is = |text: &'static str| {
        move |kept: &Option<Arc<Kept>>| {
            kept.as_ref().and_then(|kept| kept.text("ring")) == Some(text)
        }
    };
    watching.keys.wait_for(is("one")).await.unwrap();
    let newer = json!({"stringData": {"ring": "two"}});
    world
        .api::<Secret>()
        .patch(
            "workstead-proxy-keys",
            &PatchParams::default(),
            &Patch::Merge(newer),
        )
        .await
        .unwrap();
    watching.keys.wait_for(is("two")).await.unwrap();
    world.delete::<Secret>("workstead-proxy-keys").await;
    watching.keys.wait_for(Option::is_none).await.unwrap();

    let map: ConfigMap = object(json!({
        "metadata": {"name": "workstead-revocations"}, "data": {"user.x": "{}"},
    }));
    world
        .api()
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    let revoked = watching
        .revocations
        .wait_for(Option::is_some)
        .await
        .unwrap();
    assert!(revoked.as_ref().unwrap().contains_key("user.x"));
}
