//! Start commands.

use std::collections::BTreeSet;

use workstead_link::Command;

use crate::api::projects::PostStartCommand;
use crate::api::workspace::Failure;
use crate::model::duration::Span;
use crate::model::inside::projects::{ShortName, refuse_parts};
use crate::model::workspace::config;

/// How long a command may take that says nothing.
const TIMEOUT: Span = Span::from_seconds(15 * 60);
/// The longest that a command may ask for.
const LONGEST: Span = Span::from_seconds(24 * 3600);
/// The shortest.
const SHORTEST: Span = Span::from_seconds(1);

/// Checks commands. Their order is the author's.
pub(super) fn validated(written: &[PostStartCommand]) -> Result<Vec<Command>, Failure> {
    let mut names = BTreeSet::new();
    written
        .iter()
        .map(|command| {
            let field = format!("spec.postStart[{}]", command.name);
            let name = ShortName::new(&command.name).map_err(|why| config(&field, &why))?;
            if !names.insert(name.clone()) {
                return Err(config(
                    &field,
                    "two commands have this name: give each its own",
                ));
            }
            one(command, name, &field)
        })
        .collect()
}

fn one(command: &PostStartCommand, name: ShortName, field: &str) -> Result<Command, Failure> {
    let run = command.run.as_str();
    if run.trim().is_empty() {
        return Err(config(
            &format!("{field}.run"),
            "there is no command: write one",
        ));
    }
    if run.contains('\0') {
        return Err(config(
            &format!("{field}.run"),
            "a NUL character can't be passed to a shell: remove it",
        ));
    }
    if let Some(folder) = &command.working_dir {
        check_folder(folder).map_err(|why| config(&format!("{field}.workingDir"), &why))?;
    }
    let timeout = match &command.timeout {
        None => TIMEOUT,
        Some(text) => timeout(text).map_err(|why| config(&format!("{field}.timeout"), &why))?,
    };
    Ok(Command {
        name: name.to_string(),
        run: run.to_owned(),
        working_dir: command.working_dir.clone(),
        // At most a day of seconds: it fits.
        timeout_seconds: u32::try_from(timeout.seconds_up()).unwrap_or(u32::MAX),
    })
}

fn check_folder(folder: &str) -> Result<(), String> {
    let said =
        "write a folder without '..', from /projects on unless it begins with '/': for example api";
    if folder.is_empty() || folder.len() > 512 {
        return Err(format!("it has 1 to 512 characters: {said}"));
    }
    refuse_parts(folder, said)
}

fn timeout(text: &crate::api::shared::DurationText) -> Result<Span, String> {
    let span = Span::try_from(text).map_err(|error| error.to_string())?;
    if !(SHORTEST..=LONGEST).contains(&span) {
        return Err(format!("{span} can't be: write {SHORTEST} to {LONGEST}"));
    }
    Ok(span)
}
