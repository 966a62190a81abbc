//! What sealed sets cost: to open them, to do nothing about them, to begin anew with them.

use std::hint::black_box;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use workstead::api::WorkspaceVariables;
use workstead::api::variables::SealedFormat;
use workstead::model::names::{RECIPIENTS_CONFIG_MAP, RECIPIENTS_ENTRY};
use workstead::secrets::identity::{Identities, Identity, Recipient};
use workstead::secrets::open::open;
use workstead::secrets::recipients::Recipients;
use workstead::secrets::seal::seal;
use workstead::secrets::set::open_set;
use workstead::telemetry::Metrics;
use workstead::telemetry::metrics::{OpenedLabels, ReconcileLabels, RequestLabels};
use workstead::testkit::ControlPlane;
use workstead::testkit::process::{Process, mk_config};
use workstead::testkit::wait::within;

use crate::cluster::create;
use crate::program::{Program, workstead};
use crate::results::{Figure, percentile};

/// Sets that are opened, each of so many values: GitLab's worry about two thousand in one request.
const OPENED: usize = 100;
const VALUES: usize = 20;
const ROUNDS: usize = 15;
/// Sets that a controller has.
const MANY: usize = 1000;
const RESTARTS: usize = 3;
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// open-sets.
pub(crate) fn open_sets() -> Figure {
    let identity = Identity::generate();
    let recipients = [identity.recipient()];
    let identities = Identities::of(vec![identity]).unwrap();
    let sets: Vec<String> = (0..OPENED)
        .map(|number| seal(plaintext("a", number).as_bytes(), &recipients).unwrap())
        .collect();
    let files: Vec<String> = (0..OPENED * VALUES)
        .map(|number| seal(value(number).as_bytes(), &recipients).unwrap())
        .collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(processor_time(|| {
            for set in &sets {
                let opened = open_set(SealedFormat::Age, set, &identities, None);
                assert_eq!(black_box(opened).ok().unwrap().document.env.len(), VALUES);
            }
        }));
        theirs.push(processor_time(|| {
            for file in &files {
                assert!(black_box(open(file, &identities, None)).is_ok());
            }
        }));
    }
    let (ours, theirs) = (percentile(&ours, 0.5), percentile(&theirs, 0.5));
    Figure {
        id: "open-sets",
        value: ours,
        unit: "ms of CPU, p50, 100 sets of 20 values",
        yardstick: Some(format!("the same values as 2,000 age files: {theirs} ms")),
        ratio: Some(ours / theirs),
        bar: "at most 20 ms, and a twelfth of the yardstick",
        met: ours <= 20.0 && ours * 12.0 <= theirs,
        rounds: ROUNDS,
    }
}

/// noop-sets and restart-sets: one after the other, on the same sets.
pub(crate) async fn many_sets() -> Vec<Figure> {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    let namespace = plane.namespace("sets").await.unwrap();
    let client = plane.client();
    let mut config = mk_config(&namespace, "bench", env!("CARGO_BIN_EXE_workstead"));
    config.full_pass_every = Duration::from_secs(45);
    let process = Process::start(config, client.clone());
    let recipients = recipients(&client, &namespace).await;
    fill(&client, &namespace, &recipients).await;
    let noop = noop(&process.metrics).await;
    process.stop().await.unwrap();
    let mut used = Vec::new();
    for _ in 0..RESTARTS {
        used.push(restart(&plane, &namespace).await);
    }
    let restart = Figure {
        id: "restart-sets",
        value: percentile(&used, 0.5),
        unit: "s of CPU, p50, until 1,000 sets are open",
        yardstick: Some("all of the controller from its start on".to_owned()),
        ratio: None,
        bar: "at most 2 s",
        met: percentile(&used, 0.5) <= 2.0,
        rounds: RESTARTS,
    };
    vec![noop, restart]
}

pub(crate) async fn recipients(client: &Client, namespace: &str) -> Vec<Recipient> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = within(PATIENCE, || async {
        let map = maps.get_opt(RECIPIENTS_CONFIG_MAP).await.unwrap()?;
        map.data?.remove(RECIPIENTS_ENTRY)
    });
    let text = found.await.expect("recipients are published");
    Recipients::parse(&text).unwrap().as_slice().to_vec()
}

/// Makes the sets, and waits until all of them are accepted.
async fn fill(client: &Client, namespace: &str, recipients: &[Recipient]) {
    let api: Api<WorkspaceVariables> = Api::namespaced(client.clone(), namespace);
    let making = futures::stream::iter(0..MANY).for_each_concurrent(8, async |number| {
        let sealed = seal(plaintext(namespace, number).as_bytes(), recipients).unwrap();
        let set = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables",
            "metadata": {"name": format!("set-{number}")}, "spec": {"format": "Age", "sealed": sealed},
        });
        create(&api, &set).await;
    });
    making.await;
    let accepted = within(PATIENCE, || async {
        let all = api.list(&Default::default()).await.unwrap().items;
        let accepted = all.iter().filter(|set| {
            let status = set.status.as_ref();
            status.is_some_and(|status| status.accepted.is_some())
        });
        (accepted.count() == MANY).then_some(())
    });
    assert!(accepted.await.is_some(), "not all sets are accepted");
}

/// What a second pass over all of them opens and writes.
async fn noop(metrics: &Metrics) -> Figure {
    let passes = || {
        let labels = ReconcileLabels {
            controller: "workspacevariables",
            outcome: "ok",
        };
        metrics.reconciles.get_or_create(&labels).get()
    };
    // What the first passes wrote comes back by the watch and is looked at.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, opened, written) = (passes(), opened(metrics), written(metrics));
    let passed = within(PATIENCE, || async {
        (passes() - before >= MANY as u64).then_some(())
    });
    assert!(passed.await.is_some(), "no second pass over all sets");
    let decryptions = self::opened(metrics) - opened;
    let writes = self::written(metrics) - written;
    Figure {
        id: "noop-sets",
        value: decryptions as f64,
        unit: "decryptions in a second pass over 1,000 sets",
        yardstick: Some(format!("{writes} writes in {} passes", passes() - before)),
        ratio: None,
        bar: "0 decryptions, 0 writes",
        met: decryptions == 0 && writes == 0,
        rounds: 1,
    }
}

fn opened(metrics: &Metrics) -> u64 {
    let count = |outcome| {
        metrics
            .opened_sets
            .get_or_create(&OpenedLabels { outcome })
            .get()
    };
    count("ok") + count("refused")
}

/// But for the lease, which is renewed whatever there is.
pub(crate) fn written(metrics: &Metrics) -> u64 {
    let count = |verb| {
        let outcome = "ok";
        let labels = RequestLabels { verb, outcome };
        metrics.api_requests.get_or_create(&labels).get()
    };
    ["create", "patch", "delete"].map(count).iter().sum()
}

/// Seconds of a core until a controller that begins has opened all of them.
async fn restart(plane: &ControlPlane, namespace: &str) -> f64 {
    let folder = TempDir::new().unwrap();
    let health = free_address();
    let mut command = workstead();
    command
        .args(["controller", "--namespace", namespace, "--kubeconfig"])
        .arg(plane.kubeconfig())
        .args(["--health-address", &health.to_string()])
        .args(["--webhook-address", "127.0.0.1:0"])
        .env("WORKSTEAD_TOOLS_IMAGE", "workstead:bench")
        .env("WORKSTEAD_STATE_DIRECTORY", folder.path().join("state"));
    let log: &Path = &folder.path().join("log");
    let controller = Program::start(&mut command, log);
    let all = MANY as u64;
    let used = within(PATIENCE, || async {
        let text = metrics(health).await?;
        let number = |line: &str| {
            let found = text.lines().find_map(|found| found.strip_prefix(line));
            found.and_then(|number| number.trim().parse::<u64>().ok())
        };
        let opened = number("workstead_variables_opened_total{outcome=\"ok\"}");
        let passes =
            number("workstead_reconciles_total{controller=\"workspacevariables\",outcome=\"ok\"}");
        (opened == Some(all) && passes >= Some(all)).then(|| controller.cpu())
    });
    used.await.unwrap_or_else(|| {
        panic!(
            "not all sets were opened:\n{}",
            std::fs::read_to_string(log).unwrap()
        )
    })
}

async fn metrics(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A set of its own values, bound to its place.
fn plaintext(namespace: &str, number: usize) -> String {
    let mut text =
        format!("binding: {{namespace: {namespace}, name: set-{number}}}\nserial: 1\nenv:\n");
    for variable in 0..VALUES {
        text.push_str(&format!(
            "  VARIABLE_{variable}: \"{}\"\n",
            value(number * VALUES + variable)
        ));
    }
    text
}

/// Sixty bytes.
fn value(number: usize) -> String {
    format!("{number:060}")
}

/// Milliseconds that this thread had a processor for it.
fn processor_time(work: impl FnOnce()) -> f64 {
    let now = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1_000_000.0
    };
    let before = now();
    work();
    now() - before
}
