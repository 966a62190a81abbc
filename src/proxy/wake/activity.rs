//! When a workspace was last used: `renewTime` of its activity Lease, and by what in `holderIdentity`.
//!
//! A Lease, since a status would be told to everybody who watches Workspaces. It is written once a minute at most, by all
//! replicas together: each looks first whether another one was quicker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::activity::{ActivityKind, KeptAliveBy};
use crate::model::activity::lease::holder;
use crate::model::clock::Clock;
use crate::model::names::{PROXY_MANAGER, WORKSPACE_UID_LABEL};
use crate::proxy::route::facts::{Key, Uid};

/// How often what was used is written down.
const EVERY: Duration = Duration::from_secs(60);
/// A Lease that is younger was written by another replica in this turn.
const YOUNG: Duration = Duration::from_secs(45);
/// How long reading and writing one may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many are written at once.
const AT_ONCE: usize = 8;

/// Somebody's use of a workspace. While anybody holds one, more of it can come.
pub struct Use {
    key: Key,
    uid: Uid,
    by: KeptAliveBy,
    touched: AtomicBool,
}

impl Use {
    /// The client did something.
    pub fn touch(&self) {
        // Read first: with many requests the line of memory stays shared.
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }
}

/// What a use is kept under: the workspace, by what, and which port.
type Name = (Uid, ActivityKind, Option<u16>);

/// All use of workspaces through this proxy.
pub struct Activity {
    client: Client,
    clock: Arc<dyn Clock>,
    uses: Mutex<HashMap<Name, Entry>>,
}

/// Held strongly until it was written, so that a short request is not forgotten with its connection.
struct Entry {
    kept: Option<Arc<Use>>,
    all: Weak<Use>,
}

impl Activity {
    /// Nothing yet.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            client,
            clock,
            uses: Mutex::default(),
        })
    }

    /// The use of a workspace, of this kind and by this port.
    pub fn of(&self, key: &Key, uid: &Uid, kind: ActivityKind, port: Option<u16>) -> Arc<Use> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = uses.entry((uid.clone(), kind, port)).or_insert(Entry {
            kept: None,
            all: Weak::new(),
        });
        let used = entry.all.upgrade().unwrap_or_else(|| {
            Arc::new(Use {
                key: key.clone(),
                uid: uid.clone(),
                by: KeptAliveBy {
                    kind,
                    detail: port.map(|port| port.to_string()),
                },
                touched: AtomicBool::new(false),
            })
        });
        entry.all = Arc::downgrade(&used);
        entry.kept = Some(used.clone());
        used
    }

    /// Writes down what was used, once a minute and once more at the end.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.write().await;
        }
        self.write().await;
    }

    /// Writes down what was used since the last time.
    pub async fn write(&self) {
        let now = self.clock.now();
        stream::iter(self.taken())
            .for_each_concurrent(AT_ONCE, |used| async move {
                match timeout(DEADLINE, self.renew(&used, now)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let (namespace, workspace) = (&used.key.namespace, &used.key.name);
                        tracing::warn!(%namespace, %workspace, %error, "failed to write down that a workspace is used");
                        self.again(&used);
                    }
                    Err(_) => self.again(&used),
                }
            })
            .await;
    }

    /// One use of each workspace that was used; a WebSocket says more than a request.
    fn taken(&self) -> Vec<Arc<Use>> {
        let mut taken: HashMap<Uid, Arc<Use>> = HashMap::new();
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|(uid, kind, _), entry| {
            let Some(used) = entry.kept.take().or_else(|| entry.all.upgrade()) else {
                return false;
            };
            if used.touched.swap(false, Ordering::Relaxed) {
                let is_better = *kind == ActivityKind::WebSocket || !taken.contains_key(uid);
                if is_better {
                    taken.insert(uid.clone(), used.clone());
                }
            }
            Arc::strong_count(&used) > 1
        });
        taken.into_values().collect()
    }

    /// What could not be written is written the next time.
    fn again(&self, used: &Arc<Use>) {
        used.touch();
        let port = used.by.detail.as_ref().and_then(|port| port.parse().ok());
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (used.uid.clone(), used.by.kind, port);
        uses.entry(name).or_insert_with(|| Entry {
            kept: Some(used.clone()),
            all: Arc::downgrade(used),
        });
    }

    async fn renew(&self, used: &Use, now: Timestamp) -> Result<(), kube::Error> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &used.key.namespace);
        let name = format!("{}-activity", used.key.name);
        // Where there is none the controller has not made it, or the workspace is gone.
        let Some(lease) = api.get_opt(&name).await? else {
            return Ok(());
        };
        let is_ours =
            lease.labels().get(WORKSPACE_UID_LABEL).map(String::as_str) == Some(&*used.uid);
        let renewed = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.renew_time.as_ref());
        let is_young = renewed
            .is_some_and(|at| now.duration_since(at.0) < YOUNG.try_into().unwrap_or_default());
        if !is_ours || is_young {
            return Ok(());
        }
        let body = json!({
            "metadata": {"uid": lease.metadata.uid, "resourceVersion": lease.metadata.resource_version},
            "spec": {"renewTime": MicroTime(now), "holderIdentity": holder(&used.by)},
        });
        let params = PatchParams {
            field_manager: Some(PROXY_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api.patch(&name, &params, &Patch::Merge(&body)).await {
            // Another replica was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(|_| ()),
        }
    }
}
