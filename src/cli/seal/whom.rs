//! Who can open what is sealed: recipients that were named, or those that the installation publishes; and the pin that they
//! are held against.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;

use crate::cli::call::call;
use crate::cli::connect::Connection;
use crate::cli::error::CliError;
use crate::cli::files::{self, PUBLIC};
use crate::cli::seal::args::RecipientsArgs;
use crate::model::names::{RECIPIENTS_CONFIG_MAP, RECIPIENTS_ENTRY};
use crate::secrets::identity::Recipient;
use crate::secrets::recipients::{Recipients, RecipientsError};

/// Recipients, and who named them.
pub struct Whom {
    /// The recipients.
    pub recipients: Recipients,
    /// Who named them.
    pub origin: String,
}

impl Whom {
    /// Those of the arguments; none, if the installation has to be asked.
    ///
    /// # Errors
    /// When one is none. It is not repeated: somebody may have typed an identity.
    pub fn named(arguments: &RecipientsArgs) -> Result<Option<Self>, CliError> {
        if let Some(path) = &arguments.recipients_file {
            let text = fs::read_to_string(path).map_err(|error| {
                CliError::undone(format!("failed to read {}", path.display())).because(error)
            })?;
            return Self::parse(&text, path.display().to_string()).map(Some);
        }
        if arguments.recipient.is_empty() {
            return Ok(None);
        }
        let each = arguments
            .recipient
            .iter()
            .map(|text| Recipient::parse(text));
        let each = each.collect::<Result<_, _>>().map_err(|error| {
            CliError::undone("the word behind --recipient is no recipient").because(error)
        })?;
        Ok(Some(Self {
            recipients: Recipients::of(each),
            origin: "--recipient".to_owned(),
        }))
    }

    /// Those that the installation publishes.
    ///
    /// # Errors
    /// When it publishes none, or they may not be read.
    pub async fn published(connection: &Connection, installation: &str) -> Result<Self, CliError> {
        let origin = format!("ConfigMap {installation}/{RECIPIENTS_CONFIG_MAP}");
        let maps: Api<ConfigMap> = Api::namespaced(connection.client.clone(), installation);
        let map = match maps.get(RECIPIENTS_CONFIG_MAP).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                return Err(CliError::undone(format!("no recipients are published in namespace {installation}"))
                    .seen(&status.message)
                    .next("say where Workstead is: --installation-namespace; or name them: --recipient or --recipients-file"));
            }
            other => call(&format!("read {origin}"), std::future::ready(other)).await?,
        };
        let text = map.data.and_then(|mut data| data.remove(RECIPIENTS_ENTRY));
        Self::parse(&text.unwrap_or_default(), origin)
    }

    fn parse(text: &str, origin: String) -> Result<Self, CliError> {
        let recipients = list(text, &origin)?;
        Ok(Self { recipients, origin })
    }

    /// Whether they are those of a pin.
    ///
    /// # Errors
    /// When they are others, or the pin can't be read.
    pub fn hold_against(&self, pin: &Path) -> Result<Pin, CliError> {
        let shown = pin.display();
        let text = match fs::read_to_string(pin) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Pin::Missing),
            text => text.map_err(|error| {
                CliError::undone(format!("failed to read {shown}")).because(error)
            })?,
        };
        let pinned = list(&text, &shown.to_string())?;
        if pinned.is_same_as(&self.recipients) {
            return Ok(Pin::Fits);
        }
        Err(CliError::no(format!("the recipients are not those that {shown} pins"))
            .seen(format!("pinned: {}", pinned.fingerprints()))
            .seen(format!("found:  {} ({})", self.recipients.fingerprints(), self.origin))
            .next(format!(
                "ask an administrator whether the identities were exchanged, and which fingerprints they have now: \
                 if so, take {shown} away and seal again; if not, somebody else wants to read what you seal"
            )))
    }

    /// Writes the pin.
    ///
    /// # Errors
    /// When it can't be written, or somebody else did meanwhile.
    pub fn write_pin(&self, pin: &Path) -> Result<(), CliError> {
        let head = format!(
            "Whom sets of this repository are sealed for, from {}.\nThe line above each recipient is its fingerprint.",
            self.origin
        );
        let text = self.recipients.to_text(&head);
        files::create(pin, text.as_bytes(), PUBLIC).map_err(|error| {
            CliError::undone(format!("failed to write {}", pin.display())).because(error)
        })
    }
}

/// What a pin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// These recipients.
    Fits,
    /// Nothing yet.
    Missing,
}

fn list(text: &str, origin: &str) -> Result<Recipients, CliError> {
    Recipients::parse(text).map_err(|error: RecipientsError| {
        CliError::no(format!("{origin} is no list of recipients"))
            .because(error)
            .next("write one recipient a line, age1…; # begins a remark")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::Identity;

    fn whom() -> Whom {
        Whom {
            recipients: Recipients::of(vec![Identity::generate().recipient()]),
            origin: "--recipient".to_owned(),
        }
    }

    #[test]
    fn a_pin_lets_the_same_recipients_pass_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let pin = folder.path().join("pin");
        let (one, other) = (whom(), whom());
        assert_eq!(one.hold_against(&pin).unwrap(), Pin::Missing);
        one.write_pin(&pin).unwrap();
        assert_eq!(one.hold_against(&pin).unwrap(), Pin::Fits);
        let error = other.hold_against(&pin).unwrap_err();
        assert_eq!(
            error.evidence,
            [
                format!("pinned: {}", one.recipients.fingerprints()),
                format!("found:  {} (--recipient)", other.recipients.fingerprints()),
            ]
        );
        assert!(other.write_pin(&pin).is_err(), "a pin is never overwritten");
        fs::write(&pin, "").unwrap();
        assert!(one.hold_against(&pin).is_err(), "an empty pin pins nothing");
    }
}
