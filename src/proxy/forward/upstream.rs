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

use super::h2c::connections::Ticket;
use super::{anyone, h2c};
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
    /// One request of a connection of HTTP/2.
    H2c(Box<h2c::stream::Stream>),
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

    /// One that serves a single request, of a connection that serves many.
    pub(super) fn of_ticket(ticket: Ticket, blocks: &Arc<Blocks>) -> Self {
        Self {
            input: Buffer::new(blocks.clone()),
            is_reused: ticket.is_reused,
            stream: Stream::H2c(Box::new(h2c::stream::Stream::new(ticket))),
            kept_for: None,
            generation: 0,
        }
    }

    /// Whether it is over with its first request.
    pub fn is_single(&self) -> bool {
        matches!(self.stream, Stream::H2c(_))
    }

    /// Whether it still waits in silence. One that was closed, or speaks unasked, serves no further request.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.input.is_empty() && self.input.poll_fill(&mut self.stream, &mut cx).is_pending()
    }
}

/// A connection in TCP.
pub(super) async fn dial(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(stream) => stream,
        Err(_) => return Err(Failure::Slow),
    };
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        _ => Failure::Unreachable,
    })?;
    tune(&stream);
    Ok(stream)
}

async fn open(address: SocketAddr, protocol: UpstreamProtocol) -> Result<Stream, Failure> {
    let stream = dial(address).await?;
    match protocol {
        UpstreamProtocol::Http => Ok(Stream::Plain(stream)),
        UpstreamProtocol::Https => {
            let connector = anyone::connector().ok_or(Failure::Broken("tls"))?;
            let name = ServerName::from(address.ip());
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|_| Failure::Broken("tls"))?;
            Ok(Stream::Tls(Box::new(stream)))
        }
        // Requests get theirs of a connection that is shared.
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
            Self::H2c(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
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
            Self::H2c(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
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
            Self::H2c(stream) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                Pin::new(stream.as_mut()).poll_write(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::H2c(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::H2c(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
