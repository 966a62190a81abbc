//! Asking a supervisor: TLS 1.3, its key pinned, one request, and reports until it has no more to say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::{ClientConfig, Error as TlsError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use workstead_link::{LINE_LIMIT, Report, Request, SUPERVISOR_PORT};

use crate::inside::identity::{Identity, IdentityError};
use crate::inside::pin::{Pinned, PublicKeyDigest, server_name};

/// From the first packet to the end of the handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// From a request to its first report.
const FIRST_REPORT_DEADLINE: Duration = Duration::from_secs(5);
/// Silence after which a connection that stays is probed, how often, and how many probes may be lost.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
/// A supervisor whose steps go on says something within this: a command may run for hours, so it is long.
pub const SILENCE: Duration = Duration::from_secs(3600);

/// Why a supervisor does not answer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Our own certificate.
    #[error("failed to prepare the certificate for the call to {0}")]
    Prepare(SocketAddr, #[source] IdentityError),
    /// TLS does not take it.
    #[error("failed to prepare the call to {0}")]
    Configure(SocketAddr, #[source] TlsError),
    /// Nobody listens, or the network does not let us through.
    #[error("failed to connect to the supervisor at {0}")]
    Connect(SocketAddr, #[source] std::io::Error),
    /// Too slow.
    #[error("the supervisor at {0} did not answer within {1:?}")]
    Silent(SocketAddr, Duration),
    /// It has another key than the status says, or does not know us.
    #[error("failed to agree with the supervisor at {0}")]
    Handshake(SocketAddr, #[source] std::io::Error),
    /// The connection broke.
    #[error("lost the supervisor at {0}")]
    Lost(SocketAddr, #[source] std::io::Error),
    /// It ended without a word.
    #[error("the supervisor at {0} ended the call without an answer")]
    Ended(SocketAddr),
    /// Longer than allowed.
    #[error("the supervisor at {0} sent a line of more than {LINE_LIMIT} bytes")]
    TooLong(SocketAddr),
    /// No report.
    #[error("failed to read a report of the supervisor at {0}")]
    Parse(SocketAddr, #[source] serde_json::Error),
}

/// Where a supervisor is and by what it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod's address.
    pub address: SocketAddr,
    /// Its key, as the status of the Workspace says.
    pub key: PublicKeyDigest,
}

impl Target {
    /// The supervisor of the pod at an address.
    pub fn of_pod(address: IpAddr, key: PublicKeyDigest) -> Self {
        let address = SocketAddr::new(address, SUPERVISOR_PORT);
        Self { address, key }
    }
}

/// A call that goes on.
pub struct Call {
    address: SocketAddr,
    stream: BufReader<TlsStream<TcpStream>>,
    deadline: Duration,
}

/// Calls a supervisor.
///
/// # Errors
/// When it can't be reached, has another key, or does not let us in.
pub async fn call(us: &Identity, target: Target, request: Request) -> Result<Call, DialError> {
    let address = target.address;
    let configuration = configure(us, target)?;
    let connecting = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|source| DialError::Connect(address, source))?;
        // One small line is waited for at a time.
        stream
            .set_nodelay(true)
            .map_err(|source| DialError::Connect(address, source))?;
        TlsConnector::from(Arc::new(configuration))
            .connect(server_name(), stream)
            .await
            .map_err(|source| DialError::Handshake(address, source))
    };
    let mut stream = timeout(CONNECT_DEADLINE, connecting)
        .await
        .map_err(|_| DialError::Silent(address, CONNECT_DEADLINE))??;
    let mut line =
        serde_json::to_vec(&request).map_err(|source| DialError::Parse(address, source))?;
    line.push(b'\n');
    let sending = async {
        stream.write_all(&line).await?;
        stream.flush().await
    };
    timeout(CONNECT_DEADLINE, sending)
        .await
        .map_err(|_| DialError::Silent(address, CONNECT_DEADLINE))?
        .map_err(|source| DialError::Lost(address, source))?;
    Ok(Call {
        address,
        stream: BufReader::new(stream),
        deadline: FIRST_REPORT_DEADLINE,
    })
}

/// One report.
///
/// # Errors
/// When there is none.
pub async fn inspect(us: &Identity, target: Target) -> Result<Report, DialError> {
    let mut call = call(us, target, Request::Inspect).await?;
    call.next().await?.ok_or(DialError::Ended(target.address))
}

/// A call that stays: while it lasts, the very process that answered it runs.
pub struct Stay(Call);

/// Calls a supervisor and stays with it.
///
/// # Errors
/// When it can't be reached, has another key, does not let us in, or is too old to know what is asked.
pub async fn stay(us: &Identity, target: Target) -> Result<Stay, DialError> {
    let mut call = call(us, target, Request::Stay).await?;
    let (socket, _) = call.stream.get_ref().get_ref();
    keep_alive(socket).map_err(|source| DialError::Connect(target.address, source.into()))?;
    // By this it says that it let us in: a handshake alone does not.
    call.next().await?.ok_or(DialError::Ended(target.address))?;
    Ok(Stay(call))
}

impl Stay {
    /// Waits for the end, and says how it came.
    pub async fn end(&mut self) -> DialError {
        let address = self.0.address;
        let mut buffer = [0; 256];
        loop {
            match self.0.stream.read(&mut buffer).await {
                Ok(0) => return DialError::Ended(address),
                // Nothing more is promised, and nothing more is looked at.
                Ok(_) => {}
                Err(source) => return DialError::Lost(address, source),
            }
        }
    }
}

/// A node that is gone says no good-bye: its silence has to be noticed before its pod's address is somebody else's.
fn keep_alive(socket: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)
}

impl Call {
    /// The next report; none when the supervisor has said all.
    ///
    /// # Errors
    /// When the connection breaks, stays silent, or says something else.
    pub async fn next(&mut self) -> Result<Option<Report>, DialError> {
        let address = self.address;
        let mut line = Vec::new();
        // One byte more shows that there would be more.
        let mut limited = (&mut self.stream).take(LINE_LIMIT as u64 + 1);
        let reading = limited.read_until(b'\n', &mut line);
        let count = timeout(self.deadline, reading)
            .await
            .map_err(|_| DialError::Silent(address, self.deadline))?
            .map_err(|source| DialError::Lost(address, source))?;
        self.deadline = SILENCE;
        if count == 0 {
            return Ok(None);
        }
        if count > LINE_LIMIT {
            return Err(DialError::TooLong(address));
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|source| DialError::Parse(address, source))
    }
}

fn configure(us: &Identity, target: Target) -> Result<ClientConfig, DialError> {
    let address = target.address;
    let (certificate, key) = us
        .to_der()
        .map_err(|source| DialError::Prepare(address, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Pinned::new(target.key, provider.clone());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| DialError::Configure(address, source))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_client_auth_cert(vec![certificate], key)
        .map_err(|source| DialError::Configure(address, source))
}
