//! A workspace that runs, and two replicas before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use workstead::api::workspace::ActualState;
use workstead::api::{Workspace, WorkspaceClass};
use workstead::model::keyring::{KeyRing, RING_ENTRY};
use workstead::model::names::{DnsSubdomain, PROXY_KEYS_SECRET};
use workstead::proxy::host::{Scheme, Site};
use workstead::proxy::login::link::mint_link;
use workstead::proxy::session::Keys;
use workstead::proxy::session::entropy::SystemEntropy;
use workstead::testkit::ControlPlane;
use workstead::testkit::kubelet::{Kubelet, PodStep, mk_node};
use workstead::testkit::process::{Process, TEST_LABEL, mk_config};
use workstead::testkit::wait::eventually;
use workstead_link::{SUPERVISOR_PORT, TLS_CERTIFICATE, TLS_CLIENTS, TLS_KEY};

use super::addresses::PodAddress;
use super::app::App;
use super::browser::Browser;
use super::replica::{DOMAIN, PORT, Replica};
use crate::object;
use crate::supervisor_keys::Running;

/// The workspace, whose it is, and its port.
pub const NAME: &str = "dev";
pub const ALICE: &str = "alice@example.com";
pub const BOB: &str = "bob@example.com";
const APP_PORT: u16 = 18_080;

async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let plane = ControlPlane::start().await.unwrap();
            plane.install_definitions().await.unwrap();
            plane.start_controller_manager().await.unwrap();
            plane
        })
        .await
}

/// All of it, in a namespace of its own. It ends with the value.
pub struct World {
    pub client: Client,
    pub namespace: String,
    pub app: App,
    /// Two replicas, where each listens.
    pub replicas: [Replica; 2],
    site: Site,
    _controller: Process,
    _pod: PlayedPod,
    _folder: TempDir,
}

impl World {
    /// None where this machine can't have it.
    pub async fn start(prefix: &str) -> Option<Self> {
        let address = PodAddress::add()?;
        let plane = plane().await;
        let namespace = plane.namespace(prefix).await.unwrap();
        prepare(&plane.client(), &namespace).await;
        let mut config = mk_config(&namespace, "one", env!("CARGO_BIN_EXE_workstead"));
        // Long enough for a machine that runs many of these at once.
        config.lease.duration = Duration::from_secs(15);
        let controller = Process::start(config, plane.client());
        let app = App::start((address.0, APP_PORT).into()).await;
        let pod = PlayedPod::start(&plane.client(), &namespace, address).await;
        let folder = tempfile::tempdir().unwrap();
        let [high, low] = rand::random::<[u8; 2]>();
        let at = |last| Ipv4Addr::new(127, high, low, last);
        let replicas = tokio::join!(
            Replica::start(plane, &namespace, at(1), folder.path()),
            Replica::start(plane, &namespace, at(2), folder.path()),
        );
        let domain = DnsSubdomain::new(DOMAIN).unwrap();
        let auth_host = DnsSubdomain::new(format!("auth.{DOMAIN}")).unwrap();
        let world = Self {
            client: plane.client(),
            app,
            replicas: replicas.into(),
            site: Site::new(&domain, &auth_host, Scheme::Http, Some(PORT)).unwrap(),
            _controller: controller,
            _pod: pod,
            _folder: folder,
            namespace,
        };
        for at in world.both() {
            // Who knows whose host it is asks who is there.
            world.until(at, &Browser::default(), "/", 401).await;
        }
        Some(world)
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Where the replicas listen.
    pub fn both(&self) -> [SocketAddr; 2] {
        [self.replicas[0].at, self.replicas[1].at]
    }

    /// The origin of the workspace's app.
    pub fn origin(&self) -> String {
        self.site.origin(&self.host())
    }

    /// Host and port of the workspace's app.
    pub fn authority(&self) -> String {
        format!("{}:{PORT}", self.host())
    }

    /// An address of the app.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    fn host(&self) -> String {
        self.site.workspace_host(NAME, Some(APP_PORT))
    }

    /// The key ring as it is.
    pub async fn ring(&self) -> KeyRing {
        let secret = self.api::<Secret>().get(PROXY_KEYS_SECRET).await.unwrap();
        let ring = secret.data.unwrap().remove(RING_ENTRY).unwrap();
        KeyRing::parse(&ring.0).ok().unwrap()
    }

    /// A link that signs somebody in, once.
    pub async fn link(&self, user: &str) -> String {
        let keys = Keys::new(&self.ring().await).unwrap();
        let now = Timestamp::now();
        mint_link(
            &keys.load(),
            &self.site,
            &self.host(),
            user,
            now,
            &SystemEntropy,
        )
        .unwrap()
    }

    /// Somebody who is signed in, all of it at one replica.
    pub async fn signed_in(&self, user: &str, at: SocketAddr) -> Browser {
        let mut browser = Browser::default();
        let page = browser.follow(&[at], &self.link(user).await).await;
        assert_eq!(page.status, 200, "{user}: {page:?}");
        browser
    }

    /// What somebody gets for a path of the app.
    pub async fn status(&self, at: SocketAddr, browser: &Browser, path: &str) -> u16 {
        let status = browser.fetch(at, &self.url(path)).await;
        status.expect("an answer")
    }

    /// Waits until somebody gets this.
    pub async fn until(&self, at: SocketAddr, browser: &Browser, path: &str, status: u16) {
        let what = format!("{status} at {at}");
        eventually(&what, async || {
            (browser.fetch(at, &self.url(path)).await == Some(status)).then_some(())
        })
        .await;
    }

    /// Says with whom the workspace is shared.
    pub async fn share_with(&self, users: &[&str]) {
        let change = json!({"spec": {"shared": {"users": users}}});
        self.api::<Workspace>()
            .patch(NAME, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }
}

/// What an administrator makes, and the rights of the replicas. What the chart leaves them is tested with the chart.
async fn prepare(client: &Client, namespace: &str) {
    let params = PostParams::default();
    let class: WorkspaceClass = object(json!({
        "metadata": {"name": namespace, "labels": {TEST_LABEL: namespace}}, "spec": {},
    }));
    Api::all(client.clone())
        .create(&params, &class)
        .await
        .unwrap();
    let binding: ClusterRoleBinding = object(json!({
        "metadata": {"name": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }));
    Api::all(client.clone())
        .create(&params, &binding)
        .await
        .unwrap();
    let workspace: Workspace = object(json!({
        "metadata": {"name": NAME},
        "spec": {
            "owner": ALICE, "className": namespace,
            "image": "registry.example.com/dev:1", "storage": {"size": "1Gi"},
            "endpoints": [{"name": "app", "port": APP_PORT, "visibility": "Shared"}],
            "shared": {"users": [BOB]},
        },
    }));
    Api::namespaced(client.clone(), namespace)
        .create(&params, &workspace)
        .await
        .unwrap();
}

/// What a node does for the workspace's pod, and the first process in it.
struct PlayedPod {
    _first_process: Running,
    _relay: JoinSet<()>,
    _address: PodAddress,
}

impl PlayedPod {
    async fn start(client: &Client, namespace: &str, address: PodAddress) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let labelled = ListParams::default().labels(&format!("workstead.dev/workspace={NAME}"));
        let pod = eventually("a pod", async || {
            let found = pods.list(&labelled).await.unwrap().items;
            found.first().map(Pod::name_any)
        })
        .await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = secrets.get(&format!("{NAME}-supervisor")).await.unwrap();
        let data = secret.data.unwrap();
        let files =
            [TLS_CERTIFICATE, TLS_KEY, TLS_CLIENTS].map(|file| (file, data[file].0.clone()));
        let first_process = Running::start(files).await;
        let relay = relay((address.0, SUPERVISOR_PORT).into(), first_process.address).await;
        mk_node(client.clone(), namespace).await.unwrap();
        let kubelet = Kubelet::new(client.clone(), namespace);
        kubelet.bind(&pod, namespace).await.unwrap();
        kubelet.report(&pod, &PodStep::Ready).await.unwrap();
        let status: Value = json!({"status": {
            "podIP": address.0, "podIPs": [{"ip": address.0}],
            "hostIP": "192.168.99.1", "hostIPs": [{"ip": "192.168.99.1"}],
        }});
        pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        let workspaces: Api<Workspace> = Api::namespaced(client.clone(), namespace);
        eventually("a workspace that runs", async || {
            let status = workspaces.get(NAME).await.unwrap().status?;
            (status.actual_state == Some(ActualState::Running)).then_some(())
        })
        .await;
        Self {
            _first_process: first_process,
            _relay: relay,
            _address: address,
        }
    }
}

/// Lets who listens at one address answer at another, too.
async fn relay(from: SocketAddr, to: SocketAddr) -> JoinSet<()> {
    let listener = TcpListener::bind(from).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut outside, _)) = listener.accept().await {
            connections.spawn(async move {
                if let Ok(mut inside) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
            while connections.try_join_next().is_some() {}
        }
    });
    tasks
}
