//! An app behind the proxies, in a process of its own: its sockets are as many as theirs. A WebSocket gets back what it
//! sends; uploads are read and thanked for.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::sockets;

/// What the process is told to be.
pub(crate) const PART: &str = "part-app";
/// Longest head of a request.
const HEAD: usize = 16 * 1024;
/// What is read of an upload at once.
const PIECE: usize = 128 * 1024;

/// Serves until it is killed.
pub(crate) fn run(address: &str) {
    sockets::open_many_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // A connection that breaks is the proxy's to tell.
            connections.spawn(async move { drop(serve(stream).await) });
            while connections.try_join_next().is_some() {}
        }
    });
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    while let Some((head, ahead)) = read_head(&mut stream).await? {
        if let Some(key) = value(&head, "sec-websocket-key") {
            let accept = sockets::accept_of(key);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            drop(head);
            return echo(stream).await;
        }
        let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        skip(&mut stream, length - ahead as u64).await?;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
    Ok(())
}

/// A head, and how many bytes came behind it.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<(String, usize)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let ahead = bytes.len() - end - 4;
            bytes.truncate(end);
            return Ok(Some((String::from_utf8(bytes).unwrap(), ahead)));
        }
        assert!(bytes.len() < HEAD, "a head without an end");
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(found.1.trim())
}

async fn skip(stream: &mut TcpStream, mut left: u64) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= count as u64;
    }
    Ok(())
}

/// Sends short frames back.
async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    while let Some(text) = sockets::receive(&mut stream).await? {
        stream.write_all(&sockets::frame(&text, None)).await?;
    }
    Ok(())
}
