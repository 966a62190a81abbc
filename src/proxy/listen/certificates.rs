//! Certificates that listeners show, chosen by the name that a client asks for. New ones are put in while connections
//! go on.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate with its key and the names that it is good for.
#[derive(Clone)]
pub struct Certificate {
    names: Arc<[String]>,
    key: Arc<CertifiedKey>,
}

/// Why a pair of files is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM, or empty.
    #[error("the certificate is no PEM")]
    Certificate,
    /// Not PEM, or of a kind that TLS has no use for.
    #[error("the private key is no PEM of a key that TLS can use")]
    Key,
    /// They belong to different pairs.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// Nobody could ask for it.
    #[error("the certificate names no host")]
    NoName,
}

impl Certificate {
    /// Reads a chain and its key, as a Secret of type `kubernetes.io/tls` holds them.
    ///
    /// # Errors
    /// When either can't be read, or they don't belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|_| CertificateError::Certificate)?;
        let first = chain.first().ok_or(CertificateError::Certificate)?;
        let parsed = webpki::EndEntityCert::try_from(first);
        let parsed = parsed.map_err(|_| CertificateError::Certificate)?;
        let names: Vec<String> = parsed
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect();
        if names.is_empty() {
            return Err(CertificateError::NoName);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::Key)?;
        let key = any_supported_type(&key).map_err(|_| CertificateError::Key)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::Mismatch)?;
        Ok(Self {
            names: names.into(),
            key: Arc::new(key),
        })
    }

    /// The names, `*.` before those that stand for all of one domain.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// What listeners show.
#[derive(Default)]
pub struct Certificates {
    by_name: ArcSwap<HashMap<String, Certificate>>,
}

impl Certificates {
    /// Shows these from the next handshake on. Of two for one name the first counts.
    pub fn set(&self, certificates: &[Certificate]) {
        let mut by_name = HashMap::new();
        for certificate in certificates {
            for name in certificate.names() {
                by_name
                    .entry(name.clone())
                    .or_insert_with(|| certificate.clone());
            }
        }
        self.by_name.store(Arc::new(by_name));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.load().is_empty()
    }

    /// All names of the certificate that is shown for this one.
    pub fn names_beside(&self, name: &str) -> Arc<[String]> {
        self.find(name).map(|found| found.names).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<Certificate> {
        let name = name.to_ascii_lowercase();
        let by_name = self.by_name.load();
        let found = by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            by_name.get(&format!("*.{parent}"))
        });
        found.cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.load().keys()).finish()
    }
}

impl ResolvesServerCert for Certificates {
    /// A name that we have nothing for gets an alert instead of somebody else's certificate; so does none.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()?).map(|found| found.key)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pem(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key);
        (certificate.unwrap().pem(), key.serialize_pem())
    }

    fn certificate(names: &[&str]) -> Certificate {
        let (chain, key) = pem(names);
        Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_is_shown_its_own_certificate_and_nobody_elses() {
        let certificates = Certificates::default();
        assert!(certificates.is_empty());
        let (all, one) = (
            certificate(&["*.ws.example.com"]),
            certificate(&["Auth.ws.example.com"]),
        );
        certificates.set(&[all.clone(), one.clone()]);
        let shown = |name: &str, expected: Option<&Certificate>| {
            let found = certificates.find(name);
            let is_it = match (&found, expected) {
                (Some(found), Some(expected)) => Arc::ptr_eq(&found.key, &expected.key),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(is_it, "{name}");
        };
        shown("alice.ws.example.com", Some(&all));
        shown("ALICE.ws.example.com", Some(&all));
        shown("auth.ws.example.com", Some(&one));
        shown("ws.example.com", None);
        shown("a.b.ws.example.com", None);
        shown("other.test", None);
        certificates.set(std::slice::from_ref(&one));
        shown("alice.ws.example.com", None);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let ((chain, key), (_, other)) = (pem(&["a.test"]), pem(&["a.test"]));
        let read = |chain: &str, key: &str| {
            Certificate::from_pem(chain.as_bytes(), key.as_bytes()).map(|read| read.names.to_vec())
        };
        assert_eq!(read(&chain, &key).unwrap(), ["a.test"]);
        let error = |chain: &str, key: &str| read(chain, key).unwrap_err();
        assert!(matches!(error(&chain, &other), CertificateError::Mismatch));
        assert!(matches!(error(&chain, "x"), CertificateError::Key));
        assert!(matches!(error("x", &key), CertificateError::Certificate));
        let (nameless, key) = pem(&[]);
        assert!(matches!(error(&nameless, &key), CertificateError::NoName));
    }
}
