//! Starting the command, and saying why it can't be started.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::arguments::Command;

/// Starts the command in a process group of its own, so that a signal reaches all that it started.
///
/// # Errors
/// When the program can't be run.
pub fn start(
    command: &Command,
    prepare: impl FnOnce(&mut std::process::Command),
) -> Result<(Pid, Child), Error> {
    let mut ready = std::process::Command::new(&command.program);
    ready.args(&command.arguments).process_group(0);
    prepare(&mut ready);
    let child = ready.spawn().map_err(|source| Error::Start {
        program: command.program.to_string_lossy().into_owned(),
        is_path: command.program.as_bytes().contains(&b'/'),
        source,
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.map(|pid| (pid, child)).ok_or(Error::NoProcess)
}

/// Why the supervisor could not do its work.
#[derive(Debug)]
pub enum Error {
    /// The program can't be run.
    Start {
        /// Its name as it was asked for.
        program: String,
        /// Whether that is a path; a bare name is looked for in PATH.
        is_path: bool,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel named no process.
    NoProcess,
    /// Signals can't be received.
    Signals(io::Error),
    /// The process in which the workspace lives can't be made.
    Branch(io::Error),
}

impl Error {
    /// As shells do it: 127 when there is no such program, 126 when it can't be run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
            Self::NoProcess | Self::Signals(_) | Self::Branch(_) => 125,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start {
                program,
                is_path,
                source,
            } => {
                let why = reason(program, *is_path, source);
                write!(f, "failed to start '{program}': {why}")
            }
            Self::NoProcess => f.write_str("failed to start the command: it has no process id"),
            Self::Signals(source) => write!(f, "failed to receive signals: {source}"),
            Self::Branch(source) => {
                write!(f, "failed to begin the workspace's processes: {source}")
            }
        }
    }
}

impl std::error::Error for Error {}

fn reason(program: &str, is_path: bool, source: &io::Error) -> String {
    let errno = source.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::NOENT) if is_path && Path::new(program).exists() => {
            "the file is there, but the interpreter of its first line, or the loader of its libraries, is not in \
             this image"
                .to_owned()
        }
        Some(Errno::NOENT) if is_path => "there is no such file in this image".to_owned(),
        Some(Errno::NOENT) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            format!(
                "there is no such program in PATH ({})",
                path.to_string_lossy()
            )
        }
        Some(Errno::ACCESS) if Path::new(program).is_dir() => "it is a folder".to_owned(),
        Some(Errno::ACCESS) => {
            "the file may not be executed by this user: set its executable bit in the image".to_owned()
        }
        Some(Errno::NOEXEC) => {
            "it is no program that this machine can run: it was built for another one, or is a script without '#!'"
                .to_owned()
        }
        _ => source.to_string(),
    }
}
