//! Other programs: the origin behind all proxies, and what ours is held against. Each with one thread, without an access
//! log, and with the lines about the client that ours adds.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use workstead::testkit::control_plane::certificates::Identity;
use workstead::testkit::wait::eventually;

use crate::program::{Program, installed};

/// What the origin answers: 84 bytes.
const BODY: &str =
    "An answer as short as those that editors ask for most, many times while a page opens";
/// The large file: 100 MB.
pub(crate) const LARGE: u64 = 100 * 1000 * 1000;
/// Longer than any figure takes.
const LONG: &str = "1h";

/// The proxies of this machine that lead to one app, and the origin's address.
pub(crate) struct Behind {
    /// nginx with the short answer and the large file.
    pub(crate) origin: SocketAddr,
    /// WebSockets and uploads.
    pub(crate) app: SocketAddr,
}

/// An nginx as a proxy.
pub(crate) struct Nginx {
    pub(crate) program: Program,
    pub(crate) plain: SocketAddr,
    /// Asks for each request whether it may pass.
    pub(crate) asking: SocketAddr,
    /// HTTP/1.1 and HTTP/2.
    pub(crate) tls: SocketAddr,
    _folder: TempDir,
}

/// HAProxy.
pub(crate) struct HaProxy {
    pub(crate) program: Program,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    _folder: TempDir,
}

/// The origin: a static answer, a file, and the word that whoever asks may pass.
pub(crate) async fn origin(address: SocketAddr, folder: &Path) -> Program {
    assert_eq!(BODY.len(), 84);
    let large = std::fs::File::create(folder.join("large")).unwrap();
    large.set_len(LARGE).unwrap();
    let servers = format!(
        "server {{
            listen {address};
            location = /large {{ root {folder}; sendfile on; }}
            location = /may-pass {{ return 204; }}
            location / {{ default_type text/plain; return 200 \"{BODY}\"; }}
        }}",
        folder = folder.display()
    );
    let program = nginx(&servers, folder);
    until_open(address).await;
    program
}

impl Nginx {
    /// Starts one.
    pub(crate) async fn start(behind: &Behind, identity: &Identity) -> Self {
        let folder = TempDir::new().unwrap();
        let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
        std::fs::write(&certificate, &identity.certificate).unwrap();
        std::fs::write(&key, &identity.key).unwrap();
        let [plain, asking, tls] = [free(), free(), free()];
        let mut servers = String::new();
        for (name, address) in [("origin", behind.origin), ("app", behind.app)] {
            writeln!(
                servers,
                "upstream {name} {{ server {address}; keepalive 64; keepalive_requests 1000000000; keepalive_time {LONG}; }}"
            )
            .unwrap();
        }
        let asks = "auth_request /may-pass;";
        let asked = "location = /may-pass { internal; proxy_pass http://origin; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\"; }";
        let locations = locations();
        write!(
            servers,
            "server {{ listen {plain}; {locations} }}
             server {{ listen {asking}; {asks} {asked} {locations} }}
             server {{ listen {tls} ssl http2; ssl_certificate {}; ssl_certificate_key {}; {locations} }}",
            certificate.display(),
            key.display()
        )
        .unwrap();
        let program = nginx(&servers, folder.path());
        for address in [plain, asking, tls] {
            until_open(address).await;
        }
        Self {
            program,
            plain,
            asking,
            tls,
            _folder: folder,
        }
    }
}

/// Bodies are copied as they come, as ours are, by pieces of the same size; nothing goes to a file.
fn locations() -> String {
    format!(
        "client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection \"\";
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        location / {{ proxy_pass http://origin; }}
        location = /large {{
            proxy_pass http://origin;
            proxy_max_temp_file_size 0;
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
            proxy_busy_buffers_size 32k;
        }}
        location = /upload {{
            proxy_pass http://app;
            proxy_request_buffering off;
            client_body_buffer_size 16k;
        }}
        location = /socket {{
            proxy_pass http://app;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout {LONG};
            proxy_send_timeout {LONG};
        }}"
    )
}

/// nginx as one process, which works by itself.
fn nginx(servers: &str, folder: &Path) -> Program {
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    let text = format!(
        "daemon off;
        master_process off;
        pid {at}/pid;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 19000; }}
        http {{
            access_log off;
            keepalive_requests 1000000000;
            keepalive_timeout {LONG};
            keepalive_time {LONG};
            tcp_nodelay on;
            {temporary}
            {servers}
        }}"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(installed("nginx"));
    command.arg("-e").arg(folder.join("error.log"));
    command.arg("-p").arg(folder).arg("-c").arg(&file);
    Program::start(&mut command, &folder.join("nginx.log"))
}

impl HaProxy {
    /// Starts one.
    pub(crate) async fn start(behind: &Behind, identity: &Identity) -> Self {
        let folder = TempDir::new().unwrap();
        let both = folder.path().join("both.pem");
        std::fs::write(&both, format!("{}{}", identity.certificate, identity.key)).unwrap();
        let (plain, tls) = (free(), free());
        let text = format!(
            "global\n nbthread 1\n maxconn 9000\n\
             defaults\n mode http\n timeout connect 5s\n timeout http-request 10s\n timeout client {LONG}\n timeout server {LONG}\n timeout tunnel {LONG}\n\
             frontend front\n bind {plain}\n bind {tls} ssl crt {}\n option forwardfor\n default_backend app\n\
             backend app\n server app {}\n",
            both.display(),
            behind.app
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(installed("haproxy"));
        command.arg("-db").arg("-f").arg(&file);
        let program = Program::start(&mut command, &folder.path().join("haproxy.log"));
        until_open(plain).await;
        until_open(tls).await;
        Self {
            program,
            plain,
            tls,
            _folder: folder,
        }
    }
}

/// A port that nobody has.
pub(crate) fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Waits until somebody listens.
pub(crate) async fn until_open(address: SocketAddr) {
    let what = format!("somebody who listens at {address}");
    eventually(&what, async || {
        let connect = tokio::net::TcpStream::connect(address);
        let connected = tokio::time::timeout(Duration::from_secs(1), connect).await;
        connected.ok()?.ok()
    })
    .await;
}
