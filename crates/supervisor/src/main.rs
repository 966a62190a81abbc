//! `workstead-supervisor`, the first process of every workspace: small, static, and at home in an empty image.
//!
//! It runs the command of the workspace, or stays alive without one; collects whatever process loses its parent; hands
//! signals on; and ends with the command. Its end ends every other process of the container, since it is the first.

mod arguments;
mod launch;
mod outcome;
mod supervise;

use std::process::ExitCode;

use arguments::Request;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            print!("{}", arguments::USAGE);
            ExitCode::SUCCESS
        }
        Ok(Request::Version) => {
            println!("workstead-supervisor {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Request::Supervise(command)) => match supervise::run(command.as_ref()) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                let message = format!("workstead-supervisor: {error}");
                eprintln!("{message}");
                outcome::leave_message(&message);
                ExitCode::from(error.exit_code())
            }
        },
        Err(word) => {
            eprintln!(
                "workstead-supervisor: '{word}' is no option; a command follows after '--'\n\n{}",
                arguments::USAGE
            );
            ExitCode::from(2)
        }
    }
}
