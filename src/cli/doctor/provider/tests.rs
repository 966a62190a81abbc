use rstest::rstest;

use super::*;
use crate::cli::doctor::report::Verdict;

fn provider() -> Provider {
    Provider {
        issuer: "https://id.example.com".to_owned(),
        client_id: "workstead".to_owned(),
        client_secret: None,
        has_hidden_secret: false,
        assume_s256: false,
    }
}

fn metadata(change: serde_json::Value) -> Metadata {
    let mut value = serde_json::json!({
        "issuer": "https://id.example.com",
        "code_challenge_methods_supported": ["S256"],
        "response_types_supported": ["code"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    for (key, new) in change.as_object().unwrap() {
        value[key] = new.clone();
    }
    serde_json::from_value(value).unwrap()
}

#[rstest]
#[case(serde_json::json!({}), Verdict::Good, "")]
#[case(serde_json::json!({"issuer": "https://id.example.com/"}), Verdict::Wrong, "proxy.oidc.issuer=https://id.example.com/")]
#[case(serde_json::json!({"response_types_supported": ["id_token"]}), Verdict::Wrong, "code")]
#[case(serde_json::json!({"id_token_signing_alg_values_supported": ["HS256", "none"]}), Verdict::Wrong, "HS256")]
#[case(serde_json::json!({"code_challenge_methods_supported": ["plain"]}), Verdict::Wrong, "assumeS256")]
#[case(serde_json::json!({"code_challenge_methods_supported": null}), Verdict::Wrong, "assumeS256")]
fn metadata_that_the_proxy_would_refuse_is_wrong_here_too(
    #[case] change: serde_json::Value,
    #[case] verdict: Verdict,
    #[case] said: &str,
) {
    let found = judge_metadata(&provider(), &metadata(change), 2);
    assert_eq!(found.verdict, verdict, "{found:?}");
    assert!(found.text().contains(said), "{found:?}");
}

#[test]
fn s256_may_be_assumed_by_who_knows_better() {
    let provider = Provider {
        assume_s256: true,
        ..provider()
    };
    let silent = metadata(serde_json::json!({"code_challenge_methods_supported": null}));
    let found = judge_metadata(&provider, &silent, 1);
    assert_eq!(found.verdict, Verdict::Warning);
}

#[rstest]
#[case(400, r#"{"error":"invalid_grant"}"#, Verdict::Good)]
#[case(401, r#"{"error":"invalid_client"}"#, Verdict::Wrong)]
#[case(400, r#"{"error":"unauthorized_client"}"#, Verdict::Wrong)]
#[case(500, "oops", Verdict::Warning)]
#[case(400, r#"{"error":"invalid_request"}"#, Verdict::Warning)]
fn a_made_up_code_tells_whether_the_client_is_known(
    #[case] status: u16,
    #[case] body: &str,
    #[case] verdict: Verdict,
) {
    let status = StatusCode::from_u16(status).unwrap();
    let found = judge_redeemed(&provider(), status, body.as_bytes(), body);
    assert_eq!(found.verdict, verdict, "{found:?}");
}

#[rstest]
#[case(
    303,
    Some("https://auth.example.com/cb?error=login_required&state=x"),
    Verdict::Good
)]
#[case(302, Some("https://auth.example.com/cb?code=1&state=x"), Verdict::Good)]
#[case(
    303,
    Some("https://auth.example.com/cb?error=invalid_scope"),
    Verdict::Warning
)]
#[case(
    302,
    Some("https://id.example.com/login?back=https://auth.example.com/cb"),
    Verdict::Warning
)]
#[case(
    303,
    Some("https://auth.example.com/cb.evil.example?error=login_required"),
    Verdict::Warning
)]
#[case(200, None, Verdict::Warning)]
#[case(400, None, Verdict::Wrong)]
fn where_a_silent_login_leads_tells_whether_the_redirect_is_registered(
    #[case] status: u16,
    #[case] location: Option<&str>,
    #[case] verdict: Verdict,
) {
    let status = StatusCode::from_u16(status).unwrap();
    let found = judge_redirect(
        "https://auth.example.com/cb",
        status,
        location,
        "no such URI",
    );
    assert_eq!(found.verdict, verdict, "{found:?}");
}

#[rstest]
#[case(&[("the provider", Some("Tue, 01 Dec 2026 10:00:20 GMT"))], Verdict::Good)]
#[case(&[("the provider", Some("Tue, 01 Dec 2026 10:01:20 GMT"))], Verdict::Wrong)]
#[case(&[("the provider", Some("Tue, 01 Dec 2026 10:00:00 GMT")), ("the proxy", Some("Tue, 01 Dec 2026 09:58:00 GMT"))], Verdict::Wrong)]
#[case(&[("the provider", Some("noon")), ("the proxy", None)], Verdict::Skipped)]
fn clocks_may_be_as_far_apart_as_tokens_forgive(
    #[case] others: &[(&str, Option<&str>)],
    #[case] verdict: Verdict,
) {
    let now = "2026-12-01T10:00:00Z".parse().unwrap();
    let found = judge_clock(now, others);
    assert_eq!(found.verdict, verdict, "{found:?}");
}

#[test]
fn a_secret_goes_into_the_form_only_where_it_can_go_nowhere_else() {
    for (methods, in_form) in [
        (serde_json::json!(null), false),
        (
            serde_json::json!(["client_secret_basic", "client_secret_post"]),
            false,
        ),
        (serde_json::json!(["client_secret_post"]), true),
    ] {
        let said = metadata(serde_json::json!({"token_endpoint_auth_methods_supported": methods}));
        assert_eq!(said.takes_secret_in_form(), in_form, "{methods}");
    }
}

#[test]
fn the_challenge_is_that_of_the_verifier() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(MADE_UP);
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    assert_eq!(text, CHALLENGE);
}
