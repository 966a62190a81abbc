//! Two processes and one Lease: when the leader goes, the other takes over, and never do both write. Judged by the API
//! server's own audit log, in which each process has a user agent of its own.

use std::time::Duration;

use jiff::Timestamp;
use kube::Api;
use serde_json::json;
use tokio::task::JoinSet;
use workstead::api::Workspace;
use workstead::api::workspace::WorkspaceStatus;
use workstead::testkit::control_plane::AuditEvent;
use workstead::testkit::faults::{Call, Fault, Faults, When};
use workstead::testkit::wait::eventually;

use super::{Program, Replica, holder, world};
use crate::workspace::World;

/// Somebody who changes a Workspace all the time: there is always something to write.
fn never_rest(world: &World) -> JoinSet<()> {
    let api: Api<Workspace> = world.api();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for port in (3000..4000).cycle() {
            let patch = json!({"spec": {"endpoints": [{"name": "web", "port": port}]}});
            let patch = kube::api::Patch::Merge(patch);
            api.patch("dev", &Default::default(), &patch).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    tasks
}

struct Pair {
    world: World,
    first: Replica,
    second: Replica,
    leader: Program,
    standby: Program,
    load: JoinSet<()>,
}

impl Pair {
    /// The first leads and writes, the second stands by.
    async fn start() -> Self {
        let world = world("leader").await;
        world.create("dev", json!({})).await;
        let first = Replica::new(&world, "first", &Faults::new()).await;
        let second = Replica::new(&world, "second", &Faults::new()).await;
        let leader = first.start();
        eventually("the first to lead", async || {
            (holder(&world).await.as_deref() == Some("first")).then_some(())
        })
        .await;
        let standby = second.start();
        stands_by(&second).await;
        let load = never_rest(&world);
        let mark = first.faults.mark();
        eventually("the first to write", async || {
            let writes = first.faults.writes_since(mark);
            let mut writes = writes.iter().map(|call| call.resource());
            writes.any(|kind| kind == "services").then_some(())
        })
        .await;
        Self {
            world,
            first,
            second,
            leader,
            standby,
            load,
        }
    }

    /// Waits until the second has brought about what was last wanted.
    async fn taken_over(&mut self) {
        eventually("the second to lead", async || {
            (holder(&self.world).await.as_deref() == Some("second")).then_some(())
        })
        .await;
        self.load.shutdown().await;
        self.applied().await;
    }

    /// Waits until what was last wanted of the Workspace is there.
    async fn applied(&self) {
        let done = |status: &WorkspaceStatus| status.failure.is_none();
        self.world
            .until("dev", "the last change to be applied", done)
            .await;
    }

    /// The last moment of the first's writes, and the first of the second's. Between them nobody wrote.
    async fn judge(&self) -> (Timestamp, Timestamp) {
        let second = eventually("the audit log to show the second's writes", async || {
            let second = writes(&self.second).await;
            let status = |event: &AuditEvent| resource(event) == "workspaces";
            second.iter().any(status).then_some(second)
        })
        .await;
        let first = writes(&self.first).await;
        let last = first.iter().map(|event| event.stage_timestamp).max();
        let next = second
            .iter()
            .map(|event| event.request_received_timestamp)
            .min();
        let (last, next) = (last.unwrap(), next.unwrap());
        assert!(last < next, "both write: one until {last}, one from {next}");
        (last, next)
    }
}

fn resource(event: &AuditEvent) -> &str {
    event
        .object_ref
        .as_ref()
        .map(|object| object.resource.as_str())
        .unwrap_or_default()
}

async fn writes(replica: &Replica) -> Vec<AuditEvent> {
    let mut events = replica.audit().await;
    events.retain(AuditEvent::is_write);
    events
}

/// Waits until a process has looked at the Lease.
async fn stands_by(replica: &Replica) {
    let mark = replica.faults.mark();
    eventually("a process to stand by", async || {
        let calls = replica.faults.calls_since(mark);
        let mut looks = calls.iter().filter(|call| call.is_claim());
        looks
            .any(|call| call.status == Some(200) && !call.is_write())
            .then_some(())
    })
    .await;
}

/// One test, since each of the three waits for a Lease of 15 s to run out.
#[tokio::test]
async fn when_the_leader_is_killed_or_cut_off_the_other_takes_over_and_never_do_both_write() {
    futures::join!(
        after_kill_9_of_the_leader_the_other_takes_over(),
        a_leader_that_is_cut_off_ends_before_the_other_starts_and_comes_back_as_the_standby(),
        a_leader_that_reaches_all_but_its_lease_stops_writing_before_the_other_starts(),
    );
}

async fn after_kill_9_of_the_leader_the_other_takes_over() {
    let mut pair = Pair::start().await;
    pair.leader.kill();
    pair.taken_over().await;
    pair.judge().await;
    assert_eq!(pair.standby.end().await, Some(0), "{}", pair.standby.log());
}

async fn a_leader_that_is_cut_off_ends_before_the_other_starts_and_comes_back_as_the_standby() {
    let mut pair = Pair::start().await;
    pair.first.proxy.cut_off();
    let status = pair.leader.ended().await;
    let ended = Timestamp::now();
    assert!(!status.success(), "{}", pair.leader.log());
    pair.taken_over().await;
    pair.first.proxy.restore();
    pair.leader = pair.first.start();
    stands_by(&pair.first).await;
    let change = json!({"spec": {"endpoints": [{"name": "api", "port": 8080}]}});
    pair.world.change("dev", change).await;
    pair.applied().await;
    let (_, next) = pair.judge().await;
    assert!(
        ended < next,
        "it ended at {ended}, the other began at {next}"
    );
    assert_eq!(pair.leader.end().await, Some(0), "{}", pair.leader.log());
    assert_eq!(pair.standby.end().await, Some(0), "{}", pair.standby.log());
}

async fn a_leader_that_reaches_all_but_its_lease_stops_writing_before_the_other_starts() {
    let mut pair = Pair::start().await;
    let leases = When::matching(Call::is_claim);
    let cut = Timestamp::now();
    pair.first.faults.always(leases, Fault::Hang);
    let status = pair.leader.ended().await;
    assert!(!status.success(), "{}", pair.leader.log());
    pair.taken_over().await;
    let (last, next) = pair.judge().await;
    // It did write as long as it might, so that there was something to stop.
    let went_on = last.duration_since(cut).as_secs_f64();
    assert!(went_on > 3.0, "{went_on} s");
    // The margin of the Lease is 4 s.
    let apart = next.duration_since(last).as_secs_f64();
    assert!(apart > 3.0, "{apart} s");
}
