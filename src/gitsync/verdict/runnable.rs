//! What a controller would refuse of an object that the API server takes, by what the object alone says.
//!
//! The same checks as the controller's: a class against itself, a Workspace against a class that says nothing. What
//! depends on its own class, on quotas and on the cluster, only the cluster can tell.

use serde_json::{Value, json};

use super::{Fault, Finding};
use crate::api::gitsync::SyncedKind;
use crate::api::workspace::{Cause, Failure, Workspace};
use crate::api::{API_VERSION, WorkspaceClass, WorkspaceVariables};
use crate::model::class;
use crate::model::identity::ImageReference;
use crate::model::installation::{Cluster, Installation};
use crate::model::names::DnsLabel;
use crate::model::workspace::{Inputs, validate};
use crate::secrets::set::inspect_set;
use crate::yaml::parse_path;

/// Stands for what the API server and the installation would give: nothing that is checked here depends on it.
const ANY: &str = "any";

/// Everything that a controller would say.
pub(super) fn find_wrong(kind: SyncedKind, object: &Value) -> Vec<Finding> {
    match kind {
        SyncedKind::WorkspaceClass => class_findings(object).unwrap_or_default(),
        SyncedKind::Workspace => workspace_finding(object).into_iter().collect(),
        SyncedKind::WorkspaceVariables => set_finding(object).into_iter().collect(),
        SyncedKind::GitSync => Vec::new(),
    }
}

fn class_findings(object: &Value) -> Option<Vec<Finding>> {
    let class: WorkspaceClass = serde_json::from_value(object.clone()).ok()?;
    let invalid = class::validate(&class).invalid;
    let findings = invalid.into_iter().map(|wrong| {
        let path = parse_path(&wrong.field);
        Finding::new(Fault::Invalid, &path, wrong.message)
    });
    Some(findings.collect())
}

/// What can be seen of a sealed text without an identity.
fn set_finding(object: &Value) -> Option<Finding> {
    let set: WorkspaceVariables = serde_json::from_value(object.clone()).ok()?;
    let error = inspect_set(set.spec.format, &set.spec.sealed).err()?;
    let path = parse_path("spec.sealed");
    let message = format!("{}: {error}", error.code());
    Some(Finding::new(Fault::Invalid, &path, message))
}

fn workspace_finding(object: &Value) -> Option<Finding> {
    let mut workspace: Workspace = serde_json::from_value(object.clone()).ok()?;
    let metadata = &mut workspace.metadata;
    metadata.namespace.get_or_insert_with(|| ANY.to_owned());
    metadata.uid = Some(ANY.to_owned());
    let installation = Installation::new(DnsLabel::new(ANY).ok()?, ImageReference::new(ANY).ok()?);
    let class = class::validate(&silent_class()?).class?;
    let inputs = Inputs {
        workspace: &workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: Cluster {
            minor: Cluster::OLDEST_MINOR,
            user_namespaces: None,
            image_volumes: None,
        },
        installation: &installation,
    };
    validate(&inputs).err().and_then(finding)
}

/// A failure as a finding, unless it is about the class, which here is none of the Workspace's own.
fn finding(failure: Failure) -> Option<Finding> {
    if !matches!(failure.cause, Cause::ConfigInvalid | Cause::ImageNotFound) {
        return None;
    }
    let (field, message) = match failure.message.split_once(": ") {
        Some((field, message)) if !field.contains(' ') => (field, message),
        _ => ("", failure.message.as_str()),
    };
    let path = parse_path(field);
    Some(Finding::new(Fault::Invalid, &path, message))
}

fn silent_class() -> Option<WorkspaceClass> {
    let class = json!({
        "apiVersion": API_VERSION, "kind": "WorkspaceClass", "metadata": {"name": ANY}, "spec": {},
    });
    serde_json::from_value(class).ok()
}
