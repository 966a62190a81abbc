//! Somebody at a browser: cookies by host, one hop at a time, and at which replica each one arrives.

use std::collections::{BTreeMap, HashMap};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use workstead::testkit::wait::PATIENCE;

/// What a browser says when somebody follows a link.
pub const NAVIGATION: &str =
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
/// The cookie of a session.
const SESSION: &str = "__Host-wsd";
/// No login takes more hops.
const MOST_HOPS: usize = 8;

/// Somebody with cookies.
#[derive(Clone, Default)]
pub struct Browser(HashMap<String, BTreeMap<String, String>>);

/// What was answered.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub body: String,
    headers: Vec<(String, String)>,
}

impl Page {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// Host with port, and path, of an address.
fn parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

/// The host without its port: cookies know no ports.
fn host_of(authority: &str) -> &str {
    authority.split(':').next().unwrap_or_default()
}

impl Browser {
    /// One hop, at this replica.
    pub async fn visit(&mut self, at: SocketAddr, url: &str) -> Page {
        let (authority, path) = parts(url);
        let request = self.request(authority, path, NAVIGATION);
        let page = Line::open(at).await.unwrap().ask(&request).await;
        let page = page.unwrap().expect("an answer");
        self.keep(host_of(authority), &page);
        page
    }

    /// Follows a link and where it leads. The first hop goes to the first of these replicas, and so on, over and over.
    pub async fn follow(&mut self, replicas: &[SocketAddr], link: &str) -> Page {
        let mut url = link.to_owned();
        for at in replicas.iter().cycle().take(MOST_HOPS) {
            let page = self.visit(*at, &url).await;
            match page.header("location") {
                Some(next) if page.status == 303 => url = next.to_owned(),
                _ => return page,
            }
        }
        panic!("it leads round and round, at last to {url}");
    }

    /// What a program of the page asks for, at this replica: status alone. None where its right ended under way.
    pub async fn fetch(&self, at: SocketAddr, url: &str) -> Option<u16> {
        let (authority, path) = parts(url);
        let request = self.request(authority, path, "");
        let page = Line::open(at).await.unwrap().ask(&request).await;
        Some(page.unwrap()?.status)
    }

    /// The head of a request.
    pub fn request(&self, authority: &str, path: &str, more: &str) -> String {
        let path = if path.is_empty() { "/" } else { path };
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{more}");
        let cookies = self.0.get(host_of(authority)).into_iter().flatten();
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            head.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        head + "\r\n"
    }

    /// Opens a WebSocket as a page of the host does.
    pub async fn socket(&self, at: SocketAddr, origin: &str) -> Socket {
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let more = format!(
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        let (authority, _) = parts(origin);
        let mut line = Line::open(at).await.unwrap();
        let request = self.request(authority, "/socket", &more);
        let page = line.ask(&request).await.unwrap().expect("an answer");
        assert_eq!(page.status, 101, "{page:?}");
        Socket(line.0)
    }

    /// Which key signed the session on a host.
    pub fn key_id(&self, authority: &str) -> String {
        let token = &self.0[host_of(authority)][SESSION];
        let head = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap());
        let head: Value = serde_json::from_slice(&head.unwrap()).unwrap();
        head["kid"].as_str().unwrap().to_owned()
    }

    fn keep(&mut self, host: &str, page: &Page) {
        let jar = self.0.entry(host.to_owned()).or_default();
        for (_, line) in page.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.to_ascii_lowercase().contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// A connection that serves one request after the other.
pub struct Line(BufReader<TcpStream>);

impl Line {
    pub async fn open(at: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks, and reads the whole answer; none where the other side had ended the connection in order before it began one.
    ///
    /// # Errors
    /// When the connection breaks, or ends within an answer.
    pub async fn ask(&mut self, request: &str) -> Result<Option<Page>> {
        let asking = async {
            // Whoever has parted already takes nothing: what it said last is still to be read.
            let sent = self.0.get_mut().write_all(request.as_bytes()).await;
            match self.read().await {
                Ok(None) => Ok(None),
                answered => sent.and(answered),
            }
        };
        let asked = timeout(PATIENCE, asking).await;
        asked.unwrap_or_else(|_| panic!("no answer to {request}"))
    }

    async fn read(&mut self) -> Result<Option<Page>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && head.is_empty() => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let head = String::from_utf8(head).map_err(Error::other)?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|first| first.split(' ').nth(1));
        let status = status.unwrap_or_default().parse().map_err(Error::other)?;
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        let mut page = Page {
            status,
            headers: headers.collect(),
            body: String::new(),
        };
        // Neither we nor the app answer otherwise.
        let length = page.header("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().map_err(Error::other)?];
        self.0.read_exact(&mut body).await?;
        page.body = String::from_utf8_lossy(&body).into_owned();
        Ok(Some(page))
    }
}

/// An open WebSocket.
pub struct Socket(BufReader<TcpStream>);

/// How one ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// By a word: Close, with this code.
    Close(u16),
    /// Without one.
    Cut,
}

impl Socket {
    /// Sends a short text and waits until it is back.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn echo(&mut self, text: &str) -> std::result::Result<(), End> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126, "too long for a short frame");
        // A mask of zeros is a mask.
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        // One that was cut is told so by what is read.
        let _ = self.0.get_mut().write_all(&frame).await;
        let back = self.receive().await?;
        assert_eq!(back, text.as_bytes());
        Ok(())
    }

    /// Waits until it ends.
    pub async fn ended(mut self) -> End {
        match timeout(PATIENCE, self.receive()).await {
            Ok(Err(end)) => end,
            Ok(Ok(text)) => panic!("it said {text:?} instead of its end"),
            Err(_) => panic!("it does not end"),
        }
    }

    async fn receive(&mut self) -> std::result::Result<Vec<u8>, End> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.map_err(|_| End::Cut)?;
        let mut data = vec![0; usize::from(head[1] & 0x7f)];
        self.0.read_exact(&mut data).await.map_err(|_| End::Cut)?;
        match (head[0] & 0x0f, data.as_slice()) {
            (8, [high, low, ..]) => Err(End::Close(u16::from_be_bytes([*high, *low]))),
            (8, _) => panic!("a Close without a code"),
            _ => Ok(data),
        }
    }
}
