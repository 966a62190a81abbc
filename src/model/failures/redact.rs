//! Text that users see, from logs and servers: without obvious credentials, control characters, or too many lines.

use std::iter::Peekable;

/// The most lines of a log that a status holds.
const LINES: usize = 20;
/// The most bytes of evidence that a status holds.
pub const BYTES: usize = 2048;
/// What stands in for a credential.
const HIDDEN: &str = "***";
/// Words that name a secret when `=` or `:` and a value follow them, also as the end of a longer word.
const SECRET_WORDS: [&str; 9] = [
    "password",
    "passwd",
    "token",
    "secret",
    "apikey",
    "api_key",
    "api-key",
    "authorization",
    "access_key",
];

/// Removes credentials in URLs and after words such as `password=`, and control characters (a log must not steer the
/// terminal of whoever reads it). Lines stay lines.
pub fn redact(text: &str) -> String {
    text.lines().map(redact_line).collect::<Vec<_>>().join("\n")
}

/// The end of a log: the last 20 lines that have text, within 2 KiB, redacted.
pub fn log_tail(text: &str) -> String {
    let clean = redact(text);
    let lines: Vec<&str> = clean
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let tail = lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default()
        .join("\n");
    cut_front(&tail, BYTES - 256).to_owned()
}

/// A message in one line, redacted, within `most` bytes.
pub fn one_line(text: &str, most: usize) -> String {
    let clean = redact(text);
    let joined = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    cut_back(&joined, most)
}

/// Keeps evidence within its limit.
pub fn cap(text: String) -> String {
    if text.len() <= BYTES {
        text
    } else {
        cut_back(&text, BYTES)
    }
}

fn cut_front(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default()
}

fn cut_back(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

fn redact_line(line: &str) -> String {
    let printable: String = without_escapes(line);
    hide_values(&hide_userinfo(&printable))
}

/// Drops ANSI escape sequences and turns other control characters into spaces.
fn without_escapes(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.peek() == Some(&'[') {
                chars.next();
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
        } else if c.is_control() {
            clean.push(' ');
        } else {
            clean.push(c);
        }
    }
    clean
}

/// `scheme://user:password@host` becomes `scheme://***@host`.
fn hide_userinfo(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        // A second scheme may follow at once: it is looked at in its own turn. What is behind it is not looked at here: a
        // long line full of schemes would take the square of its length.
        let end = after.find("://").unwrap_or(after.len());
        let (near, _) = after.split_at(end);
        let end = near
            .find(|c: char| c.is_whitespace() || "/?#\"'`<>|\\".contains(c))
            .unwrap_or(end);
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                clean.push_str(HIDDEN);
                clean.push('@');
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

/// `token=abc` becomes `token=***`, `Authorization: Bearer abc` becomes `Authorization: ***`.
fn hide_values(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut clean = String::with_capacity(line.len());
    let words = secret_words(&lower);
    let mut words = words.iter().copied().peekable();
    let mut at = 0;
    while let Some((start, end)) = next_value(&lower, &mut words, at) {
        clean.push_str(line.get(at..start).unwrap_or_default());
        clean.push_str(HIDDEN);
        at = end;
    }
    clean.push_str(line.get(at..).unwrap_or_default());
    clean
}

/// Where words that name a secret begin and end. Looked for once: a search for the next of them from each on would take
/// the square of the length of a line that is full of one and lacks another.
fn secret_words(lower: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = SECRET_WORDS
        .iter()
        .flat_map(|word| lower.match_indices(word))
        .map(|(at, word)| (at, at + word.len()))
        .collect();
    found.sort_unstable();
    found
}

/// Where the next secret value begins and ends, from a position on. `lower` is ASCII-lowered, so positions agree.
fn next_value(
    lower: &str,
    words: &mut Peekable<impl Iterator<Item = (usize, usize)>>,
    from: usize,
) -> Option<(usize, usize)> {
    let mut search = from;
    loop {
        while words.next_if(|(at, _)| *at < search).is_some() {}
        let (_, after_word) = words.next()?;
        let tail = lower.get(after_word..)?;
        // `"token": "abc"`: quotes may stand around the word and the value.
        let quoted = tail.trim_start_matches(['"', '\'']);
        let Some(value) = quoted.trim_start().strip_prefix(['=', ':']) else {
            search = after_word;
            continue;
        };
        let value = value.trim_start();
        let value = ["bearer ", "basic "]
            .iter()
            .find_map(|scheme| value.strip_prefix(scheme))
            .unwrap_or(value);
        let value = value.trim_start_matches(['"', '\'', ' ']);
        let start = lower.len() - value.len();
        if value.starts_with(HIDDEN) {
            search = after_word;
            continue;
        }
        let length = value
            .find(|c: char| c.is_whitespace() || "\"'`,;&)]}".contains(c))
            .unwrap_or(value.len());
        if length == 0 {
            search = after_word;
            continue;
        }
        return Some((start, start + length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "clone https://u:p@h.example/x failed",
        "clone https://***@h.example/x failed"
    )]
    #[case("https://ghp_abc@h/x", "https://***@h/x")]
    #[case("postgres://u:p@ss@h:5432/db", "postgres://***@h:5432/db")]
    #[case("https://h/x?token=abc&y=1", "https://h/x?token=***&y=1")]
    #[case("MY_PASSWORD=hunter2 next", "MY_PASSWORD=*** next")]
    #[case("Authorization: Bearer abc.def", "Authorization: Bearer ***")]
    #[case("{\"token\": \"abc\"}", "{\"token\": \"***\"}")]
    #[case("a token is missing", "a token is missing")]
    #[case("unexpected token: }", "unexpected token: }")]
    #[case("mail a@b.example", "mail a@b.example")]
    #[case("\u{1b}[31mred\u{1b}[0m\u{7}", "red ")]
    fn credentials_and_control_characters_do_not_pass(#[case] text: &str, #[case] clean: &str) {
        assert_eq!(redact(text), clean);
    }

    #[test]
    fn the_tail_of_a_log_has_at_most_twenty_lines_and_two_kibibytes() {
        let log: String = (0..100).map(|n| format!("line {n}\n\n")).collect();
        let tail = log_tail(&log);
        assert_eq!(tail.lines().count(), 20);
        assert!(tail.ends_with("line 99"));
        let long = "ä".repeat(5000);
        assert!(log_tail(&long).len() <= BYTES);
    }

    proptest! {
        #[test]
        fn no_text_makes_redaction_panic_or_grow_without_bound(text in "\\PC{0,300}|[a-z=:/@ \"\u{1b}\\[\n]{0,300}|(token|password|://|=|:| |x){0,40}") {
            let _ = redact(&text);
            prop_assert!(log_tail(&text).len() <= BYTES);
            prop_assert!(one_line(&text, 200).len() <= 200);
        }

        #[test]
        fn redacting_twice_changes_nothing_more(text in "(token|password|https://|u:p@h|=|:| |x|&){0,20}") {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }

        #[test]
        fn the_password_of_a_url_never_passes(user in "[a-z]{1,8}", password in "[A-Z0-9]{6,12}", before in "[a-z ]{0,10}") {
            let text = format!("{before}https://{user}:{password}@h.example/x");
            prop_assert!(!redact(&text).contains(&password));
        }
    }
}
