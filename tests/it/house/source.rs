//! Reading our own source, roughly: comments and tests taken out, lines kept in their places.

use std::path::{Path, PathBuf};

/// A source file.
pub struct File {
    /// From src/ on.
    pub path: String,
    /// All of it.
    pub whole: String,
    /// Without comments, and without the tests at its end.
    pub code: String,
}

impl File {
    /// Whether it belongs to a room.
    pub fn is_in(&self, room: &str) -> bool {
        self.path.starts_with(&format!("{room}/")) || self.path == format!("{room}.rs")
    }

    /// The lines of code that are so, as `src/<path>:<number>`.
    pub fn places(&self, is_so: impl Fn(&str) -> bool) -> Vec<String> {
        self.code
            .lines()
            .enumerate()
            .filter(|(_, line)| is_so(line))
            .map(|(number, _)| format!("src/{}:{}", self.path, number + 1))
            .collect()
    }
}

/// Where the project lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of src/ but those that are only tests.
pub fn files() -> Vec<File> {
    let src = root().join("src");
    let mut paths = Vec::new();
    collect(&src, &mut paths);
    paths.sort();
    let files: Vec<File> = paths
        .into_iter()
        .map(|path| {
            let whole = std::fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(&src)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let code = code(&whole);
            File { path, whole, code }
        })
        .collect();
    assert!(files.len() > 20, "the source is not where it is looked for");
    files
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // `mod tests;` and what lies beneath it; `mod fixtures;`, which tests of several rooms share.
        if name == "tests" || name == "fixtures" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|end| end == "rs") {
            paths.push(path);
        }
    }
}

/// The code of a file: comments blanked, and nothing after `#[cfg(test)]` of a module.
fn code(whole: &str) -> String {
    let mut out = String::new();
    let mut lines = whole.lines().peekable();
    while let Some(line) = lines.next() {
        let next_is_module = lines.peek().is_some_and(|next| next.starts_with("mod "));
        if line == "#[cfg(test)]" && next_is_module {
            break;
        }
        let line = match line.find("//") {
            // Not the slashes of a URL in a text.
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        };
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Whether what stands at a place of a line is the end of a longer word.
pub fn continues(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    before.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The words that follow a prefix, each with its line; all of them where braces follow.
pub fn after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if continues(code, at) {
            continue;
        }
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(|word| (line, word))),
            None => found.push((line, word(rest))),
        }
    }
    found
}

/// The first word of each member of a group in braces, whose opening brace is gone.
fn members(group: &str) -> Vec<String> {
    let mut members = Vec::new();
    let (mut depth, mut start) = (1, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            members.push(word(group[start..at].trim_start()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn words_after_a_prefix_are_found_alone_and_in_braces() {
    let code = "use crate::api::X;\nuse crate::{model::{self, a::B}, render::Y};\nnotcrate::yaml\n";
    let found: Vec<String> = after(code, "crate::")
        .into_iter()
        .map(|(_, word)| word)
        .collect();
    assert_eq!(found, ["api", "model", "render"]);
}

#[test]
fn comments_and_tests_are_no_code() {
    let whole = "use crate::a; // crate::b\nlet url = \"https://x\";\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}\n";
    assert_eq!(code(whole), "use crate::a; \nlet url = \"https://x\";\n");
}
