//! One process becomes two.

use std::io;

use rustix::process::Pid;

/// Which of the two this is.
pub enum Side {
    /// The one that was there; it knows the other's number.
    First(Pid),
    /// The new one.
    Branch,
}

/// Forks. To be called before any thread is started.
///
/// # Errors
/// When the kernel gives no further process.
pub fn fork() -> io::Result<Side> {
    // SAFETY: the process has one thread, so no lock is held by another that the copy lacks; main calls this before
    // any thread is started.
    #[allow(unsafe_code, reason = "the standard library has no fork")]
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Branch),
        pid => Pid::from_raw(pid)
            .map(Side::First)
            .ok_or_else(|| io::Error::other("the kernel named no process")),
    }
}
