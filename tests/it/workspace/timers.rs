//! The timers that stop and terminate, and what wakes a workspace again. The time is real, and moved on by the test.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::activity::{ActivityKind, Timer};
use workstead::api::workspace::{
    ActualState, DesiredState, EffectiveDesiredState, WorkspaceStatus,
};
use workstead::controllers::Parts;
use workstead::model::clock::Clock as _;
use workstead::testkit::ShiftedClock;
use workstead::testkit::faults::lines;
use workstead::testkit::wait::eventually;

use super::{World, writes_since};
use crate::controllers::Process;

const PROXY: &str = "workstead/proxy";
/// More than the first process may take to answer: nothing answers here.
const SILENCE: i64 = 20;

/// A world whose time can be moved on.
struct Times {
    world: World,
    clock: ShiftedClock,
    touches: std::sync::atomic::AtomicU32,
}

impl Times {
    async fn new(prefix: &str, class: serde_json::Value) -> Self {
        Self {
            world: World::with_class(prefix, class).await,
            clock: ShiftedClock::default(),
            touches: 0.into(),
        }
    }

    fn start(&self) -> Process {
        let parts = Parts {
            clock: Arc::new(self.clock.clone()),
            ..Parts::default()
        };
        self.world.start_with(self.world.config("one"), parts)
    }

    /// Moves the time on and has the Workspace looked at, as its next look would by then.
    async fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
        let touch = self
            .touches
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let annotation = json!({"metadata": {"annotations": {"test/touch": touch.to_string()}}});
        self.world.change("dev", annotation).await;
    }

    /// Lets the idle timer come to its warning: the first process is asked, and is silent.
    async fn until_warned(&self, after: i64) -> WorkspaceStatus {
        self.pass(after).await;
        eventually("a warning", || async {
            self.pass(SILENCE).await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let status = self.world.status("dev").await;
            warned_of(&status, Timer::Idle).then_some(status)
        })
        .await
    }

    async fn until_stopped(&self, after: i64) -> WorkspaceStatus {
        self.pass(after).await;
        eventually("a stop", || async {
            self.pass(SILENCE).await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let status = self.world.status("dev").await;
            (status.actual_state == Some(ActualState::Stopped)).then_some(status)
        })
        .await
    }

    /// What the proxy does when somebody uses the workspace.
    async fn use_it(&self, holder: &str) {
        let at = self
            .clock
            .now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "dev-activity"},
            "spec": {"renewTime": at, "holderIdentity": holder},
        });
        self.world
            .api::<Lease>()
            .patch(
                "dev-activity",
                &PatchParams::apply(PROXY).force(),
                &Patch::Apply(&lease),
            )
            .await
            .unwrap();
    }

    /// What the proxy does when somebody visits it.
    async fn visit(&self) {
        let at = self
            .clock
            .now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string();
        let wake = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "dev"},
            "status": {"wake": {"requestedAt": at, "by": "alice@example.com"}},
        });
        self.world
            .api::<Workspace>()
            .patch_status(
                "dev",
                &PatchParams::apply(PROXY).force(),
                &Patch::Apply(&wake),
            )
            .await
            .unwrap();
    }

    async fn events(&self) -> Vec<String> {
        let events = self
            .world
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        events
            .into_iter()
            .filter_map(|event| event.reason)
            .collect()
    }
}

fn warned_of(status: &WorkspaceStatus, timer: Timer) -> bool {
    let activity = status.activity.iter();
    let mut warnings = activity.flat_map(|activity| &activity.warnings);
    warnings.any(|warning| warning.timer == timer)
}

#[tokio::test]
async fn an_idle_workspace_is_warned_then_stopped_and_a_visit_wakes_it() {
    let times = Times::new("idle", json!({})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world
        .create("dev", json!({"desiredState": "Running"}))
        .await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert!(status.running_since.is_some());
    let lease = world.api::<Lease>().get("dev-activity").await.unwrap();
    assert_eq!(
        lease
            .labels()
            .get("workstead.dev/lease")
            .map(String::as_str),
        Some("activity")
    );
    assert_eq!(lease.owner_references().len(), 1);

    times.until_warned(26 * 60).await;
    eventually("an Event", || async {
        times
            .events()
            .await
            .contains(&"StopsSoon".to_owned())
            .then_some(())
    })
    .await;
    // Use is news now: nobody has to touch anything.
    times.use_it("WebSocket").await;
    let status = world
        .until("dev", "no warning", |status| {
            !warned_of(status, Timer::Idle)
        })
        .await;
    let by = status.activity.unwrap().kept_alive_by.unwrap();
    assert_eq!(by.kind, ActivityKind::WebSocket);

    times.until_warned(26 * 60).await;
    let status = times.until_stopped(6 * 60).await;
    let stop = status.stopped_by_timer.unwrap();
    assert_eq!(stop.timer, Timer::Idle);
    assert_eq!(status.desired_state, Some(EffectiveDesiredState::Stopped));
    assert_eq!(status.activity, None);
    let workspace: Workspace = world.api().get("dev").await.unwrap();
    assert_eq!(
        workspace.spec.desired_state,
        Some(DesiredState::Running),
        "the spec is not ours"
    );
    world.settle().await;
    assert!(world.pods("dev").await.is_empty());

    times.visit().await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.stopped_by_timer, None);
    assert_eq!(
        status.last_handled_visit_at,
        status.wake.as_ref().map(|wake| wake.requested_at.clone())
    );
    world.settle().await;
    let workspace: Workspace = world.api().get("dev").await.unwrap();
    let owners: Vec<&str> = workspace
        .managed_fields()
        .iter()
        .filter(|entry| {
            let fields = serde_json::to_value(&entry.fields_v1).unwrap();
            !fields["f:status"]["f:wake"].is_null()
        })
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    assert_eq!(
        owners,
        [PROXY],
        "the controller writes nothing of the visit"
    );
    // The same visit is no second one.
    times.until_warned(26 * 60).await;
    times.until_stopped(6 * 60).await;
    world.settle().await;
    assert_eq!(
        world.status("dev").await.actual_state,
        Some(ActualState::Stopped)
    );
    process.stop().await.unwrap();
}

#[tokio::test]
async fn use_of_a_workspace_that_was_not_warned_costs_no_pass_and_no_write() {
    let times = Times::new("used", json!({})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world.create("dev", json!({})).await;
    world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    let passes = || {
        let text = process.metrics.encode().unwrap();
        let line = text.lines().find(|line| {
            line.starts_with(r#"workstead_reconciles_total{controller="workspace",outcome="ok"}"#)
        });
        line.unwrap().to_owned()
    };
    let (mark, before) = (world.faults.mark(), passes());
    for _ in 0..5 {
        times.use_it("Http").await;
        times.clock.advance(SignedDuration::from_secs(60));
    }
    world.settle().await;
    let writes = writes_since(&world.faults, mark);
    assert!(writes.is_empty(), "{}", lines(&writes));
    assert_eq!(passes(), before);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_somebody_deletes_is_made_again() {
    let times = Times::new("lease", json!({})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world.create("dev", json!({})).await;
    world.until_state("dev", ActualState::Running).await;
    let first = world.api::<Lease>().get("dev-activity").await.unwrap();
    world.delete::<Lease>("dev-activity").await;
    eventually("another Lease", || async {
        let lease = world
            .api::<Lease>()
            .get_opt("dev-activity")
            .await
            .unwrap()?;
        (lease.uid() != first.uid()).then_some(())
    })
    .await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_controller_that_begins_anew_keeps_the_times_of_the_one_before() {
    let times = Times::new("anew", json!({})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world.create("dev", json!({})).await;
    let before = world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    process.kill().await;
    times.clock.advance(SignedDuration::from_mins(24));
    let process = times.start();
    let warned = times.until_warned(2 * 60).await;
    assert_eq!(warned.running_since, before.running_since);
    let warning = warned.activity.clone().unwrap().warnings.remove(0);
    let since = before.running_since.unwrap().0;
    let left = warning.at.0.duration_since(since).as_secs();
    assert!((30 * 60..34 * 60).contains(&left), "{left}");
    process.kill().await;
    // Warned is warned: who comes now stops it at the time that was told.
    let process = times.start();
    let stopped = times.until_stopped(6 * 60).await;
    assert_eq!(
        stopped.stopped_by_timer.map(|stop| stop.timer),
        Some(Timer::Idle)
    );
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_ends_after_its_longest_time_however_much_it_is_used() {
    let times = Times::new("active", json!({"timeouts": {"maxActive": "4h"}})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world.create("dev", json!({})).await;
    world.until_state("dev", ActualState::Running).await;
    times.clock.advance(SignedDuration::from_hours(3));
    times.use_it("WebSocket").await;
    times.pass(60).await;
    world
        .until("dev", "a warning", |status| {
            warned_of(status, Timer::MaxActive)
        })
        .await;
    times.clock.advance(SignedDuration::from_hours(1));
    times.use_it("WebSocket").await;
    times.pass(60).await;
    let status = world.until_state("dev", ActualState::Stopped).await;
    assert_eq!(
        status.stopped_by_timer.map(|stop| stop.timer),
        Some(Timer::MaxActive)
    );
    // A person wakes it by the annotation, and the time begins anew.
    let wake = json!({"metadata": {"annotations": {"workstead.dev/wake-requested-at": "1"}}});
    world.change("dev", wake).await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert!(!warned_of(&status, Timer::MaxActive));
    world.settle().await;
    assert_eq!(
        world.status("dev").await.actual_state,
        Some(ActualState::Running)
    );
    process.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_is_stopped_for_too_long_is_terminated_and_nothing_wakes_it() {
    let times = Times::new("long", json!({"timeouts": {"maxStopped": "4h"}})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world.create("dev", json!({})).await;
    world.until_state("dev", ActualState::Running).await;
    world.want("dev", "Stopped").await;
    let status = world.until_state("dev", ActualState::Stopped).await;
    let since = status.stopped_since.clone().unwrap();
    times.pass(3 * 3600 + 60).await;
    let status = world
        .until("dev", "a warning", |status| {
            warned_of(status, Timer::MaxStopped)
        })
        .await;
    assert_eq!(status.stopped_since, Some(since));
    times.pass(3600 + 60).await;
    let status = world.until_state("dev", ActualState::Terminated).await;
    assert_eq!(
        status.stopped_by_timer.map(|stop| stop.timer),
        Some(Timer::MaxStopped)
    );
    assert!(status.volume.unwrap().retained, "the class keeps volumes");
    assert!(
        world
            .api::<PersistentVolumeClaim>()
            .get("dev-home")
            .await
            .is_ok()
    );
    assert!(
        world
            .api::<Lease>()
            .get_opt("dev-activity")
            .await
            .unwrap()
            .is_none()
    );
    times.visit().await;
    world.want("dev", "Running").await;
    world.settle().await;
    assert_eq!(
        world.status("dev").await.actual_state,
        Some(ActualState::Terminated)
    );
    assert!(world.pods("dev").await.is_empty());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_visit_does_not_start_what_somebody_stopped() {
    let times = Times::new("meant", json!({})).await;
    let world = &times.world;
    let _ready = world.auto_ready();
    let process = times.start();
    world.create("dev", json!({})).await;
    world.until_state("dev", ActualState::Running).await;
    world.want("dev", "Stopped").await;
    world.until_state("dev", ActualState::Stopped).await;
    times.visit().await;
    world
        .until("dev", "the visit to be forgotten", |status| {
            status.last_handled_visit_at.is_some()
        })
        .await;
    world.settle().await;
    assert!(world.pods("dev").await.is_empty());
    process.stop().await.unwrap();
}
