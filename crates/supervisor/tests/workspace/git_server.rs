//! A Git server: Git's own HTTP backend behind a few lines of HTTP, with the faults that a test asks for.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// What the server does instead of its work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers so many requests with this status.
    Status(u16, usize),
    /// Answers with something that is no Git.
    Garbage,
    /// Hangs up after so many bytes of a pack.
    Cut(usize),
    /// Sends so many bytes of a pack, and no more, but stays.
    Stall(usize),
}

#[derive(Default)]
struct Manner {
    /// The header that a request must have.
    authorization: Option<String>,
    fault: Option<Fault>,
    requests: usize,
}

/// Serves one repository, `api.git`.
pub struct GitServer {
    folder: TempDir,
    pub port: u16,
    manner: Arc<Mutex<Manner>>,
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl GitServer {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        fs::create_dir_all(work.join("docs")).unwrap();
        fs::create_dir_all(work.join("src/deep")).unwrap();
        git(&work, &["init", "--quiet"]);
        for (file, text) in [
            ("README", "first"),
            ("docs/page", "page"),
            ("src/deep/code", "code"),
        ] {
            fs::write(work.join(file), text).unwrap();
        }
        git(&work, &["add", "."]);
        git(&work, &["commit", "--quiet", "-m", "first"]);
        git(&work, &["tag", "v1"]);
        fs::write(work.join("README"), "second").unwrap();
        git(&work, &["commit", "--quiet", "-a", "-m", "second"]);
        git(&work, &["checkout", "--quiet", "-b", "topic"]);
        fs::write(work.join("README"), "topic").unwrap();
        git(&work, &["commit", "--quiet", "-a", "-m", "topic"]);
        git(&work, &["checkout", "--quiet", "main"]);
        git(
            folder.path(),
            &["clone", "--quiet", "--bare", "work", "api.git"],
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let manner = Arc::new(Mutex::new(Manner::default()));
        let (root, shared) = (folder.path().to_owned(), Arc::clone(&manner));
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (root, manner) = (root.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(&stream.unwrap(), &root, &manner));
            }
        });
        Self {
            folder,
            port,
            manner,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api.git", self.port)
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks for a header from now on.
    pub fn protect(&self, authorization: &str) {
        self.manner.lock().unwrap().authorization = Some(authorization.to_owned());
    }

    pub fn fail(&self, fault: Fault) {
        self.manner.lock().unwrap().fault = Some(fault);
    }

    pub fn requests(&self) -> usize {
        self.manner.lock().unwrap().requests
    }

    /// The commit of a name.
    pub fn commit(&self, name: &str) -> String {
        git(&self.folder.path().join("api.git"), &["rev-parse", name])
    }
}

fn serve(stream: &TcpStream, root: &Path, manner: &Mutex<Manner>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |l| l.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        answer(stream, root, manner, (&method, &target, &headers, &body)).ok()?;
    }
}

type Asked<'a> = (&'a str, &'a str, &'a HashMap<String, String>, &'a [u8]);

fn answer(
    mut stream: &TcpStream,
    root: &Path,
    manner: &Mutex<Manner>,
    asked: Asked<'_>,
) -> io::Result<()> {
    let (method, target, headers, body) = asked;
    let fault = {
        let mut manner = manner.lock().unwrap();
        manner.requests += 1;
        let allowed = manner.authorization.as_ref();
        if allowed.is_some_and(|allowed| headers.get("authorization") != Some(allowed)) {
            let head = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(head.as_bytes());
        }
        if let Some(Fault::Status(status, left)) = manner.fault {
            manner.fault = (left > 1).then_some(Fault::Status(status, left - 1));
            let head = format!("HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n\r\n");
            return stream.write_all(head.as_bytes());
        }
        manner.fault
    };
    if fault == Some(Fault::Garbage) {
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html>\n");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env(
            "CONTENT_TYPE",
            headers.get("content-type").map_or("", String::as_str),
        )
        .env("CONTENT_LENGTH", body.len().to_string())
        .env(
            "HTTP_CONTENT_ENCODING",
            headers.get("content-encoding").map_or("", String::as_str),
        )
        .env(
            "GIT_PROTOCOL",
            headers.get("git-protocol").map_or("", String::as_str),
        )
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    backend.stdin.take().unwrap().write_all(body)?;
    let output = backend.wait_with_output()?.stdout;
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let (head, content) = (
        String::from_utf8_lossy(&output[..end]).into_owned(),
        &output[end + 4..],
    );
    let status = head
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK");
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    )?;
    let is_pack = target.ends_with("git-upload-pack") && content.windows(4).any(|w| w == b"PACK");
    match fault {
        Some(Fault::Cut(bytes)) if is_pack => {
            stream.write_all(&content[..bytes])?;
            Err(io::ErrorKind::BrokenPipe.into())
        }
        Some(Fault::Stall(bytes)) if is_pack => {
            stream.write_all(&content[..bytes])?;
            // Until the other side goes.
            io::copy(&mut stream, &mut io::sink()).map(drop)
        }
        _ => stream.write_all(content),
    }
}
