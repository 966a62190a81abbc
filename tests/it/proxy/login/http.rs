//! As much of HTTP as a test needs: one request a connection.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
pub struct Response {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

/// The cookies that one server set.
#[derive(Default)]
pub struct Jar(BTreeMap<String, String>);

/// Asks a server on the loopback interface. A form is posted.
pub async fn ask(address: &str, form: Option<&str>, jar: &mut Jar) -> Response {
    let rest = address.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let cookies: Vec<String> = jar
        .0
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let head = match form {
        None => format!("GET {path} HTTP/1.1\r\n"),
        Some(form) => format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        ),
    };
    let request = format!(
        "{head}Host: {host}\r\nAccept: text/html\r\nCookie: {}\r\nConnection: close\r\n\r\n{}",
        cookies.join("; "),
        form.unwrap_or_default()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    let mut location = None;
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("location") {
            location = Some(value.to_owned());
        }
        if name.eq_ignore_ascii_case("set-cookie") {
            let pair = value.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            jar.0.insert(name.to_owned(), value.to_owned());
            if value.is_empty() {
                jar.0.remove(name);
            }
        }
    }
    Response {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        location,
        body: body.to_owned(),
    }
}
