//! What a later release wrote, after a rollback to this one: one object that can't be read stops no other.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use workstead::api::workspace::{ActualState, Cause};
use workstead::api::{GitSync, Workspace, WorkspaceClass};
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::World;

/// A control plane whose definitions are those of a later release: they know a cause, a state and a kind more.
async fn later_release() -> ControlPlane {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    plane.start_controller_manager().await.unwrap();
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let widen = |at: &str| {
        let path = format!("{schema}/{at}/enum/-");
        json!({"op": "add", "path": path, "value": "Bewitched"})
    };
    let workspaces = json!([
        widen("status/properties/failure/properties/cause"),
        widen("spec/properties/desiredState"),
    ]);
    widened(&plane, "workspaces.workstead.dev", workspaces).await;
    let classes = json!([widen("spec/properties/network/properties/profile")]);
    widened(&plane, "workspaceclasses.workstead.dev", classes).await;
    let syncs = json!([widen("spec/properties/deletionPolicy")]);
    widened(&plane, "gitsyncs.workstead.dev", syncs).await;
    plane
}

async fn widened(plane: &ControlPlane, name: &str, patch: Value) {
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client());
    let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch).unwrap());
    definitions
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Waits for the Event about an object, and says what it says.
async fn told(events: &Api<Event>, kind: &str, name: &str) -> String {
    eventually(&format!("an Event about {kind} {name}"), || async {
        let found = events.list(&ListParams::default()).await.unwrap();
        found.into_iter().find_map(|event| {
            let about = &event.involved_object;
            let fits = event.reason.as_deref() == Some("Unreadable")
                && about.kind.as_deref() == Some(kind)
                && about.name.as_deref() == Some(name);
            fits.then_some(event.message?)
        })
    })
    .await
}

#[tokio::test]
async fn what_a_later_release_wrote_is_named_and_stops_nobody_else() {
    let plane = later_release().await;
    let world = World::on(&plane, "rollback", json!({})).await;
    world.create("hexed", json!({})).await;
    let failure = json!({"cause": "Bewitched", "blame": "User", "message": "m", "evidence": "e",
        "retryable": true, "nextStep": "n"});
    eventually("the widened definitions to be served", || async {
        let status = json!({"status": {"failure": failure, "lastHandledRestartAt": "7"}});
        let patched = world
            .api::<Workspace>()
            .patch_status("hexed", &PatchParams::default(), &Patch::Merge(status))
            .await;
        patched.ok()
    })
    .await;
    eventually("a spec of the later release to be taken", || async {
        world
            .create_raw("spec", json!({"desiredState": "Bewitched"}))
            .await
            .ok()
    })
    .await;
    let class = format!("{}-later", world.namespace);
    eventually("a class of the later release to be taken", || async {
        let spec = json!({"network": {"profile": "Bewitched"}});
        world.set_raw::<WorkspaceClass>(&class, spec).await.ok()
    })
    .await;
    eventually("a GitSync of the later release to be taken", || async {
        let spec = json!({"url": "https://git.example.com/a.git", "deletionPolicy": "Bewitched"});
        world.set_raw::<GitSync>("syncs", spec).await.ok()
    })
    .await;
    let process = world.start();
    world.create("whole", json!({})).await;
    world.make_ready("whole").await;
    world.until_state("whole", ActualState::Running).await;

    // A status that can't be read as a whole is read in part, told of, and written anew.
    world.make_ready("hexed").await;
    let status = world.until_state("hexed", ActualState::Running).await;
    assert_eq!(status.failure, None);
    assert_eq!(status.last_handled_restart_at.as_deref(), Some("7"));
    let events: Api<Event> = world.api();
    let note = told(&events, "Workspace", "hexed").await;
    assert!(note.contains("status.failure"), "{note}");

    // Of a spec that can't be read nothing is done.
    let note = told(&events, "Workspace", "spec").await;
    assert!(note.contains("spec.desiredState"), "{note}");
    assert!(world.pods("spec").await.is_empty());
    let note = told(&events, "GitSync", "syncs").await;
    assert!(note.contains("spec.deletionPolicy"), "{note}");
    let everywhere: Api<Event> = Api::namespaced(world.client.clone(), "default");
    let note = told(&everywhere, "WorkspaceClass", &class).await;
    assert!(note.contains("spec.network.profile"), "{note}");
    world.create("other", json!({"className": class})).await;
    let status = world
        .until_state("other", ActualState::CreationRequested)
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::ClassInvalid);
    assert!(failure.message.contains("can't be read"), "{failure:?}");
    let metrics = process.metrics.encode().unwrap();
    for kind in ["Workspace", "WorkspaceClass", "GitSync"] {
        let line = format!("workstead_unreadable_objects{{kind=\"{kind}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }

    // Written as this release knows it, it is looked after like any other.
    world.want("spec", "Running").await;
    world.make_ready("spec").await;
    world.until_state("spec", ActualState::Running).await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_workspace_that_runs_is_left_alone_when_its_spec_can_be_read_no_more() {
    let plane = later_release().await;
    let world = World::on(&plane, "unread", json!({"quota": {"total": 1}})).await;
    let process = world.start();
    world.run("dev", json!({})).await;
    let pod = world.pod("dev", None).await;
    eventually("the widened definition to be served", || async {
        let bewitched = json!({"spec": {"desiredState": "Bewitched"}});
        world.patch_raw("dev", bewitched).await.ok()
    })
    .await;
    told(&world.api(), "Workspace", "dev").await;
    // It keeps its place, before and after a new process begins.
    world.create("next", json!({})).await;
    world
        .until_state("next", ActualState::CreationRequested)
        .await;
    process.stop().await.unwrap();
    let process = world.start();
    super::until_passed(&process).await;
    world.settle().await;
    assert!(world.pods("next").await.is_empty());
    assert_eq!(world.pod("dev", None).await, pod);
    process.stop().await.unwrap();
}

impl World {
    /// Creates a Workspace that this release could not write down.
    async fn create_raw(&self, name: &str, spec: Value) -> kube::Result<()> {
        let mut whole = json!({
            "owner": "alice@example.com", "className": self.class,
            "image": "registry.example.com/dev:1",
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        self.set_raw::<Workspace>(name, whole).await
    }

    /// Applies an object of ours that this release could not write down. A class is labelled for this test.
    async fn set_raw<K>(&self, name: &str, spec: Value) -> kube::Result<()>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let kind = kube::api::ApiResource::erase::<K>(&());
        let body = json!({
            "apiVersion": kind.api_version, "kind": kind.kind, "spec": spec,
            "metadata": {"name": name, "labels": {crate::controllers::TEST_LABEL: self.namespace}},
        });
        let api: Api<kube::api::DynamicObject> = if kind.kind == "WorkspaceClass" {
            Api::all_with(self.client.clone(), &kind)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
        };
        let params = PatchParams::apply("test").force();
        api.patch(name, &params, &Patch::Apply(&body)).await?;
        Ok(())
    }

    /// Changes a Workspace into one that this release can't read.
    async fn patch_raw(&self, name: &str, patch: Value) -> kube::Result<()> {
        let kind = kube::api::ApiResource::erase::<Workspace>(&());
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let params = PatchParams::default();
        api.patch(name, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }
}
