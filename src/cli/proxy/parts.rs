//! The groups of arguments of `workstead proxy`, each with what it comes to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::values::{domain_name, duration, range};
use crate::model::names::DnsSubdomain;
use crate::model::net::Cidr;
use crate::proxy::config::{ClientSecret, Issuer, Limits, LocalListener, Oidc, TlsListener};
use crate::proxy::host::{Scheme, Site};

/// Longest file with a client's secret.
const SECRET_LIMIT: u64 = 64 * 1024;

/// The listener by TLS. A domain switches it on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// The domain below which workspaces open, for example work.example.com
    #[arg(long, env = "WORKSTEAD_BASE_DOMAIN", hide_env_values = true, value_parser = domain_name, requires = "certificates", requires = "oidc_issuer")]
    base_domain: Option<DnsSubdomain>,
    /// The host where people sign in; best of another domain [default: auth. before the domain]
    #[arg(long, env = "WORKSTEAD_AUTH_HOST", hide_env_values = true, value_parser = domain_name, requires = "base_domain")]
    auth_host: Option<DnsSubdomain>,
    /// Where to listen
    #[arg(
        long,
        env = "WORKSTEAD_TLS_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8443"
    )]
    tls_address: SocketAddr,
    /// The port that browsers see
    #[arg(long, env = "WORKSTEAD_PUBLIC_PORT", hide_env_values = true, default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    public_port: u16,
    /// Secrets of the installation's namespace with certificates for both, as cert-manager makes them
    #[arg(long, env = "WORKSTEAD_CERTIFICATES", hide_env_values = true, value_name = "SECRET", value_delimiter = ',', value_parser = domain_name)]
    certificates: Vec<DnsSubdomain>,
    /// Ranges of balancers that say by the PROXY protocol whom they bring, and have to [default: nobody does]
    #[arg(long, env = "WORKSTEAD_PROXY_PROTOCOL_FROM", hide_env_values = true, value_name = "RANGE", value_delimiter = ',', value_parser = range)]
    proxy_protocol_from: Vec<Cidr>,
}

/// The identity provider.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Identity provider (OpenID Connect)")]
pub(super) struct OidcArgs {
    /// Its issuer, for example https://id.example.com
    #[arg(long, env = "WORKSTEAD_OIDC_ISSUER", hide_env_values = true, value_name = "URL", value_parser = Issuer::new, requires = "oidc_client_id")]
    oidc_issuer: Option<Issuer>,
    /// Our name there
    #[arg(
        long,
        env = "WORKSTEAD_OIDC_CLIENT_ID",
        hide_env_values = true,
        value_name = "ID"
    )]
    oidc_client_id: Option<String>,
    /// A file with the client's secret [default: a public client, which has none]
    #[arg(
        long,
        env = "WORKSTEAD_OIDC_CLIENT_SECRET_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    oidc_client_secret_file: Option<PathBuf>,
    /// What is asked for; add the scope that brings groups
    #[arg(
        long,
        env = "WORKSTEAD_OIDC_SCOPES",
        hide_env_values = true,
        value_name = "SCOPE",
        value_delimiter = ',',
        default_value = "openid,profile,email"
    )]
    oidc_scopes: Vec<String>,
    /// The claim that is compared with spec.owner and spec.shared.users
    #[arg(
        long,
        env = "WORKSTEAD_OIDC_IDENTITY_CLAIM",
        hide_env_values = true,
        value_name = "CLAIM",
        default_value = "email"
    )]
    oidc_identity_claim: String,
    /// The claim with the groups of spec.shared.groups
    #[arg(
        long,
        env = "WORKSTEAD_OIDC_GROUPS_CLAIM",
        hide_env_values = true,
        value_name = "CLAIM",
        default_value = "groups"
    )]
    oidc_groups_claim: String,
    /// Go on although it does not announce that it checks S256
    #[arg(long, env = "WORKSTEAD_OIDC_ASSUME_S256", hide_env_values = true)]
    oidc_assume_s256: bool,
    /// A file with certificates of authorities that vouch for it, beside the well-known ones
    #[arg(
        long,
        env = "WORKSTEAD_OIDC_CA_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    oidc_ca_file: Option<PathBuf>,
}

/// The listener for this machine. A domain switches it on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Plain HTTP for this machine alone")]
pub(super) struct LocalArgs {
    /// Answer names below this one by plain HTTP, to who has a login link; it ends with .localhost
    #[arg(long, env = "WORKSTEAD_LOCAL_DOMAIN", hide_env_values = true, value_name = "DOMAIN", value_parser = domain_name)]
    local_domain: Option<DnsSubdomain>,
    /// Where to listen
    #[arg(
        long,
        env = "WORKSTEAD_LOCAL_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8000"
    )]
    local_address: SocketAddr,
    /// The port that browsers see
    #[arg(long, env = "WORKSTEAD_LOCAL_PORT", hide_env_values = true, default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..))]
    local_port: u16,
}

/// What one client, person or workspace may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Connections of all clients
    #[arg(long, env = "WORKSTEAD_LIMIT_CONNECTIONS", hide_env_values = true, value_name = "COUNT", default_value_t = 9_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit_connections: u32,
    /// Connections of one address; behind a balancer without the PROXY protocol all clients have one
    #[arg(long, env = "WORKSTEAD_LIMIT_CONNECTIONS_PER_ADDRESS", hide_env_values = true, value_name = "COUNT", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..))]
    limit_connections_per_address: u32,
    /// Requests of one person at the same time, streams included
    #[arg(long, env = "WORKSTEAD_LIMIT_STREAMS_PER_USER", hide_env_values = true, value_name = "COUNT", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    limit_streams_per_user: u32,
    /// Requests to one workspace at the same time, streams included
    #[arg(long, env = "WORKSTEAD_LIMIT_STREAMS_PER_WORKSPACE", hide_env_values = true, value_name = "COUNT", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..))]
    limit_streams_per_workspace: u32,
    /// Logins of one address a minute
    #[arg(long, env = "WORKSTEAD_LIMIT_LOGINS_PER_ADDRESS", hide_env_values = true, value_name = "COUNT", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    limit_logins_per_address: u32,
    /// Logins of one person a minute
    #[arg(long, env = "WORKSTEAD_LIMIT_LOGINS_PER_USER", hide_env_values = true, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    limit_logins_per_user: u32,
    /// Answers 401 and 404 to one address a minute
    #[arg(long, env = "WORKSTEAD_LIMIT_REFUSALS_PER_ADDRESS", hide_env_values = true, value_name = "COUNT", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    limit_refusals_per_address: u32,
    /// How long a WebSocket or a small request waits for a workspace that starts
    #[arg(long, env = "WORKSTEAD_LIMIT_HOLD", hide_env_values = true, value_name = "TIME", default_value = "60s", value_parser = duration)]
    limit_hold: Duration,
    /// Requests that wait so for one workspace
    #[arg(
        long,
        env = "WORKSTEAD_LIMIT_HELD_PER_WORKSPACE",
        hide_env_values = true,
        value_name = "COUNT",
        default_value_t = 32
    )]
    limit_held_per_workspace: u32,
    /// Requests of one person that wait so
    #[arg(
        long,
        env = "WORKSTEAD_LIMIT_HELD_PER_USER",
        hide_env_values = true,
        value_name = "COUNT",
        default_value_t = 64
    )]
    limit_held_per_user: u32,
    /// How long a stream may be silent in both directions [default: for ever]
    #[arg(long, env = "WORKSTEAD_LIMIT_SILENT_STREAM", hide_env_values = true, value_name = "TIME", value_parser = duration)]
    limit_silent_stream: Option<Duration>,
}

impl TlsArgs {
    pub(super) fn listener(&self, oidc: &OidcArgs) -> Result<Option<TlsListener>, CliError> {
        let Some(domain) = &self.base_domain else {
            return Ok(None);
        };
        let auth_host = match &self.auth_host {
            Some(host) => host.clone(),
            None => DnsSubdomain::new(format!("auth.{domain}"))?,
        };
        let site = Site::new(domain, &auth_host, Scheme::Https, Some(self.public_port))?;
        let Some(oidc) = oidc.oidc()? else {
            return Err(
                CliError::undone(format!("nobody could sign in at {auth_host}"))
                    .next("name the identity provider: --oidc-issuer and --oidc-client-id"),
            );
        };
        Ok(Some(TlsListener {
            address: self.tls_address,
            site,
            certificates: self.certificates.clone(),
            proxy_protocol_from: self.proxy_protocol_from.clone(),
            oidc,
        }))
    }
}

impl OidcArgs {
    fn oidc(&self) -> Result<Option<Oidc>, CliError> {
        let (Some(issuer), Some(client_id)) = (&self.oidc_issuer, &self.oidc_client_id) else {
            return Ok(None);
        };
        let client_secret = match &self.oidc_client_secret_file {
            Some(path) => Some(read_secret(path)?),
            None => None,
        };
        Ok(Some(Oidc {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret,
            scopes: self.oidc_scopes.clone(),
            identity_claim: self.oidc_identity_claim.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            assume_s256: self.oidc_assume_s256,
            authorities: self.oidc_ca_file.clone(),
        }))
    }
}

impl LocalArgs {
    pub(super) fn listener(&self) -> Result<Option<LocalListener>, CliError> {
        let Some(domain) = &self.local_domain else {
            return Ok(None);
        };
        let auth_host = DnsSubdomain::new(format!("auth.{domain}"))?;
        Ok(Some(LocalListener {
            address: self.local_address,
            site: Site::new(domain, &auth_host, Scheme::Http, Some(self.local_port))?,
        }))
    }
}

impl LimitArgs {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.limit_connections,
            connections_per_address: self.limit_connections_per_address,
            streams_per_user: self.limit_streams_per_user,
            streams_per_workspace: self.limit_streams_per_workspace,
            logins_per_address: self.limit_logins_per_address,
            logins_per_user: self.limit_logins_per_user,
            refusals_per_address: self.limit_refusals_per_address,
            hold: self.limit_hold,
            held_per_workspace: self.limit_held_per_workspace,
            held_per_user: self.limit_held_per_user,
            silent_stream: self.limit_silent_stream,
        }
    }
}

/// Reads a file with one secret in it.
///
/// # Errors
/// When it can't be read, or nothing is in it.
pub fn read_secret(path: &Path) -> Result<ClientSecret, CliError> {
    use std::io::Read;
    let failed = || CliError::undone(format!("failed to read a secret from {}", path.display()));
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_LIMIT).read_to_string(&mut text))
        .map_err(|error| failed().because(error))?;
    ClientSecret::new(text).ok_or_else(|| failed().seen("nothing is in it"))
}
