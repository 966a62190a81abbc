//! Events of nodes, schedulers and provisioners about pods and claims of Workspaces.
//!
//! They are hints: they expire, merge and get lost, so nothing waits for them, and a controller that may not read them
//! works on. But only they say why a volume is not mounted or a sandbox is not made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Event as CoreEvent, PersistentVolumeClaim, Pod};
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};

use crate::api::Workspace;
use crate::controllers::Shared;
use crate::controllers::cache::{Cache, Key, counted};
use crate::controllers::workspace::children::object_ref;
use crate::model::failures::HINTS;

/// So many Events of one object are kept, the latest.
const PER_OBJECT: usize = 16;

/// What an Event may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// A pod.
    Pod,
    /// A claim.
    Claim,
}

impl About {
    /// As `involvedObject.kind` names it.
    fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Claim => "PersistentVolumeClaim",
        }
    }
}

/// The Events about what belongs to Workspaces.
pub struct Hints {
    pods: Arc<Cache<Pod>>,
    claims: Arc<Cache<PersistentVolumeClaim>>,
    kept: Mutex<HashMap<(About, Key), Vec<CoreEvent>>>,
}

impl Hints {
    /// None yet; the caches say whose pods and claims are ours.
    pub fn new(pods: Arc<Cache<Pod>>, claims: Arc<Cache<PersistentVolumeClaim>>) -> Self {
        Self {
            pods,
            claims,
            kept: Mutex::default(),
        }
    }

    /// Watches the warnings about objects of a kind, and wakes the Workspaces that they concern.
    pub fn watch(
        self: &Arc<Self>,
        shared: &Shared,
        about: About,
    ) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
        let hints = self.clone();
        let metrics = shared.metrics.clone();
        let api = shared.config.scope.api::<CoreEvent>(&shared.client);
        let config = watcher::Config::default().fields(&format!(
            "type=Warning,involvedObject.kind={}",
            about.kind()
        ));
        let ready = self.clone();
        // Whose an Event is can't be said before pods and claims are listed.
        stream::once(async move {
            ready.pods.wait_until_ready().await;
            ready.claims.wait_until_ready().await;
        })
        .flat_map(move |()| watcher::watcher(api.clone(), config.clone()).default_backoff())
        .filter_map(move |event| std::future::ready(counted(event, "Event", &metrics)))
        .filter_map(move |event| std::future::ready(hints.take(about, event)))
        .map(object_ref)
    }

    /// Takes an event of the watch in. Returns the Workspace that should be looked at.
    fn take(&self, about: About, event: Event<CoreEvent>) -> Option<Key> {
        match event {
            Event::Init => {
                self.lock().retain(|(kind, _), _| *kind != about);
                None
            }
            Event::InitDone => None,
            Event::Apply(event) | Event::InitApply(event) => self.keep(about, event),
            Event::Delete(event) => {
                let name = (about, subject(&event));
                let mut kept = self.lock();
                if let Some(events) = kept.get_mut(&name) {
                    events.retain(|old| old.metadata.name != event.metadata.name);
                    if events.is_empty() {
                        kept.remove(&name);
                    }
                }
                None
            }
        }
    }

    fn keep(&self, about: About, mut event: CoreEvent) -> Option<Key> {
        let speaks = event.reason.as_deref();
        if !speaks.is_some_and(|reason| HINTS.contains(&reason)) {
            return None;
        }
        let key = subject(&event);
        let workspace = self.workspace_of(about, &key)?;
        event.metadata.managed_fields = None;
        let mut kept = self.lock();
        // Pods come and go, and their Events stay for an hour: those of gone ones are of no use.
        kept.retain(|(kind, key), _| self.workspace_of(*kind, key).is_some());
        let events = kept.entry((about, key)).or_default();
        events.retain(|old| old.metadata.name != event.metadata.name);
        if events.len() >= PER_OBJECT {
            events.remove(0);
        }
        events.push(event);
        Some(workspace)
    }

    fn workspace_of(&self, about: About, key: &Key) -> Option<Key> {
        match about {
            About::Pod => Key::of_workspace(&*self.pods.get(key)?),
            About::Claim => Key::of_workspace(&*self.claims.get(key)?),
        }
    }

    /// The Events about an object, not about an earlier one of its name.
    pub fn of<K: Resource<DynamicType = ()>>(&self, about: About, object: &K) -> Vec<CoreEvent> {
        let uid = object.meta().uid.as_deref();
        let same = |event: &&CoreEvent| {
            let meant = event.involved_object.uid.as_deref();
            meant.is_none() || meant == uid
        };
        self.lock()
            .get(&(about, Key::of(object)))
            .map(|events| events.iter().filter(same).cloned().collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(About, Key), Vec<CoreEvent>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an Event speaks of.
fn subject(event: &CoreEvent) -> Key {
    let about = &event.involved_object;
    Key::new(
        about.namespace.clone().unwrap_or_default(),
        about.name.clone().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;
    use kube::core::ObjectMeta;
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::names::WORKSPACE_LABEL;

    fn mk_pod(name: &str, uid: &str) -> Pod {
        let labels = BTreeMap::from([(WORKSPACE_LABEL.to_owned(), "dev".to_owned())]);
        Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("team".to_owned()),
                uid: Some(uid.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        }
    }

    fn mk_event(name: &str, pod: &Pod, reason: &str) -> CoreEvent {
        CoreEvent {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("team".to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectReference::default()
            },
            reason: Some(reason.to_owned()),
            ..CoreEvent::default()
        }
    }

    fn mk_hints(pods: &[&Pod]) -> Hints {
        let hints = Hints::new(Arc::default(), Arc::default());
        for pod in pods {
            hints.pods.take(Event::Apply((*pod).clone()));
        }
        hints
    }

    fn names(hints: &Hints, pod: &Pod) -> Vec<String> {
        let events = hints.of(About::Pod, pod);
        events
            .into_iter()
            .filter_map(|event| event.metadata.name)
            .collect()
    }

    #[test]
    fn only_what_explains_a_failure_of_ours_is_kept() {
        let pod = mk_pod("dev-1", "a");
        let hints = mk_hints(&[&pod]);
        let foreign = mk_pod("other", "b");
        let take = |event| hints.take(About::Pod, Event::Apply(event));
        let woken = take(mk_event("1", &pod, "FailedMount"));
        assert_eq!(woken, Some(Key::new("team", "dev")));
        assert_eq!(take(mk_event("2", &pod, "BackOff")), None);
        assert_eq!(take(mk_event("3", &foreign, "FailedMount")), None);
        assert_eq!(names(&hints, &pod), ["1"]);
        assert_eq!(hints.lock().len(), 1);
    }

    #[test]
    fn events_of_an_earlier_object_of_the_name_say_nothing_about_this_one() {
        let old = mk_pod("dev-1", "a");
        let hints = mk_hints(&[&old]);
        hints.take(About::Pod, Event::Apply(mk_event("1", &old, "FailedMount")));
        assert_eq!(names(&hints, &mk_pod("dev-1", "b")), Vec::<String>::new());
    }

    #[test]
    fn an_event_that_expired_or_is_in_no_list_any_more_is_forgotten() {
        let pod = mk_pod("dev-1", "a");
        let hints = mk_hints(&[&pod]);
        let event = |name| mk_event(name, &pod, "FailedMount");
        hints.take(About::Pod, Event::Apply(event("1")));
        hints.take(About::Pod, Event::Apply(event("1")));
        hints.take(About::Pod, Event::Apply(event("2")));
        hints.take(About::Pod, Event::Delete(event("1")));
        assert_eq!(names(&hints, &pod), ["2"]);
        hints.take(About::Claim, Event::Init);
        assert_eq!(names(&hints, &pod), ["2"]);
        hints.take(About::Pod, Event::Init);
        assert_eq!(names(&hints, &pod), Vec::<String>::new());
    }

    #[test]
    fn what_is_kept_is_bounded_by_the_objects_that_are_there() {
        let (old, new) = (mk_pod("dev-1", "a"), mk_pod("dev-2", "b"));
        let hints = mk_hints(&[&old]);
        for number in 0..100 {
            let event = mk_event(&number.to_string(), &old, "FailedMount");
            hints.take(About::Pod, Event::Apply(event));
        }
        assert_eq!(names(&hints, &old).len(), PER_OBJECT);
        hints.pods.take(Event::Delete(old.clone()));
        hints.pods.take(Event::Apply(new.clone()));
        hints.take(About::Pod, Event::Apply(mk_event("x", &new, "FailedMount")));
        assert_eq!(hints.lock().len(), 1);
    }
}
