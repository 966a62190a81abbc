//! As `kubectl workstead`, started by the real kubectl.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Bench, Ran};

/// A folder in which the binary has the name by which kubectl finds it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-workstead");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_workstead"), plugin).unwrap();
    folder
}

async fn kubectl(mut command: Command, folder: &TempDir) -> Ran {
    command.env("PATH", folder.path());
    let output = tokio::task::spawn_blocking(move || command.output());
    Ran::of(output.await.unwrap().unwrap())
}

#[tokio::test]
async fn kubectl_finds_the_plugin_and_it_acts_on_the_cluster_that_kubectl_talks_to() {
    let (bench, folder) = (Bench::new().await, folder());
    bench.apply("test", "alice-api", json!({})).await;
    let run = async |words: &[&str]| {
        let mut command = bench.plane.kubectl();
        command
            .arg("workstead")
            .args(words)
            .args(["--namespace", &bench.namespace])
            .env("KUBECONFIG", bench.plane.kubeconfig());
        kubectl(command, &folder).await
    };
    let list = run(&["list", "-o", "json"]).await.ended(0);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "alice-api");
    run(&["stop", "alice-api"]).await.ended(0);
    let spec = json!(bench.get("alice-api").await.spec);
    assert_eq!(spec["desiredState"], "Stopped");
    // What it says to type next is typed as it was started.
    run(&["why", "nobody"])
        .await
        .complained(2, &["next step:", "kubectl workstead list"]);
}
