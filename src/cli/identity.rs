//! `workstead identity`: what opens sealed sets.

use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::files::{self, PRIVATE};
use crate::cli::output::Screen;
use crate::cli::worktree::refuse_exposed;
use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock as _;
use crate::secrets::identity::Identity;

/// Arguments of `identity`.
#[derive(Args, Debug)]
pub struct IdentityArgs {
    /// What to do.
    #[command(subcommand)]
    command: IdentityCommand,
}

/// What there is to do with identities.
#[derive(Debug, Subcommand)]
enum IdentityCommand {
    /// Make a new identity, as age-keygen does
    #[command(after_help = "\
Examples:
  workstead identity new -o identity.txt           a file that only you can read
  workstead identity new | age -p > identity.age   never on a disk as it is")]
    New(NewArgs),
}

/// Arguments of `identity new`.
#[derive(Args, Debug)]
struct NewArgs {
    /// Where to write it; the file must not be there yet [default: standard output, if that is no terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Works on identities.
pub fn run(arguments: &IdentityArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    match &arguments.command {
        IdentityCommand::New(arguments) => new(arguments.output.as_deref(), screen),
    }
}

fn new(output: Option<&Path>, screen: &mut Screen) -> Result<ExitCode, CliError> {
    match output {
        Some(path) => refuse_exposed(path, "or name a file outside of the work tree")?,
        None if io::stdout().is_terminal() => {
            return Err(CliError::undone("an identity is not shown on a terminal")
                .next("name a file that only you can read: -o identity.txt"));
        }
        None => {}
    }
    let identity = Identity::generate();
    let text = as_keygen(&identity, SystemClock.now());
    match output {
        Some(path) => {
            files::create(path, text.as_bytes(), PRIVATE)
                .map_err(|error| unwritten(path, error))?;
        }
        None => screen.print(&text)?,
    }
    screen.progress(&format!("public key: {}", identity.recipient()));
    screen.progress(&format!("fingerprint: {}", identity.fingerprint()));
    Ok(ExitCode::SUCCESS)
}

fn unwritten(path: &Path, error: io::Error) -> CliError {
    let shown = path.display();
    if error.kind() == ErrorKind::AlreadyExists {
        return CliError::no(format!("{shown} is there already, and is not overwritten"))
            .next("name another file: what is sealed for an identity is lost with it");
    }
    CliError::undone(format!("failed to write {shown}")).because(error)
}

/// As `age-keygen` writes it.
fn as_keygen(identity: &Identity, now: Timestamp) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "# created: {}\n# public key: {}\n{}\n",
        now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        identity.recipient(),
        *identity.to_text(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::Identities;

    #[test]
    fn an_identity_is_written_as_age_keygen_does_and_read_back() {
        let identity = Identity::generate();
        let text = as_keygen(&identity, Timestamp::UNIX_EPOCH);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# created: 1970-01-01T00:00:00Z");
        assert_eq!(lines[1], format!("# public key: {}", identity.recipient()));
        assert!(lines[2].starts_with("AGE-SECRET-KEY-1") && lines.len() == 3);
        let read = Identities::parse(&text).unwrap();
        assert_eq!(read.fingerprints().next(), Some(identity.fingerprint()));
    }
}
