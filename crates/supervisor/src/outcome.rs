//! How a command ended, and what is left for those who ask why.

use std::fs::OpenOptions;
use std::io::Write as _;

use rustix::process::WaitStatus;

/// Where the kubelet looks for the reason of an end. It makes the file; where there is none, nobody looks.
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// The exit code that stands for an end: the command's own, or 128 and the number of the signal.
pub fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 125,
    };
    // The kernel gives eight bits of an exit code, and there are 64 signals.
    u8::try_from(code).unwrap_or(125)
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
