//! The `workstead` binary: parse the command line, start telemetry, run a role.

use std::process::ExitCode;

use workstead::cli::{self, CommandLine};
use workstead::telemetry::logs;

fn main() -> ExitCode {
    // By name: with two providers in one graph the implicit choice panics. A second install only says that one is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let command_line = match CommandLine::parse(std::env::args_os()) {
        Ok(command_line) => command_line,
        Err(exit) => return exit,
    };
    if let Err(error) = logs::init(&command_line.log_settings()) {
        return cli::report(&error.into());
    }
    command_line.run()
}
