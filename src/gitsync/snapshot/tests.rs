use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::api::gitsync::{OwnersRule, SyncedKind};
use crate::gitsync::rules::Namespaces;
use crate::model::sync::SourceFile;

fn workspace(name: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec:\n  owner: alice\n  image: debian:13\n"
    )
}

fn rules() -> ObjectRules {
    ObjectRules {
        kinds: [SyncedKind::Workspace].into(),
        namespaces: Namespaces::Only(["team-a".to_owned()].into()),
        is_administrative: false,
        ..ObjectRules::anything("team-a")
    }
}

fn read_with(files: &[(&str, &str)], rules: &ObjectRules) -> Snapshot {
    let tree = Tree {
        files: files
            .iter()
            .map(|(path, content)| SourceFile {
                path: (*path).to_owned(),
                content: content.as_bytes().to_vec(),
            })
            .collect(),
        ..Tree::default()
    };
    build(tree, Source::default(), rules)
}

fn read(files: &[(&str, &str)]) -> Snapshot {
    read_with(files, &rules())
}

fn errors(snapshot: &Snapshot) -> Vec<String> {
    snapshot.errors.iter().map(ToString::to_string).collect()
}

fn id(name: &str) -> ObjectId {
    ObjectId {
        kind: SyncedKind::Workspace,
        namespace: Some("team-a".into()),
        name: name.into(),
    }
}

#[test]
fn a_good_file_becomes_an_object_with_its_namespace() {
    let snapshot = read(&[("a.yaml", &workspace("a"))]);
    assert_eq!(errors(&snapshot), Vec::<String>::new());
    let object = &snapshot.objects[&id("a")];
    assert_eq!(object.value["metadata"]["namespace"], "team-a");
    assert_eq!((object.file.as_str(), object.line), ("a.yaml", 1));
    let written =
        workspace("a").replace("  name: a\n", "  namespace: team-a\n  name: a\n") + "status: {}\n";
    let same = read(&[("b.yaml", &written)]);
    assert_eq!(same.objects[&id("a")].digest, object.digest);
}

#[test]
fn a_field_with_nothing_behind_it_is_as_good_as_left_out() {
    // The server drops it when an object is created, and refuses it in an apply.
    let written = workspace("a") + "  className:\n  args: null\n  timeouts: {startup: }\n";
    let snapshot = read(&[("a.yaml", &written)]);
    assert_eq!(errors(&snapshot), Vec::<String>::new());
    let spec = &snapshot.objects[&id("a")].value["spec"];
    assert_eq!(spec["timeouts"], serde_json::json!({}));
    assert!(spec.get("className").is_none() && spec.get("args").is_none());
}

#[test]
fn an_error_names_file_line_and_column_and_stops_nobody_else() {
    let bad = workspace("b").replace("image: debian:13", "imag: debian:13");
    let text = format!(
        "# two of them\n{}---\n{bad}---\n{}",
        workspace("a"),
        workspace("c")
    );
    let snapshot = read(&[("x.yaml", &text)]);
    assert_eq!(
        errors(&snapshot),
        [
            "x.yaml:14:1: GS211 SchemaInvalid: Workspace team-a/b: spec.image: is missing",
            "x.yaml:16:3: GS211 SchemaInvalid: Workspace team-a/b: spec.imag: unknown field: did you mean 'image'?",
        ]
    );
    assert_eq!(snapshot.objects.len(), 2);
    assert_eq!(snapshot.held, BTreeSet::from([id("b")]));
    assert!(snapshot.unattributable.is_empty());
}

#[test]
fn an_object_in_two_files_is_applied_from_neither() {
    let broken = workspace("a").replace("image", "imag");
    for second in [workspace("a"), broken] {
        let snapshot = read(&[
            ("a.yaml", &workspace("a")),
            ("b.yaml", &second),
            ("c.yaml", &workspace("c")),
        ]);
        let duplicates: Vec<&SourceError> = snapshot
            .errors
            .iter()
            .filter(|e| e.code == Code::DuplicateObject)
            .collect();
        assert_eq!(duplicates.len(), 2);
        assert!(duplicates[0].message.contains("b.yaml:1"));
        assert!(snapshot.mentions(&id("a")) && !snapshot.objects.contains_key(&id("a")));
        assert!(snapshot.objects.contains_key(&id("c")));
    }
}

#[rstest]
#[case("a: [1\n", "GS210")]
#[case("a: 1\na: 2\n", "written twice")]
#[case("- a\n", "this is no object")]
#[case("just text\n", "this is no object")]
#[case("kind: Workspace\n", "apiVersion is missing")]
#[case(
    "piVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\n",
    "did you mean it by 'piVersion'?"
)]
#[case(
    "apiVersion: workstead.dev/v1alpha1\nKind: Workspace\nmetadata: {name: a}\n",
    "did you mean it by 'Kind'?"
)]
#[case(
    "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {nam: a}\n",
    "metadata.name is missing"
)]
#[case(
    "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {name: 3}\n",
    "metadata.name is no text"
)]
#[case(
    "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: []\n",
    "metadata.name is missing"
)]
#[case(
    "apiVersion: v1\nkind: List\nitems: []\n",
    "documents separated by ---"
)]
fn what_cannot_be_attributed_freezes_deletes(#[case] text: &str, #[case] expected: &str) {
    let snapshot = read(&[("bad.yaml", text), ("good.yaml", &workspace("a"))]);
    assert_eq!(
        snapshot.unattributable,
        BTreeSet::from(["bad.yaml".to_owned()])
    );
    assert!(
        errors(&snapshot)[0].contains(expected),
        "{:?}",
        errors(&snapshot)
    );
    assert_eq!(snapshot.objects.len(), 1);
}

#[test]
fn a_typo_in_the_kind_is_no_removal() {
    for text in [
        workspace("a").replace("Workspace", "Workspce"),
        workspace("a").replace("workstead.dev", "worksted.dev"),
        workspace("a").replace("v1alpha1", "v1"),
    ] {
        let snapshot = read(&[("a.yaml", &text)]);
        assert_eq!(snapshot.errors[0].code, Code::KindNotAllowed);
        assert!(snapshot.mentions(&id("a")) && !snapshot.mentions(&id("b")));
        assert!(snapshot.unattributable.is_empty());
    }
}

#[test]
fn empty_documents_and_comments_are_nothing() {
    let snapshot = read(&[("a.yaml", "---\n# nothing\n---\n"), ("b.yaml", "")]);
    assert!(snapshot.errors.is_empty() && snapshot.is_empty());
}

#[test]
fn kinds_namespaces_and_owners_are_held_to_the_rules() {
    let class = "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceClass\nmetadata: {name: big}\nspec: {}\n";
    let elsewhere = workspace("e").replace("  name: e", "  name: e\n  namespace: team-b");
    let mut rules = rules();
    rules.owners = vec![OwnersRule {
        path: "bob".into(),
        owners: vec!["bob".into()],
    }];
    rules.kinds.insert(SyncedKind::WorkspaceClass);
    let snapshot = read_with(
        &[
            ("bob/class.yaml", class),
            ("bob/e.yaml", &elsewhere.replace("alice", "bob")),
            ("bob/o.yaml", &workspace("o")),
        ],
        &rules,
    );
    let found: Vec<(Code, Option<u32>)> =
        snapshot.errors.iter().map(|e| (e.code, e.line)).collect();
    assert_eq!(
        found,
        [
            (Code::KindNotAllowed, Some(2)),
            (Code::NamespaceNotAllowed, Some(5)),
            (Code::OwnerNotAllowed, Some(6)),
        ]
    );
    assert!(snapshot.objects.is_empty());
    assert_eq!(snapshot.held.len(), 3);
    rules.is_administrative = true;
    let allowed = read_with(&[("bob/class.yaml", class)], &rules);
    assert!(allowed.errors.is_empty() && allowed.objects.len() == 1);
}

#[test]
fn a_bomb_is_answered_by_the_name_of_the_limit() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            format!("*a{},", level - 1).repeat(9)
        ));
    }
    let snapshot = read(&[("bomb.yaml", &bomb)]);
    assert!(errors(&snapshot)[0].contains("exceeds limit nodes"));
    assert!(snapshot.unattributable.contains("bomb.yaml"));
}

#[test]
fn readings_are_used_again_only_for_the_same_file_under_the_same_rules() {
    let tree = |second: &str| Tree {
        files: [("a.yaml", workspace("a")), ("b.yaml", second.to_owned())]
            .into_iter()
            .map(|(path, content)| SourceFile {
                path: path.to_owned(),
                content: content.into_bytes(),
            })
            .collect(),
        ..Tree::default()
    };
    let read = |before: &Readings, second: &str, rules: &ObjectRules| {
        build_after(before, tree(second), Source::default(), rules)
    };
    let (_, first) = read(&Readings::default(), &workspace("b"), &rules());
    let (snapshot, second) = read(&first, &workspace("c"), &rules());
    assert!(Arc::ptr_eq(
        &first.files["a.yaml"].1,
        &second.files["a.yaml"].1
    ));
    assert_eq!(
        snapshot,
        build(tree(&workspace("c")), Source::default(), &rules())
    );
    // A neighbour that comes to define the same object makes both wrong, read again or not.
    let (snapshot, _) = read(&second, &workspace("a"), &rules());
    assert_eq!(snapshot.errors.len(), 2);
    let mut other = rules();
    other.kinds.clear();
    let (snapshot, _) = read(&second, &workspace("c"), &other);
    assert!(snapshot.objects.is_empty());
}

proptest! {
    #![proptest_config(crate::model::fixtures::at_least(300))]

    #[test]
    fn any_damage_to_a_file_is_an_error_or_harmless_and_never_a_panic(
        at in 0..200_usize, length in 0..20_usize, insert in "[\\PC\\n]{0,8}"
    ) {
        let mut text: Vec<char> = format!("{}---\n{}", workspace("a"), workspace("b")).chars().collect();
        let start = at.min(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, insert.chars());
        let text: String = text.into_iter().collect();
        let snapshot = read(&[("x.yaml", &text), ("good.yaml", &workspace("c"))]);
        // The neighbour is never hurt, unless the damage made a second "c".
        prop_assert!(snapshot.mentions(&id("c")));
        for error in &snapshot.errors {
            prop_assert!(error.file.is_some() && error.line.is_some());
        }
    }
}
