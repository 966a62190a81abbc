//! A set as it is written, opened.

use crate::secrets::document::Document;
use crate::secrets::error::SetError;
use crate::secrets::identity::{Fingerprint, Identities};
use crate::secrets::open::open;
use crate::secrets::sops::open_sops;

/// How a set is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One armored age file.
    Age,
    /// A document of SOPS with age recipients.
    Sops,
}

/// An opened set.
pub struct OpenedSet {
    /// What is in it.
    pub document: Document,
    /// Which identity opened it.
    pub by: Fingerprint,
}

/// Opens a set. The identity that opened it the last time is tried first.
///
/// # Errors
/// When it may not be used: see [`SetError`]. To which place it is bound is not looked at.
pub fn open_set(
    format: Format,
    sealed: &str,
    identities: &Identities,
    last: Option<&Fingerprint>,
) -> Result<OpenedSet, SetError> {
    match format {
        Format::Age => {
            let opened = open(sealed, identities, last)?;
            Ok(OpenedSet {
                document: Document::read(&opened.plaintext)?,
                by: opened.by,
            })
        }
        Format::Sops => open_sops(sealed, identities, last),
    }
}
