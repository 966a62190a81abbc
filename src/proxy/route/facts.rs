//! What is kept of a watched object: as much as a decision needs, and nothing else. Ten thousand workspaces stay small.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{Workspace, WorkspaceClass};
use crate::inside::pin::PublicKeyDigest;
use crate::model::access::{AccessRules, Claim};
use crate::model::names::{MANAGED_BY, MANAGED_BY_LABEL, WORKSPACE_LABEL, WORKSPACE_UID_LABEL};
use crate::proxy::route::asked::Asked;
use crate::proxy::route::seen::Seen;
use crate::proxy::route::texts::Texts;

/// What the API server calls an object for ever.
pub type Uid = Arc<str>;

/// Which Service an EndpointSlice says it is for.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// An object by its name; the namespace of a cluster-wide one is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of these two.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    fn share(&mut self, texts: &mut Texts) {
        texts.share(&mut self.namespace);
        texts.share(&mut self.name);
    }
}

/// What an object says of itself: anybody who may write it may write this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The Workspace that it names.
    pub workspace: Arc<str>,
    /// The UID of a Workspace that it names.
    pub uid: Uid,
    is_managed: bool,
}

impl Labels {
    fn of(metadata: &ObjectMeta) -> Self {
        Self {
            workspace: label(metadata, WORKSPACE_LABEL).into(),
            uid: label(metadata, WORKSPACE_UID_LABEL).into(),
            is_managed: label(metadata, MANAGED_BY_LABEL) == MANAGED_BY,
        }
    }

    fn share(&mut self, texts: &mut Texts) {
        texts.share(&mut self.workspace);
        texts.share(&mut self.uid);
    }

    /// Whether they are those of a child of this Workspace.
    pub fn fit(&self, workspace: &str, uid: &str) -> bool {
        self.is_managed && &*self.workspace == workspace && &*self.uid == uid
    }
}

/// Who controls an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    kind: Arc<str>,
    uid: Uid,
}

impl Controller {
    fn of(metadata: &ObjectMeta) -> Option<Self> {
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true))?;
        Some(Self {
            // The group, not the version: that changes with a release.
            kind: kind_in_group(&owner.api_version, &owner.kind).into(),
            uid: owner.uid.as_str().into(),
        })
    }

    fn share(controller: &mut Option<Self>, texts: &mut Texts) {
        if let Some(controller) = controller {
            texts.share(&mut controller.kind);
            texts.share(&mut controller.uid);
        }
    }

    /// The UID, if the owner is of this kind: `Deployment.apps`.
    pub fn uid_of(&self, kind: &str) -> Option<&Uid> {
        (&*self.kind == kind).then_some(&self.uid)
    }
}

fn kind_in_group(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind.to_owned(),
    }
}

/// A Workspace.
#[derive(Clone, Debug)]
pub struct WorkspaceFacts {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
    /// What it asks for.
    pub asked: Arc<Asked>,
    /// How it is.
    pub status: Seen,
    /// The key of its first process.
    pub supervisor: Option<PublicKeyDigest>,
    created: Option<Timestamp>,
}

impl WorkspaceFacts {
    /// Keeps what is needed.
    pub fn of(workspace: Workspace) -> Self {
        let claim = Claim::of(&workspace);
        let status = workspace.status.unwrap_or_default();
        let supervisor = status.supervisor.as_ref();
        Self {
            key: Key {
                namespace: claim.namespace,
                name: claim.name,
            },
            uid: claim.uid,
            supervisor: supervisor
                .and_then(|supervisor| PublicKeyDigest::parse(&supervisor.public_key_sha256)),
            asked: Arc::new(Asked::of(workspace.spec)),
            status: Seen::of(status),
            created: claim.created,
        }
    }

    /// Has what stands in other objects too only once.
    pub fn share(&mut self, texts: &mut Texts) {
        self.key.share(texts);
        texts.share(&mut self.uid);
        if let Some(class) = &mut self.status.class_name {
            texts.share(class);
        }
    }

    /// Its wish for a host.
    pub fn claim(&self) -> Claim {
        Claim {
            name: self.key.name.clone(),
            namespace: self.key.namespace.clone(),
            uid: self.uid.clone(),
            created: self.created,
        }
    }

    /// The class whose caps hold: that of the last start, which the controller has checked. What a spec names could be a
    /// class that its namespace may not use.
    pub fn class(&self) -> Option<&str> {
        self.status.class_name.as_deref()
    }
}

/// A WorkspaceClass.
#[derive(Clone, Debug)]
pub struct ClassFacts {
    /// Its name.
    pub key: Key,
    /// To whom it lets workspaces be opened.
    pub rules: AccessRules,
}

impl ClassFacts {
    /// Keeps what is needed.
    pub fn of(class: &WorkspaceClass) -> Self {
        Self {
            key: Key::of(&class.metadata),
            rules: AccessRules::of(class.spec.access.as_ref()),
        }
    }
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
    /// What it says of itself.
    pub labels: Labels,
    /// Who controls it.
    pub controller: Option<Controller>,
    /// `ExternalName` is a name of somebody's choice.
    pub is_external: bool,
    /// Without one anybody who may write endpoints chooses where it leads.
    pub has_selector: bool,
    /// Where it answers itself.
    pub addresses: Box<[IpAddr]>,
}

impl ServiceFacts {
    /// Has what stands in other objects too only once.
    pub fn share(&mut self, texts: &mut Texts) {
        self.key.share(texts);
        texts.share(&mut self.uid);
        self.labels.share(texts);
        Controller::share(&mut self.controller, texts);
    }

    /// Keeps what is needed.
    pub fn of(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let type_ = spec.and_then(|spec| spec.type_.as_deref());
        let selector = spec.and_then(|spec| spec.selector.as_ref());
        let external = spec.and_then(|spec| spec.external_name.as_deref());
        let addresses = spec.and_then(|spec| spec.cluster_ips.as_ref());
        Self {
            key: Key::of(&service.metadata),
            uid: uid(&service.metadata),
            labels: Labels::of(&service.metadata),
            controller: Controller::of(&service.metadata),
            is_external: type_ == Some("ExternalName") || external.is_some_and(|to| !to.is_empty()),
            has_selector: selector.is_some_and(|selector| !selector.is_empty()),
            addresses: parse_all(addresses.into_iter().flatten().map(String::as_str)),
        }
    }
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceFacts {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
    /// The Service that it says it is for.
    pub service: Arc<str>,
    /// Who controls it.
    pub controller: Option<Controller>,
    /// Its endpoints that lead to pods.
    pub endpoints: Box<[EndpointFacts]>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFacts {
    /// Where it is.
    pub address: Result<IpAddr, Box<str>>,
    /// The pod that it says it is.
    pub pod: Option<Target>,
    /// Whether it takes traffic.
    pub is_ready: bool,
}

/// The pod that an endpoint says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
}

impl SliceFacts {
    /// Has what stands in other objects too only once.
    pub fn share(&mut self, texts: &mut Texts) {
        self.key.share(texts);
        texts.share(&mut self.uid);
        texts.share(&mut self.service);
        Controller::share(&mut self.controller, texts);
        for pod in self
            .endpoints
            .iter_mut()
            .flat_map(|endpoint| &mut endpoint.pod)
        {
            pod.key.share(texts);
            texts.share(&mut pod.uid);
        }
    }

    /// Keeps what is needed.
    pub fn of(slice: &EndpointSlice) -> Self {
        let key = Key::of(&slice.metadata);
        let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
            let reference = endpoint.target_ref.as_ref();
            let pod = reference.filter(|to| to.kind.as_deref() == Some("Pod"));
            let pod = pod.map(|to| Target {
                key: Key {
                    namespace: to
                        .namespace
                        .as_deref()
                        .map_or_else(|| key.namespace.clone(), Arc::from),
                    name: to.name.as_deref().unwrap_or_default().into(),
                },
                uid: to.uid.as_deref().unwrap_or_default().into(),
            });
            let ready = endpoint.conditions.as_ref().and_then(|seen| seen.ready);
            // No word means ready (discovery.k8s.io/v1). The pod's own condition is looked at as well.
            let is_ready = ready.unwrap_or(true);
            let addresses = endpoint.addresses.iter();
            addresses.map(move |text| EndpointFacts {
                address: text.parse().map_err(|_| text.as_str().into()),
                pod: pod.clone(),
                is_ready,
            })
        });
        Self {
            uid: uid(&slice.metadata),
            service: label(&slice.metadata, SERVICE_NAME_LABEL).into(),
            controller: Controller::of(&slice.metadata),
            endpoints: endpoints.collect::<Box<_>>(),
            key,
        }
    }
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
    /// What it says of itself.
    pub labels: Labels,
    /// Who controls it.
    pub controller: Option<Controller>,
    /// Whether its condition says that it is ready, and it is neither over nor about to go.
    pub is_ready: bool,
    /// Whether it has the network of its node.
    pub on_host_network: bool,
    /// Its own addresses, as its node says. The first is the one that the cluster prefers.
    pub addresses: Box<[IpAddr]>,
    /// Those of its node.
    pub node_addresses: Box<[IpAddr]>,
}

impl PodFacts {
    /// Has what stands in other objects too only once.
    pub fn share(&mut self, texts: &mut Texts) {
        self.key.share(texts);
        texts.share(&mut self.uid);
        self.labels.share(texts);
        Controller::share(&mut self.controller, texts);
    }

    /// Keeps what is needed.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let phase = status.and_then(|status| status.phase.as_deref());
        let ips = status.and_then(|status| status.pod_ips.as_ref());
        let host_ips = status.and_then(|status| status.host_ips.as_ref());
        let host_ip = status.and_then(|status| status.host_ip.as_deref());
        let spec = pod.spec.as_ref();
        Self {
            key: Key::of(&pod.metadata),
            uid: uid(&pod.metadata),
            labels: Labels::of(&pod.metadata),
            controller: Controller::of(&pod.metadata),
            is_ready: is_ready
                && phase == Some("Running")
                && pod.metadata.deletion_timestamp.is_none(),
            on_host_network: spec.is_some_and(|spec| spec.host_network == Some(true)),
            addresses: parse_all(ips.into_iter().flatten().map(|ip| ip.ip.as_str())),
            node_addresses: parse_all(
                host_ips
                    .into_iter()
                    .flatten()
                    .map(|ip| ip.ip.as_str())
                    .chain(host_ip),
            ),
        }
    }
}

/// What stands between a pod and its Workspace: a ReplicaSet or a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: Uid,
    /// What it says of itself.
    pub labels: Labels,
    /// Who controls it.
    pub controller: Option<Controller>,
}

impl LinkFacts {
    /// Has what stands in other objects too only once.
    pub fn share(&mut self, texts: &mut Texts) {
        self.key.share(texts);
        texts.share(&mut self.uid);
        self.labels.share(texts);
        Controller::share(&mut self.controller, texts);
    }

    /// Keeps what is needed.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            key: Key::of(metadata),
            uid: uid(metadata),
            labels: Labels::of(metadata),
            controller: Controller::of(metadata),
        }
    }
}

fn uid(metadata: &ObjectMeta) -> Uid {
    metadata.uid.as_deref().unwrap_or_default().into()
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> &'a str {
    let labels = metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(name))
        .map(String::as_str)
        .unwrap_or_default()
}

fn parse_all<'a>(texts: impl Iterator<Item = &'a str>) -> Box<[IpAddr]> {
    let mut addresses: Vec<IpAddr> = texts
        .filter_map(|text| text.parse().ok())
        .map(|address: IpAddr| address.to_canonical())
        .collect();
    addresses.dedup();
    addresses.into_boxed_slice()
}
