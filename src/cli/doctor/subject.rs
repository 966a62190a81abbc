//! What is looked at: an installation in a cluster, or one that is still to be made.

use crate::proxy::config::{ClientSecret, Config};
use crate::proxy::host::Site;
use crate::proxy::login::PROVIDER_CALLBACK_PATH;

/// An installation, as browsers and its identity provider see it.
#[derive(Clone)]
pub struct Subject {
    /// The namespace that it is in.
    pub installation: String,
    /// Its names, for everybody.
    pub site: Site,
    /// The identity provider.
    pub provider: Provider,
}

/// The identity provider, as the proxy knows it.
#[derive(Clone)]
pub struct Provider {
    /// Its issuer.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// What proves that it is us, where it is known here.
    pub client_secret: Option<ClientSecret>,
    /// Whether there is a secret that could not be read.
    pub has_hidden_secret: bool,
    /// Whether S256 is taken for granted.
    pub assume_s256: bool,
}

impl Subject {
    /// What a configuration says; none where it has no listener for everybody.
    pub fn of(config: &Config) -> Option<Self> {
        let tls = config.listeners.tls()?;
        Some(Self {
            installation: config.namespace.to_string(),
            site: tls.site.clone(),
            provider: Provider {
                issuer: tls.oidc.issuer.as_str().to_owned(),
                client_id: tls.oidc.client_id.clone(),
                client_secret: tls.oidc.client_secret.clone(),
                has_hidden_secret: false,
                assume_s256: tls.oidc.assume_s256,
            },
        })
    }

    /// The domain below which workspaces open.
    pub fn domain(&self) -> &str {
        self.site.domain()
    }

    /// The host where people sign in.
    pub fn auth_host(&self) -> &str {
        self.site.auth_host()
    }

    /// Where the provider sends people back to.
    pub fn redirect_uri(&self) -> String {
        format!(
            "{}{PROVIDER_CALLBACK_PATH}",
            self.site.origin(self.auth_host())
        )
    }

    #[cfg(test)]
    pub(super) fn example(domain: &str, auth_host: &str) -> Self {
        let name = |text: &str| crate::model::names::DnsSubdomain::new(text).unwrap();
        let scheme = crate::proxy::host::Scheme::Https;
        Self {
            installation: "workstead-system".to_owned(),
            site: Site::new(&name(domain), &name(auth_host), scheme, None).unwrap(),
            provider: Provider {
                issuer: "https://id.example.com".to_owned(),
                client_id: "workstead".to_owned(),
                client_secret: None,
                has_hidden_secret: false,
                assume_s256: false,
            },
        }
    }
}
