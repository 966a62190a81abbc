//! Signals that would end the process at once, and leave behind what has to go first.

use std::io;

use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::CliError;

/// From when it is made, no such signal ends the process by itself any more.
pub struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until somebody wants an end while a program has the terminal. What is typed there, such as Ctrl-C, is for that
    /// program.
    pub async fn end_of_both(&mut self) -> CliError {
        tokio::select! {
            _ = self.terminate.recv() => ended("SIGTERM"),
            _ = self.hang_up.recv() => ended("SIGHUP"),
        }
    }

    /// Waits until somebody wants an end.
    pub async fn end(&mut self) -> CliError {
        tokio::select! {
            _ = self.interrupt.recv() => ended("SIGINT"),
            _ = self.quit.recv() => ended("SIGQUIT"),
            _ = self.terminate.recv() => ended("SIGTERM"),
            _ = self.hang_up.recv() => ended("SIGHUP"),
        }
    }

    /// Forgets what was typed for a program that has ended.
    pub fn forget_typed(&mut self) {
        for typed in [&mut self.interrupt, &mut self.quit] {
            while typed.recv().now_or_never().flatten().is_some() {}
        }
    }
}

fn ended(signal: &str) -> CliError {
    CliError::undone(format!("ended by {signal}"))
        .next("nothing was changed, and no plain text is left behind")
}
