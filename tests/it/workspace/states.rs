//! Stop, start, restart, terminate.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::{ActualState, Cause, EffectiveDesiredState};
use workstead::testkit::faults::lines;
use workstead::testkit::kubelet::{PodStep, mk_node};
use workstead::testkit::wait::eventually;

use super::{World, writes_since};

#[tokio::test]
async fn a_stopped_workspace_has_no_pod_keeps_its_volume_and_starts_again() {
    let world = World::new("stop").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let first = world.pod("dev", None).await;
    world.want("dev", "Stopped").await;
    let status = world.until_state("dev", ActualState::Stopped).await;
    let ready = status
        .conditions
        .iter()
        .find(|c| c.type_ == "Ready")
        .unwrap();
    assert_eq!(
        ready.status, "True",
        "a stopped one that should be stopped is ready"
    );
    assert!(world.pods("dev").await.is_empty());
    assert!(
        world
            .api::<PersistentVolumeClaim>()
            .get_opt("dev-home")
            .await
            .unwrap()
            .is_some()
    );
    world.settle().await;
    let mark = world.faults.mark();
    world.want("dev", "Running").await;
    let second = world.pod("dev", Some(&first)).await;
    world
        .kubelet
        .report(&second, &PodStep::Ready)
        .await
        .unwrap();
    world.until_state("dev", ActualState::Running).await;
    let writes = writes_since(&world.faults, mark);
    assert!(writes.len() <= 15, "{}", lines(&writes));
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_goes_through_a_stop_that_was_seen() {
    let world = World::new("restart").await;
    mk_node(world.client.clone(), &world.namespace)
        .await
        .unwrap();
    let process = world.start();
    world.run("dev", json!({})).await;
    let first = world.pod("dev", None).await;
    // On a node: its deletion waits for the kubelet.
    world.kubelet.bind(&first, &world.namespace).await.unwrap();
    world.kubelet.report(&first, &PodStep::Ready).await.unwrap();
    let asked = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "now"}}});
    world.change("dev", asked).await;
    let status = world.until_state("dev", ActualState::Stopping).await;
    assert_eq!(
        status.desired_state,
        Some(EffectiveDesiredState::RestartRequested)
    );
    world.settle().await;
    // The old pod may still write to the volume: no new one beside it, however long it takes.
    let replicas = world
        .api::<Deployment>()
        .get("dev")
        .await
        .unwrap()
        .spec
        .unwrap()
        .replicas;
    assert_eq!(replicas, Some(0));
    assert_eq!(world.status("dev").await.last_handled_restart_at, None);
    world
        .kubelet
        .remove_pods("workstead.dev/workspace=dev")
        .await
        .unwrap();
    let second = world.pod("dev", Some(&first)).await;
    world
        .kubelet
        .report(&second, &PodStep::Ready)
        .await
        .unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.last_handled_restart_at.as_deref(), Some("now"));
    assert_eq!(status.restart, None);
    world.settle().await;
    assert_eq!(world.pod("dev", None).await, second, "once is enough");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_pod_that_does_not_go_makes_the_stop_stuck_and_is_never_forced() {
    let world = World::with_class("stuck", json!({"timeouts": {"stopping": "2s"}})).await;
    mk_node(world.client.clone(), &world.namespace)
        .await
        .unwrap();
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    world.kubelet.bind(&pod, &world.namespace).await.unwrap();
    world.want("dev", "Stopped").await;
    let failure = world.until_failed("dev", Cause::StopStuck).await;
    assert!(
        failure.next_step.contains(&world.namespace),
        "it names the node: {failure:?}"
    );
    world
        .kubelet
        .remove_pods("workstead.dev/workspace=dev")
        .await
        .unwrap();
    let status = world.until_state("dev", ActualState::Stopped).await;
    assert_eq!(status.failure, None, "recovery clears the failure");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_termination_is_stuck_when_its_own_stopping_timer_is_over() {
    let world = World::new("ending").await;
    mk_node(world.client.clone(), &world.namespace)
        .await
        .unwrap();
    let process = world.start();
    // The default is two minutes, for which nobody here would wait.
    world
        .run("dev", json!({"timeouts": {"stopping": "2s"}}))
        .await;
    let pod = world.pod("dev", None).await;
    world.kubelet.bind(&pod, &world.namespace).await.unwrap();
    world.want("dev", "Terminated").await;
    let status = world
        .until("dev", "the timer to be over", |s| s.failure.is_some())
        .await;
    assert_eq!(status.actual_state, Some(ActualState::Terminating));
    assert_eq!(status.failure.unwrap().cause, Cause::StopStuck);
    world
        .kubelet
        .remove_pods("workstead.dev/workspace=dev")
        .await
        .unwrap();
    world.until_state("dev", ActualState::Terminated).await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_terminated_workspace_keeps_its_volume_and_is_never_revived() {
    let world = World::new("terminated").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.want("dev", "Terminated").await;
    let status = world.until_state("dev", ActualState::Terminated).await;
    let volume = status.volume.unwrap();
    assert!(volume.retained && volume.name == "dev-home", "{volume:?}");
    let left: Vec<String> = world.children().await.into_keys().collect();
    assert_eq!(left, ["PersistentVolumeClaim dev-home"]);
    world.settle().await;
    let mark = world.faults.mark();
    world.want("dev", "Running").await;
    world
        .until("dev", "the change to be seen", |s| {
            s.actual_state == Some(ActualState::Terminated)
        })
        .await;
    world.settle().await;
    assert!(
        writes_since(&world.faults, mark)
            .iter()
            .all(|call| call.subresource() == "status")
    );
    let status = world.status("dev").await;
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    let message = &ready.unwrap().message;
    assert!(message.contains("Terminated is final"), "{message}");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn where_the_class_deletes_volumes_a_terminated_workspace_leaves_nothing() {
    let world = World::with_class("delete", json!({"storage": {"retention": "Delete"}})).await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.want("dev", "Terminated").await;
    let status = world.until_state("dev", ActualState::Terminated).await;
    assert_eq!(status.volume, None);
    assert!(world.children().await.is_empty());
    // And one whose Workspace is deleted goes with it.
    world.run("other", json!({})).await;
    world.delete::<Workspace>("other").await;
    eventually("everything to go", || async {
        world.children().await.is_empty().then_some(())
    })
    .await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_class_that_is_edited_later_deletes_no_volume_of_a_terminated_workspace() {
    let world = World::new("later").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    world.want("dev", "Terminated").await;
    world.until_state("dev", ActualState::Terminated).await;
    world.settle().await;
    let mark = world.faults.mark();
    world
        .set_class(&world.class, json!({"storage": {"retention": "Delete"}}))
        .await;
    // Until the controller knows the edit: what is terminated under it leaves nothing.
    world.run("other", json!({})).await;
    world.want("other", "Terminated").await;
    world.until_state("other", ActualState::Terminated).await;
    let touch = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    world.change("dev", touch).await;
    world.settle().await;
    let left: Vec<String> = world.children().await.into_keys().collect();
    assert_eq!(left, ["PersistentVolumeClaim dev-home"]);
    let volume = world.status("dev").await.volume.unwrap();
    assert!(volume.retained, "{volume:?}");
    let deleted: Vec<String> = writes_since(&world.faults, mark)
        .iter()
        .filter(|call| call.method == "DELETE" && call.name() == "dev-home")
        .map(|call| call.line())
        .collect();
    assert_eq!(deleted, Vec::<String>::new());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_crashing_command_shows_its_log_and_recovers_by_itself() {
    let world = World::new("crashloop").await;
    let process = world.start();
    world.create("dev", json!({"command": ["false"]})).await;
    let pod = world.pod("dev", None).await;
    let crash = PodStep::CrashLoop {
        exit_code: 1,
        reason: "Error".to_owned(),
        message: "no such file: config.yaml".to_owned(),
        restarts: 2,
    };
    world.kubelet.report(&pod, &crash).await.unwrap();
    let failure = world.until_failed("dev", Cause::CrashLoop).await;
    assert!(
        failure.evidence.contains("no such file: config.yaml"),
        "{failure:?}"
    );
    assert_eq!(
        world.pods("dev").await.len(),
        1,
        "failure does not scale down"
    );
    world.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(status.failure, None);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn of_many_evicted_pods_the_newest_is_kept_and_all_are_counted() {
    let world = World::new("evicted").await;
    let process = world.start();
    world.create("dev", json!({})).await;
    let evicted = PodStep::Failed {
        reason: "Evicted".to_owned(),
        message: "The node was low on resource: memory.".to_owned(),
    };
    let mut last = None;
    for _ in 0..3 {
        let pod = eventually("a pod that lives", || async {
            let pods = world.pods("dev").await;
            pods.iter()
                .find(|pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Pending"))
                .map(|pod| pod.name_any())
        })
        .await;
        world.kubelet.report(&pod, &evicted).await.unwrap();
        last = Some(pod);
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    let last = last.unwrap();
    eventually("the older dead pods to go", || async {
        let mut dead: Vec<String> = world
            .pods("dev")
            .await
            .iter()
            .filter(|pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Failed"))
            .map(|pod| pod.name_any())
            .collect();
        (dead.len() == 1 && dead.pop().as_ref() == Some(&last)).then_some(())
    })
    .await;
    world
        .until("dev", "all to be counted", |status| {
            status.pod.as_ref().and_then(|pod| pod.rejected) == Some(2)
        })
        .await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_takes_too_long_fails_exactly_at_its_deadline() {
    let world = World::with_class("slow", json!({"timeouts": {"startup": "2s"}})).await;
    let process = world.start();
    world.create("dev", json!({})).await;
    let started = world.until_state("dev", ActualState::Starting).await;
    let pod = world.pod("dev", None).await;
    let unschedulable =
        PodStep::Unschedulable("0/1 nodes are available: 1 Insufficient memory.".to_owned());
    world.kubelet.report(&pod, &unschedulable).await.unwrap();
    // The cause is shown at once, while it still starts.
    let status = world
        .until("dev", "the cause", |status| status.failure.is_some())
        .await;
    assert_eq!(status.actual_state, Some(ActualState::Starting));
    let status = world.until_state("dev", ActualState::Failed).await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::Unschedulable);
    assert!(
        failure.evidence.contains("Insufficient memory"),
        "{failure:?}"
    );
    let failed = status
        .conditions
        .iter()
        .find(|c| c.type_ == "Stalled")
        .unwrap();
    let begin = started.start_requested_at.unwrap().0;
    let took = failed.last_transition_time.0.duration_since(begin);
    // Conditions keep whole seconds.
    assert!((1..=3).contains(&took.as_secs()), "{took:?}");
    // No pod was lost, and it still may come.
    world.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
    world.until_state("dev", ActualState::Running).await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn transitions_and_failures_are_told_as_events() {
    let world = World::new("events").await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let waiting = PodStep::CrashLoop {
        exit_code: 137,
        reason: "OOMKilled".to_owned(),
        message: String::new(),
        restarts: 3,
    };
    let pod = world.pod("dev", None).await;
    world.kubelet.report(&pod, &waiting).await.unwrap();
    world.until_state("dev", ActualState::Failed).await;
    let events: kube::Api<k8s_openapi::api::events::v1::Event> = world.api();
    let reasons = eventually("the events", || async {
        let list = events.list(&Default::default()).await.unwrap();
        let about = |e: &k8s_openapi::api::events::v1::Event| {
            e.regarding
                .as_ref()
                .is_some_and(|o| o.kind.as_deref() == Some("Workspace"))
        };
        let told: Vec<(String, String)> = list
            .into_iter()
            .filter(about)
            .map(|e| (e.type_.unwrap_or_default(), e.reason.unwrap_or_default()))
            .collect();
        let has = |type_: &str, reason: &str| told.contains(&(type_.into(), reason.into()));
        (has("Normal", "Running") && has("Warning", "OutOfMemory")).then_some(told)
    })
    .await;
    assert!(reasons.len() <= 8, "{reasons:?}");
    process.stop().await.unwrap();
}
