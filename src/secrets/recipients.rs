//! Lists of recipients, as age's `-R` reads them: one a line, `#` begins a remark. And pins: such a list, kept in a
//! repository, that says for whom its sets are sealed.

use std::collections::BTreeMap;

use crate::secrets::identity::{Fingerprint, Recipient, RecipientError};

/// Recipients, each once, in the order in which they were named.
#[derive(Clone, Default)]
pub struct Recipients(Vec<Recipient>);

/// Why a text is no list of recipients. It repeats nothing of the text: somebody may have given the identity instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientsError {
    /// A line is something else.
    #[error("line {line}: {problem}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// Why it is none.
        #[source]
        problem: RecipientError,
    },
    /// There are none.
    #[error("no recipient stands there")]
    Empty,
}

impl Recipients {
    /// Reads a list.
    ///
    /// # Errors
    /// When a line is something else, or there are none.
    pub fn parse(text: &str) -> Result<Self, RecipientsError> {
        let mut found = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let recipient = Recipient::parse(line).map_err(|problem| RecipientsError::Line {
                line: number + 1,
                problem,
            })?;
            found.push(recipient);
        }
        if found.is_empty() {
            return Err(RecipientsError::Empty);
        }
        Ok(Self::of(found))
    }

    /// These. One that was named twice counts once.
    pub fn of(recipients: Vec<Recipient>) -> Self {
        let mut each: Vec<Recipient> = Vec::new();
        for recipient in recipients {
            let known = |other: &Recipient| other.to_string() == recipient.to_string();
            if !each.iter().any(known) {
                each.push(recipient);
            }
        }
        Self(each)
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Recipient] {
        &self.0
    }

    /// Their short names, with a comma between them.
    pub fn fingerprints(&self) -> String {
        let each = self.0.iter().map(|each| each.fingerprint().to_string());
        each.collect::<Vec<_>>().join(", ")
    }

    /// Whether both name the same, in whatever order.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.by_text() == other.by_text()
    }

    fn by_text(&self) -> BTreeMap<String, Fingerprint> {
        let each = self.0.iter();
        each.map(|each| (each.to_string(), each.fingerprint()))
            .collect()
    }

    /// The list as text, with the short name of each above it. It reads back as the same list.
    pub fn to_text(&self, head: &str) -> String {
        let mut text: String = head.lines().map(|line| format!("# {line}\n")).collect();
        for each in &self.0 {
            text.push_str(&format!("# {}\n{each}\n", each.fingerprint()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::Identity;

    fn two() -> [String; 2] {
        [(); 2].map(|()| Identity::generate().recipient().to_string())
    }

    #[test]
    fn a_list_is_read_as_age_reads_it_and_written_so_that_it_reads_back() {
        let [one, other] = two();
        let text = format!("# remark\r\n{one}\r\n\n  {other}\n{one}\n");
        let read = Recipients::parse(&text).unwrap();
        assert_eq!(
            read.as_slice().len(),
            2,
            "one that stands twice counts once"
        );
        let written = read.to_text("What it is.\nTwo lines.");
        assert!(written.starts_with("# What it is.\n# Two lines.\n# "));
        for fingerprint in read.fingerprints().split(", ") {
            assert!(written.contains(&format!("# {fingerprint}\nage1")));
        }
        let back = Recipients::parse(&written).unwrap();
        assert_eq!(back.fingerprints(), read.fingerprints());
    }

    #[test]
    fn lists_are_the_same_whatever_their_order() {
        let [one, other] = two();
        let list = |text: String| Recipients::parse(&text).unwrap();
        let both = list(format!("{one}\n{other}"));
        assert!(both.is_same_as(&list(format!("{other}\n{one}\n{one}"))));
        assert!(!both.is_same_as(&list(one.clone())));
        assert!(!list(one).is_same_as(&both));
    }

    #[test]
    fn what_is_no_recipient_is_named_by_its_line_and_never_repeated() {
        let identity = Identity::generate().to_text();
        for (text, said) in [
            (format!("\n{}", *identity), "line 2: "),
            ("age1pq1canary".to_owned(), "line 1: this is a post-quantum"),
            ("# canary".to_owned(), "no recipient"),
            (String::new(), "no recipient"),
        ] {
            let error = Recipients::parse(&text).map(drop).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
            assert!(!error.contains("canary") && !error.contains("AGE-SECRET"));
        }
    }
}
