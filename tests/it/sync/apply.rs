//! What a commit becomes.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use workstead::testkit::faults::Call;

use super::{Fixture, codes, condition, holds, workspace};

fn origin(workspace: &workstead::api::Workspace) -> serde_json::Value {
    serde_json::from_str(&workspace.annotations()["workstead.dev/origin"]).unwrap()
}

#[tokio::test]
async fn a_commit_becomes_objects_that_say_whose_they_are_and_where_they_come_from() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[
        ("team/a.yaml", &workspace("a", "i:1")),
        ("b.yaml", &workspace("b", "i:1")),
    ]);
    f.create(json!({})).await;
    let running = f.start();
    let status = f.until_applied(&first).await;
    assert_eq!(status.objects, Some(2));
    assert_eq!(status.error_count, Some(0));
    assert_eq!(status.history[0].created, 2);
    assert_eq!(f.names().await, ["a", "b"]);
    let a = f.workspace("a").await;
    assert_eq!(a.labels()["gitsync.workstead.dev/name"], "team");
    assert_eq!(a.labels()["gitsync.workstead.dev/namespace"], f.namespace);
    let wanted = json!({
        "repository": f.repository.url(), "revision": format!("main@sha1:{first}"), "file": "team/a.yaml",
    });
    assert_eq!(origin(&a), wanted);

    // Only what changed is written, and the other keeps the revision at which it last changed.
    let b_before = f.workspace("b").await;
    let second = f
        .repository
        .commit(&[("team/a.yaml", &workspace("a", "i:2"))]);
    f.sync().await;
    let status = f.until_applied(&second).await;
    assert_eq!((status.history[0].updated, status.history.len()), (1, 2));
    let a = f.workspace("a").await;
    assert_eq!(a.spec.image, "i:2");
    assert_eq!(origin(&a)["revision"], format!("main@sha1:{second}"));
    let b = f.workspace("b").await;
    assert_eq!(b.resource_version(), b_before.resource_version());
    running.stop().await;
}

#[tokio::test]
async fn a_second_pass_over_the_same_commit_writes_nothing_even_after_a_restart() {
    let f = Fixture::new().await;
    let commit = f.repository.commit(&[
        ("a.yaml", &workspace("a", "i:1")),
        ("b.yaml", &workspace("b", "i:1")),
    ]);
    let running = f.start_at(&commit, json!({})).await;
    f.sync().await;
    // Passes that find nothing to do: by hook, which leaves no echo, and by a new process.
    let key = workstead::controllers::cache::Key::new(&f.namespace, super::NAME);
    let mark = f.faults.mark();
    let fetches = f.server.requests().len();
    assert!(f.requests.ask_fetch(key.clone()));
    f.eventually_fetched(fetches).await;
    running.stop().await;
    let fetches = f.server.requests().len();
    let running = f.start();
    f.eventually_fetched(fetches).await;
    running.stop().await;
    assert_eq!(f.writes_since(mark), Vec::<String>::new());
    // And it rests afterwards: two passes are a handful of reads.
    let calls = f.faults.calls_since(mark).len();
    assert!(calls < 30, "{calls} calls");
}

#[tokio::test]
async fn one_broken_file_among_many_hurts_only_its_own() {
    let f = Fixture::new().await;
    let mut change = f.repository.change();
    for n in 0..20 {
        change = change.file(
            &format!("{n:02}.yaml"),
            workspace(&format!("w{n:02}"), "i:1"),
        );
    }
    let good = change.commit();
    let running = f.start_at(&good, json!({})).await;
    let broken = workspace("w07", "i:2").replace("image:", "imago:");
    f.repository
        .change()
        .file("07.yaml", broken)
        .file("08.yaml", workspace("w08", "i:2"))
        .commit();
    f.sync().await;
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS211"; 1].repeat(status.errors.len()));
    assert_eq!(status.errors[0].file.as_deref(), Some("07.yaml"));
    assert!(status.errors[0].line.is_some());
    assert!(holds(&status, "Stalled"), "only a commit can help");
    assert_eq!(f.workspace("w07").await.spec.image, "i:1");
    assert_eq!(f.workspace("w08").await.spec.image, "i:2");
    assert_eq!(f.names().await.len(), 20);
    let mended = f
        .repository
        .commit(&[("07.yaml", &workspace("w07", "i:3"))]);
    f.sync().await;
    let status = f.until_applied(&mended).await;
    assert!(condition(&status, "Stalled").is_none());
    running.stop().await;
}

#[tokio::test]
async fn two_files_with_one_object_are_both_errors_and_the_live_one_stays() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    let running = f.start_at(&first, json!({})).await;
    f.repository.commit(&[
        ("a.yaml", &workspace("a", "i:2")),
        ("also.yaml", &workspace("a", "i:3")),
    ]);
    f.sync().await;
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS214", "GS214"]);
    assert_eq!(f.workspace("a").await.spec.image, "i:1");
    running.stop().await;
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_with_its_words_and_stops_no_other() {
    let f = Fixture::new().await;
    f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.create(json!({})).await;
    let running = f.start();
    f.until("a to be applied", |status| status.objects == Some(1))
        .await;
    // Only the server knows the owner that it already has.
    f.repository
        .change()
        .file(
            "a.yaml",
            workspace("a", "i:1").replace("alice@", "mallory@"),
        )
        .file("b.yaml", workspace("b", "i:1"))
        .commit();
    f.sync().await;
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS400"]);
    assert!(
        status.errors[0].message.contains("can't be changed"),
        "{:?}",
        status.errors
    );
    assert_eq!(status.errors[0].file.as_deref(), Some("a.yaml"));
    assert_eq!(f.names().await, ["a", "b"]);
    assert!(holds(&status, "Reconciling"), "it is tried again");
    running.stop().await;
}

#[tokio::test]
async fn what_others_made_or_keep_is_left_alone() {
    let f = Fixture::new().await;
    let other = json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync", "metadata": {"name": "other"},
        "spec": {"url": f.repository.url(), "suspend": true},
    });
    f.gitsyncs()
        .create(&Default::default(), &crate::object(other))
        .await
        .unwrap();
    for (name, labels, annotations) in [
        (
            "flux",
            json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}),
            json!({}),
        ),
        (
            "argo",
            json!({}),
            json!({"argocd.argoproj.io/tracking-id": "app:workstead.dev/Workspace:x/argo"}),
        ),
        (
            "other",
            json!({"gitsync.workstead.dev/name": "other", "gitsync.workstead.dev/namespace": f.namespace}),
            json!({}),
        ),
        ("mine", json!({}), json!({})),
    ] {
        let body = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": {"owner": "alice@example.com", "image": "i:0"},
        });
        f.workspaces()
            .create(&Default::default(), &crate::object(body))
            .await
            .unwrap();
    }
    let foreign = ["flux", "argo", "other"];
    let mut before = Vec::new();
    for name in foreign {
        before.push(f.workspace(name).await.resource_version());
    }
    let unmentioned = f.workspace("mine").await.resource_version();
    let mut change = f.repository.change();
    for name in foreign {
        change = change.file(&format!("{name}.yaml"), workspace(name, "i:1"));
    }
    change.file("new.yaml", workspace("new", "i:1")).commit();
    f.create(json!({})).await;
    let running = f.start();
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS402"; 3]);
    assert_eq!(status.objects, Some(1));
    for (name, version) in foreign.into_iter().zip(before) {
        assert_eq!(
            f.workspace(name).await.resource_version(),
            version,
            "{name}"
        );
    }
    assert_eq!(f.workspace("mine").await.resource_version(), unmentioned);
    running.stop().await;
}

#[tokio::test]
async fn a_suspended_gitsync_does_nothing_at_all_and_goes_on_later() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    let running = f.start_at(&first, json!({})).await;
    f.change(json!({"spec": {"suspend": true}})).await;
    let status = f.until_reason("Suspended").await;
    assert!(holds(&status, "Ready"), "what was applied stays applied");
    let (mark, fetches) = (f.faults.mark(), f.server.requests().len());
    let second = f.repository.commit(&[("a.yaml", &workspace("a", "i:2"))]);
    let edit = json!({"spec": {"image": "by-hand"}});
    f.workspaces()
        .patch("a", &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    let key = workstead::controllers::cache::Key::new(&f.namespace, super::NAME);
    assert!(f.requests.ask_fetch(key));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(f.writes_since(mark), Vec::<String>::new());
    assert_eq!(f.server.requests().len(), fetches);
    f.change(json!({"spec": {"suspend": false}})).await;
    f.until_applied(&second).await;
    assert_eq!(f.workspace("a").await.spec.image, "i:2");
    running.stop().await;
}

#[tokio::test]
async fn owners_outside_the_rules_and_kinds_and_namespaces_that_are_not_allowed_are_refused_each_by_itself()
 {
    let f = Fixture::new().await;
    let class = "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceClass\nmetadata:\n  name: sneaky\nspec: {}\n";
    let elsewhere = workspace("far", "i:1").replace("name: far", "name: far\n  namespace: default");
    f.repository.commit(&[
        ("alice/a.yaml", &workspace("a", "i:1")),
        ("bob/b.yaml", &workspace("b", "i:1")),
        ("alice/class.yaml", class),
        ("alice/far.yaml", &elsewhere),
    ]);
    f.create(json!({"owners": [
        {"path": "alice", "owners": ["alice@example.com"]},
        {"path": "bob", "owners": ["bob@example.com"]},
    ]}))
    .await;
    let running = f.start();
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(f.names().await, ["a"]);
    let mut seen = codes(&status);
    seen.sort_unstable();
    assert_eq!(seen, ["GS212", "GS213", "GS216"]);
    running.stop().await;
}

#[tokio::test]
async fn another_namespace_is_written_only_while_it_accepts_the_gitsync() {
    use k8s_openapi::api::core::v1::Namespace;
    let f = Fixture::new().await;
    let other = f.another_namespace().await;
    let file =
        workspace("far", "i:1").replace("name: far", &format!("name: far\n  namespace: {other}"));
    f.repository.commit(&[
        ("far.yaml", &file),
        ("near.yaml", &workspace("near", "i:1")),
    ]);
    f.create(json!({"allowedNamespaces": [f.namespace, other]}))
        .await;
    let running = f.start();
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS213"]);
    assert!(
        status.errors[0]
            .message
            .contains("workstead.dev/accept-gitsync")
    );
    let namespaces: kube::Api<Namespace> = kube::Api::all(f.client.clone());
    let accept = |value: serde_json::Value| json!({"metadata": {"annotations": {"workstead.dev/accept-gitsync": value}}});
    let list = json!(format!("else/where, {}/{}", f.namespace, super::NAME));
    namespaces
        .patch(
            &other,
            &PatchParams::default(),
            &Patch::Merge(&accept(list)),
        )
        .await
        .unwrap();
    f.sync().await;
    f.until("all to be applied", |status| {
        holds(status, "Ready") && status.objects == Some(2)
    })
    .await;
    // Acceptance that is taken back stops writing and deletes nothing.
    namespaces
        .patch(
            &other,
            &PatchParams::default(),
            &Patch::Merge(&accept(json!(null))),
        )
        .await
        .unwrap();
    f.repository
        .commit(&[("far.yaml", &file.replace("i:1", "i:2"))]);
    f.sync().await;
    f.until_reason("PartiallyApplied").await;
    let far: kube::Api<workstead::api::Workspace> = kube::Api::namespaced(f.client.clone(), &other);
    assert_eq!(far.get("far").await.unwrap().spec.image, "i:1");
    f.repository.change().delete("far.yaml").commit();
    f.sync().await;
    let status = f.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS213"]);
    assert_eq!(status.objects, Some(2), "it is not forgotten either");
    assert!(far.get_opt("far").await.unwrap().is_some());
    running.stop().await;
}

#[tokio::test]
async fn classes_are_written_from_the_controllers_own_namespace() {
    let f = Fixture::new().await;
    let name = format!("class-of-{}", f.namespace);
    let class = format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceClass\nmetadata:\n  name: {name}\nspec: {{}}\n"
    );
    let commit = f
        .repository
        .commit(&[("class.yaml", &class), ("a.yaml", &workspace("a", "i:1"))]);
    f.create(json!({"allowedKinds": ["Workspace", "WorkspaceClass"]}))
        .await;
    let running = f.start_in(&f.namespace);
    f.until_applied(&commit).await;
    let classes: kube::Api<workstead::api::WorkspaceClass> = kube::Api::all(f.client.clone());
    assert_eq!(
        classes.get(&name).await.unwrap().labels()["gitsync.workstead.dev/name"],
        "team"
    );
    running.stop().await;
    // The same from anywhere else is refused.
    let g = Fixture::new().await;
    g.repository
        .commit(&[("class.yaml", &class.replace(&name, "sneaky"))]);
    g.create(json!({"allowedKinds": ["Workspace", "WorkspaceClass"]}))
        .await;
    let running = g.start_in("elsewhere");
    let status = g.until_reason("PartiallyApplied").await;
    assert_eq!(codes(&status), ["GS212"]);
    assert!(classes.get_opt("sneaky").await.unwrap().is_none());
    running.stop().await;
    classes
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn sealed_sets_are_applied_before_the_workspaces_that_may_list_them() {
    let f = Fixture::new().await;
    let sealed = include_str!("../../../src/secrets/vectors/age.txt").replace('\n', "\n    ");
    let set = format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceVariables\nmetadata:\n  name: z\nspec:\n  format: Age\n  sealed: |\n    {sealed}\n"
    );
    let files = [("a.yaml", &*workspace("a", "i:1")), ("z.yaml", &*set)];
    let commit = f.repository.commit(&files);
    f.create(json!({})).await;
    let running = f.start();
    f.until_applied(&commit).await;
    let writes = f.faults.writes();
    let applied: Vec<&str> = writes
        .iter()
        .map(Call::resource)
        .filter(|resource| ["workspaces", "workspacevariables"].contains(resource))
        .collect();
    assert_eq!(applied, ["workspacevariables", "workspaces"]);
    let sets: kube::Api<workstead::api::WorkspaceVariables> =
        kube::Api::namespaced(f.client.clone(), &f.namespace);
    let stored = sets.get("z").await.unwrap().spec.sealed;
    assert_eq!(
        stored.trim_end(),
        include_str!("../../../src/secrets/vectors/age.txt").trim_end()
    );
    running.stop().await;
}

#[tokio::test]
async fn an_inventory_that_always_conflicts_is_told_of_and_written_ever_more_rarely() {
    use workstead::testkit::faults::{Call, Fault, When};
    let f = Fixture::new().await;
    let commit = f.push(&["a"]);
    let is_inventory = |call: &Call| call.is_write() && call.resource() == "configmaps";
    f.faults
        .always(When::matching(is_inventory), Fault::Answer(409));
    f.create(json!({})).await;
    let running = f.start();
    f.until("the conflict to be told of", |status| {
        condition(status, "Ready").is_some_and(|(is, ..)| is == "False")
    })
    .await;
    let mark = f.faults.mark();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let writes = f.faults.writes_since(mark);
    let asked = writes.iter().filter(|call| is_inventory(call)).count();
    // The pauses of the test grow from 50 ms to 1 s.
    assert!((1..15).contains(&asked), "{asked} times");
    f.faults.heal();
    f.until_applied(&commit).await;
    running.stop().await;
}
