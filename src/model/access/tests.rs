use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::Workspace;
use crate::model::fixtures::{at, class_with, installation, workspace_with};
use crate::model::names::DnsSubdomain;

/// A workspace whose editor is at 60001, with a port of each visibility.
fn workspace(shared: Value) -> Workspace {
    let endpoint = |name: &str, port: u16| json!({"name": name.to_lowercase(), "port": port, "visibility": name});
    let mut spec = json!({"endpoints": [
        {"name": "silent", "port": 3000}, endpoint("Private", 3001), endpoint("Shared", 3002),
        endpoint("Authenticated", 3003), endpoint("Public", 3004), {"name": "shell", "port": 60001, "visibility": "Public"},
    ]});
    if !shared.is_null() {
        spec["shared"] = shared;
    }
    workspace_with(spec)
}

fn rules(access: Value) -> AccessRules {
    AccessRules::of(class_with(json!({"access": access})).spec.access.as_ref())
}

fn visibility(workspace: &Workspace, class: &AccessRules, port: Option<u16>) -> Option<Visibility> {
    Port::of(&workspace.spec.endpoints, Some(60001), port)
        .visibility(workspace.spec.shared.as_ref(), class)
}

#[rstest]
#[case::silent(3000, Some(Visibility::Private))]
#[case::private(3001, Some(Visibility::Private))]
#[case::shared(3002, Some(Visibility::Shared))]
#[case::authenticated(3003, Some(Visibility::Authenticated))]
#[case::public_over_the_cap(3004, Some(Visibility::Authenticated))]
#[case::undeclared(3005, None)]
#[case::the_editor_by_its_number(60001, Some(Visibility::Private))]
#[case::supervisor(60003, None)]
#[case::readiness(60004, None)]
#[case::sshd(60022, None)]
fn a_port_opens_as_it_says_within_what_a_silent_class_allows(
    #[case] port: u16,
    #[case] expected: Option<Visibility>,
) {
    let workspace = workspace(json!(null));
    assert_eq!(
        visibility(&workspace, &rules(json!({})), Some(port)),
        expected
    );
}

#[rstest]
#[case(json!(null), json!({}), Visibility::Private)]
#[case(json!({"users": ["bob"]}), json!({}), Visibility::Shared)]
#[case(json!({"users": ["bob"], "editor": "Private"}), json!({}), Visibility::Private)]
#[case(json!({"users": ["bob"]}), json!({"editor": "Private"}), Visibility::Private)]
#[case(json!({"users": ["bob"]}), json!({"editor": "Shared", "maxVisibility": "Public"}), Visibility::Shared)]
fn an_editor_is_never_more_than_shared(
    #[case] shared: Value,
    #[case] class: Value,
    #[case] expected: Visibility,
) {
    let workspace = workspace(shared);
    for port in [None, Some(60001)] {
        assert_eq!(
            visibility(&workspace, &rules(class.clone()), port),
            Some(expected)
        );
    }
}

#[test]
fn undeclared_ports_are_the_owners_where_the_class_allows_them() {
    let class = rules(json!({"undeclaredPorts": true, "maxVisibility": "Public"}));
    let workspace = workspace(json!({"users": ["bob"]}));
    assert_eq!(
        visibility(&workspace, &class, Some(9999)),
        Some(Visibility::Private)
    );
    for internal in [60003, 60004, 60022] {
        assert_eq!(visibility(&workspace, &class, Some(internal)), None);
    }
}

#[test]
fn a_workspace_without_an_editor_keeps_its_usual_port_closed() {
    let workspace = workspace(json!(null));
    let port = Port::of(&workspace.spec.endpoints, None, Some(60001));
    assert_eq!(port, Port::Internal);
}

#[test]
fn users_and_groups_are_compared_byte_for_byte() {
    let shared = Shared {
        users: vec!["bob@example.com".to_owned()],
        groups: vec!["team-a".to_owned()],
        editor: None,
    };
    let is =
        |user: &str, groups: &[&str]| is_shared_with(Some(&shared), user, groups.iter().copied());
    assert!(is("bob@example.com", &[]) && is("carol", &["x", "team-a"]));
    assert!(!is("Bob@example.com", &[]) && !is("carol", &["team-A", "team-a "]));
    assert!(!is("team-a", &["bob@example.com"]));
    assert!(!is_shared_with(None, "bob@example.com", std::iter::empty()));
}

#[test]
fn the_status_tells_what_the_class_made_of_each_port() {
    let workspace = workspace_with(json!({"endpoints": [
        {"name": "web", "port": 3000, "visibility": "Public"}, {"name": "db", "port": 5432},
    ]}));
    let mut local = installation();
    local.base_domain = DnsSubdomain::new("ws.localhost").ok();
    local.is_tls = false;
    local.base_port = Some(8000);
    let open = endpoints("api", &workspace.spec, &rules(json!({})), &local);
    let told: Vec<_> = open
        .iter()
        .map(|endpoint| (endpoint.visibility, endpoint.url.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (
                Visibility::Authenticated,
                Some("http://3000-api.ws.localhost:8000")
            ),
            (
                Visibility::Private,
                Some("http://5432-api.ws.localhost:8000")
            ),
        ]
    );
}

fn claim(uid: &str, created: Option<i64>) -> Claim {
    Claim {
        name: "api".into(),
        namespace: format!("of-{uid}").into(),
        uid: uid.into(),
        created: created.map(at),
    }
}

#[test]
fn the_oldest_workspace_holds_a_host_then_the_uid_decides() {
    let mut hosts = Hosts::default();
    for claim in [
        claim("young", Some(9)),
        claim("b", Some(5)),
        claim("a", Some(5)),
        claim("undated", None),
    ] {
        hosts.insert(claim);
    }
    assert_eq!(hosts.conflict("api", "a", &[]), None);
    for uid in ["b", "young", "undated"] {
        let held = Conflict::HeldBy {
            namespace: "of-a".into(),
            uid: "a".into(),
        };
        assert_eq!(hosts.conflict("api", uid, &[]), Some(held), "{uid}");
    }
}

#[test]
fn a_host_goes_on_to_the_next_when_its_holder_is_gone() {
    let mut hosts = Hosts::default();
    assert!(hosts.insert(claim("b", Some(5))).is_empty());
    assert!(hosts.insert(claim("c", Some(6))).is_empty());
    // An older one shows up: both others lose or keep losing.
    let others = [claim("b", Some(5)), claim("c", Some(6))];
    assert_eq!(hosts.insert(claim("a", Some(1))), others);
    assert_eq!(hosts.remove("api", "a"), others);
    assert_eq!(hosts.conflict("api", "b", &[]), None);
    assert!(hosts.remove("api", "c").is_empty() && hosts.remove("api", "b").is_empty());
    assert!(hosts.claims("api").is_empty());
}

#[test]
fn reserved_labels_are_nobodys() {
    let mut hosts = Hosts::default();
    let mut of = |name: &str| {
        let workspace = Claim {
            name: name.into(),
            ..claim(name, Some(1))
        };
        hosts.insert(workspace);
        hosts.conflict(name, name, &["grafana".to_owned()])
    };
    for name in ["auth", "ssh", "hub", "grafana"] {
        assert_eq!(of(name), Some(Conflict::Reserved), "{name}");
    }
    assert_eq!(of("author"), None);
}

proptest! {
    #[test]
    fn no_setting_lifts_a_port_over_its_class(
        asked in 0..5usize, cap in 0..4usize, undeclared: bool, port in 1u16.., editor in proptest::option::of(1024u16..),
    ) {
        let all = [Visibility::Private, Visibility::Shared, Visibility::Authenticated, Visibility::Public];
        let mut endpoint = json!({"name": "web", "port": port});
        if let Some(visibility) = all.get(asked) {
            endpoint["visibility"] = json!(visibility);
        }
        let workspace = workspace_with(json!({"endpoints": [endpoint], "shared": {"users": ["bob"]}}));
        let class = rules(json!({"maxVisibility": all[cap], "undeclaredPorts": undeclared}));
        let open = Port::of(&workspace.spec.endpoints, editor, Some(port)).visibility(workspace.spec.shared.as_ref(), &class);
        prop_assert!(open <= Some(all[cap].max(Visibility::Shared)));
        if editor == Some(port) || editor.is_none() && port == 60001 {
            prop_assert!(open <= Some(Visibility::Shared));
        } else {
            prop_assert!(open <= Some(all[cap]));
        }
    }

    #[test]
    fn exactly_one_holds_a_host_in_whatever_order_they_are_seen(
        ages in proptest::collection::vec(proptest::option::of(0i64..3), 1..6), seed: u64,
    ) {
        let claims: Vec<Claim> = ages.iter().enumerate().map(|(n, age)| claim(&format!("u{n}"), *age)).collect();
        let holders = |order: Vec<&Claim>| {
            let mut hosts = Hosts::default();
            for claim in order {
                hosts.insert(claim.clone());
            }
            let uids = claims.iter().map(|claim| claim.uid.clone());
            uids.filter(|uid| hosts.conflict("api", uid, &[]).is_none()).collect::<Vec<_>>()
        };
        let forward = holders(claims.iter().collect());
        let mut turned: Vec<&Claim> = claims.iter().rev().collect();
        let middle = usize::try_from(seed % claims.len() as u64).unwrap();
        turned.rotate_left(middle);
        prop_assert_eq!(forward.len(), 1);
        prop_assert_eq!(holders(turned), forward);
    }
}
