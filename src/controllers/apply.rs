//! Writing children: server-side apply under one field manager, only what differs, never over what is not ours.
//!
//! **When a write is left out.** Each child carries the digest of the object that we last applied. When the digest is
//! that of the object we want now, and the live object still has all of it, there is nothing to write. The digest shows
//! what we want differently, fields that we stopped sending included; the comparison shows what others changed.
//!
//! The API server may keep a value in another form than we sent it (a quantity in its canonical form, a list with an
//! element of an admission webhook). So after a write the part of the answer that we asked for is remembered, and
//! later compared with; only a process that has written nothing yet compares with what it would send. At worst that is
//! one write without effect a child and life of the process, never one a pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::controllers::cache::{Cache, Cached, Key};
use crate::model::names::{
    APPLIED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, WORKSPACE_LABEL, WORKSPACE_UID_LABEL,
};
use crate::telemetry::Metrics;

/// Why a child could not be brought to what we want.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else's object has the name.
    #[error("{kind} {key} is there already and is not ours: {why}")]
    Foreign {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// How we know.
        why: String,
    },
    /// An object of an earlier Workspace of the name is still being removed.
    #[error("{kind} {key} of an earlier Workspace of this name is still there")]
    Leftover {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
    },
    /// It could not be read.
    #[error("failed to read {kind} {key}")]
    Read {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// It could not be written.
    #[error("failed to apply {kind} {key}")]
    Apply {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// It could not be deleted.
    #[error("failed to delete {kind} {key}")]
    Delete {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// It could not be written as JSON, which its types rule out.
    #[error("failed to write {kind} {key} as JSON")]
    Serialize {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: Key,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ApplyError {
    /// The object that it is about.
    pub fn object(&self) -> (&'static str, &Key) {
        match self {
            Self::Foreign { kind, key, .. }
            | Self::Leftover { kind, key }
            | Self::Read { kind, key, .. }
            | Self::Apply { kind, key, .. }
            | Self::Delete { kind, key, .. }
            | Self::Serialize { kind, key, .. } => (kind, key),
        }
    }

    /// What the client said.
    pub fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Read { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. } => Some(source),
            Self::Foreign { .. } | Self::Leftover { .. } | Self::Serialize { .. } => None,
        }
    }

    /// The status that the API server answered with.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self.client_error()? {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Whether somebody was faster, so that it should be tried again at once.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.is_conflict())
    }

    /// For metrics and Events.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Leftover { .. } => "leftover",
            Self::Serialize { .. } => "serialize",
            Self::Read { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. } => client_category(source),
        }
    }
}

/// What kind of trouble a call to the API server had: a closed set.
pub fn client_category(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            400..=499 => "rejected",
            _ => "server",
        },
        _ => "transport",
    }
}

/// The Workspace whose children are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: String,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub enum Applied<K> {
    /// It was sent; this is the answer.
    Written(Arc<K>),
    /// It was as wanted.
    AsWanted(Arc<K>),
}

impl<K> Applied<K> {
    /// The live object.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Written(object) | Self::AsWanted(object) => object,
        }
    }
}

/// Our last write of a child: what we sent, and how the API server keeps it.
#[derive(Clone, Debug)]
struct Kept {
    uid: Option<String>,
    digest: String,
    part: Value,
}

/// Writes the children of one kind.
pub struct Writer<K> {
    client: Client,
    manager: &'static str,
    kind: &'static str,
    cache: Arc<Cache<K>>,
    kept: Arc<Mutex<HashMap<Key, Kept>>>,
    metrics: Arc<Metrics>,
}

impl<K> Writer<K>
where
    K: Cached + Resource<Scope = NamespaceResourceScope> + Serialize,
{
    /// Writes under a manager what a cache shows.
    pub fn new(
        client: Client,
        manager: &'static str,
        kind: &'static str,
        cache: Arc<Cache<K>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            client,
            manager,
            kind,
            cache,
            kept: Arc::default(),
            metrics,
        }
    }

    /// The cache that it writes beside.
    pub fn cache(&self) -> &Arc<Cache<K>> {
        &self.cache
    }

    /// Watches the kind, as [`Cache::stream`] does, and forgets what was written of objects that went away.
    pub fn watch(
        &self,
        api: Api<K>,
        config: watcher::Config,
    ) -> impl Stream<Item = Arc<K>> + Send + 'static {
        let (cache, kept) = (self.cache.clone(), self.kept.clone());
        self.cache
            .stream(api, config, self.kind, self.metrics.clone())
            .inspect(move |object| {
                let key = Key::of(&**object);
                if cache.get(&key).is_none() {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&key);
                }
            })
    }

    /// Brings a child to what is wanted, with at most one write.
    ///
    /// # Errors
    /// When somebody else's object has the name, or the API server refuses.
    pub async fn apply(&self, parent: &Parent, wanted: &K) -> Result<Applied<K>, ApplyError> {
        self.bring(wanted, |key, live| self.check_ours(parent, key, live))
            .await
    }

    /// The same for an object that may have been another Workspace's before: the caller has checked whose it is.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn adopt(&self, wanted: &K) -> Result<Applied<K>, ApplyError> {
        self.bring(wanted, |_, _| Ok(())).await
    }

    async fn bring(
        &self,
        wanted: &K,
        check: impl Fn(&Key, &K) -> Result<(), ApplyError>,
    ) -> Result<Applied<K>, ApplyError> {
        let key = Key::of(wanted);
        let mut body = serde_json::to_value(wanted).map_err(|source| ApplyError::Serialize {
            kind: self.kind,
            key: key.clone(),
            source,
        })?;
        let digest = digest(&body);
        let live = self.live(&key).await?;
        if let Some(live) = &live {
            check(&key, &**live)?;
            if self.is_as_wanted(&key, &**live, &body, &digest) {
                self.metrics.writes_skipped.inc();
                return Ok(Applied::AsWanted(live.clone()));
            }
        }
        set_annotation(&mut body, APPLIED_ANNOTATION, &digest);
        self.send(key, body, digest, live.and_then(|live| live.uid()))
            .await
    }

    /// Sends a body. With the UID of the live object as a precondition: should another object have taken the name
    /// meanwhile, this is a conflict.
    async fn send(
        &self,
        key: Key,
        body: Value,
        digest: String,
        uid: Option<String>,
    ) -> Result<Applied<K>, ApplyError> {
        let mut sent = body.clone();
        if let Some(uid) = uid {
            set_field(&mut sent, &["metadata", "uid"], Value::String(uid));
        }
        // Forced: the fields that we send are ours, whoever wrote them last. Whoever wants another value changes the
        // Workspace.
        let params = PatchParams::apply(self.manager).force();
        let written = self
            .api(&key)
            .patch(&key.name, &params, &Patch::Apply(&sent))
            .await
            .map_err(|source| ApplyError::Apply {
                kind: self.kind,
                key: key.clone(),
                source: Box::new(source),
            })?;
        // Without the precondition: a later pass compares what it wants, and that has none.
        let part = serde_json::to_value(&written)
            .map(|live| part_of(&live, &body))
            .unwrap_or(Value::Null);
        let kept = Kept {
            uid: written.uid(),
            digest,
            part,
        };
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, kept);
        Ok(Applied::Written(self.cache.wrote(written)))
    }

    /// The live object: of the cache, or else of the API server, since the cache shows objects with our label alone.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn live(&self, key: &Key) -> Result<Option<Arc<K>>, ApplyError> {
        if let Some(live) = self.cache.get(key) {
            return Ok(Some(live));
        }
        let live = self
            .api(key)
            .get_opt(&key.name)
            .await
            .map_err(|source| ApplyError::Read {
                kind: self.kind,
                key: key.clone(),
                source: Box::new(source),
            })?;
        Ok(live.map(Arc::new))
    }

    fn check_ours(&self, parent: &Parent, key: &Key, live: &K) -> Result<(), ApplyError> {
        match ownership(parent, live) {
            Ownership::Ours => Ok(()),
            Ownership::Leftover => Err(ApplyError::Leftover {
                kind: self.kind,
                key: key.clone(),
            }),
            Ownership::Foreign(why) => Err(ApplyError::Foreign {
                kind: self.kind,
                key: key.clone(),
                why,
            }),
        }
    }

    fn is_as_wanted(&self, key: &Key, live: &K, wanted: &Value, digest: &str) -> bool {
        if live
            .annotations()
            .get(APPLIED_ANNOTATION)
            .map(String::as_str)
            != Some(digest)
            || live.meta().deletion_timestamp.is_some()
        {
            return false;
        }
        let Ok(shown) = serde_json::to_value(live) else {
            return false;
        };
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.get(key) {
            Some(kept) if kept.digest == digest && kept.uid == live.uid() => {
                let mut wanted = wanted.clone();
                set_annotation(&mut wanted, APPLIED_ANNOTATION, digest);
                part_of(&shown, &wanted) == kept.part
            }
            _ => covers(&shown, wanted),
        }
    }

    /// Deletes a child, this very one: another of the name that came meanwhile stays.
    ///
    /// # Errors
    /// When the API server refuses. That it is gone already is what was wanted.
    pub async fn delete(&self, live: &K) -> Result<(), ApplyError> {
        let key = Key::of(live);
        if live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: live.uid(),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        self.forget(&key);
        match self.api(&key).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(ApplyError::Delete {
                kind: self.kind,
                key,
                source: Box::new(source),
            }),
        }
    }

    /// Forgets what was written: the child is going or gone.
    pub fn forget(&self, key: &Key) {
        self.cache.forget(key);
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn api(&self, key: &Key) -> Api<K> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

/// Whose object this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This Workspace's.
    Ours,
    /// An earlier Workspace's of the same name: garbage collection takes it.
    Leftover,
    /// Somebody else's; how we know.
    Foreign(String),
}

/// Whether a live object belongs to a Workspace, by its labels and owner references.
///
/// The home volume is not judged here: it may outlive its Workspace, and its annotations decide.
pub fn ownership<K: Resource>(parent: &Parent, live: &K) -> Ownership {
    let label = |key: &str| {
        live.meta()
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
    };
    if label(MANAGED_BY_LABEL).map(String::as_str) != Some(MANAGED_BY) {
        return Ownership::Foreign(format!(
            "it lacks the label {MANAGED_BY_LABEL}: {MANAGED_BY}"
        ));
    }
    if label(WORKSPACE_LABEL) != Some(&parent.key.name) {
        return Ownership::Foreign(format!(
            "its label {WORKSPACE_LABEL} does not name this Workspace"
        ));
    }
    if label(WORKSPACE_UID_LABEL) == Some(&parent.uid) {
        return Ownership::Ours;
    }
    let controller = live
        .meta()
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if owner.kind == "Workspace" && owner.name == parent.key.name => {
            Ownership::Leftover
        }
        _ => Ownership::Foreign(format!(
            "its label {WORKSPACE_UID_LABEL} names another Workspace, and no Workspace owns it"
        )),
    }
}

/// A short digest of a JSON value. Fields come in the order of their types, so equal values have equal digests.
pub fn digest(value: &Value) -> String {
    let bytes = value.to_string();
    let mut text = hex::encode(Sha256::digest(bytes.as_bytes()));
    text.truncate(32);
    text
}

fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_field(
        object,
        &["metadata", "annotations", key],
        Value::String(value.to_owned()),
    );
}

fn set_field(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for (depth, name) in path.iter().enumerate() {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        let Some(fields) = at.as_object_mut() else {
            return;
        };
        if depth + 1 == path.len() {
            fields.insert((*name).to_owned(), value);
            return;
        }
        at = fields.entry((*name).to_owned()).or_insert(Value::Null);
    }
}

/// The part of a live object that a sent one speaks of. A list of another length is taken whole.
fn part_of(live: &Value, sent: &Value) -> Value {
    match (live, sent) {
        (Value::Object(live), Value::Object(sent)) => sent
            .iter()
            .map(|(name, wanted)| {
                let part = live
                    .get(name)
                    .map_or(Value::Null, |shown| part_of(shown, wanted));
                (name.clone(), part)
            })
            .collect(),
        (Value::Array(live), Value::Array(sent)) if live.len() == sent.len() => live
            .iter()
            .zip(sent)
            .map(|(shown, wanted)| part_of(shown, wanted))
            .collect(),
        _ => live.clone(),
    }
}

/// Whether a live object has everything that would be sent.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| match live.get(name) {
                Some(shown) => covers(shown, wanted),
                // The API server leaves empty values out.
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(shown, wanted)| covers(shown, wanted))
        }
        _ => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kube::core::ObjectMeta;
    use serde_json::json;

    use super::*;

    fn mk_parent() -> Parent {
        Parent {
            key: Key::new("team", "w"),
            uid: "new".to_owned(),
        }
    }

    fn mk_service(labels: &[(&str, &str)], owner: Option<&str>) -> Service {
        Service {
            metadata: ObjectMeta {
                name: Some("ws-w".to_owned()),
                namespace: Some("team".to_owned()),
                labels: Some(
                    labels
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                        .collect::<BTreeMap<_, _>>(),
                ),
                owner_references: owner.map(|uid| {
                    vec![OwnerReference {
                        kind: "Workspace".to_owned(),
                        name: "w".to_owned(),
                        uid: uid.to_owned(),
                        controller: Some(true),
                        ..OwnerReference::default()
                    }]
                }),
                ..ObjectMeta::default()
            },
            ..Service::default()
        }
    }

    #[test]
    fn what_lacks_our_labels_is_foreign() {
        let parent = mk_parent();
        let bare = mk_service(&[], None);
        assert!(matches!(ownership(&parent, &bare), Ownership::Foreign(_)));
        let ours = [
            (MANAGED_BY_LABEL, MANAGED_BY),
            (WORKSPACE_LABEL, "w"),
            (WORKSPACE_UID_LABEL, "new"),
        ];
        assert_eq!(
            ownership(&parent, &mk_service(&ours, Some("new"))),
            Ownership::Ours
        );
    }

    #[test]
    fn what_an_earlier_workspace_owns_is_waited_for_and_what_it_left_is_foreign() {
        let parent = mk_parent();
        let old = [
            (MANAGED_BY_LABEL, MANAGED_BY),
            (WORKSPACE_LABEL, "w"),
            (WORKSPACE_UID_LABEL, "old"),
        ];
        let owned = mk_service(&old, Some("old"));
        assert_eq!(ownership(&parent, &owned), Ownership::Leftover);
        let orphan = mk_service(&old, None);
        assert!(matches!(ownership(&parent, &orphan), Ownership::Foreign(_)));
    }

    #[test]
    fn a_live_object_covers_what_is_wanted_when_it_only_has_more() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, "ips": []}});
        let live = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}, "type": "ClusterIP"}});
        assert!(covers(&live, &wanted));
        let drifted =
            json!({"spec": {"ports": [{"port": 81, "protocol": "TCP"}], "selector": {"a": "b"}}});
        assert!(!covers(&drifted, &wanted));
        let longer =
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "selector": {"a": "b"}}});
        assert!(!covers(&longer, &wanted));
    }

    #[test]
    fn the_part_that_we_sent_is_compared_as_the_server_keeps_it() {
        let sent = json!({"cpu": "1000m", "list": [{"name": "a"}]});
        let kept = part_of(
            &json!({"cpu": "1", "list": [{"name": "a", "x": 1}], "other": 2}),
            &sent,
        );
        assert_eq!(kept, json!({"cpu": "1", "list": [{"name": "a"}]}));
        let injected = json!({"cpu": "1", "list": [{"name": "a"}, {"name": "sidecar"}]});
        assert_ne!(part_of(&injected, &sent), kept);
    }

    #[test]
    fn fields_are_set_through_what_is_missing() {
        let mut object = json!({"metadata": {"name": "w"}});
        set_annotation(&mut object, "a/b", "c");
        assert_eq!(
            object,
            json!({"metadata": {"name": "w", "annotations": {"a/b": "c"}}})
        );
    }
}
