//! The proof that a pod is who we think, by real first processes on addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use workstead::controllers::supervisor::authority::{Authority, Client};
use workstead::inside::identity::Identity;
use workstead::inside::pin::PublicKeyDigest;
use workstead::model::access::AccessRules;
use workstead::proxy::route::asked::Asked;
use workstead::proxy::route::facts::Key;
use workstead::proxy::route::metrics::RouteMetrics;
use workstead::proxy::route::supervisors::{ProveError, SessionSettings, Supervisors};
use workstead::proxy::route::table::{Backend, Pod, Route, Routes, Table};
use workstead::testkit::builders::mk_workspace;
use workstead::testkit::wait::{PATIENCE, eventually};

use crate::supervisor_keys::Supervisor;

/// An authority, and addresses of this machine where first processes answer as if each had a pod of its own.
struct World {
    authority: Authority,
    port: u16,
    us: watch::Sender<Option<Arc<Identity>>>,
    metrics: RouteMetrics,
    tasks: JoinSet<()>,
}

/// Connections that were made to an address.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 77, last).into()
}

impl World {
    async fn new() -> Self {
        let now = Timestamp::now();
        let (authority, _) = Authority::generate(now).unwrap();
        let us = authority.client(Client::Proxy, now).unwrap().identity;
        // One that is free at the first address is most likely free at the others.
        let free = TcpListener::bind((address(1), 0)).await.unwrap();
        Self {
            port: free.local_addr().unwrap().port(),
            authority,
            us: watch::Sender::new(Some(Arc::new(us))),
            metrics: RouteMetrics::default(),
            tasks: JoinSet::new(),
        }
    }

    fn supervisors(&self, change: impl FnOnce(&mut SessionSettings)) -> Supervisors {
        let mut settings = SessionSettings {
            port: self.port,
            pause: Duration::from_millis(300),
            ..SessionSettings::default()
        };
        change(&mut settings);
        Supervisors::new(
            settings,
            self.us.subscribe(),
            self.metrics.clone(),
            Box::new(|_| {}),
        )
    }

    /// Lets a first process answer at an address, too.
    async fn relay(&mut self, last: u8, to: SocketAddr) -> Count {
        let listener = TcpListener::bind((address(last), self.port)).await.unwrap();
        let count = Count::default();
        let counted = count.clone();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut inside, _)) = listener.accept().await {
                counted.0.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    if let Ok(mut outside) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            }
        });
        count
    }
}

/// A workspace whose pod is said to be there.
fn route(name: &str, last: u8, key: PublicKeyDigest) -> Route {
    let workspace = mk_workspace(name);
    Route {
        key: Key::new("team-a", name),
        uid: format!("uid-of-{name}").into(),
        asked: Arc::new(Asked::of(workspace.spec)),
        status: Default::default(),
        rules: AccessRules::CLOSED,
        denied_ports: Arc::default(),
        supervisor: Some(key),
        backend: Backend::Pod(Pod {
            uid: format!("pod-of-{name}").into(),
            address: address(last),
        }),
    }
}

fn routes(all: &[&Route]) -> Routes {
    let all = all.iter().map(|route| Arc::new(Route::clone(route)));
    Routes::default().with(all.map(|route| (route.key.name.clone(), Some(route))), None)
}

#[tokio::test]
async fn pod_ip_reuse_a_pod_with_another_key_is_not_proved_however_well_it_answers() {
    let mut world = World::new().await;
    let (ours, theirs) = (
        Supervisor::start(&world.authority).await,
        Supervisor::start(&world.authority).await,
    );
    // The watch still says that our pod is there, but it is somebody else's by now.
    world.relay(1, theirs.address).await;
    world.relay(2, ours.address).await;
    let supervisors = world.supervisors(|_| {});
    let stale = route("ours", 1, ours.key);
    let error = supervisors.prove(&stale).await.unwrap_err();
    assert_eq!(error.reason(), "handshake", "{error}");
    assert!(supervisors.held(&stale).is_none());

    let right = route("ours", 2, ours.key);
    let proof = supervisors.prove(&right).await.unwrap();
    assert!(proof.holds() && supervisors.held(&right).is_some());
    // What was proved is that address, and no other that the pod is said to have.
    assert!(supervisors.held(&stale).is_none());
}

#[tokio::test]
async fn requests_at_the_same_time_share_one_session() {
    let mut world = World::new().await;
    let supervisor = Supervisor::start(&world.authority).await;
    let count = world.relay(1, supervisor.address).await;
    let supervisors = world.supervisors(|_| {});
    let route = route("api", 1, supervisor.key);
    let asked = (0..100).map(|_| supervisors.prove(&route));
    let proofs = futures::future::join_all(asked).await;
    assert!(proofs.iter().all(|proof| proof.as_ref().unwrap().holds()));
    assert_eq!((count.get(), supervisors.len()), (1, 1));
    assert_eq!(world.metrics.supervisors.get(), 1);
}

#[tokio::test]
async fn pod_ip_reuse_the_end_of_the_first_process_is_the_end_of_the_proof() {
    let mut world = World::new().await;
    let supervisor = Supervisor::start(&world.authority).await;
    world.relay(1, supervisor.address).await;
    let supervisors = world.supervisors(|_| {});
    let route = route("api", 1, supervisor.key);
    let proof = supervisors.prove(&route).await.unwrap();
    drop(supervisor);
    timeout(PATIENCE, proof.closed()).await.unwrap();
    assert!(!proof.holds() && supervisors.held(&route).is_none());
    assert!(supervisors.prove(&route).await.is_err());
    eventually("the session to be forgotten", async || {
        (world.metrics.supervisors.get() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_lasts_as_long_as_somebody_needs_it_and_a_while_longer() {
    let mut world = World::new().await;
    let supervisor = Supervisor::start(&world.authority).await;
    let count = world.relay(1, supervisor.address).await;
    let supervisors = world.supervisors(|settings| settings.idle = Duration::from_millis(200));
    let route = route("api", 1, supervisor.key);
    let proof = supervisors.prove(&route).await.unwrap();
    let clone = proof.clone();
    drop(proof);
    assert!(
        timeout(Duration::from_secs(1), clone.closed())
            .await
            .is_err()
    );
    let closed = clone.closed();
    drop(clone);
    timeout(PATIENCE, closed).await.unwrap();
    eventually("the session to be gone", async || {
        supervisors.is_empty().then_some(())
    })
    .await;
    let proof = supervisors.prove(&route).await.unwrap();
    assert!(proof.holds());
    assert_eq!(count.get(), 2);
}

#[tokio::test]
async fn what_the_table_gives_up_is_no_longer_proved_and_nothing_else_is_touched() {
    let mut world = World::new().await;
    let supervisor = Supervisor::start(&world.authority).await;
    for last in 1..=4 {
        world.relay(last, supervisor.address).await;
    }
    let supervisors = world.supervisors(|_| {});
    let names = ["gone", "moved", "closed", "kept"];
    let all: Vec<Route> = names
        .iter()
        .zip(1..)
        .map(|(name, last)| route(name, last, supervisor.key))
        .collect();
    let table = Table::default();
    table.publish(routes(&all.iter().collect::<Vec<_>>()));
    let mut proofs = Vec::new();
    for route in &all {
        proofs.push(supervisors.prove(route).await.unwrap());
    }
    let stop = CancellationToken::new();
    let running = supervisors.run(&table, stop.clone());
    let acting = async {
        // Subscribed to before it is changed.
        tokio::task::yield_now().await;
        let moved = route("moved", 1, supervisor.key);
        let mut waiting = all[3].clone();
        waiting.backend = Backend::None;
        let mut closed = all[2].clone();
        closed.backend = Backend::Refused(workstead::proxy::route::refusal::Refusal::TwoPods);
        table.publish(routes(&[&moved, &closed, &waiting]));
        for proof in &proofs[..3] {
            timeout(PATIENCE, proof.closed()).await.unwrap();
        }
        // Its pod is not ready for a moment: that says nothing of who it is.
        assert!(proofs[3].holds());
        stop.cancel();
    };
    tokio::join!(running, acting);
    // Nothing outlives the proxy.
    assert!(!proofs[3].holds());
    let error = supervisors.prove(&all[3]).await.unwrap_err();
    assert!(matches!(error, ProveError::Stopping), "{error}");
}

#[tokio::test]
async fn resource_dos_there_are_no_more_sessions_than_allowed_and_the_idle_ones_make_room() {
    let mut world = World::new().await;
    let supervisor = Supervisor::start(&world.authority).await;
    for last in 1..=2 {
        world.relay(last, supervisor.address).await;
    }
    let supervisors = world.supervisors(|settings| settings.most = 1);
    let (one, two) = (
        route("one", 1, supervisor.key),
        route("two", 2, supervisor.key),
    );
    let proof = supervisors.prove(&one).await.unwrap();
    let error = supervisors.prove(&two).await.unwrap_err();
    assert!(matches!(error, ProveError::Full(1)), "{error}");
    assert!(proof.holds());
    let closed = proof.closed();
    drop(proof);
    let second = supervisors.prove(&two).await.unwrap();
    timeout(PATIENCE, closed).await.unwrap();
    assert!(second.holds() && supervisors.held(&one).is_none());
}

#[tokio::test]
async fn resource_dos_a_pod_that_does_not_answer_is_not_asked_by_every_request() {
    let mut world = World::new().await;
    let (authority, _) = Authority::generate(Timestamp::now()).unwrap();
    // It lets in only whom another authority has signed.
    let foreign = Supervisor::start(&authority).await;
    let count = world.relay(1, foreign.address).await;
    let supervisors = world.supervisors(|settings| settings.pause = PATIENCE);
    let route = route("api", 1, foreign.key);
    for _ in 0..50 {
        assert!(supervisors.prove(&route).await.is_err());
    }
    assert_eq!(count.get(), 1);
}

#[tokio::test]
async fn without_a_certificate_or_a_key_or_a_pod_nothing_is_dialled() {
    let mut world = World::new().await;
    let supervisor = Supervisor::start(&world.authority).await;
    let count = world.relay(1, supervisor.address).await;
    let supervisors = world.supervisors(|_| {});
    let route = route("api", 1, supervisor.key);
    let mut keyless = route.clone();
    keyless.supervisor = None;
    let mut podless = route.clone();
    podless.backend = Backend::None;
    let us = world.us.send_replace(None);
    for (route, reason) in [
        (&route, "no_identity"),
        (&keyless, "no_key"),
        (&podless, "no_pod"),
    ] {
        assert_eq!(supervisors.prove(route).await.unwrap_err().reason(), reason);
    }
    assert_eq!(count.get(), 0);
    world.us.send_replace(us);
    assert!(supervisors.prove(&route).await.is_ok());
}
