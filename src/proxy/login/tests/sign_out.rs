//! Signing out.

use rstest::rstest;

use super::*;
use crate::proxy::session::cookies::{AUTH, SESSION};

const HERE: &str = "http://api.ws.localhost:8000";
const AUTH_SIGN_OUT: &str = "http://auth.ws.localhost:8000/.workstead-proxy/sign-out";

async fn signed_in(world: &World) -> Browser {
    let mut browser = Browser::default();
    browser.open(world, &world.link()).await;
    let address = "http://3000-api.ws.localhost:8000/";
    let (_, answer) = browser.open(world, address).await;
    assert_eq!(answer.status(), StatusCode::OK);
    browser
}

async fn is_in(world: &World, browser: &mut Browser, address: &str) -> bool {
    browser.open(world, address).await.1.status() == StatusCode::OK
}

#[tokio::test]
async fn signing_out_on_one_host_ends_the_login_of_this_browser_on_all() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let mut other = signed_in(&world).await;
    let page = browser
        .ask(
            &world,
            Ask::navigate(&format!("{HERE}/.workstead-proxy/sign-out")),
        )
        .await;
    assert!(body(&page).contains("alice@example.com"));
    let stolen = browser
        .cookie("3000-api.ws.localhost", SESSION)
        .unwrap()
        .to_owned();
    let press = Ask::press(&format!("{HERE}/.workstead-proxy/sign-out"), "scope=here");
    let answer = browser.ask(&world, press).await;
    let (_, last) = browser.open(&world, &location(&answer)).await;
    assert!(body(&last).contains("You are signed out"));
    assert!(browser.cookies("api.ws.localhost").is_empty());
    assert!(browser.cookies("auth.ws.localhost").is_empty());
    // Sessions that somebody copied are dead too, on every replica.
    let replica = World::replica(world.shared.clone(), 120);
    let mut ask = Ask::navigate("http://3000-api.ws.localhost:8000/");
    ask.lines = ask.lines.with("Cookie", format!("{SESSION}={stolen}"));
    assert_eq!(replica.answer(&ask).await.status(), StatusCode::SEE_OTHER);
    assert!(is_in(&world, &mut other, &format!("{HERE}/")).await);
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_browsers_login_until_the_next() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let mut other = signed_in(&world).await;
    world.pass(10);
    let answer = browser
        .ask(&world, Ask::press(AUTH_SIGN_OUT, "scope=everywhere"))
        .await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    for browser in [&mut browser, &mut other] {
        assert!(!is_in(&world, browser, &format!("{HERE}/")).await);
    }
    world.pass(1);
    let mut again = signed_in(&world).await;
    assert!(is_in(&world, &mut again, &format!("{HERE}/")).await);
}

#[rstest]
#[case::another_site("cross-site", "navigate", "document", Some("?1"))]
#[case::sibling("same-site", "navigate", "document", Some("?1"))]
#[case::script("same-origin", "cors", "empty", None)]
#[case::script_submits_form("same-origin", "navigate", "document", None)]
#[case::frame("same-origin", "navigate", "iframe", Some("?1"))]
#[tokio::test]
async fn nobody_but_the_person_signs_out(
    #[case] site: &str,
    #[case] mode: &str,
    #[case] dest: &str,
    #[case] user: Option<&str>,
) {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    for address in [
        format!("{HERE}/.workstead-proxy/sign-out"),
        AUTH_SIGN_OUT.to_owned(),
    ] {
        let mut lines = Lines::default()
            .with("Sec-Fetch-Site", site)
            .with("Sec-Fetch-Mode", mode)
            .with("Sec-Fetch-Dest", dest);
        if let Some(user) = user {
            lines = lines.with("Sec-Fetch-User", user);
        }
        let mut ask = Ask::bare(&address, lines);
        ask.method = Method::POST;
        let answer = browser.ask(&world, ask).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    assert!(is_in(&world, &mut browser, &format!("{HERE}/")).await);
}

#[tokio::test]
async fn a_browser_without_fetch_metadata_is_known_by_its_origin() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    for (origin, status) in [
        ("http://evil.test", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
        ("http://auth.ws.localhost:8000", StatusCode::SEE_OTHER),
    ] {
        let mut ask = Ask::bare(AUTH_SIGN_OUT, Lines::default().with("Origin", origin));
        ask.method = Method::POST;
        assert_eq!(browser.ask(&world, ask).await.status(), status);
    }
    assert!(browser.cookie("auth.ws.localhost", AUTH).is_none());
}

#[tokio::test]
async fn a_sign_out_that_could_not_be_written_says_so() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    *world.shared.is_down.lock().unwrap() = true;
    let answer = browser
        .ask(&world, Ask::press(AUTH_SIGN_OUT, "scope=here"))
        .await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(body(&answer).contains("still signed in"));
    assert!(browser.cookie("auth.ws.localhost", AUTH).is_some());
}
