//! `workstead proxy`: flags, environment and chart values become one typed configuration.

mod parts;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::args::ClusterArgs;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::logs::LogArgs;
use crate::cli::role::until_ended;
use crate::cli::values::{duration, label, label_name, range};
use crate::controllers::clock::SystemClock;
use crate::model::names::DnsLabel;
use crate::model::net::Cidr;
use crate::proxy;
use crate::proxy::app::run::Parts;
use crate::proxy::config::{Config, Drain, Listeners};
use crate::proxy::observe::metrics::ProxyMetrics;
use crate::proxy::route::metrics::RouteMetrics;
use crate::proxy::route::supervisors::SessionSettings;
use crate::proxy::session::entropy::SystemEntropy;
use crate::telemetry::Health;
use clap::{ArgAction, Args};

pub use self::parts::read_secret;
use self::parts::{LimitArgs, LocalArgs, OidcArgs, TlsArgs};

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
    /// Whether each request is written to standard output
    #[arg(long, env = "WORKSTEAD_ACCESS_LOG", hide_env_values = true, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    access_log: bool,
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
            listeners: Listeners::new(self.tls.listener(&self.oidc)?, self.local.listener()?)
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
    let writes_access = arguments.access_log;
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
        writes_access,
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
    use crate::proxy::config::{ClientSecret, Limits};

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
