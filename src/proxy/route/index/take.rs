//! Taking in what is watched: what is kept of it, and which workspaces it concerns.
//!
//! Each object concerns at most the Workspace that it names, before or after a change; addresses of nodes and Services
//! concern whoever has them. Only those are looked at again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::access::AccessRules;
use crate::model::identity::WorkspaceName;
use crate::proxy::route::facts::{
    Key, LinkFacts, PodFacts, ServiceFacts, SliceFacts, Uid, WorkspaceFacts,
};
use crate::proxy::route::index::{Addresses, Entry, Index};
use crate::proxy::route::refusal::{Kind, Notice, Object, Refusal};
use crate::proxy::route::table::Backend;

impl Index {
    pub(super) fn apply_workspace(&mut self, facts: WorkspaceFacts) {
        let uid = facts.uid.clone();
        // Another one of this name was there, and nobody told that it went.
        if self
            .names
            .get(&facts.key)
            .is_some_and(|known| *known != uid)
        {
            self.delete_workspace(&facts.key.clone());
        }
        self.names.insert(facts.key.clone(), uid.clone());
        let affected = self.hosts.insert(facts.claim());
        let affected = affected.into_iter().map(|claim| claim.uid);
        self.dirty.extend(affected);
        self.count_groups(&facts, true);
        match self.workspaces.get_mut(&uid) {
            Some(entry) => {
                let before = std::mem::replace(&mut entry.facts, facts);
                self.count_groups(&before, false);
            }
            None => {
                let entry = Box::new(Entry {
                    facts,
                    backend: Backend::None,
                    refused: BTreeMap::new(),
                    route: None,
                });
                self.workspaces.insert(uid.clone(), entry);
            }
        }
        self.dirty.insert(uid);
    }

    pub(super) fn delete_workspace(&mut self, key: &Key) {
        let Some(uid) = self.names.remove(key) else {
            return;
        };
        let Some(entry) = self.workspaces.remove(&uid) else {
            return;
        };
        let affected = self.hosts.remove(&key.name, &uid);
        let affected = affected.into_iter().map(|claim| claim.uid);
        self.dirty.extend(affected);
        self.dirty.remove(&uid);
        self.count_groups(&entry.facts, false);
        self.move_address(&uid, &entry.backend, &Backend::None);
        if entry.route.is_some() {
            self.changed.insert(key.name.clone(), None);
        }
    }

    fn count_groups(&mut self, facts: &WorkspaceFacts, more: bool) {
        for group in facts
            .asked
            .shared()
            .into_iter()
            .flat_map(|shared| &shared.groups)
        {
            let count = self.groups.entry(group.as_str().into()).or_default();
            if more {
                *count += 1;
                self.groups_changed |= *count == 1;
            } else {
                *count -= 1;
                if *count == 0 {
                    self.groups.remove(group.as_str());
                    self.groups_changed = true;
                }
            }
        }
    }

    pub(super) fn set_class(&mut self, key: &Key, rules: Option<AccessRules>) {
        let before = match rules {
            Some(rules) => self.classes.insert(key.name.clone(), rules),
            None => self.classes.remove(&key.name),
        };
        if before == rules {
            return;
        }
        // Classes change seldom, and then for many.
        let entries = self.workspaces.values();
        let entries = entries.filter(|entry| entry.facts.class() == Some(&key.name));
        self.dirty
            .extend(entries.map(|entry| entry.facts.uid.clone()));
    }

    pub(super) fn set_service(&mut self, key: &Key, service: Option<ServiceFacts>) {
        let known = self.services.get(key);
        if known == service.as_ref() {
            return;
        }
        let known = known.map(|known| known.uid.clone());
        self.touch_service(key);
        let before = match service {
            Some(service) => {
                let is_stray = service
                    .key
                    .name
                    .strip_prefix(WorkspaceName::SERVICE_PREFIX)
                    .is_none_or(|name| name != &*service.labels.workspace);
                // Once for each: it stays the same object whatever else of it changes.
                if is_stray && known.is_none_or(|known| known != service.uid) {
                    self.notices.push(Notice {
                        object: Object {
                            kind: Kind::Service,
                            key: key.clone(),
                            uid: service.uid.clone(),
                        },
                        refusal: Refusal::ServiceName,
                    });
                }
                let addresses = service.addresses.clone();
                let before = self.services.insert(service);
                self.count_addresses(|index| &mut index.service_addresses, &addresses, true);
                before
            }
            None => self.services.remove(key),
        };
        if let Some(before) = before {
            self.count_addresses(
                |index| &mut index.service_addresses,
                &before.addresses,
                false,
            );
        }
    }

    /// The Workspace whose Service this would be, if it is one's.
    fn touch_service(&mut self, service: &Key) {
        let Some(name) = service.name.strip_prefix(WorkspaceName::SERVICE_PREFIX) else {
            return;
        };
        let workspace = Key {
            namespace: service.namespace.clone(),
            name: name.into(),
        };
        if let Some(uid) = self.names.get(&workspace) {
            self.dirty.insert(uid.clone());
        }
    }

    pub(super) fn set_slice(&mut self, key: &Key, slice: Option<SliceFacts>) {
        let known = self.slices.get(key);
        if known == slice.as_ref() {
            return;
        }
        let service_of = |slice: &SliceFacts| Key {
            namespace: slice.key.namespace.clone(),
            name: slice.service.clone(),
        };
        if let Some(service) = known.map(service_of) {
            if let Some(slices) = self.slices_of.get_mut(&service) {
                slices.retain(|slice| slice != key);
                if slices.is_empty() {
                    self.slices_of.remove(&service);
                }
            }
            self.touch_service(&service);
        }
        match slice {
            Some(slice) => {
                let service = service_of(&slice);
                self.touch_service(&service);
                let slices = self.slices_of.entry(service).or_default();
                slices.reserve_exact(1);
                slices.push(key.clone());
                self.slices.insert(slice);
            }
            None => {
                self.slices.remove(key);
            }
        }
    }

    pub(super) fn set_pod(&mut self, key: &Key, pod: Option<PodFacts>) {
        if self.pods.get(key) == pod.as_ref() {
            return;
        }
        let addresses = pod.as_ref().map(|pod| pod.node_addresses.clone());
        // A pod is used only for the Workspace that it names, so nobody else is concerned.
        self.touch(pod.as_ref().map(|pod| &pod.labels.uid));
        let before = match pod {
            Some(pod) => self.pods.insert(pod),
            None => self.pods.remove(key),
        };
        self.touch(before.as_ref().map(|pod| &pod.labels.uid));
        for address in [
            (addresses, true),
            (before.map(|pod| pod.node_addresses), false),
        ] {
            if let (Some(addresses), more) = address {
                self.count_addresses(|index| &mut index.nodes, &addresses, more);
            }
        }
    }

    pub(super) fn set_link(&mut self, kind: Kind, key: &Key, link: Option<LinkFacts>) {
        let links = match kind {
            Kind::ReplicaSet => &mut self.replica_sets,
            _ => &mut self.deployments,
        };
        if links.get(key) == link.as_ref() {
            return;
        }
        let uid = link.as_ref().map(|link| link.uid.clone());
        let named = link.as_ref().map(|link| link.labels.uid.clone());
        let before = match link {
            Some(link) => links.insert(link),
            None => links.remove(key),
        };
        if let Some(before) = &before {
            self.links.remove(&before.uid);
        }
        if let Some(uid) = uid {
            self.links.insert(uid, key.clone());
        }
        self.touch(named.as_ref());
        self.touch(before.as_ref().map(|link| &link.labels.uid));
    }

    fn touch(&mut self, uid: Option<&Uid>) {
        if let Some(uid) = uid.filter(|uid| self.workspaces.contains_key(*uid)) {
            self.dirty.insert(uid.clone());
        }
    }

    /// Counts addresses of nodes or Services. One that came or went concerns those who have it or were refused for it.
    fn count_addresses(
        &mut self,
        which: fn(&mut Self) -> &mut Addresses,
        addresses: &[IpAddr],
        more: bool,
    ) {
        for address in addresses {
            let count = which(self).entry(*address).or_default();
            if more {
                *count += 1;
                if *count == 1 {
                    let users = self.by_address.get(address).into_iter().flatten();
                    self.dirty.extend(users.cloned());
                }
                continue;
            }
            *count -= 1;
            if *count == 0 {
                which(self).remove(address);
                let refused = Backend::Refused(Refusal::AddressDenied(*address));
                let entries = self.workspaces.values();
                let closed = entries.filter(|entry| entry.backend == refused);
                self.dirty
                    .extend(closed.map(|entry| entry.facts.uid.clone()));
            }
        }
    }
}
