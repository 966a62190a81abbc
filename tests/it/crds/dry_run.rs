//! Asking the API server what it says to an object, without keeping it.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

/// Our kinds, in the order of their definitions.
pub const KINDS: [&str; 4] = [
    "WorkspaceClass",
    "WorkspaceVariables",
    "Workspace",
    "GitSync",
];

/// Looks like a sealed text to who does not open it.
pub const SEALED: &str =
    "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n";

/// The least that a file of a kind may say.
pub fn minimal(kind: &str) -> Value {
    let spec = match kind {
        "Workspace" => json!({"owner": "alice@example.com", "image": "registry.example.com/dev:1"}),
        "WorkspaceClass" => json!({}),
        "WorkspaceVariables" => json!({"format": "Age", "sealed": SEALED}),
        "GitSync" => json!({"url": "https://git.example.com/team.git"}),
        other => panic!("no kind {other}"),
    };
    json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": kind, "metadata": {"name": "dev"}, "spec": spec,
    })
}

/// What the server says to an object, without keeping it. Strict: fields that it does not know are errors.
pub async fn dry_run(api: &Api<DynamicObject>, value: &Value) -> Result<(), String> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply("workstead/testkit")
        .force()
        .dry_run()
        .validation_strict();
    api.patch(name, &params, &Patch::Apply(value))
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// What the server says to an object that is new, as `kubectl apply --dry-run=server` asks it. `path` is that of the
/// list of objects. Gives the object as it would be stored.
pub async fn dry_create(client: &Client, path: &str, value: &Value) -> Result<Value, String> {
    let request = http::Request::post(format!("{path}?dryRun=All&fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(value.to_string().into_bytes())
        .unwrap();
    let answer = client.request::<Value>(request).await;
    answer.map_err(|error| error.to_string())
}
