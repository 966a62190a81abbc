//! What the proxy shows in TLS, judged as a browser would.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error, RootCertStore};

use crate::cli::doctor::fetch::{FetchError, Shown};
use crate::cli::doctor::report::Finding;

/// This step.
pub const CERTIFICATE: &str = "certificate";

/// A certificate that ends sooner than this should have been renewed.
const RENEWAL: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where certificates come from, for the fix.
const WHERE: &str = "the Secrets of proxy.tls.certificates";

/// Judges the certificates of the hosts that were asked.
pub fn judge(
    hosts: &[(String, Result<Shown, FetchError>)],
    roots: &Arc<RootCertStore>,
    now: UnixTime,
) -> Finding {
    for (host, shown) in hosts {
        match shown {
            Err(error) => return unreachable_by_tls(host, error),
            Ok(shown) => {
                if let Err(error) = &shown.verdict {
                    return refused(host, shown, error);
                }
            }
        }
    }
    let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + RENEWAL);
    let soon = hosts.iter().find(|(_, shown)| {
        shown
            .as_ref()
            .is_ok_and(|shown| !shown.is_valid_at(roots, later))
    });
    if let Some((host, _)) = soon {
        return Finding::warning(
            CERTIFICATE,
            format!(
                "the certificate of {host} ends within {} days",
                RENEWAL.as_secs() / 86_400
            ),
        )
        .fix(format!(
            "renew it: {WHERE}; the proxy takes a new one without a restart"
        ));
    }
    let names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
    Finding::good(
        CERTIFICATE,
        format!("browsers take those of {}", names.join(", ")),
    )
}

fn unreachable_by_tls(host: &str, error: &FetchError) -> Finding {
    let finding =
        Finding::wrong(CERTIFICATE, format!("{host} shows no certificate")).seen(error.to_string());
    match error {
        FetchError::Connect(..) => finding.fix(
            "let port 443 of the names lead to the Service workstead-proxy, and look whether a firewall is between",
        ),
        FetchError::Lookup(..) => finding.fix("see the step DNS"),
        _ => finding.fix(format!(
            "look whether {WHERE} are there and cover the host, and whether what stands before the proxy hands TLS through"
        )),
    }
}

fn refused(host: &str, shown: &Shown, error: &Error) -> Finding {
    let finding = |summary: String| {
        Finding::wrong(CERTIFICATE, summary)
            .seen(error.to_string())
            .seen(format!("certificates shown: {}", shown.chain.len()))
    };
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => finding(format!("the certificate of {host} has ended"))
            .fix(format!("renew it: {WHERE}; the proxy takes a new one without a restart")),
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => finding(format!("the certificate of {host} is not valid yet"))
            .fix("look at the clocks, here and where it was made"),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => finding(format!("the certificate does not cover {host}")).fix(format!(
            "one of {WHERE} has to name it; a wildcard covers one label, and not the domain itself"
        )),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) if shown.chain.len() == 1 => {
            finding(format!("browsers do not know who made the certificate of {host}")).fix(
                "put the certificates between it and its authority after it in tls.crt; \
                 with an authority of your own, let browsers trust it, and name it here with --ca-file",
            )
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            finding(format!("browsers do not know the authority of the certificate of {host}"))
                .fix("let them trust it, and name it here with --ca-file; or take a certificate of a well-known one")
        }
        _ => finding(format!("browsers refuse the certificate of {host}"))
            .fix(format!("make another one for {WHERE}")),
    }
}
