//! `workstead proxy`: flags, environment and chart values become one typed configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::args::ClusterArgs;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::logs::LogArgs;
use crate::cli::role::until_ended;
use crate::cli::values::{domain_name, duration, label, label_name, range};
use crate::controllers::clock::SystemClock;
use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::model::net::Cidr;
use crate::proxy;
use crate::proxy::app::run::Parts;
use crate::proxy::config::{
    ClientSecret, Config, Drain, Issuer, Limits, Listeners, LocalListener, Oidc, TlsListener,
};
use crate::proxy::host::{Scheme, Site};
use crate::proxy::observe::metrics::ProxyMetrics;
use crate::proxy::route::metrics::RouteMetrics;
use crate::proxy::route::supervisors::SessionSettings;
use crate::proxy::session::entropy::SystemEntropy;
use crate::telemetry::Health;

/// Longest file with a client's secret.
const SECRET_LIMIT: u64 = 64 * 1024;

/// Arguments of `proxy`: each can be given by its environment variable too, which is how the chart does it.
#[derive(Args, Clone, Debug)]
pub struct ProxyArgs {
    /// The installation's namespace: key ring, certificates and revocations live here
    #[arg(long, env = "WORKSTEAD_NAMESPACE", hide_env_values = true, default_value = "workstead-system", value_parser = label_name)]
    namespace: DnsLabel,
    /// Which replica this is: the name of the pod [default: a random one]
    #[arg(long, env = "WORKSTEAD_IDENTITY", hide_env_values = true)]
    identity: Option<String>,
    /// Serve the Workspaces of this namespace alone [default: all]
    #[arg(long, env = "WORKSTEAD_WATCH_NAMESPACE", hide_env_values = true, value_parser = label_name)]
    watch_namespace: Option<DnsLabel>,
    /// The listener for everybody.
    #[command(flatten)]
    tls: TlsArgs,
    /// Who signs in there.
    #[command(flatten)]
    oidc: OidcArgs,
    /// The listener for this machine.
    #[command(flatten)]
    local: LocalArgs,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(
        long,
        env = "WORKSTEAD_HEALTH_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8080"
    )]
    health_address: SocketAddr,
    /// Ranges of balancers whose X-Forwarded-For and Forwarded are believed [default: nobody's]
    #[arg(long, env = "WORKSTEAD_TRUSTED_FORWARDERS", hide_env_values = true, value_name = "RANGE", value_delimiter = ',', value_parser = range)]
    trusted_forwarders: Vec<Cidr>,
    /// Addresses that no pod may have: services, nodes, the API server
    #[arg(long, env = "WORKSTEAD_DENIED_ADDRESSES", hide_env_values = true, value_name = "RANGE", value_delimiter = ',', value_parser = range)]
    denied_addresses: Vec<Cidr>,
    /// Ports of workspaces that nobody reaches, their owner neither
    #[arg(long, env = "WORKSTEAD_DENIED_PORTS", hide_env_values = true, value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    denied_ports: Vec<u16>,
    /// Paths that pages ask for by themselves: such a request is no sign that somebody is there
    #[arg(long, env = "WORKSTEAD_KEEP_ALIVE_PATHS", hide_env_values = true, value_name = "PATH", value_delimiter = ',', value_parser = path)]
    keep_alive_paths: Vec<String>,
    /// Names that no workspace opens under, beside auth, ssh and hub
    #[arg(long = "reserved-name", env = "WORKSTEAD_RESERVED_NAMES", hide_env_values = true, value_name = "NAME", value_delimiter = ',', value_parser = label)]
    reserved_names: Vec<String>,
    /// What one may take.
    #[command(flatten)]
    limits: LimitArgs,
    /// How long new connections are still taken when it is to end
    #[arg(long, env = "WORKSTEAD_DRAIN_LAG", hide_env_values = true, default_value = "5s", value_parser = duration)]
    drain_lag: Duration,
    /// How long streams may live on after that
    #[arg(long, env = "WORKSTEAD_DRAIN_LIMIT", hide_env_values = true, default_value = "5m", value_parser = duration)]
    drain_limit: Duration,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
    /// Path of a kubeconfig [default: the pod's ServiceAccount, or $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The listener by TLS. A domain switches it on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
struct TlsArgs {
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
struct OidcArgs {
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
struct LocalArgs {
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
struct LimitArgs {
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

impl ProxyArgs {
    /// The configuration of the proxy.
    ///
    /// # Errors
    /// When parts of it contradict each other, or a file can't be read.
    pub fn config(&self) -> Result<Config, CliError> {
        let identity = self.identity.clone();
        Ok(Config {
            namespace: self.namespace.clone(),
            identity: identity
                .unwrap_or_else(|| format!("workstead-proxy-{:08x}", rand::random::<u32>())),
            watch_namespace: self.watch_namespace.clone(),
            listeners: Listeners::new(self.tls_listener()?, self.local.listener()?)
                .map_err(|error| CliError::undone(error.to_string()).next(
                    "--base-domain switches TLS on, --local-domain plain HTTP for this machine; each has its own domain",
                ))?,
            health_address: self.health_address,
            trusted_forwarders: self.trusted_forwarders.clone(),
            denied_addresses: self.denied_addresses.clone(),
            denied_ports: self.denied_ports.clone(),
            keep_alive_paths: self.keep_alive_paths.clone(),
            reserved_names: self.reserved_names.clone(),
            limits: self.limits.limits(),
            drain: Drain {
                lag: self.drain_lag,
                limit: self.drain_limit,
            },
        })
    }

    fn tls_listener(&self) -> Result<Option<TlsListener>, CliError> {
        let Some(domain) = &self.tls.base_domain else {
            return Ok(None);
        };
        let auth_host = match &self.tls.auth_host {
            Some(host) => host.clone(),
            None => DnsSubdomain::new(format!("auth.{domain}"))?,
        };
        let site = Site::new(
            domain,
            &auth_host,
            Scheme::Https,
            Some(self.tls.public_port),
        )?;
        let Some(oidc) = self.oidc.oidc()? else {
            return Err(
                CliError::undone(format!("nobody could sign in at {auth_host}"))
                    .next("name the identity provider: --oidc-issuer and --oidc-client-id"),
            );
        };
        Ok(Some(TlsListener {
            address: self.tls.tls_address,
            site,
            certificates: self.tls.certificates.clone(),
            proxy_protocol_from: self.tls.proxy_protocol_from.clone(),
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
    fn listener(&self) -> Result<Option<LocalListener>, CliError> {
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
    fn limits(&self) -> Limits {
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

fn path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
    if text.starts_with('/') && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is no path: write for example /healthz"))
}

/// Runs the proxy until a signal ends it.
pub async fn run(arguments: ProxyArgs) -> Result<ExitCode, CliError> {
    let config = arguments.config()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = ?config,
        kubeconfig = ?arguments.kubeconfig,
        "starting"
    );
    let connection = connect(&ClusterArgs {
        namespace: None,
        context: None,
        kubeconfig: arguments.kubeconfig,
    })
    .await?;
    let routes = RouteMetrics::default();
    let parts = Parts {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        metrics: Arc::new(ProxyMetrics::new(&routes)),
        routes,
        health: Health::new(),
        sessions: SessionSettings::default(),
        allows_loopback: false,
        writes_access: true,
    };
    until_ended(|shutdown| {
        Box::pin(proxy::app::run::run(
            config,
            connection.client,
            parts,
            shutdown,
        ))
    })
    .await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Typed {
        #[command(flatten)]
        proxy: ProxyArgs,
    }

    const TLS: [&str; 4] = [
        "--base-domain=ws.example.com",
        "--certificates=wildcard,auth",
        "--oidc-issuer=https://id.example.com/realm",
        "--oidc-client-id=workstead",
    ];

    fn typed(arguments: &[&str]) -> Result<Config, String> {
        let all = ["workstead"].iter().chain(arguments);
        let typed = Typed::try_parse_from(all).map_err(|error| error.to_string())?;
        typed
            .proxy
            .config()
            .map_err(|error| format!("{} {:?} {:?}", error.cause, error.evidence, error.next_step))
    }

    fn typed_with_tls(arguments: &[&str]) -> Result<Config, String> {
        typed(&[&TLS[..], arguments].concat())
    }

    #[test]
    fn without_a_word_about_them_limits_and_drain_are_what_the_code_says() {
        let config = typed(&["--local-domain=workstead.localhost"]).unwrap();
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.drain, Drain::default());
        assert!(config.listeners.tls().is_none() && config.oidc().is_none());
        let site = &config.listeners.local().unwrap().site;
        assert_eq!(
            site.origin("a.workstead.localhost"),
            "http://a.workstead.localhost:8000"
        );
        assert_eq!(site.auth_host(), "auth.workstead.localhost");
    }

    #[test]
    fn tls_takes_its_names_certificates_and_identity_provider() {
        let config = typed_with_tls(&[
            "--public-port=8443",
            "--auth-host=login.example.net",
            "--proxy-protocol-from=10.0.0.0/8,192.0.2.1",
        ])
        .unwrap();
        let tls = config.listeners.tls().unwrap();
        assert_eq!(tls.site.auth_host(), "login.example.net");
        assert_eq!(
            tls.site.origin("a.ws.example.com"),
            "https://a.ws.example.com:8443"
        );
        assert_eq!(tls.certificates.len(), 2);
        let ranges: Vec<String> = tls
            .proxy_protocol_from
            .iter()
            .map(Cidr::to_string)
            .collect();
        assert_eq!(ranges, ["10.0.0.0/8", "192.0.2.1/32"]);
        let oidc = config.oidc().unwrap();
        assert_eq!(oidc.issuer.as_str(), "https://id.example.com/realm");
        assert_eq!(oidc.scopes, ["openid", "profile", "email"]);
        assert!(oidc.client_secret.is_none());
        let other = typed_with_tls(&[]).unwrap();
        let site = &other.listeners.tls().unwrap().site;
        assert_eq!(site.auth_host(), "auth.ws.example.com");
    }

    #[test]
    fn the_secret_of_the_client_comes_from_a_file_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let argument = format!("--oidc-client-secret-file={}", file.display());
        let error = typed_with_tls(&[&argument]).unwrap_err();
        assert!(error.contains("failed to read a secret"), "{error}");
        std::fs::write(&file, "\n").unwrap();
        let error = typed_with_tls(&[&argument]).unwrap_err();
        assert!(error.contains("nothing is in it"), "{error}");
        std::fs::write(&file, "canary-11b8\n").unwrap();
        let config = typed_with_tls(&[&argument]).unwrap();
        let secret = config.oidc().unwrap().client_secret.as_ref();
        assert_eq!(secret.map(ClientSecret::expose), Some("canary-11b8"));
        let printed = format!("{config:?}");
        assert!(!printed.contains("canary-11b8"), "{printed}");
    }

    #[test]
    fn what_can_not_work_is_refused_before_anything_starts() {
        for (arguments, named) in [
            (&[][..], "listen nowhere"),
            (&["--local-domain=ws.example.com"], "*.localhost"),
            (&["--local-domain=Ws.localhost"], "--local-domain"),
            (&["--base-domain=ws.example.com"], "--certificates"),
            (
                &[
                    "--base-domain=ws.example.com",
                    "--certificates=a",
                    "--oidc-issuer=https://id.example.com",
                ],
                "--oidc-client-id",
            ),
            (&["--auth-host=login.example.net"], "--base-domain"),
        ] {
            let error = typed(arguments).unwrap_err();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
        for (argument, named) in [
            ("--oidc-issuer=http://id.example.com", "https"),
            ("--oidc-issuer=https://id.example.com?a", "query"),
            ("--auth-host=login.ws.example.com", "looks like a workspace"),
            ("--local-domain=localhost.ws.example.com", "*.localhost"),
            ("--trusted-forwarders=10.0.0.0/33", "--trusted-forwarders"),
            ("--denied-ports=0", "--denied-ports"),
            ("--keep-alive-paths=healthz", "is no path"),
            ("--drain-limit=soon", "--drain-limit"),
            ("--limit-connections=0", "--limit-connections"),
        ] {
            let error = typed_with_tls(&[argument]).unwrap_err();
            assert!(error.contains(named), "{argument}: {error}");
        }
    }
}
