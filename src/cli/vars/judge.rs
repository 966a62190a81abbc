//! What became of a set in an editor: nothing, something that is sealed again, or something wrong. Pure.

use crate::cli::error::CliError;
use crate::cli::seal::check_owner;
use crate::cli::vars::file::FoundSet;
use crate::secrets::document::{Document, HIGHEST_SERIAL};
use crate::secrets::error::SetError;

/// What a set became; None, if it is as it was. A serial rises by itself where something changed.
///
/// # Errors
/// When it would be refused. The error names line and key, never a value.
pub fn judge(
    edited: &[u8],
    before: &Document,
    set: &FoundSet,
) -> Result<Option<Document>, CliError> {
    let wrong = || CliError::no("what was edited can't be sealed");
    let refused = |error: SetError| wrong().seen(without_advice(&error));
    let mut document = Document::read(edited).map_err(refused)?;
    let place = set.location(&before.binding);
    document
        .binding
        .check(document.scope, &place)
        .map_err(|error| {
            refused(error).next(
                "leave the binding as it was: for another place, write a set of its own with workstead seal",
            )
        })?;
    check_owner(&document.audience)?;
    if is_same(&document, before)? {
        return Ok(None);
    }
    if document.env.is_empty() && document.files.is_empty() {
        return Err(wrong()
            .seen("there is no variable and no file in it any more")
            .next("leave one there, or delete the object instead"));
    }
    document.serial = match (before.serial, document.serial) {
        (Some(old), None) => {
            return Err(wrong()
                .seen("(serial): it is gone, and the controller would take the set for an old one")
                .next(format!("write serial: {old} again: it rises by itself")));
        }
        (Some(old), Some(new)) if new < old => {
            return Err(wrong()
                .seen(format!(
                    "(serial): {new} is lower than {old}, and it may only rise"
                ))
                .next(format!("write serial: {old} again: it rises by itself")));
        }
        (Some(old), Some(new)) if new == old => {
            if old >= HIGHEST_SERIAL {
                return Err(wrong().seen("(serial): it can't rise any further"));
            }
            Some(old + 1)
        }
        (_, chosen) => chosen,
    };
    Ok(Some(document))
}

/// The text of an error, which tells whoever has a sealed text to seal it anew: here it is still being edited.
fn without_advice(error: &SetError) -> String {
    match error {
        SetError::BindingMissing => {
            "it does not begin with a binding that is whole: binding: {namespace: …, name: …}"
                .to_owned()
        }
        SetError::BindingMismatch {
            sealed_for,
            found_at,
        } => format!("its binding is for {sealed_for}, and the set is {found_at}"),
        SetError::InvalidContent {
            place,
            key,
            problem,
        } => {
            let key = key.as_ref().map(|key| format!(" ({key})"));
            let key = key.unwrap_or_default();
            format!(
                "line {}, column {}{key}: {problem}",
                place.line, place.column
            )
        }
        other => other.to_string(),
    }
}

fn is_same(one: &Document, other: &Document) -> Result<bool, CliError> {
    Ok(*one.write()? == *other.write()?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::api::variables::{SealedFormat, WorkspaceVariablesSpec};
    use crate::yaml::Place;

    fn set() -> FoundSet {
        let place = Place { line: 1, column: 1 };
        FoundSet {
            file: PathBuf::from("api.yaml"),
            begin: place,
            sealed_at: place,
            namespace: None,
            name: "api".to_owned(),
            spec: WorkspaceVariablesSpec {
                format: SealedFormat::Age,
                sealed: String::new(),
            },
        }
    }

    const BINDING: &str = "binding: {namespace: team-a, name: api}\n";

    fn of(before: &str, edited: &str) -> Result<Option<Document>, CliError> {
        let before = Document::read(format!("{BINDING}{before}").as_bytes());
        let before = before.map_err(|error| error.to_string()).unwrap();
        judge(edited.as_bytes(), &before, &set())
    }

    #[test]
    fn a_serial_rises_by_itself_where_something_changed_and_stays_where_nothing_did() {
        for (before, after, expected) in [
            ("serial: 3\nenv: {A: x}", "serial: 3\nenv: {A: x}", None),
            // Written otherwise, and the same.
            (
                "serial: 3\nenv: {A: x}",
                "# a\nenv:\n  A: \"x\"\nserial: 3",
                None,
            ),
            (
                "serial: 3\nenv: {A: x}",
                "serial: 3\nenv: {A: y2}",
                Some(Some(4)),
            ),
            (
                "serial: 3\nenv: {A: x}",
                "serial: 3\nenv: {A: x}\nfiles: {f: {content: x}}",
                Some(Some(4)),
            ),
            (
                "serial: 3\nenv: {A: x}",
                "serial: 9\nenv: {A: y2}",
                Some(Some(9)),
            ),
            (
                "serial: 3\nenv: {A: x}",
                "serial: 9\nenv: {A: x}",
                Some(Some(9)),
            ),
            ("env: {A: x}", "env: {A: y2}", Some(None)),
            ("env: {A: x}", "serial: 1\nenv: {A: y2}", Some(Some(1))),
        ] {
            let found = of(before, &format!("{BINDING}{after}")).unwrap();
            assert_eq!(found.map(|set| set.serial), expected, "{after}");
        }
    }

    #[test]
    fn what_would_be_refused_is_named_by_line_and_key_and_without_a_value() {
        let before = "serial: 3\nenv: {A: x}";
        for (edited, said) in [
            (
                format!("{BINDING}env:\n  A: [canary]\n"),
                "line 3, column 3 (A)",
            ),
            (format!("{BINDING}canary: ["), "this is no YAML"),
            (
                format!("{BINDING}env: {{A: canary}}"),
                "(serial): it is gone",
            ),
            (
                format!("{BINDING}serial: 2\nenv: {{A: canary}}"),
                "(serial): 2 is lower than 3",
            ),
            (
                "env: {A: canary}".to_owned(),
                "does not begin with a binding",
            ),
            (
                "binding: {namespace: team-b, name: api}\nserial: 3\nenv: {A: canary}".to_owned(),
                "its binding is for team-b/api",
            ),
            (
                "binding: {namespace: team-a, name: web}\nserial: 3\nenv: {A: canary}".to_owned(),
                "its binding is for team-a/web",
            ),
        ] {
            let error = of(before, &edited).map(drop).unwrap_err();
            let all = format!("{error:?}");
            assert!(all.contains(said), "no '{said}' in {all}");
            assert!(
                !all.contains("[canary]") && !all.contains("A: canary"),
                "{all}"
            );
        }
        let highest = format!("serial: {HIGHEST_SERIAL}\nenv: {{A: x}}");
        let edited = format!("{BINDING}serial: {HIGHEST_SERIAL}\nenv: {{A: y2}}");
        let error = of(&highest, &edited).map(drop).unwrap_err();
        assert!(error.evidence.concat().contains("can't rise"), "{error:?}");
    }
}
