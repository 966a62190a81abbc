//! Several sets become what one workspace gets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use crate::api::environment::VariablesLevel as Level;
use crate::model::variables::{FilePath, VariableName};
use crate::secrets::document::{Document, File};
use crate::secrets::text::SecretText;

/// The most that a Secret holds, its keys counted (`MaxSecretSize` of Kubernetes).
pub const LARGEST: usize = 1024 * 1024;

/// Who brings a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// How far it reaches.
    pub level: Level,
    /// The name of the set; of an inline value that of the Secret.
    pub name: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.level, self.name)
    }
}

/// A value, and who brings it.
#[derive(Clone)]
pub struct From<T> {
    /// The value.
    pub value: T,
    /// Who brings it.
    pub origin: Arc<Origin>,
}

/// What one workspace gets.
#[derive(Clone, Default)]
pub struct Merged {
    /// Environment variables.
    pub env: BTreeMap<VariableName, From<SecretText>>,
    /// Files.
    pub files: BTreeMap<FilePath, From<File>>,
}

/// Why sets do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A path is a file in one and a folder in another one.
    #[error(
        "{file} of {file_of} is a file, and {below} of {below_of} lies below it: rename one of them"
    )]
    FileAndFolder {
        /// The path that is a file.
        file: String,
        /// Who brings it.
        file_of: Origin,
        /// The path below it.
        below: String,
        /// Who brings that.
        below_of: Origin,
    },
    /// All together is more than a Secret holds.
    #[error(
        "all variables and files together have {0} bytes, and a workspace can have {LARGEST}: leave some out"
    )]
    TooLarge(usize),
}

impl Merged {
    /// Puts sets together, whoever comes later wins by name: by level, within a level in the order given.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn of<'a>(
        sets: impl IntoIterator<Item = (Origin, &'a Document)>,
    ) -> Result<Self, MergeError> {
        let mut sets: Vec<_> = sets.into_iter().collect();
        // Stable: the order within a level stays.
        sets.sort_by_key(|(origin, _)| origin.level);
        let mut merged = Self::default();
        for (origin, document) in sets {
            let origin = Arc::new(origin);
            for (name, value) in &document.env {
                merged.set(name.clone(), value.clone(), &origin);
            }
            for (path, file) in &document.files {
                let (value, origin) = (file.clone(), origin.clone());
                merged.files.insert(path.clone(), From { value, origin });
            }
        }
        merged.check()?;
        Ok(merged)
    }

    /// Puts a variable over what is there.
    pub fn set(&mut self, name: VariableName, value: SecretText, origin: &Arc<Origin>) {
        let origin = origin.clone();
        self.env.insert(name, From { value, origin });
    }

    /// How many bytes it has, names counted.
    pub fn size(&self) -> usize {
        let env = self
            .env
            .iter()
            .map(|(name, from)| name.as_str().len() + from.value.expose().len());
        let files = self
            .files
            .iter()
            .map(|(path, from)| path.as_str().len() + from.value.content.expose().len());
        env.chain(files).sum()
    }

    /// Whether a pod can have all of it.
    ///
    /// # Errors
    /// When it is too large, or a file would be a folder too.
    pub fn check(&self) -> Result<(), MergeError> {
        let size = self.size();
        if size > LARGEST {
            return Err(MergeError::TooLarge(size));
        }
        for (file, from) in &self.files {
            let folder = format!("{file}/");
            // Sorted: what lies below a path comes after it, though not right after it.
            let below = self
                .files
                .range(file.clone()..)
                .find(|(path, _)| path.as_str().starts_with(&folder));
            if let Some((below, other)) = below {
                return Err(MergeError::FileAndFolder {
                    file: file.to_string(),
                    file_of: (*from.origin).clone(),
                    below: below.to_string(),
                    below_of: (*other.origin).clone(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(body: &str) -> Document {
        let text = format!("binding: {{namespace: a, name: b}}\n{body}");
        Document::read(text.as_bytes())
            .map_err(|error| error.to_string())
            .unwrap()
    }

    fn origin(level: Level, name: &str) -> Origin {
        Origin {
            level,
            name: name.to_owned(),
        }
    }

    #[test]
    fn namespace_gives_way_to_owner_and_owner_to_workspace_whatever_the_order_they_come_in() {
        let namespace = set("env: {A: ns, B: ns, C: ns}\nfiles: {x: {content: ns}}");
        let owner = set("env: {B: o, C: o}\nfiles: {x: {content: o, mode: '0400'}}");
        let first = set("env: {C: w1, D: w1}");
        let second = set("env: {D: w2}");
        let merged = Merged::of([
            (origin(Level::Workspace, "z-first"), &first),
            (origin(Level::Workspace, "a-second"), &second),
            (origin(Level::Owner, "o"), &owner),
            (origin(Level::Namespace, "n"), &namespace),
        ]);
        let mut merged = merged.map_err(|error| error.to_string()).unwrap();
        let inline = Arc::new(origin(Level::Inline, "w"));
        merged.set(
            VariableName::parse("E").unwrap(),
            SecretText::new("i".to_owned()),
            &inline,
        );
        let env: Vec<_> = merged
            .env
            .iter()
            .map(|(name, from)| format!("{name}={} {}", from.value.expose(), from.origin))
            .collect();
        assert_eq!(
            env,
            [
                "A=ns Namespace/n",
                "B=o Owner/o",
                "C=w1 Workspace/z-first",
                "D=w2 Workspace/a-second",
                "E=i Inline/w"
            ]
        );
        let (path, file) = merged.files.first_key_value().unwrap();
        assert_eq!(
            (path.as_str(), file.value.mode, file.value.content.expose()),
            ("x", 0o400, &b"o"[..])
        );
    }

    #[test]
    fn sets_that_do_not_go_together_are_named_with_both_paths() {
        let one = set("files: {a: {content: t}, a-b: {content: t}}");
        let other = set("files: {a/c: {content: t}}");
        let merged = Merged::of([
            (origin(Level::Namespace, "n"), &one),
            (origin(Level::Owner, "o"), &other),
        ]);
        let error = merged.map(drop).unwrap_err().to_string();
        assert!(
            error.contains("a of Namespace/n is a file") && error.contains("a/c of Owner/o"),
            "{error}"
        );
        let large = |n: usize| {
            set(&format!(
                "files: {{f{n}: {{content: {}}}}}",
                "x".repeat(600 * 1024)
            ))
        };
        let (one, other) = (large(1), large(2));
        let merged = Merged::of([
            (origin(Level::Owner, "n"), &one),
            (origin(Level::Owner, "o"), &other),
        ]);
        assert!(matches!(merged.map(drop), Err(MergeError::TooLarge(_))));
    }
}
