//! A WorkspaceClass, checked field by field, and the choice of the class of a Workspace.
//!
//! A wrong field never takes the others with it. Where leaving it out is safe (a label, a rule that opens something,
//! a default), it is left out; where it would lift a limit, Workspaces of the class wait with `ClassInvalid`.
//!
//! A caller uses [`validate`] for the status of a class, and [`choose`] for a Workspace.

mod fields;
mod timeouts;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Toleration;
use serde::{Deserialize, Serialize};

use crate::api::class::{InvalidField, Retention, WorkspaceClass};
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure};
use crate::model::access::AccessRules;
use crate::model::activity::Lifetimes;
use crate::model::duration::Span;
use crate::model::inside::AuthorRules;
use crate::model::inside::editors::{ClassTools, ValidatedEditor};
use crate::model::names::{DEFAULT_CLASS_ANNOTATION, DnsSubdomain};
use crate::model::net::Cidr;
use crate::model::quantity::Amount;
use crate::model::resources::Amounts;

pub(crate) use fields::check_label;
pub use fields::is_reserved;
use fields::{
    Report, child_entries, class_author, class_editors, class_egress, class_pod,
    class_pull_secrets, class_resources, class_storage, class_tools,
};
use timeouts::{class_deadlines, class_lifetimes};

/// Never reached, whatever a class says: metadata services, link-local and private IPv6 addresses.
pub const NEVER_REACHED: [&str; 3] = ["169.254.0.0/16", "fc00::/7", "fe80::/10"];
/// The largest user ID inside a user namespace of a pod.
pub const MAX_USER_IN_NAMESPACE: i64 = 65535;

/// The shortest startup: the Deployment counts in whole seconds.
pub const LEAST_STARTUP: Span = Span::from_seconds(1);
/// The shortest stopping: the grace period is at least one second, and less than this.
pub const LEAST_STOPPING: Span = Span::from_seconds(2);

/// A class whose every field holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedClass {
    /// Its name.
    pub name: DnsSubdomain,
    /// Namespaces that may use it; none, all.
    pub allowed_namespaces: Option<BTreeSet<String>>,
    /// For containers that say nothing.
    pub default_requests: Amounts,
    /// For containers that say nothing.
    pub default_limits: Amounts,
    /// The most that may be asked for.
    pub max_resources: Amounts,
    /// The home volume.
    pub storage: StorageRules,
    /// What workspaces may reach beside cluster DNS.
    pub egress: Vec<Egress>,
    /// How many Workspaces there may be.
    pub quota: Quota,
    /// Time limits of a Workspace that says nothing.
    pub deadlines: Deadlines,
    /// The longest startup that may be asked for.
    pub max_startup: Span,
    /// The longest stopping that may be asked for.
    pub max_stopping: Span,
    /// The longest of the other limits that may be asked for.
    pub longest: Lifetimes,
    /// Until then nothing is stopped or terminated by a timer.
    pub paused_until: Option<Timestamp>,
    /// To whom workspaces may be opened.
    pub access: AccessRules,
    /// Settings of the pod.
    pub pod: PodRules,
    /// Editors that can be chosen, in the class's order; at most one of them is the default.
    pub editors: Vec<ValidatedEditor>,
    /// How tools get in.
    pub tools: ClassTools,
    /// Whose name Git writes into commits.
    pub author: AuthorRules,
    /// Whether each start takes what is newest of sealed sets.
    pub refresh_variables: bool,
    /// Secrets with registry credentials, sorted.
    pub image_pull_secrets: BTreeSet<DnsSubdomain>,
    /// Labels for pod, volume and Service.
    pub child_labels: BTreeMap<String, String>,
    /// Annotations for pod, volume and Service.
    pub child_annotations: BTreeMap<String, String>,
}

/// The home volume, as the class rules it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRules {
    /// For a Workspace that says nothing.
    pub default: Amount,
    /// The largest.
    pub max: Option<Amount>,
    /// Name of the StorageClass; none, the cluster's default.
    pub class_name: Option<DnsSubdomain>,
    /// What happens to the volume of a terminated Workspace.
    pub retention: Retention,
}

/// A destination that workspaces may open connections to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Egress {
    /// The range.
    pub allow: Cidr,
    /// What stays closed in it: strictly inside, sorted.
    pub except: BTreeSet<Cidr>,
    /// TCP and UDP ports; none, all.
    pub ports: BTreeSet<u16>,
}

/// How many Workspaces there may be; none, no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// For each owner, within the class.
    pub per_owner: Option<u32>,
    /// In all, within the class.
    pub total: Option<u32>,
}

/// The time limits in effect for one Workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// A start.
    pub startup: Span,
    /// A stop.
    pub stopping: Span,
    /// Errors while an image is pulled.
    pub image_pull: Span,
    /// Errors while a container is made.
    pub container_config: Span,
    /// Refusals to make the pod.
    pub admission: Span,
    /// When it ends by itself. Pins of the first versions say nothing.
    #[serde(default)]
    pub lifetimes: Lifetimes,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            startup: Span::from_seconds(300),
            stopping: Span::from_seconds(120),
            image_pull: Span::from_seconds(60),
            container_config: Span::from_seconds(60),
            admission: Span::from_seconds(30),
            lifetimes: Lifetimes::default(),
        }
    }
}

/// Settings of the pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodRules {
    /// The user that everything runs as.
    pub run_as_user: i64,
    /// Give each pod a user namespace of its own, where the cluster can.
    pub user_namespaces: bool,
    /// Name of the RuntimeClass.
    pub runtime_class_name: Option<DnsSubdomain>,
    /// Let programs gain rights. Only with one of the two above.
    pub allow_privilege_escalation: bool,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: Vec<Toleration>,
}

/// What became of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassVerdict {
    /// The class, as far as it holds.
    pub class: Option<ValidatedClass>,
    /// Each field that is wrong, with what to write instead.
    pub invalid: Vec<InvalidField>,
    /// Those of them that cannot be left out safely: Workspaces of the class wait.
    pub blocking: Vec<InvalidField>,
}

impl ClassVerdict {
    /// Whether Workspaces can use the class.
    pub fn is_usable(&self) -> bool {
        self.class.is_some() && self.blocking.is_empty()
    }
}

/// Checks each field of a class on its own.
pub fn validate(class: &WorkspaceClass) -> ClassVerdict {
    let mut report = Report::default();
    let name = class.metadata.name.clone().unwrap_or_default();
    let name = match DnsSubdomain::new(name) {
        Ok(name) => name,
        Err(error) => {
            report.block("metadata.name", error.to_string());
            return ClassVerdict {
                class: None,
                invalid: report.invalid,
                blocking: report.blocking,
            };
        }
    };
    let spec = &class.spec;
    let (default_requests, default_limits, max_resources) = class_resources(class, &mut report);
    let timeouts = spec.timeouts.clone().unwrap_or_default();
    let (mut deadlines, max_startup, max_stopping) = class_deadlines(&timeouts, &mut report);
    let (lifetimes, longest) = class_lifetimes(&timeouts, &mut report);
    deadlines.lifetimes = lifetimes;
    let metadata = spec.child_metadata.clone().unwrap_or_default();
    let validated = ValidatedClass {
        name,
        allowed_namespaces: spec
            .allowed_namespaces
            .as_ref()
            .map(|list| list.iter().cloned().collect()),
        default_requests,
        default_limits,
        max_resources,
        storage: class_storage(class, &mut report),
        egress: class_egress(class, &mut report),
        quota: spec
            .quota
            .as_ref()
            .map(|quota| Quota {
                per_owner: quota.per_owner,
                total: quota.total,
            })
            .unwrap_or_default(),
        deadlines,
        max_startup,
        max_stopping,
        longest,
        paused_until: timeouts.paused_until.as_ref().map(|time| time.0),
        access: AccessRules::of(spec.access.as_ref()),
        pod: class_pod(class, &mut report),
        editors: class_editors(class, &mut report),
        tools: class_tools(class, &mut report),
        author: class_author(class, &mut report),
        refresh_variables: spec
            .variables
            .as_ref()
            .and_then(|variables| variables.refresh_at_start)
            .unwrap_or_default(),
        image_pull_secrets: class_pull_secrets(class, &mut report),
        child_labels: child_entries(
            "spec.childMetadata.labels",
            metadata.labels,
            true,
            &mut report,
        ),
        child_annotations: child_entries(
            "spec.childMetadata.annotations",
            metadata.annotations,
            false,
            &mut report,
        ),
    };
    ClassVerdict {
        class: Some(validated),
        invalid: report.invalid,
        blocking: report.blocking,
    }
}

/// Whether a class is annotated as default.
pub fn is_default(class: &WorkspaceClass) -> bool {
    class
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DEFAULT_CLASS_ANNOTATION))
        .is_some_and(|value| value == "true")
}

/// The name of the one default class, or why there is none.
///
/// # Errors
/// `ClassInvalid` when no class is annotated as default, or several are.
pub fn default_class_name<'a>(
    classes: impl IntoIterator<Item = &'a WorkspaceClass>,
) -> Result<String, Failure> {
    let mut defaults: Vec<String> = classes
        .into_iter()
        .filter(|class| is_default(class))
        .filter_map(|class| class.metadata.name.clone())
        .collect();
    defaults.sort();
    match defaults.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(invalid(
            "no WorkspaceClass is the default, and the Workspace names none".to_owned(),
            format!("no WorkspaceClass has the annotation {DEFAULT_CLASS_ANNOTATION}: \"true\""),
            format!(
                "write spec.className, or annotate one class with {DEFAULT_CLASS_ANNOTATION}=true"
            ),
        )),
        several => Err(invalid(
            format!(
                "{} WorkspaceClasses are the default: {}",
                several.len(),
                several.join(", ")
            ),
            format!(
                "annotated {DEFAULT_CLASS_ANNOTATION}: \"true\": {}",
                several.join(", ")
            ),
            "write spec.className, or leave the annotation on one class only".to_owned(),
        )),
    }
}

/// The class of a Workspace: the named one, or the one default.
///
/// # Errors
/// `ClassInvalid` when it is missing, does not allow the namespace, or has a field that can't be left out safely.
pub fn choose<'a>(
    named: Option<&str>,
    namespace: &str,
    classes: impl IntoIterator<Item = &'a WorkspaceClass> + Clone,
) -> Result<ValidatedClass, Failure> {
    let name = match named {
        Some(name) => name.to_owned(),
        None => default_class_name(classes.clone())?,
    };
    let Some(class) = classes
        .clone()
        .into_iter()
        .find(|class| class.metadata.name.as_deref() == Some(&name))
    else {
        let mut known: Vec<&str> = classes
            .into_iter()
            .filter_map(|class| class.metadata.name.as_deref())
            .collect();
        known.sort_unstable();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(invalid(
            format!("there is no WorkspaceClass '{name}'"),
            format!("WorkspaceClasses here: {known}"),
            format!(
                "write one of these in spec.className, or have WorkspaceClass '{name}' created"
            ),
        ));
    };
    let verdict = validate(class);
    let Some(validated) = verdict.class.filter(|_| verdict.blocking.is_empty()) else {
        let fields: Vec<String> = verdict
            .blocking
            .iter()
            .map(|field| format!("{}: {}", field.field, field.message))
            .collect();
        return Err(invalid(
            format!("WorkspaceClass '{name}' has fields that are wrong"),
            fields.join("; "),
            format!("have these fields of WorkspaceClass '{name}' corrected"),
        ));
    };
    if validated
        .allowed_namespaces
        .as_ref()
        .is_some_and(|allowed| !allowed.contains(namespace))
    {
        return Err(invalid(
            format!("WorkspaceClass '{name}' is not for Workspaces of namespace '{namespace}'"),
            format!("WorkspaceClass '{name}': spec.allowedNamespaces does not name '{namespace}'"),
            "name another class in spec.className, or have the namespace added to spec.allowedNamespaces".to_owned(),
        ));
    }
    Ok(validated)
}

/// A class that is there and can't be read.
pub fn unreadable(name: &str, field: &str) -> Failure {
    invalid(
        format!("WorkspaceClass '{name}' can't be read by this release"),
        format!("WorkspaceClass '{name}': {field}"),
        format!("have {field} of WorkspaceClass '{name}' written as this release knows it"),
    )
}

fn invalid(message: String, evidence: String, next_step: String) -> Failure {
    Failure {
        cause: Cause::ClassInvalid,
        blame: Blame::Platform,
        message,
        evidence,
        retryable: false,
        next_step,
        since: None,
    }
}

#[cfg(test)]
mod tests;
