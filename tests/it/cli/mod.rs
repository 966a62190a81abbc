//! The command line, as people run it: the real binary, against a real API server.

mod doctor;
mod inside;
mod offline;
mod open;
mod plan;
mod plugin;
mod runstate;
mod seal;
mod seal_files;
mod show;
mod terminal;
mod validate;
mod vars;
mod vars_edit;
mod vars_workspace;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use workstead::api::{GitSync, Workspace};
use workstead::testkit::ControlPlane;

/// What a run of the binary gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code; gives what it wrote to standard output.
    #[track_caller]
    fn ended(self, code: i32) -> String {
        assert_eq!(self.code, code, "out:\n{}\nerr:\n{}", self.out, self.err);
        self.out
    }

    /// It ended with this code, and said all this on standard error.
    #[track_caller]
    fn complained(self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "out:\n{}\nerr:\n{}", self.out, self.err);
        for text in said {
            assert!(self.err.contains(text), "no '{text}' in:\n{}", self.err);
        }
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workstead"));
    command
        .env_remove("KUBECONFIG")
        .env_remove("WORKSTEAD_IDENTITY")
        .env_remove("VISUAL")
        .env_remove("EDITOR")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Runs without a cluster.
fn offline(arguments: &[&str]) -> Ran {
    Ran::of(
        binary()
            .env("KUBECONFIG", "/nowhere")
            .args(arguments)
            .output()
            .unwrap(),
    )
}

/// Runs against a namespace of its own.
struct Bench {
    plane: &'static ControlPlane,
    namespace: String,
}

impl Bench {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace("cli").await.unwrap();
        Self { plane, namespace }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command
            .args(arguments)
            .args(["--namespace", &self.namespace])
            .env("KUBECONFIG", self.plane.kubeconfig());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        Ran::of(
            tokio::task::spawn_blocking(move || command.output())
                .await
                .unwrap()
                .unwrap(),
        )
    }

    fn workspaces(&self) -> Api<Workspace> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    fn gitsyncs(&self) -> Api<GitSync> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    /// Applies a Workspace as a field manager.
    async fn apply(&self, manager: &str, name: &str, more: Value) {
        let mut value = json!({
            "apiVersion": "workstead.dev/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": name},
            "spec": {"owner": "alice@example.com", "image": "debian"},
        });
        merge(&mut value, more);
        let parameters = PatchParams::apply(manager).force();
        self.workspaces()
            .patch(name, &parameters, &Patch::Apply(&value))
            .await
            .unwrap();
    }

    async fn set_status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let parameters = PatchParams::default();
        self.workspaces()
            .patch_status(name, &parameters, &patch)
            .await
            .unwrap();
    }

    async fn get(&self, name: &str) -> Workspace {
        self.workspaces().get(name).await.unwrap()
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Test", "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

const GOOD: &str = "\
apiVersion: workstead.dev/v1alpha1
kind: Workspace
metadata: {name: good}
spec: {owner: alice, image: debian}
";

async fn mk_gitsync(bench: &Bench, name: &str, more: Value) {
    let mut value = json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "GitSync",
        "metadata": {"name": name},
        "spec": {"url": "https://git.example.com/x.git"},
    });
    merge(&mut value, more);
    let made: GitSync = crate::object(value);
    bench
        .gitsyncs()
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
}
