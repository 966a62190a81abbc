//! How a command ended, and what is left for those who ask why.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::WaitStatus;

/// Where the kubelet looks for the reason of an end. It makes the file; where there is none, nobody looks.
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// The exit code that stands for an end: the command's own, or 128 and the number of the signal.
pub fn exit_code(status: WaitStatus) -> u8 {
    number(status.exit_status(), status.terminating_signal())
}

fn number(code: Option<i32>, signal: Option<i32>) -> u8 {
    let code = match (code, signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 125,
    };
    // The kernel gives eight bits of an exit code, and there are 64 signals.
    u8::try_from(code).unwrap_or(125)
}

/// The same for a process of the branch.
pub fn code_of(status: std::process::ExitStatus) -> u8 {
    number(status.code(), status.signal())
}

/// Leaves a message in the file that the kubelet reads. That it can't be written changes nothing: the same message
/// went to standard error, which is the kubelet's second choice.
pub fn leave_message(message: &str) {
    if let Ok(mut file) = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(TERMINATION_MESSAGE)
    {
        let _ = writeln!(file, "{message}");
    }
}

/// How a process ended, for people, after its name.
pub fn words(status: std::process::ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
