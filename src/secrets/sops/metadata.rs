//! What stands under the key `sops`: for whom the data key is sealed, and the MAC.

use zeroize::Zeroizing;

use super::{DataKey, damaged, unsupported};
use crate::secrets::error::SetError;
use crate::secrets::identity::{Fingerprint, Identities, Recipient};
use crate::secrets::open::{MOST_STANZAS, inspect, open};
use crate::yaml::{Node, Value};

/// The key that is SOPS's own.
pub(super) const KEY: &str = "sops";

/// What is needed of it.
pub(super) struct Metadata<'a> {
    /// The data key for one recipient each: the recipient, and an age file.
    ages: Vec<(&'a str, &'a str)>,
    /// A sealed leaf.
    pub(super) mac: &'a str,
    /// What the MAC is bound to.
    pub(super) last_modified: &'a str,
    /// Whether the MAC leaves plaintext out.
    pub(super) only_sealed: bool,
}

/// A text that is no SOPS document.
pub(super) fn none() -> SetError {
    unsupported(
        "a text that is no SOPS document",
        "seal it with sops --encrypt --age …, and put the whole document into spec.sealed",
    )
}

impl<'a> Metadata<'a> {
    pub(super) fn of(root: &'a Node) -> Result<Self, SetError> {
        let written = &root.get(KEY).ok_or_else(none)?.node;
        let text = |node: &'a Node, key: &str| node.get(key)?.node.as_text();
        if items(written, "key_groups").next().is_some() {
            return Err(unsupported(
                "a SOPS document with key groups",
                "seal it for age recipients in one group",
            ));
        }
        let ages: Vec<_> = items(written, "age")
            .filter_map(|entry| Some((text(entry, "recipient")?, text(entry, "enc")?)))
            .collect();
        if ages.is_empty() {
            return Err(unsupported(
                "a SOPS document without age recipients",
                "seal it with sops --encrypt --age …",
            ));
        }
        if ages.len() > MOST_STANZAS {
            return Err(SetError::LimitExceeded {
                what: "recipients",
                found: ages.len(),
                most: MOST_STANZAS,
            });
        }
        let only_sealed = written.get("mac_only_encrypted");
        Ok(Self {
            ages,
            mac: text(written, "mac").ok_or(damaged("its MAC, which is missing"))?,
            last_modified: text(written, "lastmodified").ok_or(damaged("its lastmodified"))?,
            only_sealed: only_sealed.is_some_and(|entry| entry.node.value == Value::Bool(true)),
        })
    }

    /// Whether the sealed data keys are age files.
    pub(super) fn inspect(&self) -> Result<(), SetError> {
        self.ages.iter().try_for_each(|(_, file)| inspect(file))
    }

    /// The data key. Each entry says whose it is, so only those of ours are opened, one exchange each.
    pub(super) fn data_key(
        &self,
        identities: &Identities,
        last: Option<&Fingerprint>,
    ) -> Result<(DataKey, Fingerprint), SetError> {
        let fingerprint_of =
            |recipient: &str| Some(Recipient::parse(recipient).ok()?.fingerprint());
        let mut ours: Vec<(&str, Fingerprint)> = self
            .ages
            .iter()
            .filter_map(|(recipient, file)| Some((*file, fingerprint_of(recipient)?)))
            .filter(|(_, fingerprint)| identities.fingerprints().any(|own| own == fingerprint))
            .collect();
        ours.sort_by_key(|(_, fingerprint)| last != Some(fingerprint));
        let Some((file, fingerprint)) = ours.first() else {
            return Err(self.no_match(identities));
        };
        let opened = open(file, identities, Some(fingerprint))?;
        let key = <[u8; 32]>::try_from(opened.plaintext.as_slice());
        let key = key.map_err(|_| damaged("its data key"))?;
        Ok((Zeroizing::new(key), opened.by))
    }

    fn no_match(&self, identities: &Identities) -> SetError {
        let shown = |recipient: &str| {
            Recipient::parse(recipient).map_or_else(
                |_| "another kind".to_owned(),
                |recipient| recipient.fingerprint().to_string(),
            )
        };
        let recipients: Vec<String> = self
            .ages
            .iter()
            .map(|(recipient, _)| shown(recipient))
            .collect();
        let held: Vec<String> = identities.fingerprints().map(ToString::to_string).collect();
        SetError::NoMatchingIdentity {
            stanzas: format!("recipients {}", recipients.join(", ")),
            held: held.join(", "),
        }
    }
}

fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> {
    let items = match node.get(key).map(|entry| &entry.node.value) {
        Some(Value::Sequence(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}
