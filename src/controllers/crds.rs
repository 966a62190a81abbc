//! Waits until the API server serves our kinds, and says in `/readyz` which it does not serve yet.

use std::time::Duration;

use kube::Client;

use crate::api::{GROUP, VERSION};
use crate::telemetry::Health;

/// The resources that the controllers watch.
const NEEDED: [&str; 4] = [
    "workspaces",
    "workspaceclasses",
    "workspacevariables",
    "gitsyncs",
];
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The name under which `/readyz` lists them.
const REQUIREMENT: &str = "crds";

/// Returns once all kinds are served. Discovery is open to everybody who may talk to the API server, so this needs no
/// right to read CustomResourceDefinitions.
pub async fn wait(client: &Client, health: &Health) {
    loop {
        match missing(client).await {
            Ok(missing) if missing.is_empty() => {
                health.set_met(REQUIREMENT);
                return;
            }
            Ok(missing) => {
                let names: Vec<String> = missing.iter().map(|m| format!("{m}.{GROUP}")).collect();
                let why = format!(
                    "the API server does not serve {}: install the CustomResourceDefinitions of the chart",
                    names.join(", ")
                );
                tracing::info!(reason = why, "waiting");
                health.set_missing(REQUIREMENT, why);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to ask the API server for our kinds");
                health.set_missing(
                    REQUIREMENT,
                    format!("the API server could not be asked for {GROUP}/{VERSION}: {error}"),
                );
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn missing(client: &Client) -> Result<Vec<&'static str>, kube::Error> {
    let served = match client
        .list_api_group_resources(&format!("{GROUP}/{VERSION}"))
        .await
    {
        Ok(list) => list.resources,
        // By its code: for a group that it does not know the server answers plain text, without a reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(NEEDED
        .into_iter()
        .filter(|needed| !served.iter().any(|resource| resource.name == *needed))
        .collect())
}
