//! Why a set is not used. Each reason has a code that has a page; none of them says a value.

use std::fmt;

use crate::yaml::Place;

/// Where a set is, or says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Why a set is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is bound to another place: somebody copied it.
    #[error("it was sealed for {sealed_for} and is at {found_at}: seal it anew for this place")]
    BindingMismatch {
        /// What the sealed text says.
        sealed_for: String,
        /// Where it is.
        found_at: Location,
    },
    /// It does not say to which place it is bound.
    #[error(
        "its plaintext does not begin with a binding that is whole: write binding: {{namespace: …, name: …}} as its first field and seal it anew"
    )]
    BindingMissing,
    /// An older text than one that was accepted before, or another one of the same number.
    #[error(
        "its serial is {found}, and {accepted} was accepted before: raise the serial and seal it anew, or let exactly this text in with the annotation workstead.dev/accept-serial: {digest}"
    )]
    Replayed {
        /// The serial of this text; none says none.
        found: Serial,
        /// The highest that was accepted.
        accepted: u64,
        /// The digest of the sealed text.
        digest: String,
    },
    /// The sealed text was changed or cut.
    #[error("its sealed text is damaged or was changed ({part}): seal it anew")]
    IntegrityFailed {
        /// Which part of the text.
        part: &'static str,
    },
    /// It is sealed for others.
    #[error(
        "none of our identities opens it: it has {stanzas}, and we hold {held}. Seal it for the recipients of this installation"
    )]
    NoMatchingIdentity {
        /// Kinds of stanzas and how many.
        stanzas: String,
        /// Fingerprints of ours.
        held: String,
    },
    /// A form that is not opened here.
    #[error("{what} is not supported here: {instead}")]
    UnsupportedFormat {
        /// What it is.
        what: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// Too much of something.
    #[error("it has {found} {what}, and at most {most} are allowed")]
    LimitExceeded {
        /// Of what.
        what: &'static str,
        /// How much it is.
        found: usize,
        /// How much may be.
        most: usize,
    },
    /// Something in the plaintext is wrong.
    #[error("its plaintext is wrong at line {}, column {}{}: {problem}", place.line, place.column, of(key.as_deref()))]
    InvalidContent {
        /// Where in the plaintext.
        place: Place,
        /// The key, as the plaintext names it.
        key: Option<String>,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
}

/// The serial of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial(pub Option<u64>);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("missing"),
        }
    }
}

fn of(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!(" ({key})"))
}

impl SetError {
    /// The code that its page is called by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BindingMismatch { .. } => "WV100",
            Self::BindingMissing => "WV101",
            Self::Replayed { .. } => "WV102",
            Self::IntegrityFailed { .. } => "WV103",
            Self::NoMatchingIdentity { .. } => "WV104",
            Self::UnsupportedFormat { .. } => "WV105",
            Self::LimitExceeded { .. } => "WV106",
            Self::InvalidContent { .. } => "WV107",
        }
    }

    /// The reason, for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BindingMismatch { .. } => "BindingMismatch",
            Self::BindingMissing => "BindingMissing",
            Self::Replayed { .. } => "ReplayedVariables",
            Self::IntegrityFailed { .. } => "IntegrityFailed",
            Self::NoMatchingIdentity { .. } => "NoMatchingIdentity",
            Self::UnsupportedFormat { .. } => "UnsupportedFormat",
            Self::LimitExceeded { .. } => "LimitExceeded",
            Self::InvalidContent { .. } => "InvalidContent",
        }
    }
}
