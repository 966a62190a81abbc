//! `workstead doctor`: which step of the way from a browser to a workspace is wrong, and what mends it.
//!
//! - `subject`: what is looked at; `cluster`: how the installation there is set up and fares.
//! - `names`, `certificate`, `provider`, `reach`: a judgement each, of what was seen.
//! - `fetch`: one request, as browsers and the proxy make them; `suffix`: what browsers take for one site.
//! - `report`: findings, for people and for programs.

mod certificate;
mod cluster;
mod fetch;
mod names;
mod provider;
mod reach;
mod report;
mod subject;
mod suffix;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::header;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::cli::args::ClusterArgs;
use crate::cli::connect::connect;
use crate::cli::doctor::fetch::{Fetcher, lookup};
use crate::cli::doctor::names::Lookup;
use crate::cli::doctor::report::{Finding, Report};
use crate::cli::doctor::subject::{Provider, Subject};
use crate::cli::doctor::suffix::SuffixList;
use crate::cli::error::CliError;
use crate::cli::output::{DataFormat, Screen};
use crate::cli::proxy::read_secret;
use crate::cli::values::{domain_name, label};
use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock;
use crate::model::names::DnsSubdomain;
use crate::proxy::config::Issuer;
use crate::proxy::host::{Scheme, Site};

/// Where Debian's package publicsuffix puts the list.
const SUFFIX_LIST: &str = "/usr/share/publicsuffix/public_suffix_list.dat";

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Namespace of the installation that is looked at
    #[arg(long, value_name = "NAMESPACE", default_value = "workstead-system", value_parser = label)]
    installation_namespace: String,
    /// Before anything is installed: the domain below which workspaces are to open. No cluster is asked then
    #[arg(long, value_name = "DOMAIN", value_parser = domain_name, requires = "oidc_issuer", requires = "oidc_client_id")]
    base_domain: Option<DnsSubdomain>,
    /// The host where people are to sign in [default: auth. before the domain]
    #[arg(long, value_name = "HOST", value_parser = domain_name, requires = "base_domain")]
    auth_host: Option<DnsSubdomain>,
    /// The port that browsers see
    #[arg(long, default_value_t = 443, requires = "base_domain", value_parser = clap::value_parser!(u16).range(1..))]
    public_port: u16,
    /// The issuer of the identity provider
    #[arg(long, value_name = "URL", value_parser = Issuer::new, requires = "base_domain")]
    oidc_issuer: Option<Issuer>,
    /// Our name there
    #[arg(long, value_name = "ID", requires = "base_domain")]
    oidc_client_id: Option<String>,
    /// Go on although it does not announce that it checks S256
    #[arg(long, requires = "base_domain")]
    oidc_assume_s256: bool,
    /// A file with the client's secret, where it can't be read in the cluster
    #[arg(long, value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// A file with certificates of authorities that browsers here trust, beside the well-known ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The proxy is at this address, whatever DNS says: to look at it before the names lead there
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect_to: Option<SocketAddr>,
    /// The Public Suffix List [default: that of the package publicsuffix]
    #[arg(long, value_name = "FILE")]
    public_suffix_list: Option<PathBuf>,
    /// How to write the answer [default: text]
    #[arg(short, long, value_enum)]
    output: Option<DataFormat>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long)]
    context: Option<String>,
    /// Path of the kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Looks at every step, and tells.
pub async fn run(arguments: DoctorArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let mut roots = system_roots();
    if let Some(path) = &arguments.ca_file {
        trust_file(&mut roots, path)?;
    }
    let (mut findings, subject, provider_roots) = match arguments.planned()? {
        Some(subject) => (Vec::new(), Some(subject), roots.clone()),
        None => arguments.installed(&roots).await?,
    };
    if let Some(subject) = subject {
        let browser = Fetcher {
            roots: Arc::new(roots),
            connect_to: arguments.connect_to,
        };
        let proxy = Fetcher {
            roots: Arc::new(provider_roots),
            connect_to: None,
        };
        let list = suffix_list(arguments.public_suffix_list.as_deref())?;
        look(&subject, &browser, &proxy, list.as_ref(), &mut findings).await;
    }
    let report = Report::new(findings);
    match arguments.output {
        Some(format) => screen.data(format, &report)?,
        None => {
            for finding in &report.findings {
                screen.print(&finding.text())?;
            }
        }
    }
    Ok(if report.well {
        ExitCode::SUCCESS
    } else {
        crate::cli::error::ANSWER_NO.into()
    })
}

/// Looks at what everybody has to reach.
async fn look(
    subject: &Subject,
    browser: &Fetcher,
    proxy: &Fetcher,
    list: Option<&SuffixList>,
    findings: &mut Vec<Finding>,
) {
    // Names that no workspace has: what answers there answers for all of them.
    let made_up = format!("doctor-{:08x}", rand::random::<u32>());
    let auth = subject.auth_host().to_owned();
    let workspaces = [None, Some(3000)].map(|port| subject.site.workspace_host(&made_up, port));
    findings.push(names::judge_layout(subject, list));
    if browser.connect_to.is_none() {
        let mut looked = Vec::new();
        for name in &workspaces {
            looked.push(look_up(name).await);
        }
        findings.push(names::judge_dns(subject, &look_up(&auth).await, &looked));
    }
    let mut shown = Vec::new();
    for host in workspaces.iter().chain([&auth]) {
        let answer = browser.certificate(host, subject.site.port()).await;
        shown.push((host.clone(), answer));
    }
    findings.push(certificate::judge(&shown, &browser.roots, UnixTime::now()));
    let (finding, their_date) = reach::look(browser, subject, &workspaces[0]).await;
    findings.push(finding);
    let (finding, metadata) = provider::look_at_provider(proxy, &subject.provider).await;
    findings.push(finding);
    let provider = &subject.provider;
    let mut dates = vec![("the proxy", their_date)];
    match metadata {
        Some((metadata, reply)) => {
            findings.push(provider::look_at_client(proxy, subject, provider, &metadata).await);
            findings.push(provider::look_at_redirect(proxy, subject, provider, &metadata).await);
            let date = reply.header(header::DATE).map(str::to_owned);
            dates.push(("the identity provider", date));
        }
        None => {
            for step in [provider::CLIENT, provider::REDIRECT] {
                findings.push(Finding::skipped(step, "the provider was not found"));
            }
        }
    }
    let dates: Vec<(&str, Option<&str>)> = dates
        .iter()
        .map(|(whose, date)| (*whose, date.as_deref()))
        .collect();
    findings.push(provider::judge_clock(SystemClock.now(), &dates));
}

async fn look_up(name: &str) -> Lookup {
    Lookup {
        name: name.to_owned(),
        answer: lookup(name)
            .await
            .map(|addresses| addresses.into_iter().collect()),
    }
}

impl DoctorArgs {
    /// What was typed about an installation that is still to be made.
    fn planned(&self) -> Result<Option<Subject>, CliError> {
        let (Some(domain), Some(issuer), Some(client_id)) =
            (&self.base_domain, &self.oidc_issuer, &self.oidc_client_id)
        else {
            return Ok(None);
        };
        let auth_host = match &self.auth_host {
            Some(host) => host.clone(),
            None => DnsSubdomain::new(format!("auth.{domain}"))?,
        };
        let client_secret = match &self.oidc_client_secret_file {
            Some(path) => Some(read_secret(path)?),
            None => None,
        };
        Ok(Some(Subject {
            installation: self.installation_namespace.clone(),
            site: Site::new(domain, &auth_host, Scheme::Https, Some(self.public_port))?,
            provider: Provider {
                issuer: issuer.as_str().to_owned(),
                client_id: client_id.clone(),
                client_secret,
                has_hidden_secret: false,
                assume_s256: self.oidc_assume_s256,
            },
        }))
    }

    /// What the cluster says.
    async fn installed(
        &self,
        roots: &RootCertStore,
    ) -> Result<(Vec<Finding>, Option<Subject>, RootCertStore), CliError> {
        let connection = connect(&ClusterArgs {
            namespace: None,
            context: self.context.clone(),
            kubeconfig: self.kubeconfig.clone(),
        })
        .await?;
        let found = cluster::look(&connection.client, &self.installation_namespace).await?;
        let mut findings = found.findings;
        let mut provider_roots = roots.clone();
        if let Some(pem) = &found.authorities {
            trust(&mut provider_roots, pem.as_bytes());
        }
        let mut subject = found.config.as_ref().and_then(Subject::of);
        if let Some(subject) = &mut subject {
            subject.provider.client_secret = match &self.oidc_client_secret_file {
                Some(path) => Some(read_secret(path)?),
                None => found.client_secret,
            };
            subject.provider.has_hidden_secret = found.has_hidden_secret;
        }
        if let Some(local) = found
            .config
            .as_ref()
            .and_then(|config| config.listeners.local())
        {
            findings.push(reach::look_at_local(local, &self.installation_namespace).await);
        }
        Ok((findings, subject, provider_roots))
    }
}

/// The authorities that this machine trusts.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn trust_file(roots: &mut RootCertStore, path: &Path) -> Result<(), CliError> {
    let failed = || {
        CliError::undone(format!(
            "failed to read certificates from {}",
            path.display()
        ))
    };
    let pem = std::fs::read(path).map_err(|error| failed().because(error))?;
    if trust(roots, &pem) == 0 {
        return Err(failed().seen("there is none in PEM form in it"));
    }
    Ok(())
}

/// Trusts the certificates of a PEM text, and says how many they are.
fn trust(roots: &mut RootCertStore, pem: &[u8]) -> usize {
    let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    roots.add_parsable_certificates(found).0
}

fn suffix_list(named: Option<&Path>) -> Result<Option<SuffixList>, CliError> {
    let path = named.unwrap_or(Path::new(SUFFIX_LIST));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(SuffixList::parse(&text))),
        Err(_) if named.is_none() => Ok(None),
        Err(error) => {
            Err(CliError::undone(format!("failed to read {}", path.display())).because(error))
        }
    }
}
