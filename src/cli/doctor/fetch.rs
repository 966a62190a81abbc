//! One HTTP request, as a browser or the proxy would make it, with what the TLS handshake showed.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Longest answer that is read: metadata and pages of errors.
const BODY_LIMIT: usize = 1 << 20;
/// No connection takes longer.
const CONNECT: Duration = Duration::from_secs(5);
/// No request takes longer.
const DEADLINE: Duration = Duration::from_secs(15);

/// How requests are made.
pub struct Fetcher {
    /// Who may vouch for servers.
    pub roots: Arc<RootCertStore>,
    /// Connects here, whatever name is asked for.
    pub connect_to: Option<SocketAddr>,
}

/// An answer.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The beginning of the body, for evidence.
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(200).collect()
    }
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL that can be fetched.
    #[error("'{0}' is no URL by http or https")]
    Url(String),
    /// The name leads nowhere.
    #[error("the name {0} leads nowhere: {1}")]
    Lookup(String, String),
    /// Nobody there.
    #[error("no connection to {0}: {1}")]
    Connect(String, String),
    /// TLS failed.
    #[error("no TLS with {0}: {1}")]
    Tls(String, String),
    /// What came is no HTTP.
    #[error("{0} gave no answer in HTTP: {1}")]
    Http(String, String),
    /// Too late.
    #[error("{0} gave no answer within {seconds} s", seconds = DEADLINE.as_secs())]
    Late(String),
}

impl Fetcher {
    /// Asks for a URL. Redirects are not followed: they are part of what is looked at.
    pub async fn get(&self, url: &str) -> Result<Reply, FetchError> {
        self.ask(Method::GET, url, None).await
    }

    /// Sends a form, as a client that proves itself by a name and a secret where it has both.
    pub async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        client: Option<(&str, &str)>,
    ) -> Result<Reply, FetchError> {
        let authorization = client.map(|(id, secret)| {
            let pair = Zeroizing::new(format!("{}:{}", escaped(id), escaped(secret)));
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(&*pair)))
                .unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(true);
            value
        });
        let form = Form {
            body: encoded(form),
            authorization,
        };
        self.ask(Method::POST, url, Some(form)).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        form: Option<Form>,
    ) -> Result<Reply, FetchError> {
        let target = Target::of(url)?;
        let late = || FetchError::Late(target.authority());
        timeout(DEADLINE, self.exchange(&target, method, form))
            .await
            .map_err(|_| late())?
    }

    async fn exchange(
        &self,
        target: &Target,
        method: Method,
        form: Option<Form>,
    ) -> Result<Reply, FetchError> {
        let request = target.request(method, form)?;
        let stream = self.connect(&target.host, target.port).await?;
        if !target.is_tls {
            return converse(target, stream, request).await;
        }
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let stream = handshake(target, stream, config).await?;
        converse(target, stream, request).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, FetchError> {
        let addresses: Vec<SocketAddr> = match self.connect_to {
            Some(address) => vec![address],
            None => lookup(host)
                .await
                .map_err(|error| FetchError::Lookup(host.to_owned(), error))?
                .into_iter()
                .map(|address| SocketAddr::new(address, port))
                .collect(),
        };
        let connected = timeout(CONNECT, TcpStream::connect(&addresses[..])).await;
        let failed = |why: String| FetchError::Connect(format!("{host}:{port}"), why);
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("nothing within {} s", CONNECT.as_secs()))),
        }
    }

    /// Shakes hands as a browser would with a host, and says what was shown and how it was judged.
    ///
    /// # Errors
    /// When it does not come to a certificate.
    pub async fn certificate(&self, host: &str, port: u16) -> Result<Shown, FetchError> {
        let target = Target {
            is_tls: true,
            host: host.to_owned(),
            port,
            path: String::new(),
        };
        let stream = self.connect(host, port).await?;
        let verifier = Arc::new(Recording::new(self.roots.clone())?);
        let config = rustls::ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        let shaken = match timeout(DEADLINE, handshake(&target, stream, config)).await {
            Ok(shaken) => shaken.map(|_| ()),
            Err(_) => Err(FetchError::Late(target.authority())),
        };
        let seen = verifier
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        seen.ok_or_else(|| {
            shaken.err().unwrap_or_else(|| {
                FetchError::Tls(target.authority(), "no certificate was shown".to_owned())
            })
        })
    }
}

/// The addresses of a name.
pub async fn lookup(host: &str) -> Result<Vec<IpAddr>, String> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(CONNECT, tokio::net::lookup_host((literal, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT.as_secs())),
    }
}

/// What is sent with a form.
struct Form {
    body: String,
    authorization: Option<HeaderValue>,
}

struct Target {
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn of(url: &str) -> Result<Self, FetchError> {
        let wrong = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        Ok(Self {
            is_tls,
            host: uri.host().ok_or_else(wrong)?.to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            path: uri
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned(),
        })
    }

    /// Without the port that need not be said.
    fn authority(&self) -> String {
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    fn request(
        &self,
        method: Method,
        form: Option<Form>,
    ) -> Result<Request<Full<Bytes>>, FetchError> {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header(header::HOST, self.authority())
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("workstead-doctor/", env!("CARGO_PKG_VERSION")),
            );
        let mut body = Bytes::new();
        if let Some(form) = form {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            if let Some(authorization) = form.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            body = form.body.into();
        }
        request
            .body(Full::new(body))
            .map_err(|_| FetchError::Url(self.authority()))
    }
}

async fn handshake(
    target: &Target,
    stream: TcpStream,
    config: rustls::ClientConfig,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, FetchError> {
    let failed = |why: String| FetchError::Tls(target.authority(), why);
    let literal = target.host.trim_start_matches('[').trim_end_matches(']');
    let name =
        ServerName::try_from(literal.to_owned()).map_err(|error| failed(error.to_string()))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| failed(error.to_string()))
}

async fn converse(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Reply, FetchError> {
    let failed = |why: String| FetchError::Http(target.authority(), why);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.to_string()))?;
    // It goes with this function, and the connection with it.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.to_bytes(),
    })
}

/// A form, as browsers write it.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)))
        .collect();
    pairs.join("&")
}

/// A text for a query or a form.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The certificates that a server showed.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its own, then those that lead to its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// For which name it was asked.
    pub name: ServerName<'static>,
    /// Whether a browser would take it now.
    pub verdict: Result<(), rustls::Error>,
}

impl Shown {
    /// Whether it would be taken at another time.
    pub fn is_valid_at(&self, roots: &Arc<RootCertStore>, time: UnixTime) -> bool {
        let (Some((own, others)), Ok(verifier)) = (
            self.chain.split_first(),
            WebPkiServerVerifier::builder(roots.clone()).build(),
        ) else {
            return false;
        };
        verifier
            .verify_server_cert(own, others, &self.name, &[], time)
            .is_ok()
    }
}

/// Judges as rustls does, and remembers what it saw.
#[derive(Debug)]
struct Recording {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<Shown>>,
}

impl Recording {
    fn new(roots: Arc<RootCertStore>) -> Result<Self, FetchError> {
        let inner = WebPkiServerVerifier::builder(roots)
            .build()
            .map_err(|error| FetchError::Tls("any host".to_owned(), error.to_string()))?;
        Ok(Self {
            inner,
            seen: Mutex::new(None),
        })
    }
}

impl ServerCertVerifier for Recording {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let chain = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(Shown {
            chain,
            name: server_name.to_owned(),
            verdict: verdict.as_ref().map(|_| ()).map_err(Clone::clone),
        });
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_written_as_browsers_do() {
        assert_eq!(
            encoded(&[("a", "x y"), ("redirect_uri", "https://a/b?c=ä&d")]),
            "a=x%20y&redirect_uri=https%3A%2F%2Fa%2Fb%3Fc%3D%C3%A4%26d"
        );
    }

    #[test]
    fn a_host_is_asked_for_without_the_port_that_need_not_be_said() {
        let authority = |url: &str| Target::of(url).ok().map(|target| target.authority());
        assert_eq!(
            authority("https://a.example.com/x").as_deref(),
            Some("a.example.com")
        );
        assert_eq!(
            authority("https://a.example.com:8443").as_deref(),
            Some("a.example.com:8443")
        );
        assert_eq!(
            authority("http://127.0.0.1:9").as_deref(),
            Some("127.0.0.1:9")
        );
        assert_eq!(authority("ftp://a"), None);
    }
}
