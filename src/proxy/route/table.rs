//! The routes as they are now: one immutable snapshot, exchanged as a whole.
//!
//! A change copies the shard that it falls into and the list of shards, so it costs the same with ten workspaces and with
//! ten thousand.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::api::workspace::Shared;
use crate::inside::pin::PublicKeyDigest;
use crate::model::access::{AccessRules, Port};
use crate::proxy::host::{RequestHost, Target};
use crate::proxy::route::asked::Asked;
use crate::proxy::route::facts::{Key, Uid};
use crate::proxy::route::refusal::Refusal;
use crate::proxy::route::seen::Seen;

/// Of ten thousand workspaces forty are in each.
const SHARDS: usize = 256;

/// A workspace that has a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Where its Workspace is, and its name, which is the label of its host.
    pub key: Key,
    /// UID of its Workspace.
    pub uid: Uid,
    /// What its Workspace asks for.
    pub asked: Arc<Asked>,
    /// How it is.
    pub status: Seen,
    /// Within which limits it may be opened.
    pub rules: AccessRules,
    /// Ports that the installation keeps closed for everybody, beside Workstead's own.
    pub denied_ports: Arc<[u16]>,
    /// The key of its first process.
    pub supervisor: Option<PublicKeyDigest>,
    /// What answers for it.
    pub backend: Backend,
}

/// What answers for a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Nothing yet, or nothing any more.
    None,
    /// This pod.
    Pod(Pod),
    /// Nothing that may be used.
    Refused(Refusal),
}

/// The pod of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its UID.
    pub uid: Uid,
    /// Where it is.
    pub address: IpAddr,
}

impl Route {
    /// The name of the Workspace: the label of its host.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Who owns it.
    pub fn owner(&self) -> &str {
        &self.asked.owner
    }

    /// With whom it is shared.
    pub fn shared(&self) -> Option<&Shared> {
        self.asked.shared()
    }

    /// The port of the editor that runs.
    pub fn editor_port(&self) -> Option<u16> {
        self.status.editor_port
    }

    /// What a port of it is; none asks for the editor.
    pub fn port(&self, asked: Option<u16>) -> Port<'_> {
        if asked.is_some_and(|port| self.denied_ports.contains(&port)) {
            return Port::Internal;
        }
        Port::of(&self.asked.endpoints, self.editor_port(), asked)
    }

    /// The pod, if there is one that may be used.
    pub fn pod(&self) -> Option<&Pod> {
        match &self.backend {
            Backend::Pod(pod) => Some(pod),
            Backend::None | Backend::Refused(_) => None,
        }
    }
}

type Shard = HashMap<Arc<str>, Arc<Route>>;

/// All routes at one moment.
#[derive(Clone)]
pub struct Routes {
    shards: Arc<[Arc<Shard>]>,
    count: usize,
    groups: Arc<HashSet<Arc<str>>>,
}

impl Default for Routes {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Self {
            shards: vec![empty; SHARDS].into(),
            count: 0,
            groups: Arc::default(),
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Routes {
    /// The workspace of this name.
    pub fn find(&self, workspace: &str) -> Option<&Arc<Route>> {
        self.shards.get(shard_of(workspace))?.get(workspace)
    }

    /// The workspace that a host stands for.
    pub fn of_host(&self, host: &RequestHost) -> Option<&Arc<Route>> {
        match &host.target {
            Target::Workspace { workspace, .. } => self.find(workspace),
            Target::Auth | Target::Unknown => None,
        }
    }

    /// Whether any workspace is shared with a group: only such groups are kept in sessions.
    pub fn names_group(&self, group: &str) -> bool {
        self.groups.contains(group)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// The same with these in place of what was there; none takes one away.
    #[must_use]
    pub fn with(
        &self,
        changes: impl IntoIterator<Item = (Arc<str>, Option<Arc<Route>>)>,
        groups: Option<Arc<HashSet<Arc<str>>>>,
    ) -> Self {
        let mut shards: Vec<Arc<Shard>> = self.shards.to_vec();
        for (name, route) in changes {
            let Some(shard) = shards.get_mut(shard_of(&name)) else {
                continue;
            };
            // Copied once: from then on it is ours alone.
            let shard = Arc::make_mut(shard);
            match route {
                Some(route) => shard.insert(name, route),
                None => shard.remove(&name),
            };
        }
        Self {
            count: shards.iter().map(|shard| shard.len()).sum(),
            shards: shards.into(),
            groups: groups.unwrap_or_else(|| self.groups.clone()),
        }
    }
}

/// FNV-1a. Whoever makes names that fall into one shard makes one shard slow to change, and no lookup.
fn shard_of(name: &str) -> usize {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of the remainder fit any usize.
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}

/// Where the routes are looked up. One writer, the index; readers never wait.
#[derive(Debug)]
pub struct Table {
    routes: ArcSwap<Routes>,
    version: watch::Sender<u64>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            routes: ArcSwap::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Table {
    /// The routes now. For one request: a guard that is kept slows the readers down.
    pub fn load(&self) -> Guard<Arc<Routes>> {
        self.routes.load()
    }

    /// The routes now, to be kept.
    pub fn snapshot(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// Whether a whole picture of the cluster was ever seen. Until then nothing is answered.
    pub fn is_synced(&self) -> bool {
        *self.version.borrow() > 0
    }

    /// Tells of each change. What it yields counts them; 0 is before the first whole picture.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Puts others in their place.
    pub fn publish(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
        self.version.send_modify(|version| *version += 1);
    }
}
