//! `workstead doctor` against proxies and providers of our own, each wrong in one thing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use workstead::testkit::control_plane::certificates::Authority;

use super::{Ran, binary, offline, write};

/// What a server answers to a path: status, header lines, body.
type Answer = (u16, Vec<String>, String);

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Serves by TLS until the test process ends.
fn serve(
    listener: TcpListener,
    authority: &Authority,
    names: &[&str],
    answer: impl Fn(&str) -> Answer + Send + 'static,
) {
    let identity = authority.server(&[], names).unwrap();
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket.unwrap());
            // Whoever only wants to see the certificate sends nothing.
            drop(converse(&mut stream, &answer));
        }
    });
}

fn converse(
    stream: &mut (impl std::io::Read + std::io::Write),
    answer: &impl Fn(&str) -> Answer,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, lines, body) = answer(path);
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{lines}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

/// An installation that is right in everything, until a test changes a part.
struct World {
    folder: TempDir,
    authority: Authority,
    certificate_names: Vec<&'static str>,
    is_proxy: bool,
    metadata: Value,
    token: (u16, Value),
    knows_redirect: bool,
    date: String,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new(&format!("{:08x}", rand::random::<u32>())).unwrap(),
            certificate_names: vec!["*.work.example.com", "login.example.net"],
            is_proxy: true,
            metadata: json!({}),
            token: (400, json!({"error": "invalid_grant"})),
            knows_redirect: true,
            date: jiff::fmt::rfc2822::to_string(
                &jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC),
            )
            .unwrap(),
        }
    }

    fn certificates(&self) -> PathBuf {
        write(self.folder.path(), "ca.crt", self.authority.certificate())
    }

    fn proxy(&self) -> u16 {
        let mut lines = vec![format!("date: {}", self.date)];
        if self.is_proxy {
            lines.push("x-workstead-proxy: not-found".to_owned());
        }
        let (listener, port) = listen();
        serve(
            listener,
            &self.authority,
            &self.certificate_names,
            move |_| (404, lines.clone(), "{}".to_owned()),
        );
        port
    }

    fn provider(&self, listener: TcpListener, metadata: Value) {
        let (token, knows) = (self.token.clone(), self.knows_redirect);
        let date = vec![format!("date: {}", self.date)];
        serve(listener, &self.authority, &["localhost"], move |path| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            match path {
                "/.well-known/openid-configuration" => (200, date.clone(), metadata.to_string()),
                "/keys" => (200, vec![], json!({"keys": [{"kty": "RSA"}]}).to_string()),
                "/token" => (token.0, vec![], token.1.to_string()),
                "/authorize" if knows => {
                    let back = "https://login.example.net/.workstead-proxy/oidc/callback";
                    assert!(query.contains("prompt=none"), "{query}");
                    let line = format!("location: {back}?error=login_required&state=x");
                    (303, vec![line], String::new())
                }
                _ => (400, vec![], "redirect_uri is not registered".to_owned()),
            }
        });
    }

    /// Runs the doctor, and gives its findings by step.
    fn examine(self) -> (i32, Value) {
        let port = self.proxy();
        self.examine_at(port)
    }

    fn examine_at(self, proxy: u16) -> (i32, Value) {
        let (listener, port) = listen();
        let base = format!("https://localhost:{port}");
        let mut metadata = json!({
            "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"), "jwks_uri": format!("{base}/keys"),
            "code_challenge_methods_supported": ["S256"],
        });
        super::merge(&mut metadata, self.metadata.clone());
        self.provider(listener, metadata);
        let list = write(
            self.folder.path(),
            "suffixes",
            "com\nnet\nwork.example.com\n",
        );
        let certificates = self.certificates();
        let ran = Ran::of(
            binary()
                .env("KUBECONFIG", "/nowhere")
                .args(["doctor", "-o", "json", "--base-domain=work.example.com"])
                .args([
                    "--auth-host=login.example.net",
                    "--oidc-client-id=workstead",
                ])
                .arg(format!("--oidc-issuer={base}"))
                .arg(format!("--ca-file={}", certificates.display()))
                .arg(format!("--public-suffix-list={}", list.display()))
                .arg(format!("--connect-to=127.0.0.1:{proxy}"))
                .output()
                .unwrap(),
        );
        let report: Value = serde_json::from_str(&ran.out)
            .unwrap_or_else(|_| panic!("out:\n{}\nerr:\n{}", ran.out, ran.err));
        (ran.code, report)
    }
}

fn finding<'a>(report: &'a Value, step: &str) -> &'a Value {
    let all = report["findings"].as_array().unwrap();
    all.iter()
        .find(|finding| finding["step"] == step)
        .unwrap_or_else(|| panic!("no {step} in {report:#}"))
}

/// One step is wrong, says this and names a fix; the run ends with 1.
fn is_wrong((code, report): (i32, Value), step: &str, said: &str) {
    let found = finding(&report, step);
    assert_eq!(found["verdict"], "wrong", "{report:#}");
    assert!(found.to_string().contains(said), "no '{said}' in {found:#}");
    assert!(found["fix"].is_string(), "{found:#}");
    assert_eq!((code, &report["well"]), (1, &json!(false)), "{report:#}");
}

#[test]
fn an_installation_that_is_right_is_found_to_be_right() {
    let (code, report) = World::new().examine();
    for step in [
        "layout",
        "certificate",
        "reachability",
        "OIDC discovery",
        "OIDC client",
        "redirect URI",
        "clock",
    ] {
        assert_eq!(finding(&report, step)["verdict"], "good", "{report:#}");
    }
    assert_eq!((code, &report["well"]), (0, &json!(true)));
}

#[test]
fn a_certificate_that_does_not_cover_the_auth_host_is_named() {
    let mut world = World::new();
    world.certificate_names = vec!["*.work.example.com"];
    is_wrong(
        world.examine(),
        "certificate",
        "does not cover login.example.net",
    );
}

#[test]
fn a_certificate_for_the_domain_alone_covers_no_workspace() {
    let mut world = World::new();
    world.certificate_names = vec!["work.example.com", "login.example.net"];
    is_wrong(
        world.examine(),
        "certificate",
        "a wildcard covers one label",
    );
}

#[test]
fn an_authority_that_nobody_knows_and_a_chain_that_is_not_sent_are_named() {
    let world = World::new();
    let other = World::new();
    // Signed by another authority than the one that is trusted here.
    is_wrong(world.examine_at(other.proxy()), "certificate", "tls.crt");
}

#[test]
fn whoever_does_not_listen_and_whoever_is_somebody_else_are_told_apart() {
    let world = World::new();
    let (listener, nobody) = listen();
    drop(listener);
    is_wrong(
        world.examine_at(nobody),
        "certificate",
        "Service workstead-proxy",
    );
    let mut world = World::new();
    world.is_proxy = false;
    is_wrong(world.examine(), "reachability", "somebody else answers");
}

#[test]
fn what_is_wrong_with_the_provider_is_named_with_its_fix() {
    let mut world = World::new();
    world.metadata = json!({"issuer": "https://other.example.com"});
    is_wrong(
        world.examine(),
        "OIDC discovery",
        "proxy.oidc.issuer=https://other.example.com",
    );
    let mut world = World::new();
    world.metadata = json!({"code_challenge_methods_supported": ["plain"]});
    is_wrong(world.examine(), "OIDC discovery", "assumeS256");
    let mut world = World::new();
    world.metadata = json!({"jwks_uri": "https://localhost:1/keys"});
    is_wrong(
        world.examine(),
        "OIDC discovery",
        "https://localhost:1/keys",
    );
    let mut world = World::new();
    world.token = (401, json!({"error": "invalid_client"}));
    is_wrong(world.examine(), "OIDC client", "proxy.oidc.clientId");
    let mut world = World::new();
    world.knows_redirect = false;
    is_wrong(
        world.examine(),
        "redirect URI",
        "https://login.example.net/.workstead-proxy/oidc/callback",
    );
}

#[test]
fn clocks_that_are_apart_are_shown() {
    let mut world = World::new();
    world.date = "Tue, 01 Dec 2015 10:00:00 GMT".to_owned();
    is_wrong(world.examine(), "clock", "NTP");
}

#[test]
fn names_that_lead_nowhere_are_the_first_that_is_wrong() {
    let ran = offline(&[
        "doctor",
        "--base-domain=work.invalid",
        "--oidc-issuer=https://id.invalid",
        "--oidc-client-id=workstead",
    ]);
    let out = ran.ended(1);
    assert!(out.contains("*.work.invalid leads nowhere"), "{out}");
    assert!(
        out.contains("fix: add a wildcard record *.work.invalid"),
        "{out}"
    );
}

#[test]
fn without_a_cluster_and_without_a_domain_nothing_can_be_looked_at() {
    offline(&["doctor"]).complained(2, &["kubeconfig"]);
    offline(&["doctor", "--base-domain=work.example.com"]).complained(2, &["--oidc-issuer"]);
}
