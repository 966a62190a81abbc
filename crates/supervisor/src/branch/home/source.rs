//! Which files are to be linked: a volume as the kubelet makes it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// More files than a Secret of 1 MiB has in practice; the rest is reported.
const MOST: usize = 10_000;

/// The paths of all files below a folder, sorted. A folder that is not there has none; what can't be read is told.
///
/// In the volume each entry is a link into `..data`, and that is a link to a folder named by time. So the folder that is
/// asked for may be a link; what lies in it are plain folders and files. Names with `..` before them are the kubelet's.
pub fn files(folder: &Path, troubles: &mut Vec<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        let path = folder.join(&below);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if below.is_empty() && error.kind() == ErrorKind::NotFound => return found,
            Err(error) => {
                troubles.push(format!("failed to read {}: {error}", path.display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            // The names of a set are text, so others are not ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with("..") {
                continue;
            }
            if found.len() + open.len() >= MOST {
                troubles.push(format!(
                    "{} has more than {MOST} files: the rest is not linked",
                    folder.display()
                ));
                return found;
            }
            let inner = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            // Links are not followed here, so this ends.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(inner);
            } else {
                found.insert(inner);
            }
        }
    }
    found
}
