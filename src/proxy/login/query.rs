//! Queries and forms, read and written, and the rule for where a browser may be sent.

use std::fmt::Write as _;

/// Longest path that a login comes back to. A longer one would not fit into the cookies of the way; then it is `/`.
const LONGEST_PATH: usize = 1500;

/// The fields of a query or a form, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads `a=1&b=2`, with `+` and percent-encoding. None where that is no UTF-8 or no encoding.
    pub fn parse(text: &str) -> Option<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        pairs.collect::<Option<_>>().map(Self)
    }

    /// The value of a field that stands there exactly once.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_str())
    }

    /// Whether a field is there, however often.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let (byte, behind) = match first {
            b'+' => (b' ', behind),
            b'%' => {
                let (digits, behind) = behind.split_at_checked(2)?;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                (byte[0], behind)
            }
            other => (*other, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

/// Writes a query or a form.
pub fn write(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

/// One value, with everything encoded that could mean something (RFC 3986, unreserved).
pub fn encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// An address with these fields more in its query.
pub fn with_query(address: &str, pairs: &[(&str, &str)]) -> String {
    let join = if address.contains('?') { '&' } else { '?' };
    format!("{address}{join}{}", write(pairs))
}

/// Whether a browser may be sent to this path of a host of ours: it begins with exactly one `/`, and no byte of it is
/// one that some browser drops or reads as another.
pub fn is_safe_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= LONGEST_PATH
        && path.bytes().all(plain)
}

/// The path that a login comes back to: that of the request, or `/` where that won't do.
pub fn return_path(target: &str) -> &str {
    let ours = target.starts_with(crate::proxy::door::RESERVED_PREFIX);
    if is_safe_path(target) && !ours {
        target
    } else {
        "/"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/", "/")]
    #[case("/a/b?c=d&e=%2f", "/a/b?c=d&e=%2f")]
    #[case("/?next=https://evil.test", "/?next=https://evil.test")]
    #[case("/a//b", "/a//b")]
    #[case("/%5c%5cevil.test", "/%5c%5cevil.test")]
    #[case("//evil.test", "/")]
    #[case("///evil.test", "/")]
    #[case("/\\evil.test", "/")]
    #[case("\\\\evil.test", "/")]
    #[case("https://evil.test/", "/")]
    #[case("javascript:alert(1)", "/")]
    #[case("evil.test", "/")]
    #[case("@evil.test", "/")]
    #[case(".evil.test", "/")]
    #[case("", "/")]
    #[case("*", "/")]
    #[case("/\t/evil.test", "/")]
    #[case("/\n/evil.test", "/")]
    #[case("/a\r\nSet-Cookie: x=y", "/")]
    #[case("/a b", "/")]
    #[case("/\u{a0}", "/")]
    #[case("/\u{7f}", "/")]
    #[case("/.workstead-proxy/callback?ticket=x", "/")]
    #[case("/.workstead-proxy", "/.workstead-proxy")]
    fn threat_open_redirect(#[case] target: &str, #[case] path: &str) {
        assert_eq!(return_path(target), path);
    }

    #[test]
    fn a_path_too_long_for_the_way_is_left_out() {
        let longest = format!("/{}", "a".repeat(LONGEST_PATH - 1));
        assert_eq!(return_path(&longest), longest);
        assert_eq!(return_path(&format!("{longest}a")), "/");
    }

    #[rstest]
    #[case("a=1&b=2", "a", Some("1"))]
    #[case("a=1&a=1", "a", None)]
    #[case("a", "a", Some(""))]
    #[case("a=b=c", "a", Some("b=c"))]
    #[case("a=%41+%2B", "a", Some("A +"))]
    #[case("%61=1", "a", Some("1"))]
    #[case("b=1", "a", None)]
    #[case("", "a", None)]
    fn a_field_counts_when_it_stands_there_once(
        #[case] text: &str,
        #[case] name: &str,
        #[case] value: Option<&str>,
    ) {
        assert_eq!(Pairs::parse(text).unwrap().only(name), value);
    }

    #[rstest]
    #[case("a=%")]
    #[case("a=%4")]
    #[case("a=%zz")]
    #[case("a=%ff")]
    #[case("a=%+1")]
    fn a_broken_encoding_is_none(#[case] text: &str) {
        assert_eq!(Pairs::parse(text), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(pairs in proptest::collection::btree_map(".{1,8}", ".{0,20}", 0..5)) {
            let list: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let text = write(&list);
            let read = Pairs::parse(&text).unwrap();
            for (name, value) in &pairs {
                prop_assert_eq!(read.only(name), Some(value.as_str()));
            }
        }

        #[test]
        fn a_browser_is_never_sent_off_a_host(target in any::<String>()) {
            // As browsers read it: some bytes stand in paths that a strict parser refuses.
            let path = return_path(&target);
            let whole = format!("https://a.ws.example.com{path}");
            let host = whole.trim_start_matches("https://").split(['/', '?', '#', '\\', '@', ':']).next();
            prop_assert_eq!(host, Some("a.ws.example.com"));
            prop_assert!(path.starts_with('/') && !path.starts_with("//"));
            prop_assert!(!path.contains(['\\', '\r', '\n', '\t']));
        }
    }
}
