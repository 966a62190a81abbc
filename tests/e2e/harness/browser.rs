//! A scene that plays in a real browser (tests/e2e/browser/scenes), and the talk with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

const DRIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/browser/drive");
/// The last thing that a scene reaches.
const END: &str = "the end";

/// A scene that plays. Each wait in it has a deadline of its own, so that it ends by itself.
pub(crate) struct Scene {
    name: &'static str,
    child: Child,
    lines: BufReader<ChildStdout>,
    complaints: File,
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Scene {
    /// Begins one. Its arguments are told in its script.
    pub(crate) fn begin(name: &'static str, arguments: &Value) -> Self {
        let complaints = tempfile::tempfile().unwrap();
        let mut child = Command::new(DRIVE)
            .args([format!("scenes/{name}.cjs"), arguments.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone().unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self {
            name,
            child,
            lines,
            complaints,
        }
    }

    /// Plays one from beginning to end.
    pub(crate) fn play(name: &'static str, arguments: &Value) {
        Self::begin(name, arguments).end();
    }

    /// Waits until it has got somewhere. It waits there, too.
    pub(crate) fn until(&mut self, what: &str) {
        let name = self.name;
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        assert!(
            told["reached"] == what,
            "{name} did not get to {what:?} but to {line:?}:\n{}",
            self.said()
        );
    }

    /// Has it go on.
    pub(crate) fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(b"{}\n").unwrap();
    }

    /// Waits for its end, which has to be a good one.
    pub(crate) fn end(mut self) {
        self.until(END);
        let (name, status) = (self.name, self.child.wait().unwrap());
        assert!(status.success(), "{name}: {}", self.said());
    }

    fn said(&mut self) -> String {
        // What it says stands in the file once it has ended.
        drop(self.child.stdin.take());
        drop(self.child.wait());
        let mut text = String::new();
        self.complaints.rewind().unwrap();
        self.complaints.read_to_string(&mut text).unwrap();
        text
    }
}
