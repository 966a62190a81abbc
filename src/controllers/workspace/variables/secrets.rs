//! The Secrets of variables: those that a Workspace names, and those that hold what it took.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PartialObjectMeta, PostParams};
use kube::core::Request;
use kube::{Resource as _, ResourceExt as _};
use zeroize::Zeroizing;

use crate::api::WorkspaceVariables;
use crate::controllers::apply::{ApplyError, Ownership, Parent, ownership};
use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::observe::Seen;
use crate::controllers::workspace::plan::Plan;
use crate::controllers::workspace::references::{self, Answer, ReferenceError};
use crate::model::names::{VARIABLES_DIGEST_ANNOTATION, WORKSPACE_MANAGER};
use crate::model::revision::{Pinned, superseded};
use crate::model::variables::pin::{VariablesPin, named_in};
use crate::model::workspace::Identity;

const SECRET: &str = "Secret";

/// Whether the Secret of a pin is there, and is that very one.
pub async fn exists(
    context: &Context,
    parent: &Parent,
    pin: &VariablesPin,
) -> Result<bool, ApplyError> {
    let key = Key::new(&parent.key.namespace, &pin.secret);
    if let Some(seen) = context.children.keys.get(&key) {
        return Ok(is_of(parent, &pin.digest, &seen));
    }
    let live = metadata(context, &key).await?;
    Ok(live.is_some_and(|live| is_of(parent, &pin.digest, &live)))
}

fn is_of(parent: &Parent, digest: &str, secret: &PartialObjectMeta<Secret>) -> bool {
    let written = secret.annotations().get(VARIABLES_DIGEST_ANNOTATION);
    ownership(parent, secret) == Ownership::Ours
        && written.map(String::as_str) == Some(digest)
        && secret.metadata.deletion_timestamp.is_none()
}

async fn metadata(
    context: &Context,
    key: &Key,
) -> Result<Option<PartialObjectMeta<Secret>>, ApplyError> {
    let found = api(context, &key.namespace)
        .get_metadata_opt(&key.name)
        .await;
    found.map_err(|source| read_error(key, source))
}

fn api(context: &Context, namespace: &str) -> Api<Secret> {
    Api::namespaced(context.shared.client.clone(), namespace)
}

fn read_error(key: &Key, source: kube::Error) -> ApplyError {
    ApplyError::Read {
        kind: SECRET,
        key: key.clone(),
        source: Box::new(source),
    }
}

/// Whether a set is there that no watch has shown yet.
pub async fn set_exists(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<bool, ApplyError> {
    let client = context.shared.client.clone();
    let api: Api<WorkspaceVariables> = Api::namespaced(client, namespace);
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|source| ApplyError::Read {
        kind: "WorkspaceVariables",
        key: Key::new(namespace, name),
        source: Box::new(source),
    })?;
    Ok(found.is_some())
}

/// What is in the Secret of a pin; none, it is gone since.
pub async fn values(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Answer>, ApplyError> {
    let key = Key::new(namespace, name);
    let read = references::read(&context.shared.client, &key).await;
    read.map_err(|error| unread(key, error))
}

/// A Secret that could not be read, as a step of a pass says it.
pub fn unread(key: Key, error: ReferenceError) -> ApplyError {
    let source = match error {
        ReferenceError::Api { source, .. } => source,
        // The error says which Secret, and nothing of what was answered.
        other => Box::new(kube::Error::Service(Box::new(other))),
    };
    ApplyError::Read {
        kind: SECRET,
        key,
        source,
    }
}

/// What a Secret says of itself whose values a Workspace may want. One that may not be used is in no cache.
pub async fn referable(
    context: &Context,
    key: &Key,
) -> Result<Option<Arc<PartialObjectMeta<Secret>>>, ApplyError> {
    match context.children.referable.get(key) {
        Some(known) => Ok(Some(known)),
        None => Ok(metadata(context, key).await?.map(Arc::new)),
    }
}

/// Makes the Secret of the pin that is applied, where it is not there. It comes before what names it.
pub async fn ensure(
    context: &Context,
    parent: &Parent,
    plan: &Plan,
    made: Option<&Secret>,
) -> Result<(), ApplyError> {
    let pinned = plan.pinned.as_ref();
    let (Some(pin), Some(made)) = (pinned.and_then(|p| p.pin.inputs.variables.as_ref()), made)
    else {
        return Ok(());
    };
    if made.metadata.name.as_ref() != Some(&pin.secret) {
        return Ok(());
    }
    let key = Key::new(&parent.key.namespace, &pin.secret);
    let seen = context.children.keys.get(&key);
    if seen.is_some_and(|seen| is_of(parent, &pin.digest, &seen)) {
        return Ok(());
    }
    match create(context, &key, made).await {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            match metadata(context, &key).await? {
                Some(live) if is_of(parent, &pin.digest, &live) => Ok(()),
                Some(live) if ownership(parent, &live) != Ownership::Ours => {
                    Err(ApplyError::Foreign {
                        kind: SECRET,
                        key,
                        why: "the Workspace does not control it".to_owned(),
                    })
                }
                // It goes, or was of other sets whose digest begins alike: it is over when it is gone.
                Some(_) => Err(ApplyError::Leftover { kind: SECRET, key }),
                None => Err(ApplyError::Appeared { kind: SECRET, key }),
            }
        }
        Err(source) => Err(ApplyError::Apply {
            kind: SECRET,
            key,
            source: Box::new(source),
        }),
    }
}

/// By hand: the client would log an answer that it can't parse, and the answer holds all of it.
async fn create(context: &Context, key: &Key, made: &Secret) -> Result<(), kube::Error> {
    let params = PostParams {
        field_manager: Some(WORKSPACE_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let body = serde_json::to_vec(made).map_err(kube::Error::SerdeError)?;
    let request = Request::new(Secret::url_path(&(), Some(&key.namespace)));
    let request = request
        .create(&params, body)
        .map_err(kube::Error::BuildRequest)?;
    let answer = context.shared.client.request_text(request).await?;
    drop(Zeroizing::new(answer));
    Ok(())
}

/// Deletes the Secrets of starts that are over: those that neither a kept pin nor the Deployment names.
pub async fn clear(
    context: &Context,
    parent: &Parent,
    identity: &Identity,
    plan: &Plan,
    before: &Seen,
) -> Result<(), ApplyError> {
    let all = of_workspace(context, parent);
    if all.is_empty() {
        return Ok(());
    }
    let over = superseded(&before.revisions, identity);
    let kept = before.revisions.iter().filter(|revision| {
        let name = revision.metadata.name.as_ref();
        name.is_none_or(|name| !over.contains(name))
    });
    let pins = kept.filter_map(Pinned::of).chain(plan.pinned.clone());
    let mut named: BTreeSet<String> = pins
        .flat_map(|pinned| {
            let of_inputs = pinned.pin.inputs.variables.map(|pin| pin.secret);
            let mut named = named_in(&pinned.pin.template, &identity.name);
            named.extend(of_inputs);
            named
        })
        .collect();
    let deployment = before.deployment.as_deref().and_then(|d| d.spec.as_ref());
    named.extend(
        deployment
            .iter()
            .flat_map(|spec| named_in(&spec.template, &identity.name)),
    );
    for secret in all {
        if !named.contains(&secret.name_any()) {
            context.keys.remove(parent, &secret).await?;
        }
    }
    Ok(())
}

/// Deletes all of them. Returns whether there were some.
pub async fn remove(context: &Context, parent: &Parent) -> Result<bool, ApplyError> {
    let mut any = false;
    for secret in of_workspace(context, parent) {
        any |= context.keys.remove(parent, &secret).await?;
    }
    Ok(any)
}

fn of_workspace(context: &Context, parent: &Parent) -> Vec<Arc<PartialObjectMeta<Secret>>> {
    let mut all = context.children.keys.of_workspace(&parent.key);
    all.retain(|secret| {
        secret
            .annotations()
            .contains_key(VARIABLES_DIGEST_ANNOTATION)
    });
    all
}
