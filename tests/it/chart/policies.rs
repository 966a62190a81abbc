//! Who may do what where the chart is installed.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use workstead::api::{Workspace, WorkspaceClass};
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::{CONTROLLER, install};

/// A control plane of its own, since policies hold in the whole cluster, with the chart installed by Helm.
async fn installed() -> &'static ControlPlane {
    static INSTALLED: OnceCell<ControlPlane> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let plane = ControlPlane::start().await.unwrap();
            install(&plane, &["admission.trustedUsers={restorer}"]).unwrap();
            // Policies hold a moment after they are there.
            let impostor = plane.client_as("impostor", &["testers"]);
            allow(&plane, "impostor", "workstead-edit").await;
            eventually("the policies hold", async || {
                let made = workspaces(&impostor)
                    .create(&dry_run(), &workspace("probe", "somebody-else", json!({})))
                    .await;
                made.is_err_and(|error| error.to_string().contains("workstead-owner"))
                    .then_some(())
            })
            .await;
            plane
        })
        .await
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

fn workspaces(client: &Client) -> Api<Workspace> {
    Api::namespaced(client.clone(), "default")
}

fn workspace(name: &str, owner: &str, metadata: Value) -> Workspace {
    let mut value = json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": metadata,
        "spec": {"owner": owner, "image": "debian"},
    });
    value["metadata"]["name"] = name.into();
    crate::object(value)
}

async fn allow(plane: &ControlPlane, user: &str, role: &str) {
    let bindings: Api<ClusterRoleBinding> = Api::all(plane.client());
    let binding = crate::object(json!({
        "metadata": {"name": format!("{user}-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }));
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_chart_brings_its_definitions_and_a_default_class_and_can_be_installed_again() {
    let plane = installed().await;
    let classes: Api<WorkspaceClass> = Api::all(plane.client());
    let class = classes.get("standard").await.unwrap();
    assert_eq!(
        class.annotations()["workstead.dev/is-default-class"],
        "true"
    );
    // The class was a hook; from now on it is an object of the release, and follows its values.
    install(
        plane,
        &[
            "admission.trustedUsers={restorer}",
            "defaultClass.spec.quota.total=7",
        ],
    )
    .unwrap();
    let class = classes.get("standard").await.unwrap();
    assert_eq!(class.spec.quota.unwrap().total, Some(7));
}

#[tokio::test]
async fn a_second_default_class_is_refused_with_the_command_that_makes_room_for_it() {
    let plane = ControlPlane::start().await.unwrap();
    install(&plane, &[]).unwrap();
    let classes: Api<WorkspaceClass> = Api::all(plane.client());
    // The kind is known to Helm a moment after it was made.
    let error = eventually("the renamed class is refused", async || {
        install(&plane, &["defaultClass.name=other"]).err()
    })
    .await;
    let command = "kubectl annotate workspaceclass standard workstead.dev/is-default-class-";
    assert!(error.contains(command), "{error}");
    assert!(classes.get_opt("other").await.unwrap().is_none());
    // Without a class of the chart's own there is no second one.
    install(&plane, &["defaultClass.create=false"]).unwrap();

    let mut kubectl = plane.kubectl();
    kubectl.args(command.split(' ').skip(1));
    assert!(kubectl.status().unwrap().success());
    install(&plane, &["defaultClass.name=other"]).unwrap();
    let defaults: Vec<String> = classes
        .list(&ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .filter(workstead::model::class::is_default)
        .map(|class| class.name_any())
        .collect();
    assert_eq!(defaults, ["other"]);
    assert!(classes.get_opt("standard").await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_names_somebody_else_as_owner_without_the_verb() {
    let plane = installed().await;
    allow(plane, "mallory", "workstead-edit").await;
    let mallory = workspaces(&plane.client_as("mallory", &["testers"]));
    let error = mallory
        .create(
            &PostParams::default(),
            &workspace("owner-forged", "alice", json!({})),
        )
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("spec.owner names 'alice', but you are 'mallory'"),
        "{error}"
    );
    assert!(error.contains("workstead-assign-owner"), "{error}");
    let own = workspace("owner-own", "mallory", json!({}));
    mallory.create(&PostParams::default(), &own).await.unwrap();

    allow(plane, "mallory", "workstead-assign-owner").await;
    eventually("the verb is seen", async || {
        let given = workspace("owner-given", "alice", json!({}));
        mallory.create(&PostParams::default(), &given).await.ok()
    })
    .await;
}

#[tokio::test]
async fn the_controller_names_any_owner_by_holding_the_verb() {
    let plane = installed().await;
    let controller = workspaces(&plane.client_as(CONTROLLER, &[]));
    let made = workspace("owner-from-git", "alice", json!({}));
    controller.create(&dry_run(), &made).await.unwrap();
}

#[tokio::test]
async fn only_the_controller_claims_an_object_for_a_gitsync() {
    let plane = installed().await;
    allow(plane, "oscar", "workstead-edit").await;
    let oscar = workspaces(&plane.client_as("oscar", &["testers"]));
    let controller = workspaces(&plane.client_as(CONTROLLER, &[]));
    let labelled = json!({"labels": {"gitsync.workstead.dev/name": "x"}});
    let annotated = json!({"annotations": {"workstead.dev/origin": "{}"}});
    for (claim, said) in [
        (&labelled, "labels gitsync.workstead.dev/"),
        (&annotated, "origin"),
    ] {
        let made = workspace("claim-at-once", "oscar", claim.clone());
        let error = oscar
            .create(&dry_run(), &made)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
        // Whoever holds every right is no controller either.
        let admin = workspaces(&plane.client());
        admin.create(&dry_run(), &made).await.unwrap_err();
    }
    let own = workspace("claim", "oscar", json!({}));
    oscar.create(&PostParams::default(), &own).await.unwrap();
    let claim = Patch::Merge(json!({"metadata": labelled}));
    let parameters = PatchParams::default();
    oscar.patch("claim", &parameters, &claim).await.unwrap_err();
    controller
        .patch("claim", &parameters, &claim)
        .await
        .unwrap();

    // What is not touched is not refused, and letting go is allowed.
    let harmless = Patch::Merge(json!({"metadata": {"labels": {"mine": "yes"}}}));
    oscar.patch("claim", &parameters, &harmless).await.unwrap();
    let other = Patch::Merge(json!({"metadata": {"labels": {"gitsync.workstead.dev/name": "y"}}}));
    oscar.patch("claim", &parameters, &other).await.unwrap_err();
    let gone = Patch::Merge(json!({"metadata": {"labels": {"gitsync.workstead.dev/name": null}}}));
    oscar.patch("claim", &parameters, &gone).await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_controller_hides_that_an_object_came_from_git() {
    let plane = installed().await;
    allow(plane, "erin", "workstead-edit").await;
    let erin = workspaces(&plane.client_as("erin", &["testers"]));
    let controller = workspaces(&plane.client_as(CONTROLLER, &[]));
    let from_git = json!({
        "labels": {"gitsync.workstead.dev/name": "x", "gitsync.workstead.dev/namespace": "default"},
        "annotations": {"workstead.dev/origin": "{}"},
    });
    let made = workspace("hidden", "alice", from_git);
    controller
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    let parameters = PatchParams::default();
    let origin = Patch::Merge(json!({"metadata": {"annotations": {"workstead.dev/origin": null}}}));
    let all = Patch::Merge(json!({"metadata": {"annotations": null, "labels": null}}));
    for hiding in [&origin, &all] {
        let refused = eventually("the rights are seen", async || {
            let error = erin.patch("hidden", &parameters, hiding).await.unwrap_err();
            let text = error.to_string();
            text.contains("workstead.dev/origin").then_some(text)
        })
        .await;
        assert!(refused.contains("Leave it as it is"), "{refused}");
    }
    let labels = Patch::Merge(json!({"metadata": {"labels": null}}));
    erin.patch("hidden", &parameters, &labels).await.unwrap();
    controller
        .patch("hidden", &parameters, &origin)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_trusted_user_writes_back_a_backup_with_its_labels() {
    let plane = installed().await;
    allow(plane, "restorer", "workstead-edit").await;
    allow(plane, "restorer", "workstead-assign-owner").await;
    let restorer = workspaces(&plane.client_as("restorer", &["testers"]));
    let labels = json!({"labels": {"gitsync.workstead.dev/name": "x"}});
    restorer
        .create(&dry_run(), &workspace("restored", "alice", labels))
        .await
        .unwrap();
}

#[tokio::test]
async fn with_a_prefix_only_names_that_carry_it_count() {
    let plane = ControlPlane::start().await.unwrap();
    install(&plane, &["admission.usernamePrefix=oidc:"]).unwrap();
    for user in ["oidc:alice", "alice"] {
        allow(&plane, user, "workstead-edit").await;
    }
    let bare = workspaces(&plane.client_as("alice", &["testers"]));
    let real = workspaces(&plane.client_as("oidc:alice", &["testers"]));
    let wanted = workspace("prefixed", "alice", json!({}));
    let error = eventually("the policy holds", async || {
        bare.create(&dry_run(), &wanted)
            .await
            .err()
            .map(|error| error.to_string())
    })
    .await;
    assert!(error.contains("without 'oidc:'"), "{error}");
    real.create(&dry_run(), &wanted).await.unwrap();
}
