//! Values of Secrets of the namespace, read from a real API server and judged as they were read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use workstead::controllers::cache::Key;
use workstead::controllers::workspace::references::{Brought, ReferenceError, take};
use workstead::model::owners::OwnerCheck;
use workstead::model::variables::VariableName;
use workstead::testkit::ControlPlane;
use workstead::testkit::faults::{Fault, Faults, When};

/// A value that no error may repeat.
const CANARY: &str = "cAnArY-27d1f0";

struct World {
    client: Client,
    secrets: Api<Secret>,
    key: Key,
}

impl World {
    /// With Secret `db`, which carries these labels and annotations.
    async fn new(prefix: &str, metadata: Value) -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace(prefix).await.unwrap();
        let client = plane.client();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let mut object = json!({
            "metadata": metadata,
            "stringData": {"password": format!("{CANARY}\n\"$(X)\" "), "nul": format!("{CANARY}\0")},
        });
        object["metadata"]["name"] = "db".into();
        let made = crate::object(object);
        secrets.create(&PostParams::default(), &made).await.unwrap();
        let key = Key::new(namespace, "db");
        Self {
            client,
            secrets,
            key,
        }
    }

    async fn taken(&self, entry: &str, check: &OwnerCheck) -> Result<Brought, ReferenceError> {
        let variable = VariableName::new("PASSWORD").unwrap();
        let asked = BTreeMap::from([(variable, entry.to_owned())]);
        take(&self.client, &self.key, &asked, "alice", check).await
    }

    /// Why it is refused, with its code.
    async fn refused(&self, entry: &str, check: &OwnerCheck) -> (&'static str, String) {
        let Err(error) = self.taken(entry, check).await else {
            panic!("{entry} was taken");
        };
        let said = format!("{error} {error:?}");
        assert!(!said.contains(CANARY), "{said}");
        (error.entry().unwrap().0, error.to_string())
    }

    async fn patch(&self, metadata: Value) {
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let params = PatchParams::default();
        self.secrets.patch("db", &params, &patch).await.unwrap();
    }
}

fn label() -> Value {
    json!({"labels": {"workstead.dev/use": "variables"}})
}

fn unchecked() -> OwnerCheck {
    OwnerCheck::Unchecked("the policy is gone".to_owned())
}

#[tokio::test]
async fn a_secret_with_the_label_brings_its_values_byte_for_byte() {
    let world = World::new("refs", label()).await;
    let brought = world.taken("password", &unchecked()).await;
    let brought = brought.unwrap_or_else(|error| panic!("{error}"));
    let value = brought.values.values().next().unwrap();
    assert_eq!(value.expose(), format!("{CANARY}\n\"$(X)\" "));
    let live = world.secrets.get("db").await.unwrap().metadata;
    assert_eq!(Some(&brought.from.uid), live.uid.as_ref());
    assert_eq!(Some(&brought.from.version), live.resource_version.as_ref());

    let (code, why) = world.refused("nul", &OwnerCheck::Checked).await;
    assert_eq!(code, "WV107");
    assert!(why.contains("entry nul of Secret db"), "{why}");
    let (code, why) = world.refused("user", &OwnerCheck::Checked).await;
    assert_eq!(code, "WV109");
    assert!(why.contains("Secret db has no entry user"), "{why}");
}

#[tokio::test]
async fn a_secret_without_the_label_is_refused_until_it_has_it_and_again_when_it_loses_it() {
    let world = World::new("refs-label", json!({})).await;
    let checked = OwnerCheck::Checked;
    let (code, why) = world.refused("password", &checked).await;
    assert_eq!(code, "WV109");
    assert!(
        why.contains("kubectl label secret db workstead.dev/use=variables"),
        "{why}"
    );
    world.patch(label()).await;
    assert!(world.taken("password", &checked).await.is_ok());
    world
        .patch(json!({"labels": {"workstead.dev/use": "git-credentials"}}))
        .await;
    let (_, why) = world.refused("password", &checked).await;
    assert!(why.contains("is for git-credentials"), "{why}");
    let gone = world.secrets.delete("db", &DeleteParams::default()).await;
    gone.unwrap();
    let (code, why) = world.refused("password", &checked).await;
    assert_eq!(code, "WV109");
    assert!(why.contains("Secret db is not there"), "{why}");
}

#[tokio::test]
async fn a_secret_of_an_owner_is_for_that_owner_alone_and_only_if_it_was_checked() {
    let world = World::new("refs-owner", label()).await;
    let owner = |name: &str| json!({"annotations": {"workstead.dev/owner": name}});
    world.patch(owner("bob")).await;
    let (code, why) = world.refused("password", &OwnerCheck::Checked).await;
    assert_eq!(code, "WV109");
    assert!(why.contains("of bob alone"), "{why}");
    world.patch(owner("alice")).await;
    assert!(world.taken("password", &OwnerCheck::Checked).await.is_ok());
    let (code, why) = world.refused("password", &unchecked()).await;
    assert_eq!(code, "WV109");
    assert!(why.contains("the policy is gone"), "{why}");
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_refuses_nothing() {
    let world = World::new("refs-away", label()).await;
    let plane = ControlPlane::shared().await.unwrap();
    let faults = Faults::new();
    faults.always(
        When::matching(|call| call.resource() == "secrets"),
        Fault::Answer(500),
    );
    let client = faults.client(plane.config());
    let asked = BTreeMap::from([(VariableName::new("A").unwrap(), "password".to_owned())]);
    let taken = take(&client, &world.key, &asked, "alice", &OwnerCheck::Checked).await;
    let Err(error) = taken else {
        panic!("it was taken");
    };
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&world.key.namespace), "{error}");
}
