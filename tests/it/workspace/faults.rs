//! Faults between the controller and the API server: whatever happens, it comes to the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use workstead::api::WorkspaceVariables;
use workstead::api::workspace::{ActualState, WorkspaceStatus};
use workstead::model::names::VARIABLES_DIGEST_ANNOTATION;
use workstead::testkit::faults::{Call, Cut, Fault, When, lines};
use workstead::testkit::wait::eventually;

use super::start::is_of_the_installation;
use super::{World, writes_since};
use crate::controllers::variables::World as Sets;

/// The calls of passes: not those of the lease, which come when they come, nor Events, which are hints.
fn counts(call: &Call) -> bool {
    !call.is_watch() && !call.is_claim() && call.resource() != "events"
}

/// Picks the call of this number among the writes, or among the reads.
fn nth_call(is_write: bool, number: usize) -> When {
    let seen = AtomicUsize::new(0);
    When::matching(move |call| {
        counts(call)
            && call.is_write() == is_write
            && seen.fetch_add(1, Ordering::Relaxed) == number
    })
}

/// Children and the parts of the status that do not depend on the moment.
pub(super) async fn outcome(world: &World) -> (BTreeMap<String, Value>, Value) {
    let mut text = serde_json::to_string(&world.children().await).unwrap();
    // Names of namespaces and classes differ from world to world, and no text is sealed alike twice.
    let mut differ = vec![(world.namespace.clone(), "NAMESPACE".to_owned())];
    let mut secrets = BTreeMap::new();
    let mut all = world
        .api::<Secret>()
        .list(&Default::default())
        .await
        .unwrap()
        .items;
    all.sort_by_key(|secret| secret.metadata.creation_timestamp.clone());
    for secret in all {
        if let Some(digest) = secret.annotations().get(VARIABLES_DIGEST_ANNOTATION) {
            let number = secrets.len();
            differ.push((secret.name_any(), format!("SECRET-{number}")));
            differ.push((digest.clone(), format!("DIGEST-{number}")));
            secrets.insert(format!("Secret {number}"), json!(secret.data));
        }
    }
    for set in world
        .api::<WorkspaceVariables>()
        .list(&Default::default())
        .await
        .unwrap()
    {
        let accepted = set.status.and_then(|status| status.accepted);
        differ.extend(accepted.map(|accepted| (accepted.digest, "SET".to_owned())));
    }
    for (one, all) in differ {
        text = text.replace(&one, &all);
    }
    let mut children: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    children.extend(secrets);
    (children, lasting(&world.status("dev").await))
}

/// What of a status does not depend on the moment.
pub fn lasting(status: &WorkspaceStatus) -> Value {
    let conditions: Vec<(String, String, String)> = status
        .conditions
        .iter()
        .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
        .collect();
    json!({
        "state": status.actual_state, "desired": status.desired_state, "failure": status.failure,
        "conditions": conditions, "revision": status.revision, "volume": status.volume,
        "generation": status.observed_generation, "restart": status.restart,
    })
}

/// Whether the outcome is this one by now.
pub(super) async fn until_same_outcome(
    world: &World,
    wanted: &(BTreeMap<String, Value>, Value),
) -> Option<()> {
    (outcome(world).await == *wanted).then_some(())
}

/// Fails with what differs, and nothing else.
pub(super) fn assert_same(
    (got, got_status): &(BTreeMap<String, Value>, Value),
    (wanted, wanted_status): &(BTreeMap<String, Value>, Value),
    when: &str,
) {
    let names: BTreeSet<&String> = got.keys().chain(wanted.keys()).collect();
    for name in names {
        assert_eq!(got.get(name), wanted.get(name), "{name} {when}");
    }
    assert_eq!(got_status, wanted_status, "the status {when}");
}

/// What is asked of a Workspace while calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Start,
    Stop,
    Restart,
    /// With its volume.
    Terminate,
    /// Its class changes under it.
    Class,
    /// A restart takes sealed sets.
    Variables,
}

impl Scenario {
    const ALL: [Self; 6] = [
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Terminate,
        Self::Class,
        Self::Variables,
    ];

    fn class(self) -> Value {
        match self {
            Self::Terminate => json!({"storage": {"retention": "Delete"}}),
            _ => json!({}),
        }
    }

    async fn ask(self, world: &World) {
        match self {
            Self::Start => drop(world.create("dev", json!({})).await),
            Self::Stop => drop(world.want("dev", "Stopped").await),
            Self::Terminate => drop(world.want("dev", "Terminated").await),
            Self::Restart => {
                let asked = json!({"workstead.dev/restart-requested-at": "1"});
                world
                    .change("dev", json!({"metadata": {"annotations": asked}}))
                    .await;
            }
            Self::Variables => {
                let asked = json!({"workstead.dev/restart-requested-at": "1"});
                let spec = json!({"variables": [{"name": "set"}]});
                let change = json!({"metadata": {"annotations": asked}, "spec": spec});
                world.change("dev", change).await;
            }
            Self::Class => {
                let spec = json!({"pod": {"nodeSelector": {"disk": "fast"}}});
                world.set_class(&world.class, spec).await;
            }
        }
    }

    fn is_done(self, status: &WorkspaceStatus) -> bool {
        let state = status.actual_state;
        let is_running = state == Some(ActualState::Running);
        match self {
            Self::Start => is_running,
            Self::Stop => state == Some(ActualState::Stopped),
            Self::Terminate => state == Some(ActualState::Terminated),
            Self::Restart => is_running && status.last_handled_restart_at.is_some(),
            Self::Variables => {
                let taken = status.variables.is_some();
                is_running && status.last_handled_restart_at.is_some() && taken
            }
            Self::Class => {
                let pending = status.revision.as_ref().map(|revision| &revision.pending);
                pending.is_some_and(|pending| !pending.is_empty())
            }
        }
    }

    async fn done(self, world: &World) {
        eventually(&format!("{self:?} to be done"), || async {
            self.is_done(&world.status("dev").await).then_some(())
        })
        .await;
    }
}

/// What befalls the calls of a run.
enum Trouble {
    None,
    /// The controller dies at a call.
    Crash(When, Cut),
    /// Calls are refused.
    Refuse(When, Fault),
}

/// How a run went.
struct Run {
    /// Whether a call met its fault.
    met: bool,
    /// Calls that count: reads, writes.
    calls: [usize; 2],
    /// All of them, for whoever looks for what went otherwise.
    record: String,
    outcome: (BTreeMap<String, Value>, Value),
}

/// Asks for something under trouble, kills the controller if that was a crash, and lets a healthy one finish.
async fn run(scenario: Scenario, trouble: Trouble) -> Run {
    let world = World::with_class("crash", scenario.class()).await;
    let _kubelet = world.auto_ready();
    // A start is looked at from the first call of the process on.
    let mut process = None;
    if scenario != Scenario::Start {
        process = Some(world.start_one_at_a_time());
        world.create("dev", json!({})).await;
        Scenario::Start.done(&world).await;
        if scenario == Scenario::Variables {
            let sets = Sets::of(world.client.clone(), world.namespace.clone()).await;
            sets.accepted("set", "env: {A: '1'}\nfiles: {f: {content: f}}")
                .await;
        }
        world.settle().await;
    }
    match trouble {
        Trouble::None => {}
        Trouble::Crash(when, cut) => world.faults.crash(when, cut),
        Trouble::Refuse(when, fault) => world.faults.always(when, fault),
    }
    let mark = world.faults.mark();
    let mut process = process.unwrap_or_else(|| world.start_one_at_a_time());
    scenario.ask(&world).await;
    let finished = async {
        scenario.done(&world).await;
        world.settle().await;
    };
    let crashed = tokio::select! {
        () = world.faults.wait_for_crash() => true,
        () = finished => false,
    };
    let calls = world.faults.calls_since(mark);
    if crashed {
        process.kill().await;
        world.faults.heal();
        process = world.start_one_at_a_time();
    }
    scenario.done(&world).await;
    world.settle().await;
    let outcome = outcome(&world).await;
    let record = lines(&world.faults.calls_since(mark));
    // And it stays there.
    world.faults.heal();
    let mark = world.faults.mark();
    let touch = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    world.change("dev", touch).await;
    world.settle().await;
    let mut writes = writes_since(&world.faults, mark);
    // The certificate of the proxy, if that was refused, is tried again after seconds.
    writes.retain(|call| !is_of_the_installation(call));
    assert_eq!(lines(&writes), "");
    process.stop().await.unwrap();
    let count = |is_write| {
        let like = |call: &&Call| counts(call) && call.is_write() == is_write;
        calls.iter().filter(like).count()
    };
    Run {
        met: calls.iter().any(|call| call.fault.is_some()),
        calls: [count(false), count(true)],
        record,
        outcome,
    }
}

/// One run for each call that the scenario makes without trouble: `step` leaves some of them out.
async fn crash_at_each(scenario: Scenario, is_write: bool, cuts: &[Cut], step: usize) {
    let healthy = run(scenario, Trouble::None).await;
    let many = healthy.calls[usize::from(is_write)];
    assert!(many > 0 || !is_write, "{scenario:?} writes nothing");
    let cases = (0..many).step_by(step);
    let cases = cases.flat_map(|call| cuts.iter().map(move |cut| (call, *cut)));
    let results: Vec<_> = futures::stream::iter(cases)
        .map(async |(call, cut)| (call, cut, crash_at(scenario, is_write, call, cut).await))
        .buffer_unordered(8)
        .collect()
        .await;
    let (all, mut met) = (results.len(), 0);
    for (call, cut, got) in results {
        let kind = if is_write { "write" } else { "read" };
        let when = format!("after a crash at {kind} {call} of {many} of {scenario:?}, {cut:?}");
        // A run whose events came together makes fewer calls: that it had no such call must be seen.
        let had = got.calls[usize::from(is_write)];
        let when = format!("{when}\n{}\nand without:\n{}", got.record, healthy.record);
        assert!(got.met || had <= call, "no crash in {had} calls: {when}");
        met += usize::from(got.met);
        assert_same(&got.outcome, &healthy.outcome, &when);
    }
    assert!(
        met * 3 >= all * 2,
        "only {met} of {all} calls of {scenario:?} crashed"
    );
}

/// Passes come by events, and events may come together: a run can have a call less than another. Then it is made again.
async fn crash_at(scenario: Scenario, is_write: bool, call: usize, cut: Cut) -> Run {
    let attempt = || run(scenario, Trouble::Crash(nth_call(is_write, call), cut));
    let mut got = attempt().await;
    for _ in 0..3 {
        if got.met {
            break;
        }
        got = attempt().await;
    }
    got
}

/// Every call where there is time, else every so many.
#[allow(clippy::disallowed_methods)] // how much is tested, not how anything behaves
fn step(short: usize) -> usize {
    let is_long = std::env::var_os("WORKSTEAD_LONG").is_some();
    if is_long { 1 } else { short }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_start_in_either_form_comes_to_the_same() {
    crash_at_each(Scenario::Start, true, &Cut::BOTH, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_read_of_a_start_comes_to_the_same() {
    // To a read it is the same whether the request or the reply was lost.
    crash_at_each(Scenario::Start, false, &[Cut::ReplyLost], step(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_stop_and_of_a_changed_class_comes_to_the_same() {
    crash_at_each(Scenario::Stop, true, &Cut::BOTH, 1).await;
    crash_at_each(Scenario::Class, true, &Cut::BOTH, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_restart_comes_to_the_same() {
    crash_at_each(Scenario::Restart, true, &Cut::BOTH, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_start_that_takes_sealed_sets_comes_to_the_same() {
    crash_at_each(Scenario::Variables, true, &Cut::BOTH, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_termination_comes_to_the_same() {
    crash_at_each(Scenario::Terminate, true, &Cut::BOTH, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_read_of_all_else_comes_to_the_same() {
    for scenario in Scenario::ALL.into_iter().skip(1) {
        crash_at_each(scenario, false, &[Cut::ReplyLost], step(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_on_every_write_is_tried_again_and_comes_to_the_same() {
    for scenario in Scenario::ALL {
        let healthy = run(scenario, Trouble::None).await;
        let met = Mutex::new(HashSet::new());
        let first_of_each = When::matching(move |call| {
            counts(call) && call.is_write() && met.lock().unwrap().insert(call.path.clone())
        });
        let got = run(scenario, Trouble::Refuse(first_of_each, Fault::Answer(409))).await;
        assert!(got.met, "{scenario:?}");
        let when = format!("after a conflict on every write of {scenario:?}");
        assert_same(&got.outcome, &healthy.outcome, &when);
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_moment_shows_as_no_failure() {
    let world = World::new("away").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let down = When::matching(|call| counts(call) && call.is_write());
    world.faults.times(2, down, Fault::Answer(503));
    let mark = world.faults.mark();
    world
        .change(
            "dev",
            json!({"spec": {"endpoints": [{"name": "api", "port": 8080}]}}),
        )
        .await;
    let shown = async {
        loop {
            let status = world.status("dev").await;
            assert_eq!(status.failure, None);
            assert_eq!(status.actual_state, Some(ActualState::Running));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let applied = eventually("the Service to have the new port", || async {
        let service: Service = world.api().get("ws-dev").await.unwrap();
        let ports = service.spec?.ports?;
        ports.iter().any(|port| port.port == 8080).then_some(())
    });
    tokio::select! {
        () = shown => {}
        () = applied => {}
    }
    world.settle().await;
    assert_eq!(world.status("dev").await.failure, None);
    let calls = world.faults.calls_since(mark);
    let refused = calls.iter().filter(|call| call.fault.is_some()).count();
    assert_eq!(refused, 2, "{}", lines(&calls));
    process.stop().await.unwrap();
}
