//! `workstead identity`: what opens sealed sets.

mod list;
mod retire;
mod ring;

use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::cli::args::ClusterArgs;
use crate::cli::error::CliError;
use crate::cli::files::{self, PRIVATE};
use crate::cli::identity::ring::Ring;
use crate::cli::output::{DataFormat, Screen};
use crate::cli::values::label;
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
    /// List the identities of the installation, and how many sets each has opened
    #[command(after_help = "\
Examples:
  workstead identity list
  workstead identity list -o json                  for programs")]
    List(ListArgs),
    /// Take an identity out of the installation; refused while a set needs it
    #[command(after_help = "\
Examples:
  workstead identity retire 0123456789abcdef")]
    Retire(RetireArgs),
}

/// Arguments of `identity new`.
#[derive(Args, Debug)]
struct NewArgs {
    /// Where to write it; the file must not be there yet [default: standard output, if that is no terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Put it first among the installation's: from then on people seal for it too. Needs the right to write its Secret
    #[arg(long)]
    install: bool,
    /// Where the installation is.
    #[command(flatten)]
    installation: InstallationArgs,
}

/// Where the installation is.
#[derive(Args, Debug)]
struct InstallationArgs {
    /// Namespace of the installation
    #[arg(long, value_name = "NAMESPACE", default_value = "workstead-system", value_parser = label)]
    installation_namespace: String,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `identity list`.
#[derive(Args, Debug)]
struct ListArgs {
    /// How to write the answer
    #[arg(short, long, value_enum)]
    output: Option<DataFormat>,
    /// Where the installation is.
    #[command(flatten)]
    installation: InstallationArgs,
}

/// Arguments of `identity retire`.
#[derive(Args, Debug)]
struct RetireArgs {
    /// Its fingerprint, as identity list shows it
    #[arg(value_parser = fingerprint)]
    fingerprint: String,
    /// Where the installation is.
    #[command(flatten)]
    installation: InstallationArgs,
}

fn fingerprint(text: &str) -> Result<String, &'static str> {
    let is_one = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one
        .then(|| text.to_ascii_lowercase())
        .ok_or("a fingerprint has 16 hexadecimal digits")
}

/// Works on identities.
pub async fn run(arguments: IdentityArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    match arguments.command {
        IdentityCommand::New(arguments) => new(&arguments, screen).await,
        IdentityCommand::List(arguments) => list::run(&arguments, screen).await,
        IdentityCommand::Retire(arguments) => retire::run(&arguments, screen).await,
    }
}

async fn new(arguments: &NewArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let output = arguments.output.as_deref();
    match output {
        Some(path) => refuse_exposed(path, "or name a file outside of the work tree")?,
        // It is kept by the installation.
        None if arguments.install => {}
        None if io::stdout().is_terminal() => {
            return Err(CliError::undone("an identity is not shown on a terminal")
                .next("name a file that only you can read: -o identity.txt"));
        }
        None => {}
    }
    let identity = Identity::generate();
    let text = identity.to_file(SystemClock.now());
    match output {
        Some(path) => {
            files::create(path, text.as_bytes(), PRIVATE)
                .map_err(|error| unwritten(path, error))?;
        }
        None if arguments.install => {}
        None => screen.print(&text)?,
    }
    if arguments.install {
        // The file first, where there is one: what was installed must not be lost.
        let ring = Ring::read(&arguments.installation).await?;
        let all = Zeroizing::new(format!("{}{}", *text, *ring.text));
        ring.write(&all).await?;
    }
    screen.progress(&format!("public key: {}", identity.recipient()));
    screen.progress(&format!("fingerprint: {}", identity.fingerprint()));
    if arguments.install {
        screen.progress(
            "next step: back up Secret workstead-identities; seal sets anew, then workstead identity retire the old one",
        );
    }
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
