//! What ends logins ends them at every replica, also where a stream is under way.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use workstead::controllers::clock::SystemClock;
use workstead::proxy::login::cluster::Cluster;
use workstead::proxy::login::outside::Effects as _;
use workstead::proxy::session::revocation::{Entry, Whose};
use workstead::testkit::wait::within;

use super::browser::End;
use super::world::{ALICE, BOB, World};

/// What the reference promises.
const PROMISED: Duration = Duration::from_secs(2);

impl World {
    /// Ends all logins of a user.
    pub async fn revoke(&self, user: &str) {
        let cluster = Cluster::new(
            self.client.clone(),
            &self.namespace,
            "test",
            Arc::new(SystemClock),
        );
        let entry = Entry::new(Whose::User(user.to_owned()), Timestamp::now());
        cluster.revoke(&[entry]).await.unwrap();
    }
}

#[tokio::test]
async fn stale_authorization_a_revocation_cuts_streams_at_both_replicas_and_no_strangers() {
    let Some(world) = World::start("revoked").await else {
        return;
    };
    let [one, other] = world.both();
    let alice = world.signed_in(ALICE, one).await;
    let bob = world.signed_in(BOB, other).await;
    let (mut hers, mut his) = (Vec::new(), Vec::new());
    for at in world.both() {
        hers.push(alice.socket(at, &world.origin()).await);
        his.push(bob.socket(at, &world.origin()).await);
    }
    for socket in hers.iter_mut().chain(&mut his) {
        socket.echo("open").await.unwrap();
    }
    world.revoke(ALICE).await;
    let cut = futures::future::join_all(hers.into_iter().map(|socket| socket.ended()));
    let refused = world.both().map(|at| {
        let (world, alice) = (&world, &alice);
        within(PROMISED, move || async move {
            (alice.fetch(at, &world.url("/")).await == Some(401)).then_some(())
        })
    });
    let refused = futures::future::join_all(refused);
    let (cut, refused) = tokio::join!(timeout(PROMISED, cut), refused);
    assert_eq!(cut, Ok(vec![End::Cut, End::Cut]));
    assert_eq!(refused, [Some(()), Some(())]);
    for at in world.both() {
        assert_eq!(world.status(at, &alice, "/secret").await, 401);
        assert_eq!(world.status(at, &bob, "/").await, 200);
    }
    for socket in &mut his {
        socket.echo("still open").await.unwrap();
    }
    assert_eq!(world.app.times_seen("/secret"), 0);
    // The owner comes back, once the second is over in which all logins ended.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let alice = world.signed_in(ALICE, other).await;
    assert_eq!(world.status(one, &alice, "/").await, 200);
}
