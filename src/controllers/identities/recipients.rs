//! The published text: whom to seal for, as `age -R recipients.txt` reads it. Here it is made, read and compared.

use std::fmt::Write as _;

use crate::controllers::identities::listed;
use crate::secrets::identity::{Fingerprint, Identities, Recipient};

/// So many foreign recipients are named. A ConfigMap has room for thousands.
const MOST_NAMED: usize = 8;

/// What a published text says.
#[derive(Default)]
pub(super) struct Published {
    /// Its recipients, in their order.
    recipients: Vec<Fingerprint>,
    /// Lines that are neither recipients nor remarks.
    strange: usize,
}

/// How what is published differs from what is held, by fingerprints.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Published, though nothing here opens what is sealed for it.
    pub foreign: String,
    /// Held, though it was not published.
    pub lacking: String,
}

/// What is to be published.
pub(super) fn text(identities: &Identities) -> String {
    let mut text = String::new();
    for identity in identities.iter() {
        // Writing to a String never fails.
        let _ = writeln!(text, "# fingerprint {}", identity.fingerprint());
        let _ = writeln!(text, "{}", identity.recipient());
    }
    text
}

impl Published {
    /// Reads whatever somebody has put there.
    pub(super) fn parse(text: &str) -> Self {
        let mut published = Self::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Recipient::parse(line) {
                Ok(recipient) => published.recipients.push(recipient.fingerprint()),
                Err(_) => published.strange += 1,
            }
        }
        published
    }

    /// Whether nobody can have sealed for it. A text that can't be read was published once all the same.
    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty() && self.strange == 0
    }

    /// Its fingerprints, for people.
    pub(super) fn named(&self) -> String {
        named(&self.recipients.iter().collect::<Vec<_>>(), self.strange)
    }

    /// How it differs from what is held. Both are empty where only the order, or a remark, is another.
    pub(super) fn difference(&self, identities: &Identities) -> Difference {
        let held: Vec<&Fingerprint> = identities.fingerprints().collect();
        let foreign: Vec<&Fingerprint> = self.recipients.iter().collect();
        let foreign: Vec<&Fingerprint> = foreign
            .into_iter()
            .filter(|each| !held.contains(each))
            .collect();
        let lacking = held.into_iter();
        let lacking = lacking.filter(|each| !self.recipients.contains(each));
        Difference {
            foreign: named(&foreign, self.strange),
            lacking: listed(lacking),
        }
    }
}

fn named(fingerprints: &[&Fingerprint], strange: usize) -> String {
    let mut text = listed(fingerprints.iter().copied().take(MOST_NAMED));
    let more = fingerprints.len().saturating_sub(MOST_NAMED);
    for (count, what) in [(more, "more"), (strange, "that can't be read")] {
        if count > 0 {
            let and = if text.is_empty() { "" } else { " and " };
            let _ = write!(text, "{and}{count} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::Identity;

    #[test]
    fn what_is_published_is_compared_by_fingerprints_and_what_is_no_recipient_is_never_repeated() {
        let (one, two, foreign) = (
            Identity::generate(),
            Identity::generate(),
            Identity::generate(),
        );
        let identities = Identities::of(vec![one.clone(), two.clone()]).unwrap();
        let published = Published::parse(&text(&identities));
        let difference = published.difference(&identities);
        assert_eq!((difference.foreign, difference.lacking), Default::default());

        let edited = format!("{}\nCANARY\n{}\n", foreign.recipient(), one.recipient());
        let difference = Published::parse(&edited).difference(&identities);
        assert_eq!(
            difference.foreign,
            format!("{} and 1 that can't be read", foreign.fingerprint())
        );
        assert_eq!(difference.lacking, two.fingerprint().to_string());
    }

    #[test]
    fn a_published_text_is_empty_when_it_has_remarks_alone_and_names_no_more_than_a_few() {
        assert!(Published::parse("").is_empty());
        assert!(Published::parse("# fingerprint 0\n\n").is_empty());
        assert!(!Published::parse("age1what").is_empty());
        assert_eq!(Published::parse("x").named(), "1 that can't be read");
        let many: String = (0..MOST_NAMED + 3)
            .map(|_| format!("{}\n", Identity::generate().recipient()))
            .collect();
        let named = Published::parse(&many).named();
        assert!(named.ends_with(" and 3 more"), "{named}");
    }
}
