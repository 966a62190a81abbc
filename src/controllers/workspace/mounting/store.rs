//! The ConfigMap that holds what was found out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::model::names::{IMAGE_VOLUMES_CONFIG_MAP, WORKSPACE_MANAGER};
use crate::render::probe::labels;

/// What an earlier process wrote. Listed by its name: no right to read others is needed.
pub async fn load(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, String>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let by_name = format!("metadata.name={IMAGE_VOLUMES_CONFIG_MAP}");
    let found = api.list(&ListParams::default().fields(&by_name)).await?;
    let first = found.items.into_iter().next();
    Ok(first.and_then(|found| found.data).unwrap_or_default())
}

/// Writes it. What is no more in it goes.
pub async fn save(
    client: &Client,
    namespace: &str,
    data: BTreeMap<String, String>,
) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": IMAGE_VOLUMES_CONFIG_MAP, "namespace": namespace, "labels": labels()},
        "data": data,
    });
    let params = PatchParams::apply(WORKSPACE_MANAGER).force();
    api.patch(IMAGE_VOLUMES_CONFIG_MAP, &params, &Patch::Apply(&object))
        .await?;
    Ok(())
}
