//! `workstead list`.

use std::process::ExitCode;

use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::api::Workspace;
use crate::api::access::Visibility;
use crate::api::workspace::{Endpoint, SupervisorStatus, WorkspaceStatus};
use crate::cli::args::{ListArgs, ListFormat};
use crate::cli::call::call;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::{BAD, Cell, DataFormat, GOOD, Screen, table};
use crate::cli::show::{self, NOTHING, condition};
use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock;

/// Objects that are asked for at once.
const PAGE: u32 = 500;
/// Ports that are shown in a row.
const PORTS: usize = 3;

/// Lists workspaces.
pub async fn run(arguments: ListArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let connection = connect(&arguments.cluster).await?;
    let place = (!arguments.all_namespaces).then_some(connection.namespace.as_str());
    let mut workspaces =
        fetch(connection.client.clone(), place, arguments.owner.as_deref()).await?;
    match arguments.output {
        Some(ListFormat::Json) => data(screen, DataFormat::Json, &mut workspaces)?,
        Some(ListFormat::Yaml) => data(screen, DataFormat::Yaml, &mut workspaces)?,
        wide => {
            if workspaces.is_empty() {
                let owner = arguments.owner.as_ref();
                let owner = owner.map_or_else(String::new, |name| format!(" of owner {name}"));
                let place = place.map_or_else(String::new, |name| format!(" in namespace {name}"));
                screen.progress(&format!("no workspaces{owner}{place}"));
            } else {
                let columns = Columns {
                    namespace: arguments.all_namespaces,
                    wide: wide.is_some(),
                };
                screen.print(&columns.table(&workspaces, SystemClock.now()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn fetch(
    client: Client,
    namespace: Option<&str>,
    owner: Option<&str>,
) -> Result<Vec<Workspace>, CliError> {
    let api: Api<Workspace> = match namespace {
        Some(name) => Api::namespaced(client, name),
        None => Api::all(client),
    };
    let mut parameters = ListParams::default().limit(PAGE);
    if let Some(owner) = owner {
        parameters = parameters.fields(&format!("spec.owner={owner}"));
    }
    let mut workspaces = Vec::new();
    loop {
        let page = call("list workspaces", api.list(&parameters)).await?;
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        workspaces.extend(page.items);
        match token {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(workspaces),
        }
    }
}

fn data(
    screen: &mut Screen,
    format: DataFormat,
    workspaces: &mut [Workspace],
) -> Result<(), CliError> {
    for workspace in workspaces.iter_mut() {
        workspace.metadata.managed_fields = None;
    }
    screen.data(
        format,
        &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": workspaces}),
    )
}

struct Columns {
    namespace: bool,
    wide: bool,
}

impl Columns {
    fn table(&self, workspaces: &[Workspace], now: Timestamp) -> String {
        let mut header = vec![
            "NAME", "STATE", "READY", "OWNER", "EDITOR", "PORTS", "URL", "AGE",
        ];
        if self.namespace {
            header.insert(0, "NAMESPACE");
        }
        if self.wide {
            header.extend([
                "DESIRED",
                "CAUSE",
                "TIMER",
                "ENDPOINTS",
                "LISTENING",
                "CLASS",
                "IMAGE",
                "NODE",
            ]);
        }
        let rows = workspaces.iter().map(|each| self.row(each, now));
        let rows: Vec<Vec<Cell>> = rows.collect();
        table(&header, &rows)
    }

    fn row(&self, workspace: &Workspace, now: Timestamp) -> Vec<Cell> {
        let (state, style) = show::state(workspace);
        let status = workspace.status.clone().unwrap_or_default();
        let ready = condition(&status.conditions, "Ready").map(|found| found.status.clone());
        let age = workspace
            .creation_timestamp()
            .map(|created| show::ago(now, created.0));
        let mut row = vec![
            Cell::from(workspace.name_any()),
            Cell::styled(state, style),
            match ready.as_deref() {
                Some("True") => Cell::styled("True", GOOD),
                Some("False") => Cell::styled("False", BAD),
                other => other.unwrap_or(NOTHING).into(),
            },
            workspace.spec.owner.clone().into(),
            or_nothing(editor(workspace, &status)),
            or_nothing(ports(&workspace.spec.endpoints)),
            or_nothing(status.url.clone()),
            or_nothing(age),
        ];
        if self.namespace {
            row.insert(0, or_nothing(workspace.namespace()));
        }
        if self.wide {
            let timer = timer(&status, now);
            let endpoints = endpoints(&workspace.spec.endpoints, &status);
            row.extend([
                show::desired(workspace).into(),
                or_nothing(status.failure.map(|failure| format!("{:?}", failure.cause))),
                or_nothing(timer),
                or_nothing(endpoints),
                or_nothing(listening(status.supervisor.as_ref(), now)),
                or_nothing(status.class_name),
                workspace.spec.image.clone().into(),
                or_nothing(status.pod.and_then(|pod| pod.node)),
            ]);
        }
        row
    }
}

/// The editor of the last start; before the first one, what the file names.
fn editor(workspace: &Workspace, status: &WorkspaceStatus) -> Option<String> {
    let named = || workspace.spec.editor.clone().filter(|name| name != "none");
    match &status.revision {
        Some(_) => status.editor.clone(),
        None => named(),
    }
}

/// The first ports, and how many more there are.
fn ports(endpoints: &[Endpoint]) -> Option<String> {
    let numbers = endpoints.iter().map(|endpoint| endpoint.port.to_string());
    let mut shown: Vec<String> = numbers.take(PORTS).collect();
    let more = endpoints.len().saturating_sub(shown.len());
    if more > 0 {
        shown.push(format!("+{more}"));
    }
    joined(shown)
}

/// Endpoints with their names, and to whom they open if not to the owner alone.
fn endpoints(endpoints: &[Endpoint], status: &WorkspaceStatus) -> Option<String> {
    let named = endpoints.iter().map(|endpoint| {
        let mut open = status.endpoints.iter();
        let open = open.find(|open| open.port == endpoint.port);
        let visibility = open.map(|open| open.visibility).unwrap_or_default();
        let name = format!("{}:{}", endpoint.name, endpoint.port);
        match visibility {
            Visibility::Private => name,
            other => format!("{name}({other:?})"),
        }
    });
    joined(named.collect())
}

/// The timer that ended it, or the next one that will.
fn timer(status: &WorkspaceStatus, now: Timestamp) -> Option<String> {
    if let Some(stop) = &status.stopped_by_timer {
        return Some(format!(
            "{} ({} ago)",
            stop.timer,
            show::ago(now, stop.at.0)
        ));
    }
    let next = status.activity.as_ref()?.warnings.first()?;
    let left = show::ago(next.at.0, now);
    Some(format!("{} (in {left})", next.timer))
}

/// Ports on which something listened when the workspace was last asked, and how long ago that was.
fn listening(supervisor: Option<&SupervisorStatus>, now: Timestamp) -> Option<String> {
    let said = supervisor?.inspection.as_ref()?;
    let numbers = said.listening.iter().map(u16::to_string).collect();
    let numbers = joined(numbers).unwrap_or_else(|| "none".to_owned());
    Some(format!("{numbers} ({} ago)", show::ago(now, said.at.0)))
}

fn joined(parts: Vec<String>) -> Option<String> {
    (!parts.is_empty()).then(|| parts.join(","))
}

fn or_nothing(text: Option<String>) -> Cell {
    text.unwrap_or_else(|| NOTHING.to_owned()).into()
}
