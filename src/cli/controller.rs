//! `workstead controller`: flags, environment and chart values become one typed configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::args::ClusterArgs;
use crate::cli::connect::connect;
use crate::cli::dns::DnsArgs;
use crate::cli::error::CliError;
use crate::cli::logs::LogArgs;
use crate::cli::role::until_ended;
use crate::cli::values::{bytes, domain, label};
use crate::controllers::backoff::BackoffSettings;
use crate::controllers::gitsync::budget::GitLimits;
use crate::controllers::lease::LeaseSettings;
use crate::controllers::{ControllerConfig, PeerSelector, Scope};
use crate::gitsync::fetch::FetchLimits;
use crate::model::names::CONTROLLER_LEASE;

/// In case an event was lost: everything is looked at this often.
const FULL_PASS_EVERY: Duration = Duration::from_secs(3600);

/// Arguments of `controller`: each can be given by its environment variable too, which is how the chart does it.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// The installation's namespace: the Lease of the leader lives here
    #[arg(long, env = "WORKSTEAD_NAMESPACE", hide_env_values = true, default_value = "workstead-system", value_parser = label)]
    pub namespace: String,
    /// Who we are in the Lease: the name of the pod [default: a random one]
    #[arg(long, env = "WORKSTEAD_IDENTITY", hide_env_values = true)]
    pub identity: Option<String>,
    /// The Workstead image, mounted into every workspace
    #[arg(long, env = "WORKSTEAD_TOOLS_IMAGE", hide_env_values = true)]
    pub tools_image: String,
    /// Secrets of that namespace with registry credentials, for pods that find out whether the image can be mounted
    #[arg(long, env = "WORKSTEAD_PULL_SECRETS", hide_env_values = true, value_name = "SECRET", value_delimiter = ',', value_parser = domain)]
    pub pull_secrets: Vec<String>,
    /// The domain under which workspaces open, for example work.example.com
    #[arg(long, env = "WORKSTEAD_BASE_DOMAIN", hide_env_values = true, value_parser = domain)]
    pub base_domain: Option<String>,
    /// Links to workspaces begin with http: the proxy listens on this machine alone, without TLS
    #[arg(long, env = "WORKSTEAD_BASE_PLAIN_HTTP", hide_env_values = true)]
    pub base_plain_http: bool,
    /// The port in links to workspaces [default: that of the scheme]
    #[arg(long, env = "WORKSTEAD_BASE_PORT", hide_env_values = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub base_port: Option<u16>,
    /// Names that no workspace opens under, beside auth, ssh and hub
    #[arg(long = "reserved-name", value_name = "NAME", env = "WORKSTEAD_RESERVED_NAMES", hide_env_values = true, value_delimiter = ',', value_parser = label)]
    pub reserved_names: Vec<String>,
    /// How many Workspaces there may be in the cluster [default: no limit]
    #[arg(long, env = "WORKSTEAD_QUOTA_TOTAL", hide_env_values = true)]
    pub quota_total: Option<u32>,
    /// Who answers DNS queries.
    #[command(flatten)]
    pub dns: DnsArgs,
    /// Objects of a kind that are reconciled at the same time
    #[arg(long, env = "WORKSTEAD_CONCURRENCY", hide_env_values = true, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// What Git repositories may cost.
    #[command(flatten)]
    pub git: GitArgs,
    /// Where Git repositories are kept; a cache
    #[arg(
        long,
        env = "WORKSTEAD_STATE_DIRECTORY",
        hide_env_values = true,
        default_value = "/var/lib/workstead"
    )]
    pub state_directory: PathBuf,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(
        long,
        env = "WORKSTEAD_HEALTH_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8080"
    )]
    pub health_address: SocketAddr,
    /// Where the hooks of Git servers are received
    #[arg(
        long,
        env = "WORKSTEAD_WEBHOOK_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8082"
    )]
    pub webhook_address: SocketAddr,
    /// Look at this namespace alone [default: all]
    #[arg(long, env = "WORKSTEAD_WATCH_NAMESPACE", hide_env_values = true, value_parser = label)]
    pub watch_namespace: Option<String>,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
    /// Path of a kubeconfig [default: the pod's ServiceAccount, or $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What Git repositories may cost the controller. A test relates the defaults to the memory and the volume of the chart's
/// pod.
#[derive(Args, Clone, Debug)]
pub struct GitArgs {
    /// Fetches from Git at the same time, each in a process of its own
    #[arg(long = "git-fetches", env = "WORKSTEAD_GIT_FETCHES", hide_env_values = true, default_value_t = 6, value_parser = clap::value_parser!(u16).range(2..))]
    pub fetches: u16,
    /// Memory of one fetch
    #[arg(long = "git-fetch-memory", env = "WORKSTEAD_GIT_FETCH_MEMORY", hide_env_values = true, default_value = "96Mi", value_parser = bytes)]
    pub fetch_memory: u64,
    /// Bytes that one fetch may transfer
    #[arg(long = "git-fetch-bytes", env = "WORKSTEAD_GIT_FETCH_BYTES", hide_env_values = true, default_value = "128Mi", value_parser = bytes)]
    pub fetch_bytes: u64,
    /// Objects that one fetch may transfer
    #[arg(
        long = "git-fetch-objects",
        env = "WORKSTEAD_GIT_FETCH_OBJECTS",
        hide_env_values = true,
        default_value_t = 500_000
    )]
    pub fetch_objects: u64,
    /// Bytes of one object of a repository, unpacked
    #[arg(long = "git-object-bytes", env = "WORKSTEAD_GIT_OBJECT_BYTES", hide_env_values = true, default_value = "32Mi", value_parser = bytes)]
    pub object_bytes: u64,
    /// Bytes of one repository on disk
    #[arg(long = "git-repository-bytes", env = "WORKSTEAD_GIT_REPOSITORY_BYTES", hide_env_values = true, default_value = "384Mi", value_parser = bytes)]
    pub repository_bytes: u64,
    /// Bytes of all repositories on disk
    #[arg(long = "git-repositories-bytes", env = "WORKSTEAD_GIT_REPOSITORIES_BYTES", hide_env_values = true, default_value = "1Gi", value_parser = bytes)]
    pub repositories_bytes: u64,
    /// Bytes of the YAML files of one tree
    #[arg(long = "git-tree-bytes", env = "WORKSTEAD_GIT_TREE_BYTES", hide_env_values = true, default_value = "16Mi", value_parser = bytes)]
    pub tree_bytes: u64,
    /// Bytes of the YAML files of all trees, which are kept in memory
    #[arg(long = "git-trees-bytes", env = "WORKSTEAD_GIT_TREES_BYTES", hide_env_values = true, default_value = "32Mi", value_parser = bytes)]
    pub trees_bytes: u64,
}

impl GitArgs {
    fn limits(&self) -> GitLimits {
        GitLimits {
            fetches: self.fetches,
            fetch: FetchLimits {
                bytes: self.fetch_bytes,
                objects: self.fetch_objects,
                object_bytes: self.object_bytes,
                repository_bytes: self.repository_bytes,
                memory: self.fetch_memory,
                ..FetchLimits::default()
            },
            repositories_bytes: self.repositories_bytes,
            tree_bytes: self.tree_bytes,
            trees_bytes: self.trees_bytes,
        }
    }
}

impl ControllerArgs {
    /// The configuration of the controllers.
    pub fn config(&self) -> ControllerConfig {
        let identity = self
            .identity
            .clone()
            .unwrap_or_else(|| format!("workstead-{:08x}", rand::random::<u32>()));
        let labels = [
            ("app.kubernetes.io/name", "workstead"),
            ("app.kubernetes.io/component", "proxy"),
        ];
        ControllerConfig {
            namespace: self.namespace.clone(),
            scope: Scope {
                namespace: self.watch_namespace.clone(),
                class_labels: None,
            },
            lease: LeaseSettings::new(CONTROLLER_LEASE, identity),
            tools_image: self.tools_image.clone(),
            pull_secrets: self.pull_secrets.clone(),
            proxy: PeerSelector {
                namespace: self.namespace.clone(),
                pod_labels: labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            },
            dns: self.dns.cluster_dns(),
            total_quota: self.quota_total,
            base_domain: self.base_domain.clone(),
            is_tls: !self.base_plain_http,
            base_port: self.base_port,
            reserved_names: self.reserved_names.clone(),
            concurrency: self.concurrency,
            state_dir: self.state_directory.clone(),
            git: self.git.limits(),
            // This very program, also after its file was replaced on disk.
            git_program: "/proc/self/exe".into(),
            health_address: Some(self.health_address),
            webhook_address: Some(self.webhook_address),
            backoff: BackoffSettings::default(),
            full_pass_every: FULL_PASS_EVERY,
        }
    }
}

/// Runs the controllers until a signal ends them.
pub async fn run(arguments: ControllerArgs) -> Result<ExitCode, CliError> {
    let config = arguments.config();
    // Nothing in it is secret: credentials live in Secrets and in the kubeconfig, whose path alone is shown.
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = ?config,
        kubeconfig = ?arguments.kubeconfig,
        "starting"
    );
    let connection = connect(&ClusterArgs {
        namespace: None,
        context: None,
        kubeconfig: arguments.kubeconfig,
    })
    .await?;
    until_ended(|shutdown| Box::pin(crate::controllers::run(config, connection.client, shutdown)))
        .await
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    #[test]
    fn the_limits_of_git_are_the_same_by_flag_and_in_code() {
        let command = GitArgs::augment_args(Command::new("test"));
        let given = command.get_matches_from(["test"]);
        let arguments = GitArgs::from_arg_matches(&given).unwrap();
        assert_eq!(arguments.limits(), GitLimits::default());
    }
}
