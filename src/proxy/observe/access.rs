//! The access log: a JSON object a line on standard output, written by a task of its own.
//!
//! Requests never wait for it. When lines come faster than they are written, they are left out and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::sleep;

use crate::proxy::observe::metrics::ProxyMetrics;

/// Lines that may wait.
const QUEUE: usize = 8192;
/// Lines that are written at once, at most.
const BATCH: usize = 1024;
/// How long further lines are waited for before the next are written: one by one each would cost a system call.
const PAUSE: Duration = Duration::from_millis(50);

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When the request came.
    pub time: Timestamp,
    /// `request`, or `open` and `close` of a stream.
    pub event: &'static str,
    /// Of the request; both lines of a stream have the same.
    pub id: u64,
    /// The other end.
    pub client: String,
    /// The method.
    pub method: String,
    /// The host, without port.
    pub host: String,
    /// The path, without query.
    pub path: String,
    /// Version of HTTP.
    pub version: &'static str,
    /// Who asked, where somebody was signed in.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Namespace and name of the workspace.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Arc<str>>,
    /// The port; none, the editor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What was decided.
    pub decision: &'static str,
    /// By which rule.
    pub reason: &'static str,
    /// The answer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// Until the end of the answer.
    pub milliseconds: u64,
}

fn text<S: Serializer>(value: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().serialize(serializer)
}

/// Takes lines.
#[derive(Clone)]
pub struct AccessLog {
    lines: Option<Sender<Line>>,
    metrics: Arc<ProxyMetrics>,
}

impl AccessLog {
    /// A log, and what is to be written.
    pub fn new(metrics: Arc<ProxyMetrics>) -> (Self, Receiver<Line>) {
        let (lines, written) = mpsc::channel(QUEUE);
        let log = Self {
            lines: Some(lines),
            metrics,
        };
        (log, written)
    }

    /// A log that writes nothing.
    pub fn off(metrics: Arc<ProxyMetrics>) -> Self {
        Self {
            lines: None,
            metrics,
        }
    }

    /// Whether a line would be written: who asks first need not make one.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Adds a line, or counts it as lost.
    pub fn add(&self, line: Line) {
        if let Some(lines) = &self.lines
            && lines.try_send(line).is_err()
        {
            self.metrics.access_lines_lost.inc();
        }
    }
}

/// Writes lines until the last log is gone.
///
/// # Errors
/// When they can't be written any more.
pub async fn write(mut lines: Receiver<Line>, mut to: impl Write) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        text.clear();
        for line in batch.drain(..) {
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        to.write_all(&text)?;
        to.flush()?;
        if lines.len() < BATCH && !lines.is_closed() {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::route::metrics::RouteMetrics;

    fn line(id: u64) -> Line {
        Line {
            time: Timestamp::UNIX_EPOCH,
            event: "request",
            id,
            client: "192.0.2.1".to_owned(),
            method: "GET".to_owned(),
            host: "a.ws.example.com".to_owned(),
            path: "/".to_owned(),
            version: "1.1",
            user: Some("alice@example.com".into()),
            workspace: None,
            port: None,
            decision: "allow",
            reason: "owner",
            status: Some(200),
            received: 0,
            sent: 5,
            milliseconds: 1,
        }
    }

    #[tokio::test]
    async fn lines_are_json_objects_in_order() {
        let (log, lines) = AccessLog::new(Arc::new(ProxyMetrics::new(&RouteMetrics::default())));
        log.add(line(1));
        log.add(line(2));
        drop(log);
        let mut text = Vec::new();
        write(lines, &mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        let ids: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].clone())
            .collect();
        assert_eq!(ids, [1, 2]);
    }

    #[tokio::test]
    async fn a_log_that_nobody_writes_holds_nobody_up_and_counts_what_is_lost() {
        let metrics = Arc::new(ProxyMetrics::new(&RouteMetrics::default()));
        let (log, _lines) = AccessLog::new(metrics.clone());
        for id in 0..QUEUE as u64 + 3 {
            log.add(line(id));
        }
        assert_eq!(metrics.access_lines_lost.get(), 3);
    }
}
