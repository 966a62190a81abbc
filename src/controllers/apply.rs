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

mod compare;
mod error;
mod ownership;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use self::compare::{at, covers, part_of, set_annotation, set_field, without};
use crate::controllers::cache::{Cache, Cached, Key};
use crate::model::names::APPLIED_ANNOTATION;
use crate::telemetry::Metrics;

pub use self::compare::digest;
pub use self::error::{ApplyError, client_category, is_namespace_ending};
pub use self::ownership::{Ownership, Parent, ownership};

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
    never_changes: &'static [&'static str],
    whole: &'static [&'static str],
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
            never_changes: &[],
            whole: &[],
            cache,
            kept: Arc::default(),
            metrics,
        }
    }

    /// Names a field that never changes once the object is there, and that the API server sets when we leave it out:
    /// it alone is no reason to write.
    #[must_use]
    pub fn never_changes(mut self, field: &'static [&'static str]) -> Self {
        self.never_changes = field;
        self
    }

    /// Names a field of which all is ours. Elsewhere what others add stays; here one key more would mean something
    /// else: a selector that selects nobody, a rule that lets more in.
    #[must_use]
    pub fn whole(mut self, field: &'static [&'static str]) -> Self {
        self.whole = field;
        self
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

    /// The same for an object that may have been another Workspace's before: `may_have` says whether a live one may be
    /// taken. The caller has looked before; one that came meanwhile and may not is a reason to look again.
    ///
    /// # Errors
    /// When an object came that may not be taken, or the API server refuses.
    pub async fn adopt(
        &self,
        wanted: &K,
        may_have: impl Fn(&K) -> bool,
    ) -> Result<Applied<K>, ApplyError> {
        let check = |key: &Key, live: &K| {
            if may_have(live) {
                return Ok(());
            }
            Err(ApplyError::Appeared {
                kind: self.kind,
                key: key.clone(),
            })
        };
        self.bring(wanted, check).await
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
        let compared = without(&body, self.never_changes);
        let digest = digest(&compared);
        let live = self.live(&key).await?;
        if let Some(live) = &live {
            check(&key, &**live)?;
            // What is being deleted takes no change that matters. Its end wakes the Workspace, and it is made anew.
            let leaves = live.meta().deletion_timestamp.is_some();
            if leaves || self.is_as_wanted(&key, &**live, &compared, &digest) {
                self.metrics.writes_skipped.inc();
                return Ok(Applied::AsWanted(live.clone()));
            }
        }
        set_annotation(&mut body, APPLIED_ANNOTATION, &digest);
        self.send(key, body, digest, live.and_then(|live| live.uid()))
            .await
    }

    /// Sends a body. With the UID of the live object as a precondition: should another object have taken the name
    /// meanwhile, this is a conflict. And so it is when one came where there was none, since only what was looked at is
    /// forced.
    async fn send(
        &self,
        key: Key,
        body: Value,
        digest: String,
        uid: Option<String>,
    ) -> Result<Applied<K>, ApplyError> {
        let mut sent = body.clone();
        let mut params = PatchParams::apply(self.manager);
        if let Some(uid) = uid {
            // Forced: the fields that we send are ours, whoever wrote them last. Whoever wants another value changes
            // the Workspace.
            params = params.force();
            set_field(&mut sent, &["metadata", "uid"], Value::String(uid));
        }
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
            .map(|live| self.part(&live, &without(&body, self.never_changes)))
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
                self.part(&shown, &wanted) == kept.part
            }
            _ => covers(&shown, wanted) && covers(at(wanted, self.whole), at(&shown, self.whole)),
        }
    }

    /// What of a live object is compared with our last write.
    fn part(&self, live: &Value, sent: &Value) -> Value {
        let mut part = part_of(live, sent);
        if !self.whole.is_empty() {
            set_field(&mut part, self.whole, at(live, self.whole).clone());
        }
        part
    }

    /// Puts our labels back on a child of which nothing else may be written again.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn relabel(&self, parent: &Parent, live: &K) -> Result<(), ApplyError> {
        let key = Key::of(live);
        let labels: BTreeMap<_, _> = parent.labels().into();
        // The UID is a precondition.
        let patch = json!({"metadata": {"uid": live.uid(), "labels": labels}});
        let params = PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        };
        match self
            .api(&key)
            .patch(&key.name, &params, &Patch::Merge(&patch))
            .await
        {
            Ok(written) => {
                self.cache.wrote(written);
                Ok(())
            }
            Err(source) => Err(ApplyError::Apply {
                kind: self.kind,
                key,
                source: Box::new(source),
            }),
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
