//! The loop: signals in, signals out, dead processes collected.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group};
use signal_hook::consts::signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::arguments::Command;
use crate::launch::{self, Error};
use crate::outcome;

/// Signals that go to the command. As first process the kernel would otherwise drop them.
const FORWARDED: [i32; 6] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// Runs the command until it ends, or stays alive until asked to end; gives the exit code.
///
/// # Errors
/// When the command can't be started.
pub fn run(command: Option<&Command>) -> Result<u8, Error> {
    adopt_orphans();
    // Before the start: a command that ends at once must not end unseen.
    let mut signals =
        Signals::new(FORWARDED.into_iter().chain([SIGCHLD])).map_err(Error::Signals)?;
    let child = command.map(launch::start).transpose()?;
    for signal in signals.forever() {
        match (signal, child) {
            (SIGCHLD, _) => {
                if let Some(status) = collect(child) {
                    report_signal(command, status);
                    return Ok(outcome::exit_code(status));
                }
            }
            (signal, Some(child)) => forward(child, signal),
            (SIGTERM | SIGINT | SIGQUIT, None) => return Ok(0),
            (_, None) => {}
        }
    }
    // The iterator ends only when it is closed, which nobody does.
    Ok(0)
}

/// Makes processes without a parent ours. The first process of a container has them anyway; where containers share
/// their process namespace we are not the first. An old kernel that refuses leaves us no worse off.
fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

/// Collects all that have ended; gives how the command ended if it is among them.
fn collect(child: Option<Pid>) -> Option<WaitStatus> {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((process, status))) => {
                if Some(process) == child {
                    ended = Some(status);
                }
            }
            // None has ended, or none is left.
            Ok(None) | Err(Errno::CHILD) => return ended,
            Err(Errno::INTR) => {}
            // The call knows no other error; one that appears must not make a busy loop.
            Err(_) => return ended,
        }
    }
}

fn forward(child: Pid, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // The group may just have ended; then there is nobody left to tell.
        let _ = kill_process_group(child, signal);
    }
}

/// An exit code of 137 alone does not say who was killed.
fn report_signal(command: Option<&Command>, status: WaitStatus) {
    if let (Some(command), Some(signal)) = (command, status.terminating_signal()) {
        eprintln!(
            "workstead-supervisor: '{}' was ended by signal {signal}",
            command.program.to_string_lossy()
        );
    }
}
