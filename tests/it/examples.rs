//! examples/workspaces: every file is validated, rendered, and sent to a real API server.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::pinned_kind;
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::json;
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
    assert!(found.len() >= 11, "examples are missing: {found:?}");
    found
}

/// Has the API server say whether it would take an object, strictly.
async fn assert_accepted(client: &Client, from: &str, object: &DynamicObject) {
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let (resource, _) = pinned_kind(client, &kind).await.unwrap();
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let parameters = PatchParams::apply("examples").dry_run().validation_strict();
    let answer = api
        .patch(&object.name_any(), &parameters, &Patch::Apply(object))
        .await;
    answer.unwrap_or_else(|error| panic!("{from}: {} {error}", kind.kind));
}

/// A client, with the namespace of the examples there.
async fn prepared() -> Client {
    let client = ControlPlane::shared().await.unwrap().client();
    let namespace = crate::object(json!({"metadata": {"name": "team-a"}}));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        made => drop(made.unwrap()),
    }
    client
}

#[tokio::test]
async fn the_api_server_accepts_every_example_under_strict_validation() {
    let client = prepared().await;
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let object: DynamicObject = serde_yaml::from_str(&text).unwrap();
        assert_accepted(&client, &file.display().to_string(), &object).await;
    }
}

#[tokio::test]
async fn the_api_server_accepts_all_that_the_examples_render_to() {
    let client = prepared().await;
    for file in workspaces() {
        let text = rendered(&file);
        let documents = serde_yaml::Deserializer::from_str(&text);
        let objects: Vec<DynamicObject> = documents
            .map(|document| DynamicObject::deserialize(document).unwrap())
            .collect();
        assert!(
            objects.len() >= 4,
            "{}: {} objects",
            file.display(),
            objects.len()
        );
        for object in objects {
            assert_accepted(&client, &file.display().to_string(), &object).await;
        }
    }
}

fn binary(arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_workstead"))
        .current_dir(folder())
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn workstead_validate_has_nothing_to_say_against_any_example() {
    for part in [
        "workspaces",
        "inside",
        "open",
        "variables",
        "needs-internet",
        "platform/class-team.yaml",
        "platform/class-editors.yaml",
        "platform/gitsync.yaml",
    ] {
        let (good, said) = binary(&["validate", part]);
        assert!(good, "{part}: {said}");
    }
}

#[test]
fn the_examples_obey_the_rules_of_their_own_gitsync() {
    let (good, said) = binary(&[
        "validate",
        ".",
        "--gitsync",
        "platform/gitsync.yaml",
        "-o",
        "json",
    ]);
    assert!(good, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        report["objects"], 6,
        "it reads the folder of the Workspaces and no other"
    );
}

/// The files with Workspaces.
fn workspaces() -> Vec<PathBuf> {
    let mut found = files();
    found.retain(|file| {
        std::fs::read_to_string(file)
            .unwrap()
            .contains("\nkind: Workspace\n")
    });
    assert!(found.len() >= 9, "only {} Workspaces", found.len());
    found
}

fn rendered(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let class = if text.contains("\n  className: editors\n") {
        "platform/class-editors.yaml"
    } else {
        "platform/class-team.yaml"
    };
    let settings = [
        "--tools-image",
        "workstead:dev",
        "--base-domain",
        "work.example.com",
    ];
    let arguments = ["render", file.to_str().unwrap(), "--class", class];
    let (good, objects) = binary(&[&arguments[..], &settings].concat());
    assert!(good, "{}", file.display());
    objects
}

#[test]
fn every_example_renders_to_what_was_reviewed() {
    for file in workspaces() {
        let name = file.file_stem().unwrap().to_str().unwrap();
        insta::assert_snapshot!(format!("render_{name}"), rendered(&file));
    }
}
