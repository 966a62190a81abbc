//! A replica of the proxy: the program itself, its wire to the API server, its place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use workstead::testkit::wait::{PATIENCE, within};
use workstead::testkit::{ControlPlane, FaultProxy, Faults};

use super::browser::Line;

/// What browsers call it, and where it listens, on an address of its own.
pub const PORT: u16 = 8000;
const HEALTH_PORT: u16 = 8080;
/// Below it workspaces open.
pub const DOMAIN: &str = "workstead.localhost";
/// How long new connections are still taken, in seconds, and how long old ones may go on after that.
const LAG: &str = "2s";
const LIMIT: &str = "6s";
/// More logins than any test makes: these tests are not about limits.
const MANY: &str = "10000";

/// One that runs, or ran: it can be started again in its place.
pub struct Replica {
    /// Where it listens.
    pub at: SocketAddr,
    /// What goes wrong on its wire.
    pub faults: Faults,
    /// Its wire.
    pub wire: FaultProxy,
    namespace: String,
    kubeconfig: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Replica {
    /// Starts one at an address of this machine, and waits until it says that it is ready.
    pub async fn start(
        plane: &ControlPlane,
        namespace: &str,
        address: Ipv4Addr,
        folder: &Path,
    ) -> Self {
        let faults = Faults::new();
        let agent = format!("{namespace}/{address}");
        let wire = FaultProxy::start(plane, &agent, &faults);
        let kubeconfig = wire.kubeconfig(plane, namespace, "default").await.unwrap();
        let log = folder.join(format!("{address}.log"));
        let child = start(namespace, address, &kubeconfig, &log);
        let replica = Self {
            at: (address, PORT).into(),
            faults,
            wire,
            namespace: namespace.to_owned(),
            kubeconfig,
            log,
            child,
        };
        replica.until_ready().await;
        replica
    }

    /// Starts it again, once it has ended.
    pub async fn start_again(&mut self) {
        let address = match self.at.ip() {
            IpAddr::V4(address) => address,
            IpAddr::V6(address) => panic!("{address} is none of ours"),
        };
        self.child = start(&self.namespace, address, &self.kubeconfig, &self.log);
        self.until_ready().await;
    }

    /// What it says of itself to whoever sends connections to it.
    pub async fn is_ready(&self) -> bool {
        is_ready(self.at).await
    }

    async fn until_ready(&self) {
        let ready = within(PATIENCE, async || self.is_ready().await.then_some(()));
        assert!(ready.await.is_some(), "not ready:\n{}", self.log());
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end, as the kubelet does.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = within(PATIENCE, || {
            std::future::ready(self.child.try_wait().unwrap())
        })
        .await;
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a replica says of itself to whoever sends connections to it.
pub async fn is_ready(at: SocketAddr) -> bool {
    let health = SocketAddr::new(at.ip(), HEALTH_PORT);
    let Ok(mut line) = Line::open(health).await else {
        return false;
    };
    let request = "GET /readyz HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n";
    matches!(line.ask(request).await, Ok(Some(page)) if page.status == 200)
}

fn start(namespace: &str, address: Ipv4Addr, kubeconfig: &Path, log: &Path) -> Child {
    let file = std::fs::File::options().create(true).append(true).open(log);
    let at = |port| SocketAddr::from((address, port)).to_string();
    Command::new(env!("CARGO_BIN_EXE_workstead"))
        .args(["proxy", "--namespace", namespace])
        .args(["--watch-namespace", namespace])
        .args(["--identity", &format!("proxy-{address}")])
        .args(["--local-domain", DOMAIN])
        .args(["--local-address", &at(PORT)])
        .args(["--local-port", &PORT.to_string()])
        .args(["--health-address", &at(HEALTH_PORT)])
        .args(["--drain-lag", LAG, "--drain-limit", LIMIT])
        .args(["--limit-logins-per-user", MANY])
        .args(["--limit-logins-per-address", MANY])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file.unwrap())
        .spawn()
        .unwrap()
}
