use std::collections::BTreeMap;
use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::gitsync::OwnersRule;

const REPOSITORY: &str = "https://git.example.com/team";

struct Known(Result<BTreeMap<String, Arc<SyncFacts>>, String>);

impl Syncs for Known {
    fn find(&self, namespace: &str, name: &str) -> Result<Option<Arc<SyncFacts>>, String> {
        let known = self.0.as_ref().map_err(String::clone)?;
        Ok(known.get(&format!("{namespace}/{name}")).cloned())
    }
}

/// GitSync `team/sync` with these rules, such as `teams/a: alice bob; teams: lead`.
fn known(rules: &str) -> Known {
    let rules = rules.split(';').filter_map(|rule| rule.split_once(':'));
    let owners = rules.map(|(path, owners)| OwnersRule {
        path: path.trim().to_owned(),
        owners: owners.split_whitespace().map(str::to_owned).collect(),
    });
    let facts = SyncFacts {
        repository: REPOSITORY.to_owned(),
        owners: owners.collect(),
    };
    let entry = ("team/sync".to_owned(), Arc::new(facts));
    Known(Ok(BTreeMap::from([entry])))
}

fn metadata(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

fn by_hand() -> ObjectMeta {
    metadata(
        json!({"name": "api", "namespace": "team", "creationTimestamp": "2026-03-01T00:00:00Z"}),
    )
}

/// An object that GitSync `team/sync` applied.
fn from_git(file: &str) -> ObjectMeta {
    let origin = json!({"repository": REPOSITORY, "revision": "abc", "file": file});
    metadata(json!({
        "name": "api", "namespace": "team", "creationTimestamp": "2026-03-01T00:00:00Z",
        "labels": {"gitsync.workstead.dev/namespace": "team", "gitsync.workstead.dev/name": "sync"},
        "annotations": {"workstead.dev/origin": origin.to_string()},
    }))
}

fn in_force() -> Result<InForce, String> {
    Ok(InForce {
        since: "2026-02-01T00:00:00.5Z".parse().unwrap(),
    })
}

/// Why an owner is unchecked; empty, he is checked.
fn why(workspace: &ObjectMeta, owner: &str, syncs: &Known) -> String {
    match check(workspace, owner, &in_force(), syncs) {
        OwnerCheck::Checked => String::new(),
        OwnerCheck::Unchecked(why) => why,
    }
}

#[test]
fn an_owner_is_checked_by_the_policies_where_somebody_made_the_workspace() {
    assert_eq!(why(&by_hand(), "alice", &known("")), "");
    let policies = Err("there is no policy".to_owned());
    let unchecked = OwnerCheck::Unchecked("there is no policy".to_owned());
    assert_eq!(check(&by_hand(), "alice", &policies, &known("")), unchecked);
    let listed = known("a: alice");
    assert_eq!(
        check(&from_git("a/x.yaml"), "alice", &policies, &listed),
        unchecked
    );
}

#[rstest]
#[case::before("2026-01-31T23:59:59Z", false)]
#[case::in_the_same_second("2026-02-01T00:00:00Z", false)]
#[case::after("2026-02-01T00:00:01Z", true)]
fn a_workspace_has_to_be_younger_than_the_policies(#[case] made: &str, #[case] checked: bool) {
    let mut workspace = by_hand();
    workspace.creation_timestamp = Some(serde_json::from_value(json!(made)).unwrap());
    let why = why(&workspace, "alice", &known(""));
    assert_eq!(why.is_empty(), checked, "{why}");
    assert_eq!(why.contains("make it anew"), !checked);
    workspace.creation_timestamp = None;
    assert!(!self::why(&workspace, "alice", &known("")).is_empty());
}

#[rstest]
#[case::no_rules_at_all("", "teams/a/x.yaml", "alice", "no rule in spec.owners")]
#[case::no_rule_for_the_file("teams/b: alice", "teams/a/x.yaml", "alice", "no rule in spec.owners")]
#[case::listed("teams/a: alice bob", "teams/a/x.yaml", "alice", "")]
#[case::another_one("teams/a: bob", "teams/a/x.yaml", "alice", "does not list alice")]
#[case::to_the_letter("teams/a: Alice", "teams/a/x.yaml", "alice", "does not list alice")]
#[case::the_deepest_rule_holds(
    "teams: alice; teams/a: bob",
    "teams/a/x.yaml",
    "alice",
    "does not list alice"
)]
#[case::a_folder_of_a_longer_name("teams/a: alice", "teams/ab/x.yaml", "alice", "no rule")]
#[case::the_root(": alice", "x.yaml", "alice", "")]
fn for_a_workspace_from_git_the_gitsync_lists_the_owner_for_the_file(
    #[case] rules: &str,
    #[case] file: &str,
    #[case] owner: &str,
    #[case] said: &str,
) {
    let why = why(&from_git(file), owner, &known(rules));
    assert_eq!(why.is_empty(), said.is_empty(), "{why}");
    assert!(why.contains(said), "{why}");
}

#[test]
fn a_workspace_whose_gitsync_is_gone_or_not_known_yet_is_unchecked() {
    let workspace = from_git("a/x.yaml");
    let none = Known(Ok(BTreeMap::new()));
    assert!(
        why(&workspace, "alice", &none).contains("GitSync team/sync, which applied it, is gone")
    );
    let unseen = Known(Err("not listed yet".to_owned()));
    assert_eq!(why(&workspace, "alice", &unseen), "not listed yet");
}

#[test]
fn whoever_takes_labels_or_origin_off_does_not_hide_that_the_workspace_came_from_git() {
    let syncs = known("a: alice");
    let mut unlabelled = from_git("a/x.yaml");
    unlabelled.labels = None;
    assert!(why(&unlabelled, "alice", &syncs).contains("came from Git"));
    for label in [
        "gitsync.workstead.dev/namespace",
        "gitsync.workstead.dev/name",
    ] {
        let mut half = from_git("a/x.yaml");
        half.labels.as_mut().unwrap().remove(label);
        assert!(
            why(&half, "alice", &syncs).contains("came from Git"),
            "{label}"
        );
    }
    let mut no_origin = from_git("a/x.yaml");
    no_origin.annotations = None;
    assert!(why(&no_origin, "alice", &syncs).contains("does not say which file"));
}

#[test]
fn an_origin_of_another_repository_or_that_is_none_is_not_believed() {
    let syncs = known("a: alice");
    for text in [
        r#"{"repository": "https://git.example.com/other", "revision": "abc", "file": "a/x.yaml"}"#,
        "a/x.yaml",
        "{}",
    ] {
        let mut workspace = from_git("a/x.yaml");
        let annotations = workspace.annotations.as_mut().unwrap();
        annotations.insert("workstead.dev/origin".to_owned(), text.to_owned());
        let why = why(&workspace, "alice", &syncs);
        assert!(why.contains("does not say which file"), "{text}: {why}");
    }
}

const RULES: &str = "teams: lead; teams/alice: alice";

#[rstest]
#[case::without_rules_the_repository_is_trusted("", "x.yaml", Reach::Namespace, "")]
#[case::and_for_any_owner("", "x.yaml", Reach::Owner("bob"), "")]
#[case::ones_own_folder(RULES, "teams/alice/x.yaml", Reach::Owner("alice"), "")]
#[case::somebody_elses(RULES, "teams/alice/x.yaml", Reach::Owner("bob"), "does not list bob")]
#[case::the_rule_above_does_not_help(
    RULES,
    "teams/alice/x.yaml",
    Reach::Owner("lead"),
    "does not list lead"
)]
#[case::an_owner_outside_of_all_rules(
    RULES,
    "x.yaml",
    Reach::Owner("alice"),
    "no rule in spec.owners"
)]
#[case::the_namespace_from_outside_of_all_rules(RULES, "x.yaml", Reach::Namespace, "")]
#[case::the_namespace_from_a_folder(
    RULES,
    "teams/alice/x.yaml",
    Reach::Namespace,
    "whole namespace"
)]
#[case::the_namespace_from_above(RULES, "teams/x.yaml", Reach::Namespace, "whole namespace")]
#[case::a_rule_for_everything(": alice", "x.yaml", Reach::Namespace, "whole namespace")]
fn a_set_from_git_reaches_no_further_than_its_folder_was_handed_out(
    #[case] rules: &str,
    #[case] file: &str,
    #[case] reach: Reach<'_>,
    #[case] said: &str,
) {
    let judged = set_may_apply(&from_git(file), reach, &known(rules));
    let why = judged.err().unwrap_or_default();
    assert_eq!(why.is_empty(), said.is_empty(), "{why}");
    assert!(why.contains(said), "{why}");
}

#[test]
fn a_set_that_was_made_by_hand_reaches_whom_it_says_and_one_of_a_gitsync_that_is_gone_nobody() {
    let none = Known(Ok(BTreeMap::new()));
    for reach in [Reach::Namespace, Reach::Owner("alice")] {
        set_may_apply(&by_hand(), reach, &none).unwrap();
        let gone = set_may_apply(&from_git("x.yaml"), reach, &none).unwrap_err();
        assert!(gone.contains("is gone"), "{gone}");
    }
}
