//! Objects by their names. The name is in the object, and stands nowhere else: of ten thousand workspaces six objects each
//! are kept.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use crate::proxy::route::facts::{Key, LinkFacts, PodFacts, ServiceFacts, SliceFacts};

/// What has a name.
pub(super) trait Named {
    /// Its name.
    fn key(&self) -> &Key;
}

macro_rules! named {
    ($($facts:ty),*) => {$(
        impl Named for $facts {
            fn key(&self) -> &Key {
                &self.key
            }
        }
    )*};
}

named!(LinkFacts, PodFacts, ServiceFacts, SliceFacts);

/// All objects of a kind. Boxed: a table is a third empty, and half of it while it grows.
#[derive(Debug)]
pub(super) struct Known<T: Named>(HashSet<Entry<T>>);

#[derive(Debug)]
struct Entry<T>(Box<T>);

impl<T: Named> Borrow<Key> for Entry<T> {
    fn borrow(&self) -> &Key {
        self.0.key()
    }
}

impl<T: Named> Hash for Entry<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl<T: Named> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl<T: Named> Eq for Entry<T> {}

impl<T: Named> Default for Known<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Named> Known<T> {
    /// The object of this name.
    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.0.get(key).map(|entry| &*entry.0)
    }

    /// Puts an object in, and gives the one that had its name.
    pub(super) fn insert(&mut self, object: T) -> Option<T> {
        let before = self.0.replace(Entry(Box::new(object)));
        before.map(|entry| *entry.0)
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, key: &Key) -> Option<T> {
        self.0.take(key).map(|entry| *entry.0)
    }

    /// The names of all.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().map(|entry| entry.0.key())
    }
}
