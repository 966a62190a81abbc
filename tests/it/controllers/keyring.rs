//! What the leader keeps for the proxies: the ring of keys, and what remains of used links.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use rand::RngCore as _;
use serde_json::json;
use workstead::controllers::keyring::{KeyRingError, keep};
use workstead::controllers::links::prune;
use workstead::model::entropy::Entropy;
use workstead::model::keyring::{KEPT_FOR, KeyRing, RING_ENTRY, SIGNS_FOR};
use workstead::testkit::ControlPlane;

const NAME: &str = "workstead-proxy-keys";

struct Dice;

impl Entropy for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

fn ids(secret: &Secret) -> Vec<String> {
    let text = &secret.data.as_ref().unwrap()[RING_ENTRY].0;
    let ring = KeyRing::parse(text).unwrap();
    ring.keys().iter().map(|key| key.id.to_string()).collect()
}

#[tokio::test]
async fn the_ring_is_made_once_and_its_keys_follow_each_other_without_a_gap() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("ring").await.unwrap();
    let (client, begin) = (plane.client(), Timestamp::now());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);

    let next = keep(&client, &namespace, begin, &Dice).await.unwrap();
    let first = ids(&secrets.get(NAME).await.unwrap());
    assert_eq!(next, begin + SIGNS_FOR);
    keep(
        &client,
        &namespace,
        begin + SignedDuration::from_hours(1),
        &Dice,
    )
    .await
    .unwrap();
    assert_eq!(ids(&secrets.get(NAME).await.unwrap()), first);

    // The second signs, so a third is known long before it will.
    let second_signs = begin + SIGNS_FOR + SignedDuration::from_secs(1);
    keep(&client, &namespace, second_signs, &Dice)
        .await
        .unwrap();
    let three = ids(&secrets.get(NAME).await.unwrap());
    assert_eq!(three[..2], first);
    assert_eq!(three.len(), 3);

    // What the first had signed has ended.
    keep(&client, &namespace, second_signs + KEPT_FOR, &Dice)
        .await
        .unwrap();
    assert_eq!(ids(&secrets.get(NAME).await.unwrap()), three[1..]);
}

#[tokio::test]
async fn a_ring_that_cannot_be_read_is_named_and_left_and_made_again_when_it_is_deleted() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("broken-ring").await.unwrap();
    let (client, now) = (plane.client(), Timestamp::now());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let broken: Secret = crate::object(json!({
        "metadata": {"name": NAME}, "stringData": {RING_ENTRY: "{\"keys\": []}"},
    }));
    secrets
        .create(&PostParams::default(), &broken)
        .await
        .unwrap();
    let before = secrets.get(NAME).await.unwrap();
    let error = keep(&client, &namespace, now, &Dice).await.unwrap_err();
    assert!(matches!(error, KeyRingError::Ring { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(NAME) && said.contains(&namespace), "{said}");
    assert_eq!(secrets.get(NAME).await.unwrap(), before);

    secrets
        .delete(NAME, &DeleteParams::default())
        .await
        .unwrap();
    keep(&client, &namespace, now, &Dice).await.unwrap();
    assert_eq!(ids(&secrets.get(NAME).await.unwrap()).len(), 2);
}

#[tokio::test]
async fn used_links_are_forgotten_when_they_are_too_old_and_no_other_lease_is_touched() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("links").await.unwrap();
    let (client, now) = (plane.client(), Timestamp::now());
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let ago = |minutes| MicroTime(now - SignedDuration::from_mins(minutes));
    for (name, label, minutes) in [
        ("fresh", Some("login"), 5),
        ("just-over", Some("login"), 15),
        ("old", Some("login"), 60),
        ("activity", Some("activity"), 60),
        ("leader", None, 60),
    ] {
        let lease = crate::object(json!({
            "metadata": {"name": name},
            "spec": {"acquireTime": ago(minutes), "leaseDurationSeconds": 600},
        }));
        leases.create(&PostParams::default(), &lease).await.unwrap();
        if let Some(label) = label {
            let labels = json!({"metadata": {"labels": {"workstead.dev/lease": label}}});
            let patch = Patch::Merge(labels);
            leases
                .patch(name, &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    }
    assert_eq!(prune(&client, &namespace, now).await.unwrap(), 1);
    assert_eq!(prune(&client, &namespace, now).await.unwrap(), 0);
    let left = leases.list(&ListParams::default()).await.unwrap();
    let left: Vec<_> = left
        .iter()
        .filter_map(|l| l.metadata.name.clone())
        .collect();
    assert_eq!(left, ["activity", "fresh", "just-over", "leader"]);
}
