//! From the files of a tree to a snapshot: what is good, what is wrong and where. Pure.
//!
//! Each file is read by itself, and each document of it: an error stops what it stands in and nobody else.

mod reading;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::gitsync::rules::ObjectRules;
use crate::gitsync::tree::Tree;
use crate::gitsync::verdict::Verdict;
use crate::model::sync::{Code, ObjectId, Snapshot, SourceError};
use crate::yaml::Place;

use reading::Reading;

/// Where the files came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The commit; empty for a folder.
    pub commit: String,
    /// `main@sha1:<commit>`.
    pub revision: String,
}

/// What was made of each file, to be used again while neither it nor the rules change: a commit seldom touches more than
/// a few files.
#[derive(Clone, Default)]
pub struct Readings {
    rules: Option<ObjectRules>,
    files: HashMap<String, (Digest, Arc<Reading>)>,
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readings of {} files", self.files.len())
    }
}

type Digest = [u8; 32];

/// Reads every file of a tree.
pub fn build(tree: Tree, source: Source, rules: &ObjectRules) -> Snapshot {
    build_after(&Readings::default(), tree, source, rules).0
}

/// Reads every file of a tree that was not read before under the same rules.
pub fn build_after(
    before: &Readings,
    tree: Tree,
    source: Source,
    rules: &ObjectRules,
) -> (Snapshot, Readings) {
    let known = (before.rules.as_ref() == Some(rules)).then_some(&before.files);
    let verdict = Verdict::default();
    let mut readings = Readings {
        rules: Some(rules.clone()),
        files: HashMap::with_capacity(tree.files.len()),
    };
    let mut builder = Builder {
        snapshot: Snapshot {
            commit: source.commit,
            revision: source.revision,
            files: tree.files.len(),
            path_missing: tree.path_missing,
            errors: tree.errors,
            unattributable: tree.unattributable,
            ..Snapshot::default()
        },
        ..Builder::default()
    };
    for file in tree.files {
        let digest: Digest = Sha256::digest(&file.content).into();
        let reading = match known.and_then(|known| known.get(&file.path)) {
            Some((same, reading)) if *same == digest => Arc::clone(reading),
            _ => Arc::new(reading::read(&file, rules, &verdict)),
        };
        builder.add(&file.path, &reading);
        readings.files.insert(file.path, (digest, reading));
    }
    (builder.finish(), readings)
}

/// Reads every file of several folders that are looked at together: what two of them define is defined twice. Rules see
/// each file by its path in its folder; errors and objects name it with the folder before.
pub fn build_together(trees: Vec<(PathBuf, Tree)>, rules: &ObjectRules) -> Snapshot {
    let verdict = Verdict::default();
    let mut builder = Builder::default();
    for (folder, tree) in trees {
        let snapshot = &mut builder.snapshot;
        snapshot.files += tree.files.len();
        snapshot.path_missing |= tree.path_missing;
        snapshot
            .errors
            .extend(tree.errors.into_iter().map(|mut error| {
                error.file = error.file.map(|file| inside(&folder, &file));
                error
            }));
        let unattributable = tree.unattributable.iter();
        snapshot
            .unattributable
            .extend(unattributable.map(|file| inside(&folder, file)));
        for file in tree.files {
            let shown = inside(&folder, &file.path);
            let mut reading = reading::read(&file, rules, &verdict);
            reading.call(&shown);
            builder.add(&shown, &reading);
        }
    }
    builder.finish()
}

fn inside(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

#[derive(Default)]
struct Builder {
    snapshot: Snapshot,
    /// Every place that defines an object, good or bad.
    places: BTreeMap<ObjectId, Vec<(String, Place)>>,
}

impl Builder {
    fn add(&mut self, file: &str, reading: &Reading) {
        let snapshot = &mut self.snapshot;
        if reading.is_unattributable {
            snapshot.unattributable.insert(file.to_owned());
        }
        snapshot.errors.extend(reading.errors.iter().cloned());
        snapshot.warnings.extend(reading.warnings.iter().cloned());
        snapshot
            .held_names
            .extend(reading.held_names.iter().cloned());
        for found in &reading.objects {
            let place = (file.to_owned(), found.place);
            self.places.entry(found.id.clone()).or_default().push(place);
            match &found.object {
                Some(object) => {
                    snapshot.objects.insert(found.id.clone(), object.clone());
                }
                None => {
                    snapshot.held.insert(found.id.clone());
                }
            }
        }
    }

    /// An object that two places define is applied from neither: nobody can tell which one is meant.
    fn finish(mut self) -> Snapshot {
        for (id, places) in std::mem::take(&mut self.places) {
            if places.len() < 2 {
                continue;
            }
            self.snapshot.objects.remove(&id);
            for (index, (file, place)) in places.iter().enumerate() {
                let others: Vec<String> = places
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index)
                    .take(3)
                    .map(|(_, (file, place))| format!("{file}:{}", place.line))
                    .collect();
                self.snapshot.errors.push(
                    SourceError::new(
                        Code::DuplicateObject,
                        format!(
                            "is defined in {} too: keep one of them; the live object stays as it is",
                            others.join(", ")
                        ),
                    )
                    .in_file(file)
                    .at(Some((*place).into()))
                    .of(&id),
                );
            }
            self.snapshot.held.insert(id);
        }
        SourceError::sort(&mut self.snapshot.errors);
        self.snapshot.warnings.sort();
        self.snapshot
    }
}

#[cfg(test)]
mod tests;
