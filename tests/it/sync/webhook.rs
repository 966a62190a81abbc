//! Who may report a push, and what comes of it.

use std::net::SocketAddr;
use std::time::Duration;

use hmac::{Hmac, Mac};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workstead::controllers::gitsync::webhook::{self, hook_path};
use workstead::testkit::wait::eventually;

use super::{Fixture, NAME, workspace};
use crate::controllers::mk_config;

const TOKEN: &str = "a token of some length";
const ANNOTATION: &str = "workstead.dev/reconcile-requested-at";

/// A receiver on a free port.
struct Hooks {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

async fn receive(fixture: &Fixture) -> Hooks {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let receiver = webhook::Receiver {
        gitsyncs: mk_config(&fixture.namespace, "hook")
            .scope
            .api(&fixture.client),
        client: fixture.client.clone(),
        requests: fixture.requests.clone(),
        clock: fixture.clock.clone(),
    };
    #[allow(clippy::disallowed_methods)] // aborted by drop
    let task = tokio::spawn(webhook::serve(listener, receiver, stop.clone()));
    Hooks {
        address,
        stop,
        task,
    }
}

/// A GitSync whose status names the path, as the controller writes it.
async fn with_hook(fixture: &Fixture) -> String {
    fixture.secret("hook", &[("token", TOKEN)]).await;
    fixture
        .create(json!({"webhook": {"secretRef": {"name": "hook"}}}))
        .await;
    let path = hook_path(&fixture.namespace, NAME, TOKEN.as_bytes()).unwrap();
    let status = json!({"status": {"webhookPath": path}});
    fixture
        .gitsyncs()
        .patch_status(NAME, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    path
}

/// Sends a request as it stands; gives the status, 0 when the connection was closed without an answer.
async fn send(address: SocketAddr, head: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("an answer in time");
    let text = String::from_utf8_lossy(&answer);
    text.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

async fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> u16 {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    send(address, &head, body).await
}

fn signed(token: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(body);
    let digits = hex::encode(mac.finalize().into_bytes());
    format!("X-Hub-Signature-256: sha256={digits}\r\n")
}

/// Waits until the receiver's watch shows the path.
async fn until_served(hooks: &Hooks, path: &str) {
    eventually("the path to be served", || async {
        (post(hooks.address, path, "", b"").await == 401).then_some(())
    })
    .await;
}

async fn requested(fixture: &Fixture) -> Option<String> {
    let gitsync = fixture.gitsyncs().get(NAME).await.unwrap();
    gitsync
        .metadata
        .annotations
        .and_then(|mut all| all.remove(ANNOTATION))
}

#[tokio::test]
async fn a_signed_report_asks_for_a_fetch_here_when_this_process_leads() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    let _leading = fixture.requests.attach();
    let key = workstead::controllers::cache::Key::new(&fixture.namespace, NAME);
    let body = br#"{"ref": "refs/heads/main"}"#;
    assert_eq!(
        post(hooks.address, &path, &signed(TOKEN, body), body).await,
        202
    );
    assert!(fixture.requests.take_fetch(&key));
    let gitlab = format!("X-Gitlab-Token: {TOKEN}\r\n");
    assert_eq!(post(hooks.address, &path, &gitlab, body).await, 202);
    assert!(fixture.requests.take_fetch(&key));
    assert_eq!(
        requested(&fixture).await,
        None,
        "the leader needs no annotation"
    );
}

#[tokio::test]
async fn a_pass_names_the_path_and_a_push_that_is_reported_there_is_applied() {
    let fixture = Fixture::new().await;
    let first = fixture
        .repository
        .commit(&[("a.yaml", &workspace("a", "i:1"))]);
    fixture.secret("hook", &[("token", TOKEN)]).await;
    fixture
        .create(json!({"webhook": {"secretRef": {"name": "hook"}}}))
        .await;
    let running = fixture.start();
    let path = fixture.until_applied(&first).await.webhook_path.unwrap();
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    let second = fixture
        .repository
        .commit(&[("a.yaml", &workspace("a", "i:2"))]);
    let sent = post(hooks.address, &path, &signed(TOKEN, b"{}"), b"{}").await;
    assert_eq!(sent, 202);
    fixture.until_applied(&second).await;
    assert_eq!(fixture.status().await.last_handled_reconcile_at, None);
    running.stop().await;
}

#[tokio::test]
async fn a_standby_replica_only_sets_the_annotation() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    assert_eq!(
        post(hooks.address, &path, &signed(TOKEN, b"{}"), b"{}").await,
        202
    );
    let first = requested(&fixture).await.unwrap();
    assert_eq!(
        post(hooks.address, &path, &signed(TOKEN, b"{}"), b"{}").await,
        202
    );
    assert_ne!(requested(&fixture).await.unwrap(), first);
}

#[tokio::test]
async fn what_is_unsigned_wrongly_signed_unknown_or_too_large_is_refused_by_its_status() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    let to = hooks.address;
    assert_eq!(
        post(to, &path, &signed("another token", b"{}"), b"{}").await,
        401
    );
    assert_eq!(post(to, &path, &signed(TOKEN, b"{}"), b"{ }").await, 401);
    assert_eq!(post(to, &path, "X-Gitlab-Token: x\r\n", b"{}").await, 401);
    let unknown = hook_path(&fixture.namespace, NAME, b"guess").unwrap();
    assert_eq!(
        post(to, &unknown, &signed("guess", b"{}"), b"{}").await,
        404
    );
    assert_eq!(post(to, "/", "", b"").await, 404);
    assert_eq!(post(to, "/hook/", "", b"").await, 404);
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(send(to, &head, b"").await, 405);
    // The size is refused by what the head says, before a byte of the body is read.
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{}\r\n",
        webhook::MAX_BODY + 1,
        signed(TOKEN, b"")
    );
    assert_eq!(send(to, &head, b"").await, 413);
    assert_eq!(requested(&fixture).await, None);
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_at_the_cap() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{}\r\n",
        signed(TOKEN, b"")
    );
    let mut stream = TcpStream::connect(hooks.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b'x'; 1024 * 1024];
    let mut sent = 0;
    while sent <= webhook::MAX_BODY + 4 * chunk.len() {
        let size = format!("{:x}\r\n", chunk.len());
        let mut whole = size.into_bytes();
        whole.extend(&chunk);
        whole.extend(b"\r\n");
        if stream.write_all(&whole).await.is_err() {
            break;
        }
        sent += chunk.len();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(
        sent < webhook::MAX_BODY + 4 * chunk.len() || text.contains("413"),
        "{text}"
    );
    assert_eq!(requested(&fixture).await, None);
}

#[tokio::test]
async fn a_token_that_was_exchanged_makes_the_old_path_unknown() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    fixture.secret("hook", &[("token", "a new token")]).await;
    assert_eq!(requested(&fixture).await, None);
    let old = post(hooks.address, &path, &signed(TOKEN, b"{}"), b"{}").await;
    assert_eq!(old, 404);
    let asked = requested(&fixture).await;
    assert!(asked.is_some(), "the leader is asked to look again");
    let new = post(hooks.address, &path, &signed("a new token", b"{}"), b"{}").await;
    assert_eq!(new, 404, "the new token has a path of its own");
}

#[tokio::test]
async fn a_report_to_the_path_of_an_exchanged_token_makes_the_status_name_the_new_one() {
    let fixture = Fixture::new().await;
    fixture
        .repository
        .commit(&[("a.yaml", &workspace("a", "i:1"))]);
    fixture.secret("hook", &[("token", TOKEN)]).await;
    fixture
        .create(json!({"webhook": {"secretRef": {"name": "hook"}}}))
        .await;
    let running = fixture.start();
    let hooks = receive(&fixture).await;
    let path = |token: &str| hook_path(&fixture.namespace, NAME, token.as_bytes()).unwrap();
    let told = async |path: &str| {
        let what = format!("the status to name {path}");
        let fits = |status: &workstead::api::gitsync::GitSyncStatus| {
            status.webhook_path.as_deref() == Some(path)
        };
        fixture.until(&what, fits).await;
        until_served(&hooks, path).await;
    };
    told(&path(TOKEN)).await;
    let fetches = fixture.server.requests().len();
    fixture.secret("hook", &[("token", "a new token")]).await;
    let old = post(hooks.address, &path(TOKEN), &signed(TOKEN, b"{}"), b"{}").await;
    assert_eq!(old, 404);
    told(&path("a new token")).await;
    assert_eq!(
        fixture.server.requests().len(),
        fetches,
        "the old path fetches nothing any more"
    );
    let headers = signed("a new token", b"{}");
    let new = post(hooks.address, &path("a new token"), &headers, b"{}").await;
    assert_eq!(new, 202);
    running.stop().await;
}

#[tokio::test]
async fn too_many_reports_are_told_to_wait() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    let mut seen = Vec::new();
    for _ in 0..60 {
        seen.push(post(hooks.address, &path, "", b"").await);
    }
    assert!(seen.contains(&429), "{seen:?}");
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_hinders_nobody() {
    let fixture = Fixture::new().await;
    let path = with_hook(&fixture).await;
    let hooks = receive(&fixture).await;
    until_served(&hooks, &path).await;
    let mut silent = TcpStream::connect(hooks.address).await.unwrap();
    let mut half = TcpStream::connect(hooks.address).await.unwrap();
    half.write_all(b"POST /hook/").await.unwrap();
    assert_eq!(
        post(hooks.address, &path, &signed(TOKEN, b"{}"), b"{}").await,
        202
    );
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut rest));
        assert!(closed.await.is_ok(), "it is closed within its deadline");
    }
}
