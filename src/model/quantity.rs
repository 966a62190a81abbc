//! Amounts as Kubernetes writes them (`500m`, `2Gi`), exact enough to compare, add and print again.
//!
//! Kubernetes keeps a quantity to a billionth (rounding up) and within 64 bits; so do we. What is parsed here
//! is never negative: no field of ours may be.

use std::fmt;

use crate::api::shared::Quantity;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// The largest amount that the API server takes: 2^63 - 1.
const MAX: i128 = (i64::MAX as i128) * NANO;

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not have the form of an amount.
    #[error("'{0}' is not an amount: write for example 500m, 2 or 4Gi")]
    Form(String),
    /// It is below zero.
    #[error("'{0}' is negative: write an amount of 0 or more")]
    Negative(String),
    /// It is beyond what Kubernetes can hold.
    #[error("'{0}' is too large: the largest amount is 9223372036854775807")]
    TooLarge(String),
}

/// How the author wrote the amount; it is printed in the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    /// `Ki`, `Mi`, …
    Binary,
    /// `m`, `k`, `M`, … or nothing.
    Decimal,
    /// `e3`, `E6`.
    Exponent,
}

/// An amount, compared by its value and printed in Kubernetes' own canonical form.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// In billionths, from 0 to [`MAX`].
    nano: i128,
    family: Family,
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self {
        nano: 0,
        family: Family::Decimal,
    };

    /// Reads an amount.
    ///
    /// # Errors
    /// When the text is no amount, is negative, or is too large for Kubernetes.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let form = || QuantityError::Form(text.to_owned());
        let too_large = || QuantityError::TooLarge(text.to_owned());
        // Longer texts are refused rather than reckoned with: no honest amount needs them.
        if text.len() > 64 {
            return Err(form());
        }
        let unsigned = match text.strip_prefix('-') {
            Some(_) => return Err(QuantityError::Negative(text.to_owned())),
            None => text.strip_prefix('+').unwrap_or(text),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(form());
        }
        let (multiplier, power, family) = suffix_of(suffix).ok_or_else(form)?;
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self { nano: 0, family });
        }
        // value = digits × multiplier × 10^(power - fraction digits), in billionths: + 9.
        let exponent = power + 9 - i32::try_from(fraction.len()).map_err(|_| too_large())?;
        // Digits that can only vanish below a billionth are cut, and count as one more billionth (rounding up).
        let (digits, cut) = shorten(digits, exponent);
        let exponent = exponent + cut.0;
        let value: i128 = if digits.is_empty() {
            0
        } else {
            digits.parse().map_err(|_| too_large())?
        };
        let value = value.checked_mul(multiplier).ok_or_else(too_large)?;
        let nano = if exponent >= 0 {
            let scale = power_of_ten(exponent).ok_or_else(too_large)?;
            value.checked_mul(scale).ok_or_else(too_large)?
        } else {
            match power_of_ten(-exponent) {
                Some(scale) => {
                    let rest = value % scale != 0 || cut.1;
                    value / scale + i128::from(rest)
                }
                None => 1,
            }
        };
        if nano > MAX {
            return Err(too_large());
        }
        Ok(Self { nano, family })
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is a whole number.
    pub fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }

    /// As a number, if it is a whole one.
    pub fn to_u64(self) -> Option<u64> {
        let whole = u64::try_from(self.nano / NANO).ok()?;
        self.is_whole().then_some(whole)
    }

    /// The sum, or none when Kubernetes could not hold it.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let nano = self.nano + other.nano;
        (nano <= MAX).then_some(Self {
            nano,
            family: self.family,
        })
    }

    /// As a value of the API.
    pub fn to_api(self) -> Quantity {
        Quantity(self.to_string())
    }
}

impl TryFrom<&Quantity> for Amount {
    type Error = QuantityError;

    fn try_from(quantity: &Quantity) -> Result<Self, Self::Error> {
        Self::parse(&quantity.0)
    }
}

/// Drops trailing digits that are far below a billionth, so that 60 digits of fraction do not overflow.
/// Returns the digits left, how far the exponent moved, and whether something other than zero was dropped.
fn shorten(digits: &str, exponent: i32) -> (&str, (i32, bool)) {
    const KEPT: usize = 30;
    if exponent >= 0 || digits.len() <= KEPT {
        return (digits, (0, false));
    }
    let below = usize::try_from(-exponent).unwrap_or(0);
    let dropped = (digits.len() - KEPT).min(below);
    let (kept, cut) = digits.split_at(digits.len() - dropped);
    let moved = i32::try_from(dropped).unwrap_or(0);
    (kept, (moved, cut.bytes().any(|b| b != b'0')))
}

fn power_of_ten(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

/// A suffix as (multiplier, power of ten, family).
fn suffix_of(suffix: &str) -> Option<(i128, i32, Family)> {
    let binary = |shift: u32| Some((1_i128 << shift, 0, Family::Binary));
    let decimal = |power: i32| Some((1, power, Family::Decimal));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let written = suffix.strip_prefix(['e', 'E'])?;
            let digits = written.strip_prefix(['+', '-']).unwrap_or(written);
            if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return None;
            }
            Some((1, written.parse().ok()?, Family::Exponent))
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        const DECIMAL: [(&str, &str); 10] = [
            ("n", "e-9"),
            ("u", "e-6"),
            ("m", "e-3"),
            ("", ""),
            ("k", "e3"),
            ("M", "e6"),
            ("G", "e9"),
            ("T", "e12"),
            ("P", "e15"),
            ("E", "e18"),
        ];
        if self.nano == 0 {
            return f.write_str("0");
        }
        // Kubernetes prints small and broken binary amounts in the decimal family.
        if self.family == Family::Binary && self.nano % NANO == 0 && self.nano >= 1024 * NANO {
            let mut number = self.nano / NANO;
            let mut suffix = "";
            for next in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                number /= 1024;
                suffix = next;
            }
            return write!(f, "{number}{suffix}");
        }
        let mut number = self.nano;
        let mut suffix = "n";
        for (plain, exponent) in DECIMAL {
            suffix = if self.family == Family::Exponent {
                exponent
            } else {
                plain
            };
            if number % 1000 != 0 || plain == "E" {
                break;
            }
            number /= 1000;
        }
        write!(f, "{number}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[rstest]
    #[case("1", "1000m")]
    #[case("0.5", "500m")]
    #[case("1Gi", "1024Mi")]
    #[case("1.5Gi", "1536Mi")]
    #[case(".5", "500m")]
    #[case("5.", "5")]
    #[case("+2", "2")]
    #[case("1e3", "1k")]
    #[case("1E3", "1000")]
    #[case("12e-1", "1.2")]
    #[case("1000000n", "1m")]
    #[case("0.0000000001", "1n")]
    #[case("0.1n", "1n")]
    #[case("0", "0Gi")]
    fn the_same_amount_written_in_two_ways_is_equal(#[case] one: &str, #[case] other: &str) {
        assert_eq!(amount(one), amount(other));
    }

    #[rstest]
    #[case("0.5", "500m")]
    #[case("1024Mi", "1Gi")]
    #[case("1.5Gi", "1536Mi")]
    #[case("1000m", "1")]
    #[case("1500", "1500")]
    #[case("2000", "2k")]
    #[case("512", "512")]
    #[case("0.5Ki", "512")]
    #[case("1e3", "1e3")]
    #[case("1500e0", "1500")]
    #[case("10000e0", "10e3")]
    #[case("0", "0")]
    #[case("0.1Ki", "102400m")]
    fn amounts_are_printed_as_the_api_server_prints_them(
        #[case] written: &str,
        #[case] printed: &str,
    ) {
        assert_eq!(amount(written).to_string(), printed);
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("1.2.3")]
    #[case("Gi")]
    #[case("1 Gi")]
    #[case("1gi")]
    #[case("1K")]
    #[case("1e")]
    #[case("1e+")]
    #[case("1e1.5")]
    #[case("e3")]
    #[case("１")]
    fn what_is_not_an_amount_is_refused(#[case] text: &str) {
        assert!(
            matches!(Amount::parse(text), Err(QuantityError::Form(_))),
            "{text}"
        );
    }

    #[test]
    fn negative_and_enormous_amounts_are_refused() {
        assert!(matches!(
            Amount::parse("-1"),
            Err(QuantityError::Negative(_))
        ));
        assert!(matches!(
            Amount::parse("9Ei"),
            Err(QuantityError::TooLarge(_))
        ));
        assert!(matches!(
            Amount::parse("1e9999"),
            Err(QuantityError::TooLarge(_))
        ));
        assert!(matches!(
            Amount::parse("9223372036854775808"),
            Err(QuantityError::TooLarge(_))
        ));
        assert_eq!(
            amount("9223372036854775807").to_string(),
            "9223372036854775807"
        );
        assert_eq!(amount("1e-9999").to_string(), "1e-9");
    }

    #[test]
    fn fractions_of_sixty_digits_are_rounded_up() {
        let text = format!("0.{}1", "0".repeat(50));
        assert_eq!(amount(&text).to_string(), "1n");
        let text = format!("1.{}", "9".repeat(55));
        assert_eq!(amount(&text), amount("2"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,70}") {
            let _ = Amount::parse(&text);
        }

        #[test]
        fn no_text_of_amount_letters_makes_the_parser_panic(text in "[-+0-9.eEKMGTPinumk]{0,70}") {
            let _ = Amount::parse(&text);
        }

        #[test]
        fn printing_and_reading_again_gives_the_same_amount_and_text(
            number in 0_u64..10_000_000_000,
            suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "e-3"]),
        ) {
            let Ok(first) = Amount::parse(&format!("{number}{suffix}")) else { return Ok(()); };
            let again = amount(&first.to_string());
            prop_assert_eq!(first, again);
            prop_assert_eq!(first.to_string(), again.to_string());
        }

        #[test]
        fn order_is_the_order_of_numbers(a in 0_u64..1_000_000, b in 0_u64..1_000_000) {
            prop_assert_eq!(amount(&format!("{a}m")).cmp(&amount(&format!("{b}m"))), a.cmp(&b));
            prop_assert_eq!(amount(&format!("{a}Ki")).cmp(&amount(&(b * 1024).to_string())), a.cmp(&b));
        }

        #[test]
        fn sums_are_sums_of_numbers(a in 0_u64..1_000_000_000, b in 0_u64..1_000_000_000) {
            let sum = amount(&format!("{a}m")).checked_add(amount(&format!("{b}m"))).unwrap();
            prop_assert_eq!(sum, amount(&format!("{}m", a + b)));
        }
    }
}
