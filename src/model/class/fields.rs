//! The fields of a class, each checked on its own.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Toleration;

use crate::api::class::{EgressRule, InvalidField, WorkspaceClass};
use crate::api::shared::Quantity;
use crate::model::class::{Egress, MAX_USER_IN_NAMESPACE, NEVER_REACHED, PodRules, StorageRules};
use crate::model::inside::AuthorRules;
use crate::model::inside::editors::{self, ClassTools, ValidatedEditor};
use crate::model::names::DnsSubdomain;
use crate::model::net::Cidr;
use crate::model::quantity::Amount;
use crate::model::resources::{self, Amounts};

/// Private IPv4 ranges, closed unless a class opens them.
const PRIVATE_V4: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// What everything runs as when a class says nothing.
const DEFAULT_USER: i64 = 10001;

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Report {
    pub(super) invalid: Vec<InvalidField>,
    pub(super) blocking: Vec<InvalidField>,
}

impl Report {
    /// A field that is left out.
    pub(super) fn drop(&mut self, field: &str, message: impl Into<String>) {
        self.invalid.push(InvalidField {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// A field without which the class can't be used.
    pub(super) fn block(&mut self, field: &str, message: impl Into<String>) {
        let field = InvalidField {
            field: field.to_owned(),
            message: message.into(),
        };
        self.invalid.push(field.clone());
        self.blocking.push(field);
    }

    pub(super) fn keep<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.drop(field, error.to_string()))
            .ok()
    }

    pub(super) fn require<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.block(field, error.to_string()))
            .ok()
    }
}

pub(super) fn class_resources(
    class: &WorkspaceClass,
    report: &mut Report,
) -> (Amounts, Amounts, Amounts) {
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

pub(super) fn class_storage(class: &WorkspaceClass, report: &mut Report) -> StorageRules {
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

pub(super) fn class_egress(class: &WorkspaceClass, report: &mut Report) -> Vec<Egress> {
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

pub(super) fn class_pull_secrets(
    class: &WorkspaceClass,
    report: &mut Report,
) -> BTreeSet<DnsSubdomain> {
    let written = class.spec.image_pull_secrets.iter().enumerate();
    written
        .filter_map(|(at, secret)| {
            report.keep(
                &format!("spec.imagePullSecrets[{at}].name"),
                DnsSubdomain::new(secret.name.as_str()),
            )
        })
        .collect()
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

pub(super) fn class_pod(class: &WorkspaceClass, report: &mut Report) -> PodRules {
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

/// Editors that hold. One that does not is left out: a Workspace that names it is told so.
pub(super) fn class_editors(class: &WorkspaceClass, report: &mut Report) -> Vec<ValidatedEditor> {
    let mut kept: Vec<ValidatedEditor> = Vec::new();
    for written in &class.spec.editors {
        let field = format!("spec.editors[{}]", written.name);
        let Some(mut editor) = report.keep(&field, editors::editor(written)) else {
            continue;
        };
        if kept.iter().any(|other| other.name == editor.name) {
            report.drop(&field, "another editor has this name: give each its own");
            continue;
        }
        if editor.default && kept.iter().any(|other| other.default) {
            report.drop(
                &format!("{field}.default"),
                "another editor is the default: leave default: true on one of them",
            );
            editor.default = false;
        }
        kept.push(editor);
    }
    kept
}

/// Tools of a wrong image would not be those that were asked for: nothing starts with them.
pub(super) fn class_tools(class: &WorkspaceClass, report: &mut Report) -> ClassTools {
    let tools = ClassTools::of(class.spec.tools.as_ref());
    report
        .require("spec.tools.image", tools)
        .unwrap_or_default()
}

pub(super) fn class_author(class: &WorkspaceClass, report: &mut Report) -> AuthorRules {
    let (rules, wrong) = AuthorRules::of(class.spec.git_identity.as_ref());
    if let Some(why) = wrong {
        report.drop("spec.gitIdentity.emailDomain", why);
    }
    rules
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

pub(super) fn child_entries(
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

/// Whether Kubernetes takes this label.
pub(crate) fn check_label(key: &str, value: &str) -> Result<(), String> {
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
