//! plan.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::{Bench, GOOD, mk_gitsync, write};

#[tokio::test]
async fn plan_tells_apart_what_is_made_changed_and_left_and_when_it_takes_effect() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    bench
        .apply(
            "workstead/gitsync",
            "good",
            json!({"spec": {"owner": "alice"}}),
        )
        .await;
    write(folder.path(), "good.yaml", GOOD);
    let same = bench.run(&["plan", root]).await.ended(0);
    assert!(
        same.contains("0 to create, 0 to change, 0 to delete, 1 unchanged"),
        "{same}"
    );

    write(
        folder.path(),
        "good.yaml",
        &GOOD.replace("debian", "ubuntu"),
    );
    write(
        folder.path(),
        "new.yaml",
        &GOOD.replace("name: good", "name: new"),
    );
    write(
        folder.path(),
        "moved.yaml",
        &GOOD.replace("name: good", "name: -bad"),
    );
    let text = bench.run(&["plan", root]).await.ended(1);
    for said in [
        "+ create  Workspace",
        "/new",
        "~ change  Workspace",
        "/good",
        "image",
        "when it next starts",
        "GS211",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    let moved = GOOD.replace("alice", "alice, className: other");
    write(folder.path(), "good.yaml", &moved);
    let text = bench.run(&["plan", root]).await.ended(1);
    assert!(
        text.contains("spec.className") && text.contains("when it next starts"),
        "{text}"
    );
    let image = bench.get("good").await.spec.image;
    assert_eq!(image, "debian", "a plan changes nothing");

    let pending = json!({"revision": {"name": "good-1", "pending": [{"field": "spec.env", "effect": "NextStart"}]}});
    bench.set_status("good", pending).await;
    let waits = bench.run(&["plan"]).await.ended(0);
    assert!(
        waits.contains("waits") && waits.contains("spec.env"),
        "{waits}"
    );
}

#[tokio::test]
async fn plan_deletes_what_the_inventory_of_the_gitsync_has_and_the_guard_lets_go() {
    let bench = Bench::new().await;
    mk_gitsync(
        &bench,
        "repo",
        json!({"spec": {"prune": {"maxDeletes": 1}}}),
    )
    .await;
    let labels = json!({"metadata": {"labels": {
        "gitsync.workstead.dev/name": "repo", "gitsync.workstead.dev/namespace": bench.namespace,
    }}, "spec": {"owner": "alice"}});
    for name in ["good", "left"] {
        bench.apply("workstead/gitsync", name, labels.clone()).await;
    }
    write_inventory(&bench, "repo", &["good", "left"]).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "good.yaml", GOOD);
    let root = folder.path().to_str().unwrap();
    let text = bench
        .run(&["plan", root, "--gitsync", "repo"])
        .await
        .ended(0);
    assert!(
        text.contains("- delete  Workspace") && text.contains("/left"),
        "{text}"
    );

    std::fs::remove_file(folder.path().join("good.yaml")).unwrap();
    let text = bench
        .run(&["plan", root, "--gitsync", "repo"])
        .await
        .ended(1);
    assert!(text.contains("2 deletes would wait for approval"), "{text}");
}

#[tokio::test]
async fn plan_of_a_gitsync_alone_fetches_the_commit_that_it_follows() {
    let bench = Bench::new().await;
    let server = workstead::testkit::GitServer::start();
    let repository = server.repository("team");
    repository.commit(&[("team/good.yaml", GOOD), ("other/bad.yaml", "a: [")]);
    // Files without a namespace land in that of the GitSync.
    mk_gitsync(
        &bench,
        "repo",
        json!({"spec": {"url": repository.url(), "path": "team"}}),
    )
    .await;
    let text = bench.run(&["plan", "--gitsync", "repo"]).await.ended(0);
    assert!(
        text.contains("+ create  Workspace") && text.contains("team/good.yaml"),
        "{text}"
    );

    mk_gitsync(
        &bench,
        "lost",
        json!({"spec": {"url": format!("{}-not", repository.url())}}),
    )
    .await;
    bench
        .run(&["plan", "--gitsync", "lost"])
        .await
        .complained(2, &["GS10", "next step:", "DIR"]);
}

async fn write_inventory(bench: &Bench, gitsync: &str, names: &[&str]) {
    use workstead::model::names::INVENTORY_OF_LABEL;
    use workstead::model::sync::{Inventory, ObjectId, inventory_name};
    let mut inventory = Inventory::default();
    let id = |name: &&str| ObjectId {
        kind: workstead::api::gitsync::SyncedKind::Workspace,
        namespace: Some(bench.namespace.clone()),
        name: (*name).to_owned(),
    };
    inventory.widen(names.iter().map(id));
    for name in names {
        inventory.applied(&id(name), "older", 1);
    }
    let uid = bench
        .gitsyncs()
        .get(gitsync)
        .await
        .unwrap()
        .metadata
        .uid
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(bench.plane.client(), &bench.namespace);
    for (shard, data) in inventory.encode() {
        let map = crate::object(json!({
            "metadata": {"name": inventory_name(gitsync, shard), "labels": {INVENTORY_OF_LABEL: uid}},
            "data": data,
        }));
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
}
