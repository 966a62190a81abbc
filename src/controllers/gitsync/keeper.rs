//! Whether the GitSync that an object's labels name is still there.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::Api;

use crate::api::GitSync;
use crate::controllers::cache::Key;
use crate::model::sync::Live;

/// It is not known whether that GitSync is there.
#[derive(Debug, thiserror::Error)]
#[error("failed to read GitSync {key}, which labels of a live object name")]
pub struct KeeperError {
    key: Key,
    /// Why.
    #[source]
    pub source: kube::Error,
}

/// Marks those whose labels name another GitSync that is not there: it was deleted and left its objects, or it was
/// renamed. The API server itself is asked, not a cache: one that is only being deleted still keeps its own.
///
/// # Errors
/// When the API server does not answer. Where it does not let us look, the other one counts as there.
pub async fn note_orphans(
    client: &Client,
    own: &Key,
    found: impl IntoIterator<Item = &mut Live>,
) -> Result<(), KeeperError> {
    let mut gone: BTreeMap<Key, bool> = BTreeMap::new();
    for live in found {
        let Some((namespace, name)) = live.gitsync() else {
            continue;
        };
        let key = Key::new(namespace, name);
        if key == *own {
            continue;
        }
        live.orphaned = match gone.get(&key) {
            Some(gone) => *gone,
            None => {
                let is_gone = is_gone(client, &key).await?;
                gone.insert(key, is_gone);
                is_gone
            }
        };
    }
    Ok(())
}

async fn is_gone(client: &Client, key: &Key) -> Result<bool, KeeperError> {
    let api: Api<GitSync> = Api::namespaced(client.clone(), &key.namespace);
    match api.get_metadata_opt(&key.name).await {
        Ok(found) => Ok(found.is_none()),
        Err(kube::Error::Api(status)) if matches!(status.code, 400..=403) => Ok(false),
        Err(source) => Err(KeeperError {
            key: key.clone(),
            source,
        }),
    }
}
