//! TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;

/// HTTP/2, as clients offer it.
const HTTP_2: &[u8] = b"h2";

/// What a client and a listener came to terms on.
pub struct Accepted {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// Whether it speaks HTTP/2.
    pub is_http_2: bool,
}

/// What a listener speaks TLS by.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Shows these certificates.
    ///
    /// # Errors
    /// When the provider of TLS lacks what every one has.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        // Returning clients bring their own state, so that none is kept for them here.
        config.ticketer = Ticketer::new()?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// When the two don't come to terms.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Accepted> {
        let stream = self.0.accept(stream).await?;
        let session = stream.get_ref().1;
        let name = session.server_name();
        let server_name = name.map(|name| name.to_ascii_lowercase().into_boxed_str());
        let is_http_2 = session.alpn_protocol() == Some(HTTP_2);
        Ok(Accepted {
            stream,
            server_name,
            is_http_2,
        })
    }
}
