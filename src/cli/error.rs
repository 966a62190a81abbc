//! What went wrong, as people read it: cause, evidence, next step.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

/// Exit code: it was done, and the answer is no (a file is wrong, a workspace failed, a stop was refused).
pub const ANSWER_NO: u8 = 1;
/// Exit code: it could not be done (wrong arguments, no cluster, no such object).
pub const UNDONE: u8 = 2;

/// An error of a command.
#[derive(Debug)]
pub struct CliError {
    exit: u8,
    /// What went wrong, in a sentence.
    pub cause: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What to do now.
    pub next_step: Option<String>,
}

impl CliError {
    /// The answer is no.
    pub fn no(cause: impl Into<String>) -> Self {
        Self::new(ANSWER_NO, cause)
    }

    /// It could not be done.
    pub fn undone(cause: impl Into<String>) -> Self {
        Self::new(UNDONE, cause)
    }

    fn new(exit: u8, cause: impl Into<String>) -> Self {
        Self {
            exit,
            cause: cause.into(),
            evidence: Vec::new(),
            next_step: None,
        }
    }

    /// With what shows it: an error and what is below it, each once.
    #[must_use]
    pub fn because(mut self, error: impl Error) -> Self {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Several libraries print their source in Display too.
            if !texts.iter().any(|seen| seen.contains(&text)) {
                texts.push(text);
            }
            source = inner.source();
        }
        self.evidence.append(&mut texts);
        self
    }

    /// With what shows it.
    #[must_use]
    pub fn seen(mut self, evidence: impl Display) -> Self {
        self.evidence.push(evidence.to_string());
        self
    }

    /// With what to do now.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next_step = Some(step.into());
        self
    }

    /// The exit code that belongs to it.
    pub fn exit(&self) -> ExitCode {
        self.exit.into()
    }
}

impl<E: Error> From<E> for CliError {
    fn from(error: E) -> Self {
        let mut made = Self::undone(error.to_string()).because(error);
        made.evidence.remove(0);
        made
    }
}
