//! `workstead open`: an address, or a link for who can read the key ring.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use workstead::model::keyring::KeyRing;
use workstead::proxy::session::entropy::SystemEntropy;

use super::{Bench, Ran};

const LOCAL: &str = "http://dev.workstead.localhost:8000";

/// A workspace of an installation that is the namespace itself.
async fn bench(url: Option<&str>) -> Bench {
    let bench = Bench::new().await;
    bench.apply("tester", "dev", json!({})).await;
    if let Some(url) = url {
        bench.set_status("dev", json!({"url": url})).await;
    }
    bench
}

async fn mk_ring(bench: &Bench) {
    let ring = KeyRing::generate(Timestamp::now(), &SystemEntropy);
    let secret: Secret = crate::object(json!({
        "metadata": {"name": "workstead-proxy-keys"},
        "stringData": {"ring.json": ring.to_json().as_str()},
    }));
    let secrets: Api<Secret> = Api::namespaced(bench.plane.client(), &bench.namespace);
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

async fn open(bench: &Bench, more: &[&str]) -> Ran {
    let installation = ["--installation-namespace", &bench.namespace];
    let words = [&["open", "dev", "--print"], &installation[..], more].concat();
    bench.run(&words).await
}

#[tokio::test]
async fn with_an_identity_provider_it_is_the_address_and_asks_for_no_right() {
    let bench = bench(Some("https://dev.work.example.com")).await;
    let out = open(&bench, &[]).await.ended(0);
    assert_eq!(out, "https://dev.work.example.com/\n");
    let out = open(&bench, &["--port", "3000"]).await.ended(0);
    assert_eq!(out, "https://3000-dev.work.example.com/\n");
}

#[tokio::test]
async fn on_one_machine_it_is_a_link_to_the_login_and_no_two_are_alike() {
    let bench = bench(Some(LOCAL)).await;
    mk_ring(&bench).await;
    let first = open(&bench, &[]).await.ended(0);
    let begin = "http://auth.workstead.localhost:8000/.workstead-proxy/login?link=";
    assert!(first.starts_with(begin), "{first}");
    assert_ne!(first, open(&bench, &[]).await.ended(0));
    let told: Value = serde_json::from_str(&open(&bench, &["-o", "json"]).await.ended(0)).unwrap();
    assert_eq!(told["isLoginLink"], true);
    assert!(told["url"].as_str().unwrap().starts_with(begin));
}

#[tokio::test]
async fn whoever_may_not_read_the_ring_makes_no_link() {
    let bench = bench(Some(LOCAL)).await;
    mk_ring(&bench).await;
    let kubeconfig = bench.plane.kubeconfig_of(&bench.namespace, "default");
    let kubeconfig = kubeconfig.await.unwrap();
    let role: Role = crate::object(json!({
        "metadata": {"name": "looker"},
        "rules": [{"apiGroups": ["workstead.dev"], "resources": ["workspaces"], "verbs": ["get"]}],
    }));
    let binding: RoleBinding = crate::object(json!({
        "metadata": {"name": "looker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "looker"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": bench.namespace}],
    }));
    let client = bench.plane.client();
    Api::<Role>::namespaced(client.clone(), &bench.namespace)
        .create(&PostParams::default(), &role)
        .await
        .unwrap();
    Api::<RoleBinding>::namespaced(client, &bench.namespace)
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let path = kubeconfig.to_str().unwrap();
    open(&bench, &["--kubeconfig", path]).await.complained(
        2,
        &[
            "you may not make login links",
            "cannot get resource \"secrets\"",
            "ask an administrator",
        ],
    );
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_next_step() {
    let without_address = bench(None).await;
    open(&without_address, &[])
        .await
        .complained(2, &["dev has no address", "proxy.md"]);
    let without_ring = bench(Some(LOCAL)).await;
    open(&without_ring, &[])
        .await
        .complained(2, &["no key ring", "--installation-namespace"]);
    let nobody = without_ring.run(&["open", "nobody", "--print"]).await;
    nobody.complained(2, &["nobody", "not found"]);
}
