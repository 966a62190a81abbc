//! What was typed.

use std::ffi::OsString;

/// How it is called.
pub const USAGE: &str = "\
Usage: workstead-supervisor [-- COMMAND [ARGS...]]

Runs COMMAND as the first process of a workspace, or stays alive without one.
Signals go to the command; its exit code is the supervisor's (128+n for signal n,
127 when there is no such program, 126 when it can't be run).
";

/// A command and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Say how it is called.
    Help,
    /// Say which one it is.
    Version,
    /// Run a command, or stay alive.
    Supervise(Option<Command>),
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// The word that is not understood.
pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let Some(first) = words.next() else {
        return Ok(Request::Supervise(None));
    };
    match first.to_str() {
        Some("--") => Ok(Request::Supervise(words.next().map(|program| Command {
            program,
            arguments: words.collect(),
        }))),
        Some("-h" | "--help") => Ok(Request::Help),
        Some("-V" | "--version") => Ok(Request::Version),
        _ => Err(first.to_string_lossy().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn nothing_and_a_lone_separator_stay_alive() {
        assert_eq!(parsed(&[]), Ok(Request::Supervise(None)));
        assert_eq!(parsed(&["--"]), Ok(Request::Supervise(None)));
    }

    #[test]
    fn everything_after_the_separator_belongs_to_the_command() {
        let command = Command {
            program: "sh".into(),
            arguments: vec!["--".into(), "--help".into()],
        };
        assert_eq!(
            parsed(&["--", "sh", "--", "--help"]),
            Ok(Request::Supervise(Some(command)))
        );
    }

    #[test]
    fn a_command_without_the_separator_is_refused() {
        assert_eq!(parsed(&["sh"]), Err("sh".to_owned()));
    }
}
