//! A set as it is written, opened.

use crate::api::variables::SealedFormat;
use crate::secrets::document::Document;
use crate::secrets::error::SetError;
use crate::secrets::identity::{Fingerprint, Identities};
use crate::secrets::open::{inspect, open};
use crate::secrets::sops::{inspect_sops, open_sops};

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
    format: SealedFormat,
    sealed: &str,
    identities: &Identities,
    last: Option<&Fingerprint>,
) -> Result<OpenedSet, SetError> {
    match format {
        SealedFormat::Age => {
            let opened = open(sealed, identities, last)?;
            Ok(OpenedSet {
                document: Document::read(&opened.plaintext)?,
                by: opened.by,
            })
        }
        SealedFormat::Sops => open_sops(sealed, identities, last),
    }
}

/// Looks at a sealed text as far as anybody can who holds no identity: for files that are yet to be committed.
///
/// # Errors
/// When [`open_set`] would refuse it whoever holds what.
pub fn inspect_set(format: SealedFormat, sealed: &str) -> Result<(), SetError> {
    match format {
        SealedFormat::Age => inspect(sealed),
        SealedFormat::Sops => inspect_sops(sealed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::{Identity, Recipient};
    use crate::secrets::seal::seal;

    const AGE: &str = include_str!("vectors/age.txt");
    const SOPS: &str = include_str!("vectors/sops.yaml");

    fn code(format: SealedFormat, sealed: &str) -> &'static str {
        inspect_set(format, sealed).map_or_else(|error| error.code(), |()| "ok")
    }

    #[test]
    fn without_an_identity_a_set_is_checked_as_far_as_it_can_be() {
        assert_eq!(
            (code(SealedFormat::Age, AGE), code(SealedFormat::Sops, SOPS)),
            ("ok", "ok")
        );
        let cut = |text: &str| {
            text.lines()
                .take(6)
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        let recipients: Vec<Recipient> =
            (0..19).map(|_| Identity::generate().recipient()).collect();
        let most = seal(b"x", &recipients).unwrap();
        let no_mac: String = SOPS
            .lines()
            .filter(|line| !line.contains("mac:"))
            .map(|line| format!("{line}\n"))
            .collect();
        let plain = format!("EXTRA: plain\n{SOPS}");
        for (what, format, text, expected) in [
            ("most recipients", SealedFormat::Age, &*most, "ok"),
            ("cut", SealedFormat::Age, &cut(AGE), "WV103"),
            (
                "an empty armor",
                SealedFormat::Age,
                "-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n",
                "WV103",
            ),
            ("another text", SealedFormat::Age, "plain", "WV105"),
            (
                "too long",
                SealedFormat::Age,
                &"a".repeat(1024 * 1024 + 1),
                "WV106",
            ),
            ("another document", SealedFormat::Sops, "a: b", "WV105"),
            ("no MAC", SealedFormat::Sops, &no_mac, "WV103"),
            (
                "a value that is not sealed",
                SealedFormat::Sops,
                &plain,
                "WV107",
            ),
            ("age as SOPS", SealedFormat::Sops, AGE, "WV105"),
        ] {
            assert_eq!(code(format, text), expected, "{what}");
        }
    }
}
