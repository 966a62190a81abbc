//! Values of arguments that several commands take: sizes, lengths of time, names, addresses.

use std::net::IpAddr;

use crate::model::names::{DnsLabel, DnsSubdomain, NameError};
use crate::model::net::Cidr;

/// Reads `96Mi`, `1Gi`, `500000`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let amount = crate::model::quantity::Amount::parse(text).map_err(|error| error.to_string())?;
    amount
        .to_u64()
        .ok_or_else(|| format!("'{text}' is no whole number of bytes: write for example 96Mi"))
}

/// Reads `90s`, `10m`, `1h30m`.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("'{text}' is no length of time: write for example 90s or 10m");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    std::time::Duration::try_from(span).map_err(|_| wrong())
}

/// Reads a DNS label, such as the name of a namespace.
pub fn label_name(text: &str) -> Result<DnsLabel, NameError> {
    DnsLabel::new(text)
}

/// Reads a DNS subdomain, such as a host or the name of most objects.
pub fn domain_name(text: &str) -> Result<DnsSubdomain, NameError> {
    DnsSubdomain::new(text)
}

/// The same, as text.
pub fn label(text: &str) -> Result<String, NameError> {
    label_name(text).map(|name| name.to_string())
}

/// The same, as text.
pub fn domain(text: &str) -> Result<String, NameError> {
    domain_name(text).map(|name| name.to_string())
}

/// Reads a range of addresses, or one address.
pub fn range(text: &str) -> Result<Cidr, String> {
    let range = match text.parse::<IpAddr>() {
        Ok(one) => Some(Cidr::of(one)),
        Err(_) => Cidr::parse(text),
    };
    range.ok_or_else(|| {
        format!("'{text}' is no address: write for example 169.254.20.10 or 169.254.20.0/24")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        assert_eq!(bytes("96Mi"), Ok(96 * 1024 * 1024));
        assert_eq!(bytes("1k"), Ok(1000));
        for wrong in ["", "0.5", "-1Mi", "many"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        assert_eq!(duration("90s").unwrap().as_secs(), 90);
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5400);
        assert!(duration("soon").is_err());
        assert!(duration("-5s").is_err());
    }
}
