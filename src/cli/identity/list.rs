//! `workstead identity list`: what opens sets here, and what depends on it. Public halves alone: nobody needs a right to the
//! Secret for it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use kube::Client;
use kube::api::{Api, ListParams};
use serde::Serialize;

use crate::api::WorkspaceVariables;
use crate::cli::call::call;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::identity::ListArgs;
use crate::cli::output::{BAD, Cell, FAINT, Screen, table};
use crate::cli::seal::Whom;
use crate::cli::show::count;

/// Objects that are asked for at once: each carries its sealed text.
const PAGE: u32 = 100;

/// An identity.
#[derive(Debug, Serialize)]
struct Shown {
    fingerprint: String,
    /// None, where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<String>,
    newest: bool,
    /// Sets that it opened, as `namespace/name`.
    sets: Vec<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    identities: &'a [Shown],
    unopened: &'a [String],
}

/// Lists them.
pub async fn run(arguments: &ListArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let installation = &arguments.installation;
    let connection = connect(&installation.cluster).await?;
    let place = &installation.installation_namespace;
    let recipients = Whom::published(&connection, place).await?.recipients;
    let (mut opened, mut unopened) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for set in all_sets(&connection.client).await? {
        let metadata = &set.metadata;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let name = format!("{}/{}", part(&metadata.namespace), part(&metadata.name));
        match set.status.and_then(|status| status.opened_by) {
            Some(by) => opened.entry(by).or_default().push(name),
            None => unopened.push(name),
        }
    }
    let mut shown: Vec<Shown> = Vec::new();
    for (index, recipient) in recipients.as_slice().iter().enumerate() {
        let fingerprint = recipient.fingerprint().to_string();
        shown.push(Shown {
            sets: opened.remove(&fingerprint).unwrap_or_default(),
            recipient: Some(recipient.to_string()),
            newest: index == 0,
            fingerprint,
        });
    }
    shown.extend(opened.into_iter().map(|(fingerprint, sets)| Shown {
        fingerprint,
        recipient: None,
        newest: false,
        sets,
    }));
    match arguments.output {
        Some(format) => screen.data(
            format,
            &Answer {
                identities: &shown,
                unopened: &unopened,
            },
        )?,
        None => screen.print(&as_table(&shown))?,
    }
    if arguments.output.is_none() && !unopened.is_empty() {
        let sets = count(unopened.len(), "set");
        screen.progress(&format!(
            "{sets} never opened: kubectl get wsvars -A shows why"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_table(shown: &[Shown]) -> String {
    let rows = shown.iter().map(|each| {
        let what = match (&each.recipient, each.newest) {
            (None, _) => Cell::styled("gone", BAD),
            (Some(_), true) => "newest".into(),
            (Some(_), false) => Cell::styled("older", FAINT),
        };
        vec![
            each.fingerprint.clone().into(),
            what,
            each.sets.len().to_string().into(),
            each.recipient.clone().unwrap_or_default().into(),
        ]
    });
    table(
        &["FINGERPRINT", "STATE", "SETS", "RECIPIENT"],
        &rows.collect::<Vec<_>>(),
    )
}

/// All sets of the cluster.
///
/// # Errors
/// When they can't be listed.
pub async fn all_sets(client: &Client) -> Result<Vec<WorkspaceVariables>, CliError> {
    let api: Api<WorkspaceVariables> = Api::all(client.clone());
    let mut parameters = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = call(
            "list the WorkspaceVariables of all namespaces",
            api.list(&parameters),
        )
        .await?;
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items);
        match token {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}
