//! Workspaces take sealed sets: by precedence, at their first start, and again when somebody asks for it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use workstead::api::WorkspaceVariables;
use workstead::api::environment::{PinnedVariables, VariableChange};
use workstead::api::workspace::{ActualState, Cause, WorkspaceStatus};
use workstead::model::names::VARIABLES_DIGEST_ANNOTATION;
use workstead::testkit::wait::eventually;

use super::{World, writes_since};
use crate::controllers::variables::World as Sets;

const ASK: &str = "workstead.dev/variables-update-requested-at";
const RESTART: &str = "workstead.dev/restart-requested-at";

async fn sets(world: &World) -> Sets {
    Sets::of(world.client.clone(), world.namespace.clone()).await
}

/// The Secrets with variables of all Workspaces, by name: what is in them, as text.
async fn secrets(world: &World) -> BTreeMap<String, BTreeMap<String, String>> {
    let all = world
        .api::<Secret>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let ours = all.items.into_iter().filter(|secret| {
        let is_ours = secret
            .annotations()
            .contains_key(VARIABLES_DIGEST_ANNOTATION);
        assert!(!is_ours || secret.immutable == Some(true));
        is_ours
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    ours.map(|secret| {
        let data = secret.data.clone().unwrap_or_default().into_iter();
        let data = data.map(|(key, value)| (key, text(value.0))).collect();
        (secret.name_any(), data)
    })
    .collect()
}

pub(super) async fn values(world: &World, status: &WorkspaceStatus) -> BTreeMap<String, String> {
    let name = &status.variables.as_ref().unwrap().secret;
    secrets(world).await.remove(name).unwrap()
}

pub(super) fn condition<'a>(
    status: &'a WorkspaceStatus,
    type_: &str,
) -> Option<(&'a str, &'a str, &'a str)> {
    let found = status.conditions.iter().find(|one| one.type_ == type_)?;
    Some((&found.status, &found.reason, &found.message))
}

pub(super) fn is_outdated(status: &WorkspaceStatus) -> bool {
    condition(status, "VariablesOutdated").is_some()
}

pub(super) fn changes(pinned: &PinnedVariables) -> Vec<(&str, VariableChange)> {
    let outdated = pinned.outdated.iter();
    outdated
        .map(|one| (one.name.as_str(), one.change))
        .collect()
}

/// The template of the Deployment, as JSON.
async fn template(world: &World, name: &str) -> Value {
    let deployment: Deployment = world.api().get(name).await.unwrap();
    serde_json::to_value(deployment.spec.unwrap().template.spec.unwrap()).unwrap()
}

/// Restarts a workspace and waits until its new pod is ready.
pub(super) async fn restart(world: &World, name: &str, request: &str) -> WorkspaceStatus {
    let patch = json!({"metadata": {"annotations": {RESTART: request}}});
    world.change(name, patch).await;
    world
        .until(name, "the restart", |status| {
            status.last_handled_restart_at.as_deref() == Some(request)
                && status.actual_state == Some(ActualState::Running)
        })
        .await
}

#[tokio::test]
async fn a_workspace_has_what_its_sets_bring_in_order_and_its_pod_names_a_secret_alone() {
    let world = World::new("sets").await;
    let process = world.start();
    let sets = sets(&world).await;
    sets.accepted(
        "base",
        "appliesTo: {namespace: true}\nenv: {A: ns, B: ns, C: ns, D: ns}",
    )
    .await;
    sets.accepted(
        "z-first",
        "env: {B: first, C: first, E: '$(A) $$'}\nfiles: {z.txt: {content: first}}",
    )
    .await;
    sets.accepted(
        "a-second",
        "env: {C: second}\nfiles: {'~/.netrc': {content: secret, mode: '0400'}}",
    )
    .await;
    sets.accepted("unlisted", "env: {X: not for all}").await;
    let spec = json!({
        "variables": [{"name": "z-first"}, {"name": "a-second"}],
        "env": [{"name": "D", "value": "inline"}],
    });
    let status = world.run("dev", spec).await;
    let pinned = status.variables.clone().unwrap();
    assert_eq!(
        values(&world, &status).await,
        [
            ("A", "ns"),
            ("B", "first"),
            ("C", "second"),
            ("D", "ns"),
            ("E", "$(A) $$"),
            ("file-0000", "first"),
            ("file-0001", "secret")
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    );
    let told: Vec<_> = pinned
        .sets
        .iter()
        .map(|set| format!("{:?}/{} {:?} {:?}", set.level, set.name, set.env, set.files))
        .collect();
    assert_eq!(
        told,
        [
            r#"Namespace/base ["A"] []"#,
            r#"Workspace/z-first ["B", "E"] ["z.txt"]"#,
            r#"Workspace/a-second ["C"] ["~/.netrc"]"#,
        ]
    );
    assert_eq!(condition(&status, "VariablesReady").unwrap().0, "True");
    assert!(!is_outdated(&status));
    let pod = template(&world, "dev").await;
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let of = |name: &str| env.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(
        of("C")["valueFrom"],
        json!({"secretKeyRef": {"name": pinned.secret, "key": "C"}})
    );
    assert_eq!(of("D")["value"], "inline");
    let volumes = pod["volumes"].as_array().unwrap();
    let files = volumes.iter().find(|one| one["name"] == "files").unwrap();
    assert_eq!(
        files["secret"]["items"],
        json!([{"key": "file-0000", "path": "z.txt", "mode": 0o440},
               {"key": "file-0001", "path": "~/.netrc", "mode": 0o400}])
    );
    let used = eventually("who uses a set", || async {
        let set: WorkspaceVariables = sets.sets().get("base").await.unwrap();
        set.status?.used_by
    })
    .await;
    assert_eq!((used.count, used.workspaces), (1, vec!["dev".to_owned()]));
    // Another process has nothing to write.
    world.settle().await;
    process.stop().await.unwrap();
    let mark = world.faults.mark();
    let process = world.start();
    super::until_passed(&process).await;
    world.settle().await;
    let writes = writes_since(&world.faults, mark);
    assert_eq!(workstead::testkit::faults::lines(&writes), "");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_newer_set_is_named_and_taken_when_somebody_asks_for_it() {
    let world = World::new("newer").await;
    let process = world.start();
    let _ready = world.auto_ready();
    let sets = sets(&world).await;
    sets.accepted("dev", "env: {A: '1', B: '1', C: '1'}").await;
    world
        .create("dev", json!({"variables": [{"name": "dev"}]}))
        .await;
    let first = world.until_state("dev", ActualState::Running).await;
    world.settle().await;
    let pods: Vec<_> = world
        .pods("dev")
        .await
        .iter()
        .map(|pod| pod.uid())
        .collect();

    // Sealed anew with the same content: nothing waits.
    sets.accepted("dev", "env: {A: '1', B: '1', C: '1'}").await;
    world
        .until("dev", "the comparison", |status| {
            let compared =
                |status: &WorkspaceStatus| status.variables.as_ref().unwrap().compared.clone();
            compared(status) != compared(&first) && !is_outdated(status)
        })
        .await;

    sets.accepted("dev", "env: {A: '1', B: '2', D: '1'}").await;
    let status = world.until("dev", "newer variables", is_outdated).await;
    let expected = [
        ("B", VariableChange::Changed),
        ("C", VariableChange::Removed),
        ("D", VariableChange::Added),
    ];
    assert_eq!(changes(status.variables.as_ref().unwrap()), expected);
    assert_eq!(condition(&status, "Ready").unwrap().0, "True");
    let now: Vec<_> = world
        .pods("dev")
        .await
        .iter()
        .map(|pod| pod.uid())
        .collect();
    assert_eq!(now, pods, "nothing restarts");

    // A restart alone changes nothing.
    let status = restart(&world, "dev", "1").await;
    assert_eq!(values(&world, &status).await, values(&world, &first).await);
    assert!(is_outdated(&status));

    let ask = json!({"metadata": {"annotations": {ASK: "please"}}});
    world.change("dev", ask).await;
    let status = restart(&world, "dev", "2").await;
    assert_eq!(
        status.last_handled_variables_update_at.as_deref(),
        Some("please")
    );
    assert!(!is_outdated(&status));
    let taken = values(&world, &status).await;
    assert_eq!(taken.get("B").map(String::as_str), Some("2"));
    assert!(!taken.contains_key("C"));
    // The start before is kept, the ones before that are not.
    restart(&world, "dev", "3").await;
    eventually("old Secrets to go", || async {
        (secrets(&world).await.len() == 1).then_some(())
    })
    .await;

    world.want("dev", "Terminated").await;
    world.until_state("dev", ActualState::Terminated).await;
    assert_eq!(secrets(&world).await, BTreeMap::new());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_set_that_is_gone_or_refused_takes_nothing_from_who_has_it() {
    let world = World::new("gone").await;
    let process = world.start();
    let _ready = world.auto_ready();
    let sets = sets(&world).await;
    sets.accepted("dev", "serial: 2\nenv: {A: '1'}").await;
    world
        .create("dev", json!({"variables": [{"name": "dev"}]}))
        .await;
    let first = world.until_state("dev", ActualState::Running).await;

    sets.apply("dev", &sets.seal("dev", "serial: 1\nenv: {A: old}"))
        .await;
    sets.until("dev", "ReplayedVariables").await;
    let status = world
        .until("dev", "the refusal", |status| {
            condition(status, "VariablesReady").is_some_and(|(status, ..)| status == "False")
        })
        .await;
    let (_, reason, message) = condition(&status, "VariablesReady").unwrap();
    assert_eq!(reason, "VariablesUnavailable");
    assert!(message.contains("WV102"), "{message}");
    assert_eq!(condition(&status, "Ready").unwrap().0, "True");
    // Who asks for what is newest keeps what there is.
    world
        .change("dev", json!({"metadata": {"annotations": {ASK: "1"}}}))
        .await;
    let status = restart(&world, "dev", "1").await;
    assert_eq!(status.last_handled_variables_update_at, None);
    assert_eq!(values(&world, &status).await["A"], "1");

    // Nobody new gets it.
    world
        .create("other", json!({"variables": [{"name": "dev"}]}))
        .await;
    let waits = world
        .until("other", "that it waits", |status| status.failure.is_some())
        .await;
    assert_eq!(waits.failure.unwrap().cause, Cause::VariablesUnavailable);
    assert_eq!(world.pods("other").await.len(), 0);

    world.delete::<WorkspaceVariables>("dev").await;
    let status = restart(&world, "dev", "2").await;
    assert_eq!(values(&world, &status).await, values(&world, &first).await);
    // Made anew, it is taken by who waits for it.
    sets.accepted("dev", "env: {A: new}").await;
    let status = world.until_state("other", ActualState::Running).await;
    assert_eq!(values(&world, &status).await["A"], "new");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_workspace_that_comes_before_its_set_waits_for_it() {
    let world = World::new("early").await;
    let process = world.start();
    let _ready = world.auto_ready();
    let sets = sets(&world).await;
    world
        .create("dev", json!({"variables": [{"name": "late"}]}))
        .await;
    let status = world
        .until("dev", "that it waits", |status| status.failure.is_some())
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.cause, Cause::VariablesUnavailable);
    assert!(
        failure.message.contains("late is not there"),
        "{}",
        failure.message
    );
    sets.accepted("late", "env: {A: '1'}").await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(values(&world, &status).await["A"], "1");

    // Another list is taken by the next start, without a request.
    sets.accepted("more", "env: {A: '2', B: '2'}").await;
    world
        .change(
            "dev",
            json!({"spec": {"variables": [{"name": "late"}, {"name": "more"}]}}),
        )
        .await;
    let status = world.until("dev", "what waits", is_outdated).await;
    let pending = status.revision.unwrap().pending;
    let fields: Vec<_> = pending.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["spec.variables"]);
    let status = restart(&world, "dev", "1").await;
    assert_eq!(values(&world, &status).await["A"], "2");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_class_may_have_every_start_take_what_is_newest() {
    let world = World::with_class("refresh", json!({"variables": {"refreshAtStart": true}})).await;
    let process = world.start();
    let _ready = world.auto_ready();
    let sets = sets(&world).await;
    sets.accepted("dev", "env: {A: '1'}").await;
    world
        .create("dev", json!({"variables": [{"name": "dev"}]}))
        .await;
    world.until_state("dev", ActualState::Running).await;
    sets.accepted("dev", "env: {A: '2'}").await;
    let status = world.until("dev", "newer variables", is_outdated).await;
    assert_eq!(values(&world, &status).await["A"], "1");
    let status = restart(&world, "dev", "1").await;
    assert_eq!(values(&world, &status).await["A"], "2");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_secret_that_somebody_deletes_comes_back_with_the_same_values() {
    let world = World::new("deleted").await;
    let process = world.start();
    let _ready = world.auto_ready();
    let sets = sets(&world).await;
    sets.accepted("dev", "env: {A: '1'}").await;
    world
        .create("dev", json!({"variables": [{"name": "dev"}]}))
        .await;
    let status = world.until_state("dev", ActualState::Running).await;
    let secret = status.variables.unwrap().secret;
    world.delete::<Secret>(&secret).await;
    let back = eventually("the Secret", || async {
        secrets(&world).await.remove(&secret)
    })
    .await;
    assert_eq!(back["A"], "1");

    // When its set is another one meanwhile, the next start takes that.
    sets.accepted("dev", "env: {A: '2'}").await;
    world.until("dev", "newer variables", is_outdated).await;
    world.delete::<Secret>(&secret).await;
    let status = restart(&world, "dev", "1").await;
    assert_eq!(values(&world, &status).await["A"], "2");
    process.stop().await.unwrap();
}

#[tokio::test]
async fn sets_for_an_owner_are_withheld_while_nobody_checks_who_that_is() {
    let world = World::new("owner").await;
    let process = world.start();
    let _ready = world.auto_ready();
    let sets = sets(&world).await;
    sets.accepted(
        "alice",
        "appliesTo: {owner: alice@example.com}\nenv: {A: alice}",
    )
    .await;
    sets.accepted("bob", "appliesTo: {owner: bob@example.com}\nenv: {A: bob}")
        .await;
    world.create("dev", json!({})).await;
    let status = world.until_state("dev", ActualState::Running).await;
    assert_eq!(secrets(&world).await, BTreeMap::new());
    let (_, reason, message) = condition(&status, "VariablesReady").unwrap();
    assert_eq!(reason, "OwnerUnchecked");
    assert!(
        message.contains("WV108: WorkspaceVariables alice"),
        "{message}"
    );
    // Who lists it expects it.
    for name in ["alice", "bob"] {
        let workspace = format!("of-{name}");
        world
            .create(&workspace, json!({"variables": [{"name": name}]}))
            .await;
        let waits = world
            .until(&workspace, "that it waits", |status| {
                status.failure.is_some()
            })
            .await;
        let message = waits.failure.unwrap().message;
        assert!(message.contains("WV108"), "{message}");
    }
    process.stop().await.unwrap();
}
