//! The same script for programs of their own: a proxy between a process and the real API server.
//!
//! ```text
//! workstead controller ──TLS──▶ FaultProxy ──▶ script and record ──TLS──▶ kube-apiserver
//! ```
//!
//! The process reaches it by its kubeconfig ([`FaultProxy::kubeconfig`]) and brings its own token, which is passed on:
//! to the API server it is whom it is. The proxy only adds a user agent, by which the audit log tells one process from
//! another. Watches pass as streams. Nothing is compressed on the way, since events are read line by line.
//!
//! What is different from the layer in a client: this is *below* the retry of the client, which therefore meets 429,
//! 503 and 504 first; and a lost request or reply is a connection that the peer reset.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use http::header::{ACCEPT_ENCODING, CONNECTION, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::{Client, Config};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::BoxError;

use super::Faults;
use crate::testkit::control_plane::certificates::Identity;
use crate::testkit::control_plane::{ControlPlane, ControlPlaneError};

/// A running proxy for one process. Dropping it ends it.
pub struct FaultProxy {
    url: String,
    cut_off: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What every connection needs.
#[derive(Clone)]
struct Passage {
    client: Client,
    user_agent: HeaderValue,
    acceptor: TlsAcceptor,
    cut_off: watch::Receiver<bool>,
}

impl FaultProxy {
    /// Starts one. It runs on a thread of its own, so that a test may block.
    ///
    /// # Panics
    /// When the machine lets nobody listen, or the user agent can't be sent.
    pub fn start(plane: &ControlPlane, user_agent: &str, faults: &Faults) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let identity = plane.server_identity().expect("a certificate of the kit");
        let (cut_off, is_cut_off) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let making = Making {
            faults: faults.clone(),
            config: plane.config_of_nobody(),
            user_agent: HeaderValue::from_str(user_agent).expect("a user agent"),
            acceptor: acceptor(&identity),
            cut_off: is_cut_off,
        };
        let thread = std::thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async { serve(making.passage(), listener, stopped).await });
            })
            .expect("a thread");
        Self {
            url: format!("https://{address}"),
            cut_off,
            stop,
            thread: Some(thread),
        }
    }

    /// Writes a kubeconfig file with which a program reaches the API server through this proxy, as a ServiceAccount.
    ///
    /// # Errors
    /// When the API server refuses the token or the file can't be written.
    pub async fn kubeconfig(
        &self,
        plane: &ControlPlane,
        namespace: &str,
        service_account: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        plane
            .kubeconfig_through(&self.url, namespace, service_account)
            .await
    }

    /// Cuts the process off, as when a network cable is pulled: no connection ends, and nothing moves on any, be it
    /// old or new. What the API server has already been handed it carries out.
    pub fn cut_off(&self) {
        self.cut_off.send_replace(true);
    }

    /// Lets traffic through again. What was under way when it was cut off is lost.
    pub fn restore(&self) {
        self.cut_off.send_replace(false);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Making {
    faults: Faults,
    config: Config,
    user_agent: HeaderValue,
    acceptor: TlsAcceptor,
    cut_off: watch::Receiver<bool>,
}

impl Making {
    /// In the runtime of the proxy: the client's connections live there.
    fn passage(self) -> Passage {
        Passage {
            client: self.faults.client(self.config),
            user_agent: self.user_agent,
            acceptor: self.acceptor,
            cut_off: self.cut_off,
        }
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
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
    passage: Passage,
    listener: std::net::TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(passage.clone(), stream));
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    // Watches, and what hangs by order of the script, would go on for ever.
    connections.shutdown().await;
}

async fn connection(passage: Passage, stream: TcpStream) {
    // However it ends, the peer sees a reset and not an orderly end.
    let _ = stream.set_zero_linger();
    let _ = stream.set_nodelay(true);
    let mut cut_off = passage.cut_off.clone();
    let mut speaking = std::pin::pin!(speak(passage, stream));
    tokio::select! {
        biased;
        cut = cut_off.wait_for(|cut| *cut) => if cut.is_err() { return },
        () = speaking.as_mut() => return,
    }
    // Held, and not polled any more, until there is a network again; then it is lost.
    let _ = cut_off.wait_for(|cut| !*cut).await;
}

async fn speak(passage: Passage, stream: TcpStream) {
    // A client that left is no fault; nor is a break by order of the script, which the record names.
    let Ok(stream) = passage.acceptor.clone().accept(stream).await else {
        return;
    };
    let service = service_fn(|request| pass(&passage, request));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Passes a request on, and its answer back. An error breaks the connection.
async fn pass(passage: &Passage, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    // Those of this one connection, and compression.
    for name in [HOST, CONNECTION, TRANSFER_ENCODING, ACCEPT_ENCODING] {
        head.headers.remove(name);
    }
    head.headers.insert(USER_AGENT, passage.user_agent.clone());
    let request = Request::from_parts(head, Body::from(body));
    let mut response = passage.client.send(request).await?;
    for name in [CONNECTION, TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    Ok(response)
}
