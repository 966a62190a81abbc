//! How a Git server misbehaves, and what was asked of it.

use std::sync::Arc;
use std::time::Duration;

/// Which requests of a fetch or push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The list of names: `GET …/info/refs`.
    Refs,
    /// The objects: `POST …/git-upload-pack`.
    Pack,
    /// All of them.
    Everything,
}

impl On {
    pub(super) fn picks(self, path: &str) -> bool {
        match self {
            Self::Refs => path.ends_with("/info/refs"),
            Self::Pack => path.ends_with("/git-upload-pack"),
            Self::Everything => true,
        }
    }
}

/// What happens instead of a proper answer.
#[derive(Clone)]
pub enum Behaviour {
    /// The request is read, and never answered.
    NeverAnswer,
    /// The connection breaks.
    Break,
    /// This status is answered, with a page of text.
    Status(u16),
    /// The first half is answered, then nothing more comes.
    HalfThenStall,
    /// The first half is answered, then the connection breaks.
    HalfThenBreak,
    /// The answer comes in bits of so many bytes, with a pause after each.
    Drip(usize, Duration),
    /// The client is sent to the same path at another place, for example `http://127.0.0.1:1234`.
    Redirect(String),
    /// These bytes are the answer, dressed up as a proper one.
    Garbage(Vec<u8>),
    /// The real answer, changed.
    Tamper(Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>),
}

pub(super) struct Rule {
    pub on: On,
    pub behaviour: Behaviour,
    pub left: usize,
}

/// Whom the server lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    #[default]
    Open,
    /// Who knows this name and password.
    Basic(String, String),
    /// Who has this token.
    Bearer(String),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The header `Host`.
    pub host: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// What was answered; none where nothing was.
    pub status: Option<u16>,
}
