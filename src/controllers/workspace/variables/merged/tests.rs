use serde_json::json;

use super::*;
use crate::api::environment::VariablesLevel;
use crate::model::fixtures::workspace_with;
use crate::secrets::document::Document;

fn document(body: &str) -> Document {
    let text = format!("binding: {{namespace: a, name: b}}\n{body}");
    Document::read(text.as_bytes())
        .map_err(|error| error.to_string())
        .unwrap()
}

fn source(level: VariablesLevel, name: &str) -> Source {
    Source {
        level,
        name: name.to_owned(),
        digest: format!("digest of {name}"),
    }
}

fn merged(sets: &[(&Source, &str)]) -> Merged {
    let documents: Vec<Document> = sets.iter().map(|(_, body)| document(body)).collect();
    let origin = |source: &Source| Origin {
        level: source.level,
        name: source.name.clone(),
    };
    let sets = sets.iter().map(|(source, _)| origin(source));
    Merged::of(sets.zip(&documents))
        .map_err(|error| error.to_string())
        .unwrap()
}

fn identity() -> Identity {
    Identity::of(&workspace_with(json!({}))).unwrap()
}

#[test]
fn a_pin_says_who_brings_what_and_its_secret_holds_all_of_it() {
    let base = source(VariablesLevel::Namespace, "base");
    let own = source(VariablesLevel::Workspace, "own");
    let newest = merged(&[
        (
            &base,
            "env: {A: x, B: x}\nfiles: {a/b: {content: f, mode: '0400'}}",
        ),
        (
            &own,
            "env: {B: other}\nfiles: {'~/.netrc': {content: login}}",
        ),
    ]);
    let pin = pin_of(&identity(), vec![base, own], &Asked::default(), &newest);
    let env: Vec<_> = pin
        .env
        .iter()
        .map(|(name, of)| (name.as_str(), *of))
        .collect();
    assert_eq!(env, [("A", 0), ("B", 1)]);
    let files: Vec<_> = pin
        .files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                file.key.as_str(),
                file.mode,
                file.source,
            )
        })
        .collect();
    assert_eq!(
        files,
        [
            ("a/b", "file-0000", 0o400, 0),
            ("~/.netrc", "file-0001", 0o440, 1)
        ]
    );
    assert_eq!(pin.secret, format!("api-vars-{}", &pin.digest[..8]));

    let secret = secret_of(&identity(), &pin, &newest);
    let data = secret.data.unwrap();
    let data: Vec<_> = data
        .iter()
        .map(|(key, value)| (key.as_str(), value.0.as_slice()))
        .collect();
    assert_eq!(
        data,
        [
            ("A", &b"x"[..]),
            ("B", b"other"),
            ("file-0000", b"f"),
            ("file-0001", b"login")
        ]
    );
    assert_eq!(secret.immutable, Some(true));
    let annotations = secret.metadata.annotations.unwrap();
    assert_eq!(annotations[VARIABLES_DIGEST_ANNOTATION], pin.digest);
    assert_eq!(
        annotations[VARIABLES_ORIGINS_ANNOTATION],
        r#"{"Namespace/base":["A","a/b"],"Workspace/own":["B","~/.netrc"]}"#
    );
}

#[test]
fn what_differs_is_told_by_name() {
    let set = source(VariablesLevel::Workspace, "own");
    let old = merged(&[(
        &set,
        "env: {SAME: x, OTHER: x, GONE: x}\nfiles: {same: {content: x}, mode: {content: x}}",
    )]);
    let pin = pin_of(&identity(), vec![set.clone()], &Asked::default(), &old);
    let secret = secret_of(&identity(), &pin, &old);
    let entry = |key: &str| Some(secret.data.as_ref()?.get(key)?.0.as_slice());
    let newest = merged(&[(
        &set,
        "env: {SAME: x, OTHER: z, NEW: x}\nfiles: {same: {content: x}, mode: {content: x, mode: '0400'}}",
    )]);
    let mut told: Vec<_> = differences(Some(&pin), entry, &newest)
        .into_iter()
        .map(|one| format!("{} {:?}", one.name, one.change))
        .collect();
    told.sort();
    assert_eq!(
        told,
        ["GONE Removed", "NEW Added", "OTHER Changed", "mode Changed"]
    );
    assert_eq!(differences(Some(&pin), entry, &old), []);
    // Who has nothing yet.
    let all = differences(None, |_| None, &old);
    assert!(all.iter().all(|one| one.change == VariableChange::Added));
    assert_eq!(all.len(), 5);
}
