//! The definitions of our kinds, as the real API server understands them.

mod agreement;
mod dry_run;
pub mod rules;
mod schema;

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use workstead::api::{GitSync, Workspace, WorkspaceClass};
use workstead::testkit::ControlPlane;

use self::dry_run::{KINDS, dry_create, dry_run, minimal};
use crate::generated::check_generated;
use crate::object;

/// A handle to objects of one of our kinds, whatever is in them.
pub fn objects(client: Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("workstead.dev", "v1alpha1", kind);
    match kind.kind.as_str() {
        "WorkspaceClass" => {
            let resource = ApiResource::from_gvk_with_plural(&kind, "workspaceclasses");
            Api::all_with(client, &resource)
        }
        "WorkspaceVariables" => {
            let resource = ApiResource::from_gvk_with_plural(&kind, "workspacevariables");
            Api::namespaced_with(client, namespace, &resource)
        }
        _ => Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind)),
    }
}

fn definitions() -> Vec<CustomResourceDefinition> {
    workstead::api::crds::all()
}

/// crds/ is for people and tools that do not use the chart: the definitions as they are, one file a kind.
#[test]
fn drift_of_the_definitions_in_crds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut wrong = Vec::new();
    for definition in definitions() {
        let text = workstead::yaml::write(&definition).unwrap();
        let text = format!("# Generated from src/api: make generate.\n{text}");
        let file = folder.join(format!("{}.yaml", definition.spec.names.plural));
        wrong.extend(check_generated(&file, &text).err());
    }
    assert!(
        wrong.is_empty(),
        "{wrong:?}: run `make generate` and commit what it writes"
    );
}

#[tokio::test]
async fn the_server_takes_the_files_in_crds() {
    let plane = ControlPlane::shared().await.unwrap();
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), definitions().len());
    for file in files {
        let content = std::fs::read(&file).unwrap();
        let documents = workstead::yaml::read(&content, workstead::yaml::Limits::default());
        let [Ok(document)] = &documents[..] else {
            panic!("{} is not one document", file.display());
        };
        let value = document.root.to_json();
        let name = value["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("workstead/testkit")
            .force()
            .dry_run()
            .validation_strict();
        api.patch(name, &params, &Patch::Apply(&value))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn short_names_and_the_category_are_served() {
    let plane = ControlPlane::shared().await.unwrap();
    let list = plane
        .client()
        .list_api_group_resources("workstead.dev/v1alpha1")
        .await
        .unwrap();
    for (plural, short) in [
        ("workspaces", "ws"),
        ("workspaceclasses", "wsclass"),
        ("gitsyncs", "gsync"),
    ] {
        let resource = list
            .resources
            .iter()
            .find(|resource| resource.name == plural)
            .unwrap_or_else(|| panic!("{plural} is not served"));
        assert_eq!(
            resource.short_names.as_deref(),
            Some(&[short.to_owned()][..])
        );
        assert_eq!(
            resource.categories.as_deref(),
            Some(&["workstead".to_owned()][..])
        );
    }
}

async fn table(client: &Client, path: &str) -> Value {
    let request = http::Request::get(path)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    client.request(request).await.unwrap()
}

fn columns(table: &Value) -> Vec<(String, i64)> {
    let columns = table["columnDefinitions"].as_array().unwrap();
    columns
        .iter()
        .map(|c| {
            (
                c["name"].as_str().unwrap().to_owned(),
                c["priority"].as_i64().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn kubectl_get_shows_state_ready_owner_url_age_and_more_when_wide() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("columns").await.unwrap();
    let client = plane.client();
    let api: Api<Workspace> = Api::namespaced(client.clone(), &namespace);
    let workspace = object(minimal("Workspace"));
    api.create(&PostParams::default(), &workspace)
        .await
        .unwrap();
    let status = json!({"status": {
        "actualState": "Running",
        "url": "https://dev.example.com",
        "conditions": [
            {"type": "Reconciling", "status": "False", "reason": "Done", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ],
    }});
    api.patch_status(
        &workspace.name_any(),
        &PatchParams::default(),
        &Patch::Merge(status),
    )
    .await
    .unwrap();
    let path = format!("/apis/workstead.dev/v1alpha1/namespaces/{namespace}/workspaces");
    let table = table(&client, &path).await;
    let shown: Vec<(String, i64)> = columns(&table);
    let names = |wide: bool| -> Vec<&str> {
        shown
            .iter()
            .filter(|(_, priority)| wide || *priority == 0)
            .map(|(name, _)| name.as_str())
            .collect()
    };
    assert_eq!(
        names(false),
        ["Name", "State", "Ready", "Owner", "URL", "Age"]
    );
    assert_eq!(names(true).len(), 11, "{shown:?}");
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let texts: Vec<&str> = cells[..5]
        .iter()
        .map(|cell| cell.as_str().unwrap())
        .collect();
    assert_eq!(
        texts[1..],
        [
            "Running",
            "True",
            "alice@example.com",
            "https://dev.example.com"
        ]
    );
}

#[tokio::test]
async fn a_list_of_workspaces_can_be_narrowed_to_an_owner_or_a_class() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("fields").await.unwrap();
    let api: Api<Workspace> = Api::namespaced(plane.client(), &namespace);
    for (name, owner, class) in [
        ("a", "alice@example.com", "small"),
        ("b", "bob@example.com", "large"),
    ] {
        let mut value = minimal("Workspace");
        value["metadata"]["name"] = json!(name);
        value["spec"]["owner"] = json!(owner);
        value["spec"]["className"] = json!(class);
        let workspace: Workspace = object(value);
        api.create(&PostParams::default(), &workspace)
            .await
            .unwrap();
    }
    for (selector, name) in [
        ("spec.owner=alice@example.com", "a"),
        ("spec.className=large", "b"),
    ] {
        let list = api
            .list(&ListParams::default().fields(selector))
            .await
            .unwrap();
        let names: Vec<String> = list.iter().map(|workspace| workspace.name_any()).collect();
        assert_eq!(names, [name], "{selector}");
    }
}

#[tokio::test]
async fn a_fresh_object_says_that_nobody_looked_at_it_yet() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("fresh").await.unwrap();
    for kind in KINDS {
        let mut value = minimal(kind);
        value["metadata"]["name"] = json!(namespace);
        let api = objects(plane.client(), kind, &namespace);
        let made = api
            .create(&PostParams::default(), &object(value))
            .await
            .unwrap();
        assert_eq!(
            made.data["status"]["observedGeneration"],
            json!(-1),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn the_server_adds_nothing_to_a_spec() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("defaults").await.unwrap();
    for kind in KINDS {
        let mut value = minimal(kind);
        value["metadata"]["name"] = json!(namespace);
        let api = objects(plane.client(), kind, &namespace);
        let made = api
            .create(&PostParams::default(), &object(value.clone()))
            .await
            .unwrap();
        assert_eq!(made.data["spec"], value["spec"], "{kind}");
    }
}

#[tokio::test]
async fn two_writers_of_conditions_keep_each_others() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("conditions").await.unwrap();
    let api: Api<Workspace> = Api::namespaced(plane.client(), &namespace);
    let workspace: Workspace = object(minimal("Workspace"));
    let name = workspace.name_any();
    api.create(&PostParams::default(), &workspace)
        .await
        .unwrap();
    for (manager, kind) in [
        ("workstead/one", "Ready"),
        ("workstead/two", "NetworkReady"),
    ] {
        let body = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
            "status": {"conditions": [
                {"type": kind, "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        });
        api.patch_status(&name, &PatchParams::apply(manager), &Patch::Apply(body))
            .await
            .unwrap();
    }
    let conditions = api.get(&name).await.unwrap().status.unwrap().conditions;
    assert_eq!(conditions.len(), 2, "{conditions:?}");
}

#[tokio::test]
async fn what_the_schema_does_not_know_is_refused_by_name() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("strict").await.unwrap();
    for kind in KINDS {
        let mut value = minimal(kind);
        value["spec"]["colour"] = json!("green");
        let api = objects(plane.client(), kind, &namespace);
        let refused = dry_run(&api, &value).await.unwrap_err();
        assert!(
            refused.contains(".spec.colour: field not declared in schema"),
            "{kind}: {refused}"
        );
    }
}

#[test]
fn every_field_has_a_description() {
    for definition in definitions() {
        let missing = schema::undescribed(&definition);
        assert!(
            missing.is_empty(),
            "{}: {missing:#?}",
            definition.name_any()
        );
    }
}

#[test]
fn the_types_read_back_what_the_examples_say() {
    let _: Workspace = object(minimal("Workspace"));
    let _: WorkspaceClass = object(minimal("WorkspaceClass"));
    let _: GitSync = object(minimal("GitSync"));
}

#[tokio::test]
async fn server_behaviour_a_create_drops_nulls_and_an_apply_refuses_them() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("nulls").await.unwrap();
    let client = plane.client();
    let api = objects(client.clone(), "Workspace", &namespace);
    let path = format!("/apis/workstead.dev/v1alpha1/namespaces/{namespace}/workspaces");
    for field in ["className", "desiredState", "args", "storage"] {
        let mut value = minimal("Workspace");
        value["spec"][field] = Value::Null;
        let stored = dry_create(&client, &path, &value).await.unwrap();
        assert_eq!(stored["spec"].get(field), None, "{field}");
        let refused = dry_run(&api, &value).await;
        assert!(refused.is_err(), "{field}");
    }
}
