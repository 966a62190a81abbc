//! `workstead identity retire`: an identity goes, unless a set could not be opened any more.

use std::process::ExitCode;

use crate::api::WorkspaceVariables;
use crate::cli::error::CliError;
use crate::cli::identity::RetireArgs;
use crate::cli::identity::list::all_sets;
use crate::cli::identity::ring::Ring;
use crate::cli::output::Screen;
use crate::cli::show::{count, counted};
use crate::secrets::error::SetError;
use crate::secrets::identity::{Identities, file_without};
use crate::secrets::set::open_set;

/// Sets that are named; the others are counted.
const NAMED: usize = 20;

/// Takes an identity out.
pub async fn run(arguments: &RetireArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let fingerprint = &arguments.fingerprint;
    let ring = Ring::read(&arguments.installation).await?;
    let rest = file_without(&ring.text, fingerprint).ok_or_else(|| {
        CliError::undone(format!("the installation has no identity {fingerprint}"))
            .next("workstead identity list shows them")
    })?;
    let remaining = Identities::parse(&rest).map_err(|_| {
        CliError::no(format!("{fingerprint} is the installation's only identity"))
            .next("make another one first: workstead identity new --install")
    })?;
    let sets = all_sets(&ring.client).await?;
    screen.progress(&format!(
        "looking at {} whether the others open them",
        count(sets.len(), "set")
    ));
    let needing: Vec<String> = sets
        .iter()
        .filter(|set| needs_another(set, &ring.identities, &remaining))
        .map(shown)
        .collect();
    if !needing.is_empty() {
        return Err(refused(fingerprint, &needing));
    }
    ring.write(&rest).await?;
    screen.progress(&format!(
        "identity {fingerprint} is retired: {} left. Who has it can still open what was sealed for it, in Git too: change those values",
        counted(remaining.iter().count(), "identity", "identities"),
    ));
    Ok(ExitCode::SUCCESS)
}

/// Whether a set opens with all, and not with those that remain. Its status would not tell: one that was sealed for both is
/// opened by either.
fn needs_another(set: &WorkspaceVariables, all: &Identities, remaining: &Identities) -> bool {
    let opens = |identities| {
        let opened = open_set(set.spec.format, &set.spec.sealed, identities, None);
        !matches!(opened, Err(SetError::NoMatchingIdentity { .. }))
    };
    !opens(remaining) && opens(all)
}

fn shown(set: &WorkspaceVariables) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "{}/{}",
        part(&set.metadata.namespace),
        part(&set.metadata.name)
    )
}

fn refused(fingerprint: &str, needing: &[String]) -> CliError {
    let error = CliError::no(format!(
        "identity {fingerprint} is not retired: {} can be opened by no other",
        count(needing.len(), "set")
    ));
    let named = needing.iter().take(NAMED);
    let error = named.fold(error, |error, name| {
        error.seen(format!("WorkspaceVariables {name}"))
    });
    let error = match needing.len().checked_sub(NAMED) {
        Some(more) if more > 0 => error.seen(format!("and {more} more")),
        _ => error,
    };
    error.next(
        "seal them anew for the published recipients (workstead seal), apply them, then retire it",
    )
}
