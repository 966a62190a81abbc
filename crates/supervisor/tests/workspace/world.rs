//! A folder that stands for the root of a container, the real supervisor in it, and those who ask it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use workstead_link::{Plan, Report, Request, Step, StepKind};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_workstead-supervisor");

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// An authority and what it signs.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn sign(&self, uri: Option<&str>, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if let Some(uri) = uri {
            params
                .subject_alt_names
                .push(SanType::URI(uri.try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The folder and the ports.
pub struct World {
    folder: TempDir,
    pub clients: Authority,
    servers: Authority,
    pub supervisor_port: u16,
    pub ready_port: u16,
    pub plan: Plan,
    /// How long Git may say nothing, in seconds.
    pub git_silence: u16,
}

pub fn free_port() -> u16 {
    TcpListener::bind("[::]:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let (clients, servers) = (Authority::new(), Authority::new());
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            supervisor_port: free_port(),
            ready_port: free_port(),
            clients,
            servers,
            plan,
            git_silence: 60,
        };
        for folder in ["projects", "opt/workstead/bin", "run/workstead/supervisor"] {
            fs::create_dir_all(world.at(folder)).unwrap();
        }
        for program in ["git", "ssh"] {
            let found = ["/usr/bin", "/bin", "/usr/local/bin"]
                .map(|folder| Path::new(folder).join(program));
            if let Some(found) = found.iter().find(|file| file.exists()) {
                symlink(found, world.at("opt/workstead/bin").join(program)).unwrap();
            }
        }
        let own = world.servers.sign(None, &["workspace"]);
        world.write("run/workstead/supervisor/tls.crt", &own.certificate);
        world.write("run/workstead/supervisor/tls.key", &own.key);
        world.write("run/workstead/supervisor/ca.crt", &world.clients.pem);
        world
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn secret(&self, name: &str, files: &[(&str, &str)]) {
        for (key, value) in files {
            let path = format!("run/workstead/git-credentials/{name}/{key}");
            self.write(&path, value);
            fs::set_permissions(self.at(&path), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// Files of sealed sets, as the kubelet mounts them: entries are links into a folder that is named by time.
    pub fn sealed(&self, files: &[(&str, &str)]) {
        let mount = self.at("run/workstead/files");
        for (path, value) in files {
            self.write(&format!("run/workstead/files/..2026/{path}"), value);
            let first = path.split('/').next().unwrap();
            let _ = symlink(format!("..data/{first}"), mount.join(first));
        }
        symlink("..2026", mount.join("..data")).unwrap();
    }

    pub fn start(&self, command: &[&str]) -> Supervisor {
        let plan = serde_json::to_string(&self.plan).unwrap();
        self.start_with(Some(&plan), command)
    }

    pub fn start_with(&self, plan: Option<&str>, command: &[&str]) -> Supervisor {
        let (out, err) = (self.at("stdout"), self.at("stderr"));
        let mut supervisor = Command::new(SUPERVISOR);
        supervisor
            .arg("--root")
            .arg(self.folder.path())
            .args(["--supervisor-port", &self.supervisor_port.to_string()])
            .args(["--ready-port", &self.ready_port.to_string()])
            .args(["--git-silence", &self.git_silence.to_string()])
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("WORKSTEAD_PLAN")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&err).unwrap());
        if let Some(plan) = plan {
            supervisor.env("WORKSTEAD_PLAN", plan);
        }
        if !command.is_empty() {
            supervisor.arg("--").args(command);
        }
        Supervisor {
            child: supervisor.spawn().unwrap(),
            files: [out, err],
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.servers.pem.as_bytes()).unwrap())
            .unwrap();
        roots
    }

    /// A TLS connection with this certificate, or without one.
    pub fn connect(&self, identity: Option<&Identity>) -> StreamOwned<ClientConnection, TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => config
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        let name = ServerName::try_from("workspace").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, self.plain())
    }

    /// A connection, as soon as somebody listens.
    pub fn plain(&self) -> TcpStream {
        let begun = now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.supervisor_port)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return stream;
                }
                Err(error) if begun.elapsed() > PATIENCE => panic!("nobody listens: {error}"),
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
    }

    pub fn controller(&self) -> Identity {
        self.clients.sign(Some("workstead://controller"), &[])
    }

    /// All reports of one request.
    pub fn ask(&self, request: Request) -> Vec<Report> {
        let mut stream = self.connect(Some(&self.controller()));
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(b'\n');
        stream.write_all(&line).unwrap();
        let lines = BufReader::new(stream).lines();
        lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }

    /// The last report, when all steps are settled.
    pub fn settled(&self) -> Report {
        let report = self.ask(Request::Watch).pop().unwrap();
        assert!(report.settled, "{report:?}");
        report
    }

    /// The status line of the kubelet's question.
    pub fn ready(&self) -> String {
        let begun = now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.ready_port)) {
                Ok(mut stream) => {
                    stream
                        .write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
                        .unwrap();
                    let mut text = String::new();
                    stream.read_to_string(&mut text).unwrap();
                    return text.lines().next().unwrap_or_default().to_owned();
                }
                Err(error) if begun.elapsed() > PATIENCE => panic!("nobody listens: {error}"),
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// The steps of a kind.
pub fn steps(report: &Report, kind: StepKind) -> Vec<Step> {
    report
        .steps
        .iter()
        .filter(|step| step.kind == kind)
        .cloned()
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "a test waits for real processes")]
pub fn now() -> Instant {
    Instant::now()
}

/// The running supervisor; ended with the test.
pub struct Supervisor {
    child: Child,
    files: [PathBuf; 2],
}

impl Supervisor {
    pub fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// The forked process.
    pub fn branch(&self) -> Pid {
        let begun = now();
        loop {
            let file = format!("/proc/{0}/task/{0}/children", self.child.id());
            let text = fs::read_to_string(file).unwrap();
            if let Some(first) = text.split_whitespace().next() {
                return Pid::from_raw(first.parse().unwrap()).unwrap();
            }
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(5));
        }
    }

    /// What it and its children have printed.
    pub fn log(&self) -> String {
        self.files
            .iter()
            .map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned())
            .collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The exit code and how long it took to come.
    pub fn ends(&mut self) -> (Option<i32>, Duration) {
        let begun = now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "it still runs");
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the log has a text.
    pub fn says(&self, text: &str) {
        let begun = now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no '{text}' in: {}", self.log());
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The branch ends its children when the first process asks it to; a dead one can't ask.
        if self.is_alive() {
            self.signal(Signal::TERM);
            let begun = now();
            while self.is_alive() && begun.elapsed() < Duration::from_secs(8) {
                sleep(Duration::from_millis(10));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
