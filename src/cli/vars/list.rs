//! `workstead vars list`: what a workspace has, who brings it, and what waits. By name: values are in the workspace alone.

use std::process::ExitCode;

use kube::ResourceExt as _;
use serde::Serialize;

use crate::api::Workspace;
use crate::api::environment::{
    OutdatedVariable, PinnedSet, PinnedVariables, VariableChange, VariablesLevel,
};
use crate::cli::error::CliError;
use crate::cli::output::{BAD, Cell, FAINT, GOOD, MOVING, Screen, table};
use crate::cli::runstate::Target;
use crate::cli::show::{NOTHING, condition, count, is_true};
use crate::cli::vars::ListArgs;
use crate::model::conditions::ConditionType;
use crate::model::names::VARIABLES_UPDATE_ANNOTATION;

/// So much of a digest tells it from others.
const SHORT: usize = 12;

/// The answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    namespace: String,
    name: String,
    /// What it has since a start took it; null before.
    pinned: Option<&'a PinnedVariables>,
    /// Whether something newer waits.
    outdated: bool,
    /// Whether somebody asked for it, and no start took it since.
    update_requested: bool,
    /// What the controller says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Lists what a workspace has.
pub async fn run(arguments: &ListArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let target = Target::find(&arguments.cluster, &arguments.name).await?;
    let workspace = &target.workspace;
    let status = target.status();
    let pinned = status.variables.as_ref();
    if let Some(format) = arguments.output {
        screen.data(
            format,
            &Answer {
                namespace: workspace.namespace().unwrap_or_default(),
                name: workspace.name_any(),
                pinned,
                outdated: is_outdated(workspace),
                update_requested: is_requested(workspace),
                message: unready(workspace),
            },
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    match pinned {
        Some(pinned) => {
            if let Some(rows) = rows(&pinned.sets) {
                screen.print(&table(&["NAME", "KIND", "FROM", "SET", "DIGEST"], &rows))?;
            }
        }
        None => screen.print(&format!("{}: {}\n", target.shown(), nothing(workspace)))?,
    }
    for line in told(&target) {
        screen.progress(&line);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether it has what is newest, as far as the controller knows.
pub fn is_outdated(workspace: &Workspace) -> bool {
    let status = workspace.status.as_ref();
    status.is_some_and(|status| {
        is_true(
            &status.conditions,
            ConditionType::VariablesOutdated.as_str(),
        )
    })
}

/// Whether somebody asked for what is newer, and no start took it since.
pub fn is_requested(workspace: &Workspace) -> bool {
    let annotations = workspace.annotations();
    let asked = annotations.get(VARIABLES_UPDATE_ANNOTATION);
    let handled = workspace.status.as_ref();
    let handled = handled.and_then(|status| status.last_handled_variables_update_at.as_ref());
    asked.is_some_and(|asked| Some(asked) != handled)
}

/// Why what it has is not at hand.
fn unready(workspace: &Workspace) -> Option<String> {
    let status = workspace.status.as_ref()?;
    let ready = condition(&status.conditions, ConditionType::VariablesReady.as_str())?;
    (ready.status == "False").then(|| format!("{}: {}", ready.reason, ready.message))
}

/// What to say where nothing is pinned.
fn nothing(workspace: &Workspace) -> String {
    let spec = &workspace.spec;
    let names: Vec<&str> = spec.variables.iter().map(|set| &*set.name).collect();
    let named = match names.as_slice() {
        [] => "it lists no set of its own".to_owned(),
        names => format!("it lists {}", names.join(", ")),
    };
    format!("nothing of sealed sets is pinned yet: a start takes them ({named})")
}

/// A row for each variable and file; None, if there are none.
fn rows(sets: &[PinnedSet]) -> Option<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for set in sets {
        let digest: String = set
            .digest
            .iter()
            .flat_map(|digest| digest.chars())
            .take(SHORT)
            .collect();
        let digest = if digest.is_empty() {
            NOTHING.to_owned()
        } else {
            digest
        };
        let row = |name: &str, kind: &str| -> Vec<Cell> {
            vec![
                name.into(),
                kind.into(),
                level(set.level).into(),
                set.name.as_str().into(),
                Cell::styled(digest.clone(), FAINT),
            ]
        };
        let before = rows.len();
        rows.extend(set.env.iter().map(|name| row(name, "variable")));
        rows.extend(set.files.iter().map(|path| row(path, "file")));
        if let Some(more) = set.unnamed.filter(|more| *more > 0) {
            rows.push(row(&format!("and {more} more"), NOTHING));
        }
        // Of a set that others outdo entirely, that it is there.
        if rows.len() == before {
            rows.push(row(NOTHING, NOTHING));
        }
    }
    (!rows.is_empty()).then_some(rows)
}

/// How far a set reaches, in a word.
const fn level(level: VariablesLevel) -> &'static str {
    match level {
        VariablesLevel::Namespace => "namespace",
        VariablesLevel::Owner => "owner",
        VariablesLevel::Workspace => "workspace",
        VariablesLevel::Inline => "Secret in env",
    }
}

/// What is to be known about it beside the table.
fn told(target: &Target) -> Vec<String> {
    let workspace = &target.workspace;
    let mut lines = Vec::new();
    if let Some(message) = unready(workspace) {
        lines.push(format!("{BAD}not at hand{BAD:#}: {message}"));
    }
    let status = target.status();
    let pinned = status.variables;
    let is_pinned = pinned.is_some();
    match pinned {
        Some(pinned) if is_outdated(workspace) => {
            lines.push(format!("{MOVING}something newer waits{MOVING:#}:"));
            lines.extend(
                changes(&pinned)
                    .into_iter()
                    .map(|change| format!("  {change}")),
            );
        }
        Some(pinned) if pinned.sets.is_empty() => lines.push("no set reaches it".to_owned()),
        Some(_) => lines.push(format!("{GOOD}nothing newer waits{GOOD:#}")),
        None => {}
    }
    if is_requested(workspace) {
        lines.push("an update is asked for: its next start takes what is newest then".to_owned());
    } else if is_pinned && is_outdated(workspace) {
        lines.push(format!("next step: {}", target.again("vars update")));
    }
    lines
}

/// What a start would change that takes what is newest, by name.
pub fn changes(pinned: &PinnedVariables) -> Vec<String> {
    let word = |change: &OutdatedVariable| match change.change {
        VariableChange::Added => "new",
        VariableChange::Changed => "changed",
        VariableChange::Removed => "gone",
    };
    let named = pinned.outdated.iter();
    let mut lines: Vec<String> = named
        .map(|change| format!("{}: {}", change.name, word(change)))
        .collect();
    let more = pinned
        .outdated_unnamed
        .and_then(|more| usize::try_from(more).ok());
    if let Some(more) = more.filter(|more| *more > 0) {
        lines.push(format!("and {}", count(more, "more change")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(level: VariablesLevel, name: &str, env: &[&str], files: &[&str]) -> PinnedSet {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        PinnedSet {
            level,
            name: name.to_owned(),
            digest: Some("0123456789abcdef".to_owned()),
            env: owned(env),
            files: owned(files),
            unnamed: None,
        }
    }

    #[test]
    fn each_name_stands_with_the_set_that_it_comes_from() {
        let mut sets = [
            set(VariablesLevel::Namespace, "team", &["A"], &[]),
            set(VariablesLevel::Owner, "alice", &[], &[]),
            set(VariablesLevel::Workspace, "api", &["B"], &["~/.netrc"]),
            set(VariablesLevel::Inline, "vault", &["C"], &[]),
        ];
        sets[2].unnamed = Some(3);
        sets[3].digest = None;
        let shown = table(&["NAME"; 5], &rows(&sets).unwrap());
        let shown = anstream::adapter::strip_str(&shown).to_string();
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .skip(1)
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(
            lines,
            [
                ["A", "variable", "namespace", "team", "0123456789ab"],
                [NOTHING, NOTHING, "owner", "alice", "0123456789ab"],
                ["B", "variable", "workspace", "api", "0123456789ab"],
                ["~/.netrc", "file", "workspace", "api", "0123456789ab"],
                ["and 3 more", NOTHING, "workspace", "api", "0123456789ab"],
                ["C", "variable", "Secret in env", "vault", NOTHING],
            ]
        );
        assert!(rows(&[]).is_none());
    }

    #[test]
    fn changes_are_told_by_name_and_the_rest_is_counted() {
        let change = |name: &str, change| OutdatedVariable {
            name: name.to_owned(),
            change,
        };
        let pinned = PinnedVariables {
            outdated: vec![
                change("A", VariableChange::Added),
                change("B", VariableChange::Changed),
                change("C", VariableChange::Removed),
            ],
            outdated_unnamed: Some(1),
            ..PinnedVariables::default()
        };
        assert_eq!(
            changes(&pinned),
            ["A: new", "B: changed", "C: gone", "and 1 more change"]
        );
    }
}
