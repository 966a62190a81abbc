//! The stream of a watch, with its own faults: ended, expired, events lost, twice or late.

use futures::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::BoxError;

use super::Faults;
use super::layer::reset;
use super::script::EventFault;

pub(super) type FaultyBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a test does to a running watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The server ends it, as it does every few minutes.
    Close,
    /// The server says that the resource version is too old.
    Expire,
    /// The connection breaks.
    Break,
}

struct Watch {
    faults: Faults,
    path: String,
    body: FaultyBody,
    commands: mpsc::Receiver<Command>,
    /// A line that has no end yet.
    partial: Vec<u8>,
    ended: bool,
}

/// Puts the faults of watches between the server's stream and the client.
pub(super) fn wrap(
    faults: Faults,
    path: String,
    body: FaultyBody,
    commands: mpsc::Receiver<Command>,
) -> FaultyBody {
    let watch = Watch {
        faults,
        path,
        body,
        commands,
        partial: Vec::new(),
        ended: false,
    };
    let frames = stream::unfold(watch, |mut watch| async {
        let next = watch.next().await?;
        Some((next.map(Frame::data), watch))
    });
    StreamBody::new(frames.boxed()).boxed_unsync()
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        while !self.ended {
            tokio::select! {
                command = self.commands.recv() => {
                    self.ended = true;
                    return match command {
                        Some(Command::Expire) => Some(Ok(expired())),
                        Some(Command::Break) => Some(Err(reset())),
                        // Nobody can command any more: the kit that could is gone.
                        Some(Command::Close) | None => None,
                    };
                }
                frame = self.body.frame() => {
                    let data = match frame? {
                        Ok(frame) => frame.into_data().unwrap_or_default(),
                        Err(error) => return Some(Err(error)),
                    };
                    let lines = self.lines(&data).await;
                    if !lines.is_empty() {
                        return Some(Ok(lines));
                    }
                }
            }
        }
        None
    }

    /// The whole lines so far, after what befell them.
    async fn lines(&mut self, data: &[u8]) -> Bytes {
        self.partial.extend_from_slice(data);
        let mut out = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            let times = match self.faults.judge_event(&self.path, &event) {
                EventFault::Pass => 1,
                EventFault::Drop => 0,
                EventFault::Duplicate => 2,
                EventFault::Delay(time) => {
                    tokio::time::sleep(time).await;
                    1
                }
            };
            (0..times).for_each(|_| out.extend_from_slice(&line));
        }
        out.into()
    }
}

fn expired() -> Bytes {
    let event = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    }});
    format!("{event}\n").into()
}
