//! Links below a folder, made and taken away without ever following a link out of it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, mkdirat, open, openat, readlinkat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

/// A folder on the way: no rights to read it are needed, and a link in its place is refused.
const STEP: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Folders that others may not look into: their programs refuse them otherwise.
const PRIVATE: [&str; 2] = [".ssh", ".gnupg"];

/// An open folder.
pub struct Folder(OwnedFd);

/// Why something was left as it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A file or folder has the name.
    Taken(&'static str),
    /// A folder on the way is something else.
    Way(String, &'static str),
    /// The kernel said no.
    System(Errno),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(what) => write!(f, "{what} is there already and was left as it is"),
            Self::Way(folder, what) => write!(
                f,
                "~/{folder} is {what}, and links are made in real folders only"
            ),
            Self::System(errno) => write!(f, "{}", io::Error::from(*errno)),
        }
    }
}

impl Folder {
    /// Opens a folder, through links if there are any: which one is HOME was decided by others.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// Makes a link, and folders on the way to it. One that is there already and leads to the target stays.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn link(&self, path: &str, target: &Path) -> Result<(), Obstacle> {
        let (folder, name) = self.parent(path, true)?;
        match symlinkat(target, &folder, name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if leads_to(&folder, name, target) => Ok(()),
            Err(Errno::EXIST) => Err(Obstacle::Taken(what_is(&folder, name))),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes a link away if it is there and leads to the target. Anything else is not ours.
    ///
    /// # Errors
    /// When it can't be taken away.
    pub fn take_away(&self, path: &str, target: &Path) -> Result<(), Obstacle> {
        let (folder, name) = match self.parent(path, false) {
            Ok(found) => found,
            Err(Obstacle::System(Errno::NOENT) | Obstacle::Way(..)) => return Ok(()),
            Err(obstacle) => return Err(obstacle),
        };
        if !leads_to(&folder, name, target) {
            return Ok(());
        }
        Ok(unlinkat(&folder, name, AtFlags::empty())?)
    }

    /// The folder that a path lies in, and its name there.
    ///
    /// # Errors
    /// When there is none, or a link or a file stands on the way.
    pub fn parent<'a>(&self, path: &'a str, make: bool) -> Result<(OwnedFd, &'a str), Obstacle> {
        let (way, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = openat(&self.0, ".", STEP, Mode::empty())?;
        let mut gone = String::new();
        for part in way.split('/').filter(|part| !part.is_empty()) {
            if !gone.is_empty() {
                gone.push('/');
            }
            gone.push_str(part);
            at = match openat(&at, part, STEP, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    make_folder(&at, part)?;
                    openat(&at, part, STEP, Mode::empty())?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Obstacle::Way(gone, what_is(&at, part)));
                }
                other => other?,
            };
        }
        Ok((at, name))
    }
}

fn make_folder(at: &OwnedFd, name: &str) -> Result<(), Errno> {
    let mode = if PRIVATE.contains(&name) {
        Mode::RWXU
    } else {
        Mode::RWXU | Mode::RWXG | Mode::RWXO
    };
    match mkdirat(at, name, mode) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn leads_to(folder: &OwnedFd, name: &str, target: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    readlinkat(folder, name, Vec::new())
        .is_ok_and(|found| found.as_bytes() == target.as_os_str().as_bytes())
}

fn what_is(folder: &OwnedFd, name: &str) -> &'static str {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => "a link that leads elsewhere",
            FileType::Directory => "a folder",
            _ => "a file",
        },
        Err(_) => "something",
    }
}
