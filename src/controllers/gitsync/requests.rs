//! What wakes the controller beside its own watch: hooks that ask for a fetch, drift that asks for a look.
//!
//! One per process, made before leadership is known: the webhook receiver of a standby replica holds it too, and
//! learns from it that nobody here would act.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use crate::api::GitSync;
use crate::controllers::cache::Key;

/// Requests for passes, merged: however often somebody asks, at most one fetch of a GitSync waits.
#[derive(Clone, Default)]
pub struct Requests(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether a controller in this process takes requests.
    attached: AtomicBool,
    /// Who is to be woken. Bounded: both sets hold each GitSync once.
    wakes: Mutex<BTreeSet<Key>>,
    /// Whose next pass is to fetch.
    fetches: Mutex<BTreeSet<Key>>,
    notify: Notify,
}

/// Held while a controller takes requests.
pub struct Attached(Requests);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.0.attached.store(false, Ordering::Release);
    }
}

impl Requests {
    /// Requests that nobody takes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares that a controller of this process acts on requests from now on.
    #[must_use]
    pub fn attach(&self) -> Attached {
        self.0.attached.store(true, Ordering::Release);
        Attached(self.clone())
    }

    /// Asks for a fetch. `false` when no controller here would act.
    #[must_use]
    pub fn ask_fetch(&self, key: Key) -> bool {
        if !self.0.attached.load(Ordering::Acquire) {
            return false;
        }
        lock(&self.0.fetches).insert(key.clone());
        self.wake(key);
        true
    }

    /// Asks for a look without a fetch, of a controller here. `false` when none would act.
    #[must_use]
    pub fn ask_look(&self, key: Key) -> bool {
        let attached = self.0.attached.load(Ordering::Acquire);
        if attached {
            self.wake(key);
        }
        attached
    }

    /// Asks for a look without a fetch.
    pub fn wake(&self, key: Key) {
        lock(&self.0.wakes).insert(key);
        self.0.notify.notify_one();
    }

    /// Takes the request for a fetch, if there is one.
    #[must_use]
    pub fn take_fetch(&self, key: &Key) -> bool {
        lock(&self.0.fetches).remove(key)
    }

    /// Those to be woken, one by one.
    pub fn stream(&self) -> impl Stream<Item = ObjectRef<GitSync>> + Send + 'static {
        futures::stream::unfold(self.clone(), |requests| async move {
            loop {
                let next = lock(&requests.0.wakes).pop_first();
                if let Some(key) = next {
                    let reference = ObjectRef::new(&key.name).within(&key.namespace);
                    return Some((reference, requests));
                }
                // `notify_one` leaves a permit: what came since the look above is not missed.
                requests.0.notify.notified().await;
            }
        })
    }
}

/// A poisoned set is still a set of names: nothing is half written in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn many_requests_for_one_gitsync_become_one() {
        let requests = Requests::new();
        let _attached = requests.attach();
        for _ in 0..100 {
            assert!(requests.ask_fetch(Key::new("a", "b")));
        }
        let mut stream = Box::pin(requests.stream());
        let first = stream.next().await.unwrap();
        assert_eq!(first.name, "b");
        assert_eq!(first.namespace.as_deref(), Some("a"));
        assert!(requests.take_fetch(&Key::new("a", "b")));
        assert!(!requests.take_fetch(&Key::new("a", "b")));
        let second = tokio::time::timeout(std::time::Duration::from_millis(20), stream.next());
        assert!(second.await.is_err(), "nothing else waits");
    }

    #[tokio::test]
    async fn without_a_controller_a_fetch_is_refused() {
        let requests = Requests::new();
        assert!(!requests.ask_fetch(Key::new("a", "b")));
        let attached = requests.attach();
        assert!(requests.ask_fetch(Key::new("a", "b")));
        drop(attached);
        assert!(!requests.ask_fetch(Key::new("a", "b")));
    }
}
