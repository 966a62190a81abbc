//! `workstead validate`: the API server's verdict, without a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::api::GitSync;
use crate::api::gitsync::SyncedKind;
use crate::cli::args::ValidateArgs;
use crate::cli::error::{ANSWER_NO, CliError};
use crate::cli::output::{BAD, FAINT, GOOD, MOVING, Screen};
use crate::cli::show::count;
use crate::gitsync::folder::{FolderError, Folders};
use crate::gitsync::rules::{ObjectRules, TreeLimits, TreeRules};
use crate::gitsync::snapshot::build_together;
use crate::gitsync::tree::Tree;
use crate::model::sync::{Snapshot, SourceError, SourceWarning};

/// What was found, for programs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    files: usize,
    objects: usize,
    errors: Vec<ReportedError>,
    warnings: Vec<ReportedWarning>,
}

/// A warning, for programs.
#[derive(Debug, Serialize)]
struct ReportedWarning {
    file: String,
    line: u32,
    column: u32,
    object: String,
    message: String,
}

impl From<&SourceWarning> for ReportedWarning {
    fn from(warning: &SourceWarning) -> Self {
        let SourceWarning {
            file,
            line,
            column,
            object,
            message,
        } = warning.clone();
        Self {
            file,
            line,
            column,
            object,
            message,
        }
    }
}

/// An error, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedError {
    /// Its code, which the documentation explains.
    pub code: String,
    /// The same in a word.
    pub reason: &'static str,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
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

/// Checks folders and files, all of them together.
pub fn run(arguments: &ValidateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let gitsync = arguments.gitsync.as_deref().map(read_gitsync).transpose()?;
    let (tree, mut objects) = rules(gitsync.as_ref(), &arguments.namespace, &arguments.ignore)?;
    objects.must_run = true;
    let (trees, failures) = read_all(&arguments.paths, &tree);
    let snapshot = build_together(trees, &objects);
    let report = Report {
        files: snapshot.files,
        objects: snapshot.objects.len(),
        errors: snapshot.errors.iter().map(ReportedError::from).collect(),
        warnings: snapshot
            .warnings
            .iter()
            .map(ReportedWarning::from)
            .collect(),
    };
    match arguments.output {
        Some(format) => screen.data(format, &report)?,
        None => {
            let mut errors = snapshot.errors.iter();
            errors.try_for_each(|error| screen.print(&line(error)))?;
            let mut warnings = snapshot.warnings.iter();
            warnings.try_for_each(|warning| screen.print(&format!("{warning}\n")))?;
        }
    }
    screen.progress(&summary(&report));
    verdict(&report.errors, failures, screen)
}

/// How a check ends. What could not be looked at weighs more than what is wrong in the rest.
///
/// # Errors
/// The last failure, after the others were shown.
pub fn verdict(
    errors: &[ReportedError],
    mut failures: Vec<CliError>,
    screen: &mut Screen,
) -> Result<ExitCode, CliError> {
    if let Some(last) = failures.pop() {
        for failure in &failures {
            screen.error(failure);
        }
        return Err(last);
    }
    Ok(if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ANSWER_NO.into()
    })
}

/// Reads folders and files, no file twice; and says what could not be read.
pub fn read_all(paths: &[PathBuf], rules: &TreeRules) -> (Vec<(PathBuf, Tree)>, Vec<CliError>) {
    let mut folders = Folders::default();
    let mut trees = Vec::new();
    let mut failures = Vec::new();
    for path in paths {
        match folders.read(path, rules) {
            Ok(read) => {
                if read.files.is_empty() && read.errors.is_empty() && path.is_dir() {
                    failures.push(no_files(path));
                }
                trees.push((folder_of(path), read));
            }
            Err(error) => failures.push(unreadable(error)),
        }
    }
    (trees, failures)
}

/// A wrong folder and an empty one must not look like one whose files are good.
fn no_files(path: &Path) -> CliError {
    CliError::undone(format!("no YAML below {}", path.display()))
        .next("name the folder with the files; their names end in .yaml or .yml, and hidden ones are left out")
}

fn unreadable(error: FolderError) -> CliError {
    let is_missing = matches!(error, FolderError::Read { .. } | FolderError::Unreadable(_));
    let error = CliError::from(error);
    if is_missing {
        error.next("name a folder or a YAML file that is there, or - for standard input")
    } else {
        error
    }
}

fn summary(report: &Report) -> String {
    let counted = format!(
        "{}, {}",
        count(report.files, "file"),
        count(report.objects, "good object")
    );
    let warned = match report.warnings.len() {
        0 => String::new(),
        warnings => format!(", {MOVING}{}{MOVING:#}", count(warnings, "warning")),
    };
    match report.errors.len() {
        0 => format!("{GOOD}{counted}, no errors{GOOD:#}{warned}"),
        errors => format!("{BAD}{counted}, {}{BAD:#}{warned}", count(errors, "error")),
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
    let read = Folders::default().read(path, tree).map_err(unreadable)?;
    Ok(build_together(vec![(folder_of(path), read)], objects))
}

/// What stands before the paths of files, so that they are named as they were typed.
fn folder_of(path: &Path) -> PathBuf {
    let folder = if path.is_dir() {
        path
    } else if path.is_file() {
        path.parent().unwrap_or(Path::new(""))
    } else {
        // A pipe is named in full already, and so is standard input.
        Path::new("")
    };
    let is_here = folder == Path::new(".");
    if is_here {
        PathBuf::new()
    } else {
        folder.to_owned()
    }
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
