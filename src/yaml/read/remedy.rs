//! What the parser's errors mean for whoever wrote the file: the place to look at, and what to write instead.

use serde_saphyr::granit_parser::ErrorKind;

use crate::yaml::node::Place;

/// Explains an error of the parser at a place of the text.
pub(super) fn explain(text: &str, at: Place, kind: &ErrorKind, info: &str) -> (Place, String) {
    use ErrorKind as Kind;
    match kind {
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabInPlainScalar
        | Kind::TabAtBlockScalarStart => (
            tab_behind(text, at).unwrap_or(at),
            "a tab can't indent a line: use spaces, as many as the line above has".to_owned(),
        ),
        Kind::SimpleKeyExpected if is_conflict(line(text, at)) => (
            at,
            "Git left the marks of a merge conflict here: keep one side and take the marks out"
                .to_owned(),
        ),
        Kind::SimpleKeyExpected => (
            at,
            "this line has no ': ' and no value: write one behind the key, or indent it like the line above if it goes on with that"
                .to_owned(),
        ),
        Kind::MappingValueNotAllowed => (at, misplaced_value(text, at)),
        Kind::ExpectedBlockMappingKey | Kind::InvalidIndentation => (
            at,
            "this line is indented like no line above that it could belong to: indent it like its neighbours"
                .to_owned(),
        ),
        Kind::BlockSequenceEntryNotAllowed => (
            at,
            "an item of a list can't begin here: put '- ' on a line of its own, or the text into quotes"
                .to_owned(),
        ),
        Kind::UnclosedQuotedScalar | Kind::DocumentIndicatorInQuotedScalar => (
            at,
            "the quote that begins here is not closed: close it behind the text, in the same line"
                .to_owned(),
        ),
        Kind::InvalidTrailingSingleQuotedScalar | Kind::InvalidTrailingDoubleQuotedScalar => (
            at,
            "after the closing quote there is more text: put the whole text into quotes, and write a quote inside it as '' within '…' or \\\" within \"…\""
                .to_owned(),
        ),
        Kind::UnknownQuotedScalarEscape => (
            at,
            "\\ has a meaning within \"…\", and not before this letter: put the text into '…' instead, or write \\\\"
                .to_owned(),
        ),
        Kind::UnexpectedCharacter { character } => (
            at,
            format!("a text can't begin with {character}: put the text into quotes"),
        ),
        Kind::UnknownAnchor | Kind::MissingAnchorOrAliasName => (
            at,
            "'*' and '&' stand for aliases and anchors here, and this names none: put the text into quotes"
                .to_owned(),
        ),
        Kind::UnclosedFlowCollection { open } => {
            let close = if *open == '{' { '}' } else { ']' };
            (
                at,
                format!("the '{open}' that begins here is not closed: write '{close}' behind its last value"),
            )
        }
        Kind::InvalidColonPlacement => (
            at,
            "a ':' has no place in a list in [ ]: close the list with ']' before it, or put the text into quotes"
                .to_owned(),
        ),
        _ => (at, info.to_owned()),
    }
}

/// The line of a place, without its break.
fn line(text: &str, at: Place) -> &str {
    let number = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
    text.lines().nth(number).unwrap_or_default()
}

fn is_conflict(line: &str) -> bool {
    ["<<<<<<<", "=======", ">>>>>>>"]
        .iter()
        .any(|mark| line.starts_with(mark))
}

/// The tab that the parser stumbled over: it reports the value that the tab ended, which may begin lines before. The tab
/// is the first one that indents a line from there on, or else the first one at all.
fn tab_behind(text: &str, at: Place) -> Option<Place> {
    let first = at.line.saturating_sub(1);
    let lines = (first..).zip(
        text.lines()
            .skip(usize::try_from(first).unwrap_or(usize::MAX)),
    );
    let place = |line: u32, before: &str| Place {
        line: line + 1,
        column: u32::try_from(before.chars().count())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
    };
    let mut any = None;
    for (number, line) in lines {
        let Some((before, _)) = line.split_once('\t') else {
            continue;
        };
        let found = place(number, before);
        if before.chars().all(|c| c == ' ') {
            return Some(found);
        }
        any.get_or_insert(found);
    }
    any
}

/// A `: ` where no value can stand: a second one in the line, or a line that is indented below a value.
fn misplaced_value(text: &str, at: Place) -> String {
    let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
    let before: String = line(text, at).chars().take(column).collect();
    if before.contains(": ") {
        return "a second ': ' in one line: put the text into quotes, as in key: \"a: b\""
            .to_owned();
    }
    let above = at.line.checked_sub(2).and_then(|number| {
        let number = usize::try_from(number).ok()?;
        text.lines().nth(number)
    });
    match above {
        Some(above) if !above.contains(':') => {
            "the line above has no ': ' and no value, so no key can follow it: write 'key: value' there"
                .to_owned()
        }
        Some(above) if !above.contains(": ") && !above.trim_end().ends_with(':') => {
            "the line above has no space behind its ':': write 'key: value' there".to_owned()
        }
        _ => "this line is indented deeper than the line above, which has a value already: indent it like the line above"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::{Limits, read};

    #[rstest]
    // A tab is pointed at itself, also where the value before it began lines above.
    #[case("a:\n  b: x\n\tc: y\n", (3, 1), "use spaces")]
    #[case("a:\n\tb: 1\n", (2, 1), "use spaces")]
    #[case("a: 1\nb:\n  - x y\n  \t- z\n", (4, 3), "use spaces")]
    #[case("a: b: c\n", (1, 5), "put the text into quotes")]
    #[case("a:\n  b: 1\n    c: 2\n", (3, 6), "indent it like the line above")]
    #[case("a:\n    b: 1\n  c: 2\n", (3, 3), "indent it like its neighbours")]
    #[case("a:1\nb: 2\n", (2, 2), "no space behind its ':'")]
    #[case("a\nb: 2\n", (2, 2), "write 'key: value' there")]
    #[case("a: 1\nb\nc: 2\n", (2, 1), "write one behind the key")]
    #[case("a: 1\n<<<<<<< HEAD\nb: 2\n", (2, 1), "merge conflict")]
    #[case("a: \"x\nb: 1\n", (1, 4), "close it behind the text")]
    #[case("a: 'x\nb: 1\n", (1, 4), "close it behind the text")]
    #[case("a: \"x\" y\n", (1, 8), "put the whole text into quotes")]
    #[case("a: \"\\d\"\n", (1, 4), "'…' instead")]
    #[case("a: @x\n", (1, 4), "put the text into quotes")]
    #[case("a: *.yaml\n", (1, 4), "put the text into quotes")]
    #[case("a: - b\n", (1, 4), "on a line of its own")]
    #[case("a: {b: 1\n", (1, 4), "write '}'")]
    #[case("a: [1, 2\nb: 1\n", (2, 2), "close the list with ']'")]
    #[case("a: [1,\nb: 1\n", (1, 4), "write ']'")]
    fn a_text_that_is_no_yaml_is_answered_with_what_to_write(
        #[case] text: &str,
        #[case] place: (u32, u32),
        #[case] remedy: &str,
    ) {
        let documents = read(text.as_bytes(), Limits::default());
        let error = documents.into_iter().find_map(Result::err).unwrap();
        assert_eq!((error.place.line, error.place.column), place, "{error}");
        assert!(error.message.contains(remedy), "{error}");
    }
}
