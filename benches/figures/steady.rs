//! What a thousand workspaces that just run cost the controller.
//!
//! No machine runs a thousand pods, so their kubelet is played and their first processes are answered for here, with their
//! own keys and by the protocol. Controller and API server are the real programs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use workstead::api::{Workspace, WorkspaceClass};
use workstead::testkit::ControlPlane;
use workstead::testkit::kubelet::{Kubelet, PodStep, mk_node};
use workstead::testkit::wait::within;
use workstead_link::{Report, SUPERVISOR_PORT, Step, StepKind, StepState};

use crate::cluster::{create, runs, workspace};
use crate::program::{Program, controller};
use crate::results::Figure;

/// How many workspaces run.
const MANY: usize = 1000;
/// As many of them start at a time.
const AT_A_TIME: usize = 16;
/// How long all of them may take to start.
const PATIENCE: Duration = Duration::from_secs(900);
/// After the last start, until nothing is left to do.
const REST: Duration = Duration::from_secs(30);
/// How long it is measured.
const MEASURED: Duration = Duration::from_secs(60);

/// steady-cpu.
pub(crate) async fn steady_cpu() -> Figure {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    let client = plane.client();
    let namespace = plane.namespace("steady").await.unwrap();
    let class = json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "WorkspaceClass",
        "metadata": {"name": "standard"},
        "spec": {},
    });
    create(&Api::<WorkspaceClass>::all(client.clone()), &class).await;
    mk_node(client.clone(), "node").await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut controller = controller(&plane.kubeconfig(), &namespace, folder.path());
    let controller = Program::start(&mut controller, &folder.path().join("log"));
    let fleet = Fleet::new(&client, &namespace);
    // Ends with this function, and with it whoever answers.
    let mut serving = JoinSet::new();
    let starts = futures::stream::iter(0..MANY).map(|number| fleet.start(number));
    let mut starts = std::pin::pin!(starts.buffer_unordered(AT_A_TIME));
    while let Some(answers) = starts.next().await {
        serving.spawn(answers);
        if serving.len() % 100 == 0 {
            println!("steady-cpu: {} of {MANY} have a pod", serving.len());
        }
    }
    all_run(&client, &namespace).await;
    tokio::time::sleep(REST).await;
    let (calls, used) = (fleet.calls(), controller.cpu());
    tokio::time::sleep(MEASURED).await;
    let share = (controller.cpu() - used) / MEASURED.as_secs_f64() * 100.0;
    let later = fleet.calls() - calls;
    let open = fleet.open.load(Ordering::Relaxed);
    assert!(calls >= MANY, "only {calls} of {MANY} were ever asked");
    Figure {
        id: "steady-cpu",
        value: (share * 100.0).round() / 100.0,
        unit: "% of a core",
        yardstick: Some(format!(
            "{MANY} Running, a minute; {open} connections open to them, {later} made in that minute, {calls} for all their starts"
        )),
        ratio: None,
        bar: "at most 1 %, no connection",
        met: share <= 1.0 && open == 0 && later == 0,
        rounds: 1,
    }
}

async fn all_run(client: &Client, namespace: &str) {
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), namespace);
    let settled = |workspace: &Workspace| {
        let conditions = workspace.status.iter().flat_map(|s| s.conditions.iter());
        let mut ready = conditions.filter(|c| c.status == "True").map(|c| &c.type_);
        runs(workspace) && ready.any(|kind| kind == "PostStartReady")
    };
    let all = within(PATIENCE, || async {
        let list = workspaces.list(&ListParams::default()).await.unwrap();
        let done = list.items.iter().filter(|w| settled(w)).count();
        (done == MANY).then_some(())
    });
    assert!(all.await.is_some(), "{MANY} workspaces did not settle");
}

/// The pods of the workspaces, and who answers in them.
struct Fleet {
    client: Client,
    namespace: String,
    kubelet: Kubelet,
    calls: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Fleet {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            kubelet: Kubelet::new(client.clone(), namespace),
            calls: Arc::default(),
            open: Arc::default(),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes a workspace and does what a node does for it; gives what answers in its pod from then on.
    async fn start(&self, number: usize) -> impl Future<Output = ()> + use<> {
        let name = format!("many-{number}");
        let api = |client: &Client| Api::<Workspace>::namespaced(client.clone(), &self.namespace);
        let mut object = workspace(&name);
        object["spec"]["postStart"] = json!([{"name": "mark", "run": "true"}]);
        create(&api(&self.client), &object).await;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let made = within(PATIENCE, || async {
            let found = deployments.get_opt(&name).await.unwrap()?;
            (found.spec?.replicas == Some(1)).then_some(())
        });
        assert!(made.await.is_some(), "{name} has no Deployment");
        let address = Ipv4Addr::from(0x7f01_0000 + u32::try_from(number).unwrap() + 1);
        let listener = TcpListener::bind((address, SUPERVISOR_PORT)).await.unwrap();
        let acceptor = self.identity(&name).await;
        let pod = self.kubelet.mk_pod_of(&name).await.unwrap().name_any();
        self.kubelet.bind(&pod, "node").await.unwrap();
        let claims: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &self.namespace);
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        claims
            .patch_status(&format!("{name}-home"), &PatchParams::default(), &bound)
            .await
            .unwrap();
        let reported = self.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
        self.complete(&name, &reported, address).await;
        serve(listener, acceptor, self.calls.clone(), self.open.clone())
    }

    /// What a node and the controllers of Deployments say of a pod that serves, beyond what the kubelet of tests says.
    async fn complete(&self, name: &str, pod: &Pod, address: Ipv4Addr) {
        let mut status = json!(pod.status);
        status["podIP"] = json!(address.to_string());
        status["podIPs"] = json!([{"ip": address.to_string()}]);
        status["containerStatuses"][0]["containerID"] = json!(format!("containerd://{name}"));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let (params, patch) = (
            PatchParams::default(),
            Patch::Merge(json!({"status": status})),
        );
        pods.patch_status(&pod.name_any(), &params, &patch)
            .await
            .unwrap();
        self.kubelet.report_deployment(name, 1, 1).await.unwrap();
        let conditions = json!({"status": {"conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ]}});
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        deployments
            .patch_status(name, &params, &Patch::Merge(conditions))
            .await
            .unwrap();
    }

    /// The key that the controller made for a workspace, as its pod has it mounted.
    async fn identity(&self, name: &str) -> TlsAcceptor {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let data: BTreeMap<_, _> = secrets
            .get(&format!("{name}-supervisor"))
            .await
            .unwrap()
            .data
            .unwrap();
        let certificates = CertificateDer::pem_slice_iter(&data["tls.crt"].0)
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_slice(&data["tls.key"].0).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Answers whoever asks that all is done, and counts them.
async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    calls: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        calls.fetch_add(1, Ordering::Relaxed);
        open.fetch_add(1, Ordering::Relaxed);
        // The controller takes care of what breaks: it calls again, and that is counted.
        drop(answer(stream, &acceptor).await);
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer(stream: TcpStream, acceptor: &TlsAcceptor) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let step = |kind, subject: Option<&str>| Step {
        kind,
        subject: subject.map(str::to_owned),
        state: StepState::Done,
        took_ms: Some(1),
        ..Step::default()
    };
    let report = Report {
        version: workstead_link::REPORT_VERSION,
        uptime_ms: 1,
        steps: vec![
            step(StepKind::Network, None),
            step(StepKind::Files, None),
            step(StepKind::PostStart, Some("mark")),
        ],
        settled: true,
        ..Report::default()
    };
    let mut line = serde_json::to_vec(&report)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.shutdown().await?;
    // Until the other side has heard it.
    stream.read_line(&mut request).await?;
    Ok(())
}
