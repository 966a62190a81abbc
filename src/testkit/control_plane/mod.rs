//! A real control plane: etcd and kube-apiserver on free ports of the loopback interface, without root.
//!
//! Ready in about three seconds; several may run at a time. It ends with the value, and with the process however that
//! ends ([`keeper`]). There is no kubelet and, unless started, no controller-manager: see [`super::kubelet`] for what
//! tests do in their place.

mod audit;
mod binaries;
pub mod certificates;
mod keeper;
mod start;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::AuthInfo;
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use audit::{AuditEvent, AuditObject, AuditStatus, AuditUser};
use certificates::{Authority, Identity};
use keeper::Keeper;

/// Why there is no control plane, or why it did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// The programs are not there.
    #[error("failed to find the programs of the control plane: {0}")]
    Programs(String),
    /// A file could not be written or read.
    #[error("failed to prepare the control plane")]
    Prepare(#[from] std::io::Error),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A program ended, or was not ready in time.
    #[error("failed to start {program}: {reason}; the end of its log:\n{log}")]
    Start {
        /// Which.
        program: &'static str,
        /// How.
        reason: String,
        /// Its last lines.
        log: String,
    },
    /// The API server refused something that the kit needs.
    #[error("failed to {action}: {source}")]
    Request {
        /// What was tried.
        action: &'static str,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// A definition was not served in time.
    #[error("failed to wait until the definition {0} is served")]
    NotServed(String),
    /// A name can't be sent as a header.
    #[error("failed to act as '{0}': not a header value")]
    Name(String),
}

/// A running control plane. Dropping it stops it and removes its data.
pub struct ControlPlane {
    keeper: Mutex<Keeper>,
    folder: PathBuf,
    programs: PathBuf,
    url: String,
    authority: Authority,
    admin: Identity,
}

impl ControlPlane {
    /// Starts one of one's own: for cluster-wide cases. Others use [`ControlPlane::shared`].
    ///
    /// # Errors
    /// When the programs are missing or don't become ready.
    pub async fn start() -> Result<Self, ControlPlaneError> {
        start::start().await
    }

    /// The one of this process, with our definitions installed; started when first asked for, stopped when the
    /// process ends.
    ///
    /// # Errors
    /// When it can't be started.
    pub async fn shared() -> Result<&'static Self, ControlPlaneError> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                let plane = Self::start().await?;
                plane.install_definitions().await?;
                Ok(plane)
            })
            .await
    }

    /// Starts the real controller-manager beside it: Deployments make pods, owners take their dependants along,
    /// namespaces end, and get a ServiceAccount `default`. Without it none of this happens.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_controller_manager(&self) -> Result<(), ControlPlaneError> {
        start::controller_manager(self).await
    }

    /// Where the API server listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of its authority, as PEM.
    pub fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// Settings of a client that may do everything. Retries are off: they would hide faults from tests.
    pub fn config(&self) -> Config {
        start::config(&self.url, &self.authority, &self.admin)
    }

    /// Settings of a client that acts as somebody else.
    ///
    /// # Errors
    /// When a name can't be sent.
    pub fn config_as(&self, user: &str, groups: &[&str]) -> Result<Config, ControlPlaneError> {
        let mut config = self.config();
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| ControlPlaneError::Name(text.to_owned()))
        };
        let mut add = |name, text| -> Result<(), ControlPlaneError> {
            config
                .headers
                .push((HeaderName::from_static(name), value(text)?));
            Ok(())
        };
        add("impersonate-user", user)?;
        groups
            .iter()
            .try_for_each(|group| add("impersonate-group", group))?;
        Ok(config)
    }

    /// A client that may do everything. Make one a test: its connections live in the test's own runtime.
    ///
    /// # Panics
    /// When the settings, which the kit made itself, don't make a client.
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).expect("settings of the kit")
    }

    /// A client that acts as somebody else, for example with the rights of a role.
    ///
    /// A ServiceAccount is `system:serviceaccount:<namespace>:<name>`; its groups are added where none are named.
    ///
    /// # Panics
    /// When a name can't be sent as a header.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        let account = "system:serviceaccounts";
        let config = match user.strip_prefix("system:serviceaccount:") {
            Some(rest) if groups.is_empty() => {
                let namespace = rest.split(':').next().unwrap_or_default();
                self.config_as(user, &[account, &format!("{account}:{namespace}")])
            }
            _ => self.config_as(user, groups),
        };
        Client::try_from(config.expect("a name that can be sent")).expect("settings of the kit")
    }

    /// A kubeconfig file of the administrator, for other programs.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Writes a kubeconfig file of a ServiceAccount, with a real token, for other programs.
    ///
    /// # Errors
    /// When the API server refuses the token or the file can't be written.
    pub async fn kubeconfig_of(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        self.kubeconfig_through(&self.url, namespace, service_account)
            .await
    }

    /// The same, for whoever reaches the API server by another address: that of a proxy.
    ///
    /// # Errors
    /// When the API server refuses the token or the file can't be written.
    pub async fn kubeconfig_through(
        &self,
        url: &str,
        namespace: &str,
        service_account: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![],
                expiration_seconds: Some(86_400),
                ..Default::default()
            },
            ..Default::default()
        };
        let answer = api
            .create_token_request(service_account, &PostParams::default(), &request)
            .await
            .map_err(refused("make a token"))?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        let port = url.rsplit(':').next().unwrap_or_default();
        let path = self.file(&format!("kubeconfig-{namespace}-{service_account}-{port}"));
        start::write_kubeconfig(
            &path,
            url,
            &self.authority,
            json!({ "token": token }),
            namespace,
        )?;
        Ok(path)
    }

    /// Settings of a client that says nothing of itself: who it is stands in what it passes on.
    pub(crate) fn config_of_nobody(&self) -> Config {
        let mut config = self.config();
        config.auth_info = AuthInfo::default();
        config
    }

    /// A certificate for another server on the loopback interface that clients of this control plane trust.
    pub(crate) fn server_identity(&self) -> Result<Identity, ControlPlaneError> {
        Ok(self
            .authority
            .server(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], &["localhost"])?)
    }

    /// kubectl, set up for this control plane. Its folder may lack it; the command then fails to start.
    pub fn kubectl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(self.programs.join("kubectl"));
        command.env("KUBECONFIG", self.kubeconfig());
        // It keeps what it learns of a cluster, in the user's home unless told otherwise.
        command.env("KUBECACHEDIR", self.folder.join("kubectl-cache"));
        command
    }

    /// What the API server was asked for so far, but for what it asked itself. A request shows up shortly *after*
    /// it was answered: ask again, see [`super::wait`].
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn audit(&self) -> Result<Vec<AuditEvent>, ControlPlaneError> {
        Ok(audit::read(&std::fs::read_to_string(
            self.folder.join("audit.log"),
        )?))
    }

    /// Applies our definitions and waits until they are served.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn install_definitions(&self) -> Result<(), ControlPlaneError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let definitions = crate::api::crds::all();
        for definition in &definitions {
            let name = definition.name_any();
            api.patch(
                &name,
                &PatchParams::apply("workstead/testkit").force(),
                &Patch::Apply(definition),
            )
            .await
            .map_err(refused("install a definition"))?;
        }
        for definition in &definitions {
            let name = definition.name_any();
            let served = await_condition(api.clone(), &name, conditions::is_crd_established());
            match tokio::time::timeout(Duration::from_secs(60), served).await {
                Ok(Ok(_)) => {}
                _ => return Err(ControlPlaneError::NotServed(name)),
            }
        }
        Ok(())
    }

    /// A fresh namespace whose name begins with `prefix`, with the ServiceAccount `default` that pods need.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> Result<String, ControlPlaneError> {
        let client = self.client();
        let namespace: Namespace = object(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": format!("{prefix}-")},
        }));
        let name = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .map_err(refused("make a namespace"))?
            .name_any();
        let account: ServiceAccount = object(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        }));
        match Api::<ServiceAccount>::namespaced(client, &name)
            .create(&PostParams::default(), &account)
            .await
        {
            Ok(_) => {}
            // A controller-manager was quicker.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(refused("make the ServiceAccount default")(error)),
        }
        Ok(name)
    }

    /// Process id of one of its programs (`etcd`, `kube-apiserver`), for tests that stop it for a while.
    pub fn process_id(&self, program: &str) -> Option<u32> {
        self.keeper().process_id(program)
    }

    fn keeper(&self) -> std::sync::MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys stay out of logs.
        f.debug_struct("ControlPlane")
            .field("url", &self.url)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

pub(crate) fn refused(action: &'static str) -> impl Fn(kube::Error) -> ControlPlaneError {
    move |source| ControlPlaneError::Request {
        action,
        source: Box::new(source),
    }
}

/// An object from its literal form.
pub(crate) fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("a literal of the kit")
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
