//! Whether what the plan counts on is there, and the files of sealed sets in HOME.

use std::env;
use std::path::PathBuf;

use workstead_link::{CREDENTIALS_PATH, Cause, PLAN_VARIABLE, StepFailure};

use super::Context;
use super::home::{Home, Outcome};

/// What waits until the projects are there.
pub struct Rest {
    missing: Vec<String>,
    home: Home,
}

/// Takes the step: the plan itself, the volume, the folders of the Secrets, the image of the editor, the files in HOME. What
/// is missing is said, and all else goes on without it. Gives what is to be done once the projects are there, if anything.
pub fn check(context: &Context, index: usize, flaw: Option<&str>) -> Option<Rest> {
    context.reporter.begin(index);
    let missing = missing(context, flaw);
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = match Home::of(home.as_deref(), &context.plan, &context.places) {
        Ok(home) => home,
        Err(outcome) => {
            conclude(context, index, &missing, &outcome);
            return None;
        }
    };
    let outcome = home.link();
    if !outcome.later.is_empty() {
        return Some(Rest { missing, home });
    }
    conclude(context, index, &missing, &outcome);
    None
}

/// Ends the step that a file of a project held up.
pub fn finish(context: &Context, index: usize, rest: &Rest) {
    let mut outcome = rest.home.link();
    outcome.give_up_waiting();
    conclude(context, index, &rest.missing, &outcome);
}

fn missing(context: &Context, flaw: Option<&str>) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(flaw) = flaw {
        missing.push(format!("{PLAN_VARIABLE} can't be read: {flaw}"));
    }
    let plan = &context.plan;
    let projects = context.places.projects();
    if !plan.projects.is_empty() && !projects.is_dir() {
        missing.push(format!("there is no folder {}", projects.display()));
    }
    for credential in &plan.credentials {
        let folder = context.places.credential(&credential.name);
        let has_files = folder
            .read_dir()
            .is_ok_and(|mut files| files.next().is_some());
        if !has_files {
            let (name, folder) = (&credential.name, folder.display());
            missing.push(format!("the Secret {name} is not in {folder}"));
        }
    }
    if let Some(editor) = &plan.editor {
        let folder = context.places.at(&editor.folder);
        if !folder.is_dir() {
            let (name, folder) = (&editor.name, folder.display());
            missing.push(format!("the image of the editor {name} is not at {folder}"));
        }
    }
    missing
}

fn conclude(context: &Context, index: usize, missing: &[String], outcome: &Outcome) {
    let unlinked = outcome.in_words();
    let failure = match (missing.is_empty(), unlinked) {
        (true, None) => return context.reporter.done(index, None),
        (true, Some(message)) => StepFailure {
            cause: Cause::FilesNotLinked,
            message,
            next_step: "make room in HOME, or give the file another path in its set; then restart"
                .to_owned(),
            ..StepFailure::default()
        },
        (false, unlinked) => StepFailure {
            cause: Cause::FilesMissing,
            message: missing
                .iter()
                .cloned()
                .chain(unlinked)
                .collect::<Vec<_>>()
                .join("; "),
            next_step: format!(
                "see whether the Secrets still exist (they are mounted below {CREDENTIALS_PATH}), then restart"
            ),
            ..StepFailure::default()
        },
    };
    context.reporter.failed(index, failure);
}

/// For a network that a newer Workstead made up.
pub fn unknown_network() -> StepFailure {
    StepFailure {
        cause: Cause::NetworkNotReady,
        message: "this supervisor does not know the kind of network that the workspace is to have"
            .to_owned(),
        next_step: "restart the workspace, so that it gets the tools of the installed version"
            .to_owned(),
        ..StepFailure::default()
    }
}
