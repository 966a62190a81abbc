//! Requests to the provider: HTTPS by the one TLS library of the process, no redirects, and an end in time and bytes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// How long a request may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of an answer: key sets and metadata are a few KiB.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none that we ask.
    #[error("'{0}' is no address that the proxy asks: it must begin with https://")]
    Address(String),
    /// No answer in time.
    #[error("{0} did not answer within {seconds} s", seconds = DEADLINE.as_secs())]
    Deadline(String),
    /// No connection.
    #[error("failed to connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// The exchange broke off.
    #[error("failed to ask {0}")]
    Exchange(String, #[source] hyper::Error),
    /// The answer has no end, or broke off.
    #[error("failed to read the answer of {0}: {1}")]
    Body(String, String),
    /// Not 200.
    #[error("{address} answered {status}{detail}")]
    Status {
        /// Who.
        address: String,
        /// What.
        status: StatusCode,
        /// What it said, where that is a code of OAuth.
        detail: String,
    },
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS can't be set up.
    #[error("failed to set up TLS for the identity provider")]
    Tls(#[from] rustls::Error),
    /// The file of authorities holds something else.
    #[error("the certificates of authorities for the identity provider are no PEM")]
    Authorities,
}

/// Asks a provider.
pub struct Client {
    tls: TlsConnector,
    /// Plain HTTP is taken where the issuer itself is reached so: on this machine.
    takes_plain: bool,
}

/// What is sent.
pub enum Ask<'a> {
    /// GET.
    Get {
        /// An access token.
        bearer: Option<&'a str>,
    },
    /// POST of a form.
    Form {
        /// The form.
        body: Zeroizing<String>,
        /// The value of `Authorization`.
        authorization: Option<Zeroizing<String>>,
    },
}

impl Client {
    /// A client that trusts the system's authorities and these (PEM).
    ///
    /// # Errors
    /// When the authorities can't be read.
    pub fn new(authorities: Option<&[u8]>, takes_plain: bool) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        // What can't be read of the system's is missed when a connection is made, by name.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = authorities {
            let mut count = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| ClientError::Authorities)?;
                roots.add(certificate)?;
                count += 1;
            }
            if count == 0 {
                return Err(ClientError::Authorities);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            takes_plain,
        })
    }

    /// Asks, and gives the body of an answer 200.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ask(&self, address: &str, ask: Ask<'_>) -> Result<Bytes, FetchError> {
        tokio::time::timeout(DEADLINE, self.exchange(address, ask))
            .await
            .map_err(|_| FetchError::Deadline(address.to_owned()))?
    }

    async fn exchange(&self, address: &str, ask: Ask<'_>) -> Result<Bytes, FetchError> {
        let wrong = || FetchError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if self.takes_plain => false,
            _ => return Err(wrong()),
        };
        let request = mk_request(&uri, ask).ok_or_else(wrong)?;
        let host = uri.host().ok_or_else(wrong)?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let connect = |error| FetchError::Connect(address.to_owned(), error);
        let stream = TcpStream::connect((name, port)).await.map_err(connect)?;
        if is_tls {
            let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
            let stream = self.tls.connect(name, stream).await.map_err(connect)?;
            converse(stream, request, address).await
        } else {
            converse(stream, request, address).await
        }
    }
}

fn mk_request(uri: &Uri, ask: Ask<'_>) -> Option<Request<Full<Bytes>>> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let secret = |text: &str| {
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    };
    let builder = Request::builder()
        .uri(path)
        .header(HOST, uri.authority()?.as_str())
        .header(ACCEPT, "application/json");
    let request = match ask {
        Ask::Get { bearer } => {
            let mut builder = builder.method(Method::GET);
            if let Some(token) = bearer {
                builder = builder.header(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
            }
            builder.body(Full::default())
        }
        Ask::Form {
            body,
            authorization,
        } => {
            let mut builder = builder
                .method(Method::POST)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            if let Some(value) = authorization {
                builder = builder.header(AUTHORIZATION, secret(&value)?);
            }
            builder.body(Full::from(body.as_bytes().to_vec()))
        }
    };
    request.ok()
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Full<Bytes>>,
    address: &str,
) -> Result<Bytes, FetchError> {
    let broken = |error| FetchError::Exchange(address.to_owned(), error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = read(response.into_body(), address).await?;
        if status != StatusCode::OK {
            return Err(FetchError::Status {
                address: address.to_owned(),
                status,
                detail: oauth_error(&body),
            });
        }
        Ok(body)
    };
    // The connection is driven as long as the exchange lasts; it may end first, when all of the answer is there.
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = &mut exchange => done,
        ended = &mut connection => {
            ended.map_err(broken)?;
            exchange.await
        }
    }
}

async fn read(body: Incoming, address: &str) -> Result<Bytes, FetchError> {
    let collected = Limited::new(body, LONGEST_ANSWER).collect().await;
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        FetchError::Body(address.to_owned(), error.to_string())
    };
    Ok(collected.map_err(failed)?.to_bytes())
}

/// The code of an error, as OAuth has them. Free text of a provider may repeat what we sent, so it is left out.
fn oauth_error(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    serde_json::from_slice::<Said>(body)
        .ok()
        .filter(|said| said.error.len() <= 40 && said.error.bytes().all(is_code))
        .map_or(String::new(), |said| format!(": {}", said.error))
}
