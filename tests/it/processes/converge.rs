//! From a commit to running workspaces through a wire that fails in every way that the script knows, with the client's
//! own retry on, as the process runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use serde_json::json;
use workstead::api::{GitSync, Workspace};
use workstead::testkit::GitServer;
use workstead::testkit::faults::{Call, EventFault, Fault, Faults, When, lines};
use workstead::testkit::wait::{PATIENCE, eventually, within};

use super::{
    Replica, Yardstick, assert_same, file, list, picture, sync, until_running, until_synced, world,
};
use crate::workspace::World;

/// What the client's own retry carries a call over, and what is tried again at once.
const SOFT: [Fault; 4] = [
    Fault::Answer(503),
    Fault::Answer(409),
    Fault::Answer(429),
    Fault::Answer(504),
];
/// What fails a pass, which is then tried again after a wait that doubles: two for each object, so that the test ends.
const HARD: [Fault; 3] = [Fault::Answer(500), Fault::RequestLost, Fault::ReplyLost];
/// For requests of watches.
const ON_WATCHES: [Fault; 4] = [
    Fault::Answer(410),
    Fault::Answer(500),
    Fault::RequestLost,
    Fault::Answer(429),
];
/// What a process watches. Each failure of a watch doubles the wait before the next try, so each meets few: a failed
/// list or a failed request, one end of the stream, and one that has expired.
const WATCHED: [&str; 11] = [
    "workspaces",
    "workspaceclasses",
    "gitsyncs",
    "deployments",
    "services",
    "persistentvolumeclaims",
    "serviceaccounts",
    "networkpolicies",
    "controllerrevisions",
    "pods",
    "nodes",
];

/// Which fault hits which request: each is hit when it is first sent, and once.
#[derive(Default)]
struct Script {
    /// Per request its fault, until it was hit.
    faults: HashMap<String, Option<Fault>>,
    /// Hard faults per object.
    hard: HashMap<String, usize>,
    soft: usize,
    watches: usize,
}

impl Script {
    /// Whether this fault hits this call.
    fn hits(&mut self, call: &Call, fault: &Fault) -> bool {
        let key = format!("{} {} {}", call.method, call.path, call.is_watch());
        if !self.faults.contains_key(&key) {
            let chosen = self.choose(call);
            self.faults.insert(key.clone(), chosen);
        }
        let chosen = self.faults.get_mut(&key).unwrap();
        let hits = chosen.as_ref() == Some(fault);
        if hits {
            *chosen = None;
        }
        hits
    }

    fn choose(&mut self, call: &Call) -> Option<Fault> {
        let place = WATCHED.iter().position(|kind| *kind == call.resource());
        let is_odd = place.is_some_and(|place| place % 2 == 1);
        if call.is_watch() {
            self.watches += usize::from(is_odd);
            return is_odd.then(|| ON_WATCHES[self.watches % ON_WATCHES.len()].clone());
        }
        if is_odd && call.method == Method::GET {
            return None;
        }
        Some(self.choose_for_request(call))
    }

    fn choose_for_request(&mut self, call: &Call) -> Fault {
        // The write deadline of the process ends these two.
        match (&call.method, call.name()) {
            (&Method::PATCH, "dev-0") if call.resource() == "deployments" => return Fault::Hang,
            (&Method::PATCH, "ws-dev-1") => return Fault::ReplyHangs,
            _ => {}
        }
        let object = (0..4).map(|number| format!("dev-{number}"));
        let object = { object }.find(|name| call.name().contains(name));
        let met = self.hard.entry(object.unwrap_or_default()).or_default();
        *met += 1;
        // The first call of each object passes as the soft ones do, so that the hard ones hit in the middle.
        match *met {
            3 => HARD[self.soft % 2].clone(),
            5 => HARD[2].clone(),
            _ => {
                self.soft += 1;
                SOFT[self.soft % SOFT.len()].clone()
            }
        }
    }
}

fn follow(faults: &Faults) {
    let script = Arc::new(Mutex::new(Script::default()));
    let all = [SOFT.as_slice(), &HARD, &ON_WATCHES].concat();
    for fault in [all, vec![Fault::Hang, Fault::ReplyHangs]].concat() {
        let (script, picked) = (script.clone(), fault.clone());
        let when = When::matching(move |call| script.lock().unwrap().hits(call, &picked));
        faults.always(when, fault);
    }
    let mut events = 0_usize;
    faults.on_events(move |path, event| {
        events += 1;
        // Nobody hears of a Workspace whose first event is lost until the next list, which comes after the calls that
        // hang, which are calls about Workspaces.
        let is_workspace = path.ends_with("/workspaces");
        match (event["type"].as_str(), events % 5) {
            (Some("BOOKMARK" | "ERROR"), _) => EventFault::Pass,
            (Some("ADDED"), 4) if is_workspace => EventFault::Pass,
            (_, 1) => EventFault::Duplicate,
            (_, 2) => EventFault::Delay(Duration::from_millis(100)),
            (_, 4) => EventFault::Drop,
            _ => EventFault::Pass,
        }
    });
}

/// The version of everything in the namespace that the controller may write.
async fn versions(world: &World) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    macro_rules! add {
        ($($kind:ty),*) => {$(
            for item in list::<$kind>(world).await {
                let name = format!("{} {}", stringify!($kind), item.name_any());
                all.insert(name, item.resource_version().unwrap());
            }
        )*};
    }
    add!(
        Workspace,
        GitSync,
        Deployment,
        ControllerRevision,
        ConfigMap
    );
    add!(
        PersistentVolumeClaim,
        Service,
        ServiceAccount,
        NetworkPolicy
    );
    all
}

/// Writes about the namespace, but for the Lease, which is renewed.
fn writes_since(world: &World, mark: usize) -> String {
    let mut writes = world.faults.writes_since(mark);
    writes.retain(|call| call.path.contains(&world.namespace) && !call.is_claim());
    lines(&writes)
}

#[tokio::test]
async fn through_faults_of_every_kind_a_process_comes_to_the_same_and_then_rests() {
    let server = GitServer::start();
    let repository = server.repository("team");
    let names: Vec<String> = (0..4).map(|number| format!("dev-{number}")).collect();
    let mut change = repository.change();
    for name in &names {
        change = change.file(&format!("{name}.yaml"), file(name));
    }
    let commit = change.commit();
    let plain = Yardstick::start(&repository).await;
    let world = world("wire").await;
    let _kubelet = world.auto_ready();
    let replica = Replica::new(&world, "only", &world.faults).await;
    follow(&world.faults);
    let mut program = replica.start();
    sync(&world, &repository).await;
    let met = |fault: Fault| {
        let calls = world.faults.calls();
        calls.iter().any(|call| call.fault.as_ref() == Some(&fault))
    };
    let hung = within(PATIENCE, async || {
        (met(Fault::Hang) && met(Fault::ReplyHangs)).then_some(())
    });
    assert!(
        hung.await.is_some(),
        "no call hung:\n{}\n{}",
        lines(&world.faults.calls()),
        program.log()
    );
    for (place, kind) in WATCHED.iter().enumerate() {
        match place % 2 {
            0 => world.faults.break_watches(kind),
            _ => world.faults.close_watches(kind),
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Events that were dropped come back with the list that an expired watch asks for.
    world.faults.heal();
    WATCHED
        .iter()
        .for_each(|kind| world.faults.expire_watches(kind));
    until_synced(&world, &commit, &program).await;
    for name in &names {
        until_running(&world, name, &program).await;
    }
    world.settle().await;
    for fault in [SOFT.as_slice(), &HARD, &ON_WATCHES].concat() {
        assert!(met(fault.clone()), "{fault:?} hit nothing");
    }
    let wanted = plain.picture(&names, &commit).await;
    assert_same(&picture(&world).await, &wanted);

    // A pass over each, and another fetch: nothing is sent and nothing moves.
    let annotation = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    for name in &names {
        world.change(name, annotation.clone()).await;
    }
    let (mark, before) = (world.faults.mark(), versions(&world).await);
    let fetches = server.requests().len();
    eventually("another fetch", async || {
        (server.requests().len() > fetches).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(writes_since(&world, mark), "");
    assert_eq!(versions(&world).await, before);
    assert_eq!(program.end().await, Some(0), "{}", program.log());
    // The rights of the chart were enough for what faults make it ask for, too.
    let mut refused = replica.audit().await;
    refused.retain(|event| {
        event
            .response_status
            .as_ref()
            .is_some_and(|s| s.code == 403)
    });
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn the_clients_own_retry_carries_every_write_over_429_503_and_504_without_a_failed_pass() {
    const HIDDEN: [u16; 3] = [503, 504, 429];
    let world = world("retry").await;
    let _kubelet = world.auto_ready();
    let replica = Replica::new(&world, "only", &world.faults).await;
    // Each write meets one of them, twice: the first two times that it is sent. After 429 the client waits for a second,
    // as it is told, so there it is once.
    let tries = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let order = Arc::new(Mutex::new(Vec::<String>::new()));
    for (number, code) in HIDDEN.into_iter().enumerate() {
        let (tries, order) = (tries.clone(), order.clone());
        let when = When::matching(move |call| {
            let mut order = order.lock().unwrap();
            if !call.is_write() || call.resource() == "events" {
                return false;
            }
            if !order.contains(&call.path) {
                order.push(call.path.clone());
            }
            let place = order.iter().position(|path| *path == call.path).unwrap();
            let mut tries = tries.lock().unwrap();
            let tried = tries.entry(call.path.clone()).or_default();
            let hit = place % HIDDEN.len() == number && *tried < if code == 429 { 1 } else { 2 };
            *tried += usize::from(hit);
            hit
        });
        world.faults.always(when, Fault::Answer(code));
    }
    let mut program = replica.start();
    world.create("dev", json!({})).await;
    until_running(&world, "dev", &program).await;
    world.settle().await;
    let log = program.log();
    assert!(!log.contains("a pass failed"), "{log}");
    let writes = world.faults.writes();
    for code in HIDDEN {
        let hits = writes
            .iter()
            .filter(|call| call.fault == Some(Fault::Answer(code)));
        assert!(hits.count() >= 2, "{code}:\n{}", lines(&writes));
    }
    assert_eq!(program.end().await, Some(0), "{}", program.log());
}
