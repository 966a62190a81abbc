//! The conversation with controller and proxy: TLS 1.3, a certificate from both, one request, reports.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustix::net::{RecvFlags, recv, sockopt};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use workstead_link::{
    CONTROLLER_IDENTITY, LINE_LIMIT, PROXY_IDENTITY, Report, Request, SUPERVISOR_FILES_PATH,
    TLS_CERTIFICATE, TLS_CLIENTS, TLS_KEY,
};

use super::Board;
use super::deadline::Deadline;
use super::guests::Place;
use super::{guests, report};
use crate::places::Places;

/// How many may be connected at once. A controller and a few proxies ask; more are hung up on.
const CLIENTS: usize = 32;

/// How many of them may stay. The other places are for those who come and go, the controller above all.
const STAYING: usize = 24;

/// A proxy that vanished without a word is found out after the silence and the probes.
const SILENCE: Duration = Duration::from_secs(60);
const PROBES: (u32, Duration) = (3, Duration::from_secs(10));

/// For the handshake and the request: who has no certificate keeps a place no longer than this.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// For one report on its way to a client that reads slowly.
const REPORT_TIME: Duration = Duration::from_secs(10);

/// How often the ports are looked at while somebody watches.
const LOOK: Duration = Duration::from_millis(250);

type Secured = StreamOwned<ServerConnection, Deadline>;

/// What the conversation needs.
pub struct Door {
    /// Where certificate, key and client authority are. They are read for each connection: they may be renewed, and
    /// between two connections they need no memory.
    folder: PathBuf,
    provider: Arc<CryptoProvider>,
    board: Arc<Board>,
    own_ports: [u16; 2],
    staying: Arc<AtomicUsize>,
}

impl Door {
    /// With the files where the pod has them.
    pub fn new(board: &Arc<Board>, places: &Places) -> Self {
        Self {
            folder: places.at(SUPERVISOR_FILES_PATH),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            board: Arc::clone(board),
            own_ports: [places.supervisor_port, places.ready_port],
            staying: Arc::default(),
        }
    }

    /// Answers until the process ends.
    pub fn serve(self: &Arc<Self>, listener: &TcpListener) {
        let door = Arc::clone(self);
        guests::serve(listener, "client", CLIENTS, move |stream| {
            // Whoever asks wrongly gets nothing; there is no log for strangers to fill.
            let _ = door.converse(stream);
        });
    }

    /// Handshake, who is it, what is asked, the answer.
    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let config = config(&self.folder, &self.provider)?;
        let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        let socket = Deadline::new(stream, self.board.clock, REQUEST_TIME);
        let mut secured = StreamOwned::new(connection, socket);
        while secured.conn.is_handshaking() {
            secured.conn.complete_io(&mut secured.sock)?;
        }
        if !is_known(&secured.conn) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match read_request(&mut secured)? {
            Request::Inspect => self.inspect(&mut secured)?,
            Request::Watch => self.watch(&mut secured)?,
            Request::Stay => self.stay(&mut secured)?,
            Request::Other => return Ok(()),
        }
        secured.conn.send_close_notify();
        secured.flush()
    }

    /// A report at once and one at each change of steps or ports, until nothing more will come.
    fn watch(&self, secured: &mut Secured) -> io::Result<()> {
        let (mut seen, mut ports) = (0, None);
        loop {
            let now = report::ports(&self.own_ports);
            let (steps, changes) = self.board.steps(0, Duration::ZERO);
            if changes != seen || ports.as_ref() != Some(&now) {
                let report = report::report(&steps, now.clone(), &self.board);
                (seen, ports) = (changes, Some(now));
                self.send(secured, &report)?;
                if report.settled {
                    return Ok(());
                }
            }
            if has_gone(secured, RecvFlags::DONTWAIT)? {
                return Ok(());
            }
            let _ = self.board.steps(seen, LOOK);
        }
    }

    fn inspect(&self, secured: &mut Secured) -> io::Result<()> {
        let (steps, _) = self.board.steps(0, Duration::ZERO);
        let report = report::report(&steps, report::ports(&self.own_ports), &self.board);
        self.send(secured, &report)
    }

    /// A report, and then silence until the client goes.
    fn stay(&self, secured: &mut Secured) -> io::Result<()> {
        let Some(_place) = Place::take(&self.staying, STAYING) else {
            return Ok(());
        };
        self.inspect(secured)?;
        let stream = &secured.sock.stream;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, SILENCE)?;
        sockopt::set_tcp_keepcnt(stream, PROBES.0)?;
        sockopt::set_tcp_keepintvl(stream, PROBES.1)?;
        stream.set_read_timeout(None)?;
        while !has_gone(secured, RecvFlags::empty())? {
            // What came was no good-bye and no word of its own, such as a new key.
            secured.sock.stream.set_read_timeout(None)?;
        }
        Ok(())
    }

    fn send(&self, secured: &mut Secured, report: &Report) -> io::Result<()> {
        secured.sock.extend(REPORT_TIME);
        secured.write_all(&report::line(report)?)?;
        secured.flush()
    }
}

/// TLS 1.3 only, nothing kept for a later connection: each one shows its certificate.
fn config(folder: &Path, provider: &Arc<CryptoProvider>) -> io::Result<ServerConfig> {
    let certificates = |name| -> io::Result<Vec<CertificateDer<'static>>> {
        let pem = fs::read(folder.join(name))?;
        let all: Result<_, _> = CertificateDer::pem_slice_iter(&pem).collect();
        all.map_err(io::Error::other)
    };
    let key = PrivateKeyDer::from_pem_slice(&fs::read(folder.join(TLS_KEY))?)
        .map_err(io::Error::other)?;
    let mut clients = RootCertStore::empty();
    for authority in certificates(TLS_CLIENTS)? {
        clients.add(authority).map_err(io::Error::other)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(provider))
            .build()
            .map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(TLS_CERTIFICATE)?, key)
        .map_err(io::Error::other)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The authority may sign others than controller and proxy.
fn is_known(connection: &ServerConnection) -> bool {
    let Some([certificate, ..]) = connection.peer_certificates() else {
        return false;
    };
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
        certificate
            .valid_uri_names()
            .any(|name| matches!(name, CONTROLLER_IDENTITY | PROXY_IDENTITY))
    })
}

fn read_request(secured: &mut Secured) -> io::Result<Request> {
    let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    // A small buffer: a request is one short line, and nothing may follow it.
    let mut reader = BufReader::with_capacity(256, (&mut *secured).take(limit));
    reader.read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}

/// Whether the client has hung up, or says more than it may. Waits for a sign of it unless the flags say not to.
fn has_gone(secured: &mut Secured, flags: RecvFlags) -> io::Result<bool> {
    // What came along with the request was read already.
    if is_over(&mut secured.conn)? {
        return Ok(true);
    }
    let mut byte = [0];
    match recv(&secured.sock.stream, &mut byte, RecvFlags::PEEK | flags) {
        Ok((0, _)) => return Ok(true),
        Ok(_) => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    // Something came: a good-bye, most likely.
    secured.sock.extend(REQUEST_TIME);
    secured.conn.read_tls(&mut secured.sock)?;
    is_over(&mut secured.conn)
}

fn is_over(connection: &mut ServerConnection) -> io::Result<bool> {
    let state = connection.process_new_packets().map_err(io::Error::other)?;
    Ok(state.peer_has_closed() || state.plaintext_bytes_to_read() > 0)
}
