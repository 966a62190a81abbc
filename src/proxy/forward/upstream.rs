//! One connection to a port of a workspace.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::anyone;
use crate::proxy::door::{Failure, UpstreamProtocol};
use crate::proxy::wire::{Blocks, Buffer};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a silent peer is asked by TCP whether it is still there.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How many times it may leave that unanswered.
const TCP_PROBES: u32 = 4;

/// A connection to a port.
pub struct Upstream {
    /// Its bytes.
    pub stream: Stream,
    /// What was read and not yet used.
    pub input: Buffer,
    /// Whether another request came by it before.
    pub is_reused: bool,
    /// For how long the app keeps it, if it said so.
    pub kept_for: Option<Duration>,
    /// Which state of the pool it was opened in.
    pub generation: u64,
}

/// The bytes of a connection to a port.
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS with whoever answers.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Upstream {
    /// Opens one.
    ///
    /// # Errors
    /// When nothing listens there, or it took too long.
    pub async fn connect(
        address: SocketAddr,
        protocol: UpstreamProtocol,
        blocks: &Arc<Blocks>,
        generation: u64,
    ) -> Result<Self, Failure> {
        let stream = match timeout(CONNECT, open(address, protocol)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(Failure::Slow),
        };
        Ok(Self {
            stream,
            input: Buffer::new(blocks.clone()),
            is_reused: false,
            kept_for: None,
            generation,
        })
    }

    /// Whether it still waits in silence. One that was closed, or speaks unasked, serves no further request.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.input.is_empty() && self.input.poll_fill(&mut self.stream, &mut cx).is_pending()
    }
}

async fn open(address: SocketAddr, protocol: UpstreamProtocol) -> Result<Stream, Failure> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        _ => Failure::Unreachable,
    })?;
    tune(&stream);
    match protocol {
        UpstreamProtocol::Http => Ok(Stream::Plain(stream)),
        UpstreamProtocol::Https => {
            let connector = anyone::connector().ok_or(Failure::Broken("tls"))?;
            let name = ServerName::from(address.ip());
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|_| Failure::Broken("tls"))?;
            Ok(Stream::Tls(Box::new(stream)))
        }
        UpstreamProtocol::H2c => Err(Failure::Broken("h2c")),
    }
}

/// No waiting for more to send, and silent peers are noticed. A socket that refuses either still carries bytes.
pub fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keep_alive = TcpKeepalive::new()
        .with_time(TCP_KEEP_ALIVE)
        .with_interval(TCP_KEEP_ALIVE)
        .with_retries(TCP_PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
