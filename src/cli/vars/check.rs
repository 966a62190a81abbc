//! `workstead vars check`: sets in files, from the outside; with an identity from the inside too.
//!
//! From the outside it is the verdict of `validate`, of which it keeps what is about sets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::api::gitsync::SyncedKind;
use crate::cli::error::CliError;
use crate::cli::output::{BAD, FAINT, GOOD, Screen};
use crate::cli::seal::check_owner;
use crate::cli::show::count;
use crate::cli::validate::{ReportedError, read_all, rules, verdict};
use crate::cli::vars::CheckArgs;
use crate::cli::vars::file::FoundSet;
use crate::gitsync::snapshot::build_together;
use crate::gitsync::tree::Tree;
use crate::model::sync::{Snapshot, SourceError};
use crate::secrets::error::SetError;
use crate::secrets::identity::Identities;
use crate::secrets::set::open_set;
use crate::yaml::{self, Limits};

/// Namespace of sets that name none, where nobody says another one: it only has to be one.
const ANY_NAMESPACE: &str = "default";

/// What was found, for programs.
#[derive(Debug, Default, Serialize)]
struct Report {
    sets: usize,
    /// How many were opened; null, where no identity was named.
    opened: Option<usize>,
    errors: Vec<ReportedError>,
}

/// Sets by file and the line on which their document begins.
type Found = BTreeMap<(String, u32), FoundSet>;

/// Checks sets.
pub fn run(arguments: &CheckArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let identities = arguments.personal.read(screen)?;
    let typed = arguments.namespace.as_deref();
    let (tree, mut objects) = rules(None, typed.unwrap_or(ANY_NAMESPACE), &arguments.ignore)?;
    objects.must_run = true;
    let (trees, failures) = read_all(&arguments.paths, &tree);
    let about = About::of(&trees);
    let snapshot = build_together(trees, &objects);
    let errors = snapshot.errors.iter().filter(|error| about.concerns(error));
    let mut report = Report {
        sets: about.sets.len(),
        opened: None,
        errors: errors.map(ReportedError::from).collect(),
    };
    if let Some(identities) = &identities {
        look_inside(&mut report, &snapshot, &about.sets, identities, typed);
    }
    match arguments.output {
        Some(format) => screen.data(format, &report)?,
        None => report
            .errors
            .iter()
            .try_for_each(|error| screen.print(&line(error)))?,
    }
    screen.progress(&summary(&report));
    verdict(&report.errors, failures, screen)
}

/// What files say about sets.
struct About {
    sets: Found,
    /// Files that speak of the kind: what can't be read in them may be a set.
    files: BTreeSet<String>,
}

impl About {
    fn of(trees: &[(PathBuf, Tree)]) -> Self {
        let mut about = Self {
            sets: Found::new(),
            files: BTreeSet::new(),
        };
        for (folder, tree) in trees {
            for file in &tree.files {
                about.add(&folder.join(&file.path), &file.content);
            }
        }
        about
    }

    fn add(&mut self, path: &Path, content: &[u8]) {
        let kind = SyncedKind::WorkspaceVariables.name().as_bytes();
        if !content.windows(kind.len()).any(|part| part == kind) {
            return;
        }
        let shown = path.display().to_string();
        for document in yaml::read(content, Limits::default()).into_iter().flatten() {
            if let Some(Ok(set)) = FoundSet::of(&document.root, path) {
                self.sets.insert((shown.clone(), set.begin.line), set);
            }
        }
        self.files.insert(shown);
    }

    fn concerns(&self, error: &SourceError) -> bool {
        match &error.object {
            Some(object) => object.starts_with(SyncedKind::WorkspaceVariables.name()),
            None => error
                .file
                .as_ref()
                .is_some_and(|file| self.files.contains(file)),
        }
    }
}

/// Opens what can be opened, and looks at what only shows then.
fn look_inside(
    report: &mut Report,
    snapshot: &Snapshot,
    sets: &Found,
    identities: &Identities,
    namespace: Option<&str>,
) {
    let mut opened = 0;
    let objects = snapshot.objects.values();
    for object in objects.filter(|object| object.id.kind == SyncedKind::WorkspaceVariables) {
        let Some(set) = sets.get(&(object.file.clone(), object.line)) else {
            continue;
        };
        match inside(set, identities, namespace) {
            Ok(()) => opened += 1,
            // Sealed for others: they can look.
            Err(Wrong::Set(SetError::NoMatchingIdentity { .. })) => {}
            Err(wrong) => {
                opened += 1;
                let (code, reason, problem) = wrong.told();
                report.errors.push(ReportedError {
                    code: code.to_owned(),
                    reason,
                    file: Some(object.file.clone()),
                    line: Some(set.sealed_at.line),
                    column: Some(set.sealed_at.column),
                    object: Some(set.object()),
                    message: format!("spec.sealed: {problem}"),
                });
            }
        }
    }
    report.opened = Some(opened);
    let place = |error: &ReportedError| (error.file.clone(), error.line, error.column);
    report.errors.sort_by_key(place);
}

/// What is wrong inside of a set.
enum Wrong {
    Set(SetError),
    Owner(CliError),
}

impl Wrong {
    fn told(self) -> (&'static str, &'static str, String) {
        match self {
            Self::Set(error) => (error.code(), error.reason(), error.to_string()),
            // The controller says it under this code too.
            Self::Owner(error) => {
                let evidence = error.evidence.join(": ");
                (
                    "WV107",
                    "InvalidContent",
                    format!("{}: {evidence}", error.cause),
                )
            }
        }
    }
}

fn inside(set: &FoundSet, identities: &Identities, namespace: Option<&str>) -> Result<(), Wrong> {
    let opened = open_set(set.spec.format, &set.spec.sealed, identities, None);
    let document = opened.map_err(Wrong::Set)?.document;
    let mut place = set.location(&document.binding);
    if let (None, Some(typed)) = (&set.namespace, namespace) {
        typed.clone_into(&mut place.namespace);
    }
    let binding = document.binding.check(document.scope, &place);
    binding.map_err(Wrong::Set)?;
    check_owner(&document.audience).map_err(Wrong::Owner)
}

fn line(error: &ReportedError) -> String {
    let page = if error.code.starts_with("WV") {
        "docs/tasks/variables-refused.md".to_owned()
    } else {
        format!("docs/errors/{}.md", error.code)
    };
    format!("{} {FAINT}({page}){FAINT:#}\n", error.line())
}

fn summary(report: &Report) -> String {
    let inside = match report.opened {
        None => "not opened: --identity looks inside too".to_owned(),
        Some(opened) if opened < report.sets => {
            let others = report.sets - opened;
            format!("{opened} opened, {others} not: wrong from the outside, or sealed for others")
        }
        Some(_) => "all opened".to_owned(),
    };
    let sets = count(report.sets, "set");
    match report.errors.len() {
        0 => format!("{GOOD}{sets}, no errors{GOOD:#} ({inside})"),
        errors => format!("{BAD}{sets}, {}{BAD:#} ({inside})", count(errors, "error")),
    }
}
