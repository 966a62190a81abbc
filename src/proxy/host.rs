//! Host names: which one a request is for. Parsed once; routing, authorization, logs and forwarding use this one value.

use std::fmt;

use crate::model::names::{DnsSubdomain, RESERVED_LABELS};

/// Longest name of a workspace: a label of 63 octets beside the longest port, `65535-`.
const LONGEST_WORKSPACE: usize = 57;
/// Longest host name (RFC 1035) with a port.
const LONGEST_HOST: usize = 253 + ":65535".len();

/// The names that one installation answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    domain: String,
    auth_host: String,
    /// What stands in links before the host.
    scheme: Scheme,
    /// The port in links and in `Host`, where it isn't the scheme's own.
    port: Option<u16>,
}

/// How browsers reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Plain, for `*.localhost` alone.
    Http,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// The port that a URL need not name.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

/// Why a set of names can't be ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// A host of workspaces would answer for the login.
    #[error(
        "the auth host {auth_host} looks like a workspace below {domain}: choose auth.{domain} or a name elsewhere"
    )]
    AuthHostIsWorkspace {
        /// The auth host.
        auth_host: String,
        /// The domain of workspaces.
        domain: String,
    },
    /// Plain HTTP protects nothing on the way.
    #[error("plain HTTP is for *.localhost alone, not for {0}: use TLS")]
    PlainNotLocal(String),
}

impl Site {
    /// Takes the names of an installation.
    ///
    /// # Errors
    /// When the auth host could be a workspace's, or plain HTTP would leave the machine.
    pub fn new(
        domain: &DnsSubdomain,
        auth_host: &DnsSubdomain,
        scheme: Scheme,
        port: Option<u16>,
    ) -> Result<Self, SiteError> {
        let (domain, auth_host) = (domain.to_string(), auth_host.to_string());
        let local = |name: &str| name == "localhost" || name.ends_with(".localhost");
        if scheme == Scheme::Http {
            for name in [&domain, &auth_host] {
                if !local(name) {
                    return Err(SiteError::PlainNotLocal(name.clone()));
                }
            }
        }
        let site = Self {
            port: port.filter(|port| *port != scheme.default_port()),
            domain,
            auth_host,
            scheme,
        };
        let reserved = matches!(site.label_below(&site.auth_host), Some(label) if !RESERVED_LABELS.contains(&label));
        if reserved || site.auth_host == site.domain {
            return Err(SiteError::AuthHostIsWorkspace {
                auth_host: site.auth_host,
                domain: site.domain,
            });
        }
        Ok(site)
    }

    /// The domain below which workspaces are.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The host of the login.
    pub fn auth_host(&self) -> &str {
        &self.auth_host
    }

    /// The scheme of links.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The port in links: the scheme's own where none is written.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// The origin of a host of ours, as browsers send it in `Origin`: scheme, host, and a port that isn't the scheme's.
    pub fn origin(&self, host: &str) -> String {
        let scheme = self.scheme.as_str();
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// The host of a workspace's editor, or of one of its ports.
    pub fn workspace_host(&self, workspace: &str, port: Option<u16>) -> String {
        match port {
            Some(port) => format!("{port}-{workspace}.{}", self.domain),
            None => format!("{workspace}.{}", self.domain),
        }
    }

    /// Reads the value of `Host` or `:authority`.
    ///
    /// # Errors
    /// When it is no host name by the strict grammar. A name that is none of ours is [`Target::Unknown`], not an error.
    pub fn parse(&self, raw: &[u8]) -> Result<RequestHost, HostError> {
        if raw.is_empty() {
            return Err(HostError::Empty);
        }
        if raw.len() > LONGEST_HOST {
            return Err(HostError::TooLong);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        if !raw.iter().copied().all(allowed) {
            return Err(HostError::Grammar);
        }
        // All are ASCII: lower case changes no length.
        let text = String::from_utf8_lossy(raw).to_ascii_lowercase();
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(canonical_port(port).ok_or(HostError::Port)?)),
            None => (text.as_str(), None),
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(HostError::Grammar);
        }
        Ok(RequestHost {
            target: self.target(name),
            port,
            name: name.to_owned(),
        })
    }

    fn target(&self, name: &str) -> Target {
        if name == self.auth_host {
            return Target::Auth;
        }
        self.label_below(name).map_or(Target::Unknown, workspace_of)
    }

    /// The one label of a name below our domain.
    fn label_below<'a>(&self, name: &'a str) -> Option<&'a str> {
        let label = name.strip_suffix(&self.domain)?.strip_suffix('.')?;
        (!label.is_empty() && !label.contains('.')).then_some(label)
    }
}

/// The host that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHost {
    /// In lower case, without port: what tokens are bound to.
    pub name: String,
    /// The port beside it, if one was written.
    pub port: Option<u16>,
    /// What it stands for.
    pub target: Target,
}

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The login.
    Auth,
    /// A workspace's editor, or one of its ports.
    Workspace {
        /// The name of the Workspace.
        workspace: String,
        /// The port; none, the editor.
        port: Option<u16>,
    },
    /// Not ours.
    Unknown,
}

/// Why a value is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// Longer than any name.
    #[error("the host is longer than {LONGEST_HOST} bytes")]
    TooLong,
    /// A byte or a label that no host name has: user names, trailing dots and percent signs among them.
    #[error("the host is no name of letters, digits, '-' and '.'")]
    Grammar,
    /// Not a decimal of 1 to 65535 without leading zeros.
    #[error("the port beside the host is not 1 to 65535")]
    Port,
}

impl fmt::Display for RequestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// `<workspace>` or `<port>-<workspace>`.
fn workspace_of(label: &str) -> Target {
    let digits = label.bytes().take_while(u8::is_ascii_digit).count();
    let (head, tail) = label.split_at(digits);
    let (port, workspace) = match tail.strip_prefix('-') {
        Some(workspace) if digits > 0 => match canonical_port(head) {
            Some(port) => (Some(port), workspace),
            None => return Target::Unknown,
        },
        _ => (None, label),
    };
    let named = is_label(workspace)
        && workspace.len() <= LONGEST_WORKSPACE
        && !workspace.contains("--")
        && !begins_with_port(workspace)
        && !RESERVED_LABELS.contains(&workspace);
    if !named {
        return Target::Unknown;
    }
    Target::Workspace {
        workspace: workspace.to_owned(),
        port,
    }
}

/// `3000-2000-name` would be two ports.
fn begins_with_port(workspace: &str) -> bool {
    let rest = workspace.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < workspace.len() && rest.starts_with('-')
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = label.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// A port as it is written in one way alone.
fn canonical_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.starts_with('0'))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn name(text: &str) -> DnsSubdomain {
        DnsSubdomain::new(text).unwrap()
    }

    fn site() -> Site {
        let (domain, auth) = (name("ws.example.com"), name("login.example.net"));
        Site::new(&domain, &auth, Scheme::Https, None).unwrap()
    }

    fn workspace(workspace: &str, port: Option<u16>) -> Target {
        Target::Workspace {
            workspace: workspace.to_owned(),
            port,
        }
    }

    #[rstest]
    #[case("alice-api.ws.example.com", workspace("alice-api", None))]
    #[case("ALICE-Api.WS.example.com:443", workspace("alice-api", None))]
    #[case("3000-alice-api.ws.example.com", workspace("alice-api", Some(3000)))]
    #[case("65535-a.ws.example.com", workspace("a", Some(65535)))]
    #[case("3000.ws.example.com", workspace("3000", None))]
    #[case("3000a-b.ws.example.com", workspace("3000a-b", None))]
    #[case("login.example.net", Target::Auth)]
    #[case("0-a.ws.example.com", Target::Unknown)]
    #[case("03000-a.ws.example.com", Target::Unknown)]
    #[case("65536-a.ws.example.com", Target::Unknown)]
    #[case("3000-2000-a.ws.example.com", Target::Unknown)]
    #[case("3000-.ws.example.com", Target::Unknown)]
    #[case("a--b.ws.example.com", Target::Unknown)]
    #[case("a.b.ws.example.com", Target::Unknown)]
    #[case("ws.example.com", Target::Unknown)]
    #[case("auth.ws.example.com", Target::Unknown)]
    #[case("3000-auth.ws.example.com", Target::Unknown)]
    #[case("a.ws.example.com.evil.test", Target::Unknown)]
    #[case("aws.example.com", Target::Unknown)]
    #[case("x.login.example.net", Target::Unknown)]
    #[case("10.0.0.1", Target::Unknown)]
    fn a_host_has_one_meaning(#[case] raw: &str, #[case] target: Target) {
        match site().parse(raw.as_bytes()) {
            Ok(host) => assert_eq!(host.target, target),
            // A label may not end in '-'.
            Err(error) => assert_eq!((raw, error), ("3000-.ws.example.com", HostError::Grammar)),
        }
    }

    #[rstest]
    #[case("", HostError::Empty)]
    #[case("a.ws.example.com.", HostError::Grammar)]
    #[case("user@a.ws.example.com", HostError::Grammar)]
    #[case("a%2dws.example.com", HostError::Grammar)]
    #[case("-a.ws.example.com", HostError::Grammar)]
    #[case("a..ws.example.com", HostError::Grammar)]
    #[case("a.ws.example.com:", HostError::Port)]
    #[case("a.ws.example.com:080", HostError::Port)]
    #[case("a.ws.example.com:1:2", HostError::Port)]
    #[case("a.ws.example.com:65536", HostError::Port)]
    #[case("[::1]", HostError::Grammar)]
    #[case("a b.ws.example.com", HostError::Grammar)]
    #[case("ä.ws.example.com", HostError::Grammar)]
    #[case("a_b.ws.example.com", HostError::Grammar)]
    fn what_is_no_host_name_is_refused(#[case] raw: &str, #[case] error: HostError) {
        assert_eq!(site().parse(raw.as_bytes()), Err(error));
    }

    #[test]
    fn a_workspace_as_long_as_its_name_may_be_is_reached_by_every_port() {
        let longest = "a".repeat(57);
        let host = site().parse(format!("65535-{longest}.ws.example.com").as_bytes());
        assert_eq!(host.unwrap().target, workspace(&longest, Some(65535)));
        let longer = site().parse(format!("{longest}a.ws.example.com").as_bytes());
        assert_eq!(longer.unwrap().target, Target::Unknown);
    }

    #[rstest]
    #[case("ws.localhost", "auth.ws.localhost", Scheme::Http, true)]
    #[case("ws.example.com", "auth.ws.example.com", Scheme::Https, true)]
    #[case("ws.example.com", "login.ws.example.com", Scheme::Https, false)]
    #[case("ws.example.com", "ws.example.com", Scheme::Https, false)]
    #[case("ws.example.com", "auth.ws.localhost", Scheme::Http, false)]
    fn names_that_could_be_mistaken_are_refused(
        #[case] domain: &str,
        #[case] auth: &str,
        #[case] scheme: Scheme,
        #[case] taken: bool,
    ) {
        let site = Site::new(&name(domain), &name(auth), scheme, None);
        assert_eq!(site.is_ok(), taken, "{site:?}");
    }

    #[test]
    fn an_origin_names_a_port_only_where_browsers_do() {
        let (domain, auth) = (name("ws.localhost"), name("auth.ws.localhost"));
        let local = Site::new(&domain, &auth, Scheme::Http, Some(8000)).unwrap();
        assert_eq!(local.origin("a.ws.localhost"), "http://a.ws.localhost:8000");
        let plain = Site::new(&domain, &auth, Scheme::Http, Some(80)).unwrap();
        assert_eq!(plain.origin("a.ws.localhost"), "http://a.ws.localhost");
        assert_eq!(
            site().origin("a.ws.example.com"),
            "https://a.ws.example.com"
        );
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_parsed_host_parses_to_itself(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(host) = site().parse(&raw) {
                prop_assert_eq!(site().parse(host.to_string().as_bytes()), Ok(host));
            }
        }

        #[test]
        fn a_host_that_was_made_is_read_as_what_it_was_made_of(
            workspace_name in "[a-z][a-z0-9]{0,20}(-[a-z0-9]{1,10}){0,2}",
            port in proptest::option::of(1u16..),
        ) {
            prop_assume!(!RESERVED_LABELS.contains(&workspace_name.as_str()));
            let host = site().workspace_host(&workspace_name, port);
            prop_assert_eq!(site().parse(host.as_bytes()).unwrap().target, workspace(&workspace_name, port));
        }
    }
}
