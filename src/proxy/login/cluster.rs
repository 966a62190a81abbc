//! What a login writes into Kubernetes, in the installation's namespace: a Lease for each link that was used, and the
//! entries that end logins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};

use crate::model::clock::Clock;
use crate::model::names::{
    LEASE_LABEL, LOGIN_LEASE, MANAGED_BY, MANAGED_BY_LABEL, PROXY_MANAGER, REVOCATIONS_CONFIG_MAP,
};
use crate::proxy::login::outside::{EffectError, Effects, Use};
use crate::proxy::session::revocation::{self, Entry};

/// How long a call may take: somebody waits for the page.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often an entry is tried again when others write at the same time.
const TRIES: u32 = 8;

/// The API server, for logins.
pub struct Cluster {
    leases: Api<Lease>,
    config_maps: Api<ConfigMap>,
    namespace: String,
    /// Which replica.
    identity: String,
    clock: Arc<dyn Clock>,
}

impl Cluster {
    /// Writes into the installation's namespace, as this replica.
    pub fn new(
        client: kube::Client,
        namespace: &str,
        identity: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            clock,
        }
    }

    async fn lease(&self, digest: &str, until: Timestamp) -> Result<Use, EffectError> {
        let now = self.clock.now();
        let seconds = until.as_second().saturating_sub(now.as_second()).max(1);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(format!("workstead-login-{digest}")),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels([(LEASE_LABEL, LOGIN_LEASE)])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                acquire_time: Some(MicroTime(now)),
                lease_duration_seconds: i32::try_from(seconds).ok(),
                ..LeaseSpec::default()
            }),
        };
        match timed(self.leases.create(&by_us(), &lease)).await {
            Ok(_) => Ok(Use::First),
            Err(Failed::Api(error)) if error.is_already_exists() => Ok(Use::Again),
            Err(error) => Err(error.to("note that the link was used")),
        }
    }

    /// Reads the entries, adds, and writes them only over what was read. Others do the same: then it is tried again.
    async fn add(&self, entries: &[Entry]) -> Result<(), EffectError> {
        for _ in 0..TRIES {
            let found = timed(self.config_maps.get_opt(REVOCATIONS_CONFIG_MAP))
                .await
                .map_err(|error| error.to("read the revocations"))?;
            let before = found.as_ref().and_then(|map| map.data.clone());
            let mut data = before.clone().unwrap_or_default();
            for entry in entries {
                data = revocation::with(&data, entry, self.clock.now())
                    .map_err(|error| EffectError::Revocations(error.to_string()))?;
            }
            if before.as_ref() == Some(&data) {
                return Ok(());
            }
            let written = match found {
                Some(mut map) => {
                    map.data = Some(data);
                    map.metadata.managed_fields = None;
                    let name = REVOCATIONS_CONFIG_MAP;
                    timed(self.config_maps.replace(name, &by_us(), &map)).await
                }
                None => {
                    let map = self.mk_revocations(data);
                    timed(self.config_maps.create(&by_us(), &map)).await
                }
            };
            match written {
                Ok(_) => return Ok(()),
                Err(Failed::Api(error)) if error.is_conflict() || error.is_already_exists() => {}
                Err(error) => return Err(error.to("write the revocations")),
            }
        }
        Err(EffectError::Revocations(
            "too many others write at the same time".to_owned(),
        ))
    }

    fn mk_revocations(&self, data: BTreeMap<String, String>) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(REVOCATIONS_CONFIG_MAP.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels([])),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        }
    }
}

impl Effects for Cluster {
    fn use_link<'a>(
        &'a self,
        digest: &'a str,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Use, EffectError>> {
        Box::pin(self.lease(digest, until))
    }

    fn revoke<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.add(entries))
    }
}

fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(PROXY_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn labels<const MORE: usize>(more: [(&str, &str); MORE]) -> BTreeMap<String, String> {
    [(MANAGED_BY_LABEL, MANAGED_BY)]
        .into_iter()
        .chain(more)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Why a call came to nothing.
enum Failed {
    Deadline,
    Api(Box<kube::core::Status>),
    Other(kube::Error),
}

impl Failed {
    fn to(self, action: &'static str) -> EffectError {
        let message = match self {
            Self::Deadline => format!("no answer within {} s", DEADLINE.as_secs()),
            Self::Api(status) => status.message,
            Self::Other(error) => error.to_string(),
        };
        EffectError::Call { action, message }
    }
}

async fn timed<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failed> {
    match tokio::time::timeout(DEADLINE, call).await {
        Err(_) => Err(Failed::Deadline),
        Ok(Err(kube::Error::Api(status))) => Err(Failed::Api(status)),
        Ok(Err(error)) => Err(Failed::Other(error)),
        Ok(Ok(done)) => Ok(done),
    }
}
