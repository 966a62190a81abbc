//! The installation's authority: what the keys of supervisors and of those who ask them come from.
//!
//! It signs two kinds of certificates: one a workspace, for its supervisor, and those of the controller and the proxy.
//! A supervisor lets in whoever the authority calls one of the two. Who asks a supervisor looks at its key alone, which
//! the status of the Workspace names: so a workspace can't pass for another one, though all have the same issuer.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use workstead_link::{CONTROLLER_IDENTITY, PROXY_IDENTITY};
use zeroize::Zeroizing;

use crate::inside::identity::Identity;
use crate::inside::pin::{PublicKeyDigest, SUPERVISOR_NAME};

/// The issuer's name. It is part of every certificate that was ever signed, so it never changes.
const NAME: &str = "Workstead supervisors";
/// How long the authority and the keys of workspaces hold: keys are exchanged by making them anew, not by their end.
const FOR_LONG: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// How long a client is let in. Made anew when a third of it is left.
const CLIENT_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Clocks of nodes differ.
const SLACK: Duration = Duration::from_secs(3600);

/// What is wrong with the authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its Secret holds something else. The text of the key is in no error.
    #[error("failed to read the {0} of the authority: it is no PEM of one")]
    Read(&'static str),
    /// Certificate and key do not belong together.
    #[error("failed to use the authority: its certificate is for another key")]
    Mismatch,
    /// A certificate could not be made.
    #[error("failed to make the certificate of {whom}")]
    Sign {
        /// Whose.
        whom: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// The time is outside what certificates can say.
    #[error("failed to make a certificate: the clock says {0}")]
    Clock(Timestamp),
}

/// The key of a workspace.
pub struct SupervisorKey {
    /// For its Secret.
    pub identity: Identity,
    /// SHA-256 of the public key, for the status.
    pub public_key: PublicKeyDigest,
}

/// Who asks a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The controller.
    Controller,
    /// The proxy.
    Proxy,
}

impl Client {
    fn identity(self) -> &'static str {
        match self {
            Self::Controller => CONTROLLER_IDENTITY,
            Self::Proxy => PROXY_IDENTITY,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Controller => "the controller",
            Self::Proxy => "the proxy",
        }
    }
}

/// The certificate of a client, and until when it is used.
pub struct ClientIdentity {
    /// Certificate and key.
    pub identity: Identity,
    /// From then on another one is to be made.
    pub renew_at: Timestamp,
}

/// Signs for one installation.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, with what its Secret holds.
    ///
    /// # Errors
    /// When the random source or the clock fails.
    pub fn generate(now: Timestamp) -> Result<(Self, Identity), AuthorityError> {
        let key = generate("the authority")?;
        let params = params(now)?;
        let source = params.self_signed(&key);
        let certificate = source.map_err(sign_error("the authority"))?.pem();
        let identity = Identity {
            certificate: certificate.clone(),
            key: Zeroizing::new(key.serialize_pem()),
        };
        let issuer = Issuer::new(params, key);
        Ok((
            Self {
                certificate,
                issuer,
            },
            identity,
        ))
    }

    /// The one of a Secret.
    ///
    /// # Errors
    /// When certificate or key can't be read or do not belong together.
    pub fn read(certificate: &str, key: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        let public = PublicKeyDigest::of_certificate(certificate)
            .ok_or(AuthorityError::Read("certificate (tls.crt)"))?;
        let key =
            KeyPair::from_pem(key).map_err(|_| AuthorityError::Read("private key (tls.key)"))?;
        if PublicKeyDigest::of(&key.subject_public_key_info()) != public {
            return Err(AuthorityError::Mismatch);
        }
        Ok(Self {
            certificate: certificate.to_owned(),
            // All that what it signs takes from it is its name and its key.
            issuer: Issuer::new(params(now)?, key),
        })
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A new key for a workspace.
    ///
    /// # Errors
    /// When the random source or the clock fails.
    pub fn supervisor(&self, now: Timestamp) -> Result<SupervisorKey, AuthorityError> {
        let whom = "a supervisor";
        let key = generate(whom)?;
        let mut params = leaf(now, FOR_LONG)?;
        let name = SUPERVISOR_NAME.try_into().map_err(sign_error(whom))?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let public_key = PublicKeyDigest::of(&key.subject_public_key_info());
        let identity = self.sign(&params, &key, whom)?;
        Ok(SupervisorKey {
            identity,
            public_key,
        })
    }

    /// A new certificate for a client.
    ///
    /// # Errors
    /// When the random source or the clock fails.
    pub fn client(&self, client: Client, now: Timestamp) -> Result<ClientIdentity, AuthorityError> {
        let whom = client.name();
        let key = generate(whom)?;
        let mut params = leaf(now, CLIENT_LIFETIME)?;
        let uri = client.identity().try_into().map_err(sign_error(whom))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(ClientIdentity {
            identity: self.sign(&params, &key, whom)?,
            renew_at: now
                .checked_add(CLIENT_LIFETIME * 2 / 3)
                .map_err(|_| AuthorityError::Clock(now))?,
        })
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
        whom: &'static str,
    ) -> Result<Identity, AuthorityError> {
        let signed = params.signed_by(key, &self.issuer);
        Ok(Identity {
            certificate: signed.map_err(sign_error(whom))?.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn generate(whom: &'static str) -> Result<KeyPair, AuthorityError> {
    KeyPair::generate().map_err(sign_error(whom))
}

fn sign_error(whom: &'static str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Sign { whom, source }
}

fn params(now: Timestamp) -> Result<CertificateParams, AuthorityError> {
    let mut params = leaf(now, FOR_LONG)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, NAME);
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn leaf(now: Timestamp, lifetime: Duration) -> Result<CertificateParams, AuthorityError> {
    let moment = |time: Result<Timestamp, jiff::Error>| {
        let seconds = time.map_err(|_| AuthorityError::Clock(now))?.as_second();
        time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Clock(now))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = moment(now.checked_sub(SLACK))?;
    params.not_after = moment(now.checked_add(lifetime))?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_an_authority_keeps_is_read_again_and_signs_the_same() {
        let (one, kept) = Authority::generate(now()).unwrap();
        let other = Authority::read(&kept.certificate, &kept.key, now()).unwrap();
        assert_eq!(one.certificate(), other.certificate());
        let key = other.supervisor(now()).unwrap();
        let digest = PublicKeyDigest::of_certificate(&key.identity.certificate).unwrap();
        assert_eq!(digest, key.public_key);
        assert_eq!(PublicKeyDigest::parse(&digest.to_string()), Some(digest));
    }

    #[test]
    fn two_workspaces_never_have_one_key() {
        let (authority, _) = Authority::generate(now()).unwrap();
        let one = authority.supervisor(now()).unwrap().public_key;
        let other = authority.supervisor(now()).unwrap().public_key;
        assert_ne!(one, other);
    }

    #[test]
    fn a_secret_that_holds_something_else_is_told_by_its_key_and_shows_nothing_of_it() {
        let (_, kept) = Authority::generate(now()).unwrap();
        let (_, another) = Authority::generate(now()).unwrap();
        let said = |certificate: &str, key: &str| match Authority::read(certificate, key, now()) {
            Ok(_) => panic!("it was read"),
            Err(error) => error.to_string(),
        };
        assert!(said("nonsense", &kept.key).contains("tls.crt"));
        let text = said(&kept.certificate, "canary");
        assert!(
            text.contains("tls.key") && !text.contains("canary"),
            "{text}"
        );
        assert!(said(&kept.certificate, &another.key).contains("another key"));
    }

    #[test]
    fn a_client_is_renewed_before_it_ends() {
        let (authority, _) = Authority::generate(now()).unwrap();
        let client = authority.client(Client::Proxy, now()).unwrap();
        let left = client.renew_at.duration_since(now()).as_secs();
        assert_eq!(left, 16 * 3600);
    }
}
