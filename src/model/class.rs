//! A WorkspaceClass, checked field by field, and the choice of the class of a Workspace.
//!
//! A wrong field never takes the others with it. Where leaving it out is safe (a label, a rule that opens something,
//! a default), it is left out; where it would lift a limit, Workspaces of the class wait with `ClassInvalid`.
//!
//! A caller uses [`validate`] for the status of a class, and [`choose`] for a Workspace.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Toleration;
use serde::{Deserialize, Serialize};

use crate::api::class::{ClassTimeouts, EgressRule, InvalidField, Retention, WorkspaceClass};
use crate::api::shared::{Blame, DurationText, Quantity};
use crate::api::workspace::{Cause, Failure};
use crate::model::duration::Span;
use crate::model::names::{DEFAULT_CLASS_ANNOTATION, DnsLabel, DnsSubdomain};
use crate::model::net::Cidr;
use crate::model::quantity::Amount;
use crate::model::resources::{self, Amounts};

/// Never reached, whatever a class says: metadata services, link-local and private IPv6 addresses.
pub const NEVER_REACHED: [&str; 3] = ["169.254.0.0/16", "fc00::/7", "fe80::/10"];
/// Private IPv4 ranges, closed unless a class opens them.
const PRIVATE_V4: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// The largest user ID inside a user namespace of a pod.
pub const MAX_USER_IN_NAMESPACE: i64 = 65535;
/// What everything runs as when a class says nothing.
const DEFAULT_USER: i64 = 10001;

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
    /// Settings of the pod.
    pub pod: PodRules,
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
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            startup: Span::from_seconds(300),
            stopping: Span::from_seconds(120),
            image_pull: Span::from_seconds(60),
            container_config: Span::from_seconds(60),
            admission: Span::from_seconds(30),
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
    let (deadlines, max_startup, max_stopping) = class_deadlines(&timeouts, &mut report);
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
        pod: class_pod(class, &mut report),
        image_pull_secrets: spec
            .image_pull_secrets
            .iter()
            .enumerate()
            .filter_map(|(at, secret)| {
                report.keep(
                    &format!("spec.imagePullSecrets[{at}].name"),
                    DnsSubdomain::new(secret.name.as_str()),
                )
            })
            .collect(),
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

/// Collects what is wrong.
#[derive(Default)]
struct Report {
    invalid: Vec<InvalidField>,
    blocking: Vec<InvalidField>,
}

impl Report {
    /// A field that is left out.
    fn drop(&mut self, field: &str, message: impl Into<String>) {
        self.invalid.push(InvalidField {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// A field without which the class can't be used.
    fn block(&mut self, field: &str, message: impl Into<String>) {
        let field = InvalidField {
            field: field.to_owned(),
            message: message.into(),
        };
        self.invalid.push(field.clone());
        self.blocking.push(field);
    }

    fn keep<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.drop(field, error.to_string()))
            .ok()
    }

    fn require<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.block(field, error.to_string()))
            .ok()
    }
}

fn class_resources(class: &WorkspaceClass, report: &mut Report) -> (Amounts, Amounts, Amounts) {
    let spec = class.spec.resources.clone().unwrap_or_default();
    let default = spec.default.unwrap_or_default();
    let mut read = |base: &str, written: &BTreeMap<String, Quantity>, cap: bool| -> Amounts {
        let mut amounts = Amounts::new();
        for (name, quantity) in written {
            let field = format!("{base}.{name}");
            let result = resources::resource(name, quantity);
            let amount = if cap {
                report.require(&field, result)
            } else {
                report.keep(&field, result)
            };
            if let Some(amount) = amount {
                amounts.insert(name.clone(), amount);
            }
        }
        amounts
    };
    let max = read("spec.resources.max", &spec.max, true);
    let mut requests = read("spec.resources.default.requests", &default.requests, false);
    let mut limits = read("spec.resources.default.limits", &default.limits, false);
    for (kind, amounts) in [("limits", &mut limits), ("requests", &mut requests)] {
        for (name, amount) in amounts.iter_mut() {
            if let Some(most) = max.get(name).filter(|most| *most < amount) {
                let field = format!("spec.resources.default.{kind}.{name}");
                report.drop(
                    &field,
                    format!(
                        "{amount} is over spec.resources.max.{name} {most}: write {most} or less"
                    ),
                );
                *amount = *most;
            }
        }
    }
    for (name, request) in &mut requests {
        if let Some(limit) = limits.get(name).filter(|limit| *limit < request) {
            let field = format!("spec.resources.default.requests.{name}");
            report.drop(
                &field,
                format!("{request} is over the default limit {limit}: write {limit} or less"),
            );
            *request = *limit;
        }
    }
    (requests, limits, max)
}

fn class_storage(class: &WorkspaceClass, report: &mut Report) -> StorageRules {
    let spec = class.spec.storage.clone().unwrap_or_default();
    let positive = |quantity: &Quantity| -> Result<Amount, String> {
        let amount = Amount::try_from(quantity).map_err(|error| error.to_string())?;
        if amount.is_zero() {
            return Err("a volume has more than 0: write for example 10Gi".to_owned());
        }
        Ok(amount)
    };
    let max = spec
        .max
        .as_ref()
        .and_then(|max| report.require("spec.storage.max", positive(max)));
    let written = spec
        .default
        .as_ref()
        .and_then(|size| report.keep("spec.storage.default", positive(size)));
    // 10Gi always parses.
    let mut default = written
        .or_else(|| Amount::parse("10Gi").ok())
        .unwrap_or(Amount::ZERO);
    if let Some(max) = max.filter(|max| *max < default) {
        if written.is_some() {
            report.drop(
                "spec.storage.default",
                format!("{default} is over spec.storage.max {max}: write {max} or less"),
            );
        }
        default = max;
    }
    StorageRules {
        default,
        max,
        class_name: spec
            .class_name
            .and_then(|name| report.require("spec.storage.className", DnsSubdomain::new(name))),
        retention: spec.retention.unwrap_or_default(),
    }
}

fn class_egress(class: &WorkspaceClass, report: &mut Report) -> Vec<Egress> {
    let written = class
        .spec
        .network
        .as_ref()
        .and_then(|network| network.egress.clone());
    let rules = written.unwrap_or_else(|| {
        vec![EgressRule {
            allow: "0.0.0.0/0".to_owned(),
            except: PRIVATE_V4.iter().map(|range| (*range).to_owned()).collect(),
            ports: Vec::new(),
        }]
    });
    let mut egress: Vec<Egress> = rules
        .iter()
        .enumerate()
        .filter_map(|(at, rule)| {
            report.keep(&format!("spec.network.egress[{at}]"), egress_rule(rule))
        })
        .collect();
    egress.sort();
    egress.dedup();
    egress
}

fn egress_rule(rule: &EgressRule) -> Result<Egress, String> {
    let read = |text: &str| {
        Cidr::parse(text).ok_or_else(|| {
            format!("'{text}' is no range of addresses: write for example 10.0.0.0/8")
        })
    };
    let allow = read(&rule.allow)?;
    let mut except = BTreeSet::new();
    for text in &rule.except {
        let range = read(text)?;
        if range == allow || !allow.contains(range) {
            return Err(format!(
                "except {range} is not inside allow {allow}: write a smaller range of it"
            ));
        }
        except.insert(range);
    }
    for never in NEVER_REACHED.iter().filter_map(|text| Cidr::parse(text)) {
        if never.contains(allow) {
            return Err(format!(
                "{allow} is part of {never}, which workspaces never reach: remove the rule"
            ));
        }
        if allow.contains(never) {
            except.insert(never);
        }
    }
    if rule.ports.contains(&0) {
        return Err("0 is no port: write 1 to 65535".to_owned());
    }
    Ok(Egress {
        allow,
        except,
        ports: rule.ports.iter().copied().collect(),
    })
}

fn class_deadlines(timeouts: &ClassTimeouts, report: &mut Report) -> (Deadlines, Span, Span) {
    let mut read = |field: &str,
                    written: &Option<DurationText>,
                    default: Span,
                    least: Span,
                    cap: bool|
     -> Span {
        let field = format!("spec.timeouts.{field}");
        let result = written.as_ref().map(|text| match Span::try_from(text) {
            Ok(span) if span < least => Err(format!("{span} is too short: write {least} or more")),
            Ok(span) => Ok(span),
            Err(error) => Err(error.to_string()),
        });
        let read = match result {
            Some(result) if cap => report.require(&field, result),
            Some(result) => report.keep(&field, result),
            None => None,
        };
        read.unwrap_or(default)
    };
    let second = Span::from_seconds(1);
    let hour = Span::from_seconds(3600);
    let default = Deadlines::default();
    let max_startup = read(
        "maxStartup",
        &timeouts.max_startup,
        hour,
        LEAST_STARTUP,
        true,
    );
    let max_stopping = read(
        "maxStopping",
        &timeouts.max_stopping,
        hour,
        LEAST_STOPPING,
        true,
    );
    let mut deadlines = Deadlines {
        startup: read(
            "startup",
            &timeouts.startup,
            default.startup,
            LEAST_STARTUP,
            false,
        ),
        stopping: read(
            "stopping",
            &timeouts.stopping,
            default.stopping,
            LEAST_STOPPING,
            false,
        ),
        image_pull: read(
            "imagePull",
            &timeouts.image_pull,
            default.image_pull,
            second,
            false,
        ),
        container_config: read(
            "containerConfig",
            &timeouts.container_config,
            default.container_config,
            second,
            false,
        ),
        admission: read(
            "admission",
            &timeouts.admission,
            default.admission,
            second,
            false,
        ),
    };
    for (field, written, value, most) in [
        (
            "startup",
            timeouts.startup.is_some(),
            &mut deadlines.startup,
            max_startup,
        ),
        (
            "stopping",
            timeouts.stopping.is_some(),
            &mut deadlines.stopping,
            max_stopping,
        ),
    ] {
        if *value > most {
            if written {
                report.drop(
                    &format!("spec.timeouts.{field}"),
                    format!("{value} is over the longest that the class allows, {most}: write {most} or less"),
                );
            }
            *value = most;
        }
    }
    (deadlines, max_startup, max_stopping)
}

/// The shortest startup: the Deployment counts in whole seconds.
pub const LEAST_STARTUP: Span = Span::from_seconds(1);
/// The shortest stopping: the grace period is at least one second, and less than this.
pub const LEAST_STOPPING: Span = Span::from_seconds(2);

fn class_pod(class: &WorkspaceClass, report: &mut Report) -> PodRules {
    let spec = class.spec.pod.clone().unwrap_or_default();
    let user_namespaces = spec.user_namespaces.unwrap_or(false);
    let run_as_user = spec.run_as_user.unwrap_or(DEFAULT_USER);
    if !(1..=i64::from(i32::MAX)).contains(&run_as_user) {
        report.block(
            "spec.pod.runAsUser",
            format!(
                "{run_as_user} can't be used: write 1 to {}, never 0 (root)",
                i32::MAX
            ),
        );
    } else if user_namespaces && run_as_user > MAX_USER_IN_NAMESPACE {
        report.block(
            "spec.pod.runAsUser",
            format!("{run_as_user} does not exist in a user namespace: write 1 to {MAX_USER_IN_NAMESPACE}, or spec.pod.userNamespaces: false"),
        );
    }
    let runtime_class_name = spec
        .runtime_class_name
        .filter(|name| !name.is_empty())
        .and_then(|name| report.require("spec.pod.runtimeClassName", DnsSubdomain::new(name)));
    let asked = spec.allow_privilege_escalation.unwrap_or(false);
    let allow_privilege_escalation = asked && (user_namespaces || runtime_class_name.is_some());
    if asked && !allow_privilege_escalation {
        report.drop(
            "spec.pod.allowPrivilegeEscalation",
            "it needs spec.pod.userNamespaces: true or a spec.pod.runtimeClassName that isolates: set one of them",
        );
    }
    for (key, value) in &spec.node_selector {
        if let Err(why) = check_label(key, value) {
            report.block(&format!("spec.pod.nodeSelector.{key}"), why);
        }
    }
    let tolerations = spec
        .tolerations
        .into_iter()
        .enumerate()
        .filter_map(|(at, toleration)| {
            let checked = check_toleration(&toleration).map(|()| toleration);
            report.keep(&format!("spec.pod.tolerations[{at}]"), checked)
        })
        .collect();
    PodRules {
        run_as_user,
        user_namespaces,
        runtime_class_name,
        allow_privilege_escalation,
        node_selector: spec.node_selector,
        tolerations,
    }
}

fn check_toleration(toleration: &Toleration) -> Result<(), String> {
    let key = toleration.key.as_deref().unwrap_or("");
    let operator = toleration.operator.as_deref().unwrap_or("Equal");
    let effect = toleration.effect.as_deref().unwrap_or("");
    let value = toleration.value.as_deref().unwrap_or("");
    if !key.is_empty() {
        check_key(key)?;
    }
    if !matches!(operator, "Exists" | "Equal") {
        return Err(format!(
            "operator '{operator}' does not exist: write Equal or Exists"
        ));
    }
    if key.is_empty() && operator != "Exists" {
        return Err("without a key the operator is Exists: write it, or a key".to_owned());
    }
    if operator == "Exists" && !value.is_empty() {
        return Err("operator Exists takes no value: remove it, or write Equal".to_owned());
    }
    check_label_value(value)?;
    if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        return Err(format!(
            "effect '{effect}' does not exist: write NoSchedule, PreferNoSchedule or NoExecute"
        ));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        return Err(
            "tolerationSeconds needs effect NoExecute: write it, or remove tolerationSeconds"
                .to_owned(),
        );
    }
    Ok(())
}

fn child_entries(
    base: &str,
    entries: BTreeMap<String, String>,
    are_labels: bool,
    report: &mut Report,
) -> BTreeMap<String, String> {
    // The API server counts all annotations of an object together: stay far below its 256 KiB.
    const ANNOTATION_BYTES: usize = 64 * 1024;
    let mut kept = BTreeMap::new();
    let mut bytes = 0;
    for (key, value) in entries {
        let field = format!("{base}.{key}");
        let verdict = check_key(&key).and_then(|()| {
            if is_reserved(&key) {
                return Err("keys of workstead.dev, kubernetes.io and k8s.io are reserved: use a prefix of your own".to_owned());
            }
            if are_labels { check_label_value(&value) } else { Ok(()) }
        });
        if let Err(why) = verdict {
            report.drop(&field, why);
            continue;
        }
        bytes += key.len() + value.len();
        if !are_labels && bytes > ANNOTATION_BYTES {
            report.drop(
                &field,
                "all annotations together are larger than 64 KiB: shorten them",
            );
            continue;
        }
        kept.insert(key, value);
    }
    kept
}

/// Whether a key belongs to us or to Kubernetes.
pub fn is_reserved(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    ["workstead.dev", "kubernetes.io", "k8s.io"]
        .iter()
        .any(|domain| {
            prefix == *domain
                || prefix
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.'))
        })
}

fn check_label(key: &str, value: &str) -> Result<(), String> {
    check_key(key)?;
    check_label_value(value)
}

/// A qualified name: `[prefix/]name`.
fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| DnsSubdomain::new(prefix).is_err())
        || name.is_empty()
        || !is_label_text(name)
    {
        return Err(format!(
            "'{key}' is no key: write a name of at most 63 letters, digits, '-', '_' and '.', with or without a domain and '/' before it"
        ));
    }
    Ok(())
}

fn check_label_value(value: &str) -> Result<(), String> {
    if is_label_text(value) {
        return Ok(());
    }
    Err(format!(
        "'{value}' is no value of a label: write at most 63 letters, digits, '-', '_' and '.', a letter or digit first and last"
    ))
}

fn is_label_text(text: &str) -> bool {
    let ends_fit = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && ends_fit(text.bytes().next())
        && ends_fit(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether the text could name a namespace.
pub fn is_namespace(text: &str) -> bool {
    DnsLabel::new(text).is_ok()
}

#[cfg(test)]
mod tests;
