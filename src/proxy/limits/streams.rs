//! So many requests at the same time, streams included: to one workspace, and of one person.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Names are kept in so many parts, each with a lock of its own.
const SHARDS: usize = 32;
/// From how many names on a part is first looked through for those that nobody uses.
const FIRST_SWEEP: usize = 64;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one person.
    pub per_user: u32,
    /// To one workspace.
    pub per_workspace: u32,
}

/// Who has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// The person.
    OfUser,
    /// The workspace.
    ToWorkspace,
}

impl TooMany {
    /// The limit's name, as counters have it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::OfUser => "streams_per_user",
            Self::ToWorkspace => "streams_per_workspace",
        }
    }
}

/// Counts those that are under way.
pub struct Streams {
    users: Counts,
    workspaces: Counts,
}

/// The place of one request: free again when it is dropped.
pub struct Place {
    _workspace: One,
    _user: Option<One>,
}

impl Streams {
    /// None yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            users: Counts::new(bounds.per_user),
            workspaces: Counts::new(bounds.per_workspace),
        }
    }

    /// Takes a place. Those who come without a name get half of a workspace's: its owner finds the other half free.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self, workspace: &str, user: Option<&str>) -> Result<Place, TooMany> {
        let most = match user {
            Some(_) => self.workspaces.most,
            None => self.workspaces.most.div_ceil(2),
        };
        let of_workspace = self.workspaces.take(workspace, most);
        let of_user = |user| self.users.take(user, self.users.most);
        Ok(Place {
            _workspace: of_workspace.ok_or(TooMany::ToWorkspace)?,
            _user: match user {
                Some(user) => Some(of_user(user).ok_or(TooMany::OfUser)?),
                None => None,
            },
        })
    }
}

/// Counts by name. A lock is held for one look at one part; giving back takes none.
struct Counts {
    most: u32,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

struct Shard {
    by_name: HashMap<Box<str>, Arc<AtomicU32>>,
    sweep_at: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Counts {
    fn new(most: u32) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    fn take(&self, name: &str, most: u32) -> Option<One> {
        // The remainder fits any usize.
        let at = usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or_default();
        let shard = self.shards.get(at)?;
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.of(name);
        // Others only lower it meanwhile.
        if count.load(Ordering::Relaxed) >= most {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Some(One(count))
    }
}

impl Shard {
    /// The count of a name. Names stay for the next request; those that nobody uses go when there are many.
    fn of(&mut self, name: &str) -> Arc<AtomicU32> {
        if let Some(count) = self.by_name.get(name) {
            return count.clone();
        }
        if self.by_name.len() >= self.sweep_at {
            let is_used = |count: &AtomicU32| count.load(Ordering::Relaxed) > 0;
            self.by_name.retain(|_, count| is_used(count));
            self.sweep_at = FIRST_SWEEP.max(2 * self.by_name.len());
        }
        let count = Arc::default();
        self.by_name.insert(name.into(), Arc::clone(&count));
        count
    }
}

struct One(Arc<AtomicU32>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(per_user: u32, per_workspace: u32) -> Streams {
        Streams::new(Bounds {
            per_user,
            per_workspace,
        })
    }

    #[test]
    fn resource_dos_one_person_does_not_take_the_places_of_others() {
        let streams = streams(2, 9);
        let take = |workspace: &str, user: &str| streams.take(workspace, Some(user));
        let first = take("w", "alice").unwrap();
        let _second = take("v", "alice").unwrap();
        assert_eq!(take("w", "alice").err(), Some(TooMany::OfUser));
        let _bob = take("w", "bob").unwrap();
        drop(first);
        let _third = take("w", "alice").unwrap();
        assert_eq!(take("w", "alice").err(), Some(TooMany::OfUser));
    }

    #[test]
    fn resource_dos_one_workspace_does_not_take_the_places_of_others() {
        let streams = streams(9, 2);
        let take = |workspace: &str, user: &str| streams.take(workspace, Some(user));
        let (_first, second) = (take("w", "alice").unwrap(), take("w", "bob").unwrap());
        assert_eq!(take("w", "carol").err(), Some(TooMany::ToWorkspace));
        let _other = take("v", "carol").unwrap();
        drop(second);
        let _third = take("w", "carol").unwrap();
    }

    #[test]
    fn resource_dos_who_comes_without_a_name_leaves_half_of_a_workspace_to_others() {
        let streams = streams(9, 4);
        let _strangers = [(); 2].map(|()| streams.take("w", None).unwrap());
        assert_eq!(streams.take("w", None).err(), Some(TooMany::ToWorkspace));
        let _owner = [(); 2].map(|()| streams.take("w", Some("alice")).unwrap());
        assert!(streams.take("w", Some("alice")).is_err());
    }

    #[test]
    fn a_refused_request_takes_no_place() {
        let streams = streams(1, 2);
        let _first = streams.take("w", Some("alice")).unwrap();
        assert!(streams.take("w", Some("alice")).is_err());
        let _second = streams.take("w", Some("bob")).unwrap();
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let streams = streams(9, 9);
        let _kept = streams.take("w", Some("alice")).unwrap();
        for number in 0..SHARDS * FIRST_SWEEP * 4 {
            streams.take("w", Some(&number.to_string())).unwrap();
        }
        let shards = streams.users.shards.iter();
        let count: usize = shards
            .map(|shard| shard.lock().unwrap().by_name.len())
            .sum();
        assert!(count <= SHARDS * FIRST_SWEEP, "{count}");
        let alice = streams.take("w", Some("alice")).unwrap();
        assert_eq!(alice._user.unwrap().0.load(Ordering::Relaxed), 2);
    }
}
