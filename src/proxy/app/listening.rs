//! Where a proxy process listens: a socket, a door and a login for each listener.

use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::proxy::app::feeds::{load_provider, take_certificates};
use crate::proxy::app::run::{Cluster, Parts, RunError, Tasks, bind, until};
use crate::proxy::app::view::{Counted, FromRoutes};
use crate::proxy::app::{App, Known};
use crate::proxy::config::{Config, Oidc};
use crate::proxy::forward::Forward;
use crate::proxy::front::{Drain, Front};
use crate::proxy::host::Site;
use crate::proxy::listen::certificates::Certificates;
use crate::proxy::listen::limits::Limits as Places;
use crate::proxy::listen::tls::Tls;
use crate::proxy::listen::{Listener, Options};
use crate::proxy::login::cluster::Cluster as Effects;
use crate::proxy::login::oidc::Provider;
use crate::proxy::login::outside::LogRecord;
use crate::proxy::login::{Login, Means, Parts as LoginParts, Rates};
use crate::proxy::session::{Keys, Sessions};

/// What listeners are made of.
pub(super) struct Making<'a> {
    pub(super) config: &'a Config,
    pub(super) client: &'a Client,
    pub(super) parts: &'a Parts,
    pub(super) known: &'a Arc<Known>,
    pub(super) keys: &'a Arc<Keys>,
    pub(super) forward: &'a Arc<Forward>,
    pub(super) drain: &'a Drain,
}

impl Making<'_> {
    /// Opens each listener, with what keeps its certificates and its provider current.
    pub(super) async fn listen(
        &self,
        cluster: &Cluster,
        listening: &mut JoinSet<()>,
        stop: &CancellationToken,
        tasks: &mut Tasks,
    ) -> Result<(), RunError> {
        if let Some(listener) = self.config.listeners.tls() {
            let provider = self.provider(&listener.oidc)?;
            let loading = load_provider(provider.clone(), self.parts.health.clone());
            tasks.spawn("identity provider", until(stop.clone(), loading));
            let certificates = Arc::new(Certificates::default());
            let handed = cluster.certificates.clone();
            let health = self.parts.health.clone();
            let taking = take_certificates(handed, certificates.clone(), health);
            tasks.spawn("certificates", until(stop.clone(), taking));
            let tls = Tls::new(certificates).map_err(|error| RunError::Setting {
                what: "TLS",
                why: error.to_string(),
            })?;
            let app = self.app(&listener.site, Means::Provider(provider));
            let socket = bind(listener.address).await?;
            let options = Options {
                tls: Some(tls),
                proxy_protocol_from: listener.proxy_protocol_from.clone(),
                ..self.options()
            };
            listening.spawn(self.listener(socket, app, &listener.site, options).run());
        }
        if let Some(local) = self.config.listeners.local() {
            let app = self.app(&local.site, Means::Link);
            let socket = bind(local.address).await?;
            let options = Options {
                is_insecure_local: true,
                ..self.options()
            };
            listening.spawn(self.listener(socket, app, &local.site, options).run());
        }
        Ok(())
    }

    fn provider(&self, oidc: &Oidc) -> Result<Arc<Provider>, RunError> {
        let setting = |why: String| RunError::Setting {
            what: "the identity provider",
            why,
        };
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| setting(format!("{}: {error}", path.display())))
        };
        let authorities = oidc.authorities.as_ref().map(read).transpose()?;
        let clock = self.parts.clock.clone();
        Provider::new(oidc.clone(), authorities.as_deref(), clock)
            .map(Arc::new)
            .map_err(|error| setting(error.to_string()))
    }

    fn options(&self) -> Options {
        let count = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
        Options {
            limits: Places {
                connections: count(self.config.limits.connections),
                per_address: count(self.config.limits.connections_per_address),
            },
            trusted_forwarders: self.config.trusted_forwarders.clone(),
            drain_limit: self.config.drain.limit,
            ..Options::default()
        }
    }

    fn app(&self, site: &Site, means: Means) -> Arc<App> {
        let sessions = Arc::new(Sessions::new(self.keys.clone(), site.auth_host()));
        let effects = Effects::new(
            self.client.clone(),
            self.config.namespace.as_str(),
            &self.config.identity,
            self.parts.clock.clone(),
        );
        let login = Login::new(LoginParts {
            site: site.clone(),
            sessions: sessions.clone(),
            means,
            directory: Arc::new(FromRoutes {
                table: self.known.table.clone(),
                freshness: self.known.freshness.clone(),
                epochs: self.known.epochs.clone(),
            }),
            effects: Arc::new(effects),
            record: Arc::new(Counted {
                written: LogRecord,
                metrics: self.parts.metrics.clone(),
            }),
            clock: self.parts.clock.clone(),
            entropy: self.parts.entropy.clone(),
            rates: Rates {
                per_address: self.config.limits.logins_per_address,
                per_user: self.config.limits.logins_per_user,
            },
        });
        let site = Arc::new(site.clone());
        Arc::new(App::new(site, sessions, login, self.known.clone()))
    }

    fn listener(
        &self,
        socket: TcpListener,
        app: Arc<App>,
        site: &Site,
        options: Options,
    ) -> Listener<App> {
        let (forward, site) = (self.forward.clone(), Arc::new(site.clone()));
        let front = Front::new(app.clone(), forward, site, self.drain.clone());
        Listener::new(socket, Arc::new(front), app, self.drain.clone(), options)
    }
}
