//! The inside of a workspace on the real node: until VS Code answers, and what mounting saves against copying.

use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use workstead::api::{Workspace, WorkspaceClass};

use crate::cluster::{LIMIT, connect, create, delete, mk_namespace, runs, workspace};
use crate::results::{Figure, percentile};
use crate::starts::{Like, end, end_bare, mk_bare};

/// Starts of each kind: an editor starts in seconds, and copies of it are large.
const ROUNDS: usize = 5;
/// Where an editor listens, and where VS Code says that it is there.
const ANSWERS: &str = "60001/proxy/healthz";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// editor-start and image-volume.
pub(crate) async fn editors() -> Vec<Figure> {
    let bench = Bench::prepare().await;
    let mounted = bench.class("mounted", "ImageVolume").await;
    let copied = bench.class("copied", "Copy").await;
    // The first start of each warms the caches, and shows what a bare pod has to be like.
    bench.start("first", &mounted, "vscode").await;
    let like = by_hand(&Like::of(&bench.client, &bench.namespace, "first").await);
    end(&bench.client, &bench.namespace, "first").await;
    bench.start_by_hand("bare-first", &like).await;
    let (mut ours, mut bare, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tools, mut copied_tools) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for turn in 0..5 {
            // A name of its own: a volume outlives its Workspace, and each start has a new one.
            let name = format!("round-{round}-{turn}");
            match (round + turn) % 5 {
                0 => ours.push(bench.round(&name, &mounted, "vscode").await),
                1 => bare.push(bench.start_by_hand(&format!("bare-{name}"), &like).await),
                2 => copies.push(bench.round(&name, &copied, "vscode").await),
                3 => tools.push(bench.round(&name, &mounted, "none").await),
                _ => copied_tools.push(bench.round(&name, &copied, "none").await),
            }
        }
    }
    bench.clean_up(&[&mounted, &copied]).await;
    vec![
        editor_start(&ours, &bare),
        image_volume(&ours, &copies, &tools, &copied_tools),
    ]
}

/// What the supervisor's two processes have in memory, in KiB, in a workspace whose editor answers: the first one and its
/// branch.
pub(crate) async fn resident() -> (f64, f64) {
    let bench = Bench::prepare().await;
    let class = bench.class("mounted", "ImageVolume").await;
    bench.start("size", &class, "vscode").await;
    let script = "for file in /proc/[0-9]*/status; do grep -E '^(Name|Pid|VmRSS):' $file; done";
    let output = Command::new(kubectl())
        .env("KUBECONFIG", std::env::var("E2E_KUBECONFIG").unwrap())
        .args(["exec", "-n", &bench.namespace, "deployment/size", "--"])
        .args(["sh", "-c", script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut sizes = (0.0, 0.0);
    let mut of = (String::new(), String::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (field, value) = (words.next().unwrap(), words.next().unwrap());
        match field {
            "Name:" => of.0 = value.to_owned(),
            "Pid:" => of.1 = value.to_owned(),
            // The kernel keeps 15 letters of a name.
            _ if !of.0.starts_with("workstead-super") => {}
            _ if of.1 == "1" => sizes.0 += value.parse::<f64>().unwrap(),
            _ => sizes.1 += value.parse::<f64>().unwrap(),
        }
    }
    assert!(sizes.0 > 0.0 && sizes.1 > 0.0, "{text}");
    bench.clean_up(&[&class]).await;
    sizes
}

fn kubectl() -> String {
    format!("{}/kubectl", tool(&["path", "control-plane"]).trim())
}

/// What the tool of our cluster prints.
pub(crate) fn tool(arguments: &[&str]) -> String {
    let output = Command::new("tests/e2e/cluster/cluster")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn editor_start(ours: &[f64], bare: &[f64]) -> Figure {
    let (start, yardstick) = (percentile(ours, 0.5), percentile(bare, 0.5));
    let ratio = start / yardstick;
    Figure {
        id: "editor-start",
        value: start,
        unit: "ms, p50",
        yardstick: Some(format!(
            "the same VS Code started by hand in a bare pod with a new PVC: {yardstick} ms"
        )),
        ratio: Some(ratio),
        bar: "at most 1.1 times",
        met: ratio <= 1.1,
        rounds: ours.len(),
    }
}

fn image_volume(ours: &[f64], copies: &[f64], tools: &[f64], copied_tools: &[f64]) -> Figure {
    let p50 = |values| percentile(values, 0.5);
    let (mounted, copied) = (p50(ours), p50(copies));
    Figure {
        id: "image-volume",
        value: mounted,
        unit: "ms, p50, VS Code answers",
        yardstick: Some(format!(
            "copied instead of mounted: {copied} ms; without an editor, created to Running: {} ms mounted, {} ms copied",
            p50(tools),
            p50(copied_tools)
        )),
        ratio: Some(mounted / copied),
        bar: "none, printed",
        met: true,
        rounds: ours.len(),
    }
}

/// VS Code as one would start it without us: its image mounted, its program the first process.
fn by_hand(like: &Like) -> Like {
    let mut bare = like.without_ours();
    // The account of the Workspace ends with it.
    let spec = bare.spec.as_object_mut().unwrap();
    spec.retain(|field, _| !field.starts_with("serviceAccount"));
    let mine = |of: &Value, field: &str| -> Value {
        let all = of[field].as_array().unwrap();
        all.iter().find(|v| v["name"] == "editor").unwrap().clone()
    };
    let volume = mine(&like.spec, "volumes");
    let mount = mine(&like.spec["containers"][0], "volumeMounts");
    bare.spec["volumes"].as_array_mut().unwrap().push(volume);
    let container = &mut bare.spec["containers"][0];
    container["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(mount);
    container["command"] = json!(["/opt/workstead-editor/bin/start"]);
    container["env"] = json!([
        {"name": "HOME", "value": "/projects"},
        {"name": "WORKSTEAD_FOLDER", "value": "/projects"},
    ]);
    bare
}

/// A namespace on the node, and VS Code's image.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    image: String,
}

impl Bench {
    pub(crate) async fn prepare() -> Self {
        let client = connect().await;
        let namespace = mk_namespace(&client).await;
        let image = std::env::var("E2E_VSCODE_IMAGE").unwrap_or_else(|_| loaded());
        Self {
            client,
            namespace,
            image,
        }
    }

    /// A class with VS Code, and with tools that come this way.
    pub(crate) async fn class(&self, name: &str, delivery: &str) -> String {
        let name = format!("{}-{name}", self.namespace);
        let class = json!({
            "apiVersion": "workstead.dev/v1alpha1",
            "kind": "WorkspaceClass",
            "metadata": {"name": name},
            "spec": {
                "tools": {"delivery": delivery},
                "editors": [{
                    "name": "vscode",
                    "image": self.image,
                    "command": ["bin/start"],
                    "readinessPath": "/healthz",
                    "needs": {"architectures": ["amd64"], "glibc": "2.34"},
                }],
            },
        });
        create(&Api::<WorkspaceClass>::all(self.client.clone()), &class).await;
        name
    }

    pub(crate) async fn clean_up(self, classes: &[&str]) {
        delete(&Api::<Namespace>::all(self.client.clone()), &self.namespace).await;
        for class in classes {
            delete(&Api::<WorkspaceClass>::all(self.client.clone()), class).await;
        }
    }

    /// A start and its end, in milliseconds until it is there.
    async fn round(&self, name: &str, class: &str, editor: &str) -> f64 {
        let elapsed = self.start(name, class, editor).await;
        end(&self.client, &self.namespace, name).await;
        elapsed
    }

    /// From created until the editor answers; without one until it is Running. In milliseconds.
    async fn start(&self, name: &str, class: &str, editor: &str) -> f64 {
        let workspaces: Api<Workspace> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut object = workspace(name);
        object["spec"]["className"] = json!(class);
        object["spec"]["editor"] = json!(editor);
        let begin = Instant::now();
        create(&workspaces, &object).await;
        if editor == "none" {
            let running = poll("it to run", async || {
                runs(&workspaces.get(name).await.unwrap()).then_some(())
            });
            running.await;
        } else {
            self.until_it_answers(&format!("workstead.dev/workspace={name}"))
                .await;
        }
        begin.elapsed().as_secs_f64() * 1000.0
    }

    async fn start_by_hand(&self, name: &str, like: &Like) -> f64 {
        let begin = Instant::now();
        mk_bare(&self.client, &self.namespace, name, like).await;
        self.until_it_answers(&format!("bench={name}")).await;
        let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
        end_bare(&self.client, &self.namespace, name).await;
        elapsed
    }

    /// Asks by way of the API server, which is the same way for both.
    async fn until_it_answers(&self, labels: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = ListParams::default().labels(labels);
        let pod = poll("a pod with an address", async || {
            let mut found = pods.list(&list).await.unwrap().items;
            let addressed = |pod: &Pod| pod.status.as_ref()?.pod_ip.clone();
            found.pop().filter(|pod| addressed(pod).is_some())
        });
        let pod = pod.await.name_any();
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:{ANSWERS}", self.namespace);
        let answer = poll("an answer", async || {
            let request = http::Request::get(&path).body(Vec::new()).unwrap();
            self.client.request_text(request).await.ok()
        });
        answer.await;
    }
}

/// Looks every few milliseconds, so that both sides are seen alike.
async fn poll<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    let answer = tokio::time::timeout(LIMIT, asking).await;
    answer.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain for {what}"))
}

/// VS Code's image by digest, on the node of our own.
fn loaded() -> String {
    let built = tool(&[
        "images",
        "--profile",
        "release",
        "--pinned",
        "editor-vscode",
    ]);
    let (reference, archive) = built.trim().split_once(' ').unwrap();
    let cluster = std::env::var("E2E_CLUSTER")
        .expect("E2E_VSCODE_IMAGE names the image where the cluster is not ours");
    tool(&["load", &cluster, archive]);
    reference.to_owned()
}
