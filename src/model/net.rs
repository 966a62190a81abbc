//! Ranges of addresses, as far as a NetworkPolicy needs them.

use std::fmt;
use std::net::IpAddr;

/// A range of addresses in canonical form (no bits behind the prefix).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    v6: bool,
    /// The network, at the low end of 128 bits for IPv4.
    network: u128,
    prefix: u8,
}

impl Cidr {
    /// Reads a range such as `10.0.0.0/8` or `fd00::/8`. Bits behind the prefix are cleared.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = prefix.parse().ok()?;
        let (v6, bits, number) = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(v4) => (false, 32, u128::from(u32::from(v4))),
            // Mapped IPv4 addresses would slip past the IPv4 exceptions.
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => return None,
            IpAddr::V6(v6) => (true, 128, u128::from(v6)),
        };
        if prefix > bits {
            return None;
        }
        let host_bits = u32::from(bits - prefix);
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self {
            v6,
            network: number & mask,
            prefix,
        })
    }

    /// The range of one address. An IPv4 address that IPv6 carries (`::ffff:…`) is taken as itself.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self {
                v6: false,
                network: u128::from(u32::from(v4)),
                prefix: 32,
            },
            IpAddr::V6(v6) => Self {
                v6: true,
                network: u128::from(v6),
                prefix: 128,
            },
        }
    }

    /// Every IPv4 address.
    pub const ALL_IPV4: Self = Self {
        v6: false,
        network: 0,
        prefix: 0,
    };

    /// Whether an address is in it. An IPv4 address that IPv6 carries is taken as itself.
    pub fn has(self, address: IpAddr) -> bool {
        self.contains(Self::of(address))
    }

    /// Whether the other range is this one or inside it.
    pub fn contains(self, other: Self) -> bool {
        let bits: u8 = if self.v6 { 128 } else { 32 };
        let host_bits = u32::from(bits - self.prefix);
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        self.v6 == other.v6 && self.prefix <= other.prefix && other.network & mask == self.network
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v6 {
            write!(
                f,
                "{}/{}",
                std::net::Ipv6Addr::from(self.network),
                self.prefix
            )
        } else {
            // The network of an IPv4 range always fits.
            let v4 = u32::try_from(self.network).unwrap_or(0);
            write!(f, "{}/{}", std::net::Ipv4Addr::from(v4), self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn one_address_is_a_range_too_whatever_family_carries_it() {
        let of = |text: &str| Cidr::of(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3/32");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3/32");
        assert_eq!(of("fd00::a"), "fd00::a/128");
    }

    #[test]
    fn ranges_are_read_and_printed_canonically() {
        assert_eq!(cidr("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(cidr("0.0.0.0/0").to_string(), "0.0.0.0/0");
        assert_eq!(cidr("FD00::1/8").to_string(), "fd00::/8");
        assert_eq!(cidr("::/0").to_string(), "::/0");
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "/8",
            "a/8",
            "10.0.0.0/+8",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_contains_itself_and_what_is_inside() {
        assert!(cidr("10.0.0.0/8").contains(cidr("10.0.0.0/8")));
        assert!(cidr("0.0.0.0/0").contains(cidr("169.254.0.0/16")));
        assert!(!cidr("169.254.0.0/16").contains(cidr("0.0.0.0/0")));
        assert!(!cidr("::/0").contains(cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/8").contains(cidr("11.0.0.0/8")));
        assert!(cidr("10.0.0.0/8").has([10, 255, 0, 1].into()));
        assert!(!cidr("10.0.0.0/8").has([11, 0, 0, 1].into()));
        assert!(!cidr("0.0.0.0/0").has(std::net::Ipv6Addr::LOCALHOST.into()));
        assert!(Cidr::ALL_IPV4.has([255, 255, 255, 255].into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-f.:/]{0,50}|\\PC{0,50}") {
            let _ = Cidr::parse(&text);
        }
    }
}
