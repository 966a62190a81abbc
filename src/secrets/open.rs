//! Opening a sealed text: within limits that are checked before anything is decrypted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};
use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use crate::secrets::error::SetError;
use crate::secrets::identity::{Fingerprint, Identities, Identity};

/// The longest sealed text, in bytes. A Secret holds no more.
pub const LONGEST_SEALED: usize = 1024 * 1024;
/// How many recipients a text may have. Each of our identities is tried with each.
pub const MOST_STANZAS: usize = 20;

/// How the kind of a stanza ends that is for nobody.
const GREASE: &str = "-grease";

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// What was opened.
pub struct Opened {
    /// The plaintext.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Which identity opened it.
    pub by: Fingerprint,
}

/// Opens an armored age file. The identity that opened it the last time is tried first.
///
/// # Errors
/// When it is no such file, is too costly, was changed, or is sealed for others.
pub fn open(
    sealed: &str,
    identities: &Identities,
    last: Option<&Fingerprint>,
) -> Result<Opened, SetError> {
    let decryptor = begin(sealed)?;
    let seen = RefCell::new(Seen::default());
    let mut order: Vec<&Identity> = identities.iter().collect();
    order.sort_by_key(|identity| last != Some(identity.fingerprint()));
    let tried: Vec<Tried<'_>> = order
        .into_iter()
        .map(|identity| Tried {
            identity,
            seen: &seen,
        })
        .collect();
    let opened = decryptor.decrypt(tried.iter().map(|tried| tried as &dyn age::Identity));
    let Seen {
        stanzas,
        by,
        refused,
        ..
    } = seen.into_inner();
    if let Some(refused) = refused {
        return Err(refused);
    }
    let mut reader = opened.map_err(|error| match error {
        DecryptError::NoMatchingKeys => SetError::NoMatchingIdentity {
            stanzas: described(&stanzas),
            held: identities
                .fingerprints()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        },
        _ => damaged("its header"),
    })?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    // No longer than what was sealed, so this never grows: what a growing one leaves behind is not wiped.
    let read = reader.read_to_end(&mut plaintext);
    read.map_err(|_| damaged("its payload"))?;
    let by = by.ok_or_else(|| damaged("its header"))?;
    Ok(Opened { plaintext, by })
}

/// Looks at an armored age file as far as anybody can who holds no identity: its size, armor, header and recipients.
///
/// # Errors
/// When [`open`] would refuse it whoever holds what.
pub fn inspect(sealed: &str) -> Result<(), SetError> {
    count_recipients(sealed)?;
    // To the end, where a text that was cut shows.
    let mut armored = ArmoredReader::new(sealed.as_bytes());
    std::io::copy(&mut armored, &mut std::io::sink()).map_err(|_| damaged("its armor"))?;
    Ok(())
}

/// For how many recipients an armored age file is sealed. Who they are, its text does not tell.
///
/// # Errors
/// When its header can't be used.
pub fn count_recipients(sealed: &str) -> Result<usize, SetError> {
    let decryptor = begin(sealed)?;
    let seen = RefCell::new(Seen::default());
    let nobody = Nobody { seen: &seen };
    match decryptor.decrypt(std::iter::once(&nobody as &dyn age::Identity)) {
        Err(DecryptError::NoMatchingKeys) | Ok(_) => {}
        Err(_) => return Err(damaged("its header")),
    }
    let seen = seen.into_inner();
    seen.refused.map_or(Ok(seen.recipients), Err)
}

/// What is looked at before anything is opened.
fn begin(sealed: &str) -> Result<Decryptor<impl std::io::BufRead + '_>, SetError> {
    if sealed.len() > LONGEST_SEALED {
        return Err(SetError::LimitExceeded {
            what: "bytes of sealed text",
            found: sealed.len(),
            most: LONGEST_SEALED,
        });
    }
    if !sealed.trim_start().starts_with(BEGIN) {
        return Err(SetError::UnsupportedFormat {
            what: "a text that is not armored age",
            instead: "seal it with workstead seal, or age --armor",
        });
    }
    let armored = ArmoredReader::new(sealed.as_bytes());
    let decryptor = Decryptor::new_buffered(armored).map_err(|_| damaged("its header"))?;
    if decryptor.is_scrypt() {
        return Err(passphrase());
    }
    Ok(decryptor)
}

fn damaged(part: &'static str) -> SetError {
    SetError::IntegrityFailed { part }
}

/// Kinds of stanzas by how many there are.
type Stanzas = BTreeMap<String, usize>;

/// What the identities saw of a header.
#[derive(Default)]
struct Seen {
    stanzas: Stanzas,
    by: Option<Fingerprint>,
    recipients: usize,
    refused: Option<SetError>,
}

/// An identity that looks at all stanzas before it tries one.
struct Tried<'a> {
    identity: &'a Identity,
    seen: &'a RefCell<Seen>,
}

impl age::Identity for Tried<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        age::Identity::unwrap_stanza(&self.identity.key, stanza)
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let mut seen = self.seen.borrow_mut();
        if seen.refused.is_some() {
            return Some(Err(DecryptError::NoMatchingKeys));
        }
        if seen.stanzas.is_empty() {
            seen.refused = refuse(stanzas);
            if seen.refused.is_some() {
                return Some(Err(DecryptError::NoMatchingKeys));
            }
            for stanza in stanzas {
                *seen.stanzas.entry(kind(&stanza.tag)).or_default() += 1;
            }
        }
        let found = stanzas.iter().find_map(|stanza| self.unwrap_stanza(stanza));
        if matches!(found, Some(Ok(_))) {
            seen.by = Some(self.identity.fingerprint().clone());
        }
        found
    }
}

/// Opens nothing, and looks at all stanzas.
struct Nobody<'a> {
    seen: &'a RefCell<Seen>,
}

impl age::Identity for Nobody<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let mut seen = self.seen.borrow_mut();
        seen.refused = refuse(stanzas);
        // age adds one that is for nobody, so that readers learn to leave out what they do not know.
        let real = stanzas
            .iter()
            .filter(|stanza| !stanza.tag.ends_with(GREASE));
        seen.recipients = real.count();
        None
    }
}

fn refuse(stanzas: &[Stanza]) -> Option<SetError> {
    if stanzas.len() > MOST_STANZAS {
        return Some(SetError::LimitExceeded {
            what: "recipients",
            found: stanzas.len(),
            most: MOST_STANZAS,
        });
    }
    stanzas
        .iter()
        .any(|stanza| stanza.tag == "scrypt")
        .then(passphrase)
}

fn passphrase() -> SetError {
    SetError::UnsupportedFormat {
        what: "a text that is sealed with a passphrase",
        instead: "seal it for the recipients of this installation",
    }
}

/// The kind of a stanza, as far as it may be repeated: whoever sealed it chose the text.
fn kind(tag: &str) -> String {
    match tag {
        "X25519" | "ssh-rsa" | "ssh-ed25519" | "piv-p256" | "mlkem768x25519" => tag.to_owned(),
        _ => "other".to_owned(),
    }
}

fn described(stanzas: &Stanzas) -> String {
    let kinds: Vec<String> = stanzas
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    kinds.join(", ")
}

#[cfg(test)]
mod tests;
