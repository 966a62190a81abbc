//! Identities of the person who typed the command. They open sets on this machine alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::variables::SealedFormat;
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::seal::read_secret;
use crate::cli::vars::file::FoundSet;
use crate::secrets::document::Document;
use crate::secrets::error::SetError;
use crate::secrets::identity::{Identities, Recipient};
use crate::secrets::open::{Opened, open};

/// Who opens a set.
#[derive(Args, Debug)]
pub struct PersonalArgs {
    /// A file or pipe with identities of yours, as workstead identity new and age-keygen write it
    #[arg(
        long,
        value_name = "FILE",
        env = "WORKSTEAD_IDENTITY",
        hide_env_values = true
    )]
    identity: Option<PathBuf>,
}

/// A set that was opened.
pub struct OwnSet {
    /// What was sealed, byte for byte, and by which identity it was opened.
    pub opened: Opened,
    /// What it says.
    pub document: Document,
}

impl PersonalArgs {
    /// Reads them; none, if none were named.
    ///
    /// # Errors
    /// When the file holds something else. Nothing of it is repeated.
    pub fn read(&self, screen: &mut Screen) -> Result<Option<Identities>, CliError> {
        let Some(path) = &self.identity else {
            return Ok(None);
        };
        let shown = path.display();
        let bytes = read_secret(path)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let identities = Identities::parse(text).map_err(|error| {
            let wrong = CliError::no(format!("{shown} holds no identities")).because(error);
            if text.contains("BEGIN AGE ENCRYPTED FILE") || text.starts_with("age-encryption.org") {
                return wrong.next(format!(
                    "it is sealed itself: hand it over opened, --identity <(age -d {shown})"
                ));
            }
            wrong.next("workstead identity new -o identity.txt makes one")
        })?;
        if others_may_read(path) {
            screen.progress(&format!(
                "others can read {shown}, and what is sealed for you with it: chmod 600 {shown}"
            ));
        }
        Ok(Some(identities))
    }

    /// Reads them, where nothing can be done without.
    ///
    /// # Errors
    /// When none were named, or the file holds something else.
    pub fn need(&self, screen: &mut Screen) -> Result<Identities, CliError> {
        self.read(screen)?.ok_or_else(|| {
            CliError::undone("no identity was named that could open it").next(
                "name one that is among the recipients: --identity FILE, or WORKSTEAD_IDENTITY=FILE. \
                 Without one, seal the values anew: workstead seal. To get one: workstead identity new -o identity.txt, \
                 and ask somebody who can open it for workstead vars rotate with your public key among the recipients",
            )
        })
    }
}

/// Whether somebody else can read a file. Of a pipe nobody asks.
fn others_may_read(path: &Path) -> bool {
    let metadata = fs::metadata(path);
    metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0)
}

/// Refuses a set that another program edits and seals.
///
/// # Errors
/// When it is a document of SOPS.
pub fn refuse_sops(set: &FoundSet) -> Result<(), CliError> {
    if set.spec.format != SealedFormat::Sops {
        return Ok(());
    }
    let error = CliError::no(format!("{} is a document of SOPS", set.shown()));
    Err(error.next(
        "sops itself does this: write spec.sealed to a file of its own, use sops edit or sops updatekeys there, and put the \
         result back",
    ))
}

/// Opens a set of the format that is sealed again here, and checks that it belongs where it is.
///
/// # Errors
/// When it can't be opened, or would be refused.
pub fn open_own(set: &FoundSet, identities: &Identities) -> Result<OwnSet, CliError> {
    refuse_sops(set)?;
    let refused = |error: SetError| {
        let code = error.code();
        CliError::no(format!("{} can't be used ({code})", set.shown())).because(error)
    };
    let opened = open(&set.spec.sealed, identities, None).map_err(|error| match error {
        SetError::NoMatchingIdentity { .. } => not_ours(set, identities),
        other => refused(other),
    })?;
    let document = Document::read(&opened.plaintext).map_err(refused)?;
    let place = set.location(&document.binding);
    let binding = &document.binding;
    binding.check(document.scope, &place).map_err(refused)?;
    Ok(OwnSet { opened, document })
}

fn not_ours(set: &FoundSet, identities: &Identities) -> CliError {
    let held: Vec<String> = identities.fingerprints().map(ToString::to_string).collect();
    CliError::no(format!("{} is sealed for others", set.shown()))
        .seen(format!("your identities: {}", held.join(", ")))
        .next(
            "ask somebody who can open it for workstead vars rotate with your public key among the recipients, or seal the \
             values anew: workstead seal",
        )
}

impl OwnSet {
    /// The recipient that it was opened as.
    pub fn recipient(&self, identities: &Identities) -> Option<Recipient> {
        let by = &self.opened.by;
        let mut all = identities.iter();
        let found = all.find(|identity| identity.fingerprint() == by);
        found.map(|identity| identity.recipient())
    }
}
