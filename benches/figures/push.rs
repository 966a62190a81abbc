//! From a push to the applied Workspace: a real API server, a real Git server, and the report of a push as a forge
//! sends it. No node: nothing has to run.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use hmac::{Hmac, Mac};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use workstead::api::{GitSync, Workspace};
use workstead::testkit::process::{Process, mk_config};
use workstead::testkit::wait::eventually;
use workstead::testkit::{ControlPlane, GitServer};

use crate::results::{Figure, percentile};

const ROUNDS: usize = 30;
const TOKEN: &str = "the token of the hook";

/// From the report of a push to the watch event of the changed Workspace.
pub(crate) async fn push_to_applied() -> Figure {
    let plane = ControlPlane::start().await.unwrap();
    plane.install_definitions().await.unwrap();
    let namespace = plane.namespace("push").await.unwrap();
    let client = plane.client();
    let server = GitServer::start();
    let repository = server.repository("team");
    repository.commit(&[("api.yaml", &workspace(0))]);
    let hooks = free_address();
    let config = mk_config(&namespace, "bench", env!("CARGO_BIN_EXE_workstead"));
    let config = workstead::controllers::ControllerConfig {
        webhook_address: Some(hooks),
        ..config
    };
    let process = Process::start(config, client.clone());

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = serde_json::from_value(
        json!({"metadata": {"name": "hook"}, "stringData": {"token": TOKEN}}),
    );
    secrets
        .create(&PostParams::default(), &secret.unwrap())
        .await
        .unwrap();
    let syncs: Api<GitSync> = Api::namespaced(client.clone(), &namespace);
    let sync = serde_json::from_value(json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync", "metadata": {"name": "team"},
        "spec": {
            "url": repository.url(), "interval": "1h", "webhook": {"secretRef": {"name": "hook"}},
        },
    }));
    syncs
        .create(&PostParams::default(), &sync.unwrap())
        .await
        .unwrap();
    let workspaces: Api<Workspace> = Api::namespaced(client, &namespace);
    eventually("the first commit", || async {
        workspaces.get_opt("api").await.unwrap()
    })
    .await;
    let path = eventually("the path of the hook", || async {
        let status = syncs.get("team").await.unwrap().status.unwrap_or_default();
        status.last_applied_revision.and(status.webhook_path)
    })
    .await;

    let mut events =
        std::pin::pin!(watcher(workspaces, watcher::Config::default()).touched_objects());
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        repository.commit(&[("api.yaml", &workspace(round))]);
        let begin = Instant::now();
        report(hooks, &path).await;
        let wanted = round.to_string();
        let seen = async {
            while let Some(workspace) = events.try_next().await.unwrap() {
                if workspace
                    .spec
                    .env
                    .first()
                    .is_some_and(|env| env.value == wanted)
                {
                    return workspace.name_any();
                }
            }
            panic!("the watch ended");
        };
        tokio::time::timeout(Duration::from_secs(30), seen)
            .await
            .expect("it is applied");
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        // Faster than the receiver's limit on reports is not what people push.
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    process.stop().await.unwrap();
    let value = percentile(&times, 0.5);
    Figure {
        id: "push-to-applied",
        value,
        unit: "ms, p50",
        yardstick: None,
        ratio: None,
        bar: "at most 300 ms",
        met: value <= 300.0,
        rounds: ROUNDS,
    }
}

fn workspace(round: usize) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: api}}\nspec:\n  owner: kim@example.com\n  image: registry.example.com/dev:1\n  desiredState: Stopped\n  env: [{{name: ROUND, value: \"{round}\"}}]\n"
    )
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// What GitHub and Gitea send: a body and its HMAC.
async fn report(to: SocketAddr, path: &str) {
    let body = "{}";
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature-256: sha256={signature}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}
