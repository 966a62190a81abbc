//! The inside of a workspace, checked: what its first process is told to do, and what must be mounted for that.
//!
//! The plan is part of the pinned pod template, so a workspace that runs keeps the plan that it was started with. Nothing
//! secret is in it: credentials stand in Secrets, of which it knows names and hosts.

mod author;
mod commands;
pub mod credentials;
pub mod editors;
pub mod inspection;
pub mod projects;
pub mod steps;
pub mod told;

use std::collections::BTreeSet;

use workstead_link::{PLAN_LIMIT, Plan};

use crate::api::class::{Delivery, ToolsDelivery};
use crate::api::workspace::{Failure, Workspace};
use crate::model::class::ValidatedClass;
use crate::model::identity::{EndpointPort, ImageReference, Owner};
use crate::model::inside::credentials::CredentialFacts;
use crate::model::inside::editors::{ClassTools, ValidatedEditor};
use crate::model::installation::{Cluster, Installation};
use crate::model::names::DnsSubdomain;
use crate::model::workspace::config;

pub use author::AuthorRules;

/// What is told to the first process of a pod, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The plan, as the JSON that the first process reads. The same plan gives the same bytes.
    pub plan: String,
    /// The editor.
    pub editor: Option<ValidatedEditor>,
    /// Where the tools come from.
    pub tools: Tools,
    /// Secrets with Git credentials, sorted.
    pub credentials: BTreeSet<DnsSubdomain>,
}

/// Where the tools come from, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Their image.
    pub image: ImageReference,
    /// Mounted or copied; the editor comes the same way.
    pub delivery: Delivery,
}

impl Tools {
    /// What a class asks for, as far as it is decided, on this cluster.
    pub fn of(rules: &ClassTools, installation: &Installation, cluster: Cluster) -> Self {
        let delivery = match rules.delivery {
            // Where nobody has tried yet, mounting is tried: a refusal is seen and answered by copying.
            ToolsDelivery::Auto if cluster.image_volumes == Some(false) => Delivery::Copy,
            ToolsDelivery::Auto | ToolsDelivery::ImageVolume => Delivery::ImageVolume,
            ToolsDelivery::Copy => Delivery::Copy,
        };
        let image = rules.image.as_ref().unwrap_or(&installation.tools_image);
        Self {
            image: image.clone(),
            delivery,
        }
    }
}

/// All that [`validate`] looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) owner: &'a Owner,
    pub(crate) class: &'a ValidatedClass,
    pub(crate) credentials: &'a [CredentialFacts],
    pub(crate) cluster: Cluster,
    pub(crate) installation: &'a Installation,
}

/// Checks projects, start commands and editor, and makes the plan.
///
/// # Errors
/// `ConfigInvalid` when a field is wrong, `ClassInvalid` when the class has no such editor.
pub(crate) fn validate(question: &Question<'_>) -> Result<Inside, Failure> {
    let Question {
        workspace,
        owner,
        class,
        ..
    } = *question;
    let projects = projects::validated(&workspace.spec.projects)?;
    let post_start = commands::validated(&workspace.spec.post_start)?;
    let editor = editors::chosen(workspace.spec.editor.as_deref(), class)?;
    if let Some(editor) = &editor {
        check_ports(workspace, editor)?;
    }
    let needed: BTreeSet<projects::Host> = projects.iter().flat_map(|p| p.hosts()).collect();
    let fitting = credentials::fitting(owner, &needed, question.credentials);
    let plan = Plan {
        projects: projects.into_iter().map(Into::into).collect(),
        post_start,
        editor: editor.as_ref().map(ValidatedEditor::to_link),
        author: author::of(owner, &class.author),
        credentials: fitting.to_link(),
        keep_alive: keep_alive(workspace)?,
        ..Plan::default()
    };
    Ok(Inside {
        plan: written(&plan)?,
        editor,
        tools: Tools::of(&class.tools, question.installation, question.cluster),
        credentials: fitting.names(),
    })
}

/// Programs that keep a workspace from being idle, in order and each once: the plan does not change with how they are
/// listed.
fn keep_alive(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    const FIELD: &str = "spec.timeouts.keepAlive";
    let timeouts = workspace.spec.timeouts.as_ref();
    let names: BTreeSet<&String> = timeouts.iter().flat_map(|t| &t.keep_alive).collect();
    let fits = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
        !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)
    };
    match names.iter().find(|name| !fits(name)) {
        Some(name) => Err(config(
            FIELD,
            &format!(
                "'{name}' is no name of a program: write it without path and arguments, for example cargo"
            ),
        )),
        None => Ok(names.into_iter().cloned().collect()),
    }
}

fn written(plan: &Plan) -> Result<String, Failure> {
    const FIELDS: &str = "spec.projects";
    let text = serde_json::to_string(plan)
        .map_err(|error| config(FIELDS, &format!("the plan can't be written: {error}")))?;
    if text.len() > PLAN_LIMIT {
        let message = format!(
            "projects and start commands together make {} KiB, and 96 KiB are the most: put long commands into a script of the repository",
            text.len().div_ceil(1024)
        );
        return Err(config(FIELDS, &message));
    }
    Ok(text)
}

/// What differs between two plans as they stand in pod templates, as the author of the Workspace calls it. A template of a
/// release before plans has none, which counts as one that asks for nothing.
pub(crate) fn plan_changes(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let read = |text: Option<&str>| -> Plan {
        // There a '$' stands for itself where it is doubled.
        let text = text.unwrap_or("{}").replace("$$", "$");
        serde_json::from_str(&text).unwrap_or_default()
    };
    let (before, after) = (read(before), read(after));
    let parts = [
        ("spec.projects", before.projects != after.projects),
        ("spec.postStart", before.post_start != after.post_start),
        ("spec.editor", before.editor != after.editor),
        ("git credentials", before.credentials != after.credentials),
        ("git identity", before.author != after.author),
        (
            "spec.timeouts.keepAlive",
            before.keep_alive != after.keep_alive,
        ),
    ];
    let differing = parts.iter().filter(|(_, differs)| *differs);
    let named: Vec<String> = differing.map(|(name, _)| (*name).to_owned()).collect();
    if named.is_empty() {
        return vec!["pod.plan".to_owned()];
    }
    named
}

fn check_ports(workspace: &Workspace, editor: &ValidatedEditor) -> Result<(), Failure> {
    let clash = |port: u16| port == editor.port || EndpointPort::RESERVED.contains(&port);
    match workspace.spec.endpoints.iter().find(|e| clash(e.port)) {
        None => Ok(()),
        Some(endpoint) => Err(config(
            &format!("spec.endpoints[{}]", endpoint.name),
            &format!(
                "port {} is that of the editor '{}': give the endpoint another one",
                endpoint.port, editor.name
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
