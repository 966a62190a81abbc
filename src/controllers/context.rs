//! What every controller of the process shares: configuration, client, clock, metrics, events, the claim to lead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::watcher;
use tokio::sync::watch;

use crate::controllers::backoff::BackoffSettings;
use crate::controllers::events::Events;
use crate::controllers::gitsync::budget::GitLimits;
use crate::controllers::gitsync::requests::Requests;
use crate::controllers::lease::{Claim, LeaseSettings};
use crate::model::clock::Clock;
use crate::model::installation::ClusterDns;
use crate::model::names::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::telemetry::{Health, Metrics};

/// Everything that can be set on the controllers. The command line makes it, once.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// The installation's namespace: the Lease lives here.
    pub namespace: String,
    /// Which objects are looked at.
    pub scope: Scope,
    /// Who leads.
    pub lease: LeaseSettings,
    /// The Workstead image, mounted into every workspace for its supervisor.
    pub tools_image: String,
    /// Secrets of the installation's namespace with registry credentials, for pods of its own.
    pub pull_secrets: Vec<String>,
    /// The pods of the proxy: workspaces accept connections from them alone.
    pub proxy: PeerSelector,
    /// Who answers DNS queries of workspaces.
    pub dns: ClusterDns,
    /// How many Workspaces there may be in the whole cluster. None, no limit.
    pub total_quota: Option<u32>,
    /// The domain under which workspaces open, for example `work.example.com`.
    pub base_domain: Option<String>,
    /// Whether browsers reach it by TLS.
    pub is_tls: bool,
    /// The port by which browsers reach it, where it is not the scheme's own.
    pub base_port: Option<u16>,
    /// Names that no workspace opens under, beside those that are always kept.
    pub reserved_names: Vec<String>,
    /// Objects of a kind that are reconciled at the same time.
    pub concurrency: u16,
    /// Where Git repositories are kept between passes.
    pub state_dir: PathBuf,
    /// What Git repositories may cost.
    pub git: GitLimits,
    /// The program that fetches from Git, in a process of its own: this very binary.
    pub git_program: PathBuf,
    /// Where `/metrics`, `/healthz` and `/readyz` are served. None, nowhere.
    pub health_address: Option<SocketAddr>,
    /// Where the webhook receiver listens, on standby replicas too. None, nowhere.
    pub webhook_address: Option<SocketAddr>,
    /// How long to wait after failures.
    pub backoff: BackoffSettings,
    /// How often everything is looked at without a reason, in case an event was lost.
    pub full_pass_every: Duration,
}

/// Which objects are looked at: all of them, unless a test shares its API server with others.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Namespaced objects of this namespace only.
    pub namespace: Option<String>,
    /// WorkspaceClasses with these labels only, as a label selector.
    pub class_labels: Option<String>,
}

/// Pods of a namespace, by labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSelector {
    /// Name of the namespace.
    pub namespace: String,
    /// Labels of the pods.
    pub pod_labels: std::collections::BTreeMap<String, String>,
}

impl Scope {
    /// The API of a namespaced kind, in scope.
    pub fn api<K>(&self, client: &Client) -> kube::Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.namespace {
            Some(namespace) => kube::Api::namespaced(client.clone(), namespace),
            None => kube::Api::all(client.clone()),
        }
    }

    /// How children are watched: by our label, so that the cache holds ours alone.
    pub fn children(&self) -> watcher::Config {
        watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"))
    }

    /// How classes are watched.
    pub fn classes(&self) -> watcher::Config {
        match &self.class_labels {
            Some(labels) => watcher::Config::default().labels(labels),
            None => watcher::Config::default(),
        }
    }
}

/// What every controller shares.
pub struct Shared {
    /// The client of the leading controllers: every call has a deadline, is counted, and a write is refused as soon as
    /// the claim to lead is not sure any more.
    pub client: Client,
    /// The same without the refusal, for what standby replicas may do too.
    pub standby_client: Client,
    /// What was configured.
    pub config: ControllerConfig,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metric families.
    pub metrics: Arc<Metrics>,
    /// What is missing.
    pub health: Health,
    /// Publishes Events.
    pub events: Events,
    /// Who leads, as far as we know.
    pub claim: watch::Receiver<Claim>,
    /// Requests to fetch: the webhook receiver of every replica puts them in, the leading GitSync controller takes them.
    pub gitsync_requests: Requests,
}
