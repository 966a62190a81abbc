//! Names of variables and paths of files, as a set may write them.

use std::fmt;

use crate::model::names::ENVIRONMENT_PREFIX;

/// The longest path of a file, in bytes.
const LONGEST_PATH: usize = 512;

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`, and none of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariableName(String);

/// The path of a file: relative, below the folder of files or, with `~/`, below the home folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl VariableName {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut bytes = text.bytes();
        let begins = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(
                "the name of a variable is letters, digits and '_', and does not begin with a digit",
            );
        }
        if text.starts_with(ENVIRONMENT_PREFIX) {
            return Err("names that begin with WORKSTEAD_ are Workstead's own: choose another one");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
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
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && part != "~";
        if !below.split('/').all(is_plain) {
            return Err("a part of the path of a file is empty, '.', '..' or '~'");
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

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        ] {
            assert!(FilePath::parse(bad).is_err(), "{bad}");
        }
        assert!(FilePath::parse(&"a".repeat(LONGEST_PATH + 1)).is_err());
    }
}
