//! The API server is away: who is in stays in, nobody new comes in, and afterwards all is as it would have been.

use workstead::testkit::wait::eventually;

use super::browser::{Browser, End};
use super::world::{ALICE, BOB, World};

#[tokio::test]
async fn without_the_api_server_sessions_go_on_and_nobody_new_gets_in() {
    let Some(world) = World::start("away").await else {
        return;
    };
    let [one, other] = world.both();
    let alice = world.signed_in(ALICE, one).await;
    let mut hers = alice.socket(other, &world.origin()).await;
    let bob = world.signed_in(BOB, other).await;
    let his = bob.socket(one, &world.origin()).await;
    let links = [world.link(BOB).await, world.link(ALICE).await];
    for replica in &world.replicas {
        replica.wire.cut_off();
    }

    // Which replica has the link makes no difference: that it is used for the first time can't be written down.
    let mut strangers = [Browser::default(), Browser::default()];
    let [first, second] = &mut strangers;
    let (first, second) = tokio::join!(first.visit(one, &links[0]), second.visit(other, &links[1]));
    for page in [first, second] {
        assert_eq!((page.status, page.header("set-cookie")), (503, None));
        assert!(page.body.contains("<title>"), "{page:?}");
    }
    for at in world.both() {
        assert_eq!(world.status(at, &alice, "/").await, 200);
        for stranger in &strangers {
            assert_eq!(world.status(at, stranger, "/secret").await, 401);
        }
    }
    hers.echo("still open").await.unwrap();

    // Meanwhile somebody's logins are ended.
    world.revoke(BOB).await;
    for replica in &world.replicas {
        replica.wire.restore();
    }
    for at in world.both() {
        world.until(at, &bob, "/", 401).await;
    }
    assert_eq!(his.ended().await, End::Cut);
    hers.echo("still open").await.unwrap();
    // The link was not used up by the try that could not be written down.
    let page = eventually("a login", async || {
        let mut browser = Browser::default();
        let page = browser.follow(&[other, one], &links[1]).await;
        (page.status != 503).then_some(page)
    })
    .await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(world.app.times_seen("/secret"), 0);
}
