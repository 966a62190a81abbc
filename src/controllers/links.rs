//! Login links that were used, and what remains of them: a Lease each, so that no replica of the proxy takes a link twice.
//!
//! Proxies make them and may not delete them: one that was stolen could make a used link good again. The leader clears them
//! away once the link itself is too old.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use tokio_util::sync::CancellationToken;

use crate::controllers::context::Shared;
use crate::controllers::passes::chain;
use crate::model::names::{LEASE_LABEL, LOGIN_LEASE};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(600);
/// How long after its end a link is still kept as used: more than clocks differ.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// Objects of one answer.
const PAGE: u32 = 500;

/// Why they are not cleared away.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what} Leases of used login links in namespace {namespace}")]
pub struct LinksError {
    /// What was tried.
    what: &'static str,
    /// The installation's.
    namespace: String,
    /// Why.
    source: Box<kube::Error>,
}

/// Clears them away until shutdown.
pub async fn run(shared: &Shared, shutdown: &CancellationToken) {
    loop {
        let pruning = prune(&shared.client, &shared.config.namespace, shared.clock.now());
        if let Err(error) = pruning.await {
            tracing::warn!(
                error = chain(&error),
                "used login links are not cleared away"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Deletes those whose links are too old to be used in any case. Says how many.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub async fn prune(client: &Client, namespace: &str, now: Timestamp) -> Result<usize, LinksError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let failed = |what, source| LinksError {
        what,
        namespace: namespace.to_owned(),
        source: Box::new(source),
    };
    let mut list = ListParams::default()
        .labels(&format!("{LEASE_LABEL}={LOGIN_LEASE}"))
        .limit(PAGE);
    let mut deleted = 0;
    loop {
        let page = api.list(&list).await;
        let page = page.map_err(|source| failed("list", source))?;
        for lease in page.items.iter().filter(|lease| is_over(lease, now)) {
            let Some(name) = &lease.metadata.name else {
                continue;
            };
            let only_this = DeleteParams::default().preconditions(Preconditions {
                uid: lease.metadata.uid.clone(),
                resource_version: None,
            });
            match api.delete(name, &only_this).await {
                Ok(_) => deleted += 1,
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(source) => return Err(failed("delete", source)),
            }
        }
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => list.continue_token = Some(next),
            _ => return Ok(deleted),
        }
    }
}

/// Whether the link is too old. One that does not say until when it was good is kept as long as it lies there untouched by
/// people: it is nobody's harm.
fn is_over(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else {
        return false;
    };
    let (Some(used), Some(seconds)) = (&spec.acquire_time, spec.lease_duration_seconds) else {
        return false;
    };
    let good_for = SignedDuration::from_secs(i64::from(seconds));
    now.duration_since(used.0) > good_for.saturating_add(MARGIN)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_used_link_is_remembered_for_longer_than_it_could_be_used() {
        let lease = |seconds| Lease {
            spec: Some(LeaseSpec {
                acquire_time: Some(MicroTime(at("2026-12-01T10:00:00Z"))),
                lease_duration_seconds: seconds,
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        let used = lease(Some(600));
        assert!(!is_over(&used, at("2026-12-01T10:10:01Z")));
        assert!(!is_over(&used, at("2026-12-01T10:20:00Z")));
        assert!(is_over(&used, at("2026-12-01T10:20:01Z")));
        // A clock that is behind.
        assert!(!is_over(&used, at("2026-12-01T09:00:00Z")));
        assert!(!is_over(&lease(None), at("2027-12-01T10:00:00Z")));
        assert!(!is_over(&Lease::default(), at("2027-12-01T10:00:00Z")));
    }
}
