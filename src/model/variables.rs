//! Names of variables and paths of files, as a set may write them, and what a start takes of sets.

pub mod pin;
pub mod references;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::identity::IdentityError;
pub use crate::model::identity::VariableName;

/// The longest path of a file, in bytes.
const LONGEST_PATH: usize = 512;

/// The longest name of a file or folder, in bytes: Linux allows no longer one.
const LONGEST_PART: usize = 255;

/// The path of a file: relative, below the folder of files or, with `~/`, below the home folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct FilePath(String);

impl TryFrom<String> for FilePath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl VariableName {
    /// Reads a name from where a value may stand by mistake: the error repeats nothing of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::new(text).map_err(|error| match error {
            IdentityError::VariableReserved(_) => {
                "names that begin with WORKSTEAD_ are Workstead's own: choose another one"
            }
            _ => {
                "the name of a variable is up to 253 letters, digits and '_', and does not begin with a digit"
            }
        })
    }
}

impl FilePath {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > LONGEST_PATH {
            return Err("the path of a file is at most 512 bytes long");
        }
        if text.starts_with('/') {
            return Err("the path of a file is relative: leave out the '/' at its begin");
        }
        if text.chars().any(char::is_control) || text.contains('\\') {
            return Err("the path of a file has no control characters and no '\\'");
        }
        let below = text.strip_prefix("~/").unwrap_or(text);
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "~";
        if !below.split('/').all(is_plain) {
            return Err("a part of the path of a file is empty, '.' or '~'");
        }
        // Kubernetes keeps such names of a volume for itself.
        if below.split('/').any(|part| part.starts_with("..")) {
            return Err("a part of the path of a file begins with '..'");
        }
        if below.split('/').any(|part| part.len() > LONGEST_PART) {
            return Err("a part of the path of a file is at most 255 bytes long");
        }
        Ok(Self(text.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below the home folder, if that is where it goes.
    pub fn below_home(&self) -> Option<&str> {
        self.0.strip_prefix("~/")
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_those_of_a_shell_and_none_of_ours() {
        for good in ["A", "_", "DATABASE_URL", "a1"] {
            assert_eq!(VariableName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "1A",
            "A-B",
            "A.B",
            "Ä",
            "A B",
            "A=B",
            "WORKSTEAD_X",
            "A\0",
        ] {
            assert!(VariableName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_of_files_stay_below_their_folder() {
        for (good, home) in [
            (".netrc", None),
            ("a/b.txt", None),
            ("~/.ssh/id", Some(".ssh/id")),
        ] {
            assert_eq!(FilePath::parse(good).unwrap().below_home(), home, "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "~",
            "~/",
            "~/..",
            "~/~/a",
            "a\nb",
            "a\\b",
            "..data",
            "a/..b",
            "~/..b",
        ] {
            assert!(FilePath::parse(bad).is_err(), "{bad}");
        }
        assert!(FilePath::parse(&"a/".repeat(LONGEST_PATH)).is_err());
        let part = "a".repeat(LONGEST_PART);
        assert!(FilePath::parse(&format!("{part}/{part}")).is_ok());
        assert!(FilePath::parse(&format!("b/{part}a")).is_err());
    }
}
