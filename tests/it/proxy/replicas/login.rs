//! One login, at several replicas: none keeps anything of it, and all know what is used up.

use super::app::GREETING;
use super::browser::Browser;
use super::world::{ALICE, World};

#[tokio::test]
async fn a_login_that_begins_at_one_replica_ends_at_the_other_and_is_good_at_both() {
    let Some(world) = World::start("login").await else {
        return;
    };
    let [one, other] = world.both();
    // The link at one, the login request at the other, and so on: the ticket comes from one and is taken by the other.
    for order in [[one, other], [other, one]] {
        let link = world.link(ALICE).await;
        let mut browser = Browser::default();
        let page = browser.follow(&order, &link).await;
        assert_eq!((page.status, page.body.as_str()), (200, GREETING));
        for at in world.both() {
            assert_eq!(world.status(at, &browser, "/").await, 200);
        }
        for at in world.both() {
            let mut thief = Browser::default();
            let page = thief.visit(at, &link).await;
            assert_eq!((page.status, page.header("set-cookie")), (403, None));
            assert_eq!(world.status(at, &thief, "/secret").await, 401);
        }
    }
    assert_eq!(world.app.times_seen("/secret"), 0);
}

#[tokio::test]
async fn login_csrf_a_ticket_of_one_replica_is_worth_nothing_at_the_other_in_another_browser() {
    let Some(world) = World::start("ticket").await else {
        return;
    };
    let [one, other] = world.both();
    let mut browser = Browser::default();
    let mut url = world.link(ALICE).await;
    while !url.contains("ticket=") {
        let page = browser.visit(one, &url).await;
        assert_eq!(page.status, 303, "{page:?}");
        page.header("location").unwrap().clone_into(&mut url);
    }
    let page = Browser::default().visit(other, &url).await;
    assert_eq!((page.status, page.header("set-cookie")), (400, None));
    let page = browser.visit(other, &url).await;
    assert_eq!(page.status, 303, "{page:?}");
    // The nonce went with it.
    let page = browser.visit(one, &url).await;
    assert_eq!((page.status, page.header("set-cookie")), (400, None));
    assert_eq!(world.status(one, &browser, "/").await, 200);
}

#[tokio::test]
async fn code_replay_a_link_that_comes_to_both_replicas_at_once_signs_in_one_of_two() {
    let Some(world) = World::start("at-once").await else {
        return;
    };
    let [one, other] = world.both();
    for _ in 0..5 {
        let link = world.link(ALICE).await;
        let (mut first, mut second) = (Browser::default(), Browser::default());
        let (first, second) = tokio::join!(first.visit(one, &link), second.visit(other, &link));
        let mut got =
            [&first, &second].map(|page| (page.status, page.header("set-cookie").is_some()));
        got.sort_unstable();
        assert_eq!(got, [(303, true), (403, false)]);
    }
}
