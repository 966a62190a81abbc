//! The controller as the process that it is, as the chart's ServiceAccount with the rights of the chart, behind a proxy
//! with faults: what the wire, the client's own retry and a real kill -9 add to the tests in this process.
//!
//! All of them share a control plane of their own, since a process looks at every class of the cluster.

mod converge;
mod killed;
mod leader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use workstead::api::workspace::ActualState;
use workstead::api::{GitSync, Workspace};
use workstead::testkit::git_server::Repository;
use workstead::testkit::wait::within;
use workstead::testkit::{ControlPlane, FaultProxy, Faults};

use crate::chart::install;
use crate::object;
use crate::workspace::faults::lasting;
use crate::workspace::{World, strip};

/// The chart's installation, and the ServiceAccount of its controller.
const INSTALLED: &str = "workstead-system";
const ACCOUNT: &str = "workstead-controller";

async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let plane = ControlPlane::start().await.unwrap();
            install(&plane, &[]).unwrap();
            plane.start_controller_manager().await.unwrap();
            plane
        })
        .await
}

/// A namespace in which the controller may also lead.
async fn world(prefix: &str) -> World {
    let world = World::on(plane().await, prefix, json!({})).await;
    let params = PostParams::default();
    // As the chart's own Role, which is for its own namespace.
    let role: Role = object(json!({
        "metadata": {"name": ACCOUNT},
        "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["workstead-proxy-client"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["workstead-recipients"], "verbs": ["get", "watch"]},
        ],
    }));
    let binding: RoleBinding = object(json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": INSTALLED}],
    }));
    world.api().create(&params, &role).await.unwrap();
    world.api().create(&params, &binding).await.unwrap();
    world
}

/// Who holds the Lease.
async fn holder(world: &World) -> Option<String> {
    let lease: Lease = world.api().get_opt("workstead-controller").await.unwrap()?;
    lease.spec?.holder_identity
}

/// The program itself. Dropping it kills it.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `workstead controller`; repositories and the log lie in `folder`, and survive it.
    pub fn start(kubeconfig: &Path, folder: &Path, arguments: &[&str]) -> Self {
        let log = folder.join("log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_workstead"))
            .args(["controller", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--health-address", "127.0.0.1:0"])
            .args(["--webhook-address", "127.0.0.1:0"])
            .args(arguments)
            .env("WORKSTEAD_TOOLS_IMAGE", "workstead:test")
            .env("WORKSTEAD_STATE_DIRECTORY", folder.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it as kill -9 does.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> ExitStatus {
        let ended = within(Duration::from_secs(30), || {
            std::future::ready(self.child.try_wait().unwrap())
        })
        .await;
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }

    /// Asks it to end as the kubelet does, and gives its exit code.
    pub async fn end(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        self.ended().await.code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A replica of the controller: its place, its identity, its wire. It may be killed and started again.
struct Replica {
    identity: String,
    namespace: String,
    faults: Faults,
    proxy: FaultProxy,
    kubeconfig: PathBuf,
    folder: TempDir,
}

impl Replica {
    async fn new(world: &World, identity: &str, faults: &Faults) -> Self {
        let agent = format!("{}/{identity}", world.namespace);
        let plane = plane().await;
        let proxy = FaultProxy::start(plane, &agent, faults);
        let kubeconfig = proxy.kubeconfig(plane, INSTALLED, ACCOUNT).await.unwrap();
        Self {
            identity: identity.to_owned(),
            namespace: world.namespace.clone(),
            faults: faults.clone(),
            proxy,
            kubeconfig,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn start(&self) -> Program {
        let arguments = [
            "--namespace",
            &self.namespace,
            "--watch-namespace",
            &self.namespace,
            "--identity",
            &self.identity,
        ];
        Program::start(&self.kubeconfig, self.folder.path(), &arguments)
    }

    /// What the audit log knows of it, in the order of the log.
    async fn audit(&self) -> Vec<workstead::testkit::control_plane::AuditEvent> {
        let agent = format!("{}/{}", self.namespace, self.identity);
        let mut events = plane().await.audit().unwrap();
        events.retain(|event| event.user_agent.as_deref() == Some(&agent));
        events
    }
}

/// A file with one Workspace of the chart's default class.
fn file(name: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\nspec:\n  \
         owner: alice@example.com\n  image: registry.example.com/dev:1\n  storage: {{size: 1Gi}}\n  \
         endpoints: [{{name: web, port: 3000}}]\n"
    )
}

/// Has a repository synced, as often as can be.
async fn sync(world: &World, repository: &Repository) {
    let gitsync: GitSync = object(json!({
        "metadata": {"name": "team"}, "spec": {"url": repository.url(), "interval": "5s"},
    }));
    world
        .api()
        .create(&PostParams::default(), &gitsync)
        .await
        .unwrap();
}

/// Waits until a Workspace is there and runs, and all that is known of it is of its present generation.
async fn until_running(world: &World, name: &str, program: &Program) {
    let api: Api<Workspace> = world.api();
    let running = within(Duration::from_secs(60), async || {
        let workspace = api.get_opt(name).await.unwrap()?;
        let status = workspace.status?;
        let current = status.observed_generation == workspace.metadata.generation;
        (current && status.actual_state == Some(ActualState::Running)).then_some(())
    });
    assert!(
        running.await.is_some(),
        "{name} does not run:\n{}",
        program.log()
    );
}

/// Waits until a commit is applied and nothing is wrong.
async fn until_synced(world: &World, commit: &str, program: &Program) {
    let api: Api<GitSync> = world.api();
    let synced = within(Duration::from_secs(60), async || {
        let status = api.get("team").await.unwrap().status?;
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready")?;
        let applied = status.last_applied_revision?.ends_with(commit);
        (applied && ready.status == "True").then_some(())
    });
    assert!(
        synced.await.is_some(),
        "{commit} is not applied:\n{}",
        program.log()
    );
}

/// All that the controller has made, without what differs from run to run.
async fn picture(world: &World) -> BTreeMap<String, Value> {
    let mut all = world.children().await;
    for workspace in list::<Workspace>(world).await {
        let name = workspace.name_any();
        let status = lasting(&workspace.status.clone().unwrap_or_default());
        let mut value = json!(workspace);
        strip(&mut value);
        all.insert(format!("Workspace {name}"), value);
        all.insert(format!("status of {name}"), status);
    }
    for sync in list::<GitSync>(world).await {
        let status = sync.status.unwrap_or_default();
        let conditions = status.conditions.iter().map(|c| (&c.type_, &c.status));
        let conditions: Vec<_> = conditions.collect();
        let value = json!({
            "objects": status.objects, "errors": status.errors,
            "conditions": conditions,
        });
        all.insert("GitSync".to_owned(), value);
    }
    let inventory: ConfigMap = world.api().get("team-inventory-0").await.unwrap();
    let entries = inventory.data.unwrap_or_default().remove("entries");
    // The rest of a line is a digest, in which the namespace is.
    let objects = entries.iter().flat_map(|text| text.lines());
    let objects: Vec<_> = objects.map(|line| line.split(' ').next()).collect();
    all.insert("inventory".to_owned(), json!(objects));
    let text = serde_json::to_string(&all).unwrap();
    let text = text.replace(&world.namespace, "NAMESPACE");
    // At which commit an object was last applied depends on where a pass was broken off.
    let commit = regex::Regex::new("@sha1:[0-9a-f]{40}").unwrap();
    serde_json::from_str(&commit.replace_all(&text, "@COMMIT")).unwrap()
}

fn assert_same(got: &BTreeMap<String, Value>, wanted: &BTreeMap<String, Value>) {
    for name in got.keys().chain(wanted.keys()) {
        assert_eq!(got.get(name), wanted.get(name), "{name}");
    }
}

async fn list<K>(world: &World) -> Vec<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let list = world.api::<K>().list(&ListParams::default()).await;
    list.unwrap().items
}

/// The same without any fault, at the same time.
struct Yardstick {
    world: World,
    program: Program,
    _kubelet: tokio::task::JoinSet<()>,
    _replica: Replica,
}

impl Yardstick {
    async fn start(repository: &Repository) -> Self {
        let world = world("plain").await;
        let replica = Replica::new(&world, "only", &world.faults).await;
        sync(&world, repository).await;
        Self {
            program: replica.start(),
            _kubelet: world.auto_ready(),
            _replica: replica,
            world,
        }
    }

    /// What has come of it at this commit.
    async fn picture(mut self, names: &[String], commit: &str) -> BTreeMap<String, Value> {
        until_synced(&self.world, commit, &self.program).await;
        for name in names {
            until_running(&self.world, name, &self.program).await;
        }
        self.world.settle().await;
        let picture = picture(&self.world).await;
        assert_eq!(self.program.end().await, Some(0), "{}", self.program.log());
        picture
    }
}
