use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::model::names::DnsSubdomain;
use crate::proxy::door::{Client, Fields};
use crate::proxy::host::Scheme;
use crate::proxy::route::facts::Key;
use crate::proxy::route::fixtures::{route, routes};

struct Lines<'l>(&'l [(&'l str, &'l str)]);

impl Fields for Lines<'_> {
    fn each<'a>(&'a self, name: &str, call: &mut dyn FnMut(&'a [u8])) {
        for (key, value) in self.0 {
            if key.eq_ignore_ascii_case(name) {
                call(value.as_bytes());
            }
        }
    }
}

fn site() -> Site {
    let name = |text| DnsSubdomain::new(text).unwrap();
    let (domain, auth) = (name("ws.example.com"), name("login.example.net"));
    Site::new(&domain, &auth, Scheme::Https, None).unwrap()
}

const HOST: &str = "3000-api.ws.example.com";
const OWN: &str = "https://3000-api.ws.example.com";
const LISTED: &str = "https://8080-api.ws.example.com";
const ELSEWHERE: &str = "https://app.example.org";
const SIBLING: &str = "https://mallory.ws.example.com";

fn spec(cors: &str) -> Value {
    json!({"endpoints": [
        {
            "name": "web", "port": 3000, "cors": cors,
            "allowedOrigins": [
                LISTED, ELSEWHERE, "https://8080-carol.ws.example.com", "https://8080-gone.ws.example.com",
                "https://login.example.net", "https://x.y.ws.example.com", "https://other.ws.example.com",
            ],
        },
        {"name": "open", "port": 8080, "visibility": "Public"},
    ]})
}

/// The workspace of Alice, and all that there are.
fn world(cors: &str) -> (Route, Routes) {
    let own = route(spec(cors), json!({"maxVisibility": "Public"}));
    let of = |name: &str, owner: &str| {
        let mut other = route(json!({"owner": owner}), json!({}));
        other.key = Key::new("team-b", name);
        other.uid = name.into();
        other
    };
    let all = [
        own.clone(),
        of("carol", "carol@example.com"),
        of("mallory", "mallory@example.com"),
        of("other", "alice@example.com"),
    ];
    (own, routes(all))
}

/// A request, for whoever looks at it.
fn asked<T>(
    host: &str,
    cors: &str,
    (method, is_websocket): (&Method, bool),
    fields: &[(&str, &str)],
    ask: impl FnOnce(&Request<'_>, &Context<'_>) -> T,
) -> T {
    let ((own, all), site) = (world(cors), site());
    let host = site.parse(host.as_bytes()).unwrap();
    let Target::Workspace { port, .. } = host.target else {
        panic!("{host} is no workspace");
    };
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_tls: true,
        is_insecure_local: false,
        version: "1.1",
    };
    let fields = Lines(fields);
    let request = Request {
        method,
        target: "/",
        host: &host,
        fields: &fields,
        is_websocket,
        body_length: None,
        body: b"",
        client: &client,
    };
    let context = Context {
        site: &site,
        routes: &all,
        route: &own,
        port,
    };
    ask(&request, &context)
}

fn plain(method: &Method, fields: &[(&str, &str)]) -> Result<(), Foreign> {
    asked(HOST, "Strict", (method, false), fields, check)
}

fn websocket_at(host: &str, fields: &[(&str, &str)]) -> Result<(), Foreign> {
    asked(host, "Strict", (&Method::GET, true), fields, check)
}

const NAVIGATION: [(&str, &str); 2] = [
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
];

#[rstest]
#[case::own("same-origin", None, true)]
#[case::typed_in("none", None, true)]
#[case::listed("same-site", Some(LISTED), true)]
#[case::listed_elsewhere("cross-site", Some(ELSEWHERE), true)]
#[case::sibling("same-site", Some(SIBLING), false)]
#[case::foreign("cross-site", Some("https://evil.test"), false)]
#[case::foreign_without_origin("cross-site", None, false)]
#[case::sibling_without_origin("same-site", None, false)]
#[case::hidden("cross-site", Some("null"), false)]
fn csrf_from_a_sibling_origin_its_requests_are_told_from_ones_own(
    #[case] from: &str,
    #[case] origin: Option<&str>,
    #[case] allowed: bool,
) {
    let mut fields = vec![("Sec-Fetch-Site", from)];
    fields.extend(origin.map(|origin| ("Origin", origin)));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = plain(&method, &fields);
        assert_eq!(answer.is_ok(), allowed, "{method} {answer:?}");
    }
    // A script, an answer, a frame, an object.
    for (mode, destination) in [
        ("no-cors", "script"),
        ("cors", "empty"),
        ("navigate", "iframe"),
        ("navigate", "embed"),
    ] {
        let mut fields = fields.clone();
        fields.extend([("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", destination)]);
        let answer = plain(&Method::GET, &fields);
        assert_eq!(answer.is_ok(), allowed, "{mode} {destination} {answer:?}");
    }
    // A link is followed from anywhere.
    fields.extend(NAVIGATION);
    if origin.is_none() {
        assert_eq!(plain(&Method::GET, &fields), Ok(()));
    }
}

#[test]
fn a_page_that_a_service_worker_asks_for_is_shown_by_a_window_alone() {
    let by_worker = |from| {
        let fields = [
            ("Sec-Fetch-Site", from),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "empty"),
        ];
        plain(&Method::GET, &fields)
    };
    assert_eq!(by_worker("none"), Ok(()));
    assert_eq!(by_worker("same-origin"), Ok(()));
    for from in ["same-site", "cross-site"] {
        assert_eq!(by_worker(from), Err(Foreign::Repeated));
    }
    let answer = crate::proxy::pages::foreign(Foreign::Repeated);
    assert_eq!(answer.headers()["x-frame-options"], "DENY");
    let text = String::from_utf8_lossy(answer.body());
    assert!(
        text.contains("http-equiv=\"refresh\" content=\"0\""),
        "{text}"
    );
}

#[test]
fn csrf_from_a_sibling_origin_no_mode_makes_an_unsafe_request_a_safe_one() {
    let mut fields = vec![("Sec-Fetch-Site", "cross-site"), ("Origin", SIBLING)];
    fields.extend(NAVIGATION);
    assert_eq!(plain(&Method::POST, &fields), Err(Foreign::Unsafe));
    let claims = [
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Mode", "same-origin"),
    ];
    assert_eq!(plain(&Method::POST, &claims), Err(Foreign::Unsafe));
    assert_eq!(plain(&Method::GET, &claims), Err(Foreign::Embedded));
}

#[test]
fn a_form_of_ones_own_page_that_hides_its_address_is_taken() {
    let fields = [("Sec-Fetch-Site", "same-origin"), ("Origin", "null")];
    assert_eq!(plain(&Method::POST, &fields), Ok(()));
}

#[rstest]
#[case(&[("Sec-Fetch-Site", "same-origin"), ("Origin", SIBLING)])]
#[case(&[("Sec-Fetch-Site", "none"), ("Origin", SIBLING)])]
#[case(&[("Sec-Fetch-Site", "cross-site"), ("Origin", OWN)])]
#[case(&[("Sec-Fetch-Site", "same-site"), ("Origin", OWN)])]
fn headers_that_contradict_each_other_open_nothing(#[case] fields: &[(&str, &str)]) {
    for method in [Method::GET, Method::POST] {
        assert_eq!(plain(&method, fields), Err(Foreign::Contradiction));
    }
}

#[rstest]
#[case::own(&[("Origin", OWN)], true)]
#[case::own_with_fetch_metadata(&[("Origin", OWN), ("Sec-Fetch-Site", "same-origin")], true)]
#[case::listed(&[("Origin", LISTED)], true)]
#[case::listed_with_fetch_metadata(&[("Origin", LISTED), ("Sec-Fetch-Site", "same-site")], true)]
#[case::sibling(&[("Origin", SIBLING)], false)]
#[case::foreign(&[("Origin", "https://evil.test")], false)]
#[case::hidden(&[("Origin", "null")], false)]
#[case::absent(&[], false)]
#[case::absent_though_typed_in(&[("Sec-Fetch-Site", "none")], false)]
#[case::absent_though_same_origin(&[("Sec-Fetch-Site", "same-origin")], false)]
#[case::twice(&[("Origin", OWN), ("Origin", OWN)], false)]
#[case::another_scheme(&[("Origin", "http://3000-api.ws.example.com")], false)]
#[case::another_port(&[("Origin", "https://3000-api.ws.example.com:8443")], false)]
#[case::a_longer_name(&[("Origin", "https://3000-api.ws.example.com.evil.test")], false)]
#[case::in_capitals(&[("Origin", "https://3000-API.ws.example.com")], false)]
#[case::own_but_said_to_be_foreign(&[("Origin", OWN), ("Sec-Fetch-Site", "cross-site")], false)]
#[case::by_referer(&[("Referer", "https://3000-api.ws.example.com/")], false)]
#[case::host_confusion(&[("Origin", SIBLING), ("X-Forwarded-Host", "mallory.ws.example.com")], false)]
fn cross_site_websocket_hijack_only_pages_of_this_host_and_listed_ones_open_one(
    #[case] fields: &[(&str, &str)],
    #[case] allowed: bool,
) {
    let answer = websocket_at(HOST, fields);
    assert_eq!(answer.is_ok(), allowed, "{answer:?}");
    // RFC 8441: the same question by another method.
    let connect = asked(HOST, "Strict", (&Method::CONNECT, true), fields, check);
    assert_eq!(connect, answer);
}

#[rstest]
#[case("POST", &[("Origin", OWN)], true)]
#[case("POST", &[("Origin", LISTED)], true)]
#[case("POST", &[("Origin", SIBLING)], false)]
#[case("POST", &[("Origin", "null")], false)]
#[case("POST", &[], false)]
#[case("POST", &[("Referer", "https://3000-api.ws.example.com/form?a=b")], true)]
#[case("POST", &[("Referer", "https://mallory.ws.example.com/https://3000-api.ws.example.com")], false)]
#[case("POST", &[("Referer", "about:blank")], false)]
#[case("GET", &[], true)]
#[case("GET", &[("Origin", SIBLING)], false)]
#[case("GET", &[("Referer", "https://mallory.ws.example.com/"), ("Accept", "image/*")], false)]
#[case("GET", &[("Referer", "https://mallory.ws.example.com/"), ("Accept", "text/html,*/*")], true)]
#[case("GET", &[("Referer", "https://8080-api.ws.example.com/x"), ("Accept", "image/*")], true)]
fn csrf_from_a_sibling_origin_old_browsers_are_told_by_origin_and_referer(
    #[case] method: Method,
    #[case] fields: &[(&str, &str)],
    #[case] allowed: bool,
) {
    let answer = plain(&method, fields);
    assert_eq!(answer.is_ok(), allowed, "{answer:?}");
}

#[rstest]
#[case::of_another_owner("https://8080-carol.ws.example.com", false)]
#[case::of_nobody_any_more("https://8080-gone.ws.example.com", false)]
#[case::the_login("https://login.example.net", false)]
#[case::no_name_of_ours("https://x.y.ws.example.com", false)]
#[case::another_workspace_of_the_owner("https://other.ws.example.com", true)]
#[case::elsewhere(ELSEWHERE, true)]
fn cors_trust_by_name_a_listed_host_counts_while_its_workspace_is_the_owners(
    #[case] origin: &str,
    #[case] allowed: bool,
) {
    let fields = [("Origin", origin), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(plain(&Method::POST, &fields).is_ok(), allowed);
    assert_eq!(websocket_at(HOST, &fields).is_ok(), allowed);
}

#[test]
fn the_editor_lists_nobody() {
    for origin in [LISTED, ELSEWHERE, OWN] {
        let answer = websocket_at("api.ws.example.com", &[("Origin", origin)]);
        assert_eq!(answer, Err(Foreign::WebSocket), "{origin}");
    }
    let own = [("Origin", "https://api.ws.example.com")];
    assert_eq!(websocket_at("api.ws.example.com", &own), Ok(()));
    let by_port = websocket_at("60001-api.ws.example.com", &own);
    assert_eq!(by_port, Err(Foreign::WebSocket));
}

#[test]
fn ones_own_origin_has_the_port_by_which_the_host_was_reached() {
    let at = |host: &str, origin| websocket_at(host, &[("Origin", origin)]).is_ok();
    let ported = "3000-api.ws.example.com:8443";
    assert!(at("3000-api.ws.example.com:443", OWN));
    assert!(at(ported, "https://3000-api.ws.example.com:8443"));
    assert!(!at(ported, OWN));
    assert!(!at(HOST, "https://3000-api.ws.example.com:8443"));
}

const ASKS: (&str, &str) = ("Access-Control-Request-Method", "POST");

#[rstest]
#[case::no_origin(&[ASKS], Some(Visibility::Public), None)]
#[case::no_question(&[("Origin", ELSEWHERE)], Some(Visibility::Public), None)]
#[case::public(&[ASKS, ("Origin", SIBLING)], Some(Visibility::Public), Some(Preflight::Forward))]
#[case::listed(&[ASKS, ("Origin", ELSEWHERE)], Some(Visibility::Private), Some(Preflight::Forward))]
#[case::sibling(&[ASKS, ("Origin", SIBLING)], Some(Visibility::Authenticated), Some(Preflight::Refuse))]
#[case::hidden(&[ASKS, ("Origin", "null")], Some(Visibility::Shared), Some(Preflight::Refuse))]
#[case::twice(
    &[ASKS, ("Origin", ELSEWHERE), ("Origin", ELSEWHERE)], Some(Visibility::Shared), Some(Preflight::Refuse)
)]
#[case::closed(&[ASKS, ("Origin", ELSEWHERE)], None, Some(Preflight::Refuse))]
fn a_preflight_goes_to_the_program_only_where_the_port_says_so(
    #[case] fields: &[(&str, &str)],
    #[case] visibility: Option<Visibility>,
    #[case] expected: Option<Preflight>,
) {
    let ask = |host: &str, cors: &str| {
        asked(
            host,
            cors,
            (&Method::OPTIONS, false),
            fields,
            |request, context| preflight(request, context, visibility),
        )
    };
    assert_eq!(ask(HOST, "Passthrough"), expected);
    let strict = expected.map(|answer| match visibility {
        Some(Visibility::Public) => answer,
        _ => Preflight::Refuse,
    });
    assert_eq!(ask(HOST, "Strict"), strict);
    assert_eq!(ask("api.ws.example.com", "Passthrough"), strict);
}

const NAMES: [&str; 9] = [
    "Sec-Fetch-Site",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
    "Referer",
    "Accept",
    "Host",
    "X-Forwarded-Host",
    "Forwarded",
    "Cookie",
];
const VALUES: [&str; 14] = [
    OWN,
    LISTED,
    SIBLING,
    ELSEWHERE,
    "null",
    "",
    "same-origin",
    "same-site",
    "cross-site",
    "none",
    "navigate",
    "document",
    "websocket",
    "text/html",
];
const FOREIGN: [&str; 5] = [
    SIBLING,
    "null",
    "",
    "https://evil.test",
    "https://3000-api.ws.example.com.evil.test",
];

proptest! {
    #[test]
    fn nothing_that_names_a_sibling_or_nobody_opens_a_websocket_or_changes_anything(
        fields in proptest::collection::vec(
            (
                proptest::sample::select(&NAMES[..]),
                prop_oneof![
                    proptest::sample::select(&VALUES[..]).prop_map(str::to_owned),
                    "[ -~]{0,40}",
                ],
            ),
            0..6,
        ),
        origin in proptest::option::of(proptest::sample::select(&FOREIGN[..])),
    ) {
        let mut fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        fields.extend(origin.map(|origin| ("Origin", origin)));
        prop_assert_eq!(websocket_at(HOST, &fields), Err(Foreign::WebSocket));
        if origin.is_some() {
            // `null` beside `same-origin` is a form that hides its address: only a browser can say so.
            let own = fields.contains(&("Sec-Fetch-Site", "same-origin")) && origin == Some("null");
            prop_assert!(own || plain(&Method::POST, &fields).is_err());
        }
    }
}
