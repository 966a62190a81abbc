//! Names of hosts: what two want, the older one has; and what is the installation's, nobody.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::access::Visibility;
use workstead::api::workspace::{ActualState, WorkspaceStatus};
use workstead::controllers::Parts;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::World;

fn conflict(status: &WorkspaceStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == "HostConflict")?;
    Some(&found.reason)
}

#[tokio::test]
async fn a_workspace_whose_name_is_reserved_runs_and_opens_nowhere() {
    let world = World::new("reserved").await;
    let _ready = world.auto_ready();
    let mut config = world.config("one");
    config.reserved_names = vec!["grafana".to_owned()];
    let process = world.start_with(config, Parts::default());
    for name in ["auth", "grafana", "dev"] {
        world.create(name, json!({})).await;
    }
    let dev = world.until_state("dev", ActualState::Running).await;
    assert_eq!(conflict(&dev), None);
    assert_eq!(dev.url.as_deref(), Some("https://dev.work.example.com"));
    assert_eq!(
        dev.endpoints[0].url.as_deref(),
        Some("https://3000-dev.work.example.com")
    );
    assert_eq!(dev.endpoints[0].visibility, Visibility::Private);
    for name in ["auth", "grafana"] {
        let status = world.until_state(name, ActualState::Running).await;
        assert_eq!(conflict(&status), Some("NameReserved"), "{name}");
        assert_eq!(
            (status.url, &status.endpoints[0].url),
            (None, &None),
            "{name}"
        );
    }
    let events: Api<Event> = world.api();
    eventually("Events", || async {
        let list = events.list(&ListParams::default()).await.unwrap();
        let told = list
            .iter()
            .filter(|event| event.reason.as_deref() == Some("NameReserved"));
        (told.count() == 2).then_some(())
    })
    .await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn of_two_workspaces_of_one_name_the_older_has_the_host_until_it_is_gone() {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    plane.start_controller_manager().await.unwrap();
    let world = World::on(&plane, "first", json!({})).await;
    let other = plane.namespace("second").await.unwrap();
    let mut config = world.config("one");
    config.scope.namespace = None;
    let process = world.start_with(config, Parts::default());
    world.create("dev", json!({})).await;
    // The API server dates to the second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let api: Api<Workspace> = Api::namespaced(world.client.clone(), &other);
    let mallory: Workspace = crate::object(json!({"metadata": {"name": "dev"}, "spec": {
        "owner": "mallory@example.com", "className": world.class, "image": "registry.example.com/dev:1",
    }}));
    api.create(&PostParams::default(), &mallory).await.unwrap();
    let status = async || api.get("dev").await.unwrap().status.unwrap_or_default();
    let copied = eventually("a conflict", || async {
        let status = status().await;
        (conflict(&status) == Some("NameTaken")).then_some(status)
    })
    .await;
    assert_eq!(copied.url, None);
    let told = copied
        .conditions
        .iter()
        .find(|c| c.type_ == "HostConflict")
        .unwrap();
    assert!(!told.message.contains(&world.namespace), "{}", told.message);
    let first = world
        .until("dev", "an address", |status| status.url.is_some())
        .await;
    assert_eq!(conflict(&first), None);

    world
        .api::<Workspace>()
        .delete("dev", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the address of the other", || async {
        let status = status().await;
        (conflict(&status).is_none() && status.url.is_some()).then_some(())
    })
    .await;
    process.stop().await.unwrap();
}
