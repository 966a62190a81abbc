//! Keys of supervisors in a real API server, and calls to the real supervisor by them.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use serde_json::json;
use tempfile::TempDir;
use workstead::controllers::supervisor::authority::{Authority, Client};
use workstead::controllers::supervisor::keys::Keys;
use workstead::inside::dial::{DialError, Target, inspect};
use workstead::inside::pin::PublicKeyDigest;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;
use workstead_link::{TLS_CERTIFICATE, TLS_CLIENTS, TLS_KEY};

/// A supervisor that runs here.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    /// Open as long as it runs: it may have more to say.
    _said: BufReader<ChildStderr>,
    _root: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// With these files for the calls that it takes. Its program may have to be built first, and what runs in the
    /// test's own thread goes on meanwhile: a controller keeps its lease.
    pub async fn start(files: [(&'static str, Vec<u8>); 3]) -> Self {
        let starting = tokio::task::spawn_blocking(move || Self::start_here(files));
        starting.await.unwrap()
    }

    fn start_here(files: [(&str, Vec<u8>); 3]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("run/workstead/supervisor");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let mut child = Command::new(program())
            .arg("--root")
            .arg(root.path())
            .args(["--ready-port", "0", "--supervisor-port", "0"])
            .env("WORKSTEAD_PLAN", "{}")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            address: (Ipv4Addr::LOCALHOST, port(&mut said)).into(),
            _said: said,
            _root: root,
        }
    }
}

/// One with a key of its own.
pub struct Supervisor {
    _running: Running,
    pub address: SocketAddr,
    pub key: PublicKeyDigest,
}

impl Supervisor {
    pub async fn start(authority: &Authority) -> Self {
        let made = authority.supervisor(Timestamp::now()).unwrap();
        let running = Running::start([
            (TLS_CERTIFICATE, made.identity.certificate.into_bytes()),
            (TLS_KEY, made.identity.key.as_bytes().to_vec()),
            (TLS_CLIENTS, authority.certificate().as_bytes().to_vec()),
        ])
        .await;
        Self {
            address: running.address,
            key: made.public_key,
            _running: running,
        }
    }

    fn target(&self) -> Target {
        Target {
            address: self.address,
            key: self.key,
        }
    }
}

/// The port where it answers the controller, as it says itself: a port that was free a moment ago may be another's by now.
fn port(said: &mut impl BufRead) -> u16 {
    let mut lines = said.lines().map(Result::unwrap);
    let line = lines.find(|line| line.ends_with("for the controller"));
    let line = line.expect("it says its port");
    let mut words = line.split(' ');
    words.find_map(|word| word.parse().ok()).unwrap()
}

fn program() -> String {
    let out = Command::new("tests/e2e/cluster/cluster")
        .arg("supervisor")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success());
    let path = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    assert!(Path::new(&path).exists(), "{path}");
    path
}

#[tokio::test]
async fn a_supervisor_answers_who_has_its_key_and_its_authority_and_nobody_else() {
    let now = Timestamp::now();
    let (authority, _) = Authority::generate(now).unwrap();
    let (foreign, _) = Authority::generate(now).unwrap();
    let supervisor = Supervisor::start(&authority).await;
    let us = authority.client(Client::Controller, now).unwrap().identity;
    // It answers from the first moment on, its steps may take a little longer.
    let settled = eventually("the supervisor to have nothing to do", async || {
        let report = inspect(&us, supervisor.target()).await.unwrap();
        report.settled.then_some(report)
    })
    .await;
    assert!(!settled.steps.is_empty(), "{settled:?}");

    let other = authority.supervisor(now).unwrap().public_key;
    let wrong = Target {
        key: other,
        ..supervisor.target()
    };
    let error = inspect(&us, wrong).await.unwrap_err();
    assert!(matches!(error, DialError::Handshake(..)), "{error:?}");

    let stranger = foreign.client(Client::Controller, now).unwrap().identity;
    assert!(inspect(&stranger, supervisor.target()).await.is_err());
}

#[tokio::test]
async fn two_processes_that_begin_together_have_one_authority_and_a_garbled_one_is_told() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("keys").await.unwrap();
    let open = || Keys::open(plane.client(), &namespace, Timestamp::now());
    let (one, other) = tokio::join!(open(), open());
    drop((one.unwrap(), other.unwrap()));
    let secrets: Api<Secret> = Api::namespaced(plane.client(), &namespace);
    let kept = secrets.get("workstead-supervisor-ca").await.unwrap();
    assert_eq!(kept.immutable, Some(true));
    assert!(open().await.is_ok());
    let again = secrets.get("workstead-supervisor-ca").await.unwrap();
    assert_eq!(again.data, kept.data);

    secrets
        .delete("workstead-supervisor-ca", &Default::default())
        .await
        .unwrap();
    let garbled: Secret = serde_json::from_value(json!({
        "metadata": {"name": "workstead-supervisor-ca"},
        "stringData": {"tls.crt": "x", "tls.key": "canary"},
    }))
    .unwrap();
    secrets
        .create(&PostParams::default(), &garbled)
        .await
        .unwrap();
    let Err(error) = open().await else {
        panic!("it was opened");
    };
    let text = format!("{error} {:?}", std::error::Error::source(&error));
    assert!(text.contains("workstead-supervisor-ca"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}
