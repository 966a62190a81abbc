//! Our cookies: which they are, how they are read from a request, how they are written into an answer.
//!
//! A browser sends cookies without saying who set them, and a sibling host can set many for the parent domain. So a name
//! counts byte for byte or not at all, and a name that stands there twice is nobody's.

use http::HeaderValue;

/// The session, on a workspace's host.
pub const SESSION: &str = "__Host-wsd";
/// The session of the login itself, on the auth host.
pub const AUTH: &str = "__Host-wsd-auth";
/// Before the name of an attempt: the secret that ties a login to the browser that began it.
pub const NONCE_PREFIX: &str = "__Host-wsd-n-";
/// Before the `state` of a login at the provider, on the auth host.
pub const STATE_PREFIX: &str = "__Host-wsd-s-";

/// Longest `Set-Cookie` that every browser keeps: name, value and attributes.
pub const LONGEST: usize = 4096;

/// Whether a cookie of this name is ours: never sent to a workspace, never taken from one.
pub fn is_ours(name: &[u8]) -> bool {
    name == SESSION.as_bytes()
        || name == AUTH.as_bytes()
        || name.starts_with(NONCE_PREFIX.as_bytes())
        || name.starts_with(STATE_PREFIX.as_bytes())
}

/// One cookie of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie<'a> {
    /// As it stands between two `;`, without the one space that browsers put before it.
    pub raw: &'a [u8],
    /// What stands before the first `=`; all of it where there is none.
    pub name: &'a [u8],
    /// What stands behind it.
    pub value: &'a [u8],
}

/// Reads the value of one `Cookie` field. No quotes, no `$Version`, no trimming: browsers know none of these, and each is
/// a way for a foreign name to look like ours. What has no `=` has an empty name, as in browsers.
pub fn read(field: &[u8]) -> impl Iterator<Item = Cookie<'_>> {
    field.split(|byte| *byte == b';').map(|part| {
        let raw = part.strip_prefix(b" ").unwrap_or(part);
        let mut halves = raw.splitn(2, |byte| *byte == b'=');
        let first = halves.next().unwrap_or_default();
        match halves.next() {
            Some(value) => Cookie {
                raw,
                name: first,
                value,
            },
            None => Cookie {
                raw,
                name: b"",
                value: first,
            },
        }
    })
}

/// The cookies of one name in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// None.
    Absent,
    /// Exactly one, with this value.
    One(&'a [u8]),
    /// Two or more: one of them is not from us, and nothing tells which.
    Twice,
}

impl<'a> Found<'a> {
    /// Looks through one more `Cookie` field.
    pub fn and_in(self, field: &'a [u8], name: &str) -> Self {
        read(field)
            .filter(|cookie| cookie.name == name.as_bytes())
            .fold(self, |found, cookie| match found {
                Self::Absent => Self::One(cookie.value),
                Self::One(_) | Self::Twice => Self::Twice,
            })
    }

    /// The value, where exactly one is there.
    pub fn one(self) -> Option<&'a [u8]> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Twice => None,
        }
    }
}

/// Looks for a name in all `Cookie` fields of a request.
pub fn find<'a>(fields: impl IntoIterator<Item = &'a [u8]>, name: &str) -> Found<'a> {
    fields
        .into_iter()
        .fold(Found::Absent, |found, field| found.and_in(field, name))
}

/// The cookies whose names begin so, each with what its name goes on with. Names that stand there twice are left out.
pub fn find_all<'a>(
    fields: impl IntoIterator<Item = &'a [u8]>,
    prefix: &str,
) -> Vec<(&'a [u8], &'a [u8])> {
    let mut all: Vec<(&[u8], &[u8])> = fields
        .into_iter()
        .flat_map(read)
        .filter_map(|cookie| Some((cookie.name.strip_prefix(prefix.as_bytes())?, cookie.value)))
        .collect();
    all.sort_by_key(|(name, _)| *name);
    let twice = |at: usize, name: &[u8]| {
        let same = |other: Option<&(&[u8], &[u8])>| other.is_some_and(|(other, _)| *other == name);
        same(at.checked_sub(1).and_then(|before| all.get(before))) || same(all.get(at + 1))
    };
    all.iter()
        .enumerate()
        .filter(|(at, (name, _))| !twice(*at, name))
        .map(|(_, cookie)| *cookie)
        .collect()
}

/// Why a cookie can't be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// Browsers would drop it without a word.
    #[error("a cookie of {0} bytes is longer than browsers keep ({LONGEST})")]
    TooLong(usize),
    /// A byte that ends a value, or that no header has.
    #[error("a cookie may hold letters, digits, '-', '_' and '.' alone")]
    Grammar,
}

/// A `Set-Cookie` of ours.
///
/// `Lax`, because `Strict` is not sent when the link came from another site, and the login would go round for ever.
///
/// # Errors
/// When the value can't stand in a cookie, or is too long for browsers.
pub fn set(name: &str, value: &str, seconds: u64) -> Result<HeaderValue, CookieError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.bytes().chain(value.bytes()).all(plain) {
        return Err(CookieError::Grammar);
    }
    let line = format!("{name}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Lax");
    if line.len() > LONGEST {
        return Err(CookieError::TooLong(line.len()));
    }
    HeaderValue::try_from(line).map_err(|_| CookieError::Grammar)
}

/// A `Set-Cookie` that takes a cookie of ours away.
///
/// # Errors
/// When the name can't stand in a cookie.
pub fn remove(name: &str) -> Result<HeaderValue, CookieError> {
    set(name, "", 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("__Host-wsd", true)]
    #[case("__Host-wsd-auth", true)]
    #[case("__Host-wsd-n-1", true)]
    #[case("__Host-wsd-s-abc", true)]
    #[case("__Host-wsd-n-", true)]
    #[case("__host-wsd", false)]
    #[case("__Host-WSD", false)]
    #[case("__Host-wsd-n", false)]
    #[case("__Host-wsd-authority", false)]
    #[case("__Host-wsd2", false)]
    #[case(" __Host-wsd", false)]
    #[case("$Version", false)]
    #[case("", false)]
    fn a_name_is_ours_byte_for_byte_or_not_at_all(#[case] name: &str, #[case] ours: bool) {
        assert_eq!(is_ours(name.as_bytes()), ours);
    }

    #[rstest]
    #[case::alone(&["__Host-wsd=a"], Found::One(b"a"))]
    #[case::among_others(&["x=1; __Host-wsd=a; y=2"], Found::One(b"a"))]
    #[case::without_space(&["x=1;__Host-wsd=a"], Found::One(b"a"))]
    #[case::in_crumbs(&["x=1", "__Host-wsd=a"], Found::One(b"a"))]
    #[case::value_with_equals(&["__Host-wsd=a=b"], Found::One(b"a=b"))]
    #[case::empty_value(&["__Host-wsd="], Found::One(b""))]
    #[case::none(&[], Found::Absent)]
    #[case::another_case(&["__host-wsd=a"], Found::Absent)]
    #[case::longer(&["__Host-wsd2=a; __Host-wsd-n-1=b"], Found::Absent)]
    #[case::no_value(&["__Host-wsd"], Found::Absent)]
    fn a_cookie_is_read_by_its_exact_name(#[case] fields: &[&str], #[case] found: Found<'_>) {
        let fields = fields.iter().map(|field| field.as_bytes());
        assert_eq!(find(fields, SESSION), found);
    }

    #[rstest]
    #[case::twice(&["__Host-wsd=a; __Host-wsd=a"], Found::Twice)]
    #[case::twice_in_crumbs(&["__Host-wsd=a", "__Host-wsd=b"], Found::Twice)]
    #[case::thrice(&["__Host-wsd=a; __Host-wsd=b", "__Host-wsd=c"], Found::Twice)]
    #[case::empty_name(&["=__Host-wsd=evil"], Found::Absent)]
    #[case::legacy_version(&["$Version=1; $Path=/; __Host-wsd=a"], Found::One(b"a"))]
    #[case::legacy_name(&["$__Host-wsd=evil"], Found::Absent)]
    #[case::two_spaces(&["x=1;  __Host-wsd=evil"], Found::Absent)]
    #[case::tab(&["x=1;\t__Host-wsd=evil"], Found::Absent)]
    #[case::no_break_space(&["x=1; \u{a0}__Host-wsd=evil"], Found::Absent)]
    #[case::wide_space(&["x=1; \u{2000}__Host-wsd=evil"], Found::Absent)]
    #[case::space_behind(&["__Host-wsd =evil"], Found::Absent)]
    #[case::comma(&["x=1, __Host-wsd=evil"], Found::Absent)]
    #[case::quotes_hide_nothing(&["x=\"1; __Host-wsd=a; y=\""], Found::One(b"a"))]
    fn threat_cookie_tossing(#[case] fields: &[&str], #[case] found: Found<'_>) {
        let fields = fields.iter().map(|field| field.as_bytes());
        assert_eq!(find(fields, SESSION), found);
    }

    #[test]
    fn attempts_are_found_by_prefix_and_never_twice() {
        let fields: [&[u8]; 2] = [
            b"__Host-wsd-n-b=2; x=1; __Host-wsd-n-a=1",
            b"__Host-wsd-n-c=3; __Host-wsd-n-c=4; __Host-wsd=s",
        ];
        let found = find_all(fields, NONCE_PREFIX);
        assert_eq!(found, [(&b"a"[..], &b"1"[..]), (&b"b"[..], &b"2"[..])]);
    }

    #[test]
    fn threat_session_readable_by_siblings() {
        let line = set(SESSION, "a.b-c_d", 60).unwrap();
        let text = line.to_str().unwrap();
        assert_eq!(
            text,
            "__Host-wsd=a.b-c_d; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        // With a Domain, browsers refuse the prefix.
        assert!(!text.to_ascii_lowercase().contains("domain"));
        for name in [SESSION, AUTH, NONCE_PREFIX, STATE_PREFIX] {
            assert!(name.starts_with("__Host-"));
        }
    }

    #[rstest]
    #[case("a;b")]
    #[case("a b")]
    #[case("a\r\nSet-Cookie: x")]
    #[case("a,b")]
    #[case("ä")]
    fn a_value_that_would_end_the_cookie_is_never_written(#[case] value: &str) {
        assert_eq!(set(SESSION, value, 60), Err(CookieError::Grammar));
    }

    #[test]
    fn a_cookie_that_browsers_would_drop_is_an_error_here() {
        assert!(set(SESSION, &"a".repeat(4000), 60).is_ok());
        let longer = set(SESSION, &"a".repeat(4096), 60);
        assert!(matches!(longer, Err(CookieError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn what_was_set_is_found_among_whatever_else(
            value in "[A-Za-z0-9_.-]{0,60}",
            before in proptest::collection::vec(any::<u8>(), 0..60),
            after in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            prop_assume!(!before.windows(SESSION.len()).chain(after.windows(SESSION.len())).any(|w| w == SESSION.as_bytes()));
            let field = [&before[..], b"; ", SESSION.as_bytes(), b"=", value.as_bytes(), b"; ", &after[..]].concat();
            prop_assert_eq!(find([&field[..]], SESSION), Found::One(value.as_bytes()));
        }

        #[test]
        fn the_parts_of_a_field_are_the_field(field in proptest::collection::vec(any::<u8>(), 0..200)) {
            let parts: Vec<&[u8]> = read(&field).map(|cookie| cookie.raw).collect();
            let spaces = field.len() + 1 - parts.iter().map(|part| part.len() + 1).sum::<usize>();
            prop_assert!(spaces <= parts.len());
            for cookie in read(&field) {
                let whole = [cookie.name, b"=", cookie.value].concat();
                prop_assert!(cookie.raw == whole || (cookie.name.is_empty() && cookie.raw == cookie.value));
            }
        }
    }
}
