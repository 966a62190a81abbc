//! A project: cloned into a folder beside its own, then moved there in one step. A folder that exists is never touched.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use workstead_link::{Cause, GIT_PATH, Project, StepFailure};

use super::Context;
use super::git_error::{self, Verdict};
use crate::credentials::{fitting, origin};
use crate::process::Output;
use crate::tail::Redactor;

/// How often a clone is tried again when the network failed.
const RETRIES: u32 = 4;

/// How often a clone is tried whose server said nothing: each time took a minute already.
const STALLS: u32 = 2;

/// How often that is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Why a clone did not come about.
struct Failed {
    verdict: Verdict,
    message: String,
    exit_code: Option<i32>,
    tail: Vec<String>,
}

impl Failed {
    fn own(verdict: Verdict, message: String) -> Self {
        Self {
            verdict,
            message,
            exit_code: None,
            tail: Vec::new(),
        }
    }

    fn local(what: &str, path: &Path, error: &io::Error) -> Self {
        let message = format!("failed to {what} {}: {error}", path.display());
        let verdict = git_error::read(&[error.to_string()]);
        Self::own(verdict, message)
    }

    fn into_failure(self, project: &Project) -> StepFailure {
        StepFailure {
            cause: self.verdict.cause,
            message: format!(
                "failed to clone {} ({}): {}",
                project.name, project.url, self.message
            ),
            exit_code: self.exit_code,
            tail: self.tail,
            next_step: self.verdict.next_step.to_owned(),
        }
    }
}

/// Takes the step of a project: look for its folder, choose credentials, clone, move; again while the network fails.
pub fn run(context: &Context, index: usize, project: &Project) {
    context.reporter.begin(index);
    let target = match target(context, project) {
        Ok(target) => target,
        Err(failed) => return context.reporter.failed(index, failed.into_failure(project)),
    };
    if target.symlink_metadata().is_ok() {
        let note = format!(
            "{} is there already and was left as it is",
            target.display()
        );
        return context.reporter.done(index, Some(note));
    }
    if let Err(failed) = credentials(context, project) {
        return context.reporter.failed(index, failed.into_failure(project));
    }
    let mut pause = Duration::from_secs(1);
    let mut stalls = 0;
    for tries in 0..=RETRIES {
        let failed = match clone_and_move(context, project, &target) {
            Ok(note) => return context.reporter.done(index, note),
            Err(failed) => failed,
        };
        stalls += u32::from(failed.verdict == git_error::STALLED);
        let is_last = tries == RETRIES || stalls == STALLS || !failed.verdict.is_retryable;
        let failure = failed.into_failure(project);
        if is_last {
            return context.reporter.failed(index, failure);
        }
        context.reporter.retrying(index, failure);
        if !context.family.pause(pause) {
            return;
        }
        pause *= 2;
    }
}

/// The folder of a project. The plan was checked by whoever made it; a way out of the volume is not to be trusted to that.
fn target(context: &Context, project: &Project) -> Result<PathBuf, Failed> {
    let folder = Path::new(&project.folder);
    let is_below = folder
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if project.folder.is_empty() || !is_below {
        let message = format!("'{}' is no folder below /projects", project.folder);
        return Err(Failed::own(git_error::OWN, message));
    }
    Ok(context.places.projects().join(folder))
}

/// Git is set up already; this only refuses what it could not decide.
fn credentials(context: &Context, project: &Project) -> Result<(), Failed> {
    let Some(origin) = origin(&project.url) else {
        let message = "its URL is neither https, http nor ssh".to_owned();
        return Err(Failed::own(git_error::OWN, message));
    };
    match fitting(&context.plan.credentials, &context.places, &origin).as_slice() {
        [] | [_] => Ok(()),
        names => {
            let (host, names) = (origin.host, names.join(" and "));
            let message = format!("the Secrets {names} both have credentials for {host}");
            Err(Failed::own(git_error::TWO_SECRETS, message))
        }
    }
}

fn clone_and_move(
    context: &Context,
    project: &Project,
    target: &Path,
) -> Result<Option<String>, Failed> {
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(|e| Failed::local("make", parent, &e))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = parent.join(format!(".{name}.workstead-clone"));
    // What a start that was broken off left behind.
    remove(&beside)?;
    let cloned = fetch(context, project, &beside)
        .and_then(|()| settle(context, project, &beside))
        .and_then(|()| move_to(&beside, target));
    if cloned.is_err() {
        // The failure itself says more than that its remains could not be removed; the next start removes them.
        let _ = remove(&beside);
    }
    cloned
}

fn remove(folder: &Path) -> Result<(), Failed> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failed::local("remove", folder, &error))
        }
        _ => Ok(()),
    }
}

/// Brings the repository into an empty folder, with what is asked for checked out.
fn fetch(context: &Context, project: &Project, folder: &Path) -> Result<(), Failed> {
    let reference = project.reference.as_deref().map(|reference| {
        let short = reference.strip_prefix("refs/heads/");
        short
            .or_else(|| reference.strip_prefix("refs/tags/"))
            .unwrap_or(reference)
    });
    let is_sparse = !project.sparse.is_empty();
    match reference {
        Some(reference) if is_commit(reference) || reference.starts_with("refs/") => {
            fetch_object(context, project, folder, reference)?;
        }
        _ => {
            let cloned = clone(context, project, folder, reference, project.shallow);
            match (cloned, reference) {
                (Ok(()), _) => {
                    if is_sparse {
                        sparse(context, project, folder)?;
                        git(context, folder, &["checkout"])?;
                    }
                }
                // A name that is neither branch nor tag may be the beginning of a commit's, which only a whole
                // repository tells.
                (Err(failed), Some(commit)) if is_beginning(&failed, commit) => {
                    remove(folder)?;
                    clone(context, project, folder, None, false)?;
                    sparse(context, project, folder)?;
                    git(context, folder, &["checkout", "--detach", commit, "--"])
                        .map_err(|_| failed)?;
                }
                (Err(failed), _) => return Err(failed),
            }
        }
    }
    Ok(())
}

fn is_commit(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && reference.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_beginning(failed: &Failed, reference: &str) -> bool {
    failed.verdict.cause == Cause::CloneRef
        && (7..40).contains(&reference.len())
        && reference.bytes().all(|b| b.is_ascii_hexdigit())
}

fn clone(
    context: &Context,
    project: &Project,
    folder: &Path,
    reference: Option<&str>,
    is_shallow: bool,
) -> Result<(), Failed> {
    let branch = reference.map(|reference| format!("--branch={reference}"));
    let place = folder.to_string_lossy();
    let mut arguments = vec!["clone", "--progress"];
    arguments.extend(is_shallow.then_some("--depth=1"));
    arguments.extend(branch.as_deref());
    arguments.extend((!project.sparse.is_empty()).then_some("--no-checkout"));
    arguments.extend(["--", &project.url, &place]);
    let parent = folder.parent().unwrap_or(folder);
    git(context, parent, &arguments)
}

/// For a commit, or a reference that is neither branch nor tag: a clone can't ask for these.
fn fetch_object(
    context: &Context,
    project: &Project,
    folder: &Path,
    object: &str,
) -> Result<(), Failed> {
    fs::create_dir(folder).map_err(|e| Failed::local("make", folder, &e))?;
    git(context, folder, &["init", "--quiet"])?;
    git(
        context,
        folder,
        &["remote", "add", "--", "origin", &project.url],
    )?;
    let one = |depth: Option<&'static str>| {
        let mut arguments = vec!["fetch", "--progress"];
        arguments.extend(depth);
        arguments.extend(["origin", object]);
        git(context, folder, &arguments)
    };
    if project.shallow {
        one(Some("--depth=1"))?;
    } else {
        git(
            context,
            folder,
            &["fetch", "--progress", "--tags", "origin"],
        )?;
        // The branches that were fetched may have it already; a server may refuse to be asked for it by name.
        let name = format!("{object}^{{commit}}");
        if git(context, folder, &["cat-file", "-e", &name]).is_err() {
            one(None)?;
        }
    }
    sparse(context, project, folder)?;
    let target = if is_commit(object) {
        object
    } else {
        "FETCH_HEAD"
    };
    git(context, folder, &["checkout", "--detach", target, "--"])
}

fn sparse(context: &Context, project: &Project, folder: &Path) -> Result<(), Failed> {
    if project.sparse.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["sparse-checkout", "set", "--cone", "--end-of-options"];
    arguments.extend(project.sparse.iter().map(String::as_str));
    git(context, folder, &arguments)
}

/// What is done to a clone before anybody sees it.
fn settle(context: &Context, project: &Project, folder: &Path) -> Result<(), Failed> {
    for (name, url) in &project.remotes {
        git(context, folder, &["remote", "add", "--", name, url])?;
    }
    match &project.subdirectory {
        Some(part) if !folder.join(part).is_dir() => {
            let message = format!("the repository has no folder '{part}'");
            Err(Failed::own(git_error::NO_FOLDER, message))
        }
        _ => Ok(()),
    }
}

/// The one moment in which the project appears. Whatever came there meanwhile stays.
fn move_to(beside: &Path, target: &Path) -> Result<Option<String>, Failed> {
    let moved = renameat_with(CWD, beside, CWD, target, RenameFlags::NOREPLACE);
    let there = || {
        let note = format!(
            "{} came into being meanwhile and was left as it is",
            target.display()
        );
        remove(beside).map(|()| Some(note))
    };
    match moved {
        Ok(()) => Ok(None),
        Err(Errno::EXIST | Errno::NOTEMPTY) => there(),
        // Some network file systems can't promise not to replace.
        Err(Errno::INVAL | Errno::NOSYS) if target.symlink_metadata().is_ok() => there(),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(beside, target)
            .map(|()| None)
            .map_err(|e| Failed::local("move the clone to", target, &e)),
        Err(error) => Err(Failed::local("move the clone to", target, &error.into())),
    }
}

/// Runs Git in a folder and reads what it has to say.
fn git(context: &Context, folder: &Path, arguments: &[&str]) -> Result<(), Failed> {
    let program = context.places.at(GIT_PATH);
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(folder);
    context.environment.apply_unattended(&mut command);
    let redactor = Redactor::of_workspace(&context.places);
    let failed = |error: io::Error| Failed {
        verdict: git_error::OWN,
        message: format!("Git can't be started ({}): {error}", program.display()),
        exit_code: None,
        tail: Vec::new(),
    };
    let output = Output::of(&mut command, None, redactor, context.clock).map_err(failed)?;
    let running = context.family.start(command).map_err(failed)?;
    let status = loop {
        if let Some(status) = running.wait(TICK) {
            break status;
        }
        let silent = context.clock.millis().saturating_sub(output.last_heard());
        let patience = context.places.git_silence;
        if Duration::from_millis(silent) > patience {
            running.end();
            return Err(Failed {
                verdict: git_error::STALLED,
                message: format!("the server said nothing for {} s", patience.as_secs()),
                exit_code: None,
                tail: output.tail(),
            });
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut tail = output.tail();
    tail.retain(|line| !is_progress(line));
    let verdict = git_error::read(&tail);
    let last = tail
        .iter()
        .rev()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    let said = last
        .or(tail.last())
        .map_or("it said nothing", String::as_str);
    Err(Failed {
        verdict,
        message: format!("git {}: {said}", arguments.first().unwrap_or(&"")),
        exit_code: status.code(),
        tail,
    })
}

/// Lines that say how far it is.
fn is_progress(line: &str) -> bool {
    let said = line.strip_prefix("remote: ").unwrap_or(line);
    let is_counted = [
        "Enumerating",
        "Counting",
        "Compressing",
        "Receiving",
        "Resolving",
        "Updating",
        "Total",
    ]
    .iter()
    .any(|word| said.starts_with(word));
    is_counted || said.starts_with("Cloning into")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_appears_at_once_and_never_over_something() {
        let folder = tempfile::tempdir().unwrap();
        let (beside, target) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("new"), "").unwrap();
        assert!(matches!(move_to(&beside, &target), Ok(None)));
        assert!(target.join("new").exists());
        // Even an empty folder is somebody's.
        fs::create_dir(&beside).unwrap();
        fs::remove_file(target.join("new")).unwrap();
        fs::write(beside.join("newer"), "").unwrap();
        assert!(matches!(move_to(&beside, &target), Ok(Some(_))));
        assert!(!target.join("newer").exists() && !beside.exists());
    }

    #[test]
    fn progress_is_no_evidence() {
        assert!(is_progress("remote: Counting objects: 100% (3/3), done."));
        assert!(is_progress("Cloning into '/x'..."));
        assert!(!is_progress("fatal: early EOF"));
    }

    #[test]
    fn a_commit_is_told_from_a_name() {
        assert!(is_commit(&"a".repeat(40)) && is_commit(&"0".repeat(64)));
        assert!(!is_commit("main") && !is_commit(&"g".repeat(40)));
    }
}
