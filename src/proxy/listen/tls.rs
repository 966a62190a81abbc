//! TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;
use crate::proxy::front::Hosts;

/// HTTP/2, as clients offer it.
const HTTP_2: &[u8] = b"h2";

/// What a client and a listener came to terms on.
pub struct Accepted {
    /// The connection. It is large, and futures have a place for each name that it has on its way.
    pub stream: Box<TlsStream<TcpStream>>,
    /// The hosts that it may ask for.
    pub hosts: Hosts,
    /// Whether it speaks HTTP/2.
    pub is_http_2: bool,
}

/// What a listener speaks TLS by.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

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
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        // Returning clients bring their own state, so that none is kept for them here.
        config.ticketer = Ticketer::new()?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
        })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// When the two don't come to terms.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Accepted> {
        let stream = Box::new(self.acceptor.accept(stream).await?);
        let session = stream.get_ref().1;
        let is_http_2 = session.alpn_protocol() == Some(HTTP_2);
        let name = session.server_name().map(str::to_ascii_lowercase);
        let hosts = match name {
            // Browsers use one connection for all hosts of a certificate.
            Some(name) if is_http_2 => Hosts::Of(self.certificates.names_beside(&name)),
            Some(name) => Hosts::One(name.into_boxed_str()),
            // No certificate is shown to who asks for none.
            None => Hosts::Of(Arc::default()),
        };
        Ok(Accepted {
            stream,
            hosts,
            is_http_2,
        })
    }
}
