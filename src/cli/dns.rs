//! Who answers DNS queries of workspaces: arguments of the controller and of `workstead render`.

use clap::Args;

use crate::cli::values::{label_name, range};
use crate::model::class::check_label;
use crate::model::installation::{ClusterDns, NAMESPACE_NAME_LABEL};
use crate::model::names::DnsLabel;
use crate::model::net::Cidr;

/// Who answers DNS queries. The defaults are right where CoreDNS or kube-dns runs as usual.
#[derive(Args, Clone, Debug)]
pub struct DnsArgs {
    /// The namespace of the pods that answer DNS queries
    #[arg(long, env = "WORKSTEAD_DNS_NAMESPACE", hide_env_values = true, value_name = "NAMESPACE", default_value = ClusterDns::NAMESPACE, value_parser = label_name)]
    dns_namespace: DnsLabel,
    /// Their labels
    #[arg(long, env = "WORKSTEAD_DNS_PODS", hide_env_values = true, value_name = "KEY=VALUE", value_delimiter = ',', default_value = "k8s-app=kube-dns", value_parser = label)]
    dns_pods: Vec<(String, String)>,
    /// The ports on which these pods listen, which may differ from those of their Service
    #[arg(long, env = "WORKSTEAD_DNS_PORTS", hide_env_values = true, value_name = "PORT", value_delimiter = ',', default_value = "53", value_parser = clap::value_parser!(u16).range(1..))]
    dns_ports: Vec<u16>,
    /// Addresses or ranges of resolvers that are no such pods, for example 169.254.20.10 of a cache on each node
    #[arg(long, env = "WORKSTEAD_DNS_ADDRESSES", hide_env_values = true, value_name = "ADDRESS", value_delimiter = ',', value_parser = range)]
    dns_addresses: Vec<Cidr>,
}

impl DnsArgs {
    /// As the model knows it.
    pub fn cluster_dns(&self) -> ClusterDns {
        let namespace = self.dns_namespace.to_string();
        ClusterDns {
            namespace_labels: [(NAMESPACE_NAME_LABEL.to_owned(), namespace)].into(),
            pod_labels: self.dns_pods.iter().cloned().collect(),
            ports: self.dns_ports.clone(),
            addresses: self.dns_addresses.clone(),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is no label: write KEY=VALUE"))?;
    check_label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        dns: DnsArgs,
    }

    fn typed(arguments: &[&str]) -> Result<ClusterDns, String> {
        let all = ["workstead"].iter().chain(arguments);
        Typed::try_parse_from(all)
            .map(|typed| typed.dns.cluster_dns())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_it_is_what_nearly_every_cluster_has() {
        assert_eq!(typed(&[]), Ok(ClusterDns::default()));
    }

    #[test]
    fn another_namespace_label_port_and_the_address_of_a_cache_are_taken() {
        let dns = typed(&[
            "--dns-namespace=openshift-dns",
            "--dns-pods=dns.operator.openshift.io/daemonset-dns=default,a=b",
            "--dns-ports=53,5353",
            "--dns-addresses=169.254.20.10,fd00::a,10.1.0.0/16",
        ])
        .unwrap();
        assert_eq!(
            dns.namespace_labels["kubernetes.io/metadata.name"],
            "openshift-dns"
        );
        assert_eq!(
            dns.pod_labels["dns.operator.openshift.io/daemonset-dns"],
            "default"
        );
        assert_eq!(dns.pod_labels["a"], "b");
        assert_eq!(dns.ports, [53, 5353]);
        let addresses: Vec<String> = dns.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            addresses,
            ["169.254.20.10/32", "fd00::a/128", "10.1.0.0/16"]
        );
    }

    #[test]
    fn what_no_policy_could_carry_is_refused() {
        for wrong in [
            "--dns-namespace=Kube",
            "--dns-pods=kube-dns",
            "--dns-pods=k8s-app=kube dns",
            "--dns-ports=0",
            "--dns-addresses=localhost",
            "--dns-addresses=10.0.0.0/33",
        ] {
            let error = typed(&[wrong]).unwrap_err();
            let name = wrong.split('=').next().unwrap();
            assert!(error.contains(name), "{wrong}: {error}");
        }
    }
}
