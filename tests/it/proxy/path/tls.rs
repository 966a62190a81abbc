//! Listeners: TLS, the names it is opened for, and balancers before us.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use workstead::model::net::Cidr;
use workstead::proxy::door::UpstreamProtocol;
use workstead::proxy::listen::Options;
use workstead::proxy::listen::certificates::{Certificate, Certificates};
use workstead::proxy::listen::limits::Limits;
use workstead::proxy::listen::tls::Tls;

use super::kit::{App, HOST, Proxy, Raw, request, within};

/// A certificate of its own authority, and clients that trust it.
pub struct Shown {
    pub certificate: Certificate,
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    connector: TlsConnector,
}

impl Shown {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let mut roots = RootCertStore::empty();
        let chain = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(chain.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let certificate = Certificate::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes());
        Self {
            certificate: certificate.unwrap(),
            chain,
            key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn connect(
        &self,
        stream: TcpStream,
        name: &str,
    ) -> std::io::Result<Raw<TlsStream<TcpStream>>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        within(self.connector.connect(name, stream)).await.map(Raw)
    }
}

impl Shown {
    /// The same, in HTTP/2.
    pub async fn connect_by_h2(&self, stream: TcpStream, name: &str) -> TlsStream<TcpStream> {
        let mut config = (**self.connector.config()).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        within(connector.connect(name, stream)).await.unwrap()
    }

    /// Shows it, as an app.
    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.chain.clone()], self.key.clone_key())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

pub fn options(certificates: &Arc<Certificates>) -> Options {
    Options {
        tls: Some(Tls::new(certificates.clone()).unwrap()),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_request_by_tls_reaches_the_app_and_says_so() {
    let (app, shown) = (App::start().await, Shown::new("*.ws.example.com"));
    let certificates = Arc::new(Certificates::default());
    certificates.set(std::slice::from_ref(&shown.certificate));
    let proxy = Proxy::start_with(app.address, options(&certificates)).await;
    let mut client = shown.connect(proxy.client().await.0, HOST).await.unwrap();
    client
        .send(request("POST / HTTP/1.1", "Content-Length: 40000\r\n") + &"x".repeat(40_000))
        .await;
    let mut upstream = app.accept().await;
    assert!(
        upstream
            .head()
            .await
            .contains("X-Forwarded-Proto: https\r\n")
    );
    upstream.expect("x".repeat(40_000)).await;
    let body = "y".repeat(300_000);
    upstream
        .send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{body}"
        ))
        .await;
    client
        .expect(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{body}"
        ))
        .await;
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    client.send(request("GET / HTTP/1.1", lines)).await;
    upstream.head().await;
    let switch = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{}\r\n",
        "Connection: Upgrade\r\n"
    );
    upstream.send(&switch).await;
    client.expect(switch).await;
    client.send([0x81, 0x80, 0, 0, 0, 0]).await;
    upstream.expect([0x81, 0x80, 0, 0, 0, 0]).await;
    proxy.drain.begin.cancel();
    proxy.drain.end.cancel();
    client.expect(b"\x88\x02\x03\xf4").await;
}

#[tokio::test]
async fn host_confusion_a_connection_for_one_host_serves_no_other() {
    let (app, shown) = (App::start().await, Shown::new("*.ws.example.com"));
    let certificates = Arc::new(Certificates::default());
    certificates.set(std::slice::from_ref(&shown.certificate));
    let proxy = Proxy::start_with(app.address, options(&certificates)).await;
    let mut client = shown
        .connect(proxy.client().await.0, "bob.ws.example.com")
        .await
        .unwrap();
    client.send(request("GET / HTTP/1.1", "")).await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"),
        "{answer}"
    );
    assert_eq!(proxy.refused(), ["misdirected"]);
    assert!(app.is_untouched().await);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let app = App::start().await;
    let (old, new) = (
        Shown::new("*.ws.example.com"),
        Shown::new("*.ws.example.com"),
    );
    let certificates = Arc::new(Certificates::default());
    certificates.set(std::slice::from_ref(&old.certificate));
    let proxy = Proxy::start_with(app.address, options(&certificates)).await;
    let mut client = old.connect(proxy.client().await.0, HOST).await.unwrap();
    certificates.set(std::slice::from_ref(&new.certificate));
    new.connect(proxy.client().await.0, HOST).await.unwrap();
    assert!(old.connect(proxy.client().await.0, HOST).await.is_err());
    client
        .send(request("GET /.workstead-proxy/no HTTP/1.1", ""))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn a_name_without_a_certificate_gets_no_other() {
    let (app, shown) = (App::start().await, Shown::new("*.ws.example.com"));
    let certificates = Arc::new(Certificates::default());
    certificates.set(std::slice::from_ref(&shown.certificate));
    let proxy = Proxy::start_with(app.address, options(&certificates)).await;
    assert!(
        shown
            .connect(proxy.client().await.0, "other.test")
            .await
            .is_err()
    );
    assert!(
        shown
            .connect(proxy.client().await.0, "127.0.0.1")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_app_that_speaks_tls_may_show_any_certificate() {
    let (app, shown) = (App::start().await, Shown::new("localhost"));
    let proxy = Proxy::start(app.address).await;
    *proxy.door.protocol.lock().unwrap() = UpstreamProtocol::Https;
    let mut client = proxy.client().await;
    client
        .send(request("POST / HTTP/1.1", "Content-Length: 40000\r\n") + &"x".repeat(40_000))
        .await;
    let stream = app.accept().await.0;
    let mut upstream = Raw(within(shown.acceptor().accept(stream)).await.unwrap());
    upstream.head().await;
    upstream.expect("x".repeat(40_000)).await;
    for _ in 0..2 {
        let body = "y".repeat(100_000);
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}");
        upstream.send(&response).await;
        client.expect(&response).await;
        client.send(request("GET / HTTP/1.1", "")).await;
        upstream.head().await;
    }
    drop(upstream);
    assert!(client.head().await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn a_balancer_says_who_is_behind_it_and_must() {
    let app = App::start().await;
    let options = Options {
        proxy_protocol_from: vec![Cidr::parse("127.0.0.0/8").unwrap()],
        ..Options::default()
    };
    let proxy = Proxy::start_with(app.address, options).await;
    let mut client = proxy.client().await;
    client
        .send("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n")
        .await;
    client.send(request("GET / HTTP/1.1", "")).await;
    let mut upstream = app.accept().await;
    assert!(
        upstream
            .head()
            .await
            .contains("X-Forwarded-For: 192.0.2.7\r\n")
    );
    let mut client = proxy.client().await;
    client.try_send(request("GET / HTTP/1.1", "")).await;
    client.ends().await;
}

#[tokio::test]
async fn resource_dos_clients_of_a_balancer_are_counted_one_by_one() {
    let app = App::start().await;
    let options = Options {
        proxy_protocol_from: vec![Cidr::parse("127.0.0.0/8").unwrap()],
        limits: Limits {
            connections: 9,
            per_address: 1,
        },
        ..Options::default()
    };
    let proxy = Proxy::start_with(app.address, options).await;
    let introduced = |address: &str| {
        let line = format!("PROXY TCP4 {address} 10.0.0.1 56324 443\r\n");
        line + &request("GET /.workstead-proxy/no HTTP/1.1", "")
    };
    let (mut first, mut other) = (proxy.client().await, proxy.client().await);
    for (client, address) in [(&mut first, "192.0.2.7"), (&mut other, "192.0.2.8")] {
        client.send(introduced(address)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 401 "));
    }
    let mut second = proxy.client().await;
    second.try_send(introduced("192.0.2.7")).await;
    second.ends().await;
    assert_eq!(proxy.refused(), ["connections_per_address"]);
}

#[tokio::test]
async fn nobody_else_is_asked_who_is_behind_it() {
    let app = App::start().await;
    let options = Options {
        proxy_protocol_from: vec![Cidr::parse("192.0.2.0/24").unwrap()],
        ..Options::default()
    };
    let proxy = Proxy::start_with(app.address, options).await;
    let mut client = proxy.client().await;
    client
        .send("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n\r\n")
        .await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
    assert!(app.is_untouched().await);
}
