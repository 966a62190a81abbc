//! Signing in and out at a real provider.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{Method, StatusCode};
use serde_json::json;
use workstead::proxy::login::BACK_CHANNEL_PATH;
use workstead::proxy::login::outside::Directory as _;
use workstead::testkit::wait::eventually;

use super::http::Jar;
use super::provider::{Provider, SECRET};
use super::site::{AUTH, Browser, CALLBACK, HOST, Lines, World, location, mk_oidc};

const WORKSPACE: &str = "https://api.ws.example.com/start?a=b";
const SIGNED_OUT: &str = "https://login.example.net/.workstead-proxy/signed-out";

fn provider() -> Provider {
    let more = json!({"post_logout_redirect_uris": [SIGNED_OUT]});
    Provider::start(CALLBACK, more)
}

/// Goes to the provider and signs in there; gives where it sends the browser.
async fn at_provider(
    world: &World,
    provider: &Provider,
    browser: &mut Browser,
    person: &str,
    jar: &mut Jar,
) -> String {
    let sent = browser.follow(world, WORKSPACE).await;
    let address = sent.expect_err("the provider is asked");
    assert!(address.starts_with(&provider.issuer), "{address}");
    for part in [
        "response_type=code",
        "state=",
        "nonce=",
        "code_challenge_method=S256",
    ] {
        assert!(address.contains(part), "{address}");
    }
    provider.sign_in(&address, person, jar).await
}

async fn signed_in(world: &World, provider: &Provider, jar: &mut Jar) -> Browser {
    let mut browser = Browser::default();
    let back = at_provider(world, provider, &mut browser, "alice", jar).await;
    let answer = browser.follow(world, &back).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    browser
}

#[tokio::test]
async fn a_person_signs_in_at_a_real_provider_and_comes_back_to_where_they_wanted() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut browser = Browser::default();
    let mut jar = Jar::default();
    let back = at_provider(&world, &provider, &mut browser, "alice", &mut jar).await;
    assert!(
        back.starts_with(CALLBACK) && back.contains("iss="),
        "{back}"
    );
    let to_ticket = browser.navigate(&world, &back).await;
    let ticket = location(&to_ticket);
    assert!(ticket.starts_with("https://api.ws.example.com/.workstead-proxy/callback?ticket="));
    let to_page = browser.navigate(&world, &ticket).await;
    assert_eq!(location(&to_page), WORKSPACE);
    let session = browser.signed_in(&world).unwrap();
    assert_eq!(session.subject(), "alice@example.com");
    // Only what this workspace's policy names, of what the provider said.
    assert_eq!(session.groups, ["team-b"]);
    assert_eq!(browser.cookies(AUTH), ["__Host-wsd-auth"]);
    assert_eq!(browser.cookies(HOST), ["__Host-wsd"]);
}

#[tokio::test]
async fn every_cookie_of_a_user_with_two_hundred_groups_is_kept() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut browser = Browser::default();
    let mut jar = Jar::default();
    let back = at_provider(&world, &provider, &mut browser, "carol", &mut jar).await;
    browser.follow(&world, &back).await.unwrap();
    assert_eq!(
        browser.signed_in(&world).unwrap().subject(),
        "carol@example.com"
    );
}

#[tokio::test]
async fn threat_takeover_by_an_address_that_nobody_verified() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut browser = Browser::default();
    let mut jar = Jar::default();
    let back = at_provider(&world, &provider, &mut browser, "bob", &mut jar).await;
    let answer = browser.navigate(&world, &back).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(browser.cookies(AUTH).is_empty());
}

#[tokio::test]
async fn threat_login_csrf_and_code_replay_a_code_is_redeemed_in_the_browser_that_asked_and_once() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut attacker = Browser::default();
    let mut jar = Jar::default();
    let back = at_provider(&world, &provider, &mut attacker, "alice", &mut jar).await;
    let mut victim = Browser::default();
    let _ = victim.follow(&world, WORKSPACE).await;
    let answer = victim.navigate(&world, &back).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(!answer.headers().contains_key("set-cookie"));
    // The code was not redeemed for the victim: it still works where it was asked for, once.
    let answer = attacker.navigate(&world, &back).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let answer = attacker.navigate(&world, &back).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn threat_mix_up_an_answer_in_the_name_of_another_issuer_redeems_nothing() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut jar = Jar::default();
    for change in ["&iss=https%3A%2F%2Fevil.test", "", "&iss=twice&iss=twice"] {
        let mut browser = Browser::default();
        let back = at_provider(&world, &provider, &mut browser, "alice", &mut jar).await;
        let (before, _) = back.split_once("&iss=").unwrap();
        let answer = browser.navigate(&world, &format!("{before}{change}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{change}");
        // The attempt is over, whoever spoiled it.
        let answer = browser.navigate(&world, &back).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{change}");
    }
}

#[tokio::test]
async fn a_wrong_secret_of_the_client_is_a_fault_of_the_installation() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some("wrong")));
    let mut browser = Browser::default();
    let mut jar = Jar::default();
    let back = at_provider(&world, &provider, &mut browser, "alice", &mut jar).await;
    let answer = browser.navigate(&world, &back).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_person_who_says_no_at_the_provider_is_told_so() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut browser = Browser::default();
    let address = browser.follow(&world, WORKSPACE).await.unwrap_err();
    let state = address
        .split("state=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let mut issuer = String::new();
    for byte in provider.issuer.bytes() {
        issuer.push_str(&format!("%{byte:02X}"));
    }
    let back = format!("{CALLBACK}?state={state}&error=access_denied&iss={issuer}");
    let answer = browser.navigate(&world, &back).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(
        std::str::from_utf8(answer.body())
            .unwrap()
            .contains("access_denied")
    );
}

#[tokio::test]
async fn the_word_about_groups_is_asked_for_again_after_an_hour() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut browser = Browser::default();
    let mut jar = Jar::default();
    let back = at_provider(&world, &provider, &mut browser, "carol", &mut jar).await;
    browser.follow(&world, &back).await.unwrap();
    *world.memory.ahead.lock().unwrap() = 3500;
    assert!(browser.follow(&world, WORKSPACE).await.is_ok());
    *world.memory.ahead.lock().unwrap() = 2 * 3600 + 3700;
    let address = browser.follow(&world, WORKSPACE).await.unwrap_err();
    assert!(address.starts_with(&provider.issuer));
}

#[tokio::test]
async fn signing_out_goes_on_to_the_provider_and_comes_back() {
    let provider = provider();
    let world = World::new(mk_oidc(&provider.issuer, Some(SECRET)));
    let mut jar = Jar::default();
    let mut browser = signed_in(&world, &provider, &mut jar).await;
    let press = "https://api.ws.example.com/.workstead-proxy/sign-out";
    let answer = browser.press(&world, press, "scope=here").await;
    let there = browser
        .follow(&world, &location(&answer))
        .await
        .unwrap_err();
    assert!(there.starts_with(&provider.issuer), "{there}");
    let back = provider.sign_out(&there, &mut jar).await;
    assert_eq!(back.split('?').next(), Some(SIGNED_OUT));
    assert!(browser.cookies(AUTH).is_empty() && browser.cookies(HOST).is_empty());
    // Now the provider asks for a password again.
    let again = browser.follow(&world, WORKSPACE).await.unwrap_err();
    let page = super::http::ask(&again, None, &mut jar).await;
    assert!(page.location.unwrap().contains("/interaction/"));
}

/// Takes what the provider posts to the back channel, as the listener would.
async fn serve_back_channel(listener: tokio::net::TcpListener, world: Arc<World>) {
    let take = |State(world): State<Arc<World>>, body: String| async move {
        let address = format!("https://{AUTH}{BACK_CHANNEL_PATH}");
        let answer = world
            .answer(Method::POST, &address, &Lines::default(), &body)
            .await;
        answer.status()
    };
    let router = Router::new()
        .route(BACK_CHANNEL_PATH, post(take))
        .with_state(world);
    axum::serve(listener, router).await.unwrap();
}

#[tokio::test]
async fn a_sign_out_at_the_provider_ends_the_session_here_by_the_back_channel() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let more = json!({
        "post_logout_redirect_uris": [SIGNED_OUT],
        "backchannel_logout_uri": format!("http://{address}{BACK_CHANNEL_PATH}"),
        "backchannel_logout_session_required": true,
    });
    let provider = Provider::start(CALLBACK, more);
    let world = Arc::new(World::new(mk_oidc(&provider.issuer, Some(SECRET))));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve_back_channel(listener, Arc::clone(&world)));
    let mut jar = Jar::default();
    let browser = signed_in(&world, &provider, &mut jar).await;
    let login = browser.signed_in(&world).unwrap().login.clone();
    assert!(login.op_sid.is_some());
    let end = format!("{}/session/end?client_id=workstead", provider.issuer);
    provider.sign_out(&end, &mut jar).await;
    eventually("the provider to say so", || async {
        world.memory.epochs().ends(&login).then_some(())
    })
    .await;
    assert!(browser.signed_in(&world).is_none());
}
