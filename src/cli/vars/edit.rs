//! `workstead vars edit`: a sealed set in the editor of the person who may open it.
//!
//! Plain text is in memory, and in a file in memory while the editor has it. Everything that can fail without the person's
//! doing is done before the editor opens; what fails after it lets them edit on.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::cli::error::{ANSWER_NO, CliError};
use crate::cli::files::{self, PRIVATE};
use crate::cli::output::Screen;
use crate::cli::seal::{Whom, read_secret, sealed};
use crate::cli::vars::EditArgs;
use crate::cli::vars::file::SetFile;
use crate::cli::vars::judge::judge;
use crate::cli::vars::memory::PrivateFolder;
use crate::cli::vars::personal::{open_own, refuse_sops};
use crate::cli::vars::signals::Signals;
use crate::cli::vars::whom::{Today, fewer};
use crate::secrets::document::Document;

/// What is opened where nobody chose an editor.
const EDITOR: &str = "vi";
/// How long an editor may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Edits a set.
pub async fn run(arguments: &EditArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let file = SetFile::read(&arguments.file)?;
    let set = file.only_set()?;
    refuse_sops(set)?;
    let identities = arguments.personal.need(screen)?;
    let own = open_own(set, &identities)?;
    let today = Today::find(&arguments.recipients, &arguments.cluster, screen).await?;
    let whom = today.and(own.recipient(&identities));
    let desk = Desk {
        file: &file,
        before: &own.document,
        whom: &whom,
    };
    // In this order: no signal ends us while there is a file to be removed.
    let mut signals = Signals::listen()?;
    let folder = PrivateFolder::make(screen)?;
    let path = folder.file("vars.yaml");
    files::create(&path, &desk.plaintext()?, PRIVATE)?;
    loop {
        open_editor(&path, &mut signals).await?;
        let error = match desk.settle(&path, screen) {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(error) => error,
        };
        if !is_interactive() {
            let error = match error.next_step {
                Some(_) => error,
                None => error.next("edit it again and correct that"),
            };
            let shown = arguments.file.display();
            return Err(error.seen(format!("nothing was written to {shown}")));
        }
        screen.error(&error);
        if !wants_again(&mut signals).await? {
            let shown = arguments.file.display();
            screen.progress(&format!("nothing was written to {shown}"));
            return Ok(ANSWER_NO.into());
        }
    }
}

/// What an edited set is held against.
struct Desk<'a> {
    file: &'a SetFile,
    before: &'a Document,
    whom: &'a Whom,
}

impl Desk<'_> {
    /// What the editor shows.
    fn plaintext(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let content = self.before.write()?;
        let object = self.file.only_set()?.object();
        let serial = match self.before.serial {
            Some(_) => "# serial rises by itself when something changes.\n",
            None => "",
        };
        let head = format!(
            "# {object}, opened. Remarks are not kept. Texts like 8080 and true need quotes.\n{serial}"
        );
        // Large enough at once: what a growing one leaves behind is not wiped.
        let mut text = Zeroizing::new(Vec::with_capacity(head.len() + content.len()));
        text.extend_from_slice(head.as_bytes());
        text.extend_from_slice(&content);
        Ok(text)
    }

    /// Seals what was edited and writes it, unless it is as it was.
    fn settle(&self, edited: &Path, screen: &mut Screen) -> Result<(), CliError> {
        let set = self.file.only_set()?;
        let edited = read_secret(edited)?;
        let Some(document) = judge(&edited, self.before, set)? else {
            screen.progress(&format!(
                "{}: nothing changed, nothing written",
                set.shown()
            ));
            return Ok(());
        };
        let sealed = sealed(&document, self.whom)?;
        let mut draft = self.file.draft();
        draft.put(0, &sealed)?;
        draft.write(self.file)?;
        if let Some(warning) = fewer(&set.spec.sealed, self.whom) {
            screen.progress(&warning);
        }
        let serial = match document.serial {
            Some(serial) => format!(" with serial {serial}"),
            None => String::new(),
        };
        let fingerprints = self.whom.recipients.fingerprints();
        screen.progress(&format!(
            "{}: sealed again{serial}; {fingerprints} can open it",
            set.shown()
        ));
        screen.progress(
            "next step: commit it. A workspace takes it when it next starts after workstead vars update",
        );
        Ok(())
    }
}

/// Has the person edit a file, until their editor ends.
async fn open_editor(path: &Path, signals: &mut Signals) -> Result<(), CliError> {
    let editor = chosen_editor();
    let shown = editor.to_string_lossy().into_owned();
    let undone = || CliError::undone(format!("the editor {shown} did not end well"));
    let step = "set VISUAL or EDITOR to one that waits until the file is closed, such as vi or code --wait";
    let mut child = command_of(&editor)
        .arg(path)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| undone().because(error).next(step))?;
    let ended: io::Result<ExitStatus> = tokio::select! {
        ended = child.wait() => ended,
        error = signals.end_of_both() => {
            end(&mut child).await;
            return Err(error);
        }
    };
    signals.forget_typed();
    let status = ended.map_err(|error| undone().because(error))?;
    if status.success() {
        return Ok(());
    }
    Err(undone().seen(status).seen("nothing was changed").next(step))
}

/// What runs an editor. Without a shell where nothing needs one: then it is the editor itself that a signal ends.
fn command_of(editor: &OsStr) -> Command {
    let plain = |c: char| c.is_ascii_alphanumeric() || " _./+:@%,-".contains(c);
    let plain = editor.to_str().filter(|text| text.chars().all(plain));
    let mut words = plain.unwrap_or_default().split_whitespace();
    if let Some(program) = words.next() {
        let mut command = Command::new(program);
        command.args(words);
        return command;
    }
    let mut script = editor.to_owned();
    script.push(" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg("editor");
    command
}

fn chosen_editor() -> OsString {
    let of = |name| std::env::var_os(name).filter(|editor| !editor.is_empty());
    of("VISUAL")
        .or_else(|| of("EDITOR"))
        .unwrap_or_else(|| EDITOR.into())
}

/// Ends an editor, which then may put the terminal in order.
async fn end(child: &mut Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.and_then(Pid::from_raw) {
        let _ = kill_process(id, Signal::TERM);
    }
    if timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks whether to edit once more. Whoever only presses Enter does not lose what they wrote.
async fn wants_again(signals: &mut Signals) -> Result<bool, CliError> {
    let (answer, answered) = oneshot::channel();
    // A thread of its own, which nobody waits for: a signal ends us although nobody answers.
    std::thread::spawn(move || {
        let _ = write!(
            io::stderr(),
            "Edit it again? What you wrote is lost otherwise. [Y/n] "
        );
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let line = line.trim().to_ascii_lowercase();
        // Where the terminal is gone nobody can edit.
        let _ = answer.send(read.is_ok_and(|length| length > 0) && !line.starts_with('n'));
    });
    tokio::select! {
        answered = answered => Ok(answered.unwrap_or(false)),
        error = signals.end() => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_is_run_by_a_shell_only_where_one_is_needed() {
        for (editor, expected) in [
            ("vi", &["vi"][..]),
            ("code --wait", &["code", "--wait"]),
            (
                "'/opt/my editor' -w",
                &["sh", "-c", "'/opt/my editor' -w \"$@\"", "editor"],
            ),
            ("A=b vi", &["sh", "-c", "A=b vi \"$@\"", "editor"]),
            ("$HOME/vi", &["sh", "-c", "$HOME/vi \"$@\"", "editor"]),
        ] {
            let command = command_of(OsStr::new(editor));
            let command = command.as_std();
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            assert!(words.eq(expected.iter().map(OsStr::new)), "{editor}");
        }
    }
}
