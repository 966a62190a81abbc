//! Whether owners are checked, as the controller sees it on a real API server with the chart's policies.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workstead::api::{GitSync, Workspace, WorkspaceVariables};
use workstead::controllers::Scope;
use workstead::controllers::owners::OwnerChecks;
use workstead::model::names::{OWNER_POLICY, OWNERSHIP_POLICY};
use workstead::model::owners::OwnerCheck;
use workstead::secrets::binding::Audience;
use workstead::telemetry::{Health, Metrics};
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use crate::chart::{CONTROLLER, install};

const REPOSITORY: &str = "https://git.example.com/team";

/// Checks that run, on a control plane of their own: policies hold in the whole cluster.
struct World {
    plane: ControlPlane,
    namespace: String,
    checks: Arc<OwnerChecks>,
    health: Health,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl World {
    async fn start() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        plane.install_definitions().await.unwrap();
        let namespace = plane.namespace("owners").await.unwrap();
        let checks = Arc::new(OwnerChecks::looking_every(Duration::from_millis(100)));
        let (health, stop) = (Health::new(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn({
            let (checks, health, stop) = (checks.clone(), health.clone(), stop.clone());
            let client = plane.client();
            async move {
                let (scope, metrics) = (Scope::default(), Arc::new(Metrics::new()));
                checks
                    .follow(&client, &scope, &metrics, &health, &stop)
                    .await;
            }
        });
        Self {
            plane,
            namespace,
            checks,
            health,
            stop,
            task,
        }
    }

    /// Installs the chart, and waits until what is made from now on is younger than its policies.
    async fn install(&self) {
        // The definitions are there already, and are not Helm's.
        install(
            &self.plane,
            &["crds.install=false", "defaultClass.create=false"],
        )
        .unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }

    /// Makes a Workspace as the controller does, which may name anybody and say where it is from.
    async fn workspace(&self, name: &str, metadata: Value) -> Workspace {
        let client = self.plane.client_as(CONTROLLER, &["system:masters"]);
        let workspaces: Api<Workspace> = Api::namespaced(client, &self.namespace);
        let mut object = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
            "metadata": metadata, "spec": {"owner": "alice", "image": "debian"},
        });
        object["metadata"]["name"] = name.into();
        workspaces
            .create(&PostParams::default(), &crate::object(object))
            .await
            .unwrap()
    }

    fn git_metadata(&self, file: &str) -> Value {
        let origin = json!({"repository": REPOSITORY, "revision": "abc", "file": file});
        json!({
            "labels": {
                "gitsync.workstead.dev/namespace": self.namespace, "gitsync.workstead.dev/name": "team",
            },
            "annotations": {"workstead.dev/origin": origin.to_string()},
        })
    }

    async fn until_checked(&self, workspace: &Workspace) {
        let what = format!(
            "the owner to be checked, not {:?}",
            self.checks.of(workspace)
        );
        eventually(&what, || async {
            (self.checks.of(workspace) == OwnerCheck::Checked).then_some(())
        })
        .await;
    }

    async fn until_unchecked(&self, workspace: &Workspace, why: &str) {
        eventually(&format!("the owner to be unchecked by {why}"), || async {
            match self.checks.of(workspace) {
                OwnerCheck::Unchecked(said) if said.contains(why) => Some(()),
                _ => None,
            }
        })
        .await;
    }

    fn note(&self) -> String {
        let notes = self.health.notes();
        notes
            .first()
            .map(|note| note.why.clone())
            .unwrap_or_default()
    }

    fn policies(&self) -> Api<ValidatingAdmissionPolicy> {
        Api::all(self.plane.client())
    }

    fn bindings(&self) -> Api<ValidatingAdmissionPolicyBinding> {
        Api::all(self.plane.client())
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.join_all().await;
    }
}

fn merge(value: Value) -> Patch<Value> {
    Patch::Merge(value)
}

#[tokio::test]
async fn owners_are_checked_while_the_policies_are_in_force_for_whatever_is_younger() {
    let world = World::start().await;
    let params = PatchParams::default();
    let older = world.workspace("older", json!({})).await;
    world
        .until_unchecked(&older, "no ValidatingAdmissionPolicy workstead-owner")
        .await;
    assert!(world.note().contains("reach nobody"), "{}", world.note());
    assert!(world.health.missing().is_empty());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.install().await;
    world.until_unchecked(&older, "not younger").await;
    let younger = world.workspace("younger", json!({})).await;
    world.until_checked(&younger).await;
    assert!(world.note().contains("in force for"), "{}", world.note());

    let audit = merge(json!({"spec": {"validationActions": ["Audit"]}}));
    let deny = merge(json!({"spec": {"validationActions": ["Deny"]}}));
    for policy in [OWNER_POLICY, OWNERSHIP_POLICY] {
        world
            .bindings()
            .patch(policy, &params, &audit)
            .await
            .unwrap();
        world.until_unchecked(&younger, "does not deny").await;
        world
            .bindings()
            .patch(policy, &params, &deny)
            .await
            .unwrap();
        world.until_checked(&younger).await;
    }
    let selector = |labels: Value| {
        merge(json!({"spec": {"matchConstraints": {"namespaceSelector": {"matchLabels": labels}}}}))
    };
    let policies = world.policies();
    let narrow = selector(json!({"a": "b"}));
    policies
        .patch(OWNER_POLICY, &params, &narrow)
        .await
        .unwrap();
    world.until_unchecked(&younger, "namespaceSelector").await;
    let wide = selector(Value::Null);
    policies.patch(OWNER_POLICY, &params, &wide).await.unwrap();
    world.until_checked(&younger).await;

    let bindings = world.bindings();
    bindings
        .delete(OWNER_POLICY, &DeleteParams::default())
        .await
        .unwrap();
    world
        .until_unchecked(
            &younger,
            "no ValidatingAdmissionPolicyBinding workstead-owner",
        )
        .await;
    // What was made before it is back is not believed: nobody looked in between.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.install().await;
    world.until_unchecked(&younger, "not younger").await;
    let youngest = world.workspace("youngest", json!({})).await;
    world.until_checked(&youngest).await;
    world.end().await;
}

#[tokio::test]
async fn an_owner_from_git_is_checked_by_the_gitsync_that_lists_it_for_the_file() {
    let world = World::start().await;
    world.install().await;
    let params = PatchParams::default();
    let syncs: Api<GitSync> = Api::namespaced(world.plane.client(), &world.namespace);
    let workspace = world
        .workspace("api", world.git_metadata("teams/a/api.yaml"))
        .await;
    world.until_unchecked(&workspace, "is gone").await;

    let sync = crate::object(json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync",
        "metadata": {"name": "team"}, "spec": {"url": REPOSITORY},
    }));
    syncs.create(&PostParams::default(), &sync).await.unwrap();
    world
        .until_unchecked(&workspace, "no rule in spec.owners")
        .await;
    let owners = |owners: &[&str]| {
        let rules = json!([
            {"path": "teams", "owners": ["alice"]}, {"path": "teams/a", "owners": owners},
        ]);
        merge(json!({"spec": {"owners": rules}}))
    };
    let others = owners(&["bob"]);
    syncs.patch("team", &params, &others).await.unwrap();
    world
        .until_unchecked(&workspace, "does not list alice")
        .await;
    let mut bell = Box::pin(world.checks.changes());
    let listed = owners(&["bob", "alice"]);
    syncs.patch("team", &params, &listed).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), futures::StreamExt::next(&mut bell))
        .await
        .unwrap();
    world.until_checked(&workspace).await;

    let unlabelled = {
        let mut workspace = workspace.clone();
        workspace.metadata.labels = None;
        workspace
    };
    world.until_unchecked(&unlabelled, "came from Git").await;

    let set: WorkspaceVariables = crate::object(json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables",
        "metadata": workspace.metadata, "spec": {"format": "Age", "sealed": "x"},
    }));
    let owner = |name: &str| Audience::Owner(name.to_owned());
    let judged = |audience: &Audience| world.checks.set_may_apply(&set, audience);
    judged(&owner("bob")).unwrap();
    judged(&owner("eve")).unwrap_err();
    judged(&Audience::Namespace).unwrap_err();
    judged(&Audience::Listed).unwrap();

    syncs
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    world.until_unchecked(&workspace, "is gone").await;
    judged(&owner("bob")).unwrap_err();
    world.end().await;
}

#[tokio::test]
async fn policies_that_may_not_be_read_check_nobody_and_the_right_that_lacks_is_said() {
    let plane = ControlPlane::shared().await.unwrap();
    let checks = OwnerChecks::looking_every(Duration::from_millis(100));
    let (health, stop) = (Health::new(), CancellationToken::new());
    let client = plane.client_as("nobody-in-particular", &[]);
    let (scope, metrics) = (Scope::default(), Arc::new(Metrics::new()));
    let told = async {
        let why = eventually("a note", || async {
            Some(health.notes().first()?.why.clone())
        })
        .await;
        stop.cancel();
        why
    };
    let following = checks.follow(&client, &scope, &metrics, &health, &stop);
    let ((), why) = tokio::join!(following, told);
    assert!(
        why.contains("failed to read ValidatingAdmissionPolicy workstead-owner"),
        "{why}"
    );
    assert!(why.contains("give the role of the controller"), "{why}");
}
