//! From watched objects to routes. Pure: it is fed by hand in tests and by watches in a cluster.
//!
//! What leads to a workspace is checked from both ends: a Service, its EndpointSlices and the pod must say that they are
//! the Workspace's, and those who made them must say so too ([`examine`]). Host, ports and visibility come from the
//! Workspace alone.

mod examine;
mod known;
mod take;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::access::{AccessRules, Conflict, Hosts};
use crate::proxy::route::address::Denied;
use crate::proxy::route::facts::{
    ClassFacts, Key, LinkFacts, PodFacts, ServiceFacts, SliceFacts, Uid, WorkspaceFacts,
};
use crate::proxy::route::index::known::Known;
use crate::proxy::route::refusal::{Kind, Notice, Object, Refusal};
use crate::proxy::route::table::{Backend, Route, Routes};
use crate::proxy::route::texts::Texts;

/// What an installation says of its network and names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses that are never dialled.
    pub denied: Denied,
    /// Labels of hosts that are the installation's, beside those that always are.
    pub reserved: Vec<String>,
    /// Ports of workspaces that nobody reaches, beside Workstead's own.
    pub denied_ports: Arc<[u16]>,
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A Workspace.
    Workspace(Box<WorkspaceFacts>),
    /// A WorkspaceClass.
    Class(ClassFacts),
    /// A Service.
    Service(ServiceFacts),
    /// An EndpointSlice.
    Slice(SliceFacts),
    /// A Pod.
    Pod(PodFacts),
    /// A ReplicaSet.
    ReplicaSet(LinkFacts),
    /// A Deployment.
    Deployment(LinkFacts),
}

impl Fact {
    fn share(&mut self, texts: &mut Texts) {
        match self {
            Self::Workspace(facts) => facts.share(texts),
            // There are few.
            Self::Class(_) => {}
            Self::Service(facts) => facts.share(texts),
            Self::Slice(facts) => facts.share(texts),
            Self::Pod(facts) => facts.share(texts),
            Self::ReplicaSet(facts) | Self::Deployment(facts) => facts.share(texts),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Workspace(_) => Kind::Workspace,
            Self::Class(_) => Kind::WorkspaceClass,
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::ReplicaSet(_) => Kind::ReplicaSet,
            Self::Deployment(_) => Kind::Deployment,
        }
    }

    fn key(&self) -> &Key {
        match self {
            Self::Workspace(facts) => &facts.key,
            Self::Class(facts) => &facts.key,
            Self::Service(facts) => &facts.key,
            Self::Slice(facts) => &facts.key,
            Self::Pod(facts) => &facts.key,
            Self::ReplicaSet(facts) | Self::Deployment(facts) => &facts.key,
        }
    }
}

/// A Workspace and what was found out about it.
#[derive(Debug)]
struct Entry {
    facts: WorkspaceFacts,
    /// What would answer, if nobody else had its address.
    backend: Backend,
    refused: BTreeMap<Object, Refusal>,
    route: Option<Arc<Route>>,
}

/// How many objects have an address.
type Addresses = HashMap<IpAddr, usize>;

/// All that is known, and what follows from it.
#[derive(Debug)]
pub struct Index {
    settings: Settings,
    texts: Texts,
    hosts: Hosts,
    /// Boxed: a table is a third empty.
    workspaces: HashMap<Uid, Box<Entry>>,
    names: HashMap<Key, Uid>,
    classes: HashMap<Arc<str>, AccessRules>,
    services: Known<ServiceFacts>,
    slices: Known<SliceFacts>,
    /// By the Service that they name.
    slices_of: HashMap<Key, Vec<Key>>,
    pods: Known<PodFacts>,
    replica_sets: Known<LinkFacts>,
    deployments: Known<LinkFacts>,
    links: HashMap<Uid, Key>,
    nodes: Addresses,
    service_addresses: Addresses,
    /// Whose backends have an address.
    by_address: HashMap<IpAddr, Vec<Uid>>,
    groups: HashMap<Arc<str>, usize>,
    groups_changed: bool,
    /// To be looked at again.
    dirty: BTreeSet<Uid>,
    /// Routes that are others than those that were published.
    changed: HashMap<Arc<str>, Option<Arc<Route>>>,
    notices: Vec<Notice>,
}

impl Index {
    /// Nothing known yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            texts: Texts::default(),
            hosts: Hosts::default(),
            workspaces: HashMap::new(),
            names: HashMap::new(),
            classes: HashMap::new(),
            services: Known::default(),
            slices: Known::default(),
            slices_of: HashMap::new(),
            pods: Known::default(),
            replica_sets: Known::default(),
            deployments: Known::default(),
            links: HashMap::new(),
            nodes: HashMap::new(),
            service_addresses: HashMap::new(),
            by_address: HashMap::new(),
            groups: HashMap::new(),
            groups_changed: false,
            dirty: BTreeSet::new(),
            changed: HashMap::new(),
            notices: Vec::new(),
        }
    }

    /// Takes in an object as it is now.
    pub fn apply(&mut self, mut fact: Fact) {
        fact.share(&mut self.texts);
        match fact {
            Fact::Workspace(facts) => self.apply_workspace(*facts),
            Fact::Class(facts) => self.set_class(&facts.key, Some(facts.rules)),
            Fact::Service(facts) => self.set_service(&facts.key.clone(), Some(facts)),
            Fact::Slice(facts) => self.set_slice(&facts.key.clone(), Some(facts)),
            Fact::Pod(facts) => self.set_pod(&facts.key.clone(), Some(facts)),
            Fact::ReplicaSet(facts) => {
                self.set_link(Kind::ReplicaSet, &facts.key.clone(), Some(facts));
            }
            Fact::Deployment(facts) => {
                self.set_link(Kind::Deployment, &facts.key.clone(), Some(facts));
            }
        }
    }

    /// Forgets an object.
    pub fn delete(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::Workspace => self.delete_workspace(key),
            Kind::WorkspaceClass => self.set_class(key, None),
            Kind::Service => self.set_service(key, None),
            Kind::EndpointSlice => self.set_slice(key, None),
            Kind::Pod => self.set_pod(key, None),
            Kind::ReplicaSet | Kind::Deployment => self.set_link(kind, key, None),
        }
    }

    /// Takes in all objects of a kind: what is not among them is gone.
    pub fn reset(&mut self, kind: Kind, facts: Vec<Fact>) {
        let listed: HashSet<Key> = facts.iter().map(|fact| fact.key().clone()).collect();
        let gone: Vec<Key> = self
            .keys(kind)
            .filter(|key| !listed.contains(key))
            .collect();
        for key in gone {
            self.delete(kind, &key);
        }
        for fact in facts.into_iter().filter(|fact| fact.kind() == kind) {
            self.apply(fact);
        }
    }

    fn keys(&self, kind: Kind) -> Box<dyn Iterator<Item = Key> + '_> {
        match kind {
            Kind::Workspace => Box::new(self.names.keys().cloned()),
            Kind::WorkspaceClass => Box::new(self.classes.keys().map(|name| Key::new("", name))),
            Kind::Service => Box::new(self.services.keys().cloned()),
            Kind::EndpointSlice => Box::new(self.slices.keys().cloned()),
            Kind::Pod => Box::new(self.pods.keys().cloned()),
            Kind::ReplicaSet => Box::new(self.replica_sets.keys().cloned()),
            Kind::Deployment => Box::new(self.deployments.keys().cloned()),
        }
    }

    /// The routes that follow, where they are others than those given.
    pub fn settle(&mut self, routes: &Routes) -> Option<Routes> {
        self.settle_dirty();
        let groups = std::mem::take(&mut self.groups_changed)
            .then(|| Arc::new(self.groups.keys().cloned().collect::<HashSet<_>>()));
        if self.changed.is_empty() && groups.is_none() {
            return None;
        }
        Some(routes.with(self.changed.drain(), groups))
    }

    /// What was refused since the last time this was asked.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Notes under whose name an address stands, and has those looked at who have it too.
    fn move_address(&mut self, uid: &Uid, before: &Backend, after: &Backend) {
        let address = |backend: &Backend| match backend {
            Backend::Pod(pod) => Some(pod.address),
            Backend::None | Backend::Refused(_) => None,
        };
        let (before, after) = (address(before), address(after));
        if before == after {
            return;
        }
        if let Some(address) = before
            && let Some(users) = self.by_address.get_mut(&address)
        {
            users.retain(|user| user != uid);
            self.dirty.extend(users.iter().cloned());
            if users.is_empty() {
                self.by_address.remove(&address);
            }
        }
        if let Some(address) = after {
            let users = self.by_address.entry(address).or_default();
            self.dirty.extend(users.iter().cloned());
            users.reserve_exact(1);
            users.push(uid.clone());
        }
    }

    fn settle_dirty(&mut self) {
        let mut all = BTreeSet::new();
        // Whoever lost or gained a neighbour at its address is looked at once more: that changes no address.
        while !self.dirty.is_empty() {
            for uid in std::mem::take(&mut self.dirty) {
                let Some(entry) = self.workspaces.get(&uid) else {
                    continue;
                };
                let found = self.examine(&entry.facts);
                let before = entry.backend.clone();
                self.move_address(&uid, &before, &found.backend);
                self.note(&uid, found.refused);
                if let Some(entry) = self.workspaces.get_mut(&uid) {
                    entry.backend = found.backend;
                }
                all.insert(uid);
            }
        }
        // Who loses a host goes before who gains it.
        let mut gained = Vec::new();
        for uid in all {
            let route = self.route(&uid);
            let Some(entry) = self.workspaces.get_mut(&uid) else {
                continue;
            };
            if entry.route.as_deref() == route.as_ref() {
                continue;
            }
            let name = entry.facts.key.name.clone();
            match route {
                Some(route) => gained.push((uid, name, Arc::new(route))),
                None => {
                    entry.route = None;
                    self.changed.insert(name, None);
                }
            }
        }
        for (uid, name, route) in gained {
            if let Some(entry) = self.workspaces.get_mut(&uid) {
                entry.route = Some(route.clone());
            }
            self.changed.insert(name, Some(route));
        }
    }

    /// Remembers what is refused now, and tells of what was not before.
    fn note(&mut self, uid: &Uid, refused: Vec<(Object, Refusal)>) {
        let Some(entry) = self.workspaces.get_mut(uid) else {
            return;
        };
        let refused: BTreeMap<Object, Refusal> = refused.into_iter().collect();
        for (object, refusal) in &refused {
            if entry.refused.get(object) != Some(refusal) {
                self.notices.push(Notice {
                    object: object.clone(),
                    refusal: refusal.clone(),
                });
            }
        }
        entry.refused = refused;
    }

    /// The route of a workspace, if it holds its host.
    fn route(&self, uid: &Uid) -> Option<Route> {
        let entry = self.workspaces.get(uid)?;
        let facts = &entry.facts;
        if self.conflict(facts).is_some() {
            return None;
        }
        let rules = facts.class().and_then(|class| self.classes.get(class));
        let backend = match &entry.backend {
            Backend::Pod(pod) if self.is_shared(pod.address) => {
                Backend::Refused(Refusal::AddressShared(pod.address))
            }
            backend => backend.clone(),
        };
        Some(Route {
            key: facts.key.clone(),
            uid: facts.uid.clone(),
            asked: facts.asked.clone(),
            status: facts.status.clone(),
            rules: rules.copied().unwrap_or(AccessRules::CLOSED),
            denied_ports: self.settings.denied_ports.clone(),
            supervisor: facts.supervisor,
            backend,
        })
    }

    fn is_shared(&self, address: IpAddr) -> bool {
        let users = self.by_address.get(&address);
        users.is_some_and(|users| users.len() > 1)
    }

    fn conflict(&self, facts: &WorkspaceFacts) -> Option<Conflict> {
        let reserved = &self.settings.reserved;
        self.hosts.conflict(&facts.key.name, &facts.uid, reserved)
    }
}
