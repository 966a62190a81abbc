//! What a login writes, against the real API server.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use workstead::controllers::clock::SystemClock;
use workstead::model::clock::Clock as _;
use workstead::proxy::login::cluster::Cluster;
use workstead::proxy::login::outside::{Effects as _, Use};
use workstead::proxy::session::Epochs;
use workstead::proxy::session::revocation::{Entry, Whose};
use workstead::testkit::ControlPlane;

fn replica(plane: &ControlPlane, namespace: &str, name: &str) -> Cluster {
    Cluster::new(plane.client(), namespace, name, Arc::new(SystemClock))
}

fn soon() -> Timestamp {
    SystemClock.now() + SignedDuration::from_mins(10)
}

#[tokio::test]
async fn threat_replay_a_link_is_used_once_however_many_replicas_try_at_the_same_time() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("links").await.unwrap();
    let replicas: Vec<Cluster> = (0..8)
        .map(|number| replica(plane, &namespace, &number.to_string()))
        .collect();
    let tries = replicas
        .iter()
        .map(|replica| replica.use_link("aa11", soon()));
    let used: Vec<Use> = futures::future::join_all(tries)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(used.iter().filter(|used| **used == Use::First).count(), 1);
    assert_eq!(
        replicas[0].use_link("bb22", soon()).await.unwrap(),
        Use::First
    );
    let api: Api<Lease> = Api::namespaced(plane.client(), &namespace);
    let labelled = ListParams::default().labels("workstead.dev/lease=login");
    let leases = api.list(&labelled).await.unwrap().items;
    assert_eq!(leases.len(), 2);
    let seconds = leases[0].spec.as_ref().unwrap().lease_duration_seconds;
    assert!((590..=600).contains(&seconds.unwrap()));
}

#[tokio::test]
async fn entries_of_many_replicas_at_the_same_time_are_all_kept() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("revocations").await.unwrap();
    let replicas: Vec<Cluster> = (0..4)
        .map(|number| replica(plane, &namespace, &number.to_string()))
        .collect();
    let now = SystemClock.now();
    let entries: Vec<[Entry; 1]> = (0..4)
        .map(|number| [Entry::new(Whose::Login(format!("s{number}")), now)])
        .collect();
    let writes = replicas
        .iter()
        .zip(&entries)
        .map(|(replica, entries)| replica.revoke(entries));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    let api: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let map = api.get("workstead-revocations").await.unwrap();
    let data = map.data.unwrap();
    assert_eq!(data.len(), 4);
    assert!(Epochs::parse(&data).unreadable().is_empty());
    // The same once more writes nothing.
    replicas[0].revoke(&entries[0]).await.unwrap();
    let again = api.get("workstead-revocations").await.unwrap();
    assert_eq!(
        again.metadata.resource_version,
        map.metadata.resource_version
    );
}

#[tokio::test]
async fn entries_that_end_nothing_any_more_go_with_the_next_one() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("pruned").await.unwrap();
    let replica = replica(plane, &namespace, "a");
    let long_ago = SystemClock.now() - SignedDuration::from_hours(24);
    let old = Entry::new(Whose::User("a".to_owned()), long_ago);
    replica.revoke(&[old]).await.unwrap();
    let new = Entry::new(Whose::User("b".to_owned()), SystemClock.now());
    replica.revoke(std::slice::from_ref(&new)).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let data = api
        .get("workstead-revocations")
        .await
        .unwrap()
        .data
        .unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), [&new.key()]);
}
