//! What was typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::places::Places;

/// How it is called.
pub const USAGE: &str = "\
Usage: workstead-supervisor [OPTIONS] [-- COMMAND [ARGS...]]
       workstead-supervisor git-credential FOLDER HOST get
       workstead-supervisor copy FROM TO

Runs COMMAND as the first process of a workspace, or stays alive without one.
Signals go to the command; its exit code is the supervisor's (128+n for signal n,
127 when there is no such program, 126 when it can't be run).
What else there is to do is in the environment variable WORKSTEAD_PLAN.

Options:
  --root DIR             Stands for / in all paths but the command's
  --supervisor-port N    Instead of 60003
  --ready-port N         Instead of 60004
  --git-silence SECONDS  How long Git may say nothing, instead of 60
Port 0 is any that is free; which one it is stands on standard error.

git-credential answers Git's question for the credentials of HOST from the files of FOLDER.
copy copies the image, from FROM on, into the volume TO.
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
    /// Answer a question of Git.
    GitCredential {
        /// Where the files of the Secret are.
        folder: PathBuf,
        /// For which host they are meant.
        host: String,
        /// What Git wants: `get`, `store` or `erase`.
        operation: String,
    },
    /// Copy the image into a volume.
    Copy {
        /// Where the image is.
        from: PathBuf,
        /// The volume.
        to: PathBuf,
    },
    /// Run a command, or stay alive.
    Supervise(Option<Command>, Places),
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// The word that is not understood.
pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let mut places = Places::default();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--") => {
                let command = words.next().map(|program| Command {
                    program,
                    arguments: words.collect(),
                });
                return Ok(Request::Supervise(command, places));
            }
            Some("-h" | "--help") => return Ok(Request::Help),
            Some("-V" | "--version") => return Ok(Request::Version),
            Some("git-credential") => return git_credential(words),
            Some("copy") => return copy(words),
            Some("--root") => places.root = PathBuf::from(words.next().ok_or("--root")?),
            Some("--supervisor-port") => {
                places.supervisor_port = number(words.next(), "--supervisor-port")?;
            }
            Some("--ready-port") => places.ready_port = number(words.next(), "--ready-port")?,
            Some("--git-silence") => {
                let seconds = number(words.next(), "--git-silence")?;
                places.git_silence = Duration::from_secs(seconds.into());
            }
            _ => return Err(word.to_string_lossy().into_owned()),
        }
    }
    Ok(Request::Supervise(None, places))
}

fn number(word: Option<OsString>, option: &str) -> Result<u16, String> {
    word.and_then(|word| word.to_str()?.parse().ok())
        .ok_or_else(|| option.to_owned())
}

fn copy(mut words: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let mut word = || words.next().ok_or_else(|| "copy".to_owned());
    Ok(Request::Copy {
        from: PathBuf::from(word()?),
        to: PathBuf::from(word()?),
    })
}

fn git_credential(mut words: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let mut word = || words.next().ok_or_else(|| "git-credential".to_owned());
    Ok(Request::GitCredential {
        folder: PathBuf::from(word()?),
        host: word()?.to_string_lossy().into_owned(),
        operation: word()?.to_string_lossy().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn nothing_and_a_lone_separator_stay_alive() {
        let alive = || Ok(Request::Supervise(None, Places::default()));
        assert_eq!(parsed(&[]), alive());
        assert_eq!(parsed(&["--"]), alive());
    }

    #[test]
    fn everything_after_the_separator_belongs_to_the_command() {
        let command = Command {
            program: "sh".into(),
            arguments: vec!["--".into(), "--help".into()],
        };
        assert_eq!(
            parsed(&["--", "sh", "--", "--help"]),
            Ok(Request::Supervise(Some(command), Places::default()))
        );
    }

    #[test]
    fn a_command_without_the_separator_is_refused() {
        assert_eq!(parsed(&["sh"]), Err("sh".to_owned()));
    }

    #[test]
    fn places_can_be_chosen_and_a_number_must_be_one() {
        let places = Places {
            root: "/x".into(),
            supervisor_port: 1,
            ready_port: 2,
            git_silence: Duration::from_secs(3),
        };
        let words = [
            "--root",
            "/x",
            "--supervisor-port",
            "1",
            "--ready-port",
            "2",
            "--git-silence",
            "3",
        ];
        assert_eq!(parsed(&words), Ok(Request::Supervise(None, places)));
        assert_eq!(
            parsed(&["--ready-port", "x"]),
            Err("--ready-port".to_owned())
        );
        assert_eq!(parsed(&["--root"]), Err("--root".to_owned()));
    }

    #[test]
    fn a_copy_has_two_ends() {
        let (from, to) = ("/".into(), "/v".into());
        assert_eq!(parsed(&["copy", "/", "/v"]), Ok(Request::Copy { from, to }));
        assert_eq!(parsed(&["copy", "/"]), Err("copy".to_owned()));
    }

    #[test]
    fn git_asks_with_folder_host_and_operation() {
        assert_eq!(
            parsed(&["git-credential", "/f", "h", "get"]),
            Ok(Request::GitCredential {
                folder: "/f".into(),
                host: "h".to_owned(),
                operation: "get".to_owned()
            })
        );
        assert!(parsed(&["git-credential", "/f"]).is_err());
    }
}
