//! The editor: looked at before it is started, started again when it dies, asked until it answers.

use std::env::consts::ARCH;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use workstead_link::{Cause, EDITOR_PORT, Editor, StepFailure};

use super::{Context, needs};
use crate::clock::Clock;
use crate::outcome;
use crate::process::{Output, Running};
use crate::tail::Redactor;

/// How often it may die before that is called a failure.
const DEATHS: u32 = 3;

/// How long it may run without an answer before that is called a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two starts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A life that lasted this long is no reason to wait before the next.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Between two questions, at first and at most.
const QUESTIONS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// For one question.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Takes the step of the editor, for as long as the workspace runs.
pub fn run(context: &Context, index: usize, editor: &Editor) {
    context.reporter.begin(index);
    if let Err(why) = needs::check(&editor.needs, &context.places, ARCH) {
        return context.reporter.failed(index, incompatible(editor, &why));
    }
    let mut deaths = 0;
    let mut pause = PAUSES.0;
    loop {
        let begun = context.clock.elapsed();
        let failure = match live(context, index, editor, deaths >= DEATHS) {
            Ok(failure) => failure,
            Err(error) => no_start(context, editor, &error),
        };
        if context.family.is_ending() {
            return;
        }
        if context.clock.elapsed().saturating_sub(begun) >= LONG_LIFE {
            (deaths, pause) = (0, PAUSES.0);
        }
        deaths += 1;
        if deaths < DEATHS {
            context.reporter.retrying(index, failure);
        } else {
            context.reporter.failed(index, failure);
        }
        if !context.family.pause(pause) {
            return;
        }
        pause = PAUSES.1.min(pause * 2);
    }
}

/// One life of the editor, from its start to its end; gives how it ended.
fn live(
    context: &Context,
    index: usize,
    editor: &Editor,
    is_failed: bool,
) -> io::Result<StepFailure> {
    let mut command = command(context, editor)?;
    let redactor = Redactor::of_workspace(&context.places);
    let output = Output::of(&mut command, Some(&editor.name), redactor, context.clock)?;
    let running = context.family.start(command)?;
    // One that died too often stays failed until it answers.
    if !is_failed {
        context.reporter.begin(index);
    }
    let status = match await_answer(context, index, editor, &running, &output) {
        Some(status) => status,
        None => loop {
            if let Some(status) = running.wait(Duration::from_secs(3600)) {
                break status;
            }
        },
    };
    // Its children would hold the port against the next one.
    running.end();
    Ok(StepFailure {
        exit_code: status.code(),
        tail: output.tail(),
        ..not_ready(editor, &outcome::words(status))
    })
}

/// Asks until it answers; gives how it ended if it did before.
fn await_answer(
    context: &Context,
    index: usize,
    editor: &Editor,
    running: &Running,
    output: &Output,
) -> Option<ExitStatus> {
    let begun = context.clock.elapsed();
    let mut pause = QUESTIONS.0;
    let mut is_late = false;
    loop {
        if let Some(status) = running.wait(pause) {
            return Some(status);
        }
        if answers(editor.port, &editor.ready_path, context.clock) {
            context.reporter.done(index, None);
            return None;
        }
        pause = QUESTIONS.1.min(pause * 5 / 4);
        if !is_late && context.clock.elapsed().saturating_sub(begun) > PATIENCE {
            is_late = true;
            let (port, path) = (editor.port, &editor.ready_path);
            let what = format!(
                "runs, but gave no good answer on port {port}, path {path}, in {} s",
                PATIENCE.as_secs()
            );
            let failure = StepFailure {
                tail: output.tail(),
                ..not_ready(editor, &what)
            };
            context.reporter.failed(index, failure);
        }
    }
}

fn command(context: &Context, editor: &Editor) -> io::Result<Command> {
    let (program, arguments) = editor
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("the class gives it no command"))?;
    let program = if program.contains('/') {
        context
            .places
            .named(&context.places.at(&editor.folder), program)
    } else {
        Path::new(program).to_owned()
    };
    let folder = context.work_folder();
    let mut command = Command::new(program);
    command.args(arguments);
    context.environment.apply(&mut command);
    // A folder that is missing is a failed clone, which is said elsewhere; the editor still opens.
    let here = if folder.is_dir() {
        folder
    } else {
        context.places.projects()
    };
    command.env("WORKSTEAD_FOLDER", &here);
    // Not the usual one: it goes on to every terminal, where a program of the user's would take it for its own.
    if editor.port != EDITOR_PORT {
        command.env("PORT", editor.port.to_string());
    }
    if here.is_dir() {
        command.current_dir(here);
    }
    Ok(command)
}

/// Whether a `GET` of the path has a good answer. Only the first line is read.
fn answers(port: u16, path: &str, clock: Clock) -> bool {
    let ask = || -> io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
        let until = clock.elapsed() + ANSWER_TIME;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        )?;
        let mut start = Vec::new();
        let mut piece = [0; 64];
        while start.len() < 13 {
            let left = until.saturating_sub(clock.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece)? {
                0 => return Ok(false),
                count => start.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        }
        Ok(is_good(&start))
    };
    ask().unwrap_or(false)
}

fn is_good(start: &[u8]) -> bool {
    start.starts_with(b"HTTP/1.") && matches!(start.get(8..10), Some(b" 2" | b" 3"))
}

fn incompatible(editor: &Editor, why: &str) -> StepFailure {
    StepFailure {
        cause: Cause::EditorIncompatible,
        message: format!("editor {} can't run here: {why}", editor.name),
        next_step: "choose an image that has what it needs (for glibc: one made from Debian, Ubuntu or Fedora), or an \
                    editor of the class that needs nothing of the image, such as the web terminal"
            .to_owned(),
        ..StepFailure::default()
    }
}

fn not_ready(editor: &Editor, what: &str) -> StepFailure {
    StepFailure {
        cause: Cause::EditorNotReady,
        message: format!("editor {} {what}", editor.name),
        next_step: "read its last lines; it is started again by itself".to_owned(),
        ..StepFailure::default()
    }
}

fn no_start(context: &Context, editor: &Editor, error: &io::Error) -> StepFailure {
    let folder = context.places.at(&editor.folder);
    not_ready(
        editor,
        &format!("can't be started from {}: {error}", folder.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_status_is_an_answer() {
        for (start, expected) in [
            ("HTTP/1.1 200 OK", true),
            ("HTTP/1.0 302 Found", true),
            ("HTTP/1.1 404 Not", false),
            ("HTTP/1.1 503 Ser", false),
            ("SSH-2.0-OpenSSH", false),
        ] {
            assert_eq!(is_good(start.as_bytes()), expected, "{start}");
        }
    }
}
