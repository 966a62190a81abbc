//! Sealed variables, from the command line of whoever seals to the processes of a workspace.

mod arrive;
mod canary;
mod frozen;
mod replayed;
mod rotation;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use workstead::api::{Workspace, WorkspaceVariables};
use workstead::testkit::wait::within;

use crate::harness::condition;
use crate::inside::Room;

/// A set is opened at once; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who seals, at a desk of their own.
struct Desk<'a> {
    room: &'a Room<'a>,
    folder: tempfile::TempDir,
}

impl<'a> Desk<'a> {
    fn new(room: &'a Room<'a>) -> Self {
        Self {
            room,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Seals as a person does, for the recipients that the installation publishes unless `more` names others.
    fn seal(&self, name: &str, set: &Value, more: &[&str]) -> String {
        // JSON is YAML, so the text that is sealed holds exactly these values.
        let file = self.folder.path().join("set.yaml");
        std::fs::write(&file, set.to_string()).unwrap();
        let place = ["--name", name, "-n", &self.room.namespace];
        let seal = [&["seal", file.to_str().unwrap()][..], &place, more].concat();
        let sealed = self.room.cluster.workstead(&seal).success();
        std::fs::remove_file(file).unwrap();
        sealed
    }

    /// Applies a set. By the server: what kubectl notes on its own side would be too long.
    fn apply(&self, sealed: &str) {
        let apply = ["apply", "--server-side", "-f", "-"];
        let cluster = self.room.cluster;
        cluster.kubectl_with(&apply, sealed).success();
    }

    /// Seals, applies, and waits until it is accepted.
    async fn put(&self, name: &str, set: &Value) -> WorkspaceVariables {
        self.apply(&self.seal(name, set, &[]));
        self.until(name, "Accepted").await
    }

    /// Waits until the newest text of a set is judged in this way.
    async fn until(&self, name: &str, reason: &str) -> WorkspaceVariables {
        let cluster = self.room.cluster;
        let api: Api<WorkspaceVariables> =
            Api::namespaced(cluster.client.clone(), &self.room.namespace);
        let found = within(LIMIT, || async {
            let set = api.get_opt(name).await.unwrap()?;
            let status = set.status.as_ref()?;
            let is_newest = status.observed_generation == set.metadata.generation;
            let ready = condition(&status.conditions, "Ready")?;
            (is_newest && ready.reason == reason).then_some(set)
        })
        .await;
        match found {
            Some(set) => set,
            None => {
                let seen = api.get_opt(name).await.unwrap().map(|set| set.status);
                panic!("waited in vain for {name} to be {reason}: {seen:?}");
            }
        }
    }

    /// Asks for the newest values, and restarts.
    async fn update(&self, name: &str, request: &str) -> Workspace {
        self.ask(name, request);
        self.room.verb("restart", name);
        let handled = |w: &Workspace| {
            let status = w.status.as_ref();
            status.and_then(|s| s.last_handled_variables_update_at.as_deref()) == Some(request)
        };
        let what = "to have carried out the request for newer values";
        self.room.until(name, what, handled).await;
        self.room.until_ready(name).await
    }

    fn ask(&self, name: &str, request: &str) {
        let note = format!("workstead.dev/variables-update-requested-at={request}");
        let annotate = ["annotate", "--overwrite", "workspace", name, &note];
        let place = ["-n", &self.room.namespace];
        self.room.cluster.kubectl(&[&annotate[..], &place].concat());
    }

    /// A variable, as processes of a workspace have it.
    fn value(&self, workspace: &str, name: &str) -> String {
        let said = self
            .room
            .exec(workspace, &format!("printf '%s.' \"${name}\""));
        said.strip_suffix('.').unwrap().to_owned()
    }

    /// The Secrets that hold the values of a workspace.
    async fn pinned(&self, workspace: &str) -> Vec<String> {
        let client = self.room.cluster.client.clone();
        let api: Api<Secret> = Api::namespaced(client, &self.room.namespace);
        let all = api.list(&ListParams::default()).await.unwrap().items;
        let names = all.into_iter().filter_map(|secret| secret.metadata.name);
        let prefix = format!("{workspace}-vars-");
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    /// The name that the node knows the pod of a workspace by, and how often it began anew.
    async fn life(&self, workspace: &str) -> (String, i32) {
        let pods = self.room.cluster.pods(&self.room.namespace, workspace);
        let mut pods = pods.await;
        assert_eq!(pods.len(), 1, "{workspace} has one pod");
        let pod = pods.remove(0);
        let status = pod.status.unwrap().container_statuses.unwrap();
        (pod.metadata.uid.unwrap(), status[0].restart_count)
    }
}

/// What `sha256sum` prints of it.
fn digest(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A Workspace that lists sets.
fn listing(room: &Room<'_>, name: &str, sets: &[&str], more: Value) -> Value {
    let sets: Vec<Value> = sets.iter().map(|name| json!({"name": name})).collect();
    let mut fields = json!({"variables": sets});
    for (field, value) in more.as_object().unwrap() {
        fields[field] = value.clone();
    }
    room.workspace(name, &crate::harness::debian_image(), fields)
}
