//! The proxy as it runs in a cluster, on this machine: a real control plane, the real controller, and two workspaces whose
//! pods are played, with real first processes. Their addresses are this machine's for as long as the figure is measured:
//! the proxy dials no pod at 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use workstead::api::{Workspace, WorkspaceClass};
use workstead::model::keyring::RING_ENTRY;
use workstead::model::names::PROXY_KEYS_SECRET;
use workstead::testkit::ControlPlane;
use workstead::testkit::control_plane::certificates::{Authority, Identity};
use workstead::testkit::kubelet::{Kubelet, PodStep, mk_node};
use workstead::testkit::wait::eventually;
use workstead_link::{Plan, SUPERVISOR_PORT, TLS_CERTIFICATE, TLS_CLIENTS, TLS_KEY};

use super::others::{Behind, free, origin, until_open};
use super::visitor::{self, Visitor};
use super::{app, load, sockets};
use crate::cluster::{create, runs, workspace};
use crate::program::{Program, controller, installed, workstead};
use crate::supervisor::{Running, program};

/// Whose workspaces there are, and where their pods are: in the range of RFC 2544, for benchmarks.
const PEOPLE: [(&str, Ipv4Addr); 2] = [
    ("alice", Ipv4Addr::new(198, 18, 77, 1)),
    ("bob", Ipv4Addr::new(198, 18, 77, 2)),
];
/// The endpoint with the origin.
pub(crate) const ORIGIN: u16 = 18_081;
/// The endpoint with WebSockets and uploads.
pub(crate) const APP: u16 = 18_082;
const DOMAIN: &str = "work.example.com";
const AUTH_HOST: &str = "auth.work.example.com";
const LOCAL_DOMAIN: &str = "workstead.localhost";
const CERTIFICATE: &str = "bench-tls";
/// How often the node says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// More than any figure opens; the figures are not about limits.
const MANY: &str = "20000";

/// Whose user name a workspace's owner has.
pub(crate) fn owner(workspace: &str) -> String {
    format!("{workspace}@example.com")
}

/// All of it. It ends with the value.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) folder: TempDir,
    /// Vouches for the domain.
    pub(crate) authority: Authority,
    /// The domain's certificate.
    pub(crate) identity: Identity,
    /// The ports that browsers see.
    plain: u16,
    tls: u16,
    _programs: Vec<Program>,
    _supervisors: Vec<Running>,
    _tasks: JoinSet<()>,
    _addresses: Addresses,
    plane: ControlPlane,
}

/// A replica of the proxy.
pub(crate) struct Proxy {
    pub(crate) program: Program,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl World {
    /// Starts all but the proxies.
    pub(crate) async fn start() -> Self {
        sockets::open_many_files();
        let addresses = Addresses::add();
        let plane = ControlPlane::start().await.unwrap();
        plane.install_definitions().await.unwrap();
        plane.start_controller_manager().await.unwrap();
        let authority = Authority::new("bench").unwrap();
        let wildcard = format!("*.{DOMAIN}");
        let identity = authority.server(&[], &[&wildcard, AUTH_HOST]).unwrap();
        let mut world = Self {
            client: plane.client(),
            namespace: plane.namespace("proxy").await.unwrap(),
            folder: TempDir::new().unwrap(),
            authority,
            identity,
            plain: free().port(),
            tls: free().port(),
            _programs: Vec::new(),
            _supervisors: Vec::new(),
            _tasks: JoinSet::new(),
            _addresses: addresses,
            plane,
        };
        world.prepare().await;
        for (name, address) in PEOPLE {
            world.run(name, address).await;
        }
        world
    }

    /// The programs behind the proxy, the controller, and the objects of an administrator.
    async fn prepare(&mut self) {
        let class = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceClass",
            "metadata": {"name": "standard"}, "spec": {},
        });
        create(&Api::<WorkspaceClass>::all(self.client.clone()), &class).await;
        self.keep_node().await;
        let certificate = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": CERTIFICATE},
            "stringData": {"tls.crt": self.identity.certificate, "tls.key": self.identity.key},
        });
        create(&self.api::<Secret>(), &certificate).await;
        let folder = self.folder.path().to_owned();
        let mut controller = controller(&self.plane.kubeconfig(), &self.namespace, &folder);
        controller
            .env("WORKSTEAD_BASE_DOMAIN", LOCAL_DOMAIN)
            .env("WORKSTEAD_BASE_PLAIN_HTTP", "true")
            .env("WORKSTEAD_BASE_PORT", self.plain.to_string());
        let log = folder.join("controller.log");
        self._programs.push(Program::start(&mut controller, &log));
        let files = folder.join("origin");
        std::fs::create_dir(&files).unwrap();
        self._programs
            .push(origin(behind("alice").origin, &files).await);
        for (name, _) in PEOPLE {
            let address = behind(name).app;
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([app::PART, &address.to_string()]);
            let log = folder.join(format!("app-{name}.log"));
            self._programs.push(Program::start(&mut command, &log));
            until_open(address).await;
        }
    }

    /// A node that says again and again that it is there: pods on one that falls silent count as not ready.
    async fn keep_node(&mut self) {
        let (client, name) = (self.client.clone(), self.namespace.clone());
        mk_node(client.clone(), &name).await.unwrap();
        self._tasks.spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                // Of several in a row one may be lost.
                drop(mk_node(client.clone(), &name).await);
            }
        });
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes a workspace and does what a node does for it.
    async fn run(&mut self, name: &str, address: Ipv4Addr) {
        let mut object = workspace(name);
        object["spec"]["owner"] = json!(owner(name));
        object["spec"]["endpoints"] =
            json!([{"name": "origin", "port": ORIGIN}, {"name": "app", "port": APP}]);
        create(&self.api::<Workspace>(), &object).await;
        let labelled = ListParams::default().labels(&format!("workstead.dev/workspace={name}"));
        let pods: Api<Pod> = self.api();
        let pod = eventually("a pod", async || {
            let found = pods.list(&labelled).await.unwrap().items;
            found.first().map(Pod::name_any)
        })
        .await;
        self.start_first_process(name, address).await;
        let kubelet = Kubelet::new(self.client.clone(), &self.namespace);
        // A pod without a node is in no EndpointSlice.
        kubelet.bind(&pod, &self.namespace).await.unwrap();
        kubelet.report(&pod, &PodStep::Ready).await.unwrap();
        let status = json!({"status": {
            "podIP": address, "podIPs": [{"ip": address}],
            "hostIP": "192.168.99.1", "hostIPs": [{"ip": "192.168.99.1"}],
        }});
        pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        let workspaces: Api<Workspace> = self.api();
        eventually("a workspace that runs, with an address", async || {
            let workspace = workspaces.get(name).await.unwrap();
            let url = workspace.status.as_ref()?.url.is_some();
            (runs(&workspace) && url).then_some(())
        })
        .await;
    }

    /// The real first process, and its port at the pod's address.
    async fn start_first_process(&mut self, name: &str, address: Ipv4Addr) {
        let secrets: Api<Secret> = self.api();
        let secret = secrets.get(&format!("{name}-supervisor")).await.unwrap();
        let data = secret.data.unwrap();
        let files = [TLS_CERTIFICATE, TLS_KEY, TLS_CLIENTS].map(|file| (file, &*data[file].0));
        let (running, port) = Running::start(&program(), files, &Plan::default());
        self._supervisors.push(running);
        let listener = TcpListener::bind((address, SUPERVISOR_PORT)).await.unwrap();
        self._tasks.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((mut outside, _)) = listener.accept().await {
                relays.spawn(async move {
                    let inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
                    if let Ok(mut inside) = inside {
                        drop(tokio::io::copy_bidirectional(&mut outside, &mut inside).await);
                    }
                });
                while relays.join_next().now_or_never().flatten().is_some() {}
            }
        });
    }

    /// Starts a replica with one worker, as those have that it is held against.
    pub(crate) async fn proxy(&self, number: u8) -> Proxy {
        let at = |port| SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), port));
        let (plain, tls) = (at(self.plain), at(self.tls));
        let mut command = workstead();
        command
            .args(["proxy", "--namespace", &self.namespace])
            .args(["--identity", &format!("bench-{number}")])
            .args(["--local-domain", LOCAL_DOMAIN])
            .args(["--local-address", &plain.to_string()])
            .args(["--local-port", &self.plain.to_string()])
            .args(["--base-domain", DOMAIN, "--auth-host", AUTH_HOST])
            .args(["--tls-address", &tls.to_string()])
            .args(["--public-port", &self.tls.to_string()])
            .args(["--certificates", CERTIFICATE])
            // Nobody signs in there; see `visitor::session`.
            .args(["--oidc-issuer", "https://127.0.0.1:9"])
            .args(["--oidc-client-id", "bench"])
            .args(["--health-address", &at(0).to_string()])
            // Nor do the others write one.
            .args(["--access-log", "false"])
            .args(["--limit-connections", MANY])
            .args(["--limit-connections-per-address", MANY])
            .args(["--limit-streams-per-user", MANY])
            .args(["--limit-streams-per-workspace", MANY])
            .args(["--limit-logins-per-address", MANY])
            .args(["--limit-logins-per-user", MANY])
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig())
            .env("TOKIO_WORKER_THREADS", "1");
        let log = self.folder.path().join(format!("proxy-{number}.log"));
        let program = Program::start(&mut command, &log);
        until_open(plain).await;
        until_open(tls).await;
        for (name, _) in PEOPLE {
            let plain_host = format!("http://{APP}-{name}.{LOCAL_DOMAIN}:{}", self.plain);
            let tls_host = format!("https://{APP}-{name}.{DOMAIN}:{}", self.tls);
            for (origin, address) in [(plain_host, plain), (tls_host, tls)] {
                // Who knows whose host it is asks who is there.
                eventually(&format!("a route to {origin}"), async || {
                    (load::status(&origin, address) == 401).then_some(())
                })
                .await;
            }
        }
        Proxy {
            program,
            plain,
            tls,
        }
    }

    /// The owner, signed in by a link on the host of a port. The first replica has to run.
    pub(crate) async fn visitor(&self, workspace: &str, port: u16) -> Visitor {
        let namespace = &self.namespace;
        let port = port.to_string();
        eventually("a workspace that opens", async || {
            let link = visitor::link(
                &self.plane.kubeconfig(),
                &[
                    workspace,
                    "--namespace",
                    namespace,
                    "--installation-namespace",
                    namespace,
                    "--port",
                    &port,
                ],
            )?;
            let (page, visitor) = visitor::follow(&link);
            matches!(page.status, 200 | 204).then_some(visitor)
        })
        .await
    }

    /// The owner on the same host by TLS.
    pub(crate) async fn visitor_by_tls(&self, workspace: &str, port: u16) -> Visitor {
        let secret = self.api::<Secret>().get(PROXY_KEYS_SECRET).await.unwrap();
        let ring = secret.data.unwrap().remove(RING_ENTRY).unwrap().0;
        let uid = self.api::<Workspace>().get(workspace).await.unwrap().uid();
        let origin = format!("https://{port}-{workspace}.{DOMAIN}:{}", self.tls);
        let user = owner(workspace);
        visitor::session(&ring, &origin, AUTH_HOST, &uid.unwrap(), &user)
    }

    /// A file for programs.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What answers for a workspace.
pub(crate) fn behind(workspace: &str) -> Behind {
    let person = PEOPLE.iter().find(|(name, _)| *name == workspace);
    let (_, address) = person.unwrap();
    Behind {
        origin: (*address, ORIGIN).into(),
        app: (*address, APP).into(),
    }
}

/// Addresses of pods that this machine has meanwhile, on its loopback: no packet leaves it.
struct Addresses;

impl Addresses {
    fn add() -> Self {
        for (_, address) in PEOPLE {
            let output = change("add", address);
            let text = String::from_utf8_lossy(&output.stderr);
            // Left by a run that was killed.
            let is_there = text.contains("File exists") || text.contains("already assigned");
            assert!(
                output.status.success() || is_there,
                "failed to give this machine the address {address}, which takes root: {text}"
            );
        }
        Self
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        for (_, address) in PEOPLE {
            change("del", address);
        }
    }
}

fn change(verb: &str, address: Ipv4Addr) -> std::process::Output {
    Command::new(installed("ip"))
        .args(["address", verb, &format!("{address}/32"), "dev", "lo"])
        .output()
        .unwrap()
}
