//! `workstead open`: the way into a workspace, in the browser.
//!
//! Where people sign in at an identity provider that is its address. On one machine without one it is a link that signs
//! in once, which whoever can read the key ring can make, and nobody else.

use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::api::Workspace;
use crate::cli::args::ClusterArgs;
use crate::cli::call::call;
use crate::cli::connect::{Connection, connect};
use crate::cli::error::CliError;
use crate::cli::output::{DataFormat, Screen};
use crate::cli::values::{domain, label};
use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock;
use crate::model::keyring::{KeyRing, RING_ENTRY};
use crate::model::names::{DnsSubdomain, PROXY_KEYS_SECRET};
use crate::proxy::host::{Scheme, Site};
use crate::proxy::login::link::mint_link;
use crate::proxy::session::Keys;
use crate::proxy::session::entropy::SystemEntropy;

/// Programs that show a page in the browser that the user prefers.
const OPENERS: [&str; 2] = ["xdg-open", "open"];
/// Nobody is at the port after so long: it is on this machine.
const CONNECT: Duration = Duration::from_secs(1);

/// Arguments of `open`.
#[derive(Args, Debug)]
pub struct OpenArgs {
    /// Name of the workspace
    #[arg(value_parser = domain)]
    name: String,
    /// A port of it instead of its editor
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Print the address, and open no browser
    #[arg(long)]
    print: bool,
    /// Whom a login link signs in, on one machine without an identity provider [default: the owner]
    #[arg(long, value_name = "USER")]
    r#as: Option<String>,
    /// Namespace of the installation
    #[arg(long, value_name = "NAMESPACE", default_value = "workstead-system", value_parser = label)]
    installation_namespace: String,
    /// How to write the answer; it opens no browser [default: text]
    #[arg(short, long, value_enum)]
    output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    namespace: &'a str,
    name: &'a str,
    url: &'a str,
    /// Whether the address signs in by itself, once.
    is_login_link: bool,
}

/// Opens a workspace.
pub async fn run(arguments: OpenArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let connection = connect(&arguments.cluster).await?;
    let api: Api<Workspace> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let what = format!("read Workspace {}/{}", connection.namespace, arguments.name);
    let workspace = call(&what, api.get(&arguments.name)).await?;
    let place = place(&arguments, &workspace)?;
    let is_login_link = place.site.scheme() == Scheme::Http;
    let url = if is_login_link {
        let user = arguments.r#as.as_deref().unwrap_or(&workspace.spec.owner);
        let link = login_link(&arguments, &connection, &place, user).await?;
        if !is_there(place.site.port()).await {
            screen.progress(&format!(
                "nothing listens on port {port} of this machine yet: kubectl -n {namespace} port-forward \
                 service/workstead-proxy-local {port}:8000 brings the proxy here",
                port = place.site.port(),
                namespace = arguments.installation_namespace,
            ));
        }
        link
    } else {
        format!("{}/", place.site.origin(&place.host))
    };
    if let Some(format) = arguments.output {
        let told = Told {
            namespace: &connection.namespace,
            name: &arguments.name,
            url: &url,
            is_login_link,
        };
        screen.data(format, &told)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.print && show(&url) {
        screen.progress(&format!("opened {} in the browser", place.host));
        return Ok(ExitCode::SUCCESS);
    }
    screen.print(&format!("{url}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a workspace opens.
struct Place {
    site: Site,
    host: String,
}

/// Reads it off the address in the status, which the controller writes.
fn place(arguments: &OpenArgs, workspace: &Workspace) -> Result<Place, CliError> {
    let name = &arguments.name;
    let status = workspace.status.as_ref();
    let url = status
        .and_then(|status| status.url.as_deref())
        .ok_or_else(|| {
            CliError::undone(format!("{name} has no address"))
                .next("ask an administrator to set up the proxy: docs/tasks/proxy.md")
        })?;
    let site = site_of(url, name).ok_or_else(|| {
        CliError::undone(format!("failed to read the address of {name}"))
            .seen(format!("status.url: {url}"))
    })?;
    let host = site.workspace_host(name, arguments.port);
    Ok(Place { site, host })
}

/// The names of the installation that has a workspace at this address.
fn site_of(url: &str, name: &str) -> Option<Site> {
    let url: http::Uri = url.parse().ok()?;
    let scheme = match url.scheme_str()? {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return None,
    };
    let domain = url.host()?.strip_prefix(name)?.strip_prefix('.')?;
    let domain = DnsSubdomain::new(domain).ok()?;
    // On one machine it is always this; by TLS nobody asks for it here.
    let auth_host = DnsSubdomain::new(format!("auth.{domain}")).ok()?;
    Site::new(&domain, &auth_host, scheme, url.port_u16()).ok()
}

/// Makes a link that signs a user in once, with the user's own rights to the key ring.
async fn login_link(
    arguments: &OpenArgs,
    connection: &Connection,
    place: &Place,
    user: &str,
) -> Result<String, CliError> {
    let namespace = &arguments.installation_namespace;
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    let secret = match secrets.get(PROXY_KEYS_SECRET).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            return Err(CliError::undone("you may not make login links here")
                .seen(&status.message)
                .next("ask an administrator for one: whoever can read the key ring can sign in as anybody, so its readers are few"));
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            return Err(CliError::undone(format!("there is no key ring in namespace {namespace}"))
                .seen(&status.message)
                .next("say where Workstead is: --installation-namespace; or look whether the controller is well: workstead doctor"));
        }
        other => {
            call(
                &format!("read Secret {namespace}/{PROXY_KEYS_SECRET}"),
                std::future::ready(other),
            )
            .await?
        }
    };
    let text = secret.data.and_then(|mut data| data.remove(RING_ENTRY));
    let text = Zeroizing::new(text.map(|text| text.0).unwrap_or_default());
    let broken = || {
        CliError::undone(format!(
            "failed to read Secret {namespace}/{PROXY_KEYS_SECRET}"
        ))
    };
    let ring = KeyRing::parse(&text).map_err(|error| broken().because(error))?;
    let keys = Keys::new(&ring).map_err(|error| broken().because(error))?;
    let minted = mint_link(
        &keys.load(),
        &place.site,
        &place.host,
        user,
        SystemClock.now(),
        &SystemEntropy,
    );
    minted.map_err(|error| CliError::undone("failed to make a login link").because(error))
}

/// Whether somebody listens on a port of this machine.
async fn is_there(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    matches!(
        timeout(CONNECT, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}

/// Shows a page, where there is a program for that and a screen to show it on.
fn show(url: &str) -> bool {
    let has_screen = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
    has_screen
        && OPENERS.iter().any(|program| {
            let started = Command::new(program)
                .arg(url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            started.is_ok_and(|status| status.success())
        })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "https://alice-api.work.example.com",
        Some("https://3000-alice-api.work.example.com")
    )]
    #[case(
        "https://alice-api.work.example.com:8443",
        Some("https://3000-alice-api.work.example.com:8443")
    )]
    #[case(
        "http://alice-api.workstead.localhost:8000",
        Some("http://3000-alice-api.workstead.localhost:8000")
    )]
    #[case("http://alice-api.work.example.com", None)]
    #[case("https://bob-api.work.example.com", None)]
    #[case("https://alice-api", None)]
    #[case("ftp://alice-api.work.example.com", None)]
    fn the_address_of_a_port_is_beside_that_of_the_workspace(
        #[case] url: &str,
        #[case] expected: Option<&str>,
    ) {
        let site = site_of(url, "alice-api");
        let origin = site.map(|site| site.origin(&site.workspace_host("alice-api", Some(3000))));
        assert_eq!(origin.as_deref(), expected);
    }
}
