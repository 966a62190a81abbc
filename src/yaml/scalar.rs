//! What a plain scalar means, as kubectl's YAML library (YAML 1.1) reads it.

use serde_json::Number;

use super::node::Value;

/// The meaning of a scalar that is neither quoted nor tagged.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        _ => {}
    }
    if let ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
    | "-.inf" | "-.Inf" | "-.INF" = text
    {
        return Err(format!("{text} is no number that an object can hold"));
    }
    Ok(number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number))
}

/// The meaning of a scalar with one of the tags of YAML's core.
pub(super) fn tagged(tag: &str, text: &str, is_plain: bool) -> Result<Value, String> {
    let wrong = || format!("'{text}' is no !!{tag}");
    match tag {
        "str" => Ok(Value::Text(text.to_owned())),
        "null" | "bool" => match plain(text)? {
            value @ Value::Null if tag == "null" => Ok(value),
            value @ Value::Bool(_) if tag == "bool" => Ok(value),
            _ => Err(wrong()),
        },
        "int" => match plain(text)? {
            Value::Number(number) if !is_float_text(text) => Ok(Value::Number(number)),
            _ => Err(wrong()),
        },
        "float" => match plain(text)? {
            value @ Value::Number(_) => Ok(value),
            _ => Err(wrong()),
        },
        _ if is_plain => Err(format!("tag !!{tag} does not fit a scalar")),
        _ => Err(format!("tag !!{tag} does not fit a text")),
    }
}

fn is_float_text(text: &str) -> bool {
    !text.starts_with("0x") && text.contains(['.', 'e', 'E'])
}

fn number(text: &str) -> Option<Number> {
    match text.bytes().next()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    }
}

/// Sign, then decimal, `0x`, `0b`, `0o` or, after a leading zero, octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        // The smallest i64 has a magnitude that i64 can't hold.
        return 0_i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    match i64::try_from(magnitude) {
        Ok(small) => Some(Number::from(small)),
        // The API server's decoder turns what i64 can't hold into a float.
        #[expect(
            clippy::cast_precision_loss,
            reason = "the server loses the same digits"
        )]
        Err(_) => Number::from_f64(magnitude as f64),
    }
}

/// A float; one without a fraction becomes an integer, as it does on its way through JSON to the API server.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, part)) => {
            all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    // 2^63: every whole float below it is exact as i64.
    if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and in range, see above"
        )]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value as Json, json};

    use super::super::node::{Node, Place};
    use super::*;

    #[rstest]
    #[case("yes", json!(true))]
    #[case("on", json!(true))]
    #[case("N", json!(false))]
    #[case("off", json!(false))]
    #[case("yEs", json!("yEs"))]
    #[case("~", json!(null))]
    #[case("", json!(null))]
    #[case("nil", json!("nil"))]
    #[case("12", json!(12))]
    #[case("-12", json!(-12))]
    #[case("+12", json!(12))]
    #[case("1_000", json!(1000))]
    #[case("010", json!(8))]
    #[case("08", json!(8))]
    #[case("0x1F", json!(31))]
    #[case("0b101", json!(5))]
    #[case("0o17", json!(15))]
    #[case("-9223372036854775808", json!(i64::MIN))]
    #[case("18446744073709551615", json!(18_446_744_073_709_551_615_u64 as f64))]
    #[case("1.5", json!(1.5))]
    #[case("1.0", json!(1))]
    #[case("1e3", json!(1000))]
    #[case(".5", json!(0.5))]
    #[case("1e999", json!("1e999"))]
    #[case("1.2.3", json!("1.2.3"))]
    #[case("500m", json!("500m"))]
    #[case("2Gi", json!("2Gi"))]
    #[case("-", json!("-"))]
    #[case("0x", json!("0x"))]
    #[case("1:30", json!("1:30"))]
    #[case("2001-01-01", json!("2001-01-01"))]
    #[case("1__", json!(1))]
    #[case("12e", json!("12e"))]
    fn a_plain_scalar_means_what_kubectl_reads(#[case] text: &str, #[case] expected: Json) {
        let value = plain(text).unwrap();
        let place = Place { line: 1, column: 1 };
        assert_eq!(Node { place, value }.to_json(), expected, "{text}");
    }

    #[test]
    fn numbers_without_a_json_form_are_refused() {
        assert!(plain(".nan").is_err() && plain("-.inf").is_err());
    }

    #[test]
    fn a_tag_decides_over_the_look() {
        assert_eq!(tagged("str", "12", true), Ok(Value::Text("12".into())));
        assert_eq!(tagged("int", "12", false), Ok(Value::Number(12.into())));
        assert!(tagged("int", "1.0", true).is_err());
        assert!(tagged("bool", "12", true).is_err());
        assert!(tagged("map", "x", true).is_err());
    }
}
