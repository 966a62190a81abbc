//! Files that hold sealed sets, alone or beside other objects.

use std::fs;
use std::path::{Path, PathBuf};

use crate::api::variables::WorkspaceVariablesSpec;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::seal::is_set;
use crate::cli::vars::place::replaced;
use crate::secrets::binding::Binding;
use crate::secrets::error::Location;
use crate::yaml::{self, Limits, Node, Place};

/// No file with objects is larger.
const LONGEST: u64 = 2 * 1024 * 1024;

/// A file and the sets in it.
pub struct SetFile {
    path: PathBuf,
    text: String,
    /// Its sets, in the order of writing.
    pub sets: Vec<FoundSet>,
}

/// A set, as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundSet {
    /// The file.
    pub file: PathBuf,
    /// Where its document begins.
    pub begin: Place,
    /// Where `spec.sealed` stands.
    pub sealed_at: Place,
    /// Its namespace, if the file names one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What is sealed.
    pub spec: WorkspaceVariablesSpec,
}

impl FoundSet {
    /// Reads a document; None, if it is no set.
    ///
    /// # Errors
    /// Where and why it is none that could be used.
    pub fn of(root: &Node, file: &Path) -> Option<Result<Self, (Place, &'static str)>> {
        is_set(root).then(|| Self::read(root, file))
    }

    fn read(root: &Node, file: &Path) -> Result<Self, (Place, &'static str)> {
        let metadata = root.get("metadata").map(|entry| &entry.node);
        let part = |key: &str| {
            let text = metadata.and_then(|metadata| metadata.get(key)?.node.as_text());
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let spec = root.get("spec").ok_or((root.place, "spec is missing"))?;
        let sealed_at = spec
            .node
            .get("sealed")
            .map_or(spec.place, |entry| entry.place);
        // What stands in the wrong place may be a value: it is not repeated.
        let read = serde_json::from_value(spec.node.to_json());
        Ok(Self {
            file: file.to_owned(),
            begin: root.place,
            sealed_at,
            namespace: part("namespace"),
            name: part("name").ok_or((root.place, "metadata.name is missing"))?,
            spec: read.map_err(|_| {
                (
                    spec.place,
                    "spec is no sealed set: it has format, Age or Sops, and sealed, a text",
                )
            })?,
        })
    }

    /// Where it is. A file that names no namespace is believed to be applied to the one that the set was sealed for.
    pub fn location(&self, binding: &Binding) -> Location {
        let namespace = self.namespace.clone().or_else(|| binding.namespace.clone());
        Location {
            namespace: namespace.unwrap_or_default(),
            name: self.name.clone(),
        }
    }

    /// As people find it: `file:line: WorkspaceVariables team-a/api`.
    pub fn shown(&self) -> String {
        let file = self.file.display();
        format!("{file}:{}: {}", self.sealed_at.line, self.object())
    }

    /// As errors name objects.
    pub fn object(&self) -> String {
        let namespace = self.namespace.as_ref().map(|name| format!("{name}/"));
        let namespace = namespace.unwrap_or_default();
        format!("WorkspaceVariables {namespace}{}", self.name)
    }
}

impl SetFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read as a whole, or holds no set.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let shown = path.display();
        let failed = |error| CliError::undone(format!("failed to read {shown}")).because(error);
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err(CliError::undone(format!("{shown} is no file with objects"))
                .next("name files one by one; workstead vars check looks into folders too"));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let sets = sets(&text, path).map_err(|(place, problem)| {
            CliError::no(format!(
                "{shown}:{}:{}: {problem}",
                place.line, place.column
            ))
        })?;
        if sets.is_empty() {
            return Err(CliError::no(format!("{shown} holds no WorkspaceVariables"))
                .next("workstead seal makes one of a set in plaintext"));
        }
        let path = path.to_owned();
        Ok(Self { path, text, sets })
    }

    /// Its only set.
    ///
    /// # Errors
    /// When there are several: nobody could tell which is meant.
    pub fn only_set(&self) -> Result<&FoundSet, CliError> {
        match self.sets.as_slice() {
            [set] => Ok(set),
            several => {
                let shown = self.path.display();
                let error = format!("{shown} holds {} sets", several.len());
                let error = CliError::no(error).next("give each a file of its own");
                Err(several
                    .iter()
                    .fold(error, |error, set| error.seen(set.shown())))
            }
        }
    }

    /// Puts another sealed text where that of a set stands.
    ///
    /// # Errors
    /// When it does not stand there as a block of lines.
    pub fn put(&mut self, index: usize, sealed: &str) -> Result<(), CliError> {
        let unplaced = |set: &FoundSet| {
            CliError::no(format!("{}: its sealed text is no block of lines", set.shown())).next(
                "write it as `sealed: |` and the text below it, indented; or seal the values anew: workstead seal -o",
            )
        };
        let Some(set) = self.sets.get(index) else {
            return Ok(());
        };
        let text = replaced(&self.text, set.begin.line, &set.spec.sealed, sealed);
        let text = text.ok_or_else(|| unplaced(set))?;
        // What was put there must be what is read there, and all else as before.
        let found = sets(&text, &self.path).map_err(|_| unplaced(set))?;
        let is_there = found.len() == self.sets.len()
            && found
                .iter()
                .zip(&self.sets)
                .enumerate()
                .all(|(at, (new, old))| {
                    let same = (&new.namespace, &new.name) == (&old.namespace, &old.name);
                    let expected = if at == index {
                        sealed
                    } else {
                        &old.spec.sealed
                    };
                    same && new.spec.sealed.trim() == expected.trim()
                });
        if !is_there {
            return Err(unplaced(set));
        }
        (self.text, self.sets) = (text, found);
        Ok(())
    }

    /// Writes the file, if it is still as it was read.
    ///
    /// # Errors
    /// When it can't be written, or somebody else did meanwhile.
    pub fn write(&self, before: &Self) -> Result<(), CliError> {
        let shown = self.path.display();
        let now = fs::read_to_string(&self.path);
        if now.is_ok_and(|now| now != before.text) {
            return Err(
                CliError::no(format!("{shown} was changed meanwhile, and is left alone"))
                    .next("look at the change, and do it again"),
            );
        }
        files::replace(&self.path, self.text.as_bytes())
            .map_err(|error| CliError::undone(format!("failed to write {shown}")).because(error))
    }

    /// The same, to be changed.
    pub fn draft(&self) -> Self {
        Self {
            path: self.path.clone(),
            text: self.text.clone(),
            sets: self.sets.clone(),
        }
    }
}

/// The sets of a text.
fn sets(text: &str, path: &Path) -> Result<Vec<FoundSet>, (Place, &'static str)> {
    let documents = yaml::read(text.as_bytes(), Limits::default());
    let mut found = Vec::new();
    for document in documents {
        // What the reader says may repeat what it read.
        let document =
            document.map_err(|error| (error.place, "this is no YAML that can be read"))?;
        found.extend(FoundSet::of(&document.root, path).transpose()?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "\
# kept
apiVersion: v1
kind: ConfigMap
---
apiVersion: workstead.dev/v1alpha1
kind: WorkspaceVariables
metadata: {name: api}  # kept too
spec:
  format: Age
  sealed: |
    -----BEGIN AGE ENCRYPTED FILE-----
    old
    -----END AGE ENCRYPTED FILE-----
";

    fn file(folder: &Path, text: &str) -> Result<SetFile, CliError> {
        let path = folder.join("api.yaml");
        fs::write(&path, text).unwrap();
        SetFile::read(&path)
    }

    #[test]
    fn a_set_is_found_beside_other_objects_and_only_its_text_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let before = file(folder.path(), SET).unwrap();
        let set = before.only_set().unwrap();
        assert_eq!((set.begin.line, set.sealed_at.line), (5, 10));
        assert!(set.shown().ends_with("api.yaml:10: WorkspaceVariables api"));
        let mut after = before.draft();
        let sealed = set.spec.sealed.replace("old", "new");
        after.put(0, &sealed).unwrap();
        after.write(&before).unwrap();
        let written = fs::read_to_string(folder.path().join("api.yaml")).unwrap();
        assert_eq!(written, SET.replace("old", "new"));
        // It is not as it was read any more.
        let error = after.write(&before).unwrap_err();
        assert!(error.cause.contains("changed meanwhile"), "{}", error.cause);
    }

    #[test]
    fn a_file_that_can_not_be_used_is_refused_with_its_line_and_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        for (text, said) in [
            (
                "env: {A: canary}\n".to_owned(),
                "holds no WorkspaceVariables",
            ),
            ("canary: [\n".to_owned(), "this is no YAML"),
            (
                SET.replace("sealed: |", "seal: |"),
                "api.yaml:8:1: spec is no sealed set",
            ),
            (
                SET.replace("{name: api}", "{}"),
                "api.yaml:5:1: metadata.name is missing",
            ),
        ] {
            let error = file(folder.path(), &text).map(drop).unwrap_err();
            assert!(error.cause.contains(said), "{}", error.cause);
            assert!(!format!("{error:?}").contains("canary"));
        }
        let twice = file(folder.path(), &format!("{SET}---\n{SET}")).unwrap();
        let error = twice.only_set().map(drop).unwrap_err();
        assert_eq!(error.evidence.len(), 2);
    }
}
