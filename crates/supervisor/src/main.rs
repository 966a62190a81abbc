//! `workstead-supervisor`, the first process of every workspace: small, static, and at home in an empty image.
//!
//! It collects whatever process loses its parent, hands signals on, and answers those who may ask how the workspace is.
//! A second process that it forks clones the projects and runs commands, editor and the user's own command; it ends with
//! that one. Its end ends every other process of the container, since it is the first.

mod arguments;
mod branch;
mod clock;
mod copy;
mod credentials;
mod fork;
mod launch;
mod outcome;
mod places;
mod process;
mod serve;
mod steps;
mod supervise;
mod tail;

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
        Ok(Request::GitCredential {
            folder,
            host,
            operation,
        }) => {
            credentials::answer(&folder, &host, &operation);
            ExitCode::SUCCESS
        }
        Ok(Request::Copy { from, to }) => match copy::copy(&from, &to) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let message = error.to_string();
                eprintln!("workstead-supervisor: {message}");
                outcome::leave_message(&message);
                ExitCode::FAILURE
            }
        },
        Ok(Request::Supervise(command, places)) => match supervise::run(command, places) {
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
