//! One replica hears of a change later than the other: what it decides by is its own picture, and that is old for no longer
//! than the watch lags.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use workstead::testkit::faults::EventFault;

use super::browser::{Browser, End};
use super::replica::Replica;
use super::world::{BOB, World};

const CAROL: &str = "carol@example.com";

/// A watch of Workspaces that tells nothing. Bookmarks neither: after one nobody would ask for what came before.
struct Lag<'a> {
    replica: &'a Replica,
    is_on: Arc<AtomicBool>,
}

impl<'a> Lag<'a> {
    fn begin(replica: &'a Replica) -> Self {
        let is_on = Arc::new(AtomicBool::new(true));
        let on = is_on.clone();
        replica.faults.on_events(move |path, _| {
            if on.load(Ordering::SeqCst) && path.ends_with("/workspaces") {
                EventFault::Drop
            } else {
                EventFault::Pass
            }
        });
        Self { replica, is_on }
    }

    /// The watch is taken up again, from where it last told something.
    fn end(self) {
        self.is_on.store(false, Ordering::SeqCst);
        self.replica.faults.break_watches("workspaces");
    }
}

#[tokio::test]
async fn stale_authorization_a_replica_whose_watch_lags_lets_nobody_new_in_and_catches_up() {
    let Some(world) = World::start("lag").await else {
        return;
    };
    let [one, other] = world.both();
    let bob = world.signed_in(BOB, one).await;
    let at_one = bob.socket(one, &world.origin()).await;
    let mut at_other = bob.socket(other, &world.origin()).await;

    let lag = Lag::begin(&world.replicas[1]);
    world.share_with(&[CAROL]).await;
    // Whoever has heard of it refuses at once, and ends what is under way.
    world.until(one, &bob, "/", 404).await;
    assert_eq!(at_one.ended().await, End::Cut);
    assert_eq!(world.status(one, &bob, "/secret").await, 404);
    // The other has not: it goes on for as long as the lag lasts.
    assert_eq!(world.status(other, &bob, "/").await, 200);
    at_other.echo("still open").await.unwrap();

    // A login by the new picture opens nothing where the old one says no, be it older or newer.
    let carol = world.signed_in(CAROL, one).await;
    assert_eq!(world.status(other, &carol, "/hers").await, 404);
    let mut back = Browser::default();
    let page = back.follow(&[one], &world.link(BOB).await).await;
    assert_eq!(page.status, 404, "{page:?}");

    lag.end();
    world.until(other, &bob, "/", 404).await;
    assert_eq!(at_other.ended().await, End::Cut);
    for browser in [&bob, &back] {
        assert_eq!(world.status(other, browser, "/secret").await, 404);
    }
    assert_eq!(world.status(other, &carol, "/").await, 200);
    assert_eq!(world.app.times_seen("/secret"), 0);
    assert_eq!(world.app.times_seen("/hers"), 0);
}
