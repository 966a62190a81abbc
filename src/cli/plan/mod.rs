//! `workstead plan`: what a commit would create, change, delete and restart, and what waits for a start already.
//!
//! 1. Read the files as the GitSync would: a folder, or the commit that it follows.
//! 2. Ask the cluster what is there.
//! 3. Plan as the GitSync would, with its inventory and its deletion guard.
//! 4. Have the API server try each change (dry run), and render before and after: what takes effect, and when.
//! 5. Add what waits in the cluster already.

mod effects;
mod fetch;
mod live;
mod report;

use std::process::ExitCode;

use kube::api::Api;

use crate::api::GitSync;
use crate::cli::args::PlanArgs;
use crate::cli::call::call;
use crate::cli::connect::{Connection, connect};
use crate::cli::error::{ANSWER_NO, CliError};
use crate::cli::output::Screen;
use crate::cli::plan::live::Cluster;
use crate::cli::plan::report::{Action, Item, Report};
use crate::cli::{show, validate};
use crate::controllers::cache::Key;
use crate::controllers::gitsync::inventory;
use crate::gitsync::plan::{Settings, plan};
use crate::model::names::APPROVE_PRUNE_ANNOTATION;
use crate::model::sync::{Change, Inventory, Plan, Snapshot};

/// Plans.
pub async fn run(arguments: PlanArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let connection = connect(&arguments.cluster).await?;
    let mut report = Report::default();
    let gitsync = match &arguments.gitsync {
        Some(name) => Some(read_gitsync(&connection, name).await?),
        None => None,
    };
    let snapshot = match (&arguments.path, &gitsync) {
        (Some(path), _) => {
            let (tree, rules) = validate::rules(gitsync.as_ref(), &connection.namespace, &[])?;
            Some(validate::read(path, &tree, &rules)?)
        }
        (None, Some(gitsync)) => {
            screen.progress(&format!("fetching {}", gitsync.spec.url));
            Some(fetch::fetch(&connection, gitsync).await?)
        }
        (None, None) => None,
    };
    let mut cluster = match &snapshot {
        Some(snapshot) => {
            let count = show::count(snapshot.objects.len(), "object");
            screen.progress(&format!("asking the cluster about {count}"));
            plan_files(&connection, gitsync.as_ref(), snapshot, &mut report).await?
        }
        None => Cluster::default(),
    };
    cluster
        .add_workspaces(&connection, arguments.all_namespaces)
        .await?;
    report.add_pending(cluster.workspaces.values());
    match arguments.output {
        Some(format) => screen.data(format, &report)?,
        None => screen.print(&report.text())?,
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ANSWER_NO.into()
    })
}

async fn read_gitsync(connection: &Connection, name: &str) -> Result<GitSync, CliError> {
    let Connection { client, namespace } = connection;
    let api: Api<GitSync> = Api::namespaced(client.clone(), namespace);
    call(&format!("read GitSync {namespace}/{name}"), api.get(name)).await
}

async fn plan_files(
    connection: &Connection,
    gitsync: Option<&GitSync>,
    snapshot: &Snapshot,
    report: &mut Report,
) -> Result<Cluster, CliError> {
    let inventory = match gitsync {
        Some(gitsync) => {
            inventory::load(&connection.client, gitsync)
                .await?
                .inventory
        }
        // Without a GitSync nobody says what was there before: nothing is deleted.
        None => Inventory::default(),
    };
    let settings = settings(gitsync);
    let key = Key::new(settings.namespace, settings.name);
    let cluster = Cluster::read(connection, snapshot, &inventory, &key).await?;
    let planned = plan(snapshot, &inventory, &cluster.metadata, settings);
    report.errors = snapshot
        .errors
        .iter()
        .chain(&planned.errors)
        .map(Into::into)
        .collect();
    report.blocked = match &planned.guard {
        crate::model::sync::Guard::Blocked(block) => Some(block.status()),
        _ => None,
    };
    add_applies(connection, &cluster, &planned, gitsync.is_some(), report).await?;
    for delete in &planned.deletes {
        let mut item = Item::new(Action::Delete, &delete.id);
        item.note = cluster.volume_note(&delete.id);
        report.items.push(item);
    }
    for kept in &planned.kept {
        let mut item = Item::new(Action::Keep, &kept.id);
        item.note = Some(format!("it left the files and stays: {:?}", kept.reason));
        report.items.push(item);
    }
    Ok(cluster)
}

fn settings(gitsync: Option<&GitSync>) -> Settings<'_> {
    let metadata = gitsync.map(|gitsync| &gitsync.metadata);
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    Settings {
        namespace: metadata
            .and_then(|metadata| metadata.namespace.as_deref())
            .unwrap_or_default(),
        name: metadata
            .and_then(|metadata| metadata.name.as_deref())
            .unwrap_or_default(),
        prune: gitsync.and_then(|gitsync| gitsync.spec.prune.as_ref()),
        approval: annotations
            .and_then(|annotations| annotations.get(APPROVE_PRUNE_ANNOTATION))
            .map(String::as_str),
    }
}

async fn add_applies(
    connection: &Connection,
    cluster: &Cluster,
    planned: &Plan,
    by_gitsync: bool,
    report: &mut Report,
) -> Result<(), CliError> {
    for apply in &planned.applies {
        let id = &apply.object.id;
        let action = if apply.change == Change::Create {
            Action::Create
        } else {
            Action::Change
        };
        let mut item = Item::new(action, id);
        item.file = Some(apply.object.file.clone());
        match cluster.try_apply(connection, &apply.object).await {
            Ok(after) => {
                item.changes = effects::of(connection, cluster, id, &after).await?;
                // Nothing that the file says differs from what is there.
                if action == Action::Change && item.changes.is_empty() {
                    report.unchanged += 1;
                    continue;
                }
            }
            // The controller may do what the person who plans may not.
            Err(refusal) if refusal.is_right && by_gitsync => {
                item.note = Some(format!(
                    "could not be tried with your rights: {}",
                    refusal.words
                ));
            }
            Err(refusal) => item.refused = Some(refusal.words),
        }
        report.items.push(item);
    }
    report.unchanged += planned.unchanged.len();
    Ok(())
}
