//! `.env` files, as most programs read them: `NAME=value`, `export NAME=value`, `'as it is'`, `"with \n and \""`, `# remark`.
//! Nothing is expanded: `$NAME` stays what it is.

use std::collections::BTreeMap;

use crate::model::variables::VariableName;
use crate::secrets::document::read::check_value;
use crate::secrets::text::SecretText;

/// Why a file is not read. It repeats nothing of the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {problem}", of(name.as_ref()))]
pub struct DotenvError {
    /// Which line, from 1.
    pub line: usize,
    /// Which variable, if what stands there is the name of one.
    pub name: Option<VariableName>,
    /// What is wrong with it.
    pub problem: &'static str,
}

fn of(name: Option<&VariableName>) -> String {
    name.map_or_else(String::new, |name| format!(" ({name})"))
}

/// Reads a `.env` file. A name that stands twice is an error: programs differ in which of both they take.
///
/// # Errors
/// When a line can't be read.
pub fn read(text: &str) -> Result<BTreeMap<VariableName, SecretText>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let mut variables = BTreeMap::new();
    while let Some((line, name, value)) = reader.next()? {
        let value = SecretText::new(value);
        let at = |name, problem| DotenvError {
            line,
            name,
            problem,
        };
        let name = VariableName::parse(name).map_err(|problem| at(None, problem))?;
        check_value(&name, value.expose()).map_err(|problem| at(Some(name.clone()), problem))?;
        if variables.contains_key(&name) {
            let problem = "the name stands there twice: leave one of them";
            return Err(at(Some(name), problem));
        }
        variables.insert(name, value);
    }
    Ok(variables)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// The next variable: its line, its name and its value.
    fn next(&mut self) -> Result<Option<(usize, &'a str, String)>, DotenvError> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let line = self.rest.split('\n').next().unwrap_or_default();
            let bare = line.trim();
            if !bare.is_empty() && !bare.starts_with('#') {
                break;
            }
            self.skip(line.len());
        }
        let line = self.line;
        let whole = self.rest.split('\n').next().unwrap_or_default();
        let (name, _) = whole.split_once('=').ok_or(DotenvError {
            line,
            name: None,
            problem: "it is no NAME=value",
        })?;
        self.rest = self.rest.get(name.len() + 1..).unwrap_or_default();
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        let at = |problem| DotenvError {
            line,
            name: VariableName::parse(name).ok(),
            problem,
        };
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let value = match self.rest.bytes().next() {
            Some(b'\'') => self
                .quoted('\'')
                .ok_or_else(|| at("its ' is never closed"))?,
            Some(b'"') => {
                let quoted = self
                    .quoted('"')
                    .ok_or_else(|| at("its \" is never closed"))?;
                unescaped(&quoted)
            }
            _ => return Ok(Some((line, name, self.bare()))),
        };
        let after = self.rest.split('\n').next().unwrap_or_default();
        let remark = after.trim();
        if !remark.is_empty() && !remark.starts_with('#') {
            return Err(at("there is more behind its closing quote"));
        }
        self.skip(after.len());
        Ok(Some((line, name, value)))
    }

    /// Until the end of the line or a remark.
    fn bare(&mut self) -> String {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let end = line.char_indices().find(|(index, c)| {
            *c == '#'
                && line
                    .get(..*index)
                    .is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
        });
        let value = line
            .get(..end.map_or(line.len(), |(index, _)| index))
            .unwrap_or_default();
        let value = value.trim().to_owned();
        self.skip(line.len());
        value
    }

    /// What stands between quotes; lines may be among it.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let inner = self.rest.get(1..)?;
        let mut escaped = false;
        let end = inner.char_indices().find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = quote == '"' && *c == '\\' && !escaped;
            ends
        });
        let (end, _) = end?;
        let value = inner.get(..end)?;
        self.line += value.matches('\n').count();
        self.rest = inner.get(end + 1..)?;
        Some(value.replace("\r\n", "\n"))
    }

    /// Goes on behind so many bytes, and the end of the line.
    fn skip(&mut self, bytes: usize) {
        let rest = self.rest.get(bytes..).unwrap_or_default();
        self.rest = rest.strip_prefix('\n').unwrap_or(rest);
        self.line += 1;
    }
}

/// Only what is an escape in every program that reads such files; any other backslash stays.
fn unescaped(quoted: &str) -> String {
    let mut value = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some('t') => value.push('\t'),
            Some(c @ ('"' | '\\' | '$')) => value.push(c),
            other => {
                value.push('\\');
                value.extend(other);
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let read = read(text).unwrap();
        read.iter()
            .map(|(name, value)| format!("{name}={}", value.expose()))
            .collect()
    }

    #[test]
    fn a_file_is_read_as_most_programs_do() {
        let text = "\u{feff}# a remark\n\nA=1\r\n export B = two words # remark\nC='a # $B \\n'\nD=\"x\\ny \\\"z\\\" \\d\"  # remark\nE=\nF=a#b\nG='two\nlines'\nH=#x\nI=a=b";
        assert_eq!(
            shown(text),
            [
                "A=1",
                "B=two words",
                "C=a # $B \\n",
                "D=x\ny \"z\" \\d",
                "E=",
                "F=a#b",
                "G=two\nlines",
                "H=",
                "I=a=b"
            ]
        );
        assert!(shown("").is_empty() && shown("\n#").is_empty());
    }

    #[test]
    fn what_can_not_be_read_is_named_by_its_line_and_never_repeated() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("A='hunter2", 1),
            ("A=\"two\nlines\nB=hunter2", 1),
            ("A='two\nlines'\nB='x' hunter2", 3),
            ("1A=hunter2", 1),
            ("A=1\nA=hunter2", 2),
            ("WORKSTEAD_A=hunter2", 1),
            ("A=1\n\nB=hunter2\0", 3),
        ] {
            let error = read(text).map(drop).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String, lines in "([A-Z]{1,2}=['\"a#\\\\ \n]{0,6}\n){0,4}") {
            let _ = read(&text).map(drop);
            let _ = read(&lines).map(drop);
        }
    }
}
