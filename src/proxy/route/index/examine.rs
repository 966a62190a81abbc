//! Whether what leads to a workspace really is the workspace's: Service, EndpointSlices, pod, and who made them.
//!
//! Nothing that a user may write is enough by itself. A pod is used if the Service has the right name, labels and owner,
//! the EndpointSlice was made for that Service, the endpoint has the address that the pod's node reports, and the chain of
//! owners from the pod ends at the Workspace. Even then its first process has to prove itself before anything is sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::access::Conflict;
use crate::model::identity::WorkspaceName;
use crate::proxy::route::facts::{
    Controller, EndpointFacts, Key, LinkFacts, PodFacts, ServiceFacts, SliceFacts, Uid,
    WorkspaceFacts,
};
use crate::proxy::route::index::Index;
use crate::proxy::route::index::known::Known;
use crate::proxy::route::refusal::{Kind, Object, Refusal};
use crate::proxy::route::table::{Backend, Pod};

const WORKSPACE: &str = "Workspace.workstead.dev";
const SERVICE: &str = "Service";
const REPLICA_SET: &str = "ReplicaSet.apps";
const DEPLOYMENT: &str = "Deployment.apps";

/// What came out.
pub(super) struct Found {
    /// What would answer, if nobody else had its address.
    pub backend: Backend,
    /// What was refused on the way.
    pub refused: Vec<(Object, Refusal)>,
}

/// Why an endpoint is not used.
enum Not {
    /// A watch is behind, or it is only starting or ending: nothing to tell.
    Yet,
    /// Something is wrong with it.
    Ever(Object, Refusal),
}

impl Index {
    pub(super) fn examine(&self, workspace: &WorkspaceFacts) -> Found {
        let mut found = Found {
            backend: Backend::None,
            refused: Vec::new(),
        };
        let us = |refusal| (of_workspace(workspace), refusal);
        match self.conflict(workspace) {
            Some(Conflict::Reserved) => found.refused.push(us(Refusal::HostReserved)),
            Some(Conflict::HeldBy { .. }) => found.refused.push(us(Refusal::HostConflict)),
            None => {}
        }
        let name = Key::new(
            &workspace.key.namespace,
            &format!("{}{}", WorkspaceName::SERVICE_PREFIX, workspace.key.name),
        );
        // Without ports there is none, and no way in.
        let Some(service) = self.services.get(&name) else {
            return found;
        };
        if let Some(refusal) = refuse_service(workspace, service) {
            found.backend = Backend::Refused(refusal.clone());
            found.refused.push((of_service(service), refusal));
            return found;
        }
        let mut pods: BTreeMap<&Uid, (&PodFacts, Vec<IpAddr>)> = BTreeMap::new();
        for slice in self.slices_of.get(&name).into_iter().flatten() {
            let Some(slice) = self.slices.get(slice) else {
                continue;
            };
            let made_for = slice.controller.as_ref().and_then(|by| by.uid_of(SERVICE));
            if made_for != Some(&service.uid) {
                found.refused.push((of_slice(slice), Refusal::SliceForeign));
                continue;
            }
            for endpoint in &slice.endpoints {
                match self.pod_of(workspace, slice, endpoint) {
                    Ok((pod, address)) => {
                        let (_, addresses) = pods.entry(&pod.uid).or_insert((pod, Vec::new()));
                        addresses.push(address);
                    }
                    Err(Not::Yet) => {}
                    Err(Not::Ever(object, refusal)) => found.refused.push((object, refusal)),
                }
            }
        }
        found.backend = match (pods.len(), pods.into_values().next()) {
            (0, _) | (_, None) => match found.refused.last() {
                Some((_, refusal)) => Backend::Refused(refusal.clone()),
                None => Backend::None,
            },
            (1, Some((pod, addresses))) => choose(pod, &addresses),
            _ => {
                found.refused.push(us(Refusal::TwoPods));
                Backend::Refused(Refusal::TwoPods)
            }
        };
        found
    }

    /// The pod behind an endpoint, and where it is.
    fn pod_of(
        &self,
        workspace: &WorkspaceFacts,
        slice: &SliceFacts,
        endpoint: &EndpointFacts,
    ) -> Result<(&PodFacts, IpAddr), Not> {
        let of_slice = |refusal| Not::Ever(of_slice(slice), refusal);
        if !endpoint.is_ready {
            return Err(Not::Yet);
        }
        let target = endpoint.pod.as_ref();
        let target = target.filter(|target| target.key.namespace == workspace.key.namespace);
        let target = target.ok_or_else(|| of_slice(Refusal::EndpointWithoutPod))?;
        // A name is no address: it would be resolved, by whoever answers for it at that moment.
        let address = endpoint.address.as_ref().map(IpAddr::to_canonical);
        let address = address.map_err(|_| of_slice(Refusal::EndpointAddress))?;
        let pod = self.pods.get(&target.key).ok_or(Not::Yet)?;
        if pod.uid != target.uid || !pod.is_ready {
            return Err(Not::Yet);
        }
        let of_pod = |refusal| Not::Ever(of_pod(pod), refusal);
        if !pod.labels.fit(&workspace.key.name, &workspace.uid) {
            return Err(of_pod(Refusal::PodForeign));
        }
        if pod.on_host_network || pod.node_addresses.contains(&address) {
            return Err(of_pod(Refusal::PodOnHostNetwork));
        }
        if !pod.addresses.contains(&address) {
            return Err(of_slice(Refusal::EndpointAddress));
        }
        if self.settings.denied.has(address)
            || self.nodes.contains_key(&address)
            || self.service_addresses.contains_key(&address)
        {
            return Err(of_pod(Refusal::AddressDenied(address)));
        }
        if !self.comes_from(pod, workspace)? {
            return Err(of_pod(Refusal::PodOwner));
        }
        Ok((pod, address))
    }

    /// Whether the owners of a pod, one after another, end at the Workspace.
    fn comes_from(&self, pod: &PodFacts, workspace: &WorkspaceFacts) -> Result<bool, Not> {
        let namespace = &workspace.key.namespace;
        let owner = |of: Option<&Controller>, kind| of.and_then(|of| of.uid_of(kind)).cloned();
        let Some(set) = owner(pod.controller.as_ref(), REPLICA_SET) else {
            return Ok(false);
        };
        let set = self.link(&self.replica_sets, &set)?;
        let Some(deployment) = owner(set.controller.as_ref(), DEPLOYMENT) else {
            return Ok(false);
        };
        let deployment = self.link(&self.deployments, &deployment)?;
        let end = owner(deployment.controller.as_ref(), WORKSPACE);
        Ok(end.as_ref() == Some(&workspace.uid)
            && set.key.namespace == *namespace
            && deployment.key.namespace == *namespace)
    }

    fn link<'a>(&self, links: &'a Known<LinkFacts>, uid: &Uid) -> Result<&'a LinkFacts, Not> {
        let key = self.links.get(uid).ok_or(Not::Yet)?;
        let link = links.get(key).filter(|link| link.uid == *uid);
        link.ok_or(Not::Yet)
    }
}

/// Of two families the one that the cluster prefers.
fn choose(pod: &PodFacts, addresses: &[IpAddr]) -> Backend {
    let preferred = pod.addresses.iter().find(|of| addresses.contains(of));
    match preferred {
        Some(address) => Backend::Pod(Pod {
            uid: pod.uid.clone(),
            address: *address,
        }),
        None => Backend::None,
    }
}

fn refuse_service(workspace: &WorkspaceFacts, service: &ServiceFacts) -> Option<Refusal> {
    let owner = service.controller.as_ref();
    let owner = owner.and_then(|owner| owner.uid_of(WORKSPACE));
    let is_ours = service.labels.fit(&workspace.key.name, &workspace.uid);
    if owner != Some(&workspace.uid) || !is_ours {
        return Some(Refusal::ServiceForeign);
    }
    if service.is_external {
        return Some(Refusal::ServiceExternal);
    }
    (!service.has_selector).then_some(Refusal::ServiceWithoutSelector)
}

fn of_workspace(workspace: &WorkspaceFacts) -> Object {
    object(Kind::Workspace, &workspace.key, &workspace.uid)
}

fn of_service(service: &ServiceFacts) -> Object {
    object(Kind::Service, &service.key, &service.uid)
}

fn of_slice(slice: &SliceFacts) -> Object {
    object(Kind::EndpointSlice, &slice.key, &slice.uid)
}

fn of_pod(pod: &PodFacts) -> Object {
    object(Kind::Pod, &pod.key, &pod.uid)
}

fn object(kind: Kind, key: &Key, uid: &Uid) -> Object {
    Object {
        kind,
        key: key.clone(),
        uid: uid.clone(),
    }
}
