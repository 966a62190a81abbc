//! `workstead render`: the Kubernetes objects that a Workspace becomes.

use std::process::ExitCode;

use crate::api::gitsync::SyncedKind;
use crate::api::workspace::{DesiredState, Workspace};
use crate::api::{API_VERSION, WorkspaceClass};
use crate::cli::again::program;
use crate::cli::args::RenderArgs;
use crate::cli::error::{ANSWER_NO, CliError};
use crate::cli::output::{DataFormat, Screen};
use crate::cli::validate::{line, of_kind, read, rules};
use crate::model::class;
use crate::model::identity::ImageReference;
use crate::model::installation::{Cluster, Installation};
use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::model::variables::pin::Asked;
use crate::model::workspace::{Inputs, validate};
use crate::render::render;

/// Stands where the API server would have put one: the same input renders the same bytes.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

/// Renders every Workspace of a file.
pub fn run(arguments: &RenderArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let (tree, objects) = rules(None, &arguments.namespace, &[])?;
    let mut workspaces: Vec<Workspace> = Vec::new();
    let mut classes: Vec<WorkspaceClass> = Vec::new();
    let mut wrong = false;
    for path in std::iter::once(&arguments.file).chain(&arguments.classes) {
        let snapshot = read(path, &tree, &objects)?;
        for error in &snapshot.errors {
            wrong = true;
            screen.complain(&line(error));
        }
        for value in of_kind(&snapshot, SyncedKind::WorkspaceClass) {
            classes.push(serde_json::from_value(value.clone())?);
        }
        if path == &arguments.file {
            for value in of_kind(&snapshot, SyncedKind::Workspace) {
                workspaces.push(serde_json::from_value(value.clone())?);
            }
        }
    }
    if wrong {
        return Ok(ANSWER_NO.into());
    }
    if workspaces.is_empty() {
        return Err(
            CliError::undone(format!("{} holds no Workspace", arguments.file.display())).next(
                format!(
                    "name a file with one; {} crds shows what it may say",
                    program()
                ),
            ),
        );
    }
    let mut values = Vec::new();
    for mut workspace in workspaces {
        add_missing_class(&workspace, &mut classes, screen);
        if Asked::of(&workspace.spec) != Asked::default() {
            let name = workspace.metadata.name.as_deref().unwrap_or_default();
            screen.progress(&format!(
                "what Workspace {name} has of sealed sets and Secrets is known to the cluster alone: it is left out here"
            ));
        }
        values.extend(render_one(
            &mut workspace,
            &classes,
            &installation(arguments)?,
        )?);
    }
    match arguments.output {
        DataFormat::Json => screen.data(
            DataFormat::Json,
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": values}),
        )?,
        DataFormat::Yaml => {
            for value in &values {
                screen.print("---\n")?;
                screen.data(DataFormat::Yaml, value)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn installation(arguments: &RenderArgs) -> Result<Installation, CliError> {
    let namespace = DnsLabel::new(&arguments.installation_namespace)?;
    let mut installation =
        Installation::new(namespace, ImageReference::new(&arguments.tools_image)?);
    installation.base_domain = arguments
        .base_domain
        .as_ref()
        .map(DnsSubdomain::new)
        .transpose()?;
    installation.dns = arguments.dns.cluster_dns();
    Ok(installation)
}

/// Without the class at hand, an empty one of its name stands in, which is said.
fn add_missing_class(
    workspace: &Workspace,
    classes: &mut Vec<WorkspaceClass>,
    screen: &mut Screen,
) {
    let named = workspace.spec.class_name.as_deref();
    let known = match named {
        Some(name) => classes
            .iter()
            .any(|class| class.metadata.name.as_deref() == Some(name)),
        None => classes.iter().any(class::is_default),
    };
    if known {
        return;
    }
    let name = named.unwrap_or("standard");
    screen.progress(&format!(
        "class '{name}' is not given (--class FILE): an empty one stands in"
    ));
    let empty = serde_json::from_value(serde_json::json!({
        "apiVersion": API_VERSION,
        "kind": "WorkspaceClass",
        "metadata": {"name": name, "annotations": {crate::model::names::DEFAULT_CLASS_ANNOTATION: (named.is_none()).to_string()}},
        "spec": {},
    }));
    classes.extend(empty.ok());
}

fn render_one(
    workspace: &mut Workspace,
    classes: &[WorkspaceClass],
    installation: &Installation,
) -> Result<Vec<serde_json::Value>, CliError> {
    workspace
        .metadata
        .uid
        .get_or_insert_with(|| NO_UID.to_owned());
    let namespace = workspace.metadata.namespace.clone().unwrap_or_default();
    let class = class::choose(workspace.spec.class_name.as_deref(), &namespace, classes)
        .map_err(|failure| refused(workspace, &failure))?;
    let inputs = Inputs {
        workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: Cluster::UNASKED,
        installation,
    };
    let validated = validate(&inputs).map_err(|failure| refused(workspace, &failure))?;
    let replicas = match workspace.spec.desired_state {
        Some(DesiredState::Stopped | DesiredState::Terminated) => 0,
        Some(DesiredState::Running) | None => 1,
    };
    Ok(render(&validated, replicas).to_values())
}

fn refused(workspace: &Workspace, failure: &crate::api::workspace::Failure) -> CliError {
    let name = workspace.metadata.name.as_deref().unwrap_or_default();
    CliError::no(format!(
        "Workspace {name}: {:?}, {}",
        failure.cause, failure.message
    ))
    .seen(&failure.evidence)
    .next(&failure.next_step)
}
