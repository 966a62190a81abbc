//! The first process: signals in, their numbers out to the branch, dead processes collected, questions answered.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid};
use signal_hook::consts::signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use workstead_link::{PLAN_LIMIT, PLAN_VARIABLE, Plan};

use crate::arguments::Command;
use crate::branch::{self, Inheritance};
use crate::clock::Clock;
use crate::fork::{Side, fork};
use crate::launch::Error;
use crate::outcome;
use crate::places::Places;
use crate::process::thread;
use crate::serve::{Board, Listeners};
use crate::steps::{News, planned};

/// Signals that go to the command. As first process the kernel would otherwise drop them.
const FORWARDED: [i32; 6] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// Runs the command until it ends, or stays alive until asked to end; gives the exit code.
///
/// # Errors
/// When the command can't be started.
pub fn run(command: Option<Command>, places: Places) -> Result<u8, Error> {
    let clock = Clock::start();
    adopt_orphans();
    let plan = plan();
    // Before the branch, so that nothing of the user's takes the ports first.
    let listeners = Listeners::bind(&places);
    let (socket, theirs) = UnixStream::pair().map_err(Error::Branch)?;
    let (steps, keep_alive) = match &plan {
        Some(Ok(plan)) => (planned(plan), plan.keep_alive.clone()),
        Some(Err(_)) => (planned(&Plan::default()), Vec::new()),
        // Nobody asked for anything, so nothing is to be waited for.
        None => (Vec::new(), Vec::new()),
    };
    // Before the branch, too: a command that ends at once must not end unseen, nor a signal be lost.
    let signals = Signals::new(FORWARDED.into_iter().chain([SIGCHLD])).map_err(Error::Signals)?;
    match fork().map_err(Error::Branch)? {
        Side::Branch => {
            // A signal that somebody sends to all processes must not end the one that holds them together. Handlers
            // that nobody reads any more stay in place; every child of the branch gets the usual ones.
            drop((socket, listeners, signals));
            end_at_a_panic();
            branch::run(Inheritance {
                command,
                plan,
                places,
                clock,
                socket: theirs,
            })
        }
        Side::First(branch) => {
            drop((command, theirs));
            let board = Arc::new(Board::new(steps, keep_alive, clock));
            listeners.serve(&board, &places);
            watch_over(branch, signals, socket, &board)
        }
    }
}

/// What the pod says that there is to do.
fn plan() -> Option<Result<Plan, String>> {
    let text = env::var_os(PLAN_VARIABLE)?;
    let text = match text.to_str() {
        Some(text) if text.len() <= PLAN_LIMIT => text,
        Some(text) => {
            return Some(Err(format!(
                "it has {} bytes, {PLAN_LIMIT} at most",
                text.len()
            )));
        }
        None => return Some(Err("it is no text".to_owned())),
    };
    Some(serde_json::from_str(text).map_err(|error| error.to_string()))
}

/// A thread that ended in a fault of ours would leave the others waiting for it. So all end, and are started again.
fn end_at_a_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |fault| {
        usual(fault);
        std::process::abort();
    }));
}

/// Until the branch ends, by itself or not: what is left ends with the first process, and the kubelet starts all again.
fn watch_over(
    branch: Pid,
    mut signals: Signals,
    socket: UnixStream,
    board: &Arc<Board>,
) -> Result<u8, Error> {
    let mut orders = socket.try_clone().map_err(Error::Branch)?;
    let told = Arc::clone(board);
    thread("news", move || read_news(socket, &told)).map_err(Error::Branch)?;
    let mut ended = None;
    loop {
        if let Some(status) = ended {
            return Ok(conclude(status));
        }
        for signal in signals.wait() {
            if signal == SIGCHLD {
                ended = ended.or(collect(branch));
            } else if let Ok(number) = u8::try_from(signal) {
                // It may just have ended; then its end is seen next.
                let _ = orders.write_all(&[number]);
            }
        }
    }
}

fn conclude(status: WaitStatus) -> u8 {
    if let Some(signal) = status.terminating_signal() {
        let message = format!(
            "workstead-supervisor: the process that held the workspace together was ended by signal {signal}"
        );
        eprintln!("{message}");
        outcome::leave_message(&message);
    }
    outcome::exit_code(status)
}

/// Makes processes without a parent ours. The first process of a container has them anyway; where containers share
/// their process namespace we are not the first. An old kernel that refuses leaves us no worse off.
fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

/// Collects all that have ended; gives how the branch ended if it is among them.
fn collect(branch: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((process, status))) => {
                if process == branch {
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

/// Puts on the board what the branch says of its steps.
fn read_news(socket: UnixStream, board: &Board) {
    for line in BufReader::new(socket).lines() {
        let news =
            line.and_then(|line| serde_json::from_str::<News>(&line).map_err(io::Error::from));
        match news {
            Ok(news) => board.put(news),
            Err(_) => return,
        }
    }
}
