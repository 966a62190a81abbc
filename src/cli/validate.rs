//! `workstead validate`: the API server's verdict, without a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::api::GitSync;
use crate::api::gitsync::SyncedKind;
use crate::cli::args::ValidateArgs;
use crate::cli::error::{ANSWER_NO, CliError};
use crate::cli::output::{BAD, FAINT, GOOD, Screen};
use crate::gitsync::rules::{ObjectRules, TreeLimits, TreeRules};
use crate::gitsync::validate_dir;
use crate::model::sync::{Snapshot, SourceError};

/// What was found, for programs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    files: usize,
    objects: usize,
    errors: Vec<ReportedError>,
}

/// An error, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedError {
    code: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    message: String,
}

impl From<&SourceError> for ReportedError {
    fn from(error: &SourceError) -> Self {
        Self {
            code: error.code.to_string(),
            reason: error.code.reason(),
            file: error.file.clone(),
            line: error.line,
            column: error.column,
            object: error.object.clone(),
            message: error.message.clone(),
        }
    }
}

impl ReportedError {
    /// As compilers write it.
    pub fn line(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.file {
            text.push_str(&format!("{file}:"));
            if let Some(line) = self.line {
                text.push_str(&format!("{line}:{}:", self.column.unwrap_or(1)));
            }
            text.push(' ');
        }
        text.push_str(&format!("{} {}: ", self.code, self.reason));
        if let Some(object) = &self.object {
            text.push_str(&format!("{object}: "));
        }
        text.push_str(&self.message);
        text
    }
}

/// Checks folders and files.
pub fn run(arguments: &ValidateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let gitsync = arguments.gitsync.as_deref().map(read_gitsync).transpose()?;
    let mut report = Report::default();
    let mut lines = Vec::new();
    for path in &arguments.paths {
        let (tree, objects) = rules(gitsync.as_ref(), &arguments.namespace, &arguments.ignore)?;
        let snapshot = read(path, &tree, &objects)?;
        report.files += snapshot.files;
        report.objects += snapshot.objects.len();
        lines.extend(snapshot.errors.iter().map(line));
        report
            .errors
            .extend(snapshot.errors.iter().map(ReportedError::from));
    }
    match arguments.output {
        Some(format) => screen.data(format, &report)?,
        None => lines.iter().try_for_each(|line| screen.print(line))?,
    }
    screen.progress(&summary(&report));
    Ok(if report.errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ANSWER_NO.into()
    })
}

fn summary(report: &Report) -> String {
    let Report { files, objects, .. } = report;
    let counted = format!("{files} files, {objects} good objects");
    match report.errors.len() {
        0 => format!("{GOOD}{counted}, no errors{GOOD:#}"),
        1 => format!("{BAD}{counted}, 1 error{BAD:#}"),
        count => format!("{BAD}{counted}, {count} errors{BAD:#}"),
    }
}

/// An error as compilers write it, so that editors can jump there.
pub fn line(error: &SourceError) -> String {
    format!("{error} {FAINT}(docs/errors/{}.md){FAINT:#}\n", error.code)
}

/// The rules of a GitSync, or those that let everything in.
///
/// # Errors
/// When a path or pattern can't be used.
pub fn rules(
    gitsync: Option<&GitSync>,
    namespace: &str,
    ignore: &[String],
) -> Result<(TreeRules, ObjectRules), CliError> {
    let mut patterns = ignore.join("\n");
    let (path, objects) = match gitsync {
        Some(gitsync) => {
            patterns = format!(
                "{}\n{patterns}",
                gitsync.spec.ignore.as_deref().unwrap_or_default()
            );
            let path = gitsync.spec.path.clone().unwrap_or_default();
            // Which namespace the controller lives in, nobody says offline; a GitSync that names the wide kinds is in it.
            let wide = gitsync.spec.allowed_kinds.iter().flatten();
            let is_wide = wide.into_iter().any(|kind| *kind != SyncedKind::Workspace);
            let own = gitsync.metadata.namespace.as_deref().unwrap_or_default();
            (
                path,
                ObjectRules::of(gitsync, if is_wide { own } else { "" }),
            )
        }
        None => (String::new(), ObjectRules::anything(namespace)),
    };
    let tree = TreeRules::new(&path, &patterns, TreeLimits::default())
        .map_err(|error| CliError::undone(error.message))?;
    Ok((tree, objects))
}

/// Reads a folder or a file; the places of its errors begin with the path as it was typed.
///
/// # Errors
/// When it can't be read at all.
pub fn read(path: &Path, tree: &TreeRules, objects: &ObjectRules) -> Result<Snapshot, CliError> {
    let mut snapshot = validate_dir(path, tree, objects).map_err(|error| {
        CliError::from(error).next("name a folder or a YAML file that is there")
    })?;
    let prefix = if path.is_file() {
        path.parent().unwrap_or(Path::new(""))
    } else {
        path
    };
    let prefix = if prefix == Path::new(".") {
        Path::new("")
    } else {
        prefix
    };
    let typed = |file: &str| prefix.join(file).display().to_string();
    for error in &mut snapshot.errors {
        error.file = error.file.as_deref().map(typed);
    }
    for object in snapshot.objects.values_mut() {
        object.file = typed(&object.file);
    }
    Ok(snapshot)
}

/// Reads the one GitSync of a file.
fn read_gitsync(path: &Path) -> Result<GitSync, CliError> {
    let (tree, objects) = rules(None, "default", &[])?;
    let snapshot = read(path, &tree, &objects)?;
    if let Some(error) = snapshot.errors.first() {
        return Err(CliError::no(format!("{} has errors", path.display())).seen(error));
    }
    let mut found = of_kind(&snapshot, SyncedKind::GitSync);
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(serde_json::from_value(value.clone())?),
        _ => Err(CliError::undone(format!(
            "{} does not hold exactly one GitSync",
            PathBuf::from(path).display()
        ))),
    }
}

/// The objects of a kind.
pub fn of_kind(snapshot: &Snapshot, kind: SyncedKind) -> impl Iterator<Item = &serde_json::Value> {
    snapshot
        .objects
        .values()
        .filter(move |object| object.id.kind == kind)
        .map(|object| &object.value)
}
