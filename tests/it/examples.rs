//! examples/workspaces: every file is validated, rendered, and sent to a real API server.

use std::path::{Path, PathBuf};

use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use workstead::testkit::ControlPlane;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workspaces")
}

/// All YAML files below the examples, sorted.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 6, "examples are missing: {found:?}");
    found
}

#[tokio::test]
async fn the_api_server_accepts_every_example_under_strict_validation() {
    let plane = ControlPlane::shared().await.unwrap();
    let client = plane.client();
    let namespace = serde_json::from_value(
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}),
    );
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    match namespaces
        .create(&PostParams::default(), &namespace.unwrap())
        .await
    {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        made => drop(made.unwrap()),
    }
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let object: DynamicObject = serde_yaml::from_str(&text).unwrap();
        let types = object.types.clone().unwrap();
        let kind = GroupVersionKind::try_from(&types).unwrap();
        let plural = match kind.kind.as_str() {
            "WorkspaceClass" => "workspaceclasses".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let parameters = PatchParams::apply("examples").dry_run().validation_strict();
        let answer = api
            .patch(&object.name_any(), &parameters, &Patch::Apply(&object))
            .await;
        answer.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}
