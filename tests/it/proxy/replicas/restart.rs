//! A replica ends under load: whoever goes on to the other when told to, loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use workstead::testkit::wait::eventually;

use super::app::SLOW_PATH;
use super::browser::{Browser, End, Line};
use super::replica::is_ready;
use super::world::{ALICE, World};

/// People who keep their connection for the next request, and such who open one each time.
const KEEPING: usize = 12;
const OPENING: usize = 3;
/// How soon a balancer notices that a replica is not ready: well within the lag that the replica grants it.
const PROBE: Duration = Duration::from_millis(100);

/// What clients and balancer share.
struct Load {
    /// The replica that ends, and the one that goes on.
    replicas: [SocketAddr; 2],
    request: String,
    /// Whether the balancer still sends new connections to the first.
    has_first: AtomicBool,
    answered: [AtomicUsize; 2],
    stop: AtomicBool,
}

impl Load {
    /// Who the balancer gives a new connection to.
    fn next(&self) -> usize {
        usize::from(!self.has_first.load(Ordering::SeqCst))
    }

    async fn balance(self: Arc<Self>) {
        while !self.stop.load(Ordering::SeqCst) {
            if !is_ready(self.replicas[0]).await {
                self.has_first.store(false, Ordering::SeqCst);
            }
            sleep(PROBE).await;
        }
    }

    /// Asks on one connection until it ends. `pause` is what somebody thinks between two requests.
    async fn keep(self: Arc<Self>, pause: Duration) {
        while !self.stop.load(Ordering::SeqCst) {
            let replica = self.next();
            let mut line = Line::open(self.replicas[replica]).await.unwrap();
            let mut is_first = true;
            while !self.stop.load(Ordering::SeqCst) {
                match line.ask(&self.request).await {
                    Ok(Some(page)) => {
                        assert_eq!(page.status, 200, "{page:?}");
                        self.answered[replica].fetch_add(1, Ordering::SeqCst);
                        if page.closes() {
                            break;
                        }
                    }
                    // Parted between two requests: the next connection takes this one.
                    Ok(None) if !is_first => break,
                    lost => panic!("a request was lost at replica {replica}: {lost:?}"),
                }
                is_first = false;
                sleep(pause).await;
            }
        }
    }

    /// Asks once on each connection.
    async fn open(self: Arc<Self>) {
        while !self.stop.load(Ordering::SeqCst) {
            let replica = self.next();
            let mut line = Line::open(self.replicas[replica]).await.unwrap();
            let page = line.ask(&self.request).await.unwrap();
            assert_eq!(page.expect("an answer").status, 200);
            self.answered[replica].fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn until_answered(&self, replica: usize, more: usize) {
        let goal = self.answered[replica].load(Ordering::SeqCst) + more;
        eventually("answers under load", async || {
            (self.answered[replica].load(Ordering::SeqCst) >= goal).then_some(())
        })
        .await;
    }
}

fn begin(world: &World, browser: &Browser) -> (Arc<Load>, JoinSet<()>) {
    let load = Arc::new(Load {
        replicas: world.both(),
        request: browser.request(&world.authority(), "/", ""),
        has_first: AtomicBool::new(true),
        answered: Default::default(),
        stop: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(load.clone().balance());
    for number in 0..KEEPING {
        let pause = Duration::from_millis(number as u64 * 3);
        tasks.spawn(load.clone().keep(pause));
    }
    for _ in 0..OPENING {
        tasks.spawn(load.clone().open());
    }
    (load, tasks)
}

#[tokio::test]
async fn a_replica_that_restarts_under_load_loses_nothing_of_those_who_go_on_to_the_other() {
    let Some(mut world) = World::start("restart").await else {
        return;
    };
    let [one, other] = world.both();
    let alice = world.signed_in(ALICE, one).await;
    let mut stream = alice.socket(one, &world.origin()).await;
    let mut kept = alice.socket(other, &world.origin()).await;
    let (load, mut tasks) = begin(&world, &alice);
    load.until_answered(0, 200).await;
    let mut in_flight = JoinSet::new();
    let request = alice.request(&world.authority(), SLOW_PATH, "");
    in_flight.spawn(async move { Line::open(one).await?.ask(&request).await });
    eventually("a request in flight", async || {
        (world.app.times_seen(SLOW_PATH) == 1).then_some(())
    })
    .await;
    world.replicas[0].terminate();

    // Longer under way than new connections are taken, and finished all the same.
    let page = in_flight.join_next().await.unwrap().unwrap();
    let page = page.unwrap().expect("an answer");
    assert_eq!((page.status, page.closes()), (200, true), "{page:?}");
    stream.echo("within the limit").await.unwrap();
    load.until_answered(1, 200).await;
    assert_eq!(stream.ended().await, End::Close(1012));
    let ended = world.replicas[0].ended().await;
    assert_eq!(ended.code(), Some(0), "{}", world.replicas[0].log());
    load.until_answered(1, 200).await;
    kept.echo("nothing happened here").await.unwrap();

    // Nothing of a session was in the process that ended.
    world.replicas[0].start_again().await;
    world.until(one, &alice, "/", 200).await;
    load.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}
