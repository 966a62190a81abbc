//! The identities of the installation, as an administrator reads and exchanges them.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use crate::cli::call::call;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::identity::InstallationArgs;
use crate::model::names::{CLI_MANAGER, IDENTITIES_ENTRY, IDENTITIES_SECRET};
use crate::secrets::identity::Identities;

/// What Secret `workstead-identities` held when it was read.
pub struct Ring {
    /// The client that read it.
    pub client: Client,
    /// As it is written there.
    pub text: Zeroizing<String>,
    /// What the text says.
    pub identities: Identities,
    namespace: String,
    version: Option<String>,
}

impl Ring {
    /// Reads them.
    ///
    /// # Errors
    /// When they can't be read. Nothing of the text is repeated.
    pub async fn read(arguments: &InstallationArgs) -> Result<Self, CliError> {
        let client = connect(&arguments.cluster).await?.client;
        let namespace = arguments.installation_namespace.clone();
        let shown = format!("Secret {namespace}/{IDENTITIES_SECRET}");
        let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let secret = api.get_opt(IDENTITIES_SECRET);
        let secret = call(&format!("read {shown}"), secret).await?;
        let mut secret = secret.ok_or_else(|| {
            CliError::undone(format!("there is no {shown}")).next(
                "say where Workstead is: --installation-namespace. The controller makes the first identity when it starts",
            )
        })?;
        let entry = secret
            .data
            .as_mut()
            .and_then(|data| data.remove(IDENTITIES_ENTRY));
        let unreadable =
            |why: &str| CliError::undone(format!("{shown} holds no identities")).seen(why);
        let ByteString(bytes) =
            entry.ok_or_else(|| unreadable("it has no entry identities.txt"))?;
        let text = String::from_utf8(bytes)
            .map(Zeroizing::new)
            .map_err(|error| {
                error.into_bytes().zeroize();
                unreadable("its entry identities.txt is no text")
            })?;
        let identities = Identities::parse(&text).map_err(|error| {
            CliError::undone(format!("{shown} holds no identities")).because(error)
        })?;
        Ok(Self {
            client,
            text,
            identities,
            namespace,
            version: secret.metadata.resource_version,
        })
    }

    /// Puts a text in the place of what was read, unless somebody was faster.
    ///
    /// # Errors
    /// When it could not be read again, or somebody else changed the Secret since.
    pub async fn write(&self, text: &str) -> Result<(), CliError> {
        Identities::parse(text).map_err(|error| {
            CliError::no("the installation would not take these").because(error)
        })?;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let parameters = PatchParams {
            field_manager: Some(CLI_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let body = Patch::Merge(json!({
            "metadata": {"resourceVersion": self.version},
            "data": {IDENTITIES_ENTRY: ByteString(text.as_bytes().to_vec())},
        }));
        let shown = format!("write Secret {}/{IDENTITIES_SECRET}", self.namespace);
        let written = api.patch(IDENTITIES_SECRET, &parameters, &body);
        call(&shown, written).await.map(drop)
    }
}
