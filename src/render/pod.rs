//! The pod template: what runs, as whom, and with what.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext, Sysctl,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::class::Deadlines;
use crate::model::identity::{EndpointPort, VariableName};
use crate::model::names::{HOME_PATH, MAIN_CONTAINER};
use crate::model::resources::Amounts;
use crate::model::workspace::ValidatedWorkspace;
use crate::render::{inside, metadata};

/// The longest grace period: what does not end within it does not end by itself.
const MAX_GRACE_SECONDS: u64 = 30;
/// What programs with set-user-ID may gain where a class lets them (sudo, su, package managers). Only ever inside a user
/// namespace or a runtime that isolates; ordinary programs of the workspace hold none of these.
const GAINABLE: [&str; 8] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
];

/// The template of the workspace's pod.
pub fn template(workspace: &ValidatedWorkspace) -> PodTemplateSpec {
    let identity = &workspace.identity;
    let rules = &workspace.pod;
    let mut metadata = ObjectMeta {
        labels: Some(metadata::labels(identity)),
        ..ObjectMeta::default()
    };
    metadata::add_of_class(&mut metadata, workspace);
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(PodSpec {
            hostname: Some(identity.name.to_string()),
            service_account_name: Some(identity.name.to_string()),
            automount_service_account_token: Some(false),
            // Names and addresses of neighbours are none of its business.
            enable_service_links: Some(false),
            restart_policy: Some("Always".to_owned()),
            termination_grace_period_seconds: Some(grace_seconds(&workspace.deadlines)),
            runtime_class_name: rules.runtime_class_name.as_ref().map(ToString::to_string),
            // false *enables* user namespaces.
            host_users: rules.user_namespaces.then_some(false),
            node_selector: (!rules.node_selector.is_empty()).then(|| rules.node_selector.clone()),
            tolerations: (!rules.tolerations.is_empty()).then(|| rules.tolerations.clone()),
            security_context: Some(pod_security(workspace)),
            init_containers: inside::copying(workspace),
            containers: vec![main_container(workspace)],
            volumes: Some(inside::volumes(workspace)),
            ..PodSpec::default()
        }),
    }
}

/// Half of the stopping timer, at least 1 s and at most 30 s: less than the timer, so that StopStuck means stuck.
fn grace_seconds(deadlines: &Deadlines) -> i64 {
    let half = deadlines.stopping.milliseconds() / 2000;
    // At most 30: it fits.
    i64::try_from(half.clamp(1, MAX_GRACE_SECONDS)).unwrap_or(1)
}

fn pod_security(workspace: &ValidatedWorkspace) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(workspace.pod.run_as_user),
        // Images of arbitrary users keep what these write in group 0.
        run_as_group: Some(0),
        fs_group: Some(0),
        // A large home would be walked at every start otherwise.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        sysctls: Some(vec![reserved_ports()]),
        ..PodSecurityContext::default()
    }
}

/// Keeps the kernel from giving one of our ports to an outgoing connection. All of them lie in its range, and one that is
/// still in TIME_WAIT would keep the first process from listening after a restart of the container. One of the sysctls
/// that every Pod Security level allows.
fn reserved_ports() -> Sysctl {
    Sysctl {
        name: "net.ipv4.ip_local_reserved_ports".to_owned(),
        value: EndpointPort::RESERVED
            .map(|port| port.to_string())
            .join(","),
    }
}

pub(super) fn container_security(workspace: &ValidatedWorkspace) -> SecurityContext {
    let may_gain = workspace.pod.allow_privilege_escalation;
    SecurityContext {
        privileged: Some(false),
        allow_privilege_escalation: Some(may_gain),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: may_gain.then(|| GAINABLE.map(str::to_owned).to_vec()),
        }),
        ..SecurityContext::default()
    }
}

fn main_container(workspace: &ValidatedWorkspace) -> Container {
    let mut command = vec![workstead_link::SUPERVISOR_PATH.to_owned()];
    if !workspace.command.is_empty() {
        command.push("--".to_owned());
        command.extend(workspace.command.iter().map(|word| literal(word)));
    }
    Container {
        name: MAIN_CONTAINER.to_owned(),
        image: Some(workspace.image.to_string()),
        command: Some(command),
        working_dir: Some(HOME_PATH.to_owned()),
        env: Some(environment(workspace)),
        resources: resources(workspace),
        security_context: Some(container_security(workspace)),
        // The end of the log comes into the status this way: no right to read logs is needed.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(inside::mounts(workspace)),
        readiness_probe: inside::probe(workspace),
        // Ports of the container would be information only, and a changed endpoint would wait for a restart.
        ..Container::default()
    }
}

/// Ours first, then the user's by name, of whom what stands in the spec comes before what a sealed set brings. HOME is ours
/// unless the user sets it. Kubernetes expands nothing in what comes from a Secret.
fn environment(workspace: &ValidatedWorkspace) -> Vec<EnvVar> {
    let identity = &workspace.identity;
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(literal(value)),
        value_from: None,
    };
    let mut users: BTreeMap<&VariableName, EnvVar> = BTreeMap::new();
    if let Some(pin) = &workspace.variables.pin {
        let names = pin.env.keys();
        users.extend(names.map(|name| (name, sealed(name.as_str(), &pin.secret))));
    }
    let literals = workspace.env.iter();
    users.extend(literals.map(|(name, value)| (name, variable(name.as_str(), value))));
    let mut list = Vec::with_capacity(users.len() + 5);
    if !users.keys().any(|name| name.as_str() == "HOME") {
        list.push(variable("HOME", HOME_PATH));
    }
    list.push(variable("WORKSTEAD_NAMESPACE", identity.namespace.as_str()));
    list.push(variable("WORKSTEAD_OWNER", workspace.owner.as_str()));
    list.push(variable(
        workstead_link::PLAN_VARIABLE,
        &workspace.inside.plan,
    ));
    if let Some(pin) = &workspace.variables.pin {
        let secret = pin
            .env
            .keys()
            .filter(|name| !workspace.env.contains_key(*name));
        let names: Vec<&str> = secret.map(VariableName::as_str).collect();
        list.push(variable(workstead_link::SECRETS_VARIABLE, &names.join(",")));
    }
    list.push(variable("WORKSTEAD_WORKSPACE", identity.name.as_str()));
    list.extend(users.into_values());
    list
}

/// A variable whose value is the entry of its name in a Secret.
fn sealed(name: &str, secret: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: name.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// Keeps a text as it is: the kubelet would expand `$(NAME)` and turn `$$` into `$`.
fn literal(text: &str) -> String {
    if text.contains("$$") || text.contains("$(") {
        text.replace('$', "$$")
    } else {
        text.to_owned()
    }
}

pub(super) fn resources(workspace: &ValidatedWorkspace) -> Option<ResourceRequirements> {
    let amounts = |amounts: &Amounts| {
        let map: std::collections::BTreeMap<String, Quantity> = amounts
            .iter()
            .map(|(name, amount)| (name.clone(), Quantity(amount.to_string())))
            .collect();
        (!map.is_empty()).then_some(map)
    };
    let requirements = ResourceRequirements {
        requests: amounts(&workspace.resources.requests),
        limits: amounts(&workspace.resources.limits),
        claims: None,
    };
    (requirements != ResourceRequirements::default()).then_some(requirements)
}
