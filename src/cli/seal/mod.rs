//! `workstead seal`: from values to a WorkspaceVariables that may lie in a repository.
//!
//! Nothing that is secret is written to a disk, logged or shown. What can be refused is refused before anybody is asked for
//! a value, and before anything is written.

mod args;
mod ask;
mod object;
mod settle;
mod sources;
mod whom;

use std::path::Path;
use std::process::ExitCode;

use zeroize::Zeroizing;

use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::output::Screen;
use crate::cli::seal::object::Kept;
use crate::cli::seal::settle::{Typed, audience};
use crate::cli::seal::sources::Sources;
use crate::cli::show::count;
use crate::secrets::document::{Document, Draft};
use crate::secrets::error::Location;
use crate::secrets::seal::seal;

pub use args::{RecipientsArgs, SealArgs};
pub use object::is_set;
pub use settle::check_owner;
pub use sources::read as read_secret;
pub use whom::{Pin, Whom};

/// Seals a set.
pub async fn run(arguments: SealArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let sources = Sources::of(&arguments)?;
    let named = Whom::named(&arguments.recipients)?;
    if !arguments.allow_plaintext {
        sources.refuse_exposed()?;
    }
    let set = sources.read_set()?;
    let typed = Typed::from(&arguments);
    let (whom, place) = whom_and_where(&arguments, named, &typed, &set).await?;
    let fingerprints = whom.recipients.fingerprints();
    screen.progress(&format!("recipients: {fingerprints} ({})", whom.origin));
    let output = Output::of(&arguments, &whom, &place)?;
    let answers = ask::ask(&sources.asked)?;
    let gathered = sources.gather(set, answers)?;
    let document = typed.document(gathered.draft, &place)?;
    let sealed = sealed(&document, &whom)?;
    let next_step = output.next_step();
    output.write(screen, sealed, &whom, &place)?;
    screen.progress(&summary(&document, &place, &fingerprints));
    screen.progress(&next_step);
    Ok(ExitCode::SUCCESS)
}

/// For whom, and where. The cluster is asked only for what nobody said.
async fn whom_and_where(
    arguments: &SealArgs,
    named: Option<Whom>,
    typed: &Typed,
    set: &Draft,
) -> Result<(Whom, Location), CliError> {
    if let Some(whom) = named {
        return Ok((whom, typed.place(set, None)?));
    }
    let connection = connect(&arguments.cluster).await.map_err(|error| {
        let step = "name a kubeconfig, or seal without a cluster: --recipient or --recipients-file";
        error.next(step)
    })?;
    let place = typed.place(set, Some(&connection.namespace))?;
    let installation = &arguments.recipients.installation_namespace;
    let whom = Whom::published(&connection, installation).await?;
    Ok((whom, place))
}

/// The armored text of a set.
///
/// # Errors
/// When it is empty, or would be refused.
pub fn sealed(document: &Document, whom: &Whom) -> Result<String, CliError> {
    if document.env.is_empty() && document.files.is_empty() {
        return Err(
            CliError::no("there is no variable and no file to seal").next(
                "write env or files into the set, or name what to seal: --env-file, --file, --ask",
            ),
        );
    }
    let refused = || CliError::no("this set would be refused");
    document.check().map_err(|error| refused().because(error))?;
    let plaintext = document.write()?;
    // What the controller could not read again must not look sealed.
    let again: Zeroizing<Vec<u8>> = Document::read(&plaintext)
        .map_err(|error| refused().because(error))?
        .write()?;
    if *again != *plaintext {
        return Err(CliError::undone(
            "what was written does not read back as the same set",
        ));
    }
    seal(&plaintext, whom.recipients.as_slice())
        .map_err(|error| CliError::no("failed to seal").because(error))
}

/// Where things go: looked at before anything is asked, written when all is sealed.
struct Output<'a> {
    file: Option<&'a Path>,
    new_pin: Option<&'a Path>,
    kept: Kept,
}

impl<'a> Output<'a> {
    fn of(arguments: &'a SealArgs, whom: &Whom, place: &Location) -> Result<Self, CliError> {
        let file = arguments.output.as_deref();
        let pin = arguments.recipients.pin.as_deref();
        if file.is_some() && file == pin {
            return Err(CliError::undone("--pin and -o name the same file"));
        }
        let new_pin = match pin {
            Some(pin) if whom.hold_against(pin)? == Pin::Missing => Some(pin),
            _ => None,
        };
        let kept = file
            .map(|file| object::may_replace(file, place))
            .transpose()?;
        Ok(Self {
            file,
            new_pin,
            kept: kept.unwrap_or_default(),
        })
    }

    fn write(
        self,
        screen: &mut Screen,
        sealed: String,
        whom: &Whom,
        place: &Location,
    ) -> Result<(), CliError> {
        let text = object::write(sealed, place, self.kept)?;
        // The pin first: sealed once more it is held against it, whatever fails now.
        if let Some(pin) = self.new_pin {
            whom.write_pin(pin)?;
            screen.progress(&format!("pinned the recipients in {}", pin.display()));
        }
        match self.file {
            None => screen.print(&text),
            Some(file) => files::replace(file, text.as_bytes()).map_err(|error| {
                CliError::undone(format!("failed to write {}", file.display())).because(error)
            }),
        }
    }

    fn next_step(&self) -> String {
        let pin = self.new_pin.map(|pin| format!(" and {}", pin.display()));
        let pin = pin.unwrap_or_default();
        match self.file {
            Some(file) => format!("next step: commit {}{pin}", file.display()),
            None => format!("next step: write it to a file with -o, and commit that{pin}"),
        }
    }
}

fn summary(document: &Document, place: &Location, fingerprints: &str) -> String {
    format!(
        "sealed {} and {} for {place}: scope {:?}, for {}; {fingerprints} can open it",
        count(document.env.len(), "variable"),
        count(document.files.len(), "file"),
        document.scope,
        audience(&document.audience),
    )
}
