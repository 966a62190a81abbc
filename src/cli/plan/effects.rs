//! What a change does to a workspace, and when: both are rendered, and compared with what runs.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use crate::api::gitsync::SyncedKind;
use crate::api::workspace::{ChangeEffect, PendingChange, Workspace};
use crate::cli::connect::Connection;
use crate::cli::error::CliError;
use crate::cli::plan::live::Cluster;
use crate::model::class;
use crate::model::identity::ImageReference;
use crate::model::installation::{self, Installation};
use crate::model::names::{DnsLabel, RESTART_REQUESTED_ANNOTATION, WORKSPACE_LABEL};
use crate::model::revision::{Pinned, change_effect, differing_fields};
use crate::model::sync::ObjectId;
use crate::model::workspace::{Identity, Inputs, validate};
use crate::render::{Resources, changes, render};

/// What differs between what is there and what the API server would keep.
pub async fn of(
    connection: &Connection,
    cluster: &Cluster,
    id: &ObjectId,
    after: &DynamicObject,
) -> Result<Vec<PendingChange>, CliError> {
    if id.kind != SyncedKind::Workspace {
        return Ok(Vec::new());
    }
    let Some(before) = cluster.workspaces.get(id) else {
        return Ok(Vec::new());
    };
    let after: Workspace = serde_json::from_value(serde_json::to_value(after)?)?;
    let mut found = state_change(before, &after);
    found.extend(class_change(before, &after));
    let pinned = pinned(connection, before).await;
    let effects = rendered_changes(cluster, before, &after, pinned.as_ref());
    found.extend(effects.unwrap_or_else(|| spec_changes(before, &after)));
    found.sort();
    found.dedup();
    Ok(found)
}

/// A wish for another run state is carried out at once.
fn state_change(before: &Workspace, after: &Workspace) -> Vec<PendingChange> {
    if before.spec.desired_state == after.spec.desired_state {
        return Vec::new();
    }
    let word = |workspace: &Workspace| {
        workspace
            .spec
            .desired_state
            .map_or("left open".to_owned(), |state| format!("{state:?}"))
    };
    vec![PendingChange {
        field: format!("spec.desiredState ({} -> {})", word(before), word(after)),
        effect: ChangeEffect::Live,
    }]
}

/// Another class counts from the next start on, whatever it renders: by its quotas, too.
fn class_change(before: &Workspace, after: &Workspace) -> Option<PendingChange> {
    let differs = before.spec.class_name != after.spec.class_name;
    differs.then(|| PendingChange {
        field: "spec.className".to_owned(),
        effect: change_effect(restart_is_asked(before, after)),
    })
}

/// The pin of the last start. Who may not read it gets the comparison with what the live spec would render.
async fn pinned(connection: &Connection, workspace: &Workspace) -> Option<Pinned> {
    let identity = Identity::of(workspace).ok()?;
    let namespace = identity.namespace.as_str();
    let api: Api<ControllerRevision> = Api::namespaced(connection.client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("{WORKSPACE_LABEL}={}", identity.name));
    let found = api.list(&selector).await.ok()?;
    Pinned::newest(&found.items, &identity)
}

/// None where one of the two can't be rendered: a class that can't be read, or a spec that it refuses.
fn rendered_changes(
    cluster: &Cluster,
    before: &Workspace,
    after: &Workspace,
    pinned: Option<&Pinned>,
) -> Option<Vec<PendingChange>> {
    let tools = pinned.map_or("workstead", |pinned| pinned.pin.inputs.tools_image.as_str());
    let one = resources(cluster, before, tools)?;
    let other = resources(cluster, after, tools)?;
    let one = match pinned {
        Some(pinned) => one.with_template(&pinned.pin.template),
        None => one,
    };
    Some(changes(&one, &other, restart_is_asked(before, after)))
}

fn resources(cluster: &Cluster, workspace: &Workspace, tools: &str) -> Option<Resources> {
    let namespace = workspace.metadata.namespace.as_deref().unwrap_or_default();
    let named = workspace.spec.class_name.as_deref();
    let class = class::choose(named, namespace, &cluster.classes).ok()?;
    // Which installation it is does not matter: both sides are rendered for the same one.
    let home = DnsLabel::new("workstead-system").ok()?;
    let installation = Installation::new(home, ImageReference::new(tools).ok()?);
    let validated = validate(&Inputs {
        workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: installation::Cluster::UNASKED,
        installation: &installation,
    });
    Some(render(&validated.ok()?, 1))
}

/// The file carries a new value of the restart annotation.
fn restart_is_asked(before: &Workspace, after: &Workspace) -> bool {
    let value = |workspace: &Workspace| {
        let annotations = workspace.metadata.annotations.as_ref();
        annotations
            .and_then(|all| all.get(RESTART_REQUESTED_ANNOTATION))
            .cloned()
    };
    let handled = before
        .status
        .as_ref()
        .and_then(|status| status.last_handled_restart_at.clone());
    value(after).is_some_and(|asked| Some(asked) != handled)
}

/// The fields of the spec that differ; they take effect at the next start at the latest.
fn spec_changes(before: &Workspace, after: &Workspace) -> Vec<PendingChange> {
    let spec = |workspace: &Workspace| {
        let mut spec = serde_json::to_value(&workspace.spec).unwrap_or(Value::Null);
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("desiredState");
        }
        spec
    };
    differing_fields(&spec(before), &spec(after))
        .into_iter()
        .map(|field| PendingChange {
            field: format!("spec.{field}"),
            effect: ChangeEffect::NextStart,
        })
        .collect()
}
