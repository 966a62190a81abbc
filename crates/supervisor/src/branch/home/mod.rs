//! Files of sealed sets whose path begins with `~/`: each gets a link in HOME, and a link whose file is gone is taken away.
//!
//! HOME is a volume that lasts and belongs to the person: nothing that is there is written over, and nothing is made
//! through a link of theirs. What we made is known by where it leads, and by a record beside it.

mod folder;
mod record;
mod source;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use workstead_link::{FILES_PATH, Plan};

use crate::places::Places;
use folder::Folder;

/// The folder, literally of this name, of the files that go into HOME.
const BELOW_HOME: &str = "~";

/// So many troubles are told one by one.
const TOLD: usize = 8;

/// HOME, and the files that are to be linked into it.
pub struct Home {
    folder: PathBuf,
    source: PathBuf,
    /// Where projects are, or will be.
    projects: Vec<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What could not be done, and why: paths only.
    pub troubles: Vec<String>,
    /// Files that belong into a project that is not there yet.
    pub later: Vec<String>,
}

impl Home {
    /// Nothing is looked at yet.
    ///
    /// # Errors
    /// When there is no HOME; what that means for the files that are to be linked.
    pub fn of(home: Option<&Path>, plan: &Plan, places: &Places) -> Result<Self, Outcome> {
        let source = places.at(FILES_PATH).join(BELOW_HOME);
        match home.filter(|home| home.is_absolute()) {
            Some(home) => Ok(Self {
                folder: home.to_owned(),
                source,
                projects: plan
                    .projects
                    .iter()
                    .map(|project| places.projects().join(&project.folder))
                    .collect(),
            }),
            None => {
                let mut outcome = Outcome::default();
                if !source::files(&source, &mut outcome.troubles).is_empty() {
                    let why = "files can't be linked into HOME: it is not set to an absolute path";
                    outcome.troubles.push(why.to_owned());
                }
                Err(outcome)
            }
        }
    }

    /// Makes what is missing and takes away what leads nowhere. A second time it changes nothing. A file that belongs into a
    /// project waits until that is there: a folder that exists is never cloned into.
    pub fn link(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let wanted = source::files(&self.source, &mut outcome.troubles);
        if wanted.is_empty() && !self.folder.is_dir() {
            return outcome;
        }
        if self.awaits_project(&self.folder) {
            outcome.later = wanted.into_iter().collect();
            return outcome;
        }
        let home = match self.open(!wanted.is_empty()) {
            Ok(home) => home,
            Err(error) => {
                let folder = self.folder.display();
                let why = format!("files can't be linked into HOME ({folder}): {error}");
                outcome.troubles.push(why);
                return outcome;
            }
        };
        let known = record::read(&home).unwrap_or_else(|error| {
            outcome.troubles.push(error);
            record::Links::new()
        });
        let mut kept = wanted.clone();
        for path in known.difference(&wanted) {
            if let Err(obstacle) = home.take_away(path, &self.source.join(path)) {
                outcome
                    .troubles
                    .push(format!("~/{path} can't be taken away: {obstacle}"));
                kept.insert(path.clone());
            }
        }
        // Before the links: a start that is cut off here must not leave any of which nobody knows.
        if let Err(error) = record::write(&home, &known, &kept) {
            outcome.troubles.push(error);
        }
        for path in wanted {
            if self.awaits_project(&self.folder.join(&path)) {
                outcome.later.push(path);
            } else if let Err(obstacle) = home.link(&path, &self.source.join(&path)) {
                outcome
                    .troubles
                    .push(format!("~/{path} is not linked: {obstacle}"));
            }
        }
        outcome
    }

    /// Whether a path lies in the folder of a project that is still to be cloned.
    fn awaits_project(&self, path: &Path) -> bool {
        self.projects
            .iter()
            .any(|project| path.starts_with(project) && !project.is_dir())
    }

    fn open(&self, make: bool) -> io::Result<Folder> {
        if make {
            fs::create_dir_all(&self.folder)?;
        }
        Folder::open(&self.folder)
    }
}

impl Outcome {
    /// For those files that still wait when no project will come any more.
    pub fn give_up_waiting(&mut self) {
        for path in self.later.drain(..) {
            let why = "it belongs into a project that could not be cloned";
            self.troubles.push(format!("~/{path} is not linked: {why}"));
        }
    }

    /// All troubles as one sentence; none when there are none.
    pub fn in_words(&self) -> Option<String> {
        let told: Vec<_> = self
            .troubles
            .iter()
            .take(TOLD)
            .map(String::as_str)
            .collect();
        let more = self.troubles.len().saturating_sub(TOLD);
        match (told.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(told.join("; ")),
            (false, more) => Some(format!("{}; and {more} more", told.join("; "))),
        }
    }
}
