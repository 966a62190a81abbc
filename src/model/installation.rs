//! What the installation and the cluster are: settings that come from the chart, and what the cluster can do.

use std::collections::BTreeMap;

use crate::model::identity::ImageReference;
use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::model::net::Cidr;

/// The label that every namespace has.
pub(crate) const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Settings of this installation, from the command line of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The namespace that controller and proxy run in.
    pub namespace: DnsLabel,
    /// The Workstead image, mounted as tools into every workspace.
    pub tools_image: ImageReference,
    /// Workspaces open at `https://<name>.<domain>`; none, they have no URL yet.
    pub base_domain: Option<DnsSubdomain>,
    /// Whether browsers reach the proxy by TLS. Without it, on one machine alone.
    pub is_tls: bool,
    /// The port by which they reach it; none, the scheme's own.
    pub base_port: Option<u16>,
    /// Labels of the proxy's pods in [`Installation::namespace`]: only these reach endpoints.
    pub proxy_pods: BTreeMap<String, String>,
    /// Labels of the controller's pods there: these alone ask the first process how far it is.
    pub controller_pods: BTreeMap<String, String>,
    /// Where cluster DNS answers.
    pub dns: ClusterDns,
    /// How many Workspaces there may be in the whole installation; none, no limit.
    pub total_quota: Option<u32>,
    /// Names that no workspace opens under, beside those that are always kept.
    pub reserved_names: Vec<String>,
}

impl Installation {
    /// An installation with the chart's own labels and the DNS that nearly every cluster has.
    pub fn new(namespace: DnsLabel, tools_image: ImageReference) -> Self {
        Self {
            namespace,
            tools_image,
            base_domain: None,
            is_tls: true,
            base_port: None,
            proxy_pods: labels(&[
                ("app.kubernetes.io/name", "workstead"),
                ("app.kubernetes.io/component", "proxy"),
            ]),
            controller_pods: labels(&[
                ("app.kubernetes.io/name", "workstead"),
                ("app.kubernetes.io/component", "controller"),
            ]),
            dns: ClusterDns::default(),
            total_quota: None,
            reserved_names: Vec::new(),
        }
    }
}

impl Installation {
    /// Where a label opens in a browser: a workspace's name, or a port before it.
    pub fn url(&self, label: &str) -> Option<String> {
        let domain = self.base_domain.as_ref()?;
        let (scheme, usual) = if self.is_tls {
            ("https", 443)
        } else {
            ("http", 80)
        };
        Some(match self.base_port.filter(|port| *port != usual) {
            Some(port) => format!("{scheme}://{label}.{domain}:{port}"),
            None => format!("{scheme}://{label}.{domain}"),
        })
    }
}

/// Who answers DNS queries: every workspace may ask there, whatever its class says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDns {
    /// Labels of the namespace of the pods that answer.
    pub namespace_labels: BTreeMap<String, String>,
    /// Their own labels.
    pub pod_labels: BTreeMap<String, String>,
    /// The ports that are asked. A policy sees the port of the pod, which may differ from the Service's 53.
    pub ports: Vec<u16>,
    /// Resolvers that are no such pods, such as the address of a cache on each node.
    pub addresses: Vec<Cidr>,
}

impl ClusterDns {
    /// The namespace where nearly every cluster has it.
    pub const NAMESPACE: &str = "kube-system";
    /// What its pods bear there.
    pub const POD_LABEL: (&str, &str) = ("k8s-app", "kube-dns");
    /// Where it answers.
    pub const PORT: u16 = 53;
}

impl Default for ClusterDns {
    fn default() -> Self {
        Self {
            namespace_labels: labels(&[(NAMESPACE_NAME_LABEL, Self::NAMESPACE)]),
            pod_labels: labels(&[Self::POD_LABEL]),
            ports: vec![Self::PORT],
            addresses: Vec::new(),
        }
    }
}

/// What the cluster can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Minor version of the API server (1.`minor`).
    pub minor: u32,
    /// Whether pods may have user namespaces. None: nobody could tell, so nothing rests on them.
    pub user_namespaces: Option<bool>,
    /// Whether tools can be mounted as image volumes and run from there on every node that was tried. None: nobody tried
    /// yet.
    pub image_volumes: Option<bool>,
}

impl Cluster {
    /// The oldest server that is supported: 1.33.
    pub const OLDEST_MINOR: u32 = 33;

    /// Reads what `/version` answers, for example `36` or `33+`.
    pub fn of_minor(minor: &str) -> Option<Self> {
        let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
        Some(Self {
            minor: digits.parse().ok()?,
            user_namespaces: None,
            image_volumes: None,
        })
    }

    /// One that nobody asked: user namespaces are there by default since 1.33.
    pub const UNASKED: Self = Self {
        minor: Self::OLDEST_MINOR,
        user_namespaces: Some(true),
        image_volumes: None,
    };

    /// Whether `hostUsers: false` is sure to be honoured.
    pub fn has_user_namespaces(self) -> bool {
        self.user_namespaces == Some(true)
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
