//! What the controllers say in `/readyz`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::telemetry::Health;

/// How often a list that is missing is looked for. Only until all are there, and nothing is asked for it.
const LOOK: Duration = Duration::from_millis(100);

/// Says which kinds were not listed yet, until all were.
pub async fn report_caches(
    health: &Health,
    name: &str,
    unseen: impl Fn() -> Vec<&'static str>,
    shutdown: &CancellationToken,
) {
    loop {
        let kinds = unseen();
        if kinds.is_empty() {
            health.set_met(name);
            return;
        }
        health.set_missing(name, format!("not listed yet: {}", kinds.join(", ")));
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
    }
}
