//! The last lines of an output, and nothing secret in them.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use workstead_link::{CREDENTIALS_PATH, FILES_PATH, SECRETS_VARIABLE, TAIL_BYTES, TAIL_LINES};

use crate::places::Places;

/// How much of a line is read; the rest of it is passed over.
const LINE_READ: usize = 8 * 1024;

/// How much of a line is kept. A secret that the end of the reading cut in two begins after this.
const LINE_KEPT: usize = 4 * 1024;

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Parts that are shorter are no secrets, and hiding them would garble every line.
const SHORTEST: usize = 4;

/// Takes secret values out of a text. It holds them, so it can't be printed.
#[derive(Default)]
pub struct Redactor {
    /// The longest first: one may contain another.
    secrets: Vec<String>,
}

impl Redactor {
    /// For whatever a workspace was given: the files of Git credentials, the files of sealed sets, and the variables that
    /// [`SECRETS_VARIABLE`] names.
    pub fn of_workspace(places: &Places) -> Self {
        let names = env::var_os(SECRETS_VARIABLE);
        Self::of(places, names.as_deref().and_then(OsStr::to_str))
    }

    fn of(places: &Places, variables: Option<&str>) -> Self {
        let mut secrets = Vec::new();
        // A user's name is often a word such as "git", unless it is a token.
        let shortest = |name: &str| if name == "username" { 12 } else { SHORTEST };
        for secret in entries(&places.at(CREDENTIALS_PATH)) {
            for (name, path) in entries(&secret.1) {
                // What is public.
                if !matches!(name.as_str(), "known_hosts" | "ca.crt") {
                    add(&mut secrets, &read(&path), shortest(&name));
                }
            }
        }
        let mut open = vec![places.at(FILES_PATH)];
        while let Some(folder) = open.pop() {
            for (_, path) in entries(&folder) {
                if path.is_dir() {
                    open.push(path);
                } else {
                    add(&mut secrets, &read(&path), SHORTEST);
                }
            }
        }
        for name in variables.into_iter().flat_map(|names| names.split(',')) {
            // An empty name is none, and the system would panic at it.
            if name.is_empty() {
                continue;
            }
            let value = env::var_os(name).unwrap_or_default();
            add(&mut secrets, value.as_bytes(), SHORTEST);
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without them.
    pub fn clean(&self, text: &str) -> String {
        self.secrets
            .iter()
            .filter(|secret| text.contains(secret.as_str()))
            .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// What lies in a volume's folder, without the kubelet's folders of older versions.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.path())
        })
        .filter(|(name, _)| !name.starts_with(".."))
        .collect()
}

/// What can't be read can't be printed by a program of the same user either.
fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

/// Adds each line of a value: output is looked at line by line.
fn add(secrets: &mut Vec<String>, value: &[u8], shortest: usize) {
    let value = String::from_utf8_lossy(value);
    let lines = value.lines().map(str::trim);
    secrets.extend(lines.filter(|l| l.len() >= shortest).map(str::to_owned));
}

/// The last lines of an output.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        let line = cut(line, TAIL_BYTES / 4);
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > TAIL_BYTES || self.lines.len() > TAIL_LINES {
            match self.lines.pop_front() {
                Some(line) => self.bytes -= line.len() + 1,
                None => return,
            }
        }
    }

    /// All of them.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// A line with at most so many bytes; where something is missing it says so.
fn cut(line: &str, bytes: usize) -> String {
    if line.len() <= bytes {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(bytes.saturating_sub(3));
    let kept = line.get(..end).unwrap_or_default();
    format!("{kept}…")
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a line break, or the end of the output.
    Line,
    /// With a carriage return: the next one is to be written over it.
    Over,
}

/// Calls back with every line, without its end and anything that a terminal would not print, and with none of the
/// memory that an endless line asks for.
pub fn each_line(mut reader: impl BufRead, redactor: &Redactor, mut line: impl FnMut(&str, End)) {
    let mut read = Vec::new();
    let mut give = |read: &mut Vec<u8>, end| {
        let text = redactor.clean(&String::from_utf8_lossy(read));
        let text: String = text
            .chars()
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        read.clear();
        line(&cut(&text, LINE_KEPT), end);
    };
    loop {
        let bytes = match reader.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // It ends the output as its end does.
            Err(_) => break,
        };
        let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = LINE_READ.saturating_sub(read.len());
        read.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        let kind = end.and_then(|end| bytes.get(end)).copied();
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        match kind {
            Some(b'\n') => give(&mut read, End::Line),
            // Before a line break it belongs to it.
            Some(_) if matches!(reader.fill_buf(), Ok([b'\n', ..])) => {}
            Some(_) => give(&mut read, End::Over),
            None => {}
        }
    }
    if !read.is_empty() {
        give(&mut read, End::Line);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn lines(text: &[u8], redactor: &Redactor) -> Vec<(String, End)> {
        let mut found = Vec::new();
        each_line(text, redactor, |line, end| {
            found.push((line.to_owned(), end))
        });
        found
    }

    #[test]
    fn lines_end_with_either_mark_or_with_the_output() {
        let found = lines(b"a\r\nb\rc\n\nd\x1b[0m", &Redactor::default());
        let expected = [
            ("a", End::Line),
            ("b", End::Over),
            ("c", End::Line),
            ("", End::Line),
            ("d\u{fffd}[0m", End::Line),
        ];
        assert_eq!(found, expected.map(|(line, end)| (line.to_owned(), end)));
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 1_000_000];
        text.extend_from_slice(b"\nnext\n");
        let found = lines(&text, &Redactor::default());
        assert_eq!(found.len(), 2);
        assert!(found[0].0.len() <= LINE_KEPT && found[0].0.ends_with('…'));
        assert_eq!(found[1].0, "next");
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_even_where_the_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            root: folder.path().to_owned(),
            ..Places::default()
        };
        let secret = places.credential("team");
        fs::create_dir_all(&secret).unwrap();
        for (key, value) in [
            ("password", "canary-one\n"),
            ("bearerToken", "canary-one-and-more"),
            ("identity", "-----BEGIN KEY-----\nc2VjcmV0\n"),
            ("username", "git"),
            ("known_hosts", "git.example.com ssh-ed25519 AAAA"),
        ] {
            fs::write(secret.join(key), value).unwrap();
        }
        // As the kubelet makes it: a link for each first part.
        let version = places.at(FILES_PATH).join("..2026");
        fs::create_dir_all(version.join("~/.ssh")).unwrap();
        fs::write(version.join("~/.ssh/id"), "sealed-line-1\nsealed-line-2").unwrap();
        symlink("..2026", places.at(FILES_PATH).join("..data")).unwrap();
        symlink("..data/~", places.at(FILES_PATH).join("~")).unwrap();
        let redactor = Redactor::of(&places, Some("PATH,,NO_SUCH_VARIABLE"));
        let path = env::var_os("PATH").unwrap().into_string().unwrap();
        assert_eq!(
            redactor.clean(&format!("sealed-line-2 of sealed-line-1 and {path}.")),
            "*** of *** and ***."
        );
        assert_eq!(
            redactor.clean("git canary-one, canary-one-and-more c2VjcmV0 ssh-ed25519"),
            "git ***, *** *** ssh-ed25519"
        );
        for before in (LINE_KEPT - 20..LINE_KEPT + 2).chain(LINE_READ - 12..LINE_READ + 2) {
            let text = format!("{}canary-one", "x".repeat(before));
            let (line, _) = lines(text.as_bytes(), &redactor).remove(0);
            assert!(!line.contains("canary"), "{before}");
        }
    }

    #[test]
    fn a_tail_keeps_the_last_lines_within_both_limits() {
        let mut tail = Tail::default();
        for n in 0..100 {
            tail.push(&n.to_string());
        }
        assert_eq!(tail.lines().len(), TAIL_LINES);
        assert_eq!(tail.lines().last().map(String::as_str), Some("99"));
        for _ in 0..30 {
            tail.push(&"ü".repeat(10_000));
        }
        let bytes: usize = tail.lines().iter().map(|line| line.len() + 1).sum();
        assert!(bytes <= TAIL_BYTES, "{bytes}");
        assert!(!tail.lines().is_empty());
    }
}
