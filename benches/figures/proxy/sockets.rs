//! WebSockets, by the thousand.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::load::until_through;
use super::visitor::Visitor;

/// So many are opened at the same time.
const AT_A_TIME: usize = 64;
/// What RFC 6455 has servers add to a key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Lets this process, and those that it starts, have as many open files as the machine allows.
pub(crate) fn open_many_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// The other side's word that it read the key.
pub(crate) fn accept_of(key: &str) -> String {
    let text = format!("{key}{MAGIC}");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// A short frame with a text; clients mask.
pub(crate) fn frame(text: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126, "too long for a short frame");
    let mut frame = vec![0x81, length];
    let Some(mask) = mask else {
        frame.extend_from_slice(text);
        return frame;
    };
    frame[1] |= 0x80;
    frame.extend_from_slice(&mask);
    frame.extend(masked(text, mask));
    frame
}

fn masked(text: &[u8], mask: [u8; 4]) -> impl Iterator<Item = u8> {
    text.iter()
        .zip(mask.into_iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
}

/// The text of the next short frame; none at the end.
pub(crate) async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; 2];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut text).await?;
    // A close.
    if head[0] & 0x0f == 8 {
        return Ok(None);
    }
    Ok(Some(masked(&text, mask).collect()))
}

/// Whoever is spoken with: TCP, or TLS on it.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// One that is open.
pub(crate) struct Socket(Box<dyn Wire>);

impl Socket {
    /// Says a word and hears it again.
    pub(crate) async fn echo(&mut self, text: &str) {
        self.0
            .write_all(&frame(text.as_bytes(), Some([7, 1, 9, 4])))
            .await
            .expect("an open WebSocket");
        // TLS keeps back what the socket does not take at once.
        self.0.flush().await.expect("an open WebSocket");
        let heard = receive(&mut self.0).await.unwrap();
        assert_eq!(heard.as_deref(), Some(text.as_bytes()), "it was cut");
    }

    /// Waits until it is cut; gives when.
    pub(crate) async fn cut(mut self) -> Instant {
        match receive(&mut self.0).await {
            Ok(Some(text)) => panic!("it said {text:?} instead of its end"),
            Ok(None) | Err(_) => Instant::now(),
        }
    }
}

/// How TLS is spoken with servers that this authority vouches for.
pub(crate) fn connector(authority: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Opens so many as pages of a visitor's own do, at this address in place of the visitor's.
pub(crate) async fn open(
    count: usize,
    visitor: &Visitor,
    address: SocketAddr,
    tls: Option<&TlsConnector>,
) -> Vec<Socket> {
    until_through(visitor, address).await;
    let opening = futures::stream::iter(0..count).map(|_| open_one(visitor, address, tls));
    opening.buffer_unordered(AT_A_TIME).collect().await
}

async fn open_one(visitor: &Visitor, address: SocketAddr, tls: Option<&TlsConnector>) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream: Box<dyn Wire> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from(visitor.host.clone()).unwrap();
            Box::new(tls.connect(name, stream).await.unwrap())
        }
    };
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: {}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nCookie: {}\r\n\r\n",
        visitor.authority(),
        visitor.origin,
        visitor.cookie,
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let count = stream.read_buf(&mut answer).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains(&accept_of(&key)), "{answer}");
    Socket(stream)
}
