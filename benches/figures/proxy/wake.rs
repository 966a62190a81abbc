//! wake: a visit of a workspace that a timer stopped, until its editor answers, on the real node.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::api::Api;
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::wait::within;

use super::visitor::{self, Person};
use crate::cluster::{create, no_pods, state, workspace};
use crate::inside::Bench;
use crate::program::workstead;
use crate::results::{Figure, percentile};

/// Workspaces that are woken by a visit; as many are by the command.
const ROUNDS: usize = 5;
/// The shortest that a workspace may be left alone before it stops.
const IDLE: &str = "2m";
/// Until a timer has stopped all of them.
const PATIENCE: Duration = Duration::from_secs(420);
/// Until an editor answers.
const LIMIT: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Both take turns. A timer stops them all first: it alone is undone by a visit.
pub(crate) async fn wake() -> Figure {
    let bench = Bench::prepare().await;
    let class = bench.class("woken", "ImageVolume").await;
    let workspaces: Api<Workspace> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let mut sleepers = Vec::new();
    for number in 0..ROUNDS * 2 {
        // Hosts know no namespaces.
        let name = format!("{}-{number}", bench.namespace);
        let mut object = workspace(&name);
        object["spec"]["className"] = json!(class);
        object["spec"]["editor"] = json!("vscode");
        object["spec"]["timeouts"] = json!({"idle": IDLE});
        create(&workspaces, &object).await;
        sleepers.push(Sleeper::sign_in(&bench.namespace, name).await);
    }
    for sleeper in &sleepers {
        sleeper.until_stopped(&bench, &workspaces).await;
    }
    let (mut visited, mut started) = (Vec::new(), Vec::new());
    for (number, mut sleeper) in sleepers.into_iter().enumerate() {
        // Who goes first changes from pair to pair.
        if (number / 2 + number) % 2 == 0 {
            visited.push(sleeper.visit());
        } else {
            started.push(sleeper.start(&bench.namespace));
        }
    }
    bench.clean_up(&[&class]).await;
    let (value, yardstick) = (percentile(&visited, 0.5), percentile(&started, 0.5));
    let more = ((value - yardstick) * 10.0).round() / 10.0;
    Figure {
        id: "wake",
        value: more,
        unit: "ms, p50",
        yardstick: Some(format!(
            "workstead start until the editor answers: {yardstick} ms; a visit until then: {value} ms"
        )),
        ratio: Some(value / yardstick),
        bar: "at most +300 ms",
        met: more <= 300.0,
        rounds: visited.len(),
    }
}

/// A workspace, and its owner at a browser.
struct Sleeper {
    name: String,
    person: Person,
    origin: String,
}

impl Sleeper {
    /// Signs in while it still starts: the visit counts as use, and the last one before it is left alone.
    async fn sign_in(namespace: &str, name: String) -> Self {
        let signed_in = within(LIMIT, async || {
            let arguments = [&*name, "--namespace", namespace];
            let link = visitor::link(&kubeconfig(), &arguments)?;
            let mut person = Person::default();
            let page = person.visit(&link);
            let origin = visitor::origin_of(&page.url).to_owned();
            // Not the page that says that there is nothing.
            (page.status != 404).then_some((person, origin))
        });
        let (person, origin) = signed_in.await.expect("a workspace that opens");
        let mut sleeper = Self {
            name,
            person,
            origin,
        };
        sleeper.until_it_answers();
        sleeper
    }

    async fn until_stopped(&self, bench: &Bench, workspaces: &Api<Workspace>) {
        let stopped = within(PATIENCE, || async {
            let workspace = workspaces.get(&self.name).await.unwrap();
            let by_timer = workspace.status.as_ref()?.stopped_by_timer.is_some();
            (by_timer && state(&workspace) == Some(ActualState::Stopped)).then_some(())
        });
        assert!(stopped.await.is_some(), "{} is not stopped", self.name);
        let labels = format!("workstead.dev/workspace={}", self.name);
        no_pods(&bench.client, &bench.namespace, &labels).await;
    }

    /// In milliseconds.
    fn visit(&mut self) -> f64 {
        let begin = Instant::now();
        let page = self.person.visit(&format!("{}/", self.origin));
        assert_eq!(page.status, 503, "{}", page.body);
        self.until_it_answers();
        begin.elapsed().as_secs_f64() * 1000.0
    }

    /// In milliseconds.
    fn start(&mut self, namespace: &str) -> f64 {
        let begin = Instant::now();
        let output = workstead()
            .args([
                "start",
                &self.name,
                "--namespace",
                namespace,
                "--kubeconfig",
            ])
            .arg(kubeconfig())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        self.until_it_answers();
        begin.elapsed().as_secs_f64() * 1000.0
    }

    /// Looks as a browser does that loads the page again and again, in both cases.
    fn until_it_answers(&mut self) {
        let begin = Instant::now();
        loop {
            let page = self.person.visit(&format!("{}/healthz", self.origin));
            if page.status == 200 {
                return;
            }
            let (name, waited) = (&self.name, begin.elapsed());
            assert!(waited < LIMIT, "{name} does not answer: {}", page.body);
            std::thread::sleep(PAUSE);
        }
    }
}

fn kubeconfig() -> PathBuf {
    std::env::var("E2E_KUBECONFIG").unwrap().into()
}
