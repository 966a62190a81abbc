//! A person at a browser, as far as HTTP goes: cookies by host, redirects, what browsers say of navigations.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(90);
/// No login takes more hops.
const MOST_HOPS: usize = 12;
/// What browsers send when somebody follows a link.
const NAVIGATION: [(&str, &str); 3] = [
    ("Accept", "text/html"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
];

/// Somebody with cookies. All hosts are ports of this machine.
#[derive(Default)]
pub(crate) struct Person {
    cookies: HashMap<String, BTreeMap<String, String>>,
}

/// What was answered.
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Page {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Host, port and path of an address.
fn parts(url: &str) -> (String, u16, String) {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (host, port) = authority.split_once(':').expect("a port");
    (host.to_owned(), port.parse().unwrap(), path.to_owned())
}

impl Person {
    /// Follows a link, and where it leads.
    pub(crate) fn visit(&mut self, url: &str) -> Page {
        let mut page = self.ask("GET", url, &NAVIGATION);
        for _ in 0..MOST_HOPS {
            let Some(next) = page
                .header("location")
                .filter(|_| (301..=303).contains(&page.status))
            else {
                return page;
            };
            let next = if next.starts_with('/') {
                let (host, port, _) = parts(&page.url);
                format!("http://{host}:{port}{next}")
            } else {
                next.to_owned()
            };
            page = self.ask("GET", &next, &NAVIGATION);
        }
        panic!("it leads round and round, at last to {}", page.url);
    }

    /// Asks once.
    pub(crate) fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Page {
        let (host, _, _) = parts(url);
        let mut reader = BufReader::new(self.send(method, url, headers, "Connection: close\r\n"));
        let (status, headers) = read_head(&mut reader);
        self.keep(&host, &headers);
        let mut page = Page {
            url: url.to_owned(),
            status,
            headers,
            body: String::new(),
        };
        let body = if page.header("transfer-encoding") == Some("chunked") {
            read_chunks(&mut reader)
        } else {
            let mut body = Vec::new();
            reader.read_to_end(&mut body).unwrap();
            body
        };
        page.body = String::from_utf8_lossy(&body).into_owned();
        page
    }

    /// Opens a WebSocket as a page of `origin` does.
    pub(crate) fn socket(
        &mut self,
        url: &str,
        origin: &str,
        protocol: &str,
    ) -> Result<Socket, u16> {
        let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
        let own = [
            ("Origin", origin),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", &key),
            ("Sec-WebSocket-Protocol", protocol),
        ];
        let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
        let mut reader = BufReader::new(self.send("GET", url, &own, upgrade));
        match read_head(&mut reader).0 {
            101 => Ok(Socket { reader }),
            status => Err(status),
        }
    }

    fn send(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        connection: &str,
    ) -> TcpStream {
        let (host, port, path) = parts(url);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{connection}");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let cookies = self.cookies.get(&host).into_iter().flatten();
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            head.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream
    }

    fn keep(&mut self, host: &str, headers: &[(String, String)]) {
        let jar = self.cookies.entry(host.to_owned()).or_default();
        for (_, line) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.to_ascii_lowercase().contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The cookies for a host, to be stolen.
    pub(crate) fn cookies_of(&self, host: &str) -> BTreeMap<String, String> {
        self.cookies.get(host).cloned().unwrap_or_default()
    }

    /// Puts cookies of somewhere else into those of a host.
    pub(crate) fn plant(&mut self, host: &str, cookies: BTreeMap<String, String>) {
        self.cookies.insert(host.to_owned(), cookies);
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let first = lines.first().expect("an answer");
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines[1..].iter().map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    (status, headers.collect())
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return body;
        }
    }
}

/// An open WebSocket.
pub(crate) struct Socket {
    reader: BufReader<TcpStream>,
}

impl Socket {
    /// Sends a short message.
    pub(crate) fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126, "too long for a short frame");
        // A mask of zeros is a mask.
        let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.reader.get_mut().write_all(&frame).unwrap();
    }

    /// The next message; none when the other side has ended it.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head).ok()?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                self.reader.read_exact(&mut long).ok()?;
                usize::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                self.reader.read_exact(&mut long).ok()?;
                usize::try_from(u64::from_be_bytes(long)).unwrap()
            }
            short => usize::from(short),
        };
        let mut message = vec![0; length];
        self.reader.read_exact(&mut message).ok()?;
        (head[0] & 0x0f != 8).then_some(message)
    }

    /// Reads until a text has come.
    pub(crate) fn until(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            let message = self
                .receive()
                .unwrap_or_else(|| panic!("ended after {seen:?}"));
            seen.push_str(&String::from_utf8_lossy(&message));
        }
    }
}
