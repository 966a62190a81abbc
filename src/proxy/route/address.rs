//! Addresses that are never dialled, whoever names them: what is there is not a workspace.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::model::net::Cidr;

/// Never a pod's: this host, links, multicast, documentation of none, and IPv6 that hides an IPv4 address.
const NEVER: [&str; 12] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "224.0.0.0/3",
    // Metadata services of clouds that are no link-local addresses.
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::/32",
    "fe80::/10",
    "ff00::/8",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
];
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// What is never dialled.
#[derive(Clone, Debug)]
pub struct Denied {
    ranges: Vec<Cidr>,
    addresses: HashSet<IpAddr>,
}

impl Denied {
    /// What no cluster gives to pods, with what this one says: ranges of nodes and Services, addresses of API servers.
    pub fn new(ranges: &[Cidr], addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut denied = Self::with_loopback(ranges, addresses);
        denied.ranges.extend(LOOPBACK.map(known));
        denied
    }

    /// The same for an installation whose workspaces run on this very machine, as in tests.
    pub fn with_loopback(ranges: &[Cidr], addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().map(|address| address.to_canonical());
        Self {
            ranges: NEVER
                .map(known)
                .into_iter()
                .chain(ranges.iter().copied())
                .collect(),
            addresses: addresses.collect(),
        }
    }

    /// Whether an address is one of them. A mapped IPv4 address is what it maps to.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_compatible = matches!(address, IpAddr::V6(v6) if is_ipv4_compatible(v6));
        is_compatible
            || self.addresses.contains(&address)
            || self.ranges.iter().any(|range| range.has(address))
    }
}

/// `::a.b.c.d`, of which `::1` is none.
fn is_ipv4_compatible(address: Ipv6Addr) -> bool {
    let number = u128::from(address);
    number != 1 && number >> 32 == 0
}

/// A range above, which a test reads.
fn known(text: &str) -> Cidr {
    Cidr::parse(text).unwrap_or(Cidr::ALL_IPV4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_range_is_one() {
        for text in NEVER.iter().chain(&LOOPBACK) {
            assert_eq!(
                Cidr::parse(text).map(|range| range.to_string()).as_deref(),
                Some(*text)
            );
        }
    }

    #[rstest]
    #[case::link_local("169.254.1.1")]
    #[case::metadata("169.254.169.254")]
    #[case::metadata_of_another_cloud("100.100.100.200")]
    #[case::metadata_by_ipv6("fd00:ec2::254")]
    #[case::loopback("127.0.0.1")]
    #[case::loopback_elsewhere("127.9.9.9")]
    #[case::loopback_by_ipv6("::1")]
    #[case::loopback_mapped("::ffff:127.0.0.1")]
    #[case::metadata_mapped("::ffff:169.254.169.254")]
    #[case::metadata_by_nat64("64:ff9b::a9fe:a9fe")]
    #[case::metadata_by_6to4("2002:a9fe:a9fe::1")]
    #[case::metadata_compatible("::169.254.169.254")]
    #[case::unspecified("0.0.0.0")]
    #[case::unspecified_by_ipv6("::")]
    #[case::link_local_by_ipv6("fe80::1")]
    #[case::multicast("224.0.0.1")]
    #[case::broadcast("255.255.255.255")]
    #[case::service("10.96.0.10")]
    #[case::service_mapped("::ffff:10.96.0.10")]
    #[case::api_server("192.168.0.1")]
    fn ssrf_through_discovery_what_is_no_pod_is_never_dialled(#[case] address: &str) {
        let services = Cidr::parse("10.96.0.0/12").unwrap();
        let denied = Denied::new(&[services], ["192.168.0.1".parse().unwrap()]);
        assert!(denied.has(address.parse().unwrap()));
    }

    #[rstest]
    #[case("10.244.3.7")]
    #[case("192.168.0.2")]
    #[case("100.64.0.1")]
    #[case("fd00:10:244::7")]
    #[case("2001:db8::7")]
    fn pods_have_such_addresses(#[case] address: &str) {
        let denied = Denied::new(&[], ["192.168.0.1".parse().unwrap()]);
        assert!(!denied.has(address.parse().unwrap()));
    }

    #[test]
    fn a_machine_that_is_its_own_cluster_may_dial_itself_and_nothing_else_that_is_denied() {
        let denied = Denied::with_loopback(&[], []);
        assert!(!denied.has("127.0.0.2".parse().unwrap()));
        assert!(denied.has("169.254.169.254".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn an_address_and_its_mapped_form_are_one(number: u32) {
            let denied = Denied::new(&[], []);
            let plain = std::net::Ipv4Addr::from(number);
            prop_assert_eq!(denied.has(plain.into()), denied.has(plain.to_ipv6_mapped().into()));
        }
    }
}
