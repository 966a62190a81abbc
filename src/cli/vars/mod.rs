//! `workstead vars`: sealed variables after they were sealed. What a workspace has of them, and sets in files: opened for
//! editing, sealed again, checked.
//!
//! A value is shown to its editor alone. All else speaks of names.

mod check;
mod edit;
mod file;
mod judge;
mod list;
mod memory;
mod personal;
mod place;
mod rotate;
mod signals;
mod update;
mod whom;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::args::{ClusterArgs, WaitArgs};
use crate::cli::error::CliError;
use crate::cli::output::{DataFormat, Screen};
use crate::cli::seal::RecipientsArgs;
use crate::cli::values::{domain, label};
use crate::cli::vars::personal::PersonalArgs;

/// Arguments of `vars`.
#[derive(Args, Debug)]
pub struct VarsArgs {
    /// What to do.
    #[command(subcommand)]
    command: VarsCommand,
}

/// What there is to do with sealed variables.
#[derive(Debug, Subcommand)]
enum VarsCommand {
    /// List what a workspace has, by name and origin, and what waits for its next start
    #[command(after_help = "\
Examples:
  workstead vars list alice-api
  workstead vars list alice-api -o json            for programs

Values are never shown: they are in the workspace.")]
    List(ListArgs),
    /// Have a workspace take the newest values when it next starts
    #[command(after_help = "\
Examples:
  workstead vars update alice-api                  with its next start, whenever that is
  workstead vars update alice-api --restart --wait")]
    Update(UpdateArgs),
    /// Open a sealed set in your editor, and seal it again
    ///
    /// It needs an identity of yours among the recipients. The editor, $VISUAL or $EDITOR, gets a file in memory that is gone
    /// when it ends. A serial rises by itself.
    #[command(after_help = "\
Examples:
  workstead vars edit variables/api.yaml --identity ~/identity.txt
  workstead vars edit variables/api.yaml --identity <(age -d identity.age)
  workstead vars edit variables/api.yaml --recipients-file recipients.txt")]
    Edit(EditArgs),
    /// Seal sets again for the recipients of today; what is in them stays as it is
    #[command(after_help = "\
Examples:
  workstead vars rotate variables/*.yaml --identity ~/identity.txt
  workstead vars rotate variables/*.yaml --recipients-file recipients.txt

It does not undo an exposure: who could open the old text still can. Change those values where they come from.")]
    Rotate(RotateArgs),
    /// Check sets in files: all that can be seen without an identity, and with one also what is in them
    #[command(after_help = "\
Examples:
  workstead vars check                             below this folder
  workstead vars check variables/ --identity ~/identity.txt
  workstead vars check -o json                     for programs")]
    Check(CheckArgs),
}

/// Arguments of `vars list`.
#[derive(Args, Debug)]
struct ListArgs {
    /// Name of the workspace
    #[arg(value_parser = domain)]
    name: String,
    /// How to write the answer [default: a table]
    #[arg(short, long, value_enum)]
    output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `vars update`.
#[derive(Args, Debug)]
struct UpdateArgs {
    /// Name of the workspace
    #[arg(value_parser = domain)]
    name: String,
    /// Restart it now, so that it gets them
    #[arg(long)]
    restart: bool,
    /// Waiting.
    #[command(flatten)]
    wait: WaitArgs,
    /// How to write the answer [default: text]
    #[arg(short, long, value_enum)]
    output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `vars edit`.
#[derive(Args, Debug)]
struct EditArgs {
    /// The file with the WorkspaceVariables
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Who opens it.
    #[command(flatten)]
    personal: PersonalArgs,
    /// Who can open it afterwards.
    #[command(flatten)]
    recipients: RecipientsArgs,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `vars rotate`.
#[derive(Args, Debug)]
struct RotateArgs {
    /// Files with WorkspaceVariables
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Who opens them.
    #[command(flatten)]
    personal: PersonalArgs,
    /// Who can open them afterwards.
    #[command(flatten)]
    recipients: RecipientsArgs,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `vars check`.
#[derive(Args, Debug)]
struct CheckArgs {
    /// Files or folders
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Files to leave out, in gitignore syntax
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// Namespace of sets that name none [default: that of their binding]
    #[arg(short, long, value_parser = label)]
    namespace: Option<String>,
    /// Who opens them.
    #[command(flatten)]
    personal: PersonalArgs,
    /// How to write the answer [default: a line an error]
    #[arg(short, long, value_enum)]
    output: Option<DataFormat>,
}

/// Works on sealed variables.
pub async fn run(arguments: VarsArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    match arguments.command {
        VarsCommand::List(arguments) => list::run(&arguments, screen).await,
        VarsCommand::Update(arguments) => update::run(&arguments, screen).await,
        VarsCommand::Edit(arguments) => edit::run(&arguments, screen).await,
        VarsCommand::Rotate(arguments) => rotate::run(&arguments, screen).await,
        VarsCommand::Check(arguments) => check::run(&arguments, screen),
    }
}
