//! The cluster that is measured, as all figures use it.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::wait::within;

/// How long anything may take before the run is given up.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn state(workspace: &Workspace) -> Option<ActualState> {
    workspace
        .status
        .as_ref()
        .and_then(|status| status.actual_state)
}

/// Whether its status says Running.
pub(crate) fn runs(workspace: &Workspace) -> bool {
    state(workspace) == Some(ActualState::Running)
}

pub(crate) fn workspace(name: &str) -> Value {
    let image = std::env::var("E2E_DEBIAN_IMAGE")
        .unwrap_or_else(|_| "localhost/workstead-workspace-debian:dev".to_owned());
    json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "spec": {
            "owner": "bench@example.com",
            "className": "standard",
            "image": image,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "storage": {"size": "1Gi"},
        },
    })
}

pub(crate) async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    api.delete(name, &DeleteParams::background()).await.unwrap();
}

/// Waits until the pods of a round are gone: what ends must not slow down what starts.
pub(crate) async fn no_pods(client: &Client, namespace: &str, labels: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let gone = within(LIMIT, || async {
        let list = pods.list(&ListParams::default().labels(labels)).await;
        list.unwrap().items.is_empty().then_some(())
    });
    assert!(gone.await.is_some(), "pods {labels} do not go away");
}

pub(crate) async fn create<K>(api: &Api<K>, value: &Value)
where
    K: kube::Resource<DynamicType = ()>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(value.clone()).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// A watch of one object that stands before the object is made.
pub(crate) struct Eye<K> {
    name: String,
    events: BoxStream<'static, Result<K, watcher::Error>>,
}

impl<K> Eye<K>
where
    K: kube::Resource<DynamicType = ()>
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    pub(crate) async fn on(api: &Api<K>, name: &str) -> Self {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = watcher(api.clone(), config).touched_objects().boxed();
        // Until the object is made there is nothing to see.
        let primed = within(Duration::from_millis(300), || async { None::<()> });
        tokio::select! {
            _ = events.next() => panic!("{name} is there already"),
            _ = primed => {}
        }
        Self {
            name: name.to_owned(),
            events,
        }
    }

    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&K) -> bool) {
        let seen = async {
            loop {
                let object = self.events.try_next().await.unwrap().unwrap();
                if object.name_any() == self.name && wanted(&object) {
                    return;
                }
            }
        };
        let seen = tokio::time::timeout(LIMIT, seen).await;
        seen.unwrap_or_else(|_| panic!("{} did not start", self.name));
    }
}

pub(crate) async fn mk_namespace(client: &Client) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace =
        serde_json::from_value(json!({"metadata": {"generateName": "bench-"}})).unwrap();
    api.create(&PostParams::default(), &namespace)
        .await
        .unwrap()
        .name_any()
}

pub(crate) async fn connect() -> Client {
    let path = std::env::var("E2E_KUBECONFIG")
        .expect("E2E_KUBECONFIG names the cluster; `make bench` makes one and sets it");
    let read = Kubeconfig::read_from(path).unwrap();
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}
