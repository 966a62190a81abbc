//! What the repositories of all GitSyncs may cost together: processes, memory, disk. However many tenants there are and
//! whatever they push, the controller stays within its pod.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::controllers::cache::Key;
use crate::gitsync::fetch::FetchLimits;
use crate::model::sync::{Code, SourceError};

/// What Git repositories may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GitLimits {
    /// Fetches at the same time, each a process of its own.
    pub fetches: u16,
    /// What one fetch may cost.
    pub fetch: FetchLimits,
    /// Bytes of all repositories on disk.
    pub repositories_bytes: u64,
    /// Bytes of the YAML files of one tree.
    pub tree_bytes: u64,
    /// Bytes of the YAML files of all trees, which are kept in memory.
    pub trees_bytes: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for GitLimits {
    fn default() -> Self {
        Self {
            fetches: 6,
            fetch: FetchLimits::default(),
            repositories_bytes: 1024 * MIB,
            tree_bytes: 16 * MIB,
            trees_bytes: 32 * MIB,
        }
    }
}

/// What is used of the limits.
#[derive(Debug)]
pub struct Budget {
    limits: GitLimits,
    /// By UID of the GitSync, as last measured.
    repositories: Mutex<HashMap<String, u64>>,
    trees: Mutex<HashMap<Key, u64>>,
}

impl Budget {
    /// Nothing used yet.
    pub fn new(limits: GitLimits) -> Self {
        Self {
            limits,
            repositories: Mutex::default(),
            trees: Mutex::default(),
        }
    }

    /// What the next fetch may cost. Those that run at the same time may together exceed the room by what one fetch
    /// may bring, times their number: the volume is larger by that much.
    pub fn fetch_limits(&self) -> FetchLimits {
        let used = lock(&self.repositories)
            .values()
            .fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        FetchLimits {
            room: self.limits.repositories_bytes.saturating_sub(used),
            ..self.limits.fetch
        }
    }

    /// Bytes of the YAML files of one tree.
    pub fn tree_bytes(&self) -> u64 {
        self.limits.tree_bytes
    }

    /// Notes the size of a repository.
    pub fn measured(&self, uid: &str, bytes: u64) {
        lock(&self.repositories).insert(uid.to_owned(), bytes);
    }

    /// Notes the sizes of all repositories that there are.
    pub fn measured_all(&self, sizes: HashMap<String, u64>) {
        *lock(&self.repositories) = sizes;
    }

    /// Makes room for a tree in the place of the one before.
    ///
    /// # Errors
    /// When there is none: the one before is kept.
    pub fn take_tree(&self, key: &Key, bytes: u64) -> Result<(), SourceError> {
        let mut trees = lock(&self.trees);
        let others = trees
            .iter()
            .filter(|(other, _)| *other != key)
            .fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        if others.saturating_add(bytes) > self.limits.trees_bytes {
            return Err(SourceError::new(
                Code::LimitExceeded,
                format!(
                    "the repository exceeds limit treesBytes: its YAML files have {bytes} bytes, those of all other GitSyncs {others}, and {} are kept in memory at most: set spec.path or spec.ignore; an administrator can raise it with the controller's memory",
                    self.limits.trees_bytes
                ),
            ));
        }
        trees.insert(key.clone(), bytes);
        Ok(())
    }

    /// Forgets the tree of a GitSync that is gone.
    pub fn forget(&self, key: &Key) {
        lock(&self.trees).remove(key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(GitLimits {
            repositories_bytes: 100,
            trees_bytes: 10,
            ..GitLimits::default()
        })
    }

    #[test]
    fn all_repositories_share_the_disk() {
        let budget = budget();
        budget.measured("a", 60);
        budget.measured("b", 30);
        assert_eq!(budget.fetch_limits().room, 10);
        budget.measured("b", 80);
        assert_eq!(budget.fetch_limits().room, 0);
        budget.measured_all(HashMap::from([("b".to_owned(), 80)]));
        assert_eq!(budget.fetch_limits().room, 20);
    }

    #[test]
    fn all_trees_share_the_memory_and_who_finds_none_is_told_the_limit() {
        let budget = budget();
        let key = |name: &str| Key::new("team", name);
        budget.take_tree(&key("a"), 6).unwrap();
        budget.take_tree(&key("b"), 4).unwrap();
        // Its own earlier tree makes room.
        budget.take_tree(&key("a"), 5).unwrap();
        let error = budget.take_tree(&key("c"), 2).unwrap_err();
        assert_eq!(error.code, Code::LimitExceeded);
        assert!(error.message.contains("limit treesBytes"), "{error}");
        budget.forget(&key("b"));
        budget.take_tree(&key("c"), 2).unwrap();
    }
}
