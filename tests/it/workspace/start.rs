//! From created to Running.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use workstead::api::workspace::{ActualState, StartStep};
use workstead::model::names::{
    AUTHORITY_SECRET, IDENTITIES_SECRET, PROXY_CLIENT_SECRET, PROXY_KEYS_SECRET,
    RECIPIENTS_CONFIG_MAP,
};
use workstead::testkit::faults::{Call, lines};

use super::{World, writes_since};

#[tokio::test]
async fn a_workspace_starts_with_few_writes_and_an_idle_pass_writes_nothing() {
    let world = World::new("start").await;
    let process = world.start();
    let status = world.run("dev", json!({})).await;
    world.settle().await;
    let writes = writes_since(&world.faults, 0);
    let writes: Vec<_> = writes
        .into_iter()
        .filter(|call| call.resource() != "workspaceclasses" && !is_of_the_installation(call))
        .collect();
    let (statuses, children): (Vec<_>, Vec<_>) = writes
        .into_iter()
        .partition(|call| call.subresource() == "status");
    let resources: BTreeSet<&str> = children.iter().map(Call::resource).collect();
    assert_eq!(resources.len(), 8, "{}", lines(&children));
    assert_eq!(children.len(), 8, "{}", lines(&children));
    // How many there are is up to how many steps a pass sees at once; none may say again what was said.
    let said: Vec<String> = statuses.iter().map(without_times).collect();
    let distinct: BTreeSet<&String> = said.iter().collect();
    assert_eq!(distinct.len(), said.len(), "{}", said.join("\n"));
    let ready = status
        .conditions
        .iter()
        .find(|c| c.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.status, "True");
    assert_eq!(status.url.as_deref(), Some("https://dev.work.example.com"));
    let steps: Vec<StartStep> = status.timeline.iter().map(|step| step.step).collect();
    assert_eq!(steps.first(), Some(&StartStep::Applied));
    assert_eq!(steps.last(), Some(&StartStep::Running));

    // Another process takes over, looks at everything, and has nothing to write but its lease.
    process.stop().await.unwrap();
    let mark = world.faults.mark();
    let process = world.start();
    super::until_passed(&process).await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    assert_eq!(
        world.status("dev").await.actual_state,
        Some(ActualState::Running)
    );
    process.stop().await.unwrap();
}

/// What a write of a status says besides when things happened.
fn without_times(call: &Call) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| {
                    !["lastTransitionTime", "atMilliseconds", "milliseconds"]
                        .contains(&name.as_str())
                });
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut status = call.json()["status"].take();
    strip(&mut status);
    status.to_string()
}

/// What is made once, whatever workspaces there are.
pub(super) fn is_of_the_installation(call: &Call) -> bool {
    let body = call.json();
    let name = body["metadata"]["name"].as_str().unwrap_or(call.name());
    [
        AUTHORITY_SECRET,
        PROXY_CLIENT_SECRET,
        PROXY_KEYS_SECRET,
        IDENTITIES_SECRET,
        RECIPIENTS_CONFIG_MAP,
    ]
    .contains(&name)
}

#[tokio::test]
async fn a_storage_class_that_the_cluster_fills_in_later_is_no_reason_to_write() {
    let world = World::new("late-class").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    let mark = world.faults.mark();
    let claims = world.api::<PersistentVolumeClaim>();
    let chosen = Patch::Merge(json!({"spec": {"storageClassName": "late"}}));
    let params = PatchParams::default();
    claims.patch("dev-home", &params, &chosen).await.unwrap();
    world
        .change(
            "dev",
            json!({"metadata": {"annotations": {"example.com/touched": "1"}}}),
        )
        .await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_child_that_was_written_a_second_time_is_not_written_a_third_time() {
    let world = World::new("again").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.settle().await;
    // A second endpoint is a second write of the Service; a pass after that has nothing to say.
    world
        .change(
            "dev",
            json!({"spec": {"endpoints": [{"name": "web", "port": 3000}, {"name": "api", "port": 4000}]}}),
        )
        .await;
    world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    let mark = world.faults.mark();
    world
        .change(
            "dev",
            json!({"metadata": {"annotations": {"example.com/touched": "1"}}}),
        )
        .await;
    world.settle().await;
    assert_eq!(lines(&writes_since(&world.faults, mark)), "");
    process.stop().await.unwrap();
}
