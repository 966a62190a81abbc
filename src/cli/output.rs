//! Where answers go: text with colours on a terminal, JSON and YAML for programs, tables.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::cli::error::CliError;

/// Good.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// On its way.
pub const MOVING: Style = AnsiColor::Yellow.on_default();
/// Bad.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headings.
pub const HEADING: Style = Style::new().bold();
/// What is less important.
pub const FAINT: Style = Style::new().dimmed();

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DataFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Standard output for answers, standard error for progress and errors.
pub struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

impl Screen {
    /// The process's own. Colours are left out where it is no terminal, and where NO_COLOR asks for it.
    pub fn standard() -> Self {
        Self {
            out: Box::new(anstream::stdout()),
            err: Box::new(anstream::stderr()),
        }
    }

    /// Writes a part of the answer.
    ///
    /// # Errors
    /// When it can't be written. A reader that went away (`| head`) is no error: nobody is left to tell.
    pub fn print(&mut self, text: &str) -> Result<(), CliError> {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(CliError::undone("failed to write the answer").because(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a value for programs.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn data(&mut self, format: DataFormat, value: &impl Serialize) -> Result<(), CliError> {
        let text = match format {
            DataFormat::Json => serde_json::to_string_pretty(value)? + "\n",
            DataFormat::Yaml => crate::yaml::write(value)?,
        };
        self.print(&text)
    }

    /// Says what is happening meanwhile.
    pub fn progress(&mut self, text: &str) {
        let _ = writeln!(self.err, "{FAINT}{text}{FAINT:#}");
    }

    /// Writes to standard error what stands in the way of an answer.
    pub fn complain(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
    }

    /// Shows an error, and gives its exit code.
    pub fn error(&mut self, error: &CliError) -> ExitCode {
        let _ = self.write_error(error);
        error.exit()
    }

    fn write_error(&mut self, error: &CliError) -> io::Result<()> {
        writeln!(self.err, "{BAD}error:{BAD:#} {}", error.cause)?;
        for line in error.evidence.iter().flat_map(|evidence| evidence.lines()) {
            writeln!(self.err, "  {line}")?;
        }
        if let Some(step) = &error.next_step {
            writeln!(self.err, "{HEADING}next step:{HEADING:#} {step}")?;
        }
        self.err.flush()
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// A table in columns as wide as their widest cell.
pub fn table(header: &[&str], rows: &[Vec<Cell>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let titles: Vec<Cell> = header
        .iter()
        .map(|title| Cell::styled(*title, HEADING))
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let last = row.len().saturating_sub(1);
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let Cell {
                text: content,
                style,
            } = cell;
            text.push_str(&format!("{style}{content}{style:#}"));
            if index < last {
                let fill = width.saturating_sub(content.chars().count()) + 3;
                text.extend(std::iter::repeat_n(' ', fill));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_the_last_one_is_not_filled() {
        let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
        let rows = vec![
            vec![Cell::from("a"), "Running".into()],
            vec!["longer".into(), "".into()],
        ];
        assert_eq!(
            plain(&table(&["NAME", "STATE"], &rows)),
            "NAME     STATE\na        Running\nlonger   \n"
        );
    }
}
