//! `workstead vars rotate`: the same plain text, sealed for the recipients of today.

use std::process::ExitCode;

use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::show::count;
use crate::cli::vars::RotateArgs;
use crate::cli::vars::file::SetFile;
use crate::cli::vars::personal::{open_own, refuse_sops};
use crate::cli::vars::whom::{Today, fewer};
use crate::secrets::identity::Identities;
use crate::secrets::seal::seal;

/// Seals sets again. One file that fails is left as it was, and keeps no other from being sealed.
pub async fn run(arguments: &RotateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let mut failures = Vec::new();
    let mut files = Vec::new();
    for path in &arguments.files {
        match read(path) {
            Ok(file) => files.push(file),
            Err(error) => failures.push(error),
        }
    }
    let mut sealed = 0;
    if !files.is_empty() {
        let identities = arguments.personal.need(screen)?;
        let today = Today::find(&arguments.recipients, &arguments.cluster, screen).await?;
        for file in &files {
            match rotate(file, &identities, &today) {
                Ok(said) => {
                    sealed += file.sets.len();
                    said.iter()
                        .try_for_each(|line| screen.print(&format!("{line}\n")))?;
                }
                Err(error) => failures.push(error),
            }
        }
    }
    screen.progress(&format!(
        "sealed {} again, {} failed",
        count(sealed, "set"),
        count(failures.len(), "file")
    ));
    if sealed > 0 {
        screen.progress(
            "it does not undo an exposure: who could open the old text still can, in Git too. Change those values where they come from",
        );
    }
    let Some(last) = failures.pop() else {
        return Ok(ExitCode::SUCCESS);
    };
    for failure in &failures {
        screen.error(failure);
    }
    Err(last)
}

fn read(path: &std::path::Path) -> Result<SetFile, CliError> {
    let file = SetFile::read(path)?;
    file.sets.iter().try_for_each(refuse_sops)?;
    Ok(file)
}

/// Seals all sets of a file; says of each what was done.
fn rotate(file: &SetFile, identities: &Identities, today: &Today) -> Result<Vec<String>, CliError> {
    let mut draft = file.draft();
    let mut said = Vec::new();
    for (index, set) in file.sets.iter().enumerate() {
        let own = open_own(set, identities)?;
        let whom = today.and(own.recipient(identities));
        // Byte for byte: no serial changes, and no remark is lost.
        let text = seal(&own.opened.plaintext, whom.recipients.as_slice()).map_err(|error| {
            CliError::no(format!("failed to seal {}", set.shown())).because(error)
        })?;
        draft.put(index, &text)?;
        let fingerprints = whom.recipients.fingerprints();
        said.push(format!(
            "{}: sealed again; {fingerprints} can open it",
            set.shown()
        ));
        let warning = fewer(&set.spec.sealed, &whom);
        said.extend(warning.map(|warning| format!("{}: {warning}", set.shown())));
    }
    draft.write(file)?;
    Ok(said)
}
