//! What is in the cluster, as far as a plan needs it.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};

use crate::api::class::Retention;
use crate::api::gitsync::SyncedKind;
use crate::api::{Workspace, WorkspaceClass};
use crate::cli::call::{call, explain};
use crate::cli::connect::Connection;
use crate::cli::error::CliError;
use crate::controllers::cache::Key;
use crate::controllers::gitsync::{keeper, kinds};
use crate::model::names::GITSYNC_MANAGER;
use crate::model::sync::{Inventory, Live, ObjectId, Snapshot, SourceObject};

/// Objects that are asked for at once.
const PAGE: u32 = 500;

/// Why the API server would not take an object.
pub struct Refusal {
    /// The rights of whoever asks do not suffice; somebody else's may.
    pub is_right: bool,
    /// What it said.
    pub words: String,
}

/// What is there.
#[derive(Default)]
pub struct Cluster {
    /// Metadata of what the files or the inventory speak of.
    pub metadata: BTreeMap<ObjectId, Live>,
    /// Whole Workspaces.
    pub workspaces: BTreeMap<ObjectId, Workspace>,
    /// Classes, where they may be read.
    pub classes: Vec<WorkspaceClass>,
}

impl Cluster {
    /// Reads what the files or the inventory speak of.
    ///
    /// # Errors
    /// When the API server does not say: on partial knowledge nothing is planned.
    pub async fn read(
        connection: &Connection,
        snapshot: &Snapshot,
        inventory: &Inventory,
        gitsync: &Key,
    ) -> Result<Self, CliError> {
        let mut cluster = Self::default();
        let known = inventory.iter().map(|(id, _)| id);
        let ids: BTreeSet<&ObjectId> = snapshot.objects.keys().chain(known).collect();
        let namespaces: BTreeSet<&str> = ids
            .iter()
            .filter(|id| id.kind == SyncedKind::Workspace)
            .filter_map(|id| id.namespace.as_deref())
            .collect();
        for namespace in namespaces {
            let api = Api::namespaced(connection.client.clone(), namespace);
            cluster
                .take_workspaces(api, &format!("list Workspaces in {namespace}"))
                .await?;
        }
        for id in ids {
            if let Some(workspace) = cluster.workspaces.get(id) {
                cluster
                    .metadata
                    .insert(id.clone(), kinds::live_of(&workspace.metadata));
            } else if id.kind != SyncedKind::Workspace {
                let read = kinds::api_of(&connection.client, id);
                let read = read.get_metadata_opt(&id.name);
                if let Some(found) = call(&format!("read {id}"), read).await? {
                    cluster
                        .metadata
                        .insert(id.clone(), kinds::live_of(&found.metadata));
                }
            }
        }
        keeper::note_orphans(&connection.client, gitsync, cluster.metadata.values_mut()).await?;
        let classes: Api<WorkspaceClass> = Api::all(connection.client.clone());
        // Not everybody may read classes. Without them it is said what changes, but not when.
        if let Ok(found) = classes.list(&ListParams::default()).await {
            cluster.classes = found.items;
        }
        Ok(cluster)
    }

    /// Adds the Workspaces of the connection's namespace, or all.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn add_workspaces(
        &mut self,
        connection: &Connection,
        all: bool,
    ) -> Result<(), CliError> {
        let client = connection.client.clone();
        let api = if all {
            Api::all(client)
        } else {
            Api::namespaced(client, &connection.namespace)
        };
        self.take_workspaces(api, "list Workspaces").await
    }

    async fn take_workspaces(&mut self, api: Api<Workspace>, what: &str) -> Result<(), CliError> {
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = call(what, api.list(&page)).await?;
            for workspace in listed.items {
                if let Some(id) = kinds::id_of(SyncedKind::Workspace, &workspace.metadata) {
                    self.workspaces.insert(id, workspace);
                }
            }
            match listed.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => return Ok(()),
            }
        }
    }

    /// Has the API server apply an object without keeping it.
    pub async fn try_apply(
        &self,
        connection: &Connection,
        object: &SourceObject,
    ) -> Result<DynamicObject, Refusal> {
        let id = &object.id;
        let parameters = PatchParams::apply(GITSYNC_MANAGER).force().dry_run();
        let api = kinds::api_of(&connection.client, id);
        let applied = api
            .patch(&id.name, &parameters, &Patch::Apply(&object.value))
            .await;
        applied.map_err(|error| Refusal {
            is_right: matches!(&error, kube::Error::Api(status) if status.is_forbidden()),
            words: explain("apply", error).evidence.join(": "),
        })
    }

    /// What becomes of the files in the home volume of a Workspace that goes.
    pub fn volume_note(&self, id: &ObjectId) -> Option<String> {
        let status = self.workspaces.get(id)?.status.as_ref()?;
        let name = status.class_name.as_ref()?;
        let class = self
            .classes
            .iter()
            .find(|class| class.metadata.name.as_ref() == Some(name));
        let storage = class?.spec.storage.clone().unwrap_or_default();
        Some(match storage.retention.unwrap_or_default() {
            Retention::Retain => "its home volume is kept".to_owned(),
            Retention::Delete => "its home volume is deleted with it".to_owned(),
        })
    }
}
