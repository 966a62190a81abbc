//! The key ring of the proxies: Secret `workstead-proxy-keys`, made once and rotated by the leader.
//!
//! Proxies only read it, so that one that was stolen can't put a key of its own in place of ours. A ring that can't be read
//! is left alone and named: whoever made it may hold the only copy.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use rand::RngCore as _;
use tokio_util::sync::CancellationToken;

use crate::controllers::context::Shared;
use crate::controllers::passes::chain;
use crate::model::entropy::Entropy;
use crate::model::keyring::{KeyRing, RING_ENTRY, RingError, next_ring};
use crate::model::names::{PROXY_KEYS_SECRET, WORKSPACE_MANAGER};

/// How soon a failure is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// How often the ring is looked at, whatever it says: somebody may have deleted it.
const LOOK: Duration = Duration::from_secs(600);

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The API server does not answer, or refuses.
    #[error("failed to {what} Secret {PROXY_KEYS_SECRET} in namespace {namespace}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// The installation's.
        namespace: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It holds something else.
    #[error(
        "Secret {PROXY_KEYS_SECRET} in namespace {namespace} holds no key ring: delete it to have one made, which signs everybody out"
    )]
    Ring {
        /// The installation's.
        namespace: String,
        /// What is wrong with it.
        source: RingError,
    },
}

struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Keeps the ring until shutdown.
pub async fn run(shared: &Shared, shutdown: &CancellationToken) {
    loop {
        let now = shared.clock.now();
        let keeping = keep(&shared.client, &shared.config.namespace, now, &System);
        let pause = match keeping.await {
            Ok(next) => {
                let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                left.clamp(TRY_AGAIN, LOOK)
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the key ring of the proxy is not kept"
                );
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Makes the ring where there is none, and exchanges it when it is time. Says when there will be something to do.
///
/// # Errors
/// When the API server does not answer, or something else lies there.
pub async fn keep(
    client: &Client,
    namespace: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Timestamp, KeyRingError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |what, source| KeyRingError::Api {
        what,
        namespace: namespace.to_owned(),
        source: Box::new(source),
    };
    let live = api.get_opt(PROXY_KEYS_SECRET).await;
    let Some(live) = live.map_err(|source| failed("read", source))? else {
        let ring = KeyRing::generate(now, entropy);
        let params = PostParams {
            field_manager: Some(WORKSPACE_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let created = api.create(&params, &secret(&ring, None)).await;
        created.map_err(|source| failed("create", source))?;
        return Ok(ring.changes_at(now));
    };
    let data = live.data.unwrap_or_default();
    let text = data.get(RING_ENTRY).map(|bytes| bytes.0.as_slice());
    let ring = KeyRing::parse(text.unwrap_or_default()).map_err(|source| KeyRingError::Ring {
        namespace: namespace.to_owned(),
        source,
    })?;
    let Some(next) = next_ring(&ring, now, entropy) else {
        return Ok(ring.changes_at(now));
    };
    // The version: two leaders that overlap for a moment must not sign by two different rings.
    let body = secret(&next, live.metadata.resource_version);
    let params = PatchParams::apply(WORKSPACE_MANAGER).force();
    let written = api
        .patch(PROXY_KEYS_SECRET, &params, &Patch::Apply(&body))
        .await;
    written.map_err(|source| failed("exchange", source))?;
    tracing::info!("the key ring of the proxy has changed: a key was added or retired");
    Ok(next.changes_at(now))
}

fn secret(ring: &KeyRing, version: Option<String>) -> Secret {
    let text = ring.to_json();
    Secret {
        metadata: ObjectMeta {
            name: Some(PROXY_KEYS_SECRET.to_owned()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            RING_ENTRY.to_owned(),
            ByteString(text.as_bytes().to_vec()),
        )])),
        ..Secret::default()
    }
}
