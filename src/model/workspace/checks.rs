//! The fields of a Workspace, each against its class, its volume and the cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::shared::{Blame, DurationText};
use crate::api::workspace::{Cause, Failure, Workspace};
use crate::model::activity::Lifetimes;
use crate::model::class::{Deadlines, LEAST_STARTUP, LEAST_STOPPING, PodRules, ValidatedClass};
use crate::model::duration::Span;
use crate::model::identity::{EndpointName, EndpointPort, Owner, VariableName};
use crate::model::installation::Cluster;
use crate::model::names::{DnsSubdomain, OWNER_ANNOTATION};
use crate::model::quantity::Amount;
use crate::model::resources::ResourceError;
use crate::model::workspace::{Inputs, ValidatedStorage, VolumeFacts, config};

/// The environment variables and arguments of a pod must fit into what the kernel takes for a new program.
pub const ENVIRONMENT_BYTES: usize = 512 * 1024;

pub(super) fn image_failure(image: &str, message: &str) -> Failure {
    Failure {
        cause: Cause::ImageNotFound,
        blame: Blame::User,
        message: format!("spec.image: {message}"),
        evidence: format!("spec.image is '{image}'"),
        retryable: false,
        next_step: "correct spec.image in the file of the Workspace".to_owned(),
        since: None,
    }
}

/// Something is over a cap of the class: the author can ask for less, or the administrator allow more.
fn over_cap(field: &str, asked: &str, class: &ValidatedClass, cap: &str, most: &str) -> Failure {
    Failure {
        cause: Cause::ClassInvalid,
        blame: Blame::User,
        message: format!(
            "{field} is {asked}, and class '{}' allows {most}",
            class.name
        ),
        evidence: format!("{cap} of WorkspaceClass '{}' is {most}", class.name),
        retryable: false,
        next_step: format!("write {most} or less in {field}, or choose another class"),
        since: None,
    }
}

pub(super) fn resource_failure(error: &ResourceError, class: &ValidatedClass) -> Failure {
    match error {
        ResourceError::Field { field, message } => config(field, message),
        ResourceError::OverCap { field, asked, most } => {
            let name = field.rsplit('.').next().unwrap_or_default();
            over_cap(
                field,
                &asked.to_string(),
                class,
                &format!("spec.resources.max.{name}"),
                &most.to_string(),
            )
        }
    }
}

pub(super) fn check_volume_owner(
    volume: &VolumeFacts,
    owner: &Owner,
    workspace: &Workspace,
) -> Result<(), Failure> {
    let name = &volume.name;
    let foreign = |found: &str| Failure {
        cause: Cause::VolumeForeign,
        blame: Blame::User,
        message: format!("the volume '{name}' belongs to {found}, this Workspace to {owner}"),
        evidence: format!(
            "PersistentVolumeClaim '{name}': annotation {OWNER_ANNOTATION} is {found}"
        ),
        retryable: false,
        next_step: format!(
            "give the Workspace another name, or have the PersistentVolumeClaim '{name}' deleted if nobody needs what is on it"
        ),
        since: None,
    };
    match &volume.owner {
        Some(found) if found == owner.as_str() => {}
        Some(found) => return Err(foreign(found)),
        None => return Err(foreign("nobody that Workstead knows")),
    }
    if volume.deleting && volume.workspace_uid != workspace.metadata.uid {
        return Err(Failure {
            cause: Cause::VolumeBind,
            blame: Blame::Platform,
            message: format!(
                "the volume '{name}' of an earlier Workspace of this name is still being deleted"
            ),
            evidence: format!("PersistentVolumeClaim '{name}' has a deletionTimestamp"),
            retryable: true,
            next_step: "wait until it is gone; if that never happens, see which pod still uses it"
                .to_owned(),
            since: None,
        });
    }
    Ok(())
}

/// Why nothing may start on a claim that is being deleted: a pod keeps it from going, and what is on it goes with the
/// last one. None while nobody deletes it.
pub fn leaving_volume(volume: &VolumeFacts, has_pod: bool) -> Option<Failure> {
    let name = &volume.name;
    let (message, next_step) = if has_pod {
        (
            format!("the volume '{name}' is being deleted, and goes when the workspace stops"),
            "copy your work to another place before you stop; the next start makes a new, empty volume",
        )
    } else {
        (
            format!("the volume '{name}' is being deleted"),
            "wait until it is gone: then a new, empty one is made; if that never happens, see its finalizers",
        )
    };
    volume.deleting.then(|| Failure {
        cause: Cause::VolumeBind,
        blame: Blame::Platform,
        message,
        evidence: format!("PersistentVolumeClaim '{name}' has a deletionTimestamp"),
        retryable: true,
        next_step: next_step.to_owned(),
        since: None,
    })
}

pub(super) fn validated_storage(inputs: &Inputs<'_>) -> Result<ValidatedStorage, Failure> {
    const FIELD: &str = "spec.storage.size";
    let Inputs {
        workspace,
        class,
        volume,
        ..
    } = *inputs;
    let existing = volume.and_then(|volume| volume.requested);
    let size = match &workspace.spec.storage {
        Some(storage) => {
            let size = Amount::try_from(&storage.size)
                .map_err(|error| config(FIELD, &error.to_string()))?;
            if size.is_zero() {
                return Err(config(
                    FIELD,
                    "a volume has more than 0: write for example 10Gi",
                ));
            }
            if let Some(existing) = existing.filter(|existing| *existing > size) {
                let message = format!(
                    "{size} is less than the volume has, and it can't shrink: write {existing} or more, or leave it out"
                );
                return Err(config(FIELD, &message));
            }
            // A volume that is there already may be larger than a cap that was lowered later; it just can't grow.
            let grows = existing.is_none_or(|existing| existing < size);
            if let Some(max) = class.storage.max.filter(|max| *max < size && grows) {
                return Err(over_cap(
                    FIELD,
                    &size.to_string(),
                    class,
                    "spec.storage.max",
                    &max.to_string(),
                ));
            }
            size
        }
        // The default is for a new claim. One that is there already keeps its size: a larger default must not resize
        // everybody's volume, which their StorageClass may not even allow.
        None => existing.unwrap_or(class.storage.default),
    };
    let class_name = match volume {
        // The StorageClass of a claim never changes. One that is not known yet is left to the API server.
        Some(volume) => volume
            .storage_class
            .as_deref()
            .and_then(|name| DnsSubdomain::new(name).ok()),
        None => class.storage.class_name.clone(),
    };
    Ok(ValidatedStorage {
        size,
        class_name,
        retention: class.storage.retention,
    })
}

pub(super) fn validated_deadlines(
    workspace: &Workspace,
    class: &ValidatedClass,
) -> Result<Deadlines, Failure> {
    let timeouts = workspace.spec.timeouts.clone().unwrap_or_default();
    let mut deadlines = class.deadlines;
    let lifetimes = &mut deadlines.lifetimes;
    let (least, longest) = (Lifetimes::LEAST, class.longest);
    let limits = [
        (
            "startup",
            &timeouts.startup,
            &mut deadlines.startup,
            LEAST_STARTUP,
            ("maxStartup", class.max_startup),
        ),
        (
            "stopping",
            &timeouts.stopping,
            &mut deadlines.stopping,
            LEAST_STOPPING,
            ("maxStopping", class.max_stopping),
        ),
        (
            "idle",
            &timeouts.idle,
            &mut lifetimes.idle,
            least.idle,
            ("longest.idle", longest.idle),
        ),
        (
            "maxActive",
            &timeouts.max_active,
            &mut lifetimes.max_active,
            least.max_active,
            ("longest.maxActive", longest.max_active),
        ),
        (
            "maxStopped",
            &timeouts.max_stopped,
            &mut lifetimes.max_stopped,
            least.max_stopped,
            ("longest.maxStopped", longest.max_stopped),
        ),
        (
            "maxLifetime",
            &timeouts.max_lifetime,
            &mut lifetimes.max_lifetime,
            least.max_lifetime,
            ("longest.maxLifetime", longest.max_lifetime),
        ),
    ];
    for (name, written, place, least, (cap, most)) in limits {
        if let Some(written) = written {
            *place = time_limit(name, written, least, cap, most, class)?;
        }
    }
    Ok(deadlines)
}

fn time_limit(
    name: &str,
    written: &DurationText,
    least: Span,
    cap: &str,
    most: Span,
    class: &ValidatedClass,
) -> Result<Span, Failure> {
    let field = format!("spec.timeouts.{name}");
    let span = Span::try_from(written).map_err(|error| config(&field, &error.to_string()))?;
    if span < least {
        let message = format!("{span} is too short: write {least} or more");
        return Err(config(&field, &message));
    }
    if span > most {
        let (asked, cap) = (span.to_string(), format!("spec.timeouts.{cap}"));
        return Err(over_cap(&field, &asked, class, &cap, &most.to_string()));
    }
    Ok(span)
}

/// Settings of the pod that this cluster can honour. What it can't is left out and said, and nothing that rests on it
/// stays: programs gain rights only where a user namespace or another runtime holds them.
pub(super) fn validated_pod(class: &ValidatedClass, cluster: Cluster) -> (PodRules, Vec<String>) {
    let mut pod = class.pod.clone();
    let mut notices = Vec::new();
    if pod.user_namespaces && !cluster.has_user_namespaces() {
        pod.user_namespaces = false;
        let why = match cluster.user_namespaces {
            Some(_) => "this cluster has none",
            None => "whether this cluster has them could not be told",
        };
        notices.push(format!(
            "class '{}' asks for user namespaces, and {why}",
            class.name
        ));
        if pod.allow_privilege_escalation && pod.runtime_class_name.is_none() {
            pod.allow_privilege_escalation = false;
            notices.push("so programs can't gain rights (sudo does not work)".to_owned());
        }
    }
    (pod, notices)
}

pub(super) fn validated_command(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let spec = &workspace.spec;
    if spec.command.is_empty() && !spec.args.is_empty() {
        return Err(config(
            "spec.args",
            "arguments need a program: write it in spec.command, the image's own is not run",
        ));
    }
    let command: Vec<String> = spec.command.iter().chain(&spec.args).cloned().collect();
    if command.first().is_some_and(String::is_empty) {
        return Err(config(
            "spec.command",
            "the program has no name: write it, or leave spec.command out",
        ));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(config(
            "spec.command",
            "a NUL character can't be passed to a program: remove it",
        ));
    }
    if command.iter().map(|word| word.len() + 1).sum::<usize>() > ENVIRONMENT_BYTES {
        return Err(config(
            "spec.command",
            "the program and its arguments are longer than 512 KiB: shorten them",
        ));
    }
    Ok(command)
}

pub(super) fn validated_env(
    workspace: &Workspace,
) -> Result<BTreeMap<VariableName, String>, Failure> {
    let mut env = BTreeMap::new();
    let mut referenced = BTreeSet::new();
    let mut bytes = 0;
    for variable in &workspace.spec.env {
        let field = format!("spec.env[{}]", variable.name);
        let name = VariableName::new(&variable.name)
            .map_err(|error| config(&field, &error.to_string()))?;
        if variable.value_from.is_some() {
            if !variable.value.is_empty() {
                return Err(config(
                    &field,
                    "it has a value and a valueFrom: leave one of them out",
                ));
            }
            if !referenced.insert(name) {
                return Err(config(&field, "the variable is there twice: keep one"));
            }
            continue;
        }
        if variable.value.contains('\0') {
            return Err(config(
                &field,
                "a NUL character can't stand in an environment variable: remove it",
            ));
        }
        bytes += name.as_str().len() + variable.value.len() + 2;
        if bytes > ENVIRONMENT_BYTES {
            return Err(config(
                "spec.env",
                "all variables together are longer than 512 KiB: put large values into files",
            ));
        }
        if referenced.contains(&name) || env.insert(name, variable.value.clone()).is_some() {
            return Err(config(&field, "the variable is there twice: keep one"));
        }
    }
    Ok(env)
}

pub(super) fn validated_endpoints(
    workspace: &Workspace,
) -> Result<BTreeMap<EndpointName, EndpointPort>, Failure> {
    let mut endpoints = BTreeMap::new();
    let mut ports = BTreeSet::new();
    for endpoint in &workspace.spec.endpoints {
        let field = format!("spec.endpoints[{}]", endpoint.name);
        let name = EndpointName::new(&endpoint.name)
            .map_err(|error| config(&field, &error.to_string()))?;
        let port =
            EndpointPort::new(endpoint.port).map_err(|error| config(&field, &error.to_string()))?;
        if !ports.insert(port) {
            return Err(config(
                &field,
                "another endpoint has the same port: give each a port of its own",
            ));
        }
        if endpoints.insert(name, port).is_some() {
            return Err(config(
                &field,
                "another endpoint has the same name: give each a name of its own",
            ));
        }
    }
    Ok(endpoints)
}
