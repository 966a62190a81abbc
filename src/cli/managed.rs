//! Whose a field is, as the API server keeps track of it.

use kube::ResourceExt;

use crate::api::Workspace;
use crate::model::names::CLI_MANAGER;

/// The manager, other than the command line, that applies an annotation: a file sets it.
pub fn applies(workspace: &Workspace, annotation: &str) -> Option<String> {
    let field = format!("f:{annotation}");
    let applied = workspace
        .managed_fields()
        .iter()
        .filter(|entry| entry.operation.as_deref() == Some("Apply"));
    let others = applied.filter(|entry| entry.manager.as_deref() != Some(CLI_MANAGER));
    let owner = others.into_iter().find(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let annotations = fields.and_then(|fields| fields.pointer("/f:metadata/f:annotations"));
        annotations.and_then(|all| all.get(&field)).is_some()
    })?;
    let manager = owner.manager.as_deref();
    Some(manager.unwrap_or("somebody").to_owned())
}
