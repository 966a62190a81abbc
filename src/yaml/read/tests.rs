use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::node::parse_path;
use super::*;

fn read_text(text: &str) -> Vec<Result<Document, ReadError>> {
    read(text.as_bytes(), Limits::default())
}

fn one(text: &str) -> Json {
    let documents = read_text(text);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents[0].as_ref().unwrap().root.to_json()
}

fn error(text: &str) -> ReadError {
    read_text(text)
        .into_iter()
        .find_map(Result::err)
        .unwrap_or_else(|| panic!("no error in {text}"))
}

#[test]
fn each_document_knows_its_line() {
    let text = "# a comment\na: 1\n---\n\nb: [x, {c: d}]\n---\n";
    let documents: Vec<Document> = read_text(text).into_iter().map(Result::unwrap).collect();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0].root.place.line, 2);
    assert_eq!(documents[1].root.place.line, 5);
    assert!(documents[2].root.is_null());
    assert_eq!(documents[1].root.to_json(), json!({"b": ["x", {"c": "d"}]}));
    let place = documents[1].root.place_of(&parse_path("b[1].c"));
    assert_eq!(place, Place { line: 5, column: 9 });
    let missing = documents[1].root.place_of(&parse_path("b[1].nothing.here"));
    assert_eq!(missing, Place { line: 5, column: 8 });
}

#[test]
fn an_empty_file_has_no_values() {
    for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}"] {
        assert!(
            read_text(text)
                .iter()
                .all(|d| d.as_ref().is_ok_and(|d| d.root.is_null())),
            "{text:?}"
        );
    }
}

#[test]
fn quoted_scalars_stay_text() {
    assert_eq!(
        one("a: \"yes\"\nb: '1'\nc: yes\nd: |\n  12\n"),
        json!({"a": "yes", "b": "1", "c": true, "d": "12\n"})
    );
}

#[test]
fn a_key_that_is_written_twice_is_refused_with_both_lines() {
    let error = error("a: 1\nb: 2\na: 3\n");
    assert_eq!(error.place, Place { line: 3, column: 1 });
    assert!(error.message.contains("first on line 1"), "{error}");
}

#[test]
fn a_broken_document_does_not_hide_the_next_one() {
    let documents = read_text("a: [1, 2\n---\nb: 1\n---\nc: c\nc: d\n---\nd: 1\n");
    let good: Vec<Json> = documents
        .iter()
        .flatten()
        .map(|document| document.root.to_json())
        .collect();
    assert_eq!(good, [json!({"b": 1}), json!({"d": 1})]);
    let bad: Vec<u32> = documents
        .iter()
        .filter_map(|document| document.as_ref().err())
        .map(|error| error.place.line)
        .collect();
    assert_eq!(bad.len(), 2);
    assert_eq!(bad[1], 6);
}

#[test]
fn aliases_and_merges_are_followed() {
    assert_eq!(
        one("base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\nlist: [*b]\n"),
        json!({"base": {"x": 1, "z": 2}, "use": {"z": 3, "x": 1}, "list": [{"x": 1, "z": 2}]})
    );
}

#[test]
fn a_bomb_of_aliases_is_answered_by_the_name_of_the_limit() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = format!("*a{},", level - 1).repeat(9);
        text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    assert_eq!(error(&text).limit, Some("nodes"));
    let big = "x".repeat(1_000_000);
    let text = format!("a: &a {big}\nb: [{}]\n", "*a,".repeat(50));
    assert_eq!(error(&text).limit, Some("text"));
}

#[test]
fn deep_nesting_is_answered_by_the_name_of_the_limit() {
    assert_eq!(
        error(&format!("{}{}", "[".repeat(65), "]".repeat(65))).limit,
        Some("depth")
    );
    assert_eq!(error(&"- ".repeat(65)).limit, Some("depth"));
    assert!(error(&"[".repeat(100_000)).place.column < 100);
    // Deep only by its aliases.
    let text = format!(
        "a: &a {}{}\nb: &b {}*a{}\nc: {}*b{}\n",
        "[".repeat(30),
        "]".repeat(30),
        "[".repeat(30),
        "]".repeat(30),
        "[".repeat(30),
        "]".repeat(30)
    );
    assert_eq!(error(&text).limit, Some("depth"));
}

#[test]
fn what_has_no_place_in_an_object_is_refused() {
    for text in [
        "? [a, b]\n: c\n",
        "{a: b}: c\n",
        "a: &a [*a]\n",
        "a: !secret x\n",
        "a: !!set {x}\n",
        "~: x\n",
        "a: .nan\n",
        "a: *nobody\n",
        "a:\n\t- b\n",
        "<<: 1\n",
        "a: 'open\n",
    ] {
        error(text);
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_line() {
    let documents = read(b"a: 1\nb: \xff\n", Limits::default());
    let error = documents[0].as_ref().unwrap_err();
    assert_eq!(error.place, Place { line: 2, column: 4 });
}

#[test]
fn many_keys_take_no_quadratic_time() {
    let text: String = (0..45_000).map(|n| format!("k{n}: 1\n")).collect();
    assert!(read_text(&text)[0].is_ok());
}

#[test]
fn many_documents_are_answered_by_the_name_of_the_limit() {
    let documents = read_text(&"a: 1\n---\n".repeat(5_000));
    let last = documents.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.limit, Some("documents"));
    assert_eq!(documents.len(), 1_001);
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "[a-zA-Z0-9_.:+~-]{0,6}".prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        prop_oneof![
            "yes",
            "on",
            "y",
            "0o7",
            "1_000",
            "010",
            "0x1f",
            "1e3",
            "null",
            "<<",
            "2001-01-01"
        ]
        .prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map("[a-zA-Z0-9_./:-]{1,8}", inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn anchors_around_anchors_do_not_multiply_what_they_hold() {
    let anchors: String = (0..40).map(|n| format!("&a{n} [")).collect();
    let text = format!("{anchors}{}{}", "1,".repeat(10_000), "]".repeat(40));
    let documents = read_text(&text);
    let error = documents.first().unwrap().as_ref().unwrap_err();
    assert_eq!(error.limit, Some("nodes"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2_000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "(?s).{0,200}") {
        let _ = read_text(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused_without_panic(
        text in "([a-c*&!%@`|>{}\\[\\],:?#'\"~<. \n\t-]|: |- |\n  |--- |&a |\\*a |<<: ){0,60}"
    ) {
        let _ = read_text(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&content, Limits::default());
    }

    #[test]
    fn what_we_write_reads_back_the_same(value in json_value()) {
        let text = super::super::write(&value).unwrap();
        let documents = read(text.as_bytes(), Limits::default());
        let back = documents.first().map(|d| d.as_ref().unwrap().root.to_json());
        prop_assert_eq!(back.unwrap_or(Json::Null), value, "{}", text);
    }
}
