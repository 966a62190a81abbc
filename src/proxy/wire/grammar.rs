//! Which bytes may stand where (RFC 9110, RFC 9112), without the leniency that those allow.

/// A byte of a token: of methods and of names of headers.
pub const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// A byte of a value: no control but the tab.
pub const fn is_value(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

/// A byte of a request's target: visible ASCII, and no fragment.
pub const fn is_target(byte: u8) -> bool {
    byte > 0x20 && byte < 0x7f && byte != b'#'
}

/// Whether all bytes are of a kind. Looks at all of them, which is what makes it fast.
pub fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & is(*byte))
}

/// Without blanks and tabs at both ends.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = bytes.iter().take_while(|byte| is_blank(byte)).count();
    let rest = bytes.get(start..).unwrap_or_default();
    let blanks = rest.iter().rev().take_while(|byte| is_blank(byte)).count();
    rest.get(..rest.len() - blanks).unwrap_or_default()
}

/// The members of a comma-separated list, empty ones left out.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trimmed)
        .filter(|member| !member.is_empty())
}

/// A number of digits alone, few enough that it fits.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |so_far: u64, digit: &u8| so_far * 10 + u64::from(digit - b'0');
    Some(digits.iter().fold(0, add))
}

/// Writes a number, without a detour through a text.
pub fn put_decimal(out: &mut Vec<u8>, number: u64) {
    let mut divisor = 1;
    while number / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        // One digit: it fits.
        out.push(b'0' + (number / divisor % 10) as u8);
        divisor /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"0", Some(0))]
    #[case(b"42", Some(42))]
    #[case(b"007", Some(7))]
    #[case(b"999999999999999999", Some(999_999_999_999_999_999))]
    #[case(b"1000000000000000000", None)]
    #[case(b"", None)]
    #[case(b"+1", None)]
    #[case(b"-1", None)]
    #[case(b"1 ", None)]
    #[case(b"0x1", None)]
    #[case(b"5, 5", None)]
    fn a_length_is_digits_alone(#[case] digits: &[u8], #[case] number: Option<u64>) {
        assert_eq!(decimal(digits), number);
    }

    #[rstest]
    #[case(b"", b"")]
    #[case(b" \t ", b"")]
    #[case(b" \ta b\t", b"a b")]
    #[case(b"\x0ba", b"\x0ba")]
    fn blanks_and_tabs_alone_are_trimmed(#[case] bytes: &[u8], #[case] expected: &[u8]) {
        assert_eq!(trimmed(bytes), expected);
    }

    proptest! {
        #[test]
        fn a_number_that_was_written_is_read_back(number in 0..1_000_000_000_000_000_000u64) {
            let mut out = Vec::new();
            put_decimal(&mut out, number);
            prop_assert_eq!(decimal(&out), Some(number));
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
