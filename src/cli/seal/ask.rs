//! Asking for values: at a terminal without showing what is typed, else a line of standard input each.

use std::io::{self, BufRead, IsTerminal as _, Read as _};

use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::model::variables::VariableName;
use crate::secrets::document::LONGEST_VARIABLE;
use crate::secrets::text::SecretText;

/// Asks for each of them.
///
/// # Errors
/// When one gets no value, also by Ctrl-C.
pub fn ask(names: &[VariableName]) -> Result<Vec<(VariableName, SecretText)>, CliError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let input = io::stdin();
    if !input.is_terminal() {
        return from_lines(input.lock(), names);
    }
    // Who listens is not ended by Ctrl-C before the terminal is as it was.
    let _interrupts = signal(SignalKind::interrupt())?;
    let each = names.iter().map(|name| {
        let typed = rpassword::prompt_password(format!("{name} (not shown): "));
        // Of the error only its kind: its text could hold what was typed.
        let typed = typed.map_err(|error| unasked(name).seen(error.kind()))?;
        Ok((name.clone(), given(name, SecretText::new(typed))?))
    });
    each.collect()
}

/// A line for each name, and nothing else: a value of several lines would be cut otherwise.
fn from_lines(
    mut input: impl BufRead,
    names: &[VariableName],
) -> Result<Vec<(VariableName, SecretText)>, CliError> {
    let mut answers = Vec::with_capacity(names.len());
    for name in names {
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_VARIABLE + 2));
        let most = LONGEST_VARIABLE as u64 + 2;
        let read = input.by_ref().take(most).read_until(b'\n', &mut line);
        read.map_err(|error| unasked(name).seen(error.kind()))?;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = std::str::from_utf8(text)
            .map_err(|_| unasked(name).seen("its line is no UTF-8 text"))?;
        let value = SecretText::new(text.to_owned());
        answers.push((name.clone(), given(name, value)?));
    }
    let rest = input.fill_buf().map_err(|error| {
        CliError::undone("failed to read standard input to its end").seen(error.kind())
    })?;
    if !rest.is_empty() {
        return Err(CliError::no(
            "standard input goes on behind the last value that was asked for",
        )
        .next(
            "give a line for each --ask, in that order; a value of several lines goes into a file",
        ));
    }
    Ok(answers)
}

fn given(name: &VariableName, value: SecretText) -> Result<SecretText, CliError> {
    if value.expose().is_empty() {
        return Err(unasked(name).seen("nothing was given").next(
            "give a line for each --ask, in that order; a variable that shall be empty goes into a file",
        ));
    }
    Ok(value)
}

fn unasked(name: &VariableName) -> CliError {
    CliError::undone(format!("there is no value for {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &str, names: &[&str]) -> Result<Vec<String>, CliError> {
        let names: Vec<_> = names
            .iter()
            .map(|name| VariableName::parse(name).unwrap())
            .collect();
        let answers = from_lines(input.as_bytes(), &names)?;
        let shown =
            |(name, value): &(VariableName, SecretText)| format!("{name}={}", value.expose());
        Ok(answers.iter().map(shown).collect())
    }

    #[test]
    fn standard_input_has_a_line_for_each_name() {
        assert_eq!(lines("x y\r\nz", &["A", "B"]).unwrap(), ["A=x y", "B=z"]);
        assert_eq!(lines(" x \n", &["A"]).unwrap(), ["A= x "]);
        for (input, names, cause) in [
            ("", &["A"][..], "there is no value for A"),
            ("canary\n", &["A", "B"], "there is no value for B"),
            ("\ncanary\n", &["A", "B"], "there is no value for A"),
            ("x\ncanary\n", &["A"], "standard input goes on"),
            ("x\n\n", &["A"], "standard input goes on"),
        ] {
            let error = lines(input, names).unwrap_err();
            assert!(error.cause.starts_with(cause), "{}", error.cause);
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
