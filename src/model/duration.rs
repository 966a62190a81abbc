//! Lengths of time as people write them: `30s`, `5m`, `1h30m`, `500ms`.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::shared::DurationText;

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not have the form.
    #[error("'{0}' is not a length of time: write for example 30s, 5m or 1h30m")]
    Form(String),
    /// It is longer than ten years.
    #[error("'{0}' is too long: the longest time is 87600h")]
    TooLong(String),
}

/// A length of time of at most ten years, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span {
    milliseconds: u64,
}

impl Span {
    /// The longest: ten years of 8760 hours.
    pub const MAX: Self = Self::from_seconds(87_600 * 3600);

    /// So many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self {
            milliseconds: seconds * 1000,
        }
    }

    /// Reads a length of time.
    ///
    /// # Errors
    /// When the text is no length of time, or longer than ten years.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let form = || DurationError::Form(text.to_owned());
        if text.is_empty() || text.len() > 32 {
            return Err(form());
        }
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
            let (number, tail) = rest.split_at(end);
            if number.is_empty() || number.len() > 9 {
                return Err(form());
            }
            // `ms` before `m`: the longer unit wins.
            let (unit, tail) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
                .into_iter()
                .find_map(|(unit, factor)| Some((factor, tail.strip_prefix(unit)?)))
                .ok_or_else(form)?;
            let number: u64 = number.parse().map_err(|_| form())?;
            // At most 8 numbers below 10^9 of at most 3.6 × 10^6: far below 2^64.
            total += number * unit;
            rest = tail;
        }
        if total > Self::MAX.milliseconds {
            return Err(DurationError::TooLong(text.to_owned()));
        }
        Ok(Self {
            milliseconds: total,
        })
    }

    /// In milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.milliseconds
    }

    /// In whole seconds, rounded up.
    pub const fn seconds_up(self) -> u64 {
        self.milliseconds.div_ceil(1000)
    }

    /// The moment this long after another.
    pub fn after(self, start: Timestamp) -> Timestamp {
        let milliseconds = i64::try_from(self.milliseconds).unwrap_or(i64::MAX);
        start
            .saturating_add(SignedDuration::from_millis(milliseconds))
            .unwrap_or(Timestamp::MAX)
    }
}

impl TryFrom<&DurationText> for Span {
    type Error = DurationError;

    fn try_from(text: &DurationText) -> Result<Self, Self::Error> {
        Self::parse(&text.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milliseconds == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.milliseconds;
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("1h30m", 5_400_000)]
    #[case("500ms", 500)]
    #[case("5m", 300_000)]
    #[case("0s", 0)]
    #[case("1m1ms", 60_001)]
    #[case("30s30s", 60_000)]
    fn lengths_of_time_are_read(#[case] text: &str, #[case] milliseconds: u64) {
        assert_eq!(Span::parse(text).unwrap().milliseconds(), milliseconds);
    }

    #[rstest]
    #[case("")]
    #[case("5")]
    #[case("m")]
    #[case("-5m")]
    #[case("5 m")]
    #[case("1.5h")]
    #[case("5d")]
    #[case("1234567890s")]
    fn what_is_no_length_of_time_is_refused(#[case] text: &str) {
        assert!(
            matches!(Span::parse(text), Err(DurationError::Form(_))),
            "{text}"
        );
    }

    #[test]
    fn more_than_ten_years_is_refused() {
        assert_eq!(Span::parse("87600h").unwrap(), Span::MAX);
        assert!(matches!(
            Span::parse("87600h1ms"),
            Err(DurationError::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9hms]{0,40}|\\PC{0,40}") {
            let _ = Span::parse(&text);
        }

        #[test]
        fn printing_and_reading_again_gives_the_same(milliseconds in 0..=Span::MAX.milliseconds) {
            let span = Span { milliseconds };
            prop_assert_eq!(Span::parse(&span.to_string()).unwrap(), span);
        }
    }
}
