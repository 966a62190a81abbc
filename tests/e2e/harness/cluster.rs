//! The cluster under test, through a client, kubectl, and the command line of Workstead.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use workstead::api::workspace::ActualState;
use workstead::api::{GitSync, Workspace};
use workstead::testkit::wait::within;

/// Where Workstead is installed.
pub(crate) const INSTALLATION: &str = "workstead-system";

/// A cluster with Workstead on it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

/// How a command ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The output of a command that had to succeed.
    pub(crate) fn success(self) -> String {
        assert_eq!(
            self.code,
            Some(0),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// The condition of a type.
pub(crate) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

impl Cluster {
    /// Connects to the cluster that `E2E_KUBECONFIG` names.
    pub(crate) async fn connect() -> Self {
        // The provider may have been installed by a test before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let kubeconfig: PathBuf = std::env::var("E2E_KUBECONFIG")
            .expect("E2E_KUBECONFIG names the cluster; `make test-e2e` makes one and sets it")
            .into();
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .unwrap();
        Self {
            client: Client::try_from(config).unwrap(),
            kubeconfig,
            kubectl: kubectl(),
        }
    }

    /// A client for somebody else, by impersonation.
    pub(crate) async fn client_as(&self, user: &str) -> Client {
        let read = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
        Client::try_from(config).unwrap()
    }

    /// The file that names this cluster.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Makes a namespace whose name begins with `prefix`.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                labels: Some([("e2e".to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap()
            .metadata
            .name
            .unwrap()
    }

    /// Deletes a namespace and does not wait for its end.
    pub(crate) async fn delete_namespace(&self, name: &str) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// The Workspaces of a namespace.
    pub(crate) fn workspaces(&self, namespace: &str) -> Api<Workspace> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The GitSyncs of a namespace.
    pub(crate) fn syncs(&self, namespace: &str) -> Api<GitSync> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Runs kubectl, with `input` as its standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Outcome {
        run(
            Command::new(&self.kubectl)
                .args(arguments)
                .env("KUBECONFIG", &self.kubeconfig),
            input,
        )
    }

    /// Runs kubectl, which has to succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "").success()
    }

    /// A kubectl that was not started yet.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// `kubectl apply` of a text, as a person would type it.
    pub(crate) fn apply(&self, yaml: &str) {
        self.kubectl_with(&["apply", "-f", "-"], yaml).success();
    }

    /// `kubectl apply` of objects.
    pub(crate) fn apply_all(&self, objects: Vec<serde_json::Value>) {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.apply(&list.to_string());
    }

    /// Runs the command line of Workstead.
    pub(crate) fn workstead(&self, arguments: &[&str]) -> Outcome {
        run(
            Command::new(env!("CARGO_BIN_EXE_workstead"))
                .args(arguments)
                .env("KUBECONFIG", &self.kubeconfig),
            "",
        )
    }

    /// Waits until a Workspace is as wanted; on the way out prints all that explains why it is not.
    pub(crate) async fn await_workspace(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Workspace) -> bool,
    ) -> Workspace {
        let api = self.workspaces(namespace);
        let found = within(limit, || async {
            api.get_opt(name).await.unwrap().filter(&wanted)
        })
        .await;
        match found {
            Some(workspace) => workspace,
            None => {
                let seen = api.get_opt(name).await.unwrap();
                self.explain(namespace);
                panic!(
                    "waited {limit:?} in vain for {namespace}/{name} {what}; its status:\n{}",
                    serde_json::to_string_pretty(&seen.map(|w| w.status)).unwrap()
                );
            }
        }
    }

    /// Waits until a Workspace is in a state.
    pub(crate) async fn await_state(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
        state: ActualState,
    ) -> Workspace {
        let what = format!("to be {state:?}");
        self.await_workspace(namespace, name, limit, &what, |w| {
            w.status
                .as_ref()
                .is_some_and(|s| s.actual_state == Some(state))
        })
        .await
    }

    /// Waits until a GitSync is as wanted.
    pub(crate) async fn await_sync(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&GitSync) -> bool,
    ) -> GitSync {
        let api = self.syncs(namespace);
        let found = within(limit, || async {
            api.get_opt(name).await.unwrap().filter(&wanted)
        })
        .await;
        match found {
            Some(sync) => sync,
            None => {
                let seen = api.get_opt(name).await.unwrap();
                self.explain(namespace);
                panic!(
                    "waited {limit:?} in vain for GitSync {namespace}/{name} {what}; its status:\n{}",
                    serde_json::to_string_pretty(&seen.map(|s| s.status)).unwrap()
                );
            }
        }
    }

    /// The pods of a Workspace.
    pub(crate) async fn pods(&self, namespace: &str, workspace: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let selector = format!("workstead.dev/workspace={workspace}");
        api.list(&ListParams::default().labels(&selector))
            .await
            .unwrap()
            .items
    }

    /// Prints what a person would look at: pods, Events, and the end of the controller's log.
    fn explain(&self, namespace: &str) {
        for arguments in [
            &["get", "pods,pvc,events", "-n", namespace, "-o", "wide"][..],
            &[
                "logs",
                "-n",
                INSTALLATION,
                "-l",
                "app.kubernetes.io/name=workstead",
                "--tail=60",
            ],
        ] {
            let outcome = self.kubectl_with(arguments, "");
            eprintln!(
                "$ kubectl {}\n{}{}",
                arguments.join(" "),
                outcome.stdout,
                outcome.stderr
            );
        }
    }
}

/// kubectl of the pinned modules.
fn kubectl() -> PathBuf {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/cluster/cluster");
    let folder = run(Command::new(tool).args(["path", "control-plane"]), "").success();
    Path::new(folder.trim()).join("kubectl")
}

fn run(command: &mut Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
