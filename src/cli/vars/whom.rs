//! For whom a set is sealed again: as `seal` finds it. The text itself does not tell for whom it was sealed.

use crate::cli::args::ClusterArgs;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::seal::{Pin, RecipientsArgs, Whom};
use crate::cli::show::count;
use crate::secrets::identity::Recipient;
use crate::secrets::open::count_recipients;
use crate::secrets::recipients::Recipients;

/// The recipients of today.
pub struct Today {
    whom: Whom,
    /// Whether they are those of the installation and of nobody else.
    is_published: bool,
}

impl Today {
    /// Finds them; the cluster is asked only if nobody named them.
    ///
    /// # Errors
    /// When there are none, or they are not those that are pinned.
    pub async fn find(
        arguments: &RecipientsArgs,
        cluster: &ClusterArgs,
        screen: &mut Screen,
    ) -> Result<Self, CliError> {
        let named = Whom::named(arguments)?;
        let is_published = named.is_none() && arguments.pin.is_none();
        let whom = match named {
            Some(whom) => whom,
            None => {
                let step = "name a kubeconfig, or the recipients: --recipients-file or --recipient";
                let connection = connect(cluster).await.map_err(|error| error.next(step))?;
                Whom::published(&connection, &arguments.installation_namespace).await?
            }
        };
        if let Some(pin) = &arguments.pin
            && whom.hold_against(pin)? == Pin::Missing
        {
            whom.write_pin(pin)?;
            screen.progress(&format!("pinned the recipients in {}", pin.display()));
        }
        let fingerprints = whom.recipients.fingerprints();
        screen.progress(&format!("recipients: {fingerprints} ({})", whom.origin));
        Ok(Self { whom, is_published })
    }

    /// They and, where nobody named any, whoever opened the set: who could read it still can.
    pub fn and(&self, own: Option<Recipient>) -> Whom {
        let mut all = self.whom.recipients.as_slice().to_vec();
        all.extend(own.filter(|_| self.is_published));
        Whom {
            recipients: Recipients::of(all),
            origin: self.whom.origin.clone(),
        }
    }
}

/// What to say where a text is sealed for fewer than before: the others are not known, and can't open it any more.
pub fn fewer(old: &str, whom: &Whom) -> Option<String> {
    let before = count_recipients(old).ok()?;
    let now = whom.recipients.as_slice().len();
    (now < before).then(|| {
        format!(
            "it was sealed for {} and is for {now} now. Whoever is missing can't open it any more: name all with --recipients-file",
            count(before, "recipient")
        )
    })
}
