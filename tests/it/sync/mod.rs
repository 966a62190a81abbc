//! GitSync's pass against a real API server and a real Git server.

mod apply;
mod claims;
mod crash;
mod deletion;
mod drift;
mod prune;
mod remote;
mod speed;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workstead::api::gitsync::GitSyncStatus;
use workstead::api::{GitSync, Workspace};
use workstead::controllers::clock::SystemClock;
use workstead::controllers::events::Events;
use workstead::controllers::gitsync::requests::Requests;
use workstead::controllers::lease::Claim;
use workstead::controllers::{Shared, door, gitsync};
use workstead::model::clock::Clock;
use workstead::telemetry::{Health, Metrics};
use workstead::testkit::faults::Faults;
use workstead::testkit::git_server::Repository;
use workstead::testkit::wait::eventually;
use workstead::testkit::{ControlPlane, GitServer};

use crate::controllers::mk_config;
use crate::object;

/// The name of the GitSync in every fixture.
const NAME: &str = "team";

/// A namespace, a repository, and the record of what the controller asks the API server.
pub struct Fixture {
    pub namespace: String,
    pub client: Client,
    pub server: GitServer,
    pub repository: Repository,
    pub faults: Faults,
    pub clock: Arc<dyn Clock>,
    pub requests: Requests,
    /// Where the controller keeps its repositories; survives its restarts.
    state: TempDir,
    plane: &'static ControlPlane,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with_server(GitServer::start()).await
    }

    pub async fn with_server(server: GitServer) -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace("sync").await.unwrap();
        let repository = server.repository("team");
        Self {
            client: plane.client(),
            namespace,
            repository,
            server,
            faults: Faults::new(),
            clock: Arc::new(SystemClock),
            requests: Requests::new(),
            state: tempfile::tempdir().unwrap(),
            plane,
        }
    }

    /// The GitSync's API.
    pub fn gitsyncs(&self) -> Api<GitSync> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Workspaces of the namespace.
    pub fn workspaces(&self) -> Api<Workspace> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Pushes a file for each of these Workspaces; gives the commit.
    pub fn push(&self, names: &[&str]) -> String {
        let mut change = self.repository.change();
        for name in names {
            change = change.file(&format!("{name}.yaml"), workspace(name, "i:1"));
        }
        change.commit()
    }

    /// Changes a Workspace by hand.
    pub async fn edit(&self, name: &str, changes: Value) {
        self.workspaces()
            .patch(name, &PatchParams::default(), &Patch::Merge(&changes))
            .await
            .unwrap();
    }

    /// Creates the GitSync with these fields of spec beside the URL.
    pub async fn create(&self, spec: Value) -> GitSync {
        let mut whole = json!({"url": self.repository.url(), "interval": "1h"});
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        let gitsync: GitSync = object(json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": whole,
        }));
        self.gitsyncs()
            .create(&PostParams::default(), &gitsync)
            .await
            .unwrap()
    }

    /// Another GitSync beside it.
    pub async fn create_beside(&self, name: &str, url: &str) {
        let gitsync: GitSync = object(json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"url": url, "interval": "1h"},
        }));
        self.gitsyncs()
            .create(&PostParams::default(), &gitsync)
            .await
            .unwrap();
    }

    /// Changes the GitSync as a merge patch does.
    pub async fn change(&self, changes: Value) -> GitSync {
        self.gitsyncs()
            .patch(NAME, &PatchParams::default(), &Patch::Merge(&changes))
            .await
            .unwrap()
    }

    pub async fn annotate(&self, key: &str, value: &str) {
        self.change(json!({"metadata": {"annotations": {key: value}}}))
            .await;
    }

    /// Asks for a pass by annotation and waits until it is echoed.
    pub async fn sync(&self) -> GitSyncStatus {
        let value = format!("request {:x}", rand::random::<u64>());
        self.annotate("workstead.dev/reconcile-requested-at", &value)
            .await;
        self.until("the request to be echoed", |status| {
            status.last_handled_reconcile_at.as_deref() == Some(&value)
        })
        .await
    }

    pub async fn status(&self) -> GitSyncStatus {
        self.gitsyncs()
            .get(NAME)
            .await
            .unwrap()
            .status
            .unwrap_or_default()
    }

    /// Waits for a status of the current generation.
    pub async fn until(&self, what: &str, fits: impl Fn(&GitSyncStatus) -> bool) -> GitSyncStatus {
        self.until_of(NAME, what, fits).await
    }

    /// The same of another GitSync.
    pub async fn until_of(
        &self,
        name: &str,
        what: &str,
        fits: impl Fn(&GitSyncStatus) -> bool,
    ) -> GitSyncStatus {
        let last = std::sync::Mutex::new(String::new());
        let waited = eventually(what, || async {
            let gitsync = self.gitsyncs().get(name).await.unwrap();
            let status = gitsync.status.unwrap_or_default();
            *last.lock().unwrap() = format!("{status:#?}");
            let current = status.observed_generation == gitsync.metadata.generation;
            (current && fits(&status)).then_some(status)
        });
        match tokio::time::timeout(Duration::from_secs(40), waited).await {
            Ok(status) => status,
            Err(_) => panic!("waited in vain for {what}; it is {}", last.lock().unwrap()),
        }
    }

    /// Waits until a revision is applied and all is well.
    pub async fn until_applied(&self, commit: &str) -> GitSyncStatus {
        let revision = format!("main@sha1:{commit}");
        self.until(&format!("{revision} to be applied"), |status| {
            status.last_applied_revision.as_deref() == Some(&revision) && holds(status, "Ready")
        })
        .await
    }

    /// Waits until Ready says this.
    pub async fn until_reason(&self, reason: &str) -> GitSyncStatus {
        self.until(&format!("Ready to say {reason}"), |status| {
            condition(status, "Ready").is_some_and(|(_, is, _)| is == reason)
        })
        .await
    }

    /// Starts the controller. Everything that it asks the API server goes through the fixture's faults.
    pub fn start(&self) -> Running {
        self.start_in("workstead-system")
    }

    /// Creates the GitSync with these fields, starts the controller, and waits until it has applied a commit.
    pub async fn start_at(&self, commit: &str, spec: Value) -> Running {
        self.create(spec).await;
        let running = self.start();
        self.until_applied(commit).await;
        running
    }

    /// Waits until no pass is on its way: nothing was asked for a moment.
    pub async fn settle(&self) {
        let mut mark = self.faults.mark();
        loop {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let calls = self.faults.calls_since(mark);
            if calls.iter().all(|call| call.is_watch()) {
                return;
            }
            mark = self.faults.mark();
        }
    }

    /// Waits until the Git server was asked again.
    pub async fn eventually_fetched(&self, before: usize) {
        eventually("a fetch", || async {
            (self.server.requests().len() > before).then_some(())
        })
        .await;
        // What follows the fetch takes a few calls.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }

    /// Where the controller keeps the repository of a GitSync.
    pub fn state_path(&self, uid: &str) -> std::path::PathBuf {
        self.state.path().join("gitsync").join(format!("{uid}.git"))
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The stored inventory, as text.
    pub async fn inventory(&self) -> String {
        let stored = self.maps().get_opt("team-inventory-0").await.unwrap();
        stored
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove("entries"))
            .unwrap_or_default()
    }

    /// Deletes the inventory, or writes nonsense into it.
    pub async fn lose_inventory(&self, garble: bool) {
        let name = "team-inventory-0";
        if garble {
            let patch = json!({"data": {"entries": "nonsense"}});
            let params = PatchParams::default();
            self.maps()
                .patch(name, &params, &Patch::Merge(&patch))
                .await
                .unwrap();
        } else {
            self.maps()
                .delete(name, &DeleteParams::default())
                .await
                .unwrap();
        }
    }

    /// Waits until the GitSync is gone.
    pub async fn until_gone(&self) {
        eventually("the GitSync to be gone", || async {
            self.gitsyncs()
                .get_opt(NAME)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
    }

    /// What `kubectl apply` does with a file, by the real kubectl.
    pub async fn kubectl_apply(&self, file: &str) {
        let path = self.state.path().join("applied.yaml");
        std::fs::write(&path, file).unwrap();
        let mut kubectl = self.plane.kubectl();
        kubectl
            .args(["apply", "--namespace", &self.namespace, "--filename"])
            .arg(&path);
        let output = tokio::task::spawn_blocking(move || kubectl.output())
            .await
            .unwrap()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A namespace beside that of the fixture.
    pub async fn another_namespace(&self) -> String {
        self.plane.namespace("other").await.unwrap()
    }

    /// Lets another namespace accept the GitSync, or takes that back.
    pub async fn let_in(&self, namespace: &str, accepted: bool) {
        let key = accepted.then(|| format!("{}/{NAME}", self.namespace));
        let body = json!({"metadata": {"annotations": {"workstead.dev/accept-gitsync": key}}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .patch(namespace, &PatchParams::default(), &Patch::Merge(&body))
            .await
            .unwrap();
    }

    /// Starts the controller as one that is installed in this namespace.
    pub fn start_in(&self, installed: &str) -> Running {
        let client = self.faults.client(self.plane.config());
        let metrics = Arc::new(Metrics::new());
        let through = door::client(client, metrics.clone(), None);
        let mut config = mk_config(&self.namespace, "only");
        config.namespace = installed.to_owned();
        config.state_dir = self.state.path().to_owned();
        config.concurrency = 1;
        let (_, claim) = watch::channel(Claim::default());
        let shared = Arc::new(Shared {
            events: Events::new(through.clone(), "only"),
            client: through.clone(),
            standby_client: through,
            config,
            clock: self.clock.clone(),
            metrics: metrics.clone(),
            health: Health::new(),
            claim,
            gitsync_requests: self.requests.clone(),
        });
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods)] // joined by stop and kill, aborted by drop
        let task = tokio::spawn(gitsync::run(shared, stop.clone()));
        Running { stop, task }
    }

    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        use k8s_openapi::api::core::v1::Secret;
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
        });
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let _ = api.delete(name, &DeleteParams::default()).await;
        api.create(&PostParams::default(), &object(body))
            .await
            .unwrap();
    }

    /// Names of the Workspaces, sorted.
    pub async fn names(&self) -> Vec<String> {
        let list = self.workspaces().list(&Default::default()).await.unwrap();
        let mut names: Vec<_> = list.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    pub async fn workspace(&self, name: &str) -> Workspace {
        self.workspaces().get(name).await.unwrap()
    }

    /// Writes that the controller made since a mark, Events not among them.
    pub fn writes_since(&self, mark: usize) -> Vec<String> {
        self.faults
            .writes_since(mark)
            .into_iter()
            .filter(|call| call.resource() != "events")
            .map(|call| format!("{} {} {}", call.method, call.path, call.body))
            .collect()
    }
}

/// The controller in this process.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends it in order.
    pub async fn stop(mut self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), &mut self.task)
            .await
            .expect("it ends in time")
            .expect("it does not panic");
    }

    /// Ends it as a crash does.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A file with one Workspace.
pub fn workspace(name: &str, image: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec:\n  owner: alice@example.com\n  image: {image}\n"
    )
}

/// Status, reason and message of a condition.
pub fn condition<'a>(status: &'a GitSyncStatus, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    status
        .conditions
        .iter()
        .find(|c| c.type_ == name)
        .map(|c| (c.status.as_str(), c.reason.as_str(), c.message.as_str()))
}

/// Whether a condition is True.
pub fn holds(status: &GitSyncStatus, name: &str) -> bool {
    condition(status, name).is_some_and(|(status, ..)| status == "True")
}

/// The codes of the errors in status.
pub fn codes(status: &GitSyncStatus) -> Vec<&str> {
    status
        .errors
        .iter()
        .map(|error| error.code.as_str())
        .collect()
}
