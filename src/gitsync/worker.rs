//! Runs a fetch in a process of its own: our own binary, told what to do over its standard input.
//!
//! Nothing secret is in its arguments or environment. It is killed when its time is up, when the caller goes away, and
//! by itself soon after in case nobody is left to do so.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::gitsync::fetch::{
    Credentials, FetchError, FetchRequest, Fetched, History, apply_process_settings, fetch_here,
};
use crate::gitsync::tree::Tree;
use crate::model::sync::{Code, SourceError, SourceFile};

/// The hidden subcommand of our binary that does the work.
pub const SUBCOMMAND: &str = "git-fetch";

/// How long a worker has, after its time is up, to say so itself.
const GRACE: Duration = Duration::from_millis(500);
/// The largest request or head of an answer.
const MAX_HEAD: usize = 64 * 1024 * 1024;

/// Starts workers.
#[derive(Clone, Debug)]
pub struct FetchWorker {
    program: PathBuf,
}

impl FetchWorker {
    /// Workers that run this program, which understands [`SUBCOMMAND`]: our own binary.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// Workers that run the binary of this process.
    ///
    /// # Errors
    /// When the system does not say where it is.
    pub fn of_this_program() -> io::Result<Self> {
        std::env::current_exe().map(Self::new)
    }

    /// Fetches. Dropping the future kills the worker.
    ///
    /// # Errors
    /// When anything fails, and when the time of the request is up.
    pub async fn fetch(
        &self,
        request: &FetchRequest,
        credentials: Option<&Credentials>,
    ) -> Result<Fetched, FetchError> {
        let lost = |what: &'static str| {
            move |error: io::Error| FetchError::Worker(format!("failed to {what}: {error}"))
        };
        let mut child = Command::new(&self.program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(lost("start it"))?;
        let limit = Duration::from_millis(request.timeout_ms) + GRACE;
        let answer = tokio::time::timeout(limit, converse(&mut child, request, credentials)).await;
        if let Ok(Ok(fetched)) = answer {
            let _ = child.wait().await;
            return fetched;
        }
        // Without an answer: it is killed and reaped before anybody touches the repository again.
        let _ = child.start_kill();
        let status = child.wait().await.map_err(lost("wait for it"))?;
        match answer {
            Err(_) => Err(FetchError::Timeout(request.timeout_ms)),
            Ok(_) => Err(ending(status)),
        }
    }
}

fn no_memory() -> FetchError {
    FetchError::Limit {
        limit: "fetchMemory".to_owned(),
        detail: "the process that fetches got no more memory".to_owned(),
    }
}

/// A process that gets no more memory aborts, wherever it is. Its clock aborts it too, but only when we are gone.
fn ending(status: ExitStatus) -> FetchError {
    use std::os::unix::process::ExitStatusExt as _;
    match status.signal() {
        Some(signal) if signal == rustix::process::Signal::ABORT.as_raw() => no_memory(),
        Some(signal) => FetchError::Worker(format!("killed by signal {signal}")),
        None => FetchError::Worker(status.to_string()),
    }
}

async fn converse(
    child: &mut Child,
    request: &FetchRequest,
    credentials: Option<&Credentials>,
) -> io::Result<Result<Fetched, FetchError>> {
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let question = encode_request(request, credentials)?;
    stdin.write_all(&question).await?;
    stdin.shutdown().await?;
    drop(stdin);
    let size = usize::try_from(stdout.read_u64().await?).unwrap_or(usize::MAX);
    if size > MAX_HEAD {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut head = vec![0; size];
    stdout.read_exact(&mut head).await?;
    let answer: Answer = serde_json::from_slice(&head)?;
    let (mut fetched, sizes) = match answer.into_parts() {
        Ok(parts) => parts,
        Err(error) => return Ok(Err(error)),
    };
    let most = request.tree.limits.file_bytes;
    for (path, size) in sizes {
        if size > most {
            return Err(io::Error::other("its answer has a file over the limit"));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        stdout.read_exact(&mut content).await?;
        if let Some(tree) = &mut fetched.tree {
            tree.files.push(SourceFile { path, content });
        }
    }
    Ok(Ok(fetched))
}

/// The whole life of a worker: read the request, fetch, write the answer.
pub fn run() -> ExitCode {
    match serve(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let (request, credentials) = decode_request(input)?;
    let answer = match apply_process_settings(&request) {
        Err(error) => Err(error),
        Ok(()) => match start_clock(request.timeout_ms) {
            Ok(expired) => fetch_here(&request, credentials.as_ref(), &expired),
            // Not even a second stack found room.
            Err(_) => Err(no_memory()),
        },
    };
    write_answer(answer, output)
}

/// Tells when time is up, and ends the process a little later whatever it does.
fn start_clock(timeout_ms: u64) -> io::Result<Arc<AtomicBool>> {
    let expired = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&expired);
    // Joined by nobody: it ends with the process, which ends with the answer.
    std::thread::Builder::new()
        .name("fetch-clock".to_owned())
        .spawn(move || {
            std::thread::sleep(Duration::from_millis(timeout_ms));
            flag.store(true, Ordering::Relaxed);
            std::thread::sleep(GRACE * 4);
            std::process::abort();
        })?;
    Ok(expired)
}

/// What stands before the contents of the files.
#[derive(Serialize, Deserialize)]
struct Answer {
    outcome: Result<Head, FetchError>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    commit: String,
    revision: String,
    history: History,
    tree: Option<TreeHead>,
}

#[derive(Serialize, Deserialize)]
struct TreeHead {
    path_missing: bool,
    files: Vec<(String, u64)>,
    errors: Vec<ErrorHead>,
    unattributable: std::collections::BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct ErrorHead {
    code: u16,
    file: Option<String>,
    message: String,
}

type Sizes = Vec<(String, u64)>;

impl Answer {
    fn into_parts(self) -> Result<(Fetched, Sizes), FetchError> {
        let head = self.outcome?;
        let (tree, sizes) = match head.tree {
            None => (None, Vec::new()),
            Some(tree) => {
                let errors = tree
                    .errors
                    .into_iter()
                    .map(|error| SourceError {
                        file: error.file,
                        ..SourceError::new(code_of(error.code), error.message)
                    })
                    .collect();
                let read = Tree {
                    path_missing: tree.path_missing,
                    files: Vec::new(),
                    errors,
                    unattributable: tree.unattributable,
                };
                (Some(read), tree.files)
            }
        };
        let fetched = Fetched {
            commit: head.commit,
            revision: head.revision,
            history: head.history,
            tree,
        };
        Ok((fetched, sizes))
    }
}

fn code_of(number: u16) -> Code {
    let known = Code::ALL.iter().find(|code| code.number() == number);
    known.copied().unwrap_or(Code::UnsafeEntry)
}

fn write_answer(answer: Result<Fetched, FetchError>, output: &mut impl Write) -> io::Result<()> {
    let mut files = Vec::new();
    let outcome = answer.map(|fetched| Head {
        commit: fetched.commit,
        revision: fetched.revision,
        history: fetched.history,
        tree: fetched.tree.map(|tree| {
            files = tree.files;
            TreeHead {
                path_missing: tree.path_missing,
                files: files
                    .iter()
                    .map(|file| (file.path.clone(), file.content.len() as u64))
                    .collect(),
                errors: tree
                    .errors
                    .into_iter()
                    .map(|error| ErrorHead {
                        code: error.code.number(),
                        file: error.file,
                        message: error.message,
                    })
                    .collect(),
                unattributable: tree.unattributable,
            }
        }),
    });
    let head = serde_json::to_vec(&Answer { outcome })?;
    output.write_all(&(head.len() as u64).to_be_bytes())?;
    output.write_all(&head)?;
    for file in &files {
        output.write_all(&file.content)?;
    }
    output.flush()
}

/// Length and JSON of the request, then the credentials: how many parts, and each with its length.
fn encode_request(
    request: &FetchRequest,
    credentials: Option<&Credentials>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let head = serde_json::to_vec(request)?;
    let parts: Vec<&str> = match credentials {
        None => Vec::new(),
        Some(Credentials::Bearer { token }) => vec![token],
        Some(Credentials::Basic { username, password }) => vec![username, password],
    };
    let size = head.len() + parts.iter().map(|part| part.len() + 8).sum::<usize>() + 16;
    // As large as it will get: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.extend_from_slice(&(head.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&(parts.len() as u64).to_be_bytes());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Ok(bytes)
}

fn decode_request(input: &mut impl Read) -> io::Result<(FetchRequest, Option<Credentials>)> {
    let head = read_block(input)?;
    let request = serde_json::from_slice(&head)?;
    let count = read_length(input)?;
    if count > 2 {
        return Err(io::Error::other("there are too many parts of credentials"));
    }
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let part = read_block(input)?;
        let text = std::str::from_utf8(&part).map_err(io::Error::other)?;
        parts.push(Zeroizing::new(text.to_owned()));
    }
    let mut parts = parts.into_iter();
    let credentials = match (parts.next(), parts.next()) {
        (None, _) => None,
        (Some(token), None) => Some(Credentials::Bearer { token }),
        (Some(username), Some(password)) => Some(Credentials::Basic { username, password }),
    };
    Ok((request, credentials))
}

fn read_length(input: &mut impl Read) -> io::Result<usize> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    usize::try_from(u64::from_be_bytes(bytes)).map_err(io::Error::other)
}

fn read_block(input: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = read_length(input)?;
    if size > MAX_HEAD {
        return Err(io::Error::other("the request is too long"));
    }
    let mut bytes = Zeroizing::new(vec![0; size]);
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
