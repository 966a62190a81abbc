//! Why something that asks to be routed is not: for people, as Events and in logs, and for counters.

use std::net::IpAddr;

use crate::proxy::route::facts::{Key, Uid};

/// An object that was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
}

/// Kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who asks for a host.
    Workspace,
    /// Its caps.
    WorkspaceClass,
    /// What leads to its pod.
    Service,
    /// Where the Service leads.
    EndpointSlice,
    /// What answers.
    Pod,
    /// Between pod and Deployment.
    ReplicaSet,
    /// Between ReplicaSet and Workspace.
    Deployment,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Workspace,
        Self::WorkspaceClass,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::ReplicaSet,
        Self::Deployment,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "Workspace",
            Self::WorkspaceClass => "WorkspaceClass",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::ReplicaSet => "ReplicaSet",
            Self::Deployment => "Deployment",
        }
    }

    /// Its group and version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Workspace | Self::WorkspaceClass => crate::api::API_VERSION,
            Self::Service | Self::Pod => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ReplicaSet | Self::Deployment => "apps/v1",
        }
    }
}

/// Why an object is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is the installation's.
    #[error("the host of this name is reserved: choose another name")]
    HostReserved,
    /// Somebody else was first. Who, is not told: names of other namespaces are nobody's business.
    #[error(
        "an older Workspace of another namespace holds the host of this name: choose another name"
    )]
    HostConflict,
    /// It bears our label, and is the Service of no Workspace.
    #[error("a Service of Workstead is called ws-<workspace>: this one is not used")]
    ServiceName,
    /// Labels of another Workspace.
    #[error("labels and owner of the Service are not those of the Workspace: it is not used")]
    ServiceForeign,
    /// It leads to a name.
    #[error("a Service of type ExternalName leads anywhere: it is not used")]
    ServiceExternal,
    /// It leads where somebody wrote.
    #[error("a Service without selector leads anywhere: it is not used")]
    ServiceWithoutSelector,
    /// Not made for the Service by the cluster.
    #[error("the EndpointSlice does not belong to the Service that it names: it is not used")]
    SliceForeign,
    /// Not a pod.
    #[error("an endpoint leads to no pod of this namespace: it is not used")]
    EndpointWithoutPod,
    /// Another pod of the same name.
    #[error("an endpoint has an address that is not its pod's: it is not used")]
    EndpointAddress,
    /// It has other labels.
    #[error("labels of the pod are not those of the Workspace: it is not used")]
    PodForeign,
    /// Made by somebody else.
    #[error("the pod does not come from the Workspace's Deployment: it is not used")]
    PodOwner,
    /// It is its node.
    #[error("the pod has the network of its node: it is not used")]
    PodOnHostNetwork,
    /// More than one at a time.
    #[error("two pods are ready at once: neither is used until one is gone")]
    TwoPods,
    /// An address that is no pod's.
    #[error("the address {0} is not for workspaces: it is not used")]
    AddressDenied(IpAddr),
    /// An address that two have.
    #[error("two workspaces have the address {0}: both are closed until one is gone")]
    AddressShared(IpAddr),
}

impl Refusal {
    /// Every reason, for the page that explains them.
    pub const REASONS: [&str; 15] = [
        "HostReserved",
        "HostConflict",
        "ServiceName",
        "ServiceForeign",
        "ServiceExternal",
        "ServiceWithoutSelector",
        "EndpointSliceForeign",
        "EndpointWithoutPod",
        "EndpointAddress",
        "PodForeign",
        "PodOwner",
        "PodOnHostNetwork",
        "TwoPods",
        "AddressDenied",
        "AddressShared",
    ];

    /// Reason of the Event, and label of the counter.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::HostReserved => "HostReserved",
            Self::HostConflict => "HostConflict",
            Self::ServiceName => "ServiceName",
            Self::ServiceForeign => "ServiceForeign",
            Self::ServiceExternal => "ServiceExternal",
            Self::ServiceWithoutSelector => "ServiceWithoutSelector",
            Self::SliceForeign => "EndpointSliceForeign",
            Self::EndpointWithoutPod => "EndpointWithoutPod",
            Self::EndpointAddress => "EndpointAddress",
            Self::PodForeign => "PodForeign",
            Self::PodOwner => "PodOwner",
            Self::PodOnHostNetwork => "PodOnHostNetwork",
            Self::TwoPods => "TwoPods",
            Self::AddressDenied(_) => "AddressDenied",
            Self::AddressShared(_) => "AddressShared",
        }
    }
}

/// What to tell of an object: it is refused, as it was not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub object: Object,
    /// Why.
    pub refusal: Refusal,
}
