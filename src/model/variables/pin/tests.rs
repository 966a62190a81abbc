use rstest::rstest;
use serde_json::json;

use super::*;
use crate::model::fixtures::{at, valid_class, validated, workspace_with};

fn inputs(variables: Option<VariablesPin>) -> PinInputs {
    PinInputs {
        variables,
        ..PinInputs::of(
            &validated(&workspace_with(json!({})), &valid_class(json!({}))),
            at(0),
        )
    }
}

fn pin(sets: &[&str]) -> VariablesPin {
    let asked = asked(sets);
    VariablesPin {
        secret: "api-vars-00000000".to_owned(),
        digest: digest_of(&[], &asked),
        sources: Vec::new(),
        env: BTreeMap::new(),
        files: Vec::new(),
        asked,
    }
}

fn asked(sets: &[&str]) -> Asked {
    Asked {
        sets: sets.iter().map(|name| (*name).to_owned()).collect(),
        references: BTreeMap::new(),
    }
}

#[rstest]
#[case::nothing_asks_for_it(None, None, false, true, None)]
#[case::somebody_asks(Some("2"), None, false, true, Some(Renewal::Requested))]
#[case::the_request_was_carried_out(Some("2"), Some("2"), false, true, None)]
#[case::by_the_class(None, None, true, true, Some(Renewal::OfClass))]
#[case::the_secret_is_gone(None, None, false, false, Some(Renewal::Lost))]
fn a_start_has_what_the_last_one_had_until_somebody_asks_for_what_is_newest(
    #[case] request: Option<&str>,
    #[case] handled: Option<&str>,
    #[case] refresh: bool,
    #[case] secret_exists: bool,
    #[case] expected: Option<Renewal>,
) {
    let pinned = inputs(Some(pin(&["a"])));
    let asked = asked(&["a"]);
    let question = Question {
        pinned: Some(&pinned),
        asked: &asked,
        request,
        handled,
        refresh,
        secret_exists,
    };
    assert_eq!(renewal(&question), expected);
}

#[test]
fn the_first_start_another_list_and_a_lost_pin_take_what_is_newest() {
    fn question<'a>(pinned: Option<&'a PinInputs>, asked: &'a Asked) -> Question<'a> {
        Question {
            pinned,
            asked,
            request: None,
            handled: None,
            refresh: false,
            secret_exists: true,
        }
    }
    let one = asked(&["a"]);
    let nothing = asked(&[]);
    let swapped = asked(&["b", "a"]);
    assert_eq!(renewal(&question(None, &one)), Some(Renewal::First));
    let pinned = inputs(Some(pin(&["a", "b"])));
    let listed = renewal(&question(Some(&pinned), &swapped));
    assert_eq!(listed, Some(Renewal::Listed), "the order counts");
    // A workspace that started before it listed any.
    let none = inputs(None);
    assert_eq!(renewal(&question(Some(&none), &one)), Some(Renewal::Listed));
    assert_eq!(renewal(&question(Some(&none), &nothing)), None);
    let lost = PinInputs {
        variables_lost: true,
        ..none
    };
    let lost = renewal(&question(Some(&lost), &nothing));
    assert_eq!(lost, Some(Renewal::Lost));
}

#[test]
fn no_two_lists_of_sources_have_one_digest() {
    let source = |level, name: &str, digest: &str| Source {
        level,
        name: name.to_owned(),
        digest: digest.to_owned(),
    };
    let none = Asked::default();
    let lists = [
        vec![],
        vec![source(VariablesLevel::Owner, "a", "1")],
        vec![source(VariablesLevel::Namespace, "a", "1")],
        vec![source(VariablesLevel::Owner, "a1", "")],
        vec![
            source(VariablesLevel::Owner, "a", "1"),
            source(VariablesLevel::Owner, "b", "1"),
        ],
        vec![
            source(VariablesLevel::Owner, "b", "1"),
            source(VariablesLevel::Owner, "a", "1"),
        ],
    ];
    let digests: BTreeSet<String> = lists.iter().map(|list| digest_of(list, &none)).collect();
    assert_eq!(digests.len(), lists.len());
}

#[test]
fn what_a_workspace_lists_is_read_from_its_spec() {
    let workspace = workspace_with(json!({
        "variables": [{"name": "b"}, {"name": "a"}],
        "env": [
            {"name": "PLAIN", "value": "x"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "k"}}},
        ],
    }));
    let asked = Asked::of(&workspace.spec);
    assert_eq!(asked.sets, ["b", "a"]);
    assert_eq!(asked.references.keys().collect::<Vec<_>>(), ["KEY"]);
    assert_eq!(asked.secrets(), BTreeSet::from(["vault"]));
}
