//! Whether what the plan counts on is there.

use workstead_link::{CREDENTIALS_PATH, Cause, PLAN_VARIABLE, StepFailure};

use super::Context;

/// Takes the step: the plan itself, the volume, the folders of the Secrets, the image of the editor. What is missing is
/// said, and the rest goes on without it.
pub fn check(context: &Context, index: usize, flaw: Option<&str>) {
    context.reporter.begin(index);
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
    if missing.is_empty() {
        return context.reporter.done(index, None);
    }
    let failure = StepFailure {
        cause: Cause::FilesMissing,
        message: missing.join("; "),
        next_step: format!(
            "see whether the Secrets still exist (they are mounted below {CREDENTIALS_PATH}), then restart"
        ),
        ..StepFailure::default()
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
