//! What is not wrong and should be looked at all the same.

use std::fmt;

/// Something about an object that its author should look at, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceWarning {
    /// The file, from the root of the repository.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The object.
    pub object: String,
    /// What it is about, and what to do.
    pub message: String,
}

impl fmt::Display for SourceWarning {
    /// `file:line:column: warning: Workspace team-a/x: message`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            object,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: warning: {object}: {message}")
    }
}
