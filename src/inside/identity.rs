//! Who we are to a supervisor: a certificate that its authority signed, and the key.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// A part of an identity is something else. The text of the key is in no error.
#[derive(Debug, thiserror::Error)]
#[error("failed to read our {0}: it is no PEM of one")]
pub struct IdentityError(&'static str);

/// A certificate and its key, as PEM. The key shows nowhere.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: Zeroizing<String>,
}

impl Identity {
    /// As rustls takes it.
    ///
    /// # Errors
    /// When it is none.
    pub fn to_der(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|_| IdentityError("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| IdentityError("private key"))?;
        Ok((certificate, key))
    }
}
