//! The NetworkPolicy: both directions always, closed but for what is named.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::model::class::Egress;
use crate::model::installation::{Installation, NAMESPACE_NAME_LABEL};
use crate::model::net::Cidr;
use crate::model::workspace::{Identity, ValidatedWorkspace};
use crate::render::metadata;

/// Who may reach the pod, and what it may reach.
pub fn policy(workspace: &ValidatedWorkspace) -> NetworkPolicy {
    let identity = &workspace.identity;
    NetworkPolicy {
        metadata: metadata::owned(identity, identity.name.to_string()),
        spec: Some(NetworkPolicySpec {
            ingress: Some(ingress(workspace)),
            egress: Some(egress(workspace)),
            ..closed(identity, &workspace.installation)
        }),
    }
}

/// The same when only this is known: what guarded the pod when it was started. Where not even that is known, nobody
/// reaches the pod, and it may ask cluster DNS.
pub fn guard(
    identity: &Identity,
    installation: &Installation,
    pinned: Option<&NetworkPolicySpec>,
) -> NetworkPolicy {
    let closed = || closed(identity, installation);
    NetworkPolicy {
        metadata: metadata::owned(identity, identity.name.to_string()),
        spec: Some(pinned.cloned().unwrap_or_else(closed)),
    }
}

/// Both directions, closed but for DNS.
fn closed(identity: &Identity, installation: &Installation) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(select(metadata::selector(identity))),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: Some(vec![dns(installation)]),
    }
}

fn select(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}

/// Proxy pods of the installation reach the editor, the endpoints and the first process; its controller pods the first
/// process. Nobody else reaches anything: what the kubelet asks comes from the node itself.
fn ingress(workspace: &ValidatedWorkspace) -> Vec<NetworkPolicyIngressRule> {
    let installation = &workspace.installation;
    let mut numbers: Vec<u16> = workspace
        .endpoints
        .values()
        .map(|port| port.get())
        .collect();
    numbers.extend(workspace.inside.editor.as_ref().map(|editor| editor.port));
    numbers.push(workstead_link::SUPERVISOR_PORT);
    numbers.sort_unstable();
    // Which port an owner will want is not known before, so the proxy alone decides, where the class lets it.
    let of_proxy = if workspace.undeclared_ports {
        vec![NetworkPolicyPort {
            end_port: Some(i32::from(u16::MAX)),
            ..port(1, "TCP")
        }]
    } else {
        numbers.iter().map(|number| port(*number, "TCP")).collect()
    };
    let supervisor = port(workstead_link::SUPERVISOR_PORT, "TCP");
    vec![
        from(installation, &installation.proxy_pods, of_proxy),
        from(
            installation,
            &installation.controller_pods,
            vec![supervisor],
        ),
    ]
}

/// Lets pods of the installation in.
fn from(
    installation: &Installation,
    pods: &BTreeMap<String, String>,
    ports: Vec<NetworkPolicyPort>,
) -> NetworkPolicyIngressRule {
    let namespace = [(
        NAMESPACE_NAME_LABEL.to_owned(),
        installation.namespace.to_string(),
    )]
    .into();
    // Both selectors in one peer: the pods and their namespace must match.
    let peer = NetworkPolicyPeer {
        namespace_selector: Some(select(namespace)),
        pod_selector: Some(select(pods.clone())),
        ip_block: None,
    };
    NetworkPolicyIngressRule {
        from: Some(vec![peer]),
        ports: Some(ports),
    }
}

fn egress(workspace: &ValidatedWorkspace) -> Vec<NetworkPolicyEgressRule> {
    let mut rules = vec![dns(&workspace.installation)];
    rules.extend(workspace.egress.iter().map(class_rule));
    rules
}

fn dns(installation: &Installation) -> NetworkPolicyEgressRule {
    let dns = &installation.dns;
    let resolvers = NetworkPolicyPeer {
        namespace_selector: Some(select(dns.namespace_labels.clone())),
        pod_selector: Some(select(dns.pod_labels.clone())),
        ip_block: None,
    };
    let addresses = dns.addresses.iter().map(|address| block(address, None));
    NetworkPolicyEgressRule {
        to: Some(std::iter::once(resolvers).chain(addresses).collect()),
        ports: Some(ports(&dns.ports)),
    }
}

fn class_rule(rule: &Egress) -> NetworkPolicyEgressRule {
    let except: Vec<String> = rule.except.iter().map(ToString::to_string).collect();
    NetworkPolicyEgressRule {
        to: Some(vec![block(
            &rule.allow,
            (!except.is_empty()).then_some(except),
        )]),
        ports: (!rule.ports.is_empty()).then(|| ports(&rule.ports)),
    }
}

fn block(range: &Cidr, except: Option<Vec<String>>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: range.to_string(),
            except,
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// Each by TCP and by UDP.
fn ports<'a>(numbers: impl IntoIterator<Item = &'a u16>) -> Vec<NetworkPolicyPort> {
    numbers
        .into_iter()
        .flat_map(|number| [port(*number, "TCP"), port(*number, "UDP")])
        .collect()
}

fn port(number: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}
