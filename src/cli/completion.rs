//! `workstead completion`: scripts for shells.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::generate;

use crate::cli::args::{Cli, CompletionArgs};
use crate::cli::error::CliError;
use crate::cli::output::Screen;

/// Prints the script for a shell.
pub fn run(arguments: &CompletionArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    generate(
        arguments.shell.generator(),
        &mut Cli::command(),
        "workstead",
        &mut script,
    );
    screen.print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
