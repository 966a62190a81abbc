//! A process from its begin to its end: probes, definitions, the loss of the API server.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use workstead::controllers::RunError;
use workstead::testkit::ControlPlane;
use workstead::testkit::faults::{Call, Fault, Faults, When, lines};
use workstead::testkit::wait::eventually;

use super::{Process, mk_config};

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The status and the body of an answer; none while nobody listens.
async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n")?.1.to_owned();
    Some((status, body))
}

#[tokio::test]
async fn a_process_is_alive_at_once_and_ready_when_the_definitions_are_there() {
    let plane = ControlPlane::start().await.unwrap();
    let namespace = plane.namespace("life").await.unwrap();
    let mut config = mk_config(&namespace, "only");
    let (health, webhook) = (free_address(), free_address());
    config.health_address = Some(health);
    config.webhook_address = Some(webhook);
    let process = Process::start(config, plane.client());
    let (status, body) = eventually("an answer to /readyz", || async {
        let answer = get(health, "/readyz").await?;
        answer
            .1
            .contains("CustomResourceDefinitions")
            .then_some(answer)
    })
    .await;
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).unwrap();
    let whats: Vec<&str> = body["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|missing| missing["what"].as_str().unwrap())
        .collect();
    assert_eq!(whats, ["crds", "lease"]);
    assert!(
        body.to_string().contains("gitsyncs.workstead.dev"),
        "{body}"
    );
    assert_eq!(get(health, "/healthz").await.unwrap().0, 200);

    plane.install_definitions().await.unwrap();
    let body = eventually("the process to be ready", || async {
        let (status, body) = get(health, "/readyz").await?;
        (status == 200 && process.leads()).then_some(body)
    })
    .await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["ready"], &body["missing"]),
        (&json!(true), &json!([]))
    );
    // Nobody installed the chart here: that is said, and keeps nobody from being ready.
    let note = eventually("the note about owners", || async {
        let (_, body) = get(health, "/readyz").await?;
        let body: Value = serde_json::from_str(&body).unwrap();
        let note = body["notes"][0].clone();
        (!note.is_null()).then_some(note)
    })
    .await;
    assert_eq!(note["what"], "check of owners");
    let why = note["why"].as_str().unwrap();
    assert!(
        why.contains("no ValidatingAdmissionPolicy workstead-owner"),
        "{why}"
    );
    let (_, metrics) = get(health, "/metrics").await.unwrap();
    assert!(metrics.contains("workstead_leader 1"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    // Nothing is configured: an unknown hook is not found, but it is answered.
    assert_eq!(get(webhook, "/hook/unknown").await.unwrap().0 / 100, 4);
    process.stop().await.unwrap();
    assert!(get(health, "/healthz").await.is_none());
}

#[tokio::test]
async fn a_setting_that_can_not_be_used_is_named_at_once() {
    let plane = ControlPlane::shared().await.unwrap();
    let mut config = mk_config("anything", "only");
    config.tools_image = "not an image".to_owned();
    let error = Process::start(config, plane.client())
        .ended()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("tools image"), "{error}");
}

#[tokio::test]
async fn a_leader_that_can_not_renew_ends_before_its_lease_does_and_writes_nothing_more() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("expire").await.unwrap();
    let faults = Faults::new();
    let process = Process::start(mk_config(&namespace, "only"), faults.client(plane.config()));
    eventually("it to lead", || async { process.leads().then_some(()) }).await;
    faults.always(When::matching(Call::is_claim), Fault::RequestLost);
    let begin = Instant::now();
    let error = process.ended().await.unwrap_err();
    assert!(matches!(error, RunError::Lease(_)), "{error}");
    // The lease is of 3 s.
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    let mark = faults.mark();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(lines(&faults.calls_since(mark)), "");
}
