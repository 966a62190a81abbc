//! Objects of ours that can't be read: named, and left alone.
//!
//! A watch that must read every object stops at the first that it can't, and then nobody is looked after. That one may
//! come from a later release, after a rollback, or from a definition that somebody widened. So each object is read by
//! itself, as kube's own guard does; this one also keeps which field it was.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::events::EventType;
use kube::runtime::watcher::Event;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::API_VERSION;
use crate::controllers::Shared;
use crate::controllers::cache::{Cached, Key};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::WatchLabels;

/// Events that wait to be published; what does not fit is logged all the same.
const WAITING: usize = 64;

/// An object, or what is known of one that can't be read.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Box<Unreadable>>);

/// An object that can't be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The field that can't be read, such as `spec.endpoints[0].port`.
    pub field: String,
    /// Why not.
    pub why: String,
    /// All of it.
    pub value: Value,
}

impl Unreadable {
    /// Its name.
    pub fn key(&self) -> Key {
        Key::new(
            self.metadata.namespace.clone().unwrap_or_default(),
            self.metadata.name.clone().unwrap_or_default(),
        )
    }
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let error = match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error,
        };
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
        Ok(Self(Err(Box::new(Unreadable {
            metadata,
            field: error.path().to_string(),
            why: error.inner().to_string(),
            value,
        }))))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

/// Something to tell people of an object.
pub struct News {
    about: ObjectReference,
    field: String,
    note: String,
}

/// Keeps what can't be read out of a watch, and knows which objects these are.
pub struct Sentinel {
    kind: &'static str,
    /// None where another watch of the kind tells already.
    tells: Option<(mpsc::Sender<News>, Arc<Metrics>)>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By name: the version and the field.
    unreadable: BTreeMap<Key, (Option<String>, String)>,
    listing: BTreeSet<Key>,
}

impl Sentinel {
    /// One that says nothing: another watch of the kind does.
    pub fn silent(kind: &'static str) -> Self {
        Self {
            kind,
            tells: None,
            known: Mutex::default(),
        }
    }

    /// One that logs, counts, and hands on what [`tell`] publishes.
    pub fn new(kind: &'static str, metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<News>) {
        let (sender, news) = mpsc::channel(WAITING);
        let tells = Some((sender, metrics));
        let sentinel = Self {
            tells,
            ..Self::silent(kind)
        };
        (sentinel, news)
    }

    /// The field of an object that can't be read; none when all of it can, or there is none of the name.
    pub fn unreadable_field(&self, key: &Key) -> Option<String> {
        let known = self.lock();
        known.unreadable.get(key).map(|(_, field)| field.clone())
    }

    /// Takes out of the events what can't be read. An object that could be read before is shown as deleted then:
    /// `before` gives it.
    pub fn sift<K: Cached>(
        &self,
        event: Event<Guarded<K>>,
        before: impl Fn(&Key) -> Option<K>,
    ) -> Option<Event<K>> {
        match event {
            Event::Init => {
                self.lock().listing.clear();
                Some(Event::Init)
            }
            Event::InitApply(Guarded(Ok(object))) => Some(Event::InitApply(object)),
            Event::InitApply(Guarded(Err(unreadable))) => {
                self.lock().listing.insert(unreadable.key());
                self.note(&unreadable);
                None
            }
            Event::InitDone => {
                let mut known = self.lock();
                let listed = std::mem::take(&mut known.listing);
                known.unreadable.retain(|key, _| listed.contains(key));
                drop(known);
                self.count();
                Some(Event::InitDone)
            }
            Event::Apply(Guarded(Ok(object))) => {
                self.forget(&Key::of(&object));
                Some(Event::Apply(object))
            }
            Event::Apply(Guarded(Err(unreadable))) => {
                self.note(&unreadable);
                before(&unreadable.key()).map(Event::Delete)
            }
            Event::Delete(Guarded(Ok(object))) => {
                self.forget(&Key::of(&object));
                Some(Event::Delete(object))
            }
            Event::Delete(Guarded(Err(unreadable))) => {
                let key = unreadable.key();
                self.forget(&key);
                before(&key).map(Event::Delete)
            }
        }
    }

    fn note(&self, unreadable: &Unreadable) {
        let version = unreadable.metadata.resource_version.clone();
        let seen = (version, unreadable.field.clone());
        let old = self
            .lock()
            .unreadable
            .insert(unreadable.key(), seen.clone());
        if old != Some(seen) {
            self.tell_of(unreadable);
        }
        self.count();
    }

    fn tell_of(&self, unreadable: &Unreadable) {
        let Some((news, _)) = &self.tells else {
            return;
        };
        let Unreadable { field, why, .. } = unreadable;
        tracing::warn!(
            kind = self.kind,
            object = %unreadable.key(),
            field,
            why,
            "an object can't be read; it is left as it is"
        );
        let metadata = &unreadable.metadata;
        let about = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(self.kind.to_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let note = format!(
            "{field} can't be read by this release, so all is left as it is: write it as this release knows it, or run one that knows it; {why}"
        );
        // Full: the log has it.
        let field = field.clone();
        let _ = news.try_send(News { about, field, note });
    }

    fn forget(&self, key: &Key) {
        if self.lock().unreadable.remove(key).is_some() {
            self.count();
        }
    }

    fn count(&self) {
        let Some((_, metrics)) = &self.tells else {
            return;
        };
        let count = i64::try_from(self.lock().unreadable.len()).unwrap_or(i64::MAX);
        let labels = WatchLabels { kind: self.kind };
        metrics.unreadable_objects.get_or_create(&labels).set(count);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes what a [`Sentinel`] found, until the end is asked for.
pub async fn tell(mut news: mpsc::Receiver<News>, shared: &Shared, shutdown: &CancellationToken) {
    loop {
        let News { about, field, note } = tokio::select! {
            next = news.recv() => match next {
                Some(news) => news,
                None => return,
            },
            () = shutdown.cancelled() => return,
        };
        shared
            .events
            .publish_about(&about, EventType::Warning, UNREADABLE, &field, &note)
            .await;
    }
}

/// Reason of the Event about an object or a status that can't be read.
pub const UNREADABLE: &str = "Unreadable";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Workspace;

    fn mk_workspace(name: &str, version: u64, state: &str) -> Guarded<Workspace> {
        serde_json::from_value(json!({
            "apiVersion": API_VERSION, "kind": "Workspace",
            "metadata": {"name": name, "namespace": "team", "resourceVersion": version.to_string()},
            "spec": {"owner": "alice", "image": "registry.example.com/dev:1", "desiredState": state},
            "status": {"failure": {"cause": "Bewitched"}},
        }))
        .unwrap()
    }

    fn key(name: &str) -> Key {
        Key::new("team", name)
    }

    #[test]
    fn an_object_that_can_not_be_read_is_named_with_its_field_and_hides_no_other() {
        let metrics = Arc::new(Metrics::new());
        let (sentinel, mut news) = Sentinel::new("Workspace", metrics.clone());
        let sift = |event| sentinel.sift::<Workspace>(event, |_| None);
        assert!(sift(Event::Init).is_some());
        let bad = mk_workspace("bad", 1, "Hibernating");
        assert!(sift(Event::InitApply(bad.clone())).is_none());
        let good = sift(Event::InitApply(mk_workspace("good", 2, "Running")));
        let Some(Event::InitApply(good)) = good else {
            panic!("{good:?}");
        };
        assert_eq!(good.status.unwrap().unreadable, ["status.failure"]);
        assert!(sift(Event::InitDone).is_some());
        assert_eq!(
            sentinel.unreadable_field(&key("bad")).as_deref(),
            Some("spec.desiredState")
        );
        let told = news.try_recv().unwrap();
        assert_eq!(told.about.name.as_deref(), Some("bad"));
        assert!(told.note.starts_with("spec.desiredState can't be read"));
        let text = metrics.encode().unwrap();
        assert!(
            text.contains(r#"workstead_unreadable_objects{kind="Workspace"} 1"#),
            "{text}"
        );
        // The same version again, by a fresh list, is no news.
        assert!(sift(Event::Apply(bad)).is_none());
        assert!(news.try_recv().is_err());
        assert!(sift(Event::Apply(mk_workspace("bad", 3, "Stopped"))).is_some());
        assert_eq!(sentinel.unreadable_field(&key("bad")), None);
    }

    #[test]
    fn an_object_that_can_be_read_no_more_goes_from_the_watch() {
        let sentinel = Sentinel::silent("Workspace");
        let Guarded(Ok(known)) = mk_workspace("one", 1, "Running") else {
            panic!("it is of this release");
        };
        let now = Event::Apply(mk_workspace("one", 2, "Hibernating"));
        let shown = sentinel.sift(now, |asked| (*asked == key("one")).then(|| known.clone()));
        assert!(matches!(shown, Some(Event::Delete(_))), "{shown:?}");
    }

    #[test]
    fn a_list_that_has_it_no_more_forgets_it() {
        let sentinel = Sentinel::silent("Workspace");
        let sift = |event| sentinel.sift::<Workspace>(event, |_| None);
        sift(Event::Apply(mk_workspace("bad", 1, "Hibernating")));
        assert!(sentinel.unreadable_field(&key("bad")).is_some());
        sift(Event::Init);
        sift(Event::InitDone);
        assert_eq!(sentinel.unreadable_field(&key("bad")), None);
    }
}
