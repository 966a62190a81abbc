//! Why a set is not used. Each reason has a code that the documentation explains; none of them says a value.

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

/// A code and its reason.
pub type Entry = (&'static str, &'static str);

const BINDING_MISMATCH: Entry = ("WV100", "BindingMismatch");
const BINDING_MISSING: Entry = ("WV101", "BindingMissing");
const REPLAYED: Entry = ("WV102", "ReplayedVariables");
const INTEGRITY_FAILED: Entry = ("WV103", "IntegrityFailed");
const NO_MATCHING_IDENTITY: Entry = ("WV104", "NoMatchingIdentity");
const UNSUPPORTED_FORMAT: Entry = ("WV105", "UnsupportedFormat");
/// Too much of something.
pub const LIMIT_EXCEEDED: Entry = ("WV106", "LimitExceeded");
/// Something that is wrong by itself.
pub const INVALID_CONTENT: Entry = ("WV107", "InvalidContent");

impl SetError {
    /// All codes with their reasons.
    pub const CODES: [Entry; 8] = [
        BINDING_MISMATCH,
        BINDING_MISSING,
        REPLAYED,
        INTEGRITY_FAILED,
        NO_MATCHING_IDENTITY,
        UNSUPPORTED_FORMAT,
        LIMIT_EXCEEDED,
        INVALID_CONTENT,
    ];

    const fn entry(&self) -> Entry {
        match self {
            Self::BindingMismatch { .. } => BINDING_MISMATCH,
            Self::BindingMissing => BINDING_MISSING,
            Self::Replayed { .. } => REPLAYED,
            Self::IntegrityFailed { .. } => INTEGRITY_FAILED,
            Self::NoMatchingIdentity { .. } => NO_MATCHING_IDENTITY,
            Self::UnsupportedFormat { .. } => UNSUPPORTED_FORMAT,
            Self::LimitExceeded { .. } => LIMIT_EXCEEDED,
            Self::InvalidContent { .. } => INVALID_CONTENT,
        }
    }

    /// The code that it is looked up by.
    pub fn code(&self) -> &'static str {
        self.entry().0
    }

    /// The reason, for conditions and events.
    pub fn reason(&self) -> &'static str {
        self.entry().1
    }
}
