//! Our own last status writes, until the watch shows them: a pass that starts in between must not decide on the status
//! before it, or every moment in it would be written twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::Workspace;
use crate::controllers::cache::{Key, is_newer};

/// Workspaces as the API server answered our last status write.
#[derive(Debug, Default)]
pub struct Latest {
    written: Mutex<HashMap<Key, Arc<Workspace>>>,
}

impl Latest {
    /// Remembers an answer.
    pub fn wrote(&self, workspace: Workspace) -> Arc<Workspace> {
        let workspace = Arc::new(workspace);
        self.lock().insert(Key::of(&*workspace), workspace.clone());
        workspace
    }

    /// The newer one of what the watch showed and what we wrote.
    pub fn newest(&self, watched: Arc<Workspace>) -> Arc<Workspace> {
        let written = self.lock();
        match written.get(&Key::of(&*watched)) {
            Some(written)
                if is_newer(&**written, &*watched)
                    && written.metadata.uid == watched.metadata.uid =>
            {
                written.clone()
            }
            _ => watched,
        }
    }

    /// Forgets what the watch has caught up with.
    pub fn watched(&self, workspace: &Workspace) {
        let key = Key::of(workspace);
        let mut written = self.lock();
        if written
            .get(&key)
            .is_some_and(|written| !is_newer(&**written, workspace))
        {
            written.remove(&key);
        }
    }

    /// Forgets a Workspace that is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Workspace>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
