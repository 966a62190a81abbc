//! Inside of a workspace: tools, projects, start commands, editor, and who may look.

mod credentials;
mod door;
mod editors;
mod images;
mod life;
mod projects;
mod trouble;
mod why;

use std::time::Duration;

use serde_json::{Value, json};
use workstead::api::Workspace;
use workstead::api::workspace::{ActualState, Cause, Failure, WorkspaceStatus};

use crate::harness::{Cluster, Outcome};

/// Several start at once, on two cores.
const LIMIT: Duration = Duration::from_secs(180);

/// The class of a workspace that says nothing of one.
const OPEN: &str = "open";

/// Whose workspaces these are.
pub(crate) const OWNER: &str = "kim@example.com";

pub(crate) fn status(workspace: &Workspace) -> &WorkspaceStatus {
    static NONE: std::sync::LazyLock<WorkspaceStatus> =
        std::sync::LazyLock::new(WorkspaceStatus::default);
    workspace.status.as_ref().unwrap_or(&NONE)
}

pub(crate) fn has(workspace: &Workspace, condition: &str, value: &str) -> bool {
    let conditions = &status(workspace).conditions;
    conditions
        .iter()
        .any(|c| c.type_ == condition && c.status == value)
}

fn runs(workspace: &Workspace) -> bool {
    status(workspace).actual_state == Some(ActualState::Running)
}

/// Running, and all that was to be done is done.
pub(crate) fn is_ready(workspace: &Workspace) -> bool {
    runs(workspace)
        && has(workspace, "Ready", "True")
        && status(workspace).observed_generation == workspace.metadata.generation
}

/// A namespace of a test.
pub(crate) struct Room<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: String,
}

impl<'a> Room<'a> {
    /// With a class for workspaces that say nothing of one.
    pub(crate) async fn new(cluster: &'a Cluster, prefix: &str) -> Self {
        let namespace = cluster.namespace(prefix).await;
        let room = Self { cluster, namespace };
        cluster.apply_all(vec![room.class(OPEN, json!({}))]);
        room
    }

    /// A Workspace that asks for little; the fields of `more` come on top.
    pub(crate) fn workspace(&self, name: &str, image: &str, more: Value) -> Value {
        let mut spec = json!({
            "owner": OWNER, "className": self.class_name(OPEN), "image": image,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        });
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace", "spec": spec,
            "metadata": {"name": name, "namespace": self.namespace},
        })
    }

    /// A class with the name of the namespace in its own. The servers of tests have private addresses, which are closed by
    /// default where network policies are obeyed.
    pub(crate) fn class(&self, name: &str, mut spec: Value) -> Value {
        spec["network"] = json!({"egress": [{"allow": "0.0.0.0/0"}, {"allow": "::/0"}]});
        json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceClass", "spec": spec,
            "metadata": {"name": self.class_name(name)},
        })
    }

    pub(crate) fn class_name(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Workspace) -> bool,
    ) -> Workspace {
        self.cluster
            .await_workspace(&self.namespace, name, LIMIT, what, is)
            .await
    }

    pub(crate) async fn until_ready(&self, name: &str) -> Workspace {
        self.until(name, "to be ready", is_ready).await
    }

    /// Waits until a workspace runs, is not ready, and says why for good.
    pub(crate) async fn until_failed(&self, name: &str, cause: Cause) -> Failure {
        let failed = |w: &Workspace| {
            let failure = status(w).failure.as_ref();
            runs(w)
                && has(w, "Ready", "False")
                && failure.is_some_and(|f| f.cause == cause && !f.retryable)
        };
        let workspace = self
            .until(name, &format!("to tell of {cause:?}"), failed)
            .await;
        status(&workspace).failure.clone().unwrap()
    }

    /// Runs a command in a workspace.
    pub(crate) fn run(&self, name: &str, command: &[&str], input: &str) -> Outcome {
        let deployment = format!("deployment/{name}");
        let exec = ["exec", "-i", "-n", &self.namespace, &deployment, "--"];
        self.cluster
            .kubectl_with(&[&exec[..], command].concat(), input)
    }

    /// Runs a script, which has to succeed, in a workspace that has a shell.
    pub(crate) fn exec(&self, name: &str, script: &str) -> String {
        self.run(name, &["sh", "-c", script], "").success()
    }

    /// Stops, starts or restarts a workspace as a person does.
    pub(crate) fn verb(&self, verb: &str, name: &str) {
        let command = [verb, name, "-n", &self.namespace, "--wait"];
        self.cluster.workstead(&command).success();
    }

    /// Deletes the namespace, and the classes of the names.
    pub(crate) async fn leave(self, classes: &[&str]) {
        self.cluster.delete_namespace(&self.namespace).await;
        for name in classes.iter().chain([&OPEN]) {
            let class = self.class_name(name);
            self.cluster
                .kubectl(&["delete", "workspaceclass", &class, "--wait=false"]);
        }
    }
}

pub(crate) fn project(name: &str, url: &str) -> Value {
    json!({"name": name, "git": {"url": url}})
}

pub(crate) fn command(name: &str, run: &str) -> Value {
    json!({"name": name, "run": run})
}
