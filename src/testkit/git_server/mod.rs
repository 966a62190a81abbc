//! A real Git server over HTTP and HTTPS: `git http-backend` behind a front that counts, refuses, stalls and lies as a
//! test tells it to.
//!
//! It runs on a thread of its own, so that a test may block in libgit2.

mod answer;
mod repository;
mod script;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::control_plane::certificates::Authority;

pub use repository::{Change, Repository};
use script::Rule;
pub use script::{Access, Behaviour, GitRequest, On};

/// A running Git server. Dropping it ends it.
pub struct GitServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    authority: Option<String>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    // Removed last.
    _folder: TempDir,
}

struct Shared {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    access: Access,
    rules: Vec<Rule>,
    requests: Vec<GitRequest>,
    connections: usize,
    silent: bool,
}

impl GitServer {
    /// Starts one over HTTP.
    ///
    /// # Panics
    /// When the machine lets nobody listen, as all functions here do.
    pub fn start() -> Self {
        Self::run(None)
    }

    /// Starts one over HTTPS, with a certificate of an authority that nobody knows yet: [`GitServer::authority`].
    pub fn start_tls() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Authority::new("workstead-testkit-git").expect("a certificate");
        Self::run(Some(&authority))
    }

    fn run(authority: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = Arc::new(Shared {
            root: folder.path().to_owned(),
            state: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let acceptor = authority.map(acceptor);
        let (stop, stopped) = watch::channel(false);
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("git-server".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(serve(of_thread, listener, acceptor, stopped));
            })
            .expect("a thread");
        Self {
            shared,
            address,
            authority: authority.map(|authority| authority.certificate().to_owned()),
            stop,
            thread: Some(thread),
            _folder: folder,
        }
    }

    /// Makes an empty repository and gives it to clients as `<url>/<name>.git`.
    pub fn repository(&self, name: &str) -> Repository {
        let path = self.shared.root.join(format!("{name}.git"));
        Repository::init(&path, format!("{}/{name}.git", self.url()))
    }

    /// Where it listens: `http://127.0.0.1:<port>` or `https://…`.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate that vouches for it, as PEM; none over HTTP.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The same certificate as a file.
    pub fn authority_file(&self) -> Option<PathBuf> {
        let authority = self.authority.as_ref()?;
        let path = self.shared.root.join("authority.crt");
        std::fs::write(&path, authority).expect("a file in a folder of the kit");
        Some(path)
    }

    /// Says whom to let in.
    pub fn set_access(&self, access: Access) {
        self.shared.state().access = access;
    }

    /// Misbehaves with the next such request.
    pub fn once(&self, on: On, behaviour: Behaviour) {
        self.times(1, on, behaviour);
    }

    /// Misbehaves with so many such requests.
    pub fn times(&self, times: usize, on: On, behaviour: Behaviour) {
        self.shared.state().rules.push(Rule {
            on,
            behaviour,
            left: times,
        });
    }

    /// Misbehaves with every such request until [`GitServer::heal`].
    pub fn always(&self, on: On, behaviour: Behaviour) {
        self.times(usize::MAX, on, behaviour);
    }

    /// Takes connections and then does nothing with them, not even a handshake, until [`GitServer::heal`].
    pub fn be_silent(&self) {
        self.shared.state().silent = true;
    }

    /// Behaves again.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.silent = false;
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<GitRequest> {
        self.shared.state().requests.clone()
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Forgets what was asked.
    pub fn forget_requests(&self) {
        self.shared.state().requests.clear();
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn access(&self) -> Access {
        self.state().access.clone()
    }

    fn behaviour(&self, path: &str) -> Option<Behaviour> {
        let mut state = self.state();
        let rule = state
            .rules
            .iter_mut()
            .find(|rule| rule.left > 0 && rule.on.picks(path))?;
        rule.left -= 1;
        Some(rule.behaviour.clone())
    }

    fn record(&self, request: &Request<Incoming>) -> usize {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut state = self.state();
        state.requests.push(GitRequest {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            host: header("host").unwrap_or_default(),
            authorization: header("authorization"),
            status: None,
        });
        state.requests.len() - 1
    }

    fn answered(&self, entry: usize, status: u16) {
        // Forgotten in the meantime: then nobody asks.
        if let Some(request) = self.state().requests.get_mut(entry) {
            request.status = Some(status);
        }
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let identity = authority
        .server(&addresses, &["localhost"])
        .expect("a certificate");
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("a certificate of the kit");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key of the kit");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair of the kit");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                shared.state().connections += 1;
                connections.spawn(connection(shared.clone(), stream, acceptor.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    // What hangs by order of the script would hang for ever.
    connections.shutdown().await;
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    let silent = shared.state().silent;
    if silent {
        std::future::pending::<()>().await;
    }
    match acceptor {
        None => speak(shared, stream).await,
        // A client that does not trust us ends the handshake; that is its right.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                speak(shared, stream).await;
            }
        }
    }
}

async fn speak(shared: Arc<Shared>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request: Request<Incoming>| {
        let shared = shared.clone();
        async move { answer::answer(&shared, request).await }
    });
    // An error here is a client that left or a break by order: the request log says which.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
