//! The login of one machine.

use super::*;

#[tokio::test]
async fn a_link_signs_in_and_leads_to_the_workspace() {
    let world = World::local();
    let mut browser = Browser::default();
    let (way, answer) = browser.open(&world, &world.link()).await;
    assert_eq!(body(&answer), "alice@example.com");
    assert_eq!(way.last().unwrap(), "http://api.ws.localhost:8000/");
}

#[tokio::test]
async fn without_a_link_a_page_says_how_to_get_one() {
    let world = World::local();
    let (_, answer) = Browser::default()
        .open(&world, "http://api.ws.localhost:8000/")
        .await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(body(&answer).contains("workstead open"));
}

#[tokio::test]
async fn threat_replay_a_link_works_once_on_all_replicas() {
    let world = World::local();
    let other = World::replica(world.shared.clone(), 120);
    let link = world.link();
    let (_, answer) = Browser::default().open(&world, &link).await;
    assert_eq!(answer.status(), StatusCode::OK);
    for world in [&world, &other] {
        let mut browser = Browser::default();
        let answer = browser.ask(world, Ask::navigate(&link)).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(browser.cookies("auth.ws.localhost").is_empty());
    }
}

#[tokio::test]
async fn a_link_that_a_browser_looks_at_ahead_is_not_used_up() {
    let world = World::local();
    let link = world.link();
    let ahead = [
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Dest", "iframe"),
    ];
    for (name, value) in ahead {
        let lines = Lines::default().with(name, value);
        let answer = world.answer(&Ask::bare(&link, lines)).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    let (_, answer) = Browser::default().open(&world, &link).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_link_is_good_for_ten_minutes_on_the_listener_of_this_machine() {
    let world = World::local();
    let link = world.link();
    let mut elsewhere = Ask::navigate(&link);
    elsewhere.is_local = false;
    let answer = world.answer(&elsewhere).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let later = world.link();
    world.pass(10 * 60 + 30);
    for link in [&link, &later] {
        let answer = world.answer(&Ask::navigate(link)).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_login_ends_after_twelve_hours_whatever_was_renewed() {
    let world = World::local();
    let mut browser = Browser::default();
    browser.open(&world, &world.link()).await;
    for _ in 0..11 {
        world.pass(3600 + 60);
        let (_, answer) = browser.open(&world, "http://api.ws.localhost:8000/").await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    world.pass(3600);
    let (_, answer) = browser.open(&world, "http://api.ws.localhost:8000/").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}
