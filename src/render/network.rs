//! The NetworkPolicy: both directions always, closed but for what is named.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::model::class::Egress;
use crate::model::workspace::ValidatedWorkspace;
use crate::render::metadata;

/// The label that every namespace has.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Who may reach the pod, and what it may reach.
pub fn policy(workspace: &ValidatedWorkspace) -> NetworkPolicy {
    let identity = &workspace.identity;
    NetworkPolicy {
        metadata: metadata::owned(identity, identity.name.to_string()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(select(metadata::selector(identity))),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: ingress(workspace),
            egress: Some(egress(workspace)),
        }),
    }
}

fn select(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}

/// Proxy pods of the installation to the endpoints; nobody else, and nothing without endpoints.
fn ingress(workspace: &ValidatedWorkspace) -> Option<Vec<NetworkPolicyIngressRule>> {
    if workspace.endpoints.is_empty() {
        return None;
    }
    let installation = &workspace.installation;
    let namespace = [(
        NAMESPACE_NAME.to_owned(),
        installation.namespace.to_string(),
    )]
    .into();
    // Both selectors in one peer: the pods and their namespace must match.
    let proxies = NetworkPolicyPeer {
        namespace_selector: Some(select(namespace)),
        pod_selector: Some(select(installation.proxy_pods.clone())),
        ip_block: None,
    };
    let mut numbers: Vec<u16> = workspace
        .endpoints
        .values()
        .map(|port| port.get())
        .collect();
    numbers.sort_unstable();
    let ports = numbers
        .into_iter()
        .map(|number| port(number, "TCP"))
        .collect();
    Some(vec![NetworkPolicyIngressRule {
        from: Some(vec![proxies]),
        ports: Some(ports),
    }])
}

fn egress(workspace: &ValidatedWorkspace) -> Vec<NetworkPolicyEgressRule> {
    let dns = &workspace.installation.dns;
    let resolvers = NetworkPolicyPeer {
        namespace_selector: Some(select(dns.namespace_labels.clone())),
        pod_selector: Some(select(dns.pod_labels.clone())),
        ip_block: None,
    };
    let mut rules = vec![NetworkPolicyEgressRule {
        to: Some(vec![resolvers]),
        ports: Some(vec![port(53, "TCP"), port(53, "UDP")]),
    }];
    rules.extend(workspace.egress.iter().map(class_rule));
    rules
}

fn class_rule(rule: &Egress) -> NetworkPolicyEgressRule {
    let except: Vec<String> = rule.except.iter().map(ToString::to_string).collect();
    let block = IPBlock {
        cidr: rule.allow.to_string(),
        except: (!except.is_empty()).then_some(except),
    };
    let ports: Vec<NetworkPolicyPort> = rule
        .ports
        .iter()
        .flat_map(|number| [port(*number, "TCP"), port(*number, "UDP")])
        .collect();
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            ip_block: Some(block),
            ..NetworkPolicyPeer::default()
        }]),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn port(number: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}
