//! The app in the workspace: it greets, takes its time where it is told to, and sends back what a WebSocket brings.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What has no answer at once.
pub const SLOW_PATH: &str = "/slow";
/// But after this.
const SLOW: Duration = Duration::from_secs(4);
/// What it says.
pub const GREETING: &str = "the app of the workspace";
/// What RFC 6455 has servers add to a key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// One that runs for as long as the value lives.
pub struct App {
    seen: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl App {
    /// Serves at this address.
    pub async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (mut serving, noted) = (JoinSet::new(), seen.clone());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let noted = noted.clone();
                // A connection that breaks is the proxy's to tell.
                connections.spawn(async move { drop(serve(stream, &noted).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            seen,
            _serving: serving,
        }
    }

    /// How often it was asked for a path.
    pub fn times_seen(&self, path: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| *seen == path).count()
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    while let Some(head) = read_head(&mut stream).await? {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_slow = path == SLOW_PATH;
        seen.lock().unwrap().push(path);
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_key = name.eq_ignore_ascii_case("sec-websocket-key");
            is_key.then(|| value.trim().to_owned())
        });
        if let Some(key) = key {
            let accept = digest(
                &SHA1_FOR_LEGACY_USE_ONLY,
                format!("{key}{MAGIC}").as_bytes(),
            );
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                STANDARD.encode(accept)
            );
            stream.write_all(answer.as_bytes()).await?;
            return echo(stream).await;
        }
        if is_slow {
            tokio::time::sleep(SLOW).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GREETING}",
            GREETING.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Requests have no bodies here.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8(head).unwrap()))
}

/// Sends the data of short frames back.
async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 6];
        stream.read_exact(&mut head).await?;
        let mut data = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut data).await?;
        if head[0] & 0x0f == 8 {
            return Ok(());
        }
        // Clients mask, here with zeros.
        let mut frame = vec![head[0], head[1] & 0x7f];
        frame.extend_from_slice(&data);
        stream.write_all(&frame).await?;
    }
}
