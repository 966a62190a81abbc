//! A supervisor is known by its key alone, which the status of the Workspace names: so a workspace can't pass for another
//! one, though all have the same issuer.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use sha2::{Digest, Sha256};

/// Name in the certificate of every supervisor. Nobody looks at it: the key counts.
pub const SUPERVISOR_NAME: &str = "workspace.invalid";

/// SHA-256 over a public key as certificates carry it (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKeyDigest([u8; 32]);

impl PublicKeyDigest {
    /// That of a key as certificates carry it.
    pub fn of(info: &[u8]) -> Self {
        Self(Sha256::digest(info).into())
    }

    /// That of a certificate in PEM; none when it is no certificate.
    pub fn of_certificate(pem: &str) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Self::of_der(&certificate)
    }

    /// That of a certificate; none when it is no certificate.
    pub fn of_der(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Self::of(&parsed.subject_public_key_info()))
    }

    /// Reads lower-case hex.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl std::fmt::Display for PublicKeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The name that a client names when it dials.
pub fn server_name() -> ServerName<'static> {
    // It is the DNS name above, which the tests of this file dial.
    ServerName::try_from(SUPERVISOR_NAME)
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// Takes exactly the certificate that has this key, whoever signed it and for whatever name: the handshake proves that
/// the other end holds the private half.
#[derive(Debug)]
pub struct Pinned {
    key: PublicKeyDigest,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Takes the certificate with this key.
    pub fn new(key: PublicKeyDigest, provider: Arc<CryptoProvider>) -> Self {
        Self { key, provider }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match PublicKeyDigest::of_der(end_entity) {
            None => Err(CertificateError::BadEncoding.into()),
            Some(key) if key == self.key => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
