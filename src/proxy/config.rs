//! How the proxy is set up: typed, checked before anything starts, and safe to print.
//!
//! `src/cli/proxy` makes it of flags and environment; nothing here reads either.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::model::net::Cidr;
use crate::proxy::host::{Scheme, Site};

/// The whole configuration. Its `Debug` is what the log shows at start: nothing secret is in it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The installation's namespace: key ring, certificates, revocations and used links live there.
    pub namespace: DnsLabel,
    /// Which replica we are, for Events: the name of the pod.
    pub identity: String,
    /// Look at the Workspaces of this namespace alone; none, at all.
    pub watch_namespace: Option<DnsLabel>,
    /// Where browsers come in.
    pub listeners: Listeners,
    /// Where `/healthz`, `/readyz` and `/metrics` are served: never on a listener of workspaces.
    pub health_address: SocketAddr,
    /// Whose `X-Forwarded-*` and `Forwarded` are believed, by the address of the socket.
    pub trusted_forwarders: Vec<Cidr>,
    /// Addresses that are never dialled, beside those that no pod has.
    pub denied_addresses: Vec<Cidr>,
    /// Ports of workspaces that nobody reaches, beside those of Workstead itself.
    pub denied_ports: Vec<u16>,
    /// Paths whose requests are no sign of anybody's being there.
    pub keep_alive_paths: Vec<String>,
    /// Names that no workspace opens under, beside those that are always kept.
    pub reserved_names: Vec<String>,
    /// What one client, person or workspace may take.
    pub limits: Limits,
    /// How it ends.
    pub drain: Drain,
}

impl Config {
    /// The identity provider, where there is a listener that needs one.
    pub fn oidc(&self) -> Option<&Oidc> {
        self.listeners.tls().map(|tls| &tls.oidc)
    }
}

/// Where browsers come in: by TLS, on this machine alone, or both.
#[derive(Clone, Debug)]
pub struct Listeners {
    tls: Option<TlsListener>,
    local: Option<LocalListener>,
}

/// TLS, for everybody who signs in at the identity provider.
#[derive(Clone, Debug)]
pub struct TlsListener {
    /// The address to listen on.
    pub address: SocketAddr,
    /// The names it answers to.
    pub site: Site,
    /// Secrets of the installation's namespace with certificates (`kubernetes.io/tls`).
    pub certificates: Vec<DnsSubdomain>,
    /// Balancers that tell the client's address by the PROXY protocol, and must. Empty, nobody does.
    pub proxy_protocol_from: Vec<Cidr>,
    /// Who signs in.
    pub oidc: Oidc,
}

/// Plain HTTP for `*.localhost`, for who holds a login link.
#[derive(Clone, Debug)]
pub struct LocalListener {
    /// The address to listen on.
    pub address: SocketAddr,
    /// The names it answers to.
    pub site: Site,
}

/// Why listeners can't be as they were asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenersError {
    /// Nobody could come in.
    #[error("the proxy would listen nowhere: name a domain for TLS, or one of this machine")]
    None,
    /// TLS has nothing to show.
    #[error("no Secret with a certificate for {0} is named")]
    NoCertificate(String),
    /// A listener for this machine with a site for TLS, or the other way round.
    #[error("the listener for {domain} speaks {listener}, but its links say {links}")]
    Scheme {
        /// Its domain.
        domain: String,
        /// What it speaks.
        listener: &'static str,
        /// What its site says.
        links: &'static str,
    },
    /// A session would be good at both.
    #[error(
        "{0} is a name of both listeners: a session that came by plain HTTP would open it by TLS too"
    )]
    SharedName(String),
}

impl Listeners {
    /// Takes one listener or both.
    ///
    /// # Errors
    /// When there is none, one lacks what it needs, or a name belongs to both.
    pub fn new(
        tls: Option<TlsListener>,
        local: Option<LocalListener>,
    ) -> Result<Self, ListenersError> {
        if let Some(tls) = &tls {
            check_scheme(&tls.site, Scheme::Https)?;
            if tls.certificates.is_empty() {
                return Err(ListenersError::NoCertificate(tls.site.domain().to_owned()));
            }
        }
        if let Some(local) = &local {
            check_scheme(&local.site, Scheme::Http)?;
        }
        match (&tls, &local) {
            (None, None) => return Err(ListenersError::None),
            (Some(tls), Some(local)) => check_apart(&tls.site, &local.site)?,
            _ => {}
        }
        Ok(Self { tls, local })
    }

    /// By TLS.
    pub fn tls(&self) -> Option<&TlsListener> {
        self.tls.as_ref()
    }

    /// On this machine.
    pub fn local(&self) -> Option<&LocalListener> {
        self.local.as_ref()
    }
}

fn check_scheme(site: &Site, scheme: Scheme) -> Result<(), ListenersError> {
    if site.scheme() == scheme {
        return Ok(());
    }
    Err(ListenersError::Scheme {
        domain: site.domain().to_owned(),
        listener: scheme.as_str(),
        links: site.scheme().as_str(),
    })
}

/// No name may be read as one of both sites.
fn check_apart(tls: &Site, local: &Site) -> Result<(), ListenersError> {
    let names = |site: &Site| [site.domain().to_owned(), site.auth_host().to_owned()];
    let below = |name: &str, domain: &str| {
        name == domain
            || name
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    for (one, other) in [(tls, local), (local, tls)] {
        if let Some(name) = names(one)
            .into_iter()
            .find(|name| names(other).iter().any(|domain| below(name, domain)))
        {
            return Err(ListenersError::SharedName(name));
        }
    }
    Ok(())
}

/// The identity provider (OpenID Connect).
#[derive(Clone)]
pub struct Oidc {
    /// Who it is.
    pub issuer: Issuer,
    /// Our name there.
    pub client_id: String,
    /// What proves that it is us; none for a public client.
    pub client_secret: Option<ClientSecret>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that is compared with `spec.owner` and `spec.shared.users`.
    pub identity_claim: String,
    /// The claim with the groups of `spec.shared.groups`.
    pub groups_claim: String,
    /// Go on although the provider does not announce S256: some do it without saying so.
    pub assume_s256: bool,
    /// Certificates of authorities that vouch for it, beside the well-known ones: PEM.
    pub authorities: Option<PathBuf>,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = match self.client_secret {
            Some(_) => "set, not shown",
            None => "none",
        };
        f.debug_struct("Oidc")
            .field("issuer", &self.issuer.0)
            .field("client_id", &self.client_id)
            .field("client_secret", &format_args!("{secret}"))
            .field("scopes", &self.scopes)
            .field("identity_claim", &self.identity_claim)
            .field("groups_claim", &self.groups_claim)
            .field("assume_s256", &self.assume_s256)
            .field("authorities", &self.authorities)
            .finish()
    }
}

/// The URL of an identity provider, byte for byte as it stands in its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

/// Why a text is no issuer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// No URL at all.
    #[error("'{0}' is no URL: write for example https://id.example.com")]
    Form(String),
    /// Anybody on the way could say who signs in.
    #[error("'{0}' is not reached by https")]
    Plain(String),
    /// OpenID Connect has no place for it.
    #[error("'{0}' has a query, a fragment or a user name: an issuer has none")]
    Extra(String),
}

impl Issuer {
    /// Takes an issuer.
    ///
    /// # Errors
    /// When it is no URL by https. Plain HTTP is taken where it does not leave this machine.
    pub fn new(text: &str) -> Result<Self, IssuerError> {
        let form = || IssuerError::Form(text.to_owned());
        let url: http::Uri = text.parse().map_err(|_| form())?;
        let host = url.host().ok_or_else(form)?;
        if text.contains(['?', '#', '@']) {
            return Err(IssuerError::Extra(text.to_owned()));
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let here = literal.parse::<IpAddr>().map_or(
            host == "localhost" || host.ends_with(".localhost"),
            |address| address.is_loopback(),
        );
        match url.scheme_str() {
            Some("https") => Ok(Self(text.to_owned())),
            Some("http") if here => Ok(Self(text.to_owned())),
            Some("http") => Err(IssuerError::Plain(text.to_owned())),
            _ => Err(form()),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secret of an OIDC client: no Debug, no Display, overwritten when it goes.
#[derive(Clone)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Takes it, without the line end that editors leave in files; none where nothing else is there.
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        let trimmed = text.trim_end_matches(['\r', '\n']);
        (!trimmed.is_empty()).then(|| Self(Zeroizing::new(trimmed.to_owned())))
    }

    /// For the request that redeems a code.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What one client, person or workspace may take. Whoever has more is refused and told so; nobody else notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all clients together; a process may open so many files, two for each that is forwarded.
    pub connections: u32,
    /// Connections of one address. Behind a balancer without the PROXY protocol all clients have one.
    pub connections_per_address: u32,
    /// Requests of one person under way at the same time, streams included.
    pub streams_per_user: u32,
    /// Requests to one workspace under way at the same time, streams included.
    pub streams_per_workspace: u32,
    /// Logins and callbacks of one address, a minute.
    pub logins_per_address: u32,
    /// Logins of one person, a minute.
    pub logins_per_user: u32,
    /// Answers 401 and 404 to one address, a minute.
    pub refusals_per_address: u32,
    /// How long a WebSocket or a small request waits for a workspace that starts.
    pub hold: Duration,
    /// Requests that wait so for one workspace.
    pub held_per_workspace: u32,
    /// Requests of one person that wait so.
    pub held_per_user: u32,
    /// How long a stream may be silent in both directions; none, for ever.
    pub silent_stream: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 9_000,
            connections_per_address: 4_096,
            streams_per_user: 1_024,
            streams_per_workspace: 2_048,
            logins_per_address: 120,
            logins_per_user: 30,
            refusals_per_address: 600,
            hold: Duration::from_secs(60),
            held_per_workspace: 32,
            held_per_user: 64,
            silent_stream: None,
        }
    }
}

/// How the proxy ends after SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long new connections are still taken: whoever sends them here learns of the end only after a while.
    pub lag: Duration,
    /// How long streams may live on after that.
    pub limit: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            lag: Duration::from_secs(5),
            limit: Duration::from_secs(300),
        }
    }
}

/// Whether an address is in one of the ranges. An IPv4 address counts as itself also on a socket of both families.
pub fn is_among(address: IpAddr, ranges: &[Cidr]) -> bool {
    let one = Cidr::of(address);
    ranges.iter().any(|range| range.contains(one))
}

#[cfg(test)]
mod tests;
