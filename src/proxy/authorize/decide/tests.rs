use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::proxy::route::fixtures::{Person, route};

/// A port for each visibility, one that lists nobody, and the editor.
fn spec() -> Value {
    json!({
        "shared": {"users": ["bob@example.com"], "groups": ["team-a"]},
        "endpoints": [
            {"name": "private", "port": 3000},
            {"name": "shared", "port": 3001, "visibility": "Shared"},
            {"name": "authenticated", "port": 3002, "visibility": "Authenticated"},
            {"name": "public", "port": 3003, "visibility": "Public", "protocol": "H2c"},
        ],
    })
}

fn wide() -> Value {
    json!({"maxVisibility": "Public"})
}

fn who(name: &str) -> Option<Person> {
    match name {
        "nobody" => None,
        "alice" => Some(Person::new("alice@example.com", &[])),
        "bob" => Some(Person::new("bob@example.com", &[])),
        "member" => Some(Person::new("carol@example.com", &["team-b", "team-a"])),
        "stranger" => Some(Person::new("mallory@example.com", &["team-b"])),
        // Names are compared byte for byte.
        "lookalike" => Some(Person::new("Alice@example.com", &["Team-A"])),
        _ => panic!("{name}"),
    }
}

fn decided(spec: Value, access: Value, port: Option<u16>, viewer: &str, stage: Stage) -> Decision {
    let viewer = who(viewer);
    decide(&Question {
        route: &route(spec, access),
        port,
        viewer: viewer.as_ref(),
        stage,
    })
}

fn in_short(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow(allowed) => allowed.role.as_str(),
        Decision::SignIn => "sign in",
        Decision::NotFound => "404",
        Decision::Forbidden(_) => "forbidden",
        Decision::Unsure(_) => "unsure",
    }
}

#[rstest]
// Port, then what these see: nobody, alice (owner), bob (by name), member (by group), stranger, lookalike.
#[case::editor(None, ["sign in", "owner", "by_name", "by_group", "404", "404"])]
#[case::editor_by_its_port(Some(60001), ["sign in", "owner", "by_name", "by_group", "404", "404"])]
#[case::private(Some(3000), ["sign in", "owner", "404", "404", "404", "404"])]
#[case::shared(Some(3001), ["sign in", "owner", "by_name", "by_group", "404", "404"])]
#[case::authenticated(Some(3002), ["sign in", "owner", "by_name", "by_group", "signed_in", "signed_in"])]
#[case::public(Some(3003), ["public", "owner", "by_name", "by_group", "public", "public"])]
#[case::undeclared(Some(4000), ["sign in", "forbidden", "404", "404", "404", "404"])]
#[case::supervisor(Some(60003), ["sign in", "forbidden", "404", "404", "404", "404"])]
#[case::readiness(Some(60004), ["sign in", "forbidden", "404", "404", "404", "404"])]
#[case::ssh(Some(60022), ["sign in", "forbidden", "404", "404", "404", "404"])]
fn every_port_opens_for_those_whom_it_names_and_for_nobody_else(
    #[case] port: Option<u16>,
    #[case] expected: [&str; 6],
) {
    let viewers = ["nobody", "alice", "bob", "member", "stranger", "lookalike"];
    let see = |viewer| in_short(decided(spec(), wide(), port, viewer, Stage::Fresh));
    assert_eq!(viewers.map(see), expected);
}

#[rstest]
#[case(json!({"maxVisibility": "Public"}), Some(3003), "public")]
#[case(json!({"maxVisibility": "Authenticated"}), Some(3003), "signed_in")]
#[case(json!({}), Some(3003), "signed_in")]
#[case(json!({"maxVisibility": "Shared"}), Some(3003), "404")]
#[case(json!({"maxVisibility": "Private"}), Some(3002), "404")]
fn visibility_above_the_cap_a_port_opens_no_further_than_the_class_lets_it(
    #[case] access: Value,
    #[case] port: Option<u16>,
    #[case] seen: &str,
) {
    let decision = decided(spec(), access, port, "stranger", Stage::Fresh);
    assert_eq!(in_short(decision), seen);
}

#[rstest]
#[case::as_an_endpoint(json!([{"name": "shell", "port": 60001, "visibility": "Public"}]))]
#[case::as_two(json!([
    {"name": "shell", "port": 60001, "visibility": "Public"},
    {"name": "web", "port": 3000, "visibility": "Public"},
]))]
fn port_tricks_no_way_of_declaring_the_editor_opens_it_beyond_those_it_is_shared_with(
    #[case] endpoints: Value,
) {
    let spec = json!({"endpoints": endpoints, "shared": {"users": ["bob@example.com"]}});
    for port in [None, Some(60001)] {
        for (viewer, seen) in [
            ("nobody", "sign in"),
            ("stranger", "404"),
            ("bob", "by_name"),
        ] {
            let decision = decided(spec.clone(), wide(), port, viewer, Stage::Fresh);
            assert_eq!(in_short(decision), seen, "{port:?}");
        }
    }
    let kept = json!({"maxVisibility": "Public", "editor": "Private"});
    let decision = decided(spec, kept, Some(60001), "bob", Stage::Fresh);
    assert_eq!(in_short(decision), "404");
}

#[rstest]
#[case(60003)]
#[case(60004)]
#[case(60022)]
#[case::of_the_installation(2222)]
#[case(0)]
fn port_tricks_an_internal_port_stays_closed_even_where_it_is_declared(#[case] port: u16) {
    let spec = json!({"endpoints": [{"name": "x", "port": port, "visibility": "Public"}]});
    let access = json!({"maxVisibility": "Public", "undeclaredPorts": true});
    for (viewer, seen) in [
        ("nobody", "sign in"),
        ("stranger", "404"),
        ("alice", "forbidden"),
    ] {
        let (spec, access) = (spec.clone(), access.clone());
        let decision = decided(spec, access, Some(port), viewer, Stage::Fresh);
        assert_eq!(in_short(decision), seen);
    }
}

#[test]
fn an_undeclared_port_is_the_owners_alone_where_the_class_says_so() {
    let access = json!({"undeclaredPorts": true, "maxVisibility": "Public"});
    let see = |viewer| decided(spec(), access.clone(), Some(4000), viewer, Stage::Fresh);
    let Decision::Allow(allowed) = see("alice") else {
        panic!("the owner is let in");
    };
    assert_eq!(
        (allowed.port, allowed.visibility),
        (Some(4000), Visibility::Private)
    );
    assert_eq!(see("bob"), Decision::NotFound);
    assert_eq!(see("nobody"), Decision::SignIn);
}

#[rstest]
// Stage, then alice at the private port, bob at the shared one, nobody at the public one, nobody at the editor.
#[case(Stage::Fresh, ["owner", "by_name", "public", "sign in"])]
#[case(Stage::Settled, ["owner", "by_name", "public", "unsure"])]
#[case(Stage::Owners, ["owner", "unsure", "unsure", "unsure"])]
#[case(Stage::Closed, ["unsure", "unsure", "unsure", "unsure"])]
fn stale_authorization_the_older_the_picture_the_fewer_pass(
    #[case] stage: Stage,
    #[case] expected: [&str; 4],
) {
    let asked = [
        (Some(3000), "alice"),
        (Some(3001), "bob"),
        (Some(3003), "nobody"),
        (None, "nobody"),
    ];
    let see = |(port, viewer)| in_short(decided(spec(), wide(), port, viewer, stage));
    assert_eq!(asked.map(see), expected);
}

#[test]
fn what_is_dialled_is_what_the_workspace_declares() {
    let allowed = |port| match decided(spec(), wide(), port, "alice", Stage::Fresh) {
        Decision::Allow(allowed) => (allowed.port, allowed.protocol),
        decision => panic!("{decision:?}"),
    };
    assert_eq!(allowed(None), (Some(60001), EndpointProtocol::Http));
    assert_eq!(allowed(Some(3000)), (Some(3000), EndpointProtocol::Http));
    assert_eq!(allowed(Some(3003)), (Some(3003), EndpointProtocol::H2c));
}

#[test]
fn a_right_ends_with_what_it_rests_on() {
    let person = Person::new("bob@example.com", &[]);
    let end = |role| ends(role, Some(&person));
    assert_eq!(end(Role::ByGroup), Some(person.session_ends));
    for role in [Role::Owner, Role::ByName, Role::SignedIn] {
        assert_eq!(end(role), Some(person.login_ends));
    }
    assert_eq!(end(Role::Public), None);
    assert_eq!(ends::<Person>(Role::Public, None), None);
}

const VISIBILITIES: [&str; 4] = ["Private", "Shared", "Authenticated", "Public"];
const VIEWERS: [&str; 6] = ["nobody", "alice", "bob", "member", "stranger", "lookalike"];
const STAGES: [Stage; 4] = [Stage::Fresh, Stage::Settled, Stage::Owners, Stage::Closed];

proptest! {
    /// The same rules once more, as the table of the specification has them.
    #[test]
    fn whoever_asks_for_whatever_passes_only_by_the_table(
        asked in 0..4_usize,
        cap in 0..4_usize,
        port in proptest::sample::select(
            vec![None, Some(3000), Some(4000), Some(60001), Some(60003), Some(60004)]
        ),
        viewer in proptest::sample::select(&VIEWERS[..]),
        undeclared: bool,
        stage in proptest::sample::select(&STAGES[..]),
    ) {
        let spec = json!({
            "shared": {"users": ["bob@example.com"], "groups": ["team-a"]},
            "endpoints": [{"name": "web", "port": 3000, "visibility": VISIBILITIES[asked]}],
        });
        let access = json!({"maxVisibility": VISIBILITIES[cap], "undeclaredPorts": undeclared});
        let decision = decided(spec, access, port, viewer, stage);
        let widest = match port {
            None | Some(60001) => Some(1),
            Some(3000) => Some(asked.min(cap)),
            Some(4000) if undeclared => Some(0),
            _ => None,
        };
        let needed = match viewer {
            "nobody" => 3,
            "alice" => 0,
            "bob" | "member" => 1,
            _ => 2,
        };
        let in_time = match stage {
            Stage::Fresh | Stage::Settled => true,
            Stage::Owners => viewer == "alice",
            Stage::Closed => false,
        };
        let passes = widest.is_some_and(|widest| needed <= widest) && in_time;
        prop_assert_eq!(matches!(decision, Decision::Allow(_)), passes, "{:?}", decision);
        // Nobody else learns that a port is there.
        if viewer != "alice" {
            prop_assert!(!matches!(decision, Decision::Forbidden(_)));
        }
    }
}
