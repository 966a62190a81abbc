//! Identities: what opens a set. Several at once, the newest first, so that they can be exchanged one by one.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// As many identities are held at once at most: each is tried with each stanza.
pub const MOST_IDENTITIES: usize = 8;

/// What a public recipient is called for short: 16 hexadecimal digits of the SHA-256 of its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(Arc<str>);

/// A public recipient: `age1…`.
#[derive(Clone)]
pub struct Recipient(pub(super) age::x25519::Recipient);

/// An identity, with the fingerprint of its recipient.
#[derive(Clone)]
pub struct Identity {
    pub(super) key: age::x25519::Identity,
    fingerprint: Fingerprint,
}

/// All identities, the newest first.
#[derive(Clone, Default)]
pub struct Identities(Arc<[Identity]>);

/// Why a text is no list of identities. It repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A line is something else.
    #[error("line {0} is no age identity (AGE-SECRET-KEY-1…)")]
    Line(usize),
    /// There are none, or too many.
    #[error("there are {0} identities: 1 to {MOST_IDENTITIES} may be")]
    Count(usize),
}

/// A text that is no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// It is one of a later age.
    #[error(
        "this is a post-quantum recipient, which is not supported here: use one that begins with age1 and is 62 characters long"
    )]
    PostQuantum,
    /// It is none.
    #[error("this is no age recipient (age1…, 62 characters)")]
    Other,
}

impl Fingerprint {
    /// The fingerprint.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Recipient {
    /// Reads `age1…`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, RecipientError> {
        if text.starts_with("age1pq1") {
            return Err(RecipientError::PostQuantum);
        }
        let parsed = age::x25519::Recipient::from_str(text);
        parsed.map(Self).map_err(|_| RecipientError::Other)
    }

    /// Its short name.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(self.to_string().as_bytes());
        let mut text = hex::encode(digest);
        text.truncate(16);
        Fingerprint(text.into())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Identity {
    /// Makes a new one.
    pub fn generate() -> Self {
        age::x25519::Identity::generate().into()
    }

    /// Its public half.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.key.to_public())
    }

    /// The short name of its public half.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// `AGE-SECRET-KEY-1…`, to be stored.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.to_string().expose_secret().to_owned())
    }

    /// As `age-keygen` writes it into a file.
    pub fn to_file(&self, created: Timestamp) -> Zeroizing<String> {
        // Large enough at once: what a growing one leaves behind is not wiped.
        let mut text = Zeroizing::new(String::with_capacity(512));
        text.push_str(&format!(
            "# created: {}\n# public key: {}\n",
            created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            self.recipient()
        ));
        text.push_str(&self.to_text());
        text.push('\n');
        text
    }
}

/// A file of identities without one of them and the remarks right above it; the rest stays as it is. None where it holds no
/// such one.
pub fn file_without(text: &str, fingerprint: &str) -> Option<Zeroizing<String>> {
    let mut rest = Zeroizing::new(String::with_capacity(text.len() + 1));
    let mut is_there = false;
    // Where the remarks begin that belong to what comes next.
    let mut remarks = 0;
    for line in text.lines() {
        let content = line.trim();
        let found = age::x25519::Identity::from_str(content)
            .ok()
            .map(Identity::from);
        if found.is_some_and(|found| found.fingerprint.as_str() == fingerprint) {
            rest.truncate(remarks);
            is_there = true;
            continue;
        }
        rest.push_str(line);
        rest.push('\n');
        if !content.starts_with('#') {
            remarks = rest.len();
        }
    }
    is_there.then_some(rest)
}

impl From<age::x25519::Identity> for Identity {
    fn from(key: age::x25519::Identity) -> Self {
        let fingerprint = Recipient(key.to_public()).fingerprint();
        Self { key, fingerprint }
    }
}

impl Identities {
    /// Reads what `age-keygen` writes: one a line, `#` begins a remark.
    ///
    /// # Errors
    /// When a line is something else, or there are none or too many.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let mut found = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = age::x25519::Identity::from_str(line);
            found.push(Identity::from(
                key.map_err(|_| IdentityError::Line(number + 1))?,
            ));
        }
        Self::of(found)
    }

    /// These, the newest first.
    ///
    /// # Errors
    /// When there are none or too many.
    pub fn of(identities: Vec<Identity>) -> Result<Self, IdentityError> {
        if identities.is_empty() || identities.len() > MOST_IDENTITIES {
            return Err(IdentityError::Count(identities.len()));
        }
        Ok(Self(identities.into()))
    }

    /// All, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter()
    }

    /// Fingerprints of all.
    pub fn fingerprints(&self) -> impl Iterator<Item = &Fingerprint> {
        self.iter().map(Identity::fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_as_age_keygen_writes_them() {
        let (one, two) = (Identity::generate(), Identity::generate());
        let text = format!(
            "# created\n# public key: x\n{}\n\n{}\r\n",
            *one.to_text(),
            *two.to_text()
        );
        let read = Identities::parse(&text).unwrap();
        let found: Vec<_> = read.fingerprints().collect();
        assert_eq!(found, [one.fingerprint(), two.fingerprint()]);
        assert_ne!(found[0], found[1]);
    }

    #[test]
    fn a_file_loses_one_identity_with_its_remarks_and_nothing_else() {
        let (one, two) = (Identity::generate(), Identity::generate());
        let created = Timestamp::UNIX_EPOCH;
        let (first, second) = (one.to_file(created), two.to_file(created));
        assert!(first.starts_with("# created: 1970-01-01T00:00:00Z\n# public key: age1"));
        let both = format!("# of the team\n\n{}{}", *first, *second);
        let without = |identity: &Identity| {
            file_without(&both, identity.fingerprint().as_str()).map(|text| text.to_string())
        };
        assert_eq!(without(&one), Some(format!("# of the team\n\n{}", *second)));
        assert_eq!(without(&two), Some(format!("# of the team\n\n{}", *first)));
        assert_eq!(without(&Identity::generate()), None);
        assert_eq!(file_without("", "x").map(|text| text.to_string()), None);
    }

    #[test]
    fn what_is_no_identity_is_named_by_its_line_and_never_repeated() {
        let good = Identity::generate();
        let bad = format!("{}\nAGE-SECRET-KEY-1CANARY", *good.to_text());
        let error = Identities::parse(&bad).map(|_| ()).unwrap_err();
        assert_eq!(error, IdentityError::Line(2));
        assert!(!error.to_string().contains("CANARY"));
        assert_eq!(
            Identities::parse("# nothing\n").map(|_| ()),
            Err(IdentityError::Count(0))
        );
        let many: String = (0..=MOST_IDENTITIES)
            .map(|_| format!("{}\n", *Identity::generate().to_text()))
            .collect();
        assert_eq!(
            Identities::parse(&many).map(|_| ()),
            Err(IdentityError::Count(MOST_IDENTITIES + 1))
        );
    }

    #[test]
    fn a_recipient_is_read_back_and_one_of_a_later_age_is_named() {
        let recipient = Identity::generate().recipient();
        let read = Recipient::parse(&recipient.to_string()).unwrap();
        assert_eq!(read.fingerprint(), recipient.fingerprint());
        assert_eq!(recipient.fingerprint().to_string().len(), 16);
        assert_eq!(
            Recipient::parse("age1pq1x").map(|_| ()),
            Err(RecipientError::PostQuantum)
        );
        assert_eq!(
            Recipient::parse("age1x").map(|_| ()),
            Err(RecipientError::Other)
        );
    }
}
