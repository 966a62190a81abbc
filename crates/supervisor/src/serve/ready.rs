//! The kubelet's question: one request a connection, an answer without data.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::{Board, guests};

/// How many may ask at once. More are hung up on: the kubelet is one.
const ASKERS: usize = 16;

/// For a request and its answer.
const TIME: Duration = Duration::from_secs(2);

/// How long a request may be.
const REQUEST: usize = 4 * 1024;

/// Answers until the process ends.
pub fn serve(listener: &TcpListener, board: &Arc<Board>) {
    let board = Arc::clone(board);
    guests::serve(listener, "ready", ASKERS, move |stream| {
        answer(stream, &board)
    });
}

fn answer(stream: TcpStream, board: &Board) {
    let mut stream = Deadline::new(stream, board.clock, TIME);
    let mut request = Vec::new();
    let mut piece = [0; 512];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 && request.len() < REQUEST => {
                request.extend_from_slice(piece.get(..count).unwrap_or_default());
            }
            _ => return,
        }
    }
    let status = status(&request, || board.is_ready());
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    // Who does not want the answer does not get it.
    let _ = stream.write_all(head.as_bytes());
}

fn status(request: &[u8], is_ready: impl FnOnce() -> bool) -> &'static str {
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/ready")) if is_ready() => "200 OK",
        (Some(b"GET"), Some(b"/ready")) => "503 Service Unavailable",
        (Some(b"GET"), _) => "404 Not Found",
        _ => "405 Method Not Allowed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_question_is_answered() {
        for (request, ready, expected) in [
            ("GET /ready HTTP/1.1\r\n", true, "200 OK"),
            ("GET /ready HTTP/1.1\r\n", false, "503 Service Unavailable"),
            ("GET /ready/x HTTP/1.1\r\n", true, "404 Not Found"),
            ("GET / HTTP/1.1\r\n", true, "404 Not Found"),
            ("POST /ready HTTP/1.1\r\n", true, "405 Method Not Allowed"),
            ("\r\n", true, "405 Method Not Allowed"),
        ] {
            assert_eq!(status(request.as_bytes(), || ready), expected, "{request}");
        }
    }
}
