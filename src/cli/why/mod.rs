//! `workstead why`: state, cause, blame, evidence, next step, timeline, pending changes, origin.

mod ask;
mod gitsync;
mod inside;
mod workspace;

use std::process::ExitCode;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::Api;

use crate::api::{GROUP, GitSync, Workspace};
use crate::cli::again::program;
use crate::cli::args::{ClusterArgs, WhyArgs};
use crate::cli::call::call;
use crate::cli::connect::{Connection, connect};
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::controllers::clock::SystemClock;
use crate::model::activity::lease::Used;
use crate::model::clock::Clock;
use crate::model::identity::WorkspaceName;
use crate::model::names::DnsSubdomain;

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
    match subject {
        Subject::Workspace(name) => {
            let api: Api<Workspace> = Api::namespaced(client.clone(), &namespace);
            let what = format!("read Workspace {namespace}/{name}");
            let Some(found) = call(&what, api.get_opt(name)).await? else {
                let gitsyncs = Api::namespaced(client, &namespace);
                return Err(no_workspace(&what, name, &gitsyncs, &arguments.cluster).await);
            };
            let (found, freshness) = ask::ask(&api, found).await;
            let used = last_use(client, &namespace, name).await;
            let explanation = workspace::Explanation::new(&found, used.as_ref(), freshness);
            match arguments.output {
                Some(format) => screen.data(format, &explanation)?,
                None => screen.print(&explanation.text(SystemClock.now()))?,
            }
        }
        Subject::GitSync(name) => {
            let api = Api::namespaced(client, &namespace);
            let found = call(&format!("read GitSync {namespace}/{name}"), api.get(name)).await?;
            let explanation = gitsync::Explanation::new(&found);
            match arguments.output {
                Some(format) => screen.data(format, &explanation)?,
                None => screen.print(&explanation.text(SystemClock.now()))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// When it was last used, and by what. Whoever may not look at Leases is told the rest.
async fn last_use(client: Client, namespace: &str, name: &str) -> Option<Used> {
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let lease = WorkspaceName::new(name).ok()?.activity();
    let found = call("read its activity", leases.get_opt(&lease)).await;
    Used::of(found.ok()??.spec.as_ref()?)
}

/// There is no Workspace of that name; a GitSync may have been meant.
async fn no_workspace(
    what: &str,
    name: &str,
    gitsyncs: &Api<GitSync>,
    cluster: &ClusterArgs,
) -> CliError {
    let error = CliError::undone(format!("failed to {what}"))
        .seen(format!("workspaces.{GROUP} \"{name}\" not found"));
    // Whoever may not look at GitSyncs did not mean one.
    match call("read a GitSync", gitsyncs.get_opt(name)).await {
        Ok(Some(_)) => error.next(format!(
            "there is a GitSync of that name: {}",
            cluster.again(&format!("why gitsync/{name}"))
        )),
        _ => error.next(format!(
            "look what there is: {} list --all-namespaces",
            program()
        )),
    }
}

/// A GitSync in words, and whether all of it was applied.
pub fn explain_gitsync(found: &GitSync) -> (String, bool) {
    let explanation = gitsync::Explanation::new(found);
    (explanation.text(SystemClock.now()), explanation.is_good())
}

/// A name that objects can have.
fn checked(name: &str) -> Result<&str, CliError> {
    DnsSubdomain::new(name)?;
    Ok(name)
}

/// Reads `name`, `workspace/name`, `ws/name`, `gitsync/name` or `gsync/name`.
fn subject(typed: &str) -> Result<Subject<'_>, CliError> {
    match typed.split_once('/') {
        None => Ok(Subject::Workspace(checked(typed)?)),
        Some(("workspace" | "workspaces" | "ws", name)) => Ok(Subject::Workspace(checked(name)?)),
        Some(("gitsync" | "gitsyncs" | "gsync", name)) => Ok(Subject::GitSync(checked(name)?)),
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
