//! Which links were made: a small file in HOME, so that those whose file is gone are found at the next start.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::folder::{Folder, Obstacle};

/// Where it lies.
pub const PATH: &str = ".local/state/workstead/links";

/// Its name until it is whole.
const UNFINISHED: &str = "links.new";

/// More than it can have.
const LIMIT: u64 = 8 * 1024 * 1024;

/// Paths below HOME.
pub type Links = BTreeSet<String>;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    links: Links,
}

/// Reads it; without one there are no links. It lies where anybody in the workspace can write, so it may say anything:
/// only paths below HOME are taken from it, and a caller takes only links away that are its own.
///
/// # Errors
/// Why it can't be read.
pub fn read(home: &Folder) -> Result<Links, String> {
    let failed = |why: &dyn std::fmt::Display| format!("~/{PATH} can't be read: {why}");
    let (folder, name) = match home.parent(PATH, false) {
        Ok(found) => found,
        Err(Obstacle::System(Errno::NOENT)) => return Ok(Links::new()),
        Err(obstacle) => return Err(failed(&obstacle)),
    };
    // Without NONBLOCK a pipe in its place would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Links::new()),
        Err(errno) => return Err(failed(&Obstacle::System(errno))),
    };
    let is_file = fstat(&file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if !is_file {
        return Err(failed(&"it is no file"));
    }
    let mut text = Vec::new();
    let file = std::fs::File::from(file);
    file.take(LIMIT)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    let record: Record = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    Ok(record
        .links
        .into_iter()
        .filter(|path| is_below(path))
        .collect())
}

/// Whether a path stays below HOME, written in its only form.
fn is_below(path: &str) -> bool {
    let is_plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    is_plain
        && !path.split('/').any(|part| matches!(part, "" | "."))
        && !path.chars().any(char::is_control)
}

/// Writes it, whole or not at all, if it says anything new.
///
/// # Errors
/// Why it can't be written.
pub fn write(home: &Folder, known: &Links, links: &Links) -> Result<(), String> {
    if known == links {
        return Ok(());
    }
    let failed = |obstacle: Obstacle| format!("~/{PATH} can't be written: {obstacle}");
    let (folder, name) = home.parent(PATH, true).map_err(failed)?;
    if links.is_empty() {
        return match unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed(errno.into())),
        };
    }
    replace(&folder, name, links).map_err(|errno| failed(errno.into()))
}

fn replace(folder: &OwnedFd, name: &str, links: &Links) -> Result<(), Errno> {
    let record = Record {
        links: links.clone(),
    };
    let mut text = serde_json::to_vec(&record).map_err(|_| Errno::INVAL)?;
    text.push(b'\n');
    match unlinkat(folder, UNFINISHED, AtFlags::empty()) {
        // Left behind by a start that was cut off.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(folder, UNFINISHED, flags, Mode::from_raw_mode(0o660))?;
    std::fs::File::from(file)
        .write_all(&text)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    renameat(folder, UNFINISHED, folder, name)
}
