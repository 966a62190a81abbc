//! `workstead controller`: flags, environment and chart values become one typed configuration.

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::args::{ClusterArgs, ControllerArgs, GitArgs, LogFormatArg};
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::controllers::backoff::BackoffSettings;
use crate::controllers::gitsync::budget::GitLimits;
use crate::controllers::lease::LeaseSettings;
use crate::controllers::{ControllerConfig, PeerSelector, Scope};
use crate::gitsync::fetch::FetchLimits;
use crate::model::names::CONTROLLER_LEASE;
use crate::telemetry::{LogFormat, LogSettings};

/// In case an event was lost: everything is looked at this often.
const FULL_PASS_EVERY: Duration = Duration::from_secs(3600);

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
    /// How to log.
    pub fn log_settings(&self) -> LogSettings {
        LogSettings {
            format: match self.log_format {
                LogFormatArg::Text => LogFormat::Text,
                LogFormatArg::Json => LogFormat::Json,
            },
            filter: self.log.clone(),
        }
    }

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
    let shutdown = CancellationToken::new();
    let mut running = std::pin::pin!(crate::controllers::run(
        config,
        connection.client,
        shutdown.clone()
    ));
    tokio::select! {
        ended = running.as_mut() => ended?,
        signal = ended_by_signal() => {
            tracing::info!(signal = signal?, "shutting down");
            shutdown.cancel();
            running.await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ended_by_signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    #[test]
    fn the_limits_of_git_are_the_same_by_flag_and_in_code() {
        let command = GitArgs::augment_args(Command::new("test"));
        let given = command.get_matches_from(["test"]);
        let arguments = GitArgs::from_arg_matches(&given).unwrap();
        assert_eq!(arguments.limits(), GitLimits::default());
    }
}
