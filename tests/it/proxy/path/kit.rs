//! A raw client, a raw app, and a proxy between them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Response};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use workstead::model::names::DnsSubdomain;
use workstead::proxy::door::{
    Answer, Client, Door, Ended, Failure, Meter, Order, Permit, Request, UpstreamKey,
    UpstreamProtocol, Verdict,
};
use workstead::proxy::forward::Forward;
use workstead::proxy::front::{Drain, Front};
use workstead::proxy::host::{Scheme, Site};
use workstead::proxy::listen::{Listener, Options};

/// A deadline of tests, far above what anything takes.
pub const LONG: Duration = Duration::from_secs(20);

/// The host that tests ask for.
pub const HOST: &str = "alice.ws.example.com";

/// Lets everything through to one app, but for what the test answers itself.
pub struct Open {
    app: SocketAddr,
    pub refused: Mutex<Vec<&'static str>>,
    pub meter: Arc<Counts>,
    pub cut: CancellationToken,
    pub set_cookie: Mutex<Option<HeaderValue>>,
    pub protocol: Mutex<UpstreamProtocol>,
    permits: Arc<()>,
}

/// What was counted.
#[derive(Default)]
pub struct Counts {
    pub touched: AtomicU64,
    pub upgraded: AtomicU64,
    pub ended: Mutex<Vec<Ended>>,
}

struct Cut(
    CancellationToken,
    #[expect(dead_code, reason = "held, to be counted")] Arc<()>,
);

impl Permit for Cut {
    fn cut(&self) -> WaitForCancellationFutureOwned {
        self.0.clone().cancelled_owned()
    }
}

impl Meter for Counts {
    fn touch(&self) {
        self.touched.fetch_add(1, Ordering::SeqCst);
    }

    fn upgraded(&self) {
        self.upgraded.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self, ended: &Ended) {
        self.ended.lock().unwrap().push(ended.clone());
    }
}

impl Door for Open {
    fn wants_body(&self, request: &Request<'_>) -> bool {
        request.path() == "/.workstead-proxy/echo"
    }

    async fn decide(&self, request: Request<'_>) -> Verdict {
        match request.path() {
            "/.workstead-proxy/echo" => {
                return Verdict::Answer(Response::new(Bytes::copy_from_slice(request.body)));
            }
            "/.workstead-proxy/no" => {
                let answer = Response::builder().status(401);
                return Verdict::Answer(answer.body(Bytes::from("no")).unwrap());
            }
            "/.workstead-proxy/never" => std::future::pending().await,
            _ => {}
        }
        Verdict::Forward(Box::new(Order {
            upstream: UpstreamKey {
                workspace: "w".into(),
                pod: "p".into(),
                port: self.app.port(),
            },
            address: self.app,
            protocol: *self.protocol.lock().unwrap(),
            set_cookie: self.set_cookie.lock().unwrap().clone(),
            permit: Arc::new(Cut(self.cut.clone(), self.permits.clone())),
            meter: self.meter.clone(),
        }))
    }

    fn failed(&self, _request: Request<'_>, failure: Failure) -> Answer {
        let answer = Response::builder().status(502);
        answer.body(Bytes::from(failure.to_string())).unwrap()
    }

    fn refused(&self, _client: &Client, rule: &'static str) {
        self.refused.lock().unwrap().push(rule);
    }
}

/// A proxy before one app.
pub struct Proxy {
    pub address: SocketAddr,
    pub door: Arc<Open>,
    pub forward: Arc<Forward>,
    pub drain: Drain,
    pub tasks: JoinSet<()>,
}

/// The names that the proxy answers to.
pub fn site() -> Site {
    let name = |text| DnsSubdomain::new(text).unwrap();
    let (domain, auth) = (name("ws.example.com"), name("auth.ws.example.com"));
    Site::new(&domain, &auth, Scheme::Https, None).unwrap()
}

impl Proxy {
    pub async fn start(app: SocketAddr) -> Self {
        Self::start_with(app, Options::default()).await
    }

    pub async fn start_with(app: SocketAddr, options: Options) -> Self {
        Self::start_by(app, options, Forward::default()).await
    }

    pub async fn start_by(app: SocketAddr, options: Options, forward: Forward) -> Self {
        let door = Arc::new(Open {
            app,
            refused: Mutex::default(),
            meter: Arc::default(),
            cut: CancellationToken::new(),
            set_cookie: Mutex::default(),
            protocol: Mutex::new(UpstreamProtocol::Http),
            permits: Arc::default(),
        });
        let (forward, drain) = (Arc::new(forward), Drain::default());
        let site = Arc::new(site());
        let front = Front::new(door.clone(), forward.clone(), site, drain.clone());
        let socket = TcpListener::bind(local()).await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(
            socket,
            Arc::new(front),
            door.clone(),
            drain.clone(),
            options,
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.run());
        Self {
            address,
            door,
            forward,
            drain,
            tasks,
        }
    }

    pub async fn client(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.unwrap())
    }

    /// How many rights of requests are held.
    pub fn permits(&self) -> usize {
        Arc::strong_count(&self.door.permits) - 1
    }

    pub fn refused(&self) -> Vec<&'static str> {
        self.door.refused.lock().unwrap().clone()
    }
}

fn local() -> SocketAddr {
    (IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into()
}

/// An app that does what the test says.
pub struct App {
    socket: TcpListener,
    pub address: SocketAddr,
}

impl App {
    pub async fn start() -> Self {
        let socket = TcpListener::bind(local()).await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// The next connection of the proxy.
    pub async fn accept(&self) -> Raw {
        let accepted = within(self.socket.accept()).await;
        Raw(accepted.unwrap().0)
    }

    /// Whether the proxy opened a connection that was not taken yet.
    pub async fn is_untouched(&self) -> bool {
        // Long enough for a connection over loopback; a slower one is found by the next test run.
        tokio::time::timeout(Duration::from_millis(50), self.socket.accept())
            .await
            .is_err()
    }
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    App::start().await.address
}

/// A connection, byte for byte.
pub struct Raw<S = TcpStream>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends what the other end may not want any more.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.0.write_all(bytes.as_ref())).await;
    }

    /// Exactly what is expected comes next.
    pub async fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut got = vec![0; expected.len()];
        let read = within(self.0.read_exact(&mut got)).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            read.is_ok(),
            "{read:?}: {} instead of {}",
            text(&got),
            text(expected)
        );
        assert_eq!(text(&got), text(expected));
    }

    /// A head, with its empty line.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = within(self.0.read(&mut byte)).await.unwrap();
            assert!(
                read == 1,
                "the end after {:?}",
                String::from_utf8_lossy(&head)
            );
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// All that comes until the other end closes, in order or not.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = within(self.0.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Nothing comes but the end.
    pub async fn ends(&mut self) {
        assert_eq!(self.rest().await, "");
    }
}

/// The head of a request for [`HOST`], with more lines.
pub fn request(line: &str, lines: &str) -> String {
    format!("{line}\r\nHost: {HOST}\r\n{lines}\r\n")
}

/// What the app gets of such a request.
pub fn forwarded(line: &str, lines: &str) -> String {
    let ours = format!(
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {HOST}\r\n"
    );
    format!("{line}\r\nHost: {HOST}\r\n{lines}{ours}\r\n")
}

/// Waits, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(LONG, future).await;
    waited.expect("it took too long")
}

/// Waits until something is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let all = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(all).await;
}
