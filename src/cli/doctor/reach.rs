//! Whether what answers is the proxy.

use std::sync::Arc;

use http::header;
use rustls::RootCertStore;

use crate::cli::doctor::fetch::{FetchError, Fetcher, Reply};
use crate::cli::doctor::report::Finding;
use crate::cli::doctor::subject::Subject;
use crate::proxy::config::LocalListener;

/// This step.
pub const REACH: &str = "reachability";
/// This step.
pub const LOCAL: &str = "this machine";

/// Asks the auth host and a workspace that nobody made. Says the time that the proxy has, too.
pub async fn look(browser: &Fetcher, subject: &Subject, nobody: &str) -> (Finding, Option<String>) {
    let auth = subject.auth_host();
    let mut date = None;
    for host in [auth, nobody] {
        let url = format!("{}/", subject.site.origin(host));
        match browser.get(&url).await {
            Err(error) => return (unreached(host, &error), date),
            Ok(reply) if !is_ours(&reply) => {
                let finding = Finding::wrong(REACH, format!("somebody else answers for {host}"))
                    .seen(format!("{}: {}", reply.status, reply.excerpt()))
                    .fix("let what stands before the proxy hand TLS through to the Service workstead-proxy, for all of its names");
                return (finding, date);
            }
            Ok(reply) => date = reply.header(header::DATE).map(str::to_owned),
        }
    }
    let summary = format!("the proxy answers for {auth} and *.{}", subject.domain());
    (Finding::good(REACH, summary), date)
}

fn unreached(host: &str, error: &FetchError) -> Finding {
    match error {
        FetchError::Tls(..) | FetchError::Lookup(..) => Finding::skipped(
            REACH,
            format!("{host} is not reached, as the steps above say"),
        ),
        _ => Finding::wrong(REACH, format!("{host} does not answer"))
            .seen(error.to_string())
            .fix("look whether the Service workstead-proxy has an address, and what is between here and there"),
    }
}

/// Asks the listener for this machine.
pub async fn look_at_local(local: &LocalListener, namespace: &str) -> Finding {
    let site = &local.site;
    let port = site.port();
    // Browsers take these names for this machine, whatever DNS says.
    let here = Fetcher {
        roots: Arc::new(RootCertStore::empty()),
        connect_to: Some(([127, 0, 0, 1], port).into()),
    };
    let url = format!("{}/", site.origin(site.auth_host()));
    let forward = format!(
        "bring it here: kubectl -n {namespace} port-forward service/workstead-proxy-local {port}:8000"
    );
    match here.get(&url).await {
        Ok(reply) if is_ours(&reply) => Finding::good(
            LOCAL,
            format!(
                "the proxy answers at {}",
                site.origin(&format!("<workspace>.{}", site.domain()))
            ),
        ),
        Ok(reply) => Finding::wrong(LOCAL, format!("somebody else listens on port {port} here"))
            .seen(format!("{}: {}", reply.status, reply.excerpt()))
            .fix(forward),
        Err(error) => Finding::warning(LOCAL, format!("nothing listens on port {port} here"))
            .seen(error.to_string())
            .fix(forward),
    }
}

/// Whether an answer is one of the proxy's own.
fn is_ours(reply: &Reply) -> bool {
    reply.headers.contains_key(crate::proxy::door::MARK)
}
