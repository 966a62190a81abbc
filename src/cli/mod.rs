//! What was typed becomes typed configuration; the only room that reads the environment.
//!
//! Each command is a file: it asks the cluster or the other rooms, and shows the answer. Nothing is decided here that
//! another room decides too.

mod again;
pub mod args;
mod call;
mod completion;
mod connect;
mod controller;
mod crds;
mod dns;
mod doctor;
mod error;
mod files;
mod identity;
mod list;
mod logs;
mod managed;
mod memory;
mod open;
mod output;
mod plan;
pub mod proxy;
mod render;
mod role;
mod runstate;
mod seal;
mod show;
mod sync;
mod validate;
mod values;
mod vars;
mod wait;
mod why;
mod worktree;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::args::{Cli, Command};
use crate::cli::output::Screen;
use crate::telemetry::LogSettings;

pub use error::CliError;

/// What was typed, parsed.
#[derive(Debug)]
pub struct CommandLine {
    cli: Cli,
}

impl CommandLine {
    /// Parses the arguments, the program's name first.
    ///
    /// # Errors
    /// The exit code to end with, when there is nothing to run: help was asked for, or the arguments are wrong.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let matches = command_named(arguments.first()).try_get_matches_from(&arguments);
        matches
            .and_then(|matches| Cli::from_arg_matches(&matches))
            .map(|cli| Self { cli })
            .map_err(|error| {
                let _ = error.print();
                if error.use_stderr() {
                    error::UNDONE.into()
                } else {
                    ExitCode::SUCCESS
                }
            })
    }

    /// How to log: what was configured for a role. A command that people run shows its own warnings only: what a
    /// library logs about a lost connection is in the error that ends the command.
    pub fn log_settings(&self) -> LogSettings {
        match &self.cli.command {
            Command::Controller(arguments) => arguments.log.settings(),
            Command::Proxy(arguments) => arguments.log.settings(),
            _ => LogSettings {
                filter: "workstead=warn".to_owned(),
                ..LogSettings::default()
            },
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> ExitCode {
        let mut screen = Screen::standard();
        if holds_secrets(&self.cli.command) {
            memory::keep_from_dumps();
        }
        let outcome = match self.cli.command {
            Command::Controller(arguments) => block_on(controller::run(*arguments)),
            Command::Proxy(arguments) => block_on(proxy::run(*arguments)),
            Command::Plan(arguments) => block_on(plan::run(arguments, &mut screen)),
            Command::Validate(arguments) => validate::run(&arguments, &mut screen),
            Command::Render(arguments) => render::run(&arguments, &mut screen),
            Command::Seal(arguments) => block_on(seal::run(*arguments, &mut screen)),
            Command::Vars(arguments) => block_on(vars::run(*arguments, &mut screen)),
            Command::Identity(arguments) => block_on(identity::run(arguments, &mut screen)),
            Command::Open(arguments) => block_on(open::run(arguments, &mut screen)),
            Command::Doctor(arguments) => block_on(doctor::run(*arguments, &mut screen)),
            Command::Crds(arguments) => crds::run(&arguments, &mut screen),
            Command::List(arguments) => block_on(list::run(arguments, &mut screen)),
            Command::Why(arguments) => block_on(why::run(arguments, &mut screen)),
            Command::Start(arguments) => block_on(runstate::start(arguments, &mut screen)),
            Command::Stop(arguments) => block_on(runstate::stop(arguments, &mut screen)),
            Command::Restart(arguments) => block_on(runstate::restart(arguments, &mut screen)),
            Command::Sync(arguments) => block_on(sync::run(arguments, &mut screen)),
            Command::Completion(arguments) => completion::run(&arguments, &mut screen),
            Command::GitFetch => return crate::gitsync::worker::run(),
        };
        match outcome {
            Ok(exit) => exit,
            Err(error) => report(&error),
        }
    }
}

/// Whether values of sealed sets, or keys, come into the memory of a command.
fn holds_secrets(command: &Command) -> bool {
    matches!(
        command,
        Command::Controller(_)
            | Command::Proxy(_)
            | Command::Seal(_)
            | Command::Vars(_)
            | Command::Identity(_)
    )
}

/// Shows an error on standard error and gives the exit code that belongs to it.
pub fn report(error: &CliError) -> ExitCode {
    Screen::standard().error(error)
}

/// The command with the name by which it was called, so that help and usage can be typed as they are shown.
fn command_named(program: Option<&OsString>) -> clap::Command {
    let typed = again::typed_as(program.map(OsString::as_os_str));
    Cli::command()
        .bin_name(typed)
        .mut_subcommands(|command| with_examples(command, typed))
}

/// Its examples, and those of what is below it, with that name.
fn with_examples(command: clap::Command, typed: &'static str) -> clap::Command {
    let command = match command.get_after_help() {
        // Examples begin a line, after two spaces.
        Some(help) => {
            let help = help
                .to_string()
                .replace("  workstead ", &format!("  {typed} "));
            command.after_help(help)
        }
        None => command,
    };
    command.mut_subcommands(|below| with_examples(below, typed))
}

fn block_on(work: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::undone("failed to start the runtime").because(error))?
        .block_on(work)
}
