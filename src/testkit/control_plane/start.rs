//! Starting the programs, with the flags that make them safe beside each other and quick.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Config};
use kube::{Client, Error};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::certificates::{Authority, Identity};
use super::keeper::Keeper;
use super::{ControlPlane, ControlPlaneError, audit, binaries, path_text};

/// How long the API server may take: about three seconds where nothing else runs.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// How often it is tried with other ports: between our choice and the program's bind somebody else may take one.
const ATTEMPTS: u32 = 3;

pub(super) async fn start() -> Result<ControlPlane, ControlPlaneError> {
    // Two TLS providers in one process make the implicit choice panic; whoever came first has chosen ours too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let programs = tokio::task::spawn_blocking(binaries::folder)
        .await
        .map_err(io::Error::other)??;
    let mut attempt = 1;
    loop {
        match try_start(&programs).await {
            Err(ControlPlaneError::Start { log, .. })
                if attempt < ATTEMPTS && log.contains("address already in use") =>
            {
                attempt += 1;
            }
            other => return other,
        }
    }
}

async fn try_start(programs: &Path) -> Result<ControlPlane, ControlPlaneError> {
    // The keeper removes it, so that it goes even when this process is killed.
    let folder = tempfile::Builder::new()
        .prefix("workstead-control-plane-")
        .tempdir()?
        .keep();
    let mut keeper = Keeper::start(folder.clone())?;
    let [etcd, peer, server] = free_ports()?;
    let authority = Authority::new("workstead-testkit")?;
    let admin = authority.client("admin", "system:masters")?;
    let url = format!("https://127.0.0.1:{server}");
    write_files(&folder, &url, &authority, &admin)?;
    keeper.run(
        "etcd",
        &programs.join("etcd"),
        &etcd_arguments(&folder, etcd, peer),
    )?;
    keeper.run(
        "kube-apiserver",
        &programs.join("kube-apiserver"),
        &server_arguments(&folder, etcd, server),
    )?;
    let plane = ControlPlane {
        keeper: Mutex::new(keeper),
        folder,
        programs: programs.to_owned(),
        url,
        authority,
        admin,
    };
    wait_until_ready(&plane).await?;
    Ok(plane)
}

pub(super) async fn controller_manager(plane: &ControlPlane) -> Result<(), ControlPlaneError> {
    const NAME: &str = "kube-controller-manager";
    if plane.keeper().process_id(NAME).is_some() {
        return Ok(());
    }
    let [port] = free_ports()?;
    let manager = plane
        .authority
        .client("system:kube-controller-manager", "system:masters")?;
    let path = plane.file("kubeconfig-controller-manager");
    write_kubeconfig(
        &path,
        &plane.url,
        &plane.authority,
        client_auth(&manager),
        "default",
    )?;
    let path = path_text(&path);
    let arguments = [
        format!("--kubeconfig={path}"),
        format!("--authentication-kubeconfig={path}"),
        format!("--authorization-kubeconfig={path}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // It makes a self-signed certificate there.
        format!(
            "--cert-dir={}",
            path_text(&plane.file("controller-manager"))
        ),
        "--leader-elect=false".to_owned(),
        format!("--root-ca-file={}", path_text(&plane.file("ca.crt"))),
        format!(
            "--service-account-private-key-file={}",
            path_text(&plane.file("accounts.key"))
        ),
        "--use-service-account-credentials=false".to_owned(),
    ];
    plane
        .keeper()
        .run(NAME, &plane.programs.join(NAME), &arguments)?;
    let ready = async {
        // It serves its health by TLS with a certificate of its own making; that it accepts connections is enough,
        // since tests wait for what it does anyway.
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            if plane.keeper().has_ended(NAME) {
                return Err("it ended".to_owned());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    let outcome = timeout(READY_WITHIN, ready)
        .await
        .unwrap_or_else(|_| Err(format!("not ready after {READY_WITHIN:?}")));
    outcome.map_err(|reason| ControlPlaneError::Start {
        program: NAME,
        reason,
        log: plane.keeper().log_tail(NAME),
    })
}

fn etcd_arguments(folder: &Path, client: u16, peer: u16) -> Vec<String> {
    let client = format!("http://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    vec![
        format!("--data-dir={}", path_text(&folder.join("etcd"))),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data need not survive a power cut.
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn server_arguments(folder: &Path, etcd: u16, port: u16) -> Vec<String> {
    let file = |name: &str| path_text(&folder.join(name));
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // Nobody reaches it through the Service `kubernetes`, and a loopback address can't be an endpoint.
        "--advertise-address=192.0.2.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16,fd96::/112".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
        // Megabytes: one file, so that a long test finds its beginning.
        "--audit-log-maxsize=4096".to_owned(),
    ]
}

fn write_files(
    folder: &Path,
    url: &str,
    authority: &Authority,
    admin: &Identity,
) -> Result<(), ControlPlaneError> {
    let server = authority.server(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], &["localhost"])?;
    let accounts = KeyPair::generate()?;
    let files = [
        ("ca.crt", authority.certificate().to_owned()),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("accounts.key", accounts.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
        ("audit.yaml", audit::POLICY.to_owned()),
        ("audit.log", String::new()),
    ];
    for (name, content) in files {
        std::fs::write(folder.join(name), content)?;
    }
    let path: PathBuf = folder.join("kubeconfig");
    write_kubeconfig(&path, url, authority, client_auth(admin), "default")
}

fn client_auth(identity: &Identity) -> Value {
    json!({
        "client-certificate-data": STANDARD.encode(&identity.certificate),
        "client-key-data": STANDARD.encode(&identity.key),
    })
}

/// Writes a kubeconfig file; JSON, which every reader of YAML understands.
pub(super) fn write_kubeconfig(
    path: &Path,
    url: &str,
    authority: &Authority,
    user: Value,
    namespace: &str,
) -> Result<(), ControlPlaneError> {
    let name = "testkit";
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(authority.certificate()),
        }}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    });
    Ok(std::fs::write(path, text.to_string())?)
}

/// Settings of a client; its certificates are those that we just made.
pub(super) fn config(url: &str, authority: &Authority, identity: &Identity) -> Config {
    let mut config = Config::new(url.parse().expect("an address of the kit"));
    let authority = authority.certificate().as_bytes();
    let authority = rustls::pki_types::pem::PemObject::pem_slice_iter(authority)
        .map(|one: Result<rustls::pki_types::CertificateDer<'_>, _>| one.map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .expect("a certificate of the kit");
    config.root_cert = Some(authority);
    config.auth_info = AuthInfo {
        client_certificate_data: Some(STANDARD.encode(&identity.certificate)),
        client_key_data: Some(STANDARD.encode(&identity.key).into()),
        ..AuthInfo::default()
    };
    // By default 429, 503 and 504 are tried again up to 15 times, so that a test would never see its own fault.
    config.default_retry = false;
    config
}

async fn wait_until_ready(plane: &ControlPlane) -> Result<(), ControlPlaneError> {
    let client = plane.client();
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let answer = timeout(Duration::from_secs(5), ready(&client)).await;
        let reason = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 5 s".to_owned(),
        };
        let ended = ["etcd", "kube-apiserver"]
            .into_iter()
            .find(|program| plane.keeper().has_ended(program));
        if ended.is_some() || Instant::now() > deadline {
            let program = ended.unwrap_or("kube-apiserver");
            return Err(ControlPlaneError::Start {
                program,
                reason: if ended.is_some() {
                    "it ended".to_owned()
                } else {
                    format!("not ready after {READY_WITHIN:?}: {reason}")
                },
                log: plane.keeper().log_tail(program),
            });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn ready(client: &Client) -> Result<(), Error> {
    let request = http::Request::get("/readyz")
        .body(Vec::new())
        .map_err(Error::HttpError)?;
    client.request_text(request).await.map(|_| ())
}

/// Ports that are free now. All are held until the last one is chosen, so that they differ.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
