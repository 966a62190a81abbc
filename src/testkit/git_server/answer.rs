//! Answering one request: `git http-backend` for what is proper, the script for what is not.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use tokio::io::AsyncWriteExt as _;

use super::Shared;
use super::repository::command;
use super::script::{Access, Behaviour};

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;
pub(super) type Answer = Response<AnswerBody>;

/// Answers; an error breaks the connection.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> io::Result<Answer> {
    let entry = shared.record(&request);
    let target = request.uri().clone();
    let behaviour = shared.behaviour(target.path());
    let content_type = content_type(&target);
    let answer = match behaviour {
        Some(Behaviour::NeverAnswer) => pending().await,
        Some(Behaviour::Break) => return Err(broken()),
        Some(Behaviour::Status(code)) => plain(code, "no"),
        Some(Behaviour::Redirect(place)) => {
            let path = target.path_and_query().map_or("/", |path| path.as_str());
            let mut answer = plain(302, "elsewhere");
            let place = format!("{place}{path}")
                .try_into()
                .map_err(io::Error::other)?;
            answer.headers_mut().insert("location", place);
            answer
        }
        Some(Behaviour::Garbage(bytes)) => typed(&content_type, full(bytes)),
        other if !lets_in(&shared.access(), request.headers()) => {
            drop(other);
            refused(&shared.access())
        }
        None => backend(shared, request).await?,
        Some(behaviour) => {
            let proper = backend(shared, request).await?;
            distorted(proper, behaviour).await?
        }
    };
    shared.answered(entry, answer.status().as_u16());
    Ok(answer)
}

async fn distorted(answer: Answer, behaviour: Behaviour) -> io::Result<Answer> {
    let (mut parts, body) = answer.into_parts();
    let bytes = body.collect().await?.to_bytes();
    // Its length is no longer what the backend said.
    parts.headers.remove("content-length");
    let half = bytes.slice(..bytes.len() / 2);
    let body = match behaviour {
        Behaviour::HalfThenStall => {
            let rest = stream::once(pending::<io::Result<Frame<Bytes>>>());
            streamed(stream::iter([Ok(Frame::data(half))]).chain(rest))
        }
        Behaviour::HalfThenBreak => {
            // The first half must be on its way before the connection breaks.
            let rest = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(broken())
            });
            streamed(stream::iter([Ok(Frame::data(half))]).chain(rest))
        }
        Behaviour::Drip(size, pause) => {
            let bits: Vec<Bytes> = bytes
                .chunks(size.max(1))
                .map(Bytes::copy_from_slice)
                .collect();
            streamed(stream::iter(bits).then(move |bit| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(bit))
            }))
        }
        Behaviour::Tamper(change) => full(change(bytes.to_vec())),
        _ => full(bytes.to_vec()),
    };
    Ok(Response::from_parts(parts, body))
}

/// Asks the real thing, as a web server does it (RFC 3875).
async fn backend(shared: &Shared, request: Request<Incoming>) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name: &str| {
        let value = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut backend = tokio::process::Command::from(command(None));
    let mut child = backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take();
    let (written, output) = tokio::join!(
        async {
            match stdin {
                // A backend that refuses a request does not read it.
                Some(mut stdin) => stdin.write_all(&body).await,
                None => Ok(()),
            }
        },
        child.wait_with_output()
    );
    drop(written);
    parse(&output?.stdout)
}

/// Splits headers and body of the backend's output.
fn parse(output: &[u8]) -> io::Result<Answer> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("git http-backend gave no headers"))?;
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.get(..3).unwrap_or("500");
            response = response.status(code);
        } else {
            response = response.header(name, value);
        }
    }
    response
        .body(full(output[end + 4..].to_vec()))
        .map_err(io::Error::other)
}

fn lets_in(access: &Access, headers: &HeaderMap) -> bool {
    let wanted = match access {
        Access::Open => return true,
        Access::Basic(name, password) => {
            format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
        }
        Access::Bearer(token) => format!("Bearer {token}"),
    };
    headers
        .get("authorization")
        .is_some_and(|value| value.as_bytes() == wanted.as_bytes())
}

fn refused(access: &Access) -> Answer {
    let mut answer = plain(401, "who are you?");
    let scheme = match access {
        Access::Bearer(_) => r#"Bearer realm="git""#,
        _ => r#"Basic realm="git""#,
    };
    let scheme = scheme.parse().expect("a literal header");
    answer.headers_mut().insert("www-authenticate", scheme);
    answer
}

/// What a client expects of this path, so that a wrong answer gets as far as its parser.
fn content_type(target: &http::Uri) -> String {
    if target.path().ends_with("/info/refs") {
        "application/x-git-upload-pack-advertisement".to_owned()
    } else {
        "application/x-git-upload-pack-result".to_owned()
    }
}

fn typed(content_type: &str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    let value = content_type.parse().expect("a literal header");
    answer.headers_mut().insert("content-type", value);
    answer
}

fn plain(code: u16, text: &str) -> Answer {
    let mut answer = typed("text/plain", full(text.as_bytes().to_vec()));
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    answer
}

fn full(bytes: Vec<u8>) -> AnswerBody {
    let never = |never: Infallible| match never {};
    Full::new(Bytes::from(bytes)).map_err(never).boxed_unsync()
}

fn streamed(
    frames: impl stream::Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static,
) -> AnswerBody {
    StreamBody::new(frames.boxed()).boxed_unsync()
}

fn broken() -> io::Error {
    io::Error::other("the script breaks the connection")
}
