//! What lives of the objects that the tree or the inventory speak of.
//!
//! What carries our labels is known from the watch. The rest is asked for: one by one when it is little, by listing the
//! namespace's metadata when it is much, as on the first pass over a repository.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};

use super::kinds;
use super::watch::Watched;
use crate::api::gitsync::SyncedKind;
use crate::model::sync::{Live, ObjectId};

/// From so many unknown objects of a kind in a namespace on, they are listed.
const LIST_FROM: usize = 16;
/// Reads at the same time.
const CONCURRENT: usize = 8;
/// Objects on a page.
const PAGE: u32 = 500;

/// Why it is not known what lives.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// One object.
    #[error("failed to read {id}")]
    Get {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// Those of a namespace.
    #[error("failed to list {kind} objects in {namespace}")]
    List {
        /// Their kind.
        kind: &'static str,
        /// Where.
        namespace: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

impl LiveError {
    /// What the client said.
    pub fn client_error(&self) -> &kube::Error {
        match self {
            Self::Get { source, .. } | Self::List { source, .. } => source,
        }
    }
}

/// Finds the live ones among these.
///
/// # Errors
/// When the API server does not answer for one of them: on partial knowledge nothing is planned.
pub async fn find_live(
    client: &Client,
    watched: &Watched,
    ids: BTreeSet<ObjectId>,
) -> Result<BTreeMap<ObjectId, Live>, LiveError> {
    let mut found = BTreeMap::new();
    let mut unknown: BTreeMap<(SyncedKind, Option<String>), Vec<ObjectId>> = BTreeMap::new();
    for id in ids {
        match watched.get(&id) {
            Some(live) => {
                found.insert(id, live);
            }
            None => unknown
                .entry((id.kind, id.namespace.clone()))
                .or_default()
                .push(id),
        }
    }
    for ((kind, namespace), ids) in unknown {
        let some = if ids.len() < LIST_FROM {
            get_each(client, ids).await?
        } else {
            list(
                client,
                kind,
                namespace.as_deref(),
                ids.into_iter().collect(),
            )
            .await?
        };
        found.extend(some);
    }
    Ok(found)
}

async fn get_each(client: &Client, ids: Vec<ObjectId>) -> Result<Vec<(ObjectId, Live)>, LiveError> {
    let reads = ids.into_iter().map(|id| async move {
        let read = kinds::api_of(client, &id).get_metadata_opt(&id.name).await;
        match read {
            Ok(Some(object)) => Ok(Some((id, kinds::live_of(&object.metadata)))),
            Ok(None) => Ok(None),
            Err(source) => Err(LiveError::Get { id, source }),
        }
    });
    stream::iter(reads)
        .buffer_unordered(CONCURRENT)
        .try_filter_map(|found| async { Ok(found) })
        .try_collect()
        .await
}

async fn list(
    client: &Client,
    kind: SyncedKind,
    namespace: Option<&str>,
    wanted: BTreeSet<ObjectId>,
) -> Result<Vec<(ObjectId, Live)>, LiveError> {
    let resource = kinds::resource(kind);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = api
            .list_metadata(&page)
            .await
            .map_err(|source| LiveError::List {
                kind: kind.name(),
                namespace: namespace.unwrap_or("the cluster").to_owned(),
                source,
            })?;
        for object in &listed.items {
            if let Some(id) = kinds::id_of(kind, &object.metadata)
                && wanted.contains(&id)
            {
                found.push((id, kinds::live_of(&object.metadata)));
            }
        }
        match listed.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(found),
        }
    }
}
