//! Sealing: one armored age file, as `age -a` makes it.

use std::io::Write as _;

use age::Encryptor;
use age::armor::{ArmoredWriter, Format};

use crate::secrets::identity::Recipient;
use crate::secrets::open::{LONGEST_SEALED, MOST_STANZAS};

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// For nobody, or for more than are ever tried.
    #[error("{0} recipients were given: 1 to {most} may be", most = MOST_STANZAS - 1)]
    Recipients(usize),
    /// The sealed text would be refused.
    #[error(
        "the sealed text would have {0} bytes, and at most {LONGEST_SEALED} are allowed: split the set"
    )]
    TooLong(usize),
    /// The age library failed.
    #[error("failed to seal")]
    Age(#[source] std::io::Error),
}

/// Seals a plaintext for recipients.
///
/// # Errors
/// When there are no recipients or too many, or too much to seal.
pub fn seal(plaintext: &[u8], recipients: &[Recipient]) -> Result<String, SealError> {
    // One less: age adds a stanza that nobody knows.
    if recipients.is_empty() || recipients.len() >= MOST_STANZAS {
        return Err(SealError::Recipients(recipients.len()));
    }
    let all = recipients
        .iter()
        .map(|recipient| &recipient.0 as &dyn age::Recipient);
    let other = |error: age::EncryptError| SealError::Age(std::io::Error::other(error.to_string()));
    let encryptor = Encryptor::with_recipients(all).map_err(other)?;
    let sealed = write(encryptor, plaintext).map_err(SealError::Age)?;
    if sealed.len() > LONGEST_SEALED {
        return Err(SealError::TooLong(sealed.len()));
    }
    String::from_utf8(sealed).map_err(|error| SealError::Age(std::io::Error::other(error)))
}

fn write(encryptor: Encryptor, plaintext: &[u8]) -> std::io::Result<Vec<u8>> {
    let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armored)?;
    writer.write_all(plaintext)?;
    writer.finish()?.finish()
}
