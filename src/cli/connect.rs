//! From kubeconfig, context and namespace to a client.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cli::args::ClusterArgs;
use crate::cli::error::CliError;

/// A client, and the namespace to look into.
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The namespace that was chosen, or the context's own.
    pub namespace: String,
}

/// Connects as the arguments, the kubeconfig or, inside a pod, its ServiceAccount say.
///
/// # Errors
/// When there is no usable configuration.
pub async fn connect(arguments: &ClusterArgs) -> Result<Connection, CliError> {
    let mut config = read(arguments).await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    let namespace = arguments
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| {
        CliError::undone("failed to make a client from the kubeconfig").because(error)
    })?;
    Ok(Connection { client, namespace })
}

async fn read(arguments: &ClusterArgs) -> Result<Config, CliError> {
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        ..KubeConfigOptions::default()
    };
    if arguments.kubeconfig.is_none() && arguments.context.is_none() {
        return Config::infer()
            .await
            .map_err(|error| unusable().because(error));
    }
    let kubeconfig = match &arguments.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.map_err(|error| unusable().because(error))?;
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| unusable().because(error))
}

fn unusable() -> CliError {
    CliError::undone("failed to read a kubeconfig").next(
        "name one with --kubeconfig or KUBECONFIG; kubectl config get-contexts lists its contexts",
    )
}
