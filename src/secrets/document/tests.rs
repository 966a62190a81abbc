use proptest::prelude::*;

use super::*;
use crate::secrets::error::SetError;
use crate::secrets::fixtures::{WHOLE, refused};

fn read(plaintext: &str) -> Document {
    Document::read(plaintext.as_bytes())
        .map_err(|error| error.to_string())
        .unwrap()
}

fn value<'a>(document: &'a Document, name: &str) -> &'a str {
    document.env[&VariableName::parse(name).unwrap()].expose()
}

fn file<'a>(document: &'a Document, path: &str) -> &'a File {
    &document.files[&FilePath::parse(path).unwrap()]
}

#[test]
fn a_set_is_read_as_it_is_written() {
    let set = read(WHOLE);
    assert_eq!(set.binding.namespace.as_deref(), Some("team-a"));
    assert_eq!(set.binding.name.as_deref(), Some("alice-api"));
    assert_eq!((set.scope, set.serial), (Scope::Strict, Some(7)));
    assert_eq!(
        set.audience,
        Audience::Owner("alice@example.com".to_owned())
    );
    assert_eq!(value(&set, "DATABASE_URL"), "postgres://db/$(X)?a='b'\n");
    assert_eq!(value(&set, "EMPTY"), "");
    assert_eq!(
        (
            file(&set, ".netrc").mode,
            file(&set, ".netrc").content.expose()
        ),
        (0o400, &b"machine x\n"[..])
    );
    assert_eq!(
        (
            file(&set, "bin/tool").mode,
            file(&set, "bin/tool").content.expose()
        ),
        (0o440, &b"\x00\x01\xff"[..])
    );
    assert_eq!(file(&set, "~/.config/x").content.expose(), b"y");
}

#[test]
fn a_draft_may_leave_everything_out_and_nothing_is_filled_in() {
    let draft = |text: &str| Draft::read(text.as_bytes());
    let empty = draft("env: {A: b}").map_err(|error| error.to_string());
    let empty = empty.unwrap();
    assert_eq!((empty.binding, empty.scope), (None, None));
    assert_eq!((empty.audience, empty.serial), (None, None));
    let late = draft("env: {A: b}\nscope: Strict\nbinding: {name: b}");
    let late = late.map_err(|error| error.to_string()).unwrap();
    assert_eq!(late.scope, Some(Scope::Strict));
    assert_eq!(late.binding.unwrap().name.as_deref(), Some("b"));
    for text in ["envs: {A: b}", "env: {A: 1}", "- a", "env: {A: b}\n---\n"] {
        let code = draft(text).map(drop).map_err(|error| error.code());
        assert_eq!(code, Err("WV107"), "{text}");
    }
}

#[test]
fn what_was_put_together_is_held_to_the_same_rules_as_what_was_read() {
    let whole = read(WHOLE);
    assert_eq!(whole.check(), Ok(()));
    let name = VariableName::parse("A").unwrap();
    let long = "x".repeat(LONGEST_VARIABLE - 1);
    for (value, key) in [("a\0", Some("A")), (&long, Some("A")), ("a", None)] {
        let mut set = whole.clone();
        let value = SecretText::new(value.to_owned());
        set.env.insert(name.clone(), value);
        let found = set.check().err().map(|error| error.to_string());
        let begins = key.map(|key| format!("{key}: its value"));
        assert_eq!(found.is_some(), begins.is_some());
        assert!(
            found
                .unwrap_or_default()
                .starts_with(&begins.unwrap_or_default())
        );
    }
    let mut set = whole.clone();
    let below = FilePath::parse(".netrc/x").unwrap();
    let file = file(&whole, ".netrc").clone();
    set.files.insert(below, file);
    let error = set.check().unwrap_err().to_string();
    assert!(
        error.starts_with(".netrc: another file is below it"),
        "{error}"
    );
    let mut set = whole;
    for number in 0..MOST_KEYS {
        let name = VariableName::parse(&format!("N{number}")).unwrap();
        set.env.insert(name, SecretText::new(String::new()));
    }
    assert_eq!(set.check(), Err(ContentError::Count(MOST_KEYS + 5)));
}

#[test]
fn what_binds_a_set_comes_first_and_is_whole() {
    for text in [
        "",
        "{}",
        "env: {A: b}",
        "env: {A: b}\nbinding: {namespace: a, name: b}",
        "binding: {namespace: a}",
        "binding: {name: b}",
        "binding: {}",
        "binding:",
        "binding: {name: b}\nscope: Namespace",
    ] {
        assert_eq!(refused(text).code(), "WV101", "{text}");
    }
    for text in [
        "binding: {namespace: a}\nscope: Namespace",
        "binding: {}\nscope: Cluster",
    ] {
        read(text);
    }
}

#[test]
fn what_a_set_does_not_know_is_refused_by_its_place() {
    for (rest, line, key) in [
        ("envs: {A: b}", 2, Some("envs")),
        ("scope: strict", 2, Some("scope")),
        (
            "appliesTo: {owner: a, namespace: true}",
            2,
            Some("appliesTo"),
        ),
        ("appliesTo: {}", 2, Some("appliesTo")),
        ("appliesTo: {owners: a}", 2, Some("owners")),
        ("appliesTo: {namespace: false}", 2, Some("namespace")),
        ("appliesTo: {owner: ''}", 2, Some("owner")),
        ("serial: -1", 2, Some("serial")),
        ("serial: '7'", 2, Some("serial")),
        ("serial: 7.5", 2, Some("serial")),
        ("serial: 9007199254740992", 2, Some("serial")),
        ("env: {A: 8080}", 2, Some("A")),
        ("env: {A: true}", 2, Some("A")),
        ("env: {A: null}", 2, Some("A")),
        ("env:\n  1A: b", 3, Some("1A")),
        ("env: {WORKSTEAD_A: b}", 2, Some("WORKSTEAD_A")),
        ("env: {A: \"b\\0\"}", 2, Some("A")),
        ("env: {A: b, A: c}", 2, None),
        ("env: [A]", 2, Some("env")),
        ("files: {/etc/x: {content: y}}", 2, Some("/etc/x")),
        ("files: {x: {}}", 2, Some("x")),
        ("files: {x: {content: y, b64: eQ==}}", 2, Some("x")),
        ("files: {x: {b64: '!'}}", 2, Some("x")),
        ("files: {x: {content: y, mode: '1777'}}", 2, Some("x")),
        ("files: {x: {content: y, mode: 440}}", 2, Some("x")),
        ("files: {x: {content: y, owner: z}}", 2, Some("x")),
        ("files: {x: {content: y}, x/y: {content: z}}", 2, Some("x")),
        ("---\nbinding: {namespace: a, name: b}", 1, None),
        ("a: [", 2, None),
    ] {
        let text = format!("binding: {{namespace: a, name: b}}\n{rest}");
        let SetError::InvalidContent {
            place,
            key: found,
            problem,
        } = refused(&text)
        else {
            panic!("{text}: {}", refused(&text));
        };
        assert_eq!(found.as_deref(), key, "{text}: {problem}");
        if key.is_some() {
            assert_eq!(place.line, line, "{text}: {problem}");
        }
    }
}

#[test]
fn no_error_repeats_a_value_not_even_one_that_stands_where_a_key_should() {
    const CANARY: &str = "hunter2-canary";
    for text in [
        format!("binding: {{namespace: a, name: b}}\nenv: {{A: [{CANARY}]}}"),
        format!("binding: {{namespace: a, name: b}}\nenv: {{A: \"{CANARY}}}"),
        format!("binding: {{namespace: a, name: b}}\nenv: {CANARY}"),
        format!("binding: {{namespace: a, name: b}}\nenv: *{CANARY}"),
        format!("binding: {{namespace: a, name: b}}\nenv: !{CANARY} x"),
        format!("binding: {{namespace: a, name: b}}\nenv: {{? [{CANARY}] : x}}"),
        format!("binding: {{namespace: a, name: b}}\nenv: {{\"{CANARY} with a space\": x}}"),
        format!("binding: {{namespace: a, name: b}}\nfiles: {{x: {{b64: {CANARY}}}}}"),
        format!("binding: {{namespace: a, name: b}}\nfiles: {{x: {{mode: {CANARY}}}}}"),
        format!("binding: {{namespace: a, name: b}}\nscope: {CANARY}"),
        CANARY.to_owned(),
    ] {
        let error = refused(&text);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(CANARY), "{text}: {shown}");
    }
}

#[test]
fn a_set_is_bounded_in_keys_values_and_what_its_yaml_may_cost() {
    let keys = |count: usize| {
        (0..count)
            .map(|n| format!("  A{n}: b\n"))
            .collect::<String>()
    };
    let begin = "binding: {namespace: a, name: b}\nenv:\n";
    read(&format!("{begin}{}", keys(MOST_KEYS)));
    assert_eq!(
        refused(&format!("{begin}{}", keys(MOST_KEYS + 1))).code(),
        "WV106"
    );
    // A= and the value.
    let value = |length: usize| format!("{begin}  A: {}", "x".repeat(length - 2));
    read(&value(LONGEST_VARIABLE));
    assert_eq!(refused(&value(LONGEST_VARIABLE + 1)).code(), "WV107");
    let bomb = format!(
        "{begin}  A: &a [x,x,x,x,x,x,x,x]\n  B: &b [{0}]\n  C: &c [{1}]\n  D: [{2}]\n",
        "*a,".repeat(50),
        "*b,".repeat(50),
        "*c,".repeat(50)
    );
    assert_eq!(refused(&bomb).code(), "WV107");
    let deep = format!("{begin}  A: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(refused(&deep).code(), "WV107");
}

/// Only what is made up for a test may be printed.
#[derive(Clone)]
struct Drawn(Document);

impl std::fmt::Debug for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self
            .0
            .write()
            .map(|text| String::from_utf8_lossy(&text).into_owned());
        write!(f, "{text:?}")
    }
}

fn names() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,12}".prop_filter("ours", |name| !name.starts_with("WORKSTEAD_"))
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        any::<String>().prop_map(|text| text.replace('\0', "")),
        Just("yes".to_owned()),
        Just("010".to_owned()),
        Just("a\r\nb\n\n".to_owned()),
        Just("# no remark".to_owned()),
        Just("\u{85}\u{2028}\u{feff}".to_owned()),
    ]
}

fn documents() -> impl Strategy<Value = Drawn> {
    let audience = prop_oneof![
        Just(Audience::Listed),
        "[a-z@.]{1,20}".prop_map(Audience::Owner),
        Just(Audience::Namespace),
    ];
    let scope = prop_oneof![
        Just(Scope::Strict),
        Just(Scope::Namespace),
        Just(Scope::Cluster)
    ];
    let env = proptest::collection::btree_map(names(), texts(), 0..5);
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        texts().prop_map(String::into_bytes)
    ];
    let files =
        proptest::collection::btree_map("(~/)?[a-z.]?[a-z]{1,8}", (0..=0o777u16, content), 0..5);
    (
        scope,
        audience,
        proptest::option::of(0..=HIGHEST_SERIAL),
        env,
        files,
    )
        .prop_map(|(scope, audience, serial, env, files)| {
            Drawn(Document {
                binding: Binding {
                    namespace: Some("team-a".to_owned()),
                    name: Some("api".to_owned()),
                },
                scope,
                audience,
                serial,
                env: env
                    .into_iter()
                    .map(|(name, value)| {
                        (VariableName::parse(&name).unwrap(), SecretText::new(value))
                    })
                    .collect(),
                files: files
                    .into_iter()
                    .map(|(path, (mode, content))| {
                        (
                            FilePath::parse(&path).unwrap(),
                            File {
                                mode,
                                content: SecretBytes::new(content),
                            },
                        )
                    })
                    .collect(),
            })
        })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_byte_for_byte_and_is_written_the_same_again(Drawn(set) in documents()) {
        let text = set.write().unwrap();
        let again = Document::read(&text);
        prop_assert!(again.is_ok(), "{}", String::from_utf8_lossy(&text));
        let again = again.unwrap_or_else(|_| unreachable!());
        prop_assert_eq!((&again.binding, again.scope, &again.audience, again.serial), (&set.binding, set.scope, &set.audience, set.serial));
        let env = |set: &Document| set.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect::<Vec<_>>();
        prop_assert_eq!(env(&again), env(&set));
        let files = |set: &Document| set.files.iter().map(|(path, file)| (path.clone(), file.mode, file.content.expose().to_vec())).collect::<Vec<_>>();
        prop_assert_eq!(files(&again), files(&set));
        prop_assert_eq!(again.write().unwrap(), text);
    }

    #[test]
    fn no_plaintext_makes_the_reader_panic(text: String, bytes: Vec<u8>) {
        let _ = Document::read(text.as_bytes()).map(drop);
        let _ = Document::read(&bytes).map(drop);
    }
}
