//! `workstead why`: state, cause, blame, evidence, next step, timeline, pending changes, origin.

mod gitsync;
mod workspace;

use std::process::ExitCode;

use kube::api::Api;

use crate::cli::args::WhyArgs;
use crate::cli::call::call;
use crate::cli::connect::{Connection, connect};
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock;

/// What is asked about.
#[derive(Debug, PartialEq, Eq)]
enum Subject<'a> {
    Workspace(&'a str),
    GitSync(&'a str),
}

/// Explains a workspace or a GitSync.
pub async fn run(arguments: WhyArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let subject = subject(&arguments.name)?;
    let Connection { client, namespace } = connect(&arguments.cluster).await?;
    let now = SystemClock.now();
    match subject {
        Subject::Workspace(name) => {
            let api = Api::namespaced(client, &namespace);
            let found = call(&format!("read Workspace {namespace}/{name}"), api.get(name)).await?;
            let explanation = workspace::Explanation::new(&found);
            match arguments.output {
                Some(format) => screen.data(format, &explanation)?,
                None => screen.print(&explanation.text(now))?,
            }
        }
        Subject::GitSync(name) => {
            let api = Api::namespaced(client, &namespace);
            let found = call(&format!("read GitSync {namespace}/{name}"), api.get(name)).await?;
            let explanation = gitsync::Explanation::new(&found);
            match arguments.output {
                Some(format) => screen.data(format, &explanation)?,
                None => screen.print(&explanation.text(now))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A GitSync in words, and whether all of it was applied.
pub fn explain_gitsync(found: &crate::api::GitSync) -> (String, bool) {
    let explanation = gitsync::Explanation::new(found);
    (explanation.text(SystemClock.now()), explanation.is_good())
}

/// Reads `name`, `workspace/name`, `ws/name`, `gitsync/name` or `gsync/name`.
fn subject(typed: &str) -> Result<Subject<'_>, CliError> {
    match typed.split_once('/') {
        None => Ok(Subject::Workspace(typed)),
        Some(("workspace" | "workspaces" | "ws", name)) => Ok(Subject::Workspace(name)),
        Some(("gitsync" | "gitsyncs" | "gsync", name)) => Ok(Subject::GitSync(name)),
        Some((kind, name)) => Err(CliError::undone(format!("'{kind}' is no kind that can be explained"))
            .next(format!("write {name} or workspace/{name}, or gitsync/{name}; the namespace goes into --namespace"))),
    }
}

/// Lines of a title and a text each, the texts in one column; longer texts keep to it.
fn facts(lines: &[(&str, String)]) -> String {
    use crate::cli::output::FAINT;
    let width = lines
        .iter()
        .map(|(title, _)| title.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (title, content) in lines {
        for (index, line) in content.lines().enumerate() {
            let shown = if index == 0 { title } else { "" };
            text.push_str(&format!("  {FAINT}{shown:<width$}{FAINT:#}  {line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_may_stand_before_the_name() {
        assert_eq!(subject("a").unwrap(), Subject::Workspace("a"));
        assert_eq!(subject("ws/a").unwrap(), Subject::Workspace("a"));
        assert_eq!(subject("gitsync/a").unwrap(), Subject::GitSync("a"));
        assert!(
            subject("pod/a")
                .unwrap_err()
                .next_step
                .unwrap()
                .contains("workspace/a")
        );
    }
}
