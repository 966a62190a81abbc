//! Where the inventory is kept: ConfigMaps that the GitSync owns, found by a label with its UID.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use kube::{Client, Resource};
use serde_json::json;

use super::kinds;
use crate::api::GitSync;
use crate::api::gitsync::SyncedKind;
use crate::model::names::{
    GITSYNC_MANAGER, GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL, INVENTORY_OF_LABEL, MANAGED_BY,
    MANAGED_BY_LABEL,
};
use crate::model::sync::{Inventory, InventoryError, ObjectId, Shards, inventory_name};

/// Why the inventory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The ConfigMaps could not be listed.
    #[error("failed to read the inventory")]
    Read(#[source] kube::Error),
    /// Live objects could not be listed to rebuild it.
    #[error("failed to list {kind} objects to rebuild the inventory")]
    Rebuild {
        /// Which kind.
        kind: &'static str,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// A ConfigMap could not be written.
    #[error("failed to write ConfigMap {name} of the inventory")]
    Write {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// A ConfigMap of that name belongs to somebody else.
    #[error(
        "ConfigMap {0} is there already and is not the inventory of this GitSync: delete or rename it"
    )]
    Foreign(String),
}

impl StoreError {
    /// What the client said.
    pub fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Read(source) | Self::Rebuild { source, .. } | Self::Write { source, .. } => {
                Some(source)
            }
            Self::Foreign(_) => None,
        }
    }
}

/// In which order shards are written, so that whatever a crash leaves covers what lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before applying: the highest shard first; shard 0, which names their number, last.
    Widen,
    /// After pruning: shard 0 first, spare ones are deleted last.
    Narrow,
}

/// The stored inventory of one GitSync.
pub struct Store {
    api: Api<ConfigMap>,
    owner: OwnerReference,
    namespace: String,
    name: String,
    stored: BTreeMap<u32, Stored>,
}

/// A ConfigMap as it was last seen.
struct Stored {
    name: String,
    uid: Option<String>,
    version: Option<String>,
    data: BTreeMap<String, String>,
}

/// What was read.
pub struct Loaded {
    /// Where it is kept.
    pub store: Store,
    /// What it says, or what live labels say.
    pub inventory: Inventory,
    /// Why it had to be rebuilt.
    pub lost: Option<InventoryError>,
}

/// Reads the inventory. When it is missing or unreadable while objects carry our labels, it is rebuilt from these.
///
/// # Errors
/// When the API server does not answer: without an inventory nothing is done.
pub async fn load(client: &Client, gitsync: &GitSync) -> Result<Loaded, StoreError> {
    let namespace = gitsync.metadata.namespace.clone().unwrap_or_default();
    let name = gitsync.metadata.name.clone().unwrap_or_default();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let uid = gitsync.metadata.uid.clone().unwrap_or_default();
    let selector = ListParams::default().labels(&format!("{INVENTORY_OF_LABEL}={uid}"));
    let listed = api.list(&selector).await.map_err(StoreError::Read)?;
    let stored: BTreeMap<u32, Stored> = listed
        .items
        .into_iter()
        .filter_map(|map| shard_of(&name, map))
        .collect();
    let shards: Shards = stored
        .iter()
        .map(|(shard, stored)| (*shard, stored.data.clone()))
        .collect();
    let store = Store {
        api,
        owner: owner_reference(gitsync),
        namespace,
        name,
        stored,
    };
    match Inventory::decode(&shards) {
        Ok(inventory) => Ok(Loaded {
            store,
            inventory,
            lost: None,
        }),
        Err(lost) => {
            let live = live_ids(client, &store.namespace, &store.name).await?;
            // Never written, and nothing carries our labels: this is a beginning, not a loss.
            let fresh = live.is_empty() && store.stored.is_empty();
            Ok(Loaded {
                store,
                inventory: if fresh {
                    Inventory::default()
                } else {
                    Inventory::rebuild(live)
                },
                lost: (!fresh).then_some(lost),
            })
        }
    }
}

/// The ids of all objects that carry the labels of a GitSync, wherever they are.
async fn live_ids(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Vec<ObjectId>, StoreError> {
    let selector = format!("{GITSYNC_NAMESPACE_LABEL}={namespace},{GITSYNC_NAME_LABEL}={name}");
    let mut ids = Vec::new();
    for kind in SyncedKind::IN_ORDER {
        let api: Api<kube::api::DynamicObject> =
            Api::all_with(client.clone(), &kinds::resource(kind));
        let mut page = ListParams::default().labels(&selector).limit(500);
        loop {
            let listed = api
                .list_metadata(&page)
                .await
                .map_err(|source| StoreError::Rebuild {
                    kind: kind.name(),
                    source,
                })?;
            ids.extend(
                listed
                    .items
                    .iter()
                    .filter_map(|object| kinds::id_of(kind, &object.metadata)),
            );
            match listed.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => break,
            }
        }
    }
    Ok(ids)
}

fn shard_of(gitsync: &str, map: ConfigMap) -> Option<(u32, Stored)> {
    let name = map.metadata.name?;
    let shard: u32 = name.rsplit('-').next()?.parse().ok()?;
    (inventory_name(gitsync, shard) == name).then_some(())?;
    let stored = Stored {
        name,
        uid: map.metadata.uid,
        version: map.metadata.resource_version,
        data: map.data.unwrap_or_default(),
    };
    Some((shard, stored))
}

fn owner_reference(gitsync: &GitSync) -> OwnerReference {
    OwnerReference {
        // Blocking would need the right to set finalizers, and gains nothing: nobody waits for a ConfigMap.
        block_owner_deletion: None,
        ..gitsync.controller_owner_ref(&()).unwrap_or_default()
    }
}

impl Store {
    /// Writes what differs from what is stored. Returns how many writes it took.
    ///
    /// # Errors
    /// When the API server refuses; a conflict means that the next pass reads again.
    pub async fn save(&mut self, inventory: &Inventory, order: Order) -> Result<usize, StoreError> {
        let shards = inventory.encode();
        if inventory.is_empty() && self.stored.is_empty() {
            // Nothing was ever kept: no ConfigMap for nothing.
            return Ok(0);
        }
        let mut writes = 0;
        let numbers: Vec<u32> = match order {
            Order::Widen => shards.keys().rev().copied().collect(),
            Order::Narrow => shards.keys().copied().collect(),
        };
        for number in numbers {
            let Some(data) = shards.get(&number) else {
                continue;
            };
            if self.stored.get(&number).map(|stored| &stored.data) != Some(data) {
                self.write(number, data).await?;
                writes += 1;
            }
        }
        if order == Order::Narrow {
            let spare: Vec<u32> = self
                .stored
                .keys()
                .filter(|number| !shards.contains_key(number))
                .copied()
                .collect();
            for number in spare.into_iter().rev() {
                self.delete(number).await?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    async fn write(
        &mut self,
        number: u32,
        data: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let written = match self.stored.get(&number) {
            Some(stored) => self.replace(stored, data).await?,
            None => self.create(number, data).await?,
        };
        if let Some((number, stored)) = shard_of(&self.name, written) {
            self.stored.insert(number, stored);
        }
        Ok(())
    }

    /// The resource version is a precondition: whoever else wrote it, we must read again first.
    async fn replace(
        &self,
        stored: &Stored,
        data: &BTreeMap<String, String>,
    ) -> Result<ConfigMap, StoreError> {
        // Keys that are no longer there go by null.
        let gone = stored
            .data
            .keys()
            .filter(|key| !data.contains_key(*key))
            .map(|key| (key.clone(), None));
        let kept = data
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())));
        let patch = json!({
            "metadata": { "resourceVersion": stored.version },
            "data": kept.chain(gone).collect::<BTreeMap<_, Option<String>>>(),
        });
        let parameters = PatchParams {
            field_manager: Some(GITSYNC_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.api
            .patch(&stored.name, &parameters, &Patch::Merge(&patch))
            .await
            .map_err(|source| StoreError::Write {
                name: stored.name.clone(),
                source,
            })
    }

    async fn create(
        &self,
        number: u32,
        data: &BTreeMap<String, String>,
    ) -> Result<ConfigMap, StoreError> {
        let name = inventory_name(&self.name, number);
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([
                    (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
                    (INVENTORY_OF_LABEL.to_owned(), self.owner.uid.clone()),
                ])),
                owner_references: Some(vec![self.owner.clone()]),
                ..ObjectMeta::default()
            },
            data: Some(data.clone()),
            ..ConfigMap::default()
        };
        let parameters = PostParams {
            field_manager: Some(GITSYNC_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let created = self.api.create(&parameters, &map).await;
        match created {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.adopt(&name, kube::Error::Api(status)).await
            }
            other => other.map_err(|source| StoreError::Write { name, source }),
        }
    }

    /// A ConfigMap of that name is there although it was not listed: ours when our own create was answered too late,
    /// which the next pass finds; else somebody else's.
    async fn adopt(&self, name: &str, conflict: kube::Error) -> Result<ConfigMap, StoreError> {
        let there = self.api.get_opt(name).await.map_err(StoreError::Read)?;
        let ours = there.is_none_or(|map| {
            map.metadata
                .labels
                .and_then(|mut labels| labels.remove(INVENTORY_OF_LABEL))
                .is_some_and(|uid| uid == self.owner.uid)
        });
        if ours {
            Err(StoreError::Write {
                name: name.to_owned(),
                source: conflict,
            })
        } else {
            Err(StoreError::Foreign(name.to_owned()))
        }
    }

    async fn delete(&mut self, number: u32) -> Result<(), StoreError> {
        let Some(stored) = self.stored.get(&number) else {
            return Ok(());
        };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: stored.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(&stored.name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => {
                return Err(StoreError::Write {
                    name: stored.name.clone(),
                    source,
                });
            }
        }
        self.stored.remove(&number);
        Ok(())
    }
}
