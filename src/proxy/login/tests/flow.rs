//! From a request without a session to one with it, and what may go wrong on the way.

use rstest::rstest;

use super::*;
use crate::proxy::session::cookies::{NONCE_PREFIX, SESSION};

const WORKSPACE: &str = "http://api.ws.localhost:8000";

/// A browser that is signed in at the auth host.
async fn signed_in(world: &World) -> Browser {
    let mut browser = Browser::default();
    let (_, answer) = browser.open(world, &world.link()).await;
    assert_eq!(
        (answer.status(), body(&answer)),
        (StatusCode::OK, "alice@example.com")
    );
    browser
}

/// A browser that holds the nonce of a login, and the callback with its ticket.
async fn on_the_way_back(world: &World, browser: &mut Browser, address: &str) -> String {
    let begun = browser.ask(world, Ask::navigate(address)).await;
    let given = browser.ask(world, Ask::navigate(&location(&begun))).await;
    let callback = location(&given);
    assert!(
        callback.contains("/.workstead-proxy/callback?ticket="),
        "{callback}"
    );
    callback
}

#[tokio::test]
async fn a_browser_that_is_signed_in_gets_a_session_on_each_host_by_itself() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let address = "http://3000-api.ws.localhost:8000/a/b?c=d";
    let (way, answer) = browser.open(&world, address).await;
    assert_eq!(body(&answer), "alice@example.com");
    assert_eq!(way.last().unwrap(), address);
    assert_eq!(browser.cookies("3000-api.ws.localhost"), [SESSION]);
    assert_ne!(
        browser.cookie("3000-api.ws.localhost", SESSION),
        browser.cookie("api.ws.localhost", SESSION)
    );
}

#[rstest]
#[case::fetch(Method::GET, &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")])]
#[case::script(Method::GET, &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script"), ("accept", "text/html")])]
#[case::frame(Method::GET, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")])]
#[case::mode_alone(Method::GET, &[("sec-fetch-mode", "navigate"), ("accept", "text/html")])]
#[case::program(Method::GET, &[("accept", "*/*")])]
#[case::nothing(Method::GET, &[])]
#[case::head(Method::HEAD, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")])]
#[case::form(Method::POST, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")])]
#[case::preflight(Method::OPTIONS, &[("origin", "https://evil.test")])]
#[tokio::test]
async fn only_a_navigation_is_sent_to_the_login(
    #[case] method: Method,
    #[case] fields: &[(&str, &str)],
) {
    let world = World::local();
    let lines = fields
        .iter()
        .fold(Lines::default(), |lines, (name, value)| {
            lines.with(name, value)
        });
    let mut ask = Ask::bare(&format!("{WORKSPACE}/"), lines);
    ask.method = method;
    let answer = world.answer(&ask).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["content-type"], "application/json");
    for absent in ["location", "set-cookie", "access-control-allow-origin"] {
        assert!(!answer.headers().contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn a_page_that_the_service_worker_of_its_host_asks_for_is_sent_to_the_login_too() {
    let world = World::local();
    let lines = Lines::default()
        .with("Sec-Fetch-Mode", "navigate")
        .with("Sec-Fetch-Dest", "empty");
    let ask = Ask::bare(&format!("{WORKSPACE}/"), lines);
    assert_eq!(world.answer(&ask).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_browser_without_fetch_metadata_is_known_by_what_it_accepts() {
    let world = World::local();
    let lines = Lines::default().with("Accept", "text/html,application/xhtml+xml;q=0.9");
    let answer = world
        .answer(&Ask::bare(&format!("{WORKSPACE}/"), lines))
        .await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn threat_login_csrf_a_callback_opened_in_another_browser_changes_nothing() {
    let world = World::local();
    let mut attacker = signed_in(&world).await;
    let callback =
        on_the_way_back(&world, &mut attacker, "http://3000-api.ws.localhost:8000/").await;
    for mut victim in [Browser::default(), signed_in(&world).await] {
        // Even one that is in the middle of a login of its own.
        let _ = victim
            .ask(&world, Ask::navigate("http://3000-api.ws.localhost:8000/"))
            .await;
        let answer = victim.ask(&world, Ask::navigate(&callback)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert!(!answer.headers().contains_key("set-cookie"));
        assert!(!answer.headers().contains_key("location"));
    }
}

#[tokio::test]
async fn threat_replay_a_ticket_works_once() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let callback =
        on_the_way_back(&world, &mut browser, "http://3000-api.ws.localhost:8000/").await;
    let first = browser.ask(&world, Ask::navigate(&callback)).await;
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    let second = browser.ask(&world, Ask::navigate(&callback)).await;
    assert_eq!(second.status(), StatusCode::BAD_REQUEST);
    assert!(!second.headers().contains_key("set-cookie"));
}

#[rstest]
#[case::in_time(89, StatusCode::SEE_OTHER)]
#[case::late(90, StatusCode::BAD_REQUEST)]
#[tokio::test]
async fn a_ticket_lives_for_a_minute(#[case] seconds: i64, #[case] status: StatusCode) {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let callback =
        on_the_way_back(&world, &mut browser, "http://3000-api.ws.localhost:8000/").await;
    world.pass(seconds);
    let answer = browser.ask(&world, Ask::navigate(&callback)).await;
    assert_eq!(answer.status(), status);
}

#[tokio::test]
async fn a_ticket_of_another_host_is_refused() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let callback =
        on_the_way_back(&world, &mut browser, "http://3000-api.ws.localhost:8000/").await;
    let elsewhere = callback.replace("3000-api.", "api.");
    let answer = browser.ask(&world, Ask::navigate(&elsewhere)).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_ticket_for_a_workspace_that_was_made_anew_is_refused() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let callback =
        on_the_way_back(&world, &mut browser, "http://3000-api.ws.localhost:8000/").await;
    *world.shared.uid.lock().unwrap() = "another".to_owned();
    let answer = browser.ask(&world, Ask::navigate(&callback)).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn threat_token_confusion_a_session_or_a_request_is_no_ticket() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let session = browser
        .cookie("api.ws.localhost", SESSION)
        .unwrap()
        .to_owned();
    let begun = browser
        .ask(&world, Ask::navigate("http://3000-api.ws.localhost:8000/"))
        .await;
    let request = location(&begun)
        .split_once("request=")
        .unwrap()
        .1
        .to_owned();
    for token in [session.clone(), request] {
        let callback =
            format!("http://3000-api.ws.localhost:8000/.workstead-proxy/callback?ticket={token}");
        let answer = browser.ask(&world, Ask::navigate(&callback)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    let login = format!("http://auth.ws.localhost:8000/.workstead-proxy/login?request={session}");
    let answer = browser.ask(&world, Ask::navigate(&login)).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn threat_open_redirect_no_target_leads_off_the_host() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    for target in [
        "//evil.test/",
        "/\\evil.test",
        "/.workstead-proxy/callback/x",
    ] {
        let (way, answer) = browser
            .open(
                &world,
                &format!("http://3000-api.ws.localhost:8000{target}"),
            )
            .await;
        assert_eq!(body(&answer), "alice@example.com", "{way:?}");
        let host = "http://3000-api.ws.localhost:8000/";
        assert!(way.last().unwrap().starts_with(host), "{way:?}");
        browser.jar.remove("3000-api.ws.localhost");
    }
}

#[tokio::test]
async fn threat_credential_in_url_hops_are_not_kept_and_not_told_on() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let mut address = "http://3000-api.ws.localhost:8000/secret-path".to_owned();
    let session = |browser: &Browser| {
        browser
            .cookie("3000-api.ws.localhost", SESSION)
            .map(str::to_owned)
    };
    for _ in 0..3 {
        let answer = browser.ask(&world, Ask::navigate(&address)).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        address = location(&answer);
        if let Some(session) = session(&browser) {
            assert!(!address.contains(&session));
        }
    }
    assert!(session(&browser).is_some());
    assert!(address.ends_with("/secret-path"));
}

#[tokio::test]
async fn tabs_that_open_side_by_side_all_get_in_and_old_attempts_go() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let host = "3000-api.ws.localhost";
    let mut callbacks = Vec::new();
    for tab in 0..8 {
        let address = format!("http://{host}:8000/{tab}");
        callbacks.push(on_the_way_back(&world, &mut browser, &address).await);
        world.pass(1);
    }
    let nonces = browser
        .cookies(host)
        .iter()
        .filter(|name| name.starts_with(NONCE_PREFIX))
        .count();
    assert_eq!(nonces, 5);
    for (tab, callback) in callbacks.iter().enumerate() {
        let answer = browser.ask(&world, Ask::navigate(callback)).await;
        let expected = if tab < 3 {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::SEE_OTHER
        };
        assert_eq!(answer.status(), expected, "{tab}");
    }
    assert_eq!(browser.cookies(host), [SESSION]);
}

#[tokio::test]
async fn a_session_that_stands_there_twice_ends_in_a_page_and_not_in_a_circle() {
    let world = World::local();
    let mut ask = Ask::navigate(&format!("{WORKSPACE}/"));
    ask.lines = ask.lines.with("Cookie", "__Host-wsd=a; __Host-wsd=b");
    let answer = world.answer(&ask).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers()["clear-site-data"], "\"cookies\"");
}

#[rstest]
#[case::frame(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], StatusCode::FORBIDDEN)]
#[case::fetch(&[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty")], StatusCode::FORBIDDEN)]
#[case::repeated(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "empty")], StatusCode::FORBIDDEN)]
#[case::service_worker(&[("service-worker", "script"), ("sec-fetch-mode", "same-origin"), ("sec-fetch-dest", "serviceworker")], StatusCode::FORBIDDEN)]
#[tokio::test]
async fn the_auth_host_gives_tickets_to_windows_alone(
    #[case] fields: &[(&str, &str)],
    #[case] status: StatusCode,
) {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let begun = browser
        .ask(&world, Ask::navigate("http://3000-api.ws.localhost:8000/"))
        .await;
    let lines = fields
        .iter()
        .fold(Lines::default(), |lines, (name, value)| {
            lines.with(name, value)
        });
    let answer = browser
        .ask(&world, Ask::bare(&location(&begun), lines))
        .await;
    assert_eq!(answer.status(), status);
    assert!(!answer.headers().contains_key("location"));
}

#[tokio::test]
async fn a_login_request_is_taken_for_five_minutes_and_for_hosts_of_ours() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    let begun = browser
        .ask(&world, Ask::navigate("http://3000-api.ws.localhost:8000/"))
        .await;
    world.pass(5 * 60 + 30);
    let answer = browser.ask(&world, Ask::navigate(&location(&begun))).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    // A workspace that went meanwhile.
    let parse = |host: &str| world.login.place(host).is_some();
    assert!(parse("api.ws.localhost"));
    for host in [
        "gone.ws.localhost",
        "API.ws.localhost",
        "api.ws.localhost:8000",
        "auth.ws.localhost",
        "api.ws.localhost.evil.test",
        "evil.test",
        "",
    ] {
        assert!(!parse(host), "{host}");
    }
}

#[tokio::test]
async fn on_old_news_nobody_is_let_in() {
    let world = World::local();
    let mut browser = signed_in(&world).await;
    *world.shared.is_fresh.lock().unwrap() = false;
    let (_, answer) = browser
        .open(&world, "http://3000-api.ws.localhost:8000/")
        .await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Who is in stays in.
    let (_, answer) = browser.open(&world, &format!("{WORKSPACE}/")).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn threat_login_flood_is_refused_and_says_when_to_come_back() {
    let first = World::local();
    let world = World::replica(first.shared.clone(), 3);
    let mut browser = Browser::default();
    let callback = format!("{WORKSPACE}/.workstead-proxy/callback?ticket=x");
    for _ in 0..3 {
        let answer = browser.ask(&world, Ask::navigate(&callback)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    let answer = browser.ask(&world, Ask::navigate(&callback)).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "60");
}

#[tokio::test]
async fn threat_login_flood_of_one_person_is_refused_wherever_it_comes_from() {
    let first = World::local();
    let rates = Rates {
        per_address: 1000,
        per_user: 2,
    };
    let world = World::with_rates(first.shared.clone(), rates);
    let mut browser = signed_in(&world).await;
    let other_host = "http://3000-api.ws.localhost:8000/";
    let (_, answer) = browser.open(&world, other_host).await;
    let mut seen = vec![answer.status()];
    for _ in 0..2 {
        let (_, answer) = Browser::default().open(&world, &world.link()).await;
        seen.push(answer.status());
    }
    assert_eq!(
        seen.last(),
        Some(&StatusCode::TOO_MANY_REQUESTS),
        "{seen:?}"
    );
    world.pass(60);
    signed_in(&world).await;
}
