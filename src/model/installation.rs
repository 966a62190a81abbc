//! What the installation and the cluster are: settings that come from the chart, and what the cluster can do.

use std::collections::BTreeMap;

use crate::model::identity::ImageReference;
use crate::model::names::{DnsLabel, DnsSubdomain};

/// Settings of this installation, from the command line of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The namespace that controller and proxy run in.
    pub namespace: DnsLabel,
    /// The Workstead image, mounted as tools into every workspace.
    pub tools_image: ImageReference,
    /// Workspaces open at `https://<name>.<domain>`; none, they have no URL yet.
    pub base_domain: Option<DnsSubdomain>,
    /// Labels of the proxy's pods in [`Installation::namespace`]: only these reach endpoints.
    pub proxy_pods: BTreeMap<String, String>,
    /// Where cluster DNS answers.
    pub dns: DnsPods,
    /// How many Workspaces there may be in the whole installation; none, no limit.
    pub total_quota: Option<u32>,
}

impl Installation {
    /// An installation with the chart's own labels and the DNS that nearly every cluster has.
    pub fn new(namespace: DnsLabel, tools_image: ImageReference) -> Self {
        Self {
            namespace,
            tools_image,
            base_domain: None,
            proxy_pods: labels(&[
                ("app.kubernetes.io/name", "workstead"),
                ("app.kubernetes.io/component", "proxy"),
            ]),
            dns: DnsPods::default(),
            total_quota: None,
        }
    }
}

/// The pods that answer DNS queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsPods {
    /// Labels of their namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Their own labels.
    pub pod_labels: BTreeMap<String, String>,
}

impl Default for DnsPods {
    fn default() -> Self {
        Self {
            namespace_labels: labels(&[("kubernetes.io/metadata.name", "kube-system")]),
            pod_labels: labels(&[("k8s-app", "kube-dns")]),
        }
    }
}

/// What the cluster can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Minor version of the API server (1.`minor`).
    pub minor: u32,
    /// Whether pods may have user namespaces. None: as this version does by default.
    pub user_namespaces: Option<bool>,
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
        })
    }

    /// Whether `hostUsers: false` can be honoured (on by default since 1.33).
    pub fn has_user_namespaces(self) -> bool {
        self.user_namespaces.unwrap_or(self.minor >= 33)
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
