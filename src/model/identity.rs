//! Names and texts with rules, as types: once one exists, its rule holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::names::{DnsLabel, NameError};

/// Why a text is refused. The message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no DNS label.
    #[error(transparent)]
    Label(#[from] NameError),
    /// A Workspace's name is too long.
    #[error(
        "'{0}' has {1} characters: the name of a Workspace has at most 57, it becomes part of a host name"
    )]
    WorkspaceNameLength(String, usize),
    /// A Workspace's name has `--`.
    #[error(
        "'{0}' contains '--': write a single '-', the double one separates parts of a host name"
    )]
    WorkspaceNameDashes(String),
    /// A Workspace's name begins like a port.
    #[error(
        "'{0}' begins with digits and '-': put a letter first, 3000-name stands for port 3000 of name"
    )]
    WorkspaceNameDigits(String),
    /// An owner has spaces, control characters or none at all.
    #[error(
        "the owner is 1 to 320 printable characters without spaces, as the identity provider writes them"
    )]
    Owner,
    /// An image reference that no runtime can resolve.
    #[error(
        "'{0}' is no image reference ({1}): write registry/name:tag or registry/name@sha256:digest"
    )]
    Image(String, &'static str),
    /// An endpoint's name is no name of a port.
    #[error(
        "'{0}' is no name for an endpoint: write lower-case letters, digits and '-', a letter first, at most 63"
    )]
    EndpointName(String),
    /// An endpoint is called like the editor in the Service.
    #[error("an endpoint can't be called editor, which is the editor's own name: choose another")]
    EndpointReserved,
    /// A port is out of range or ours.
    #[error(
        "port {0} can't be an endpoint: write 1 to 65535, but not 60001, 60003, 60004 or 60022"
    )]
    Port(u16),
    /// The name of an environment variable.
    #[error(
        "'{0}' is no name for an environment variable: write letters, digits and '_', no digit first"
    )]
    VariableName(String),
    /// The name of an environment variable is reserved.
    #[error("'{0}' begins with WORKSTEAD_, which is reserved: choose another prefix")]
    VariableReserved(String),
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The name of a Workspace: a DNS label of at most 57 characters that can stand beside a port in a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkspaceName(String);
text_type!(WorkspaceName);

impl WorkspaceName {
    /// Longest name.
    pub const MAX: usize = 57;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// When a rule of the CRD is broken.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        let length = text.chars().count();
        if length > Self::MAX {
            return Err(IdentityError::WorkspaceNameLength(text.to_owned(), length));
        }
        DnsLabel::new(text)?;
        if text.contains("--") {
            return Err(IdentityError::WorkspaceNameDashes(text.to_owned()));
        }
        let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
        if after_digits.len() < text.len() && after_digits.starts_with('-') {
            return Err(IdentityError::WorkspaceNameDigits(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Before it in the name of the Service: those begin with a letter.
    pub const SERVICE_PREFIX: &str = "ws-";

    /// Name of the Service.
    pub fn service(&self) -> String {
        format!("{}{}", Self::SERVICE_PREFIX, self.0)
    }

    /// Name of the Secret with the key of the first process.
    pub fn supervisor(&self) -> String {
        format!("{}-supervisor", self.0)
    }

    /// Name of the Lease whose `renewTime` is when it was last used.
    pub fn activity(&self) -> String {
        format!("{}-activity", self.0)
    }

    /// Name of the home volume's claim.
    pub fn volume(&self) -> String {
        format!("{}-home", self.0)
    }

    /// Name of the Secret with what it has of sealed sets, by the digest over these.
    pub fn variables(&self, digest: &str) -> String {
        let short: String = digest.chars().take(8).collect();
        format!("{}-vars-{short}", self.0)
    }

    /// Name of the ControllerRevision with this number.
    pub fn revision(&self, number: i64) -> String {
        format!("{}-{number}", self.0)
    }
}

/// Who a workspace belongs to, as the identity provider names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Owner(String);
text_type!(Owner);

impl Owner {
    /// Checks and takes an owner.
    ///
    /// # Errors
    /// When it is empty, longer than 320 characters, or has a space or control character.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > 320 || !printable {
            return Err(IdentityError::Owner);
        }
        Ok(Self(text.to_owned()))
    }
}

/// An image reference as container runtimes read it: `[host[:port]/]path[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ImageReference(String);
text_type!(ImageReference);

impl ImageReference {
    /// Checks and takes a reference.
    ///
    /// # Errors
    /// When a container runtime would call it an invalid image name.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        let refuse = |why| Err(IdentityError::Image(text.to_owned(), why));
        if text.is_empty() || text.len() > 512 {
            return refuse("it has 1 to 512 characters");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return refuse("after '@' stands sha256: and 64 hexadecimal digits");
        }
        // A ':' behind the last '/' begins the tag; an earlier one is the port of the registry.
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (head, last) = rest.split_at(slash);
        let (last, tag) = match last.split_once(':') {
            Some((last, tag)) => (last, Some(tag)),
            None => (last, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return refuse("a tag is letters, digits, '_', '.' and '-', at most 128");
        }
        let mut parts: Vec<&str> = head
            .trim_end_matches('/')
            .split('/')
            .filter(|p| !p.is_empty())
            .collect();
        if head.matches('/').count() != parts.len() {
            return refuse("there is nothing between two '/'");
        }
        if let Some(first) = parts.first().copied()
            && (first.contains(['.', ':', '['])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()))
        {
            if !is_registry(first) {
                return refuse("the registry is a host name, with or without a port");
            }
            parts.remove(0);
        }
        parts.push(last);
        if parts.iter().map(|part| part.len() + 1).sum::<usize>() > 256 {
            return refuse("the path is longer than 255 characters");
        }
        if !parts.iter().all(|part| is_path_component(part)) {
            return refuse(
                "the path is lower-case letters and digits, with '.', '_', '__' or '-' between them",
            );
        }
        if parts.len() == 1
            && digest.is_none()
            && tag.is_none()
            && last.len() == 64
            && last.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return refuse("64 hexadecimal digits alone would be an image ID");
        }
        Ok(Self(text.to_owned()))
    }
}

impl ImageReference {
    /// Whether it names one image for ever.
    pub fn is_pinned(&self) -> bool {
        self.0.contains('@')
    }
}

impl TryFrom<String> for ImageReference {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn is_tag(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        (
            "",
            port.strip_prefix(':')
                .or_else(|| port.is_empty().then_some("")),
        )
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        }
    };
    let Some(port) = port else { return false };
    let colon_without_port = text.ends_with(':');
    let port_fits = port.is_empty() || port.parse::<u16>().is_ok();
    let bracketed = text.starts_with('[');
    let host_fits = bracketed
        || host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    host_fits && port_fits && !colon_without_port
}

/// Letters and digits, separated by one '.', one or two '_', or any number of '-'.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_fit = text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric);
    ends_fit
        && text
            .bytes()
            .all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-'))
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

/// The name of an endpoint, which is also the name of a port of the Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EndpointName(String);
text_type!(EndpointName);

impl EndpointName {
    /// What the editor is called among the ports of the Service.
    pub const EDITOR: &str = "editor";

    /// Checks and takes a name.
    ///
    /// # Errors
    /// When it is no DNS label that begins with a letter.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        let letter = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if !letter || DnsLabel::new(text).is_err() {
            return Err(IdentityError::EndpointName(text.to_owned()));
        }
        if text == Self::EDITOR {
            return Err(IdentityError::EndpointReserved);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A port that an endpoint may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EndpointPort(u16);

impl EndpointPort {
    /// Ports inside a workspace that are our own.
    pub const RESERVED: [u16; 4] = [60001, 60003, 60004, 60022];

    /// Checks and takes a port.
    ///
    /// # Errors
    /// When it is 0 or one of our own.
    pub fn new(port: u16) -> Result<Self, IdentityError> {
        if port == 0 || Self::RESERVED.contains(&port) {
            return Err(IdentityError::Port(port));
        }
        Ok(Self(port))
    }

    /// As a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// The name of an environment variable that a user sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct VariableName(String);
text_type!(VariableName);

impl TryFrom<String> for VariableName {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl VariableName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// When it is no C identifier, or begins with `WORKSTEAD_`.
    pub fn new(text: &str) -> Result<Self, IdentityError> {
        let first = text.bytes().next();
        let fits = first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            return Err(IdentityError::VariableName(text.to_owned()));
        }
        if text.starts_with(crate::model::names::ENVIRONMENT_PREFIX) {
            return Err(IdentityError::VariableReserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("api")]
    #[case("3000")]
    #[case("3a-b")]
    #[case(&"a".repeat(57))]
    fn names_of_workspaces_are_accepted(#[case] name: &str) {
        assert!(WorkspaceName::new(name).is_ok());
    }

    #[rstest]
    #[case("")]
    #[case("a.b")]
    #[case("a--b")]
    #[case("3000-api")]
    #[case("-a")]
    #[case("A")]
    #[case(&"a".repeat(58))]
    fn names_that_would_break_host_names_are_refused(#[case] name: &str) {
        assert!(WorkspaceName::new(name).is_err());
    }

    #[rstest]
    #[case("debian")]
    #[case("debian:12")]
    #[case("library/debian")]
    #[case("registry.example.com/dev/rust:1.95")]
    #[case("registry.example.com:5000/dev/rust")]
    #[case("localhost/a/b:c")]
    #[case("localhost:5000/a")]
    #[case("[::1]:5000/a")]
    #[case("a/b__c/d-e/f.g")]
    #[case("REGISTRY.example.com/a")]
    #[case(&format!("a@sha256:{}", "0".repeat(64)))]
    #[case(&format!("a/b:tag@sha256:{}", "f".repeat(64)))]
    fn image_references_are_accepted(#[case] text: &str) {
        assert!(
            ImageReference::new(text).is_ok(),
            "{:?}",
            ImageReference::new(text)
        );
    }

    #[rstest]
    #[case("")]
    #[case("Debian")]
    #[case("a:")]
    #[case("a b")]
    #[case("a//b")]
    #[case("/a")]
    #[case("a/")]
    #[case("https://registry.example.com/a")]
    #[case("a:b:c")]
    #[case("a@sha256:abc")]
    #[case("a@")]
    #[case("a___b")]
    #[case("a..b")]
    #[case("registry.example.com:x/a")]
    #[case(&"0".repeat(64))]
    fn references_that_no_runtime_takes_are_refused(#[case] text: &str) {
        assert!(ImageReference::new(text).is_err());
    }

    #[test]
    fn our_own_ports_and_prefix_are_refused() {
        for port in EndpointPort::RESERVED.into_iter().chain([0]) {
            assert!(EndpointPort::new(port).is_err());
        }
        assert!(EndpointPort::new(3000).is_ok());
        assert!(VariableName::new("WORKSTEAD_X").is_err());
        assert!(VariableName::new("1X").is_err());
        assert!(VariableName::new("_x1").is_ok());
        assert!(EndpointName::new("1web").is_err());
        assert!(EndpointName::new("web-1").is_ok());
        assert!(Owner::new("a b").is_err());
        assert!(Owner::new("alice@example.com").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,80}|[a-z0-9.:/@_\\-\\[\\]]{0,80}") {
            let _ = (WorkspaceName::new(&text), Owner::new(&text), ImageReference::new(&text),
                EndpointName::new(&text), VariableName::new(&text));
        }
    }
}
