//! A command that runs once the projects are there. What it fails in is said, and stops neither the others nor the editor.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use workstead_link::{Cause, StepFailure};

use super::Context;
use crate::outcome;
use crate::process::Output;
use crate::tail::Redactor;

/// The shell of the image.
const SHELL: &str = "/bin/sh";

/// For a command without a limit of its own.
const USUAL_LIMIT: Duration = Duration::from_secs(600);

/// Takes the step of a command: find its folder, start it, wait for it no longer than it may take.
pub fn run(context: &Context, index: usize, command: &workstead_link::Command) {
    context.reporter.begin(index);
    match attempt(context, command) {
        Ok(()) => context.reporter.done(index, None),
        Err(failure) => context.reporter.failed(index, failure),
    }
}

fn attempt(context: &Context, command: &workstead_link::Command) -> Result<(), StepFailure> {
    let failure = |message: String, next_step: &str| StepFailure {
        cause: Cause::PostStartFailed,
        message: format!("command {} {message}", command.name),
        exit_code: None,
        tail: Vec::new(),
        next_step: next_step.to_owned(),
    };
    let folder = folder(context, command);
    if !folder.is_dir() {
        let message = format!("can't run in {}: there is no such folder", folder.display());
        return Err(failure(
            message,
            "see whether the project was cloned, or correct workingDir",
        ));
    }
    let mut shell = Command::new(SHELL);
    shell.arg("-c").arg(&command.run).current_dir(&folder);
    context.environment.apply(&mut shell);
    let redactor = Redactor::of_workspace(&context.places);
    let no_start = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => failure(
            "can't be started: this image has no /bin/sh".to_owned(),
            "use an image with a shell, or leave postStart out",
        ),
        _ => failure(
            format!("can't be started: {error}"),
            "see what the image's /bin/sh is",
        ),
    };
    let output =
        Output::of(&mut shell, Some(&command.name), redactor, context.clock).map_err(no_start)?;
    let running = context.family.start(shell).map_err(no_start)?;
    let limit = match command.timeout_seconds {
        0 => USUAL_LIMIT,
        seconds => Duration::from_secs(seconds.into()),
    };
    let Some(status) = running.wait(limit) else {
        running.end();
        let message = format!("was ended after {} s", limit.as_secs());
        return Err(StepFailure {
            tail: output.tail(),
            ..failure(
                message,
                "make it faster, let it go on in the background, or raise timeoutSeconds",
            )
        });
    };
    if status.success() {
        return Ok(());
    }
    Err(StepFailure {
        exit_code: status.code(),
        tail: output.tail(),
        ..failure(
            outcome::words(status),
            "correct the command; a restart runs it again",
        )
    })
}

/// Where it runs: where it says, else where the work is done.
fn folder(context: &Context, command: &workstead_link::Command) -> PathBuf {
    match command.working_dir.as_deref() {
        Some(folder) => context.places.named(&context.places.projects(), folder),
        None => context.work_folder(),
    }
}
