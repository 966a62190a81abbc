//! Controller processes in this one: started, stopped, killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::controllers::backoff::BackoffSettings;
use crate::controllers::gitsync::budget::GitLimits;
use crate::controllers::lease::LeaseSettings;
use crate::controllers::{ControllerConfig, Parts, PeerSelector, RunError, Scope, run_with};
use crate::model::installation::ClusterDns;
use crate::telemetry::{Health, Metrics};
use crate::testkit::wait::eventually;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The label that keeps the classes of one test apart from those of the others.
pub const TEST_LABEL: &str = "test.example.com/of";

/// A configuration that looks at one namespace, and at the classes that are labelled with its name.
///
/// `git_program` is the binary of Workstead, which fetches in a process of its own.
pub fn mk_config(namespace: &str, identity: &str, git_program: &str) -> ControllerConfig {
    ControllerConfig {
        namespace: namespace.to_owned(),
        scope: Scope {
            namespace: Some(namespace.to_owned()),
            class_labels: Some(format!("{TEST_LABEL}={namespace}")),
        },
        lease: LeaseSettings {
            duration: Duration::from_secs(3),
            renew_every: Duration::from_millis(500),
            look_every: Duration::from_millis(200),
            margin: Duration::from_millis(500),
            ..LeaseSettings::new("workstead-controller", identity)
        },
        tools_image: "registry.example.com/workstead:test".to_owned(),
        pull_secrets: Vec::new(),
        proxy: PeerSelector {
            namespace: namespace.to_owned(),
            pod_labels: BTreeMap::from([("app.kubernetes.io/component".into(), "proxy".into())]),
        },
        dns: ClusterDns::default(),
        total_quota: None,
        base_domain: Some("work.example.com".to_owned()),
        is_tls: true,
        base_port: None,
        reserved_names: Vec::new(),
        concurrency: 4,
        state_dir: std::env::temp_dir().join(format!("workstead-it-{namespace}-{identity}")),
        git: GitLimits::default(),
        git_program: git_program.into(),
        health_address: None,
        webhook_address: None,
        backoff: BackoffSettings {
            first: Duration::from_millis(50),
            most: Duration::from_secs(1),
        },
        full_pass_every: Duration::from_secs(3600),
    }
}

/// A controller process in this one.
pub struct Process {
    /// What it lacks.
    pub health: Health,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
    /// How many others hold the metrics, beside this value and what runs.
    others: usize,
}

impl Process {
    /// Starts one.
    pub fn start(config: ControllerConfig, client: Client) -> Self {
        Self::start_with(config, client, Parts::default())
    }

    /// Starts one with parts of the test's own.
    pub fn start_with(config: ControllerConfig, client: Client, parts: Parts) -> Self {
        let stop = CancellationToken::new();
        let (health, metrics) = (parts.health.clone(), parts.metrics.clone());
        // This value and the parts hold two.
        let others = Arc::strong_count(&metrics) - 2;
        let running = run_with(config, client, stop.clone(), parts);
        let running = async {
            // A test that waits for what this process does would else not know why it waits in vain.
            running
                .await
                .inspect_err(|error| eprintln!("the controller ended: {error}"))
        };
        #[allow(clippy::disallowed_methods)] // joined by stop and kill, aborted by drop
        let task = tokio::spawn(running);
        Self {
            health,
            metrics,
            stop,
            task,
            others,
        }
    }

    /// Whether it holds the lease.
    pub fn leads(&self) -> bool {
        self.metrics.leader.get() == 1
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> Result<(), RunError> {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), &mut self.task).await;
        ended.expect("it ends in time").expect("it does not panic")
    }

    /// Ends it as a crash does: in the middle of whatever it does, the lease kept.
    ///
    /// # Panics
    /// When something of it goes on.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        // Its inner tasks are told to end, but one that another thread has in hand may send one more call until then. All
        // of them hold the metrics.
        eventually("the last task of a killed process", async || {
            (Arc::strong_count(&self.metrics) == self.others + 1).then_some(())
        })
        .await;
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(Duration::from_secs(30), &mut self.task).await;
        ended.expect("it ends in time").expect("it does not panic")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}
