//! `Cookie` on its way to an app: ours are taken out, and not a byte of the others is changed.

use memchr::{memchr, memmem};

use crate::proxy::session::cookies::is_ours;
use crate::proxy::wire::grammar::trimmed;

/// What names of our cookies have in common. A quick look tells that there is none, which is what most apps' own
/// requests carry.
const COMMON: &[u8] = b"__Host-wsd";

/// Writes the value without our cookies. Says whether anything is left.
pub fn put_without_ours(out: &mut Vec<u8>, value: &[u8]) -> bool {
    if memmem::find(value, COMMON).is_none() {
        out.extend_from_slice(value);
        return true;
    }
    let begin = out.len();
    let mut is_first = true;
    let mut kept = false;
    let mut rest = Some(value);
    while let Some(value) = rest {
        let (pair, others) = match memchr(b';', value).and_then(|end| value.split_at_checked(end)) {
            Some((pair, others)) => (pair, others.strip_prefix(b";")),
            None => (value, None),
        };
        rest = others;
        if is_ours(name_of(pair)) {
            is_first = false;
            continue;
        }
        if kept {
            out.push(b';');
            out.extend_from_slice(pair);
        } else if is_first {
            out.extend_from_slice(pair);
        } else {
            // The blank stood between it and the one that is gone.
            out.extend_from_slice(pair.strip_prefix(b" ").unwrap_or(pair));
        }
        (is_first, kept) = (false, true);
    }
    out.len() > begin
}

/// The name of a pair, as a browser or an app would read it.
pub fn name_of(pair: &[u8]) -> &[u8] {
    let name = memchr(b'=', pair).and_then(|end| pair.get(..end));
    trimmed(name.unwrap_or(pair))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn without(value: &str) -> Option<String> {
        let mut out = Vec::new();
        put_without_ours(&mut out, value.as_bytes()).then(|| String::from_utf8(out).unwrap())
    }

    #[rstest]
    #[case("a=1; b=2", Some("a=1; b=2"))]
    #[case("__Host-wsd=t", None)]
    #[case("a=1; __Host-wsd=t", Some("a=1"))]
    #[case("__Host-wsd=t; a=1", Some("a=1"))]
    #[case("a=1; __Host-wsd=t; b=2", Some("a=1; b=2"))]
    #[case("a=1;__Host-wsd=t;b=2", Some("a=1;b=2"))]
    #[case("__Host-wsd=t; __Host-wsd-n-x=1; a=\"1; 2\"", Some("a=\"1; 2\""))]
    #[case("__Host-wsd-auth=x; __Host-wsd-s-abc=y", None)]
    #[case("__Host-wsd=t;  a=1", Some(" a=1"))]
    #[case(" __Host-wsd =t; a=1", Some("a=1"))]
    #[case("__Host-wsdx=t", Some("__Host-wsdx=t"))]
    #[case("__host-wsd=t; x__Host-wsd=u", Some("__host-wsd=t; x__Host-wsd=u"))]
    #[case("a=__Host-wsd=t", Some("a=__Host-wsd=t"))]
    #[case("a[0]=b c; d@=e,f; =g; h; __Host-wsd", Some("a[0]=b c; d@=e,f; =g; h"))]
    #[case("a=1;; __Host-wsd=t; ;b", Some("a=1;; ;b"))]
    fn session_reaches_the_app_never_and_other_cookies_do_byte_for_byte(
        #[case] value: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(without(value).as_deref(), expected);
    }

    proptest! {
        #[test]
        fn others_stay_as_they_are_and_in_order(pairs in proptest::collection::vec((any::<bool>(), "[a-z@\\[]{1,5}=[!-:<-~]{0,6}"), 1..10)) {
            let text = |ours: bool, pair: &str| if ours { format!("__Host-wsd-n-{pair}") } else { pair.to_owned() };
            let all: Vec<String> = pairs.iter().map(|(ours, pair)| text(*ours, pair)).collect();
            let others: Vec<&str> = pairs.iter().filter(|(ours, _)| !ours).map(|(_, pair)| pair.as_str()).collect();
            let expected = (!others.is_empty()).then(|| others.join("; "));
            prop_assert_eq!(without(&all.join("; ")), expected);
        }
    }
}
