//! The Helm chart: what is generated in it, what it renders, and what its policies refuse on a real API server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use workstead::api::{Workspace, WorkspaceClass, crds};
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a generated file with what is committed; with `WORKSTEAD_BLESS` set, writes it instead.
pub fn check_generated(path: &Path, expected: &str) -> Result<(), String> {
    if std::env::var_os("WORKSTEAD_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return Ok(());
    }
    match std::fs::read_to_string(path) {
        Ok(found) if found == expected => Ok(()),
        Ok(_) => Err(format!("{} is out of date", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// A definition as a template: Helm never upgrades what lies in a chart's crds/ folder, and a definition that
/// goes with the release would take every Workspace with it.
fn crd_template(crd: &impl serde::Serialize) -> (String, String) {
    let mut value = serde_json::to_value(crd).unwrap();
    value["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
    let name = value["spec"]["names"]["plural"]
        .as_str()
        .unwrap()
        .to_owned();
    let yaml = serde_yaml::to_string(&value).unwrap();
    assert!(
        !yaml.contains("{{"),
        "{name}: a description would be read as a template"
    );
    let text = format!(
        "{{{{- /* Generated from src/api: make generate. */}}}}\n{{{{- if .Values.crds.install }}}}\n{yaml}{{{{- end }}}}\n"
    );
    (format!("{name}.yaml"), text)
}

#[test]
fn drift_the_charts_definitions_are_those_of_the_code() {
    let folder = root().join("charts/workstead/templates/crds");
    let expected: Vec<(String, String)> = crds::all().iter().map(crd_template).collect();
    let errors: Vec<String> = expected
        .iter()
        .filter_map(|(name, text)| check_generated(&folder.join(name), text).err())
        .collect();
    assert!(
        errors.is_empty(),
        "{}\nwrite them again with `make generate`",
        errors.join("\n")
    );
    let mut committed: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    committed.retain(|path| !expected.iter().any(|(name, _)| path.ends_with(name)));
    assert!(
        committed.is_empty(),
        "not generated from any kind: {committed:?}"
    );
}

/// Helm as the cluster's modules pin it.
fn helm() -> &'static Path {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    HELM.get_or_init(|| {
        let tool = root().join("tests/e2e/cluster/cluster");
        let output = Command::new(tool)
            .args(["path", "helm"])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "cluster path helm failed");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("helm")
    })
}

/// Runs Helm, which neither reads nor leaves anything in the home of whoever runs the tests.
fn run_helm(arguments: &[&str], kubeconfig: Option<&Path>) -> Result<String, String> {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(helm())
        .args(arguments)
        .env("HELM_CACHE_HOME", scratch.path())
        .env("HELM_CONFIG_HOME", scratch.path())
        .env("HELM_DATA_HOME", scratch.path())
        .env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

fn chart() -> String {
    root().join("charts/workstead").to_str().unwrap().to_owned()
}

/// What the chart renders with these settings, for a server that has our kinds already.
fn template(settings: &[&str]) -> Result<Vec<Value>, String> {
    let chart = chart();
    let mut arguments = vec![
        "template",
        "release",
        &chart,
        "--namespace=workstead-system",
        "--kube-version=1.36.0",
        "--api-versions=workstead.dev/v1alpha1/WorkspaceClass",
    ];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let text = run_helm(&arguments, None)?;
    Ok(serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|value| !value.is_null())
        .collect())
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn named<'a>(objects: &'a [Value], kind: &'a str, name: &str) -> &'a Value {
    of_kind(objects, kind)
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn helm_lint_has_nothing_to_say_against_the_chart() {
    run_helm(
        &["lint", "--strict", "--kube-version=1.36.0", &chart()],
        None,
    )
    .unwrap();
}

#[test]
fn values_that_are_unknown_or_out_of_range_are_refused_by_name() {
    for (setting, named) in [
        ("controler.replicas=1", "controler"),
        ("controller.replicas=3", "/controller/replicas"),
        ("image.tag=a b", "/image/tag"),
        ("quota.total=-1", "/quota/total"),
        ("baseDomain=Not.A.Domain", "/baseDomain"),
        (
            "admission.usernamePrefix=o'idc",
            "/admission/usernamePrefix",
        ),
        ("log.format=xml", "/log/format"),
    ] {
        let error = template(&[setting]).unwrap_err();
        assert!(error.contains(named), "{setting}: {error}");
    }
}

#[test]
fn an_older_kubernetes_is_refused() {
    let error = run_helm(&["template", "x", &chart(), "--kube-version=1.32.9"], None).unwrap_err();
    assert!(error.contains("1.33.0"), "{error}");
}

#[test]
fn the_controller_runs_without_rights_on_its_node() {
    let objects = template(&["controller.replicas=2"]).unwrap();
    let spec = &named(&objects, "Deployment", "workstead-controller")["spec"]["template"]["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let container = &spec["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(texts(&container["capabilities"]["drop"]), ["ALL"]);
    assert!(spec["containers"][0]["resources"]["limits"]["memory"].is_string());
    for probe in ["livenessProbe", "readinessProbe"] {
        assert!(
            spec["containers"][0][probe]["httpGet"]["path"].is_string(),
            "{probe}"
        );
    }
}

#[test]
fn no_role_has_a_wildcard_and_none_lists_secrets_or_reads_logs() {
    let objects = template(&[]).unwrap();
    let roles: Vec<&Value> = of_kind(&objects, "ClusterRole")
        .chain(of_kind(&objects, "Role"))
        .collect();
    assert!(roles.len() >= 6, "roles are missing");
    for role in roles {
        let name = &role["metadata"]["name"];
        for rule in role["rules"].as_array().unwrap() {
            for part in ["verbs", "resources", "apiGroups"] {
                assert!(
                    !texts(&rule[part]).contains(&"*"),
                    "{name}: wildcard in {part}"
                );
            }
            let resources = texts(&rule["resources"]);
            assert!(!resources.contains(&"pods/log"), "{name} reads logs");
            if resources.contains(&"secrets") {
                assert_eq!(texts(&rule["verbs"]), ["get"], "{name} on secrets");
            }
        }
    }
}

#[test]
fn people_get_workspaces_by_the_clusters_own_roles_but_never_write_a_gitsync() {
    let objects = template(&[]).unwrap();
    for role in of_kind(&objects, "ClusterRole") {
        let labels = &role["metadata"]["labels"];
        let writes = ["edit", "admin"]
            .iter()
            .any(|name| labels[format!("rbac.authorization.k8s.io/aggregate-to-{name}")] == "true");
        if !writes {
            continue;
        }
        for rule in role["rules"].as_array().unwrap() {
            assert_eq!(texts(&rule["resources"]), ["workspaces"], "of {role}");
            assert!(
                !texts(&rule["verbs"]).contains(&"assign-owner"),
                "of {role}"
            );
        }
    }
}

#[test]
fn settings_reach_the_controller_as_the_environment_that_its_help_names() {
    let help = Command::new(env!("CARGO_BIN_EXE_workstead"))
        .args(["controller", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let objects = template(&[
        "quota.total=0",
        "baseDomain=work.example.com",
        "toolsImage=registry.example.com/tools:1",
        "image.digest=sha256:0123456789012345678901234567890123456789012345678901234567890123",
    ])
    .unwrap();
    let spec = &named(&objects, "Deployment", "workstead-controller")["spec"]["template"]["spec"];
    let environment: Vec<(&str, &Value)> = spec["containers"][0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), &variable["value"]))
        .collect();
    for (name, _) in &environment {
        assert!(
            help.contains(&format!("[env: {name}]")),
            "{name} is not in the help:\n{help}"
        );
    }
    let value = |name: &str| {
        environment
            .iter()
            .find(|(found, _)| *found == name)
            .unwrap()
            .1
    };
    assert_eq!(value("WORKSTEAD_QUOTA_TOTAL"), "0");
    assert_eq!(value("WORKSTEAD_BASE_DOMAIN"), "work.example.com");
    assert_eq!(
        value("WORKSTEAD_TOOLS_IMAGE"),
        "registry.example.com/tools:1"
    );
    assert!(
        spec["containers"][0]["image"]
            .as_str()
            .unwrap()
            .contains("@sha256:0123")
    );
}

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

pub fn install(plane: &ControlPlane, settings: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut arguments = vec![
        "upgrade",
        "--install",
        "workstead",
        &chart,
        "--namespace=workstead-system",
        "--create-namespace",
    ];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    run_helm(&arguments, Some(&plane.kubeconfig()))
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

pub const CONTROLLER: &str = "system:serviceaccount:workstead-system:workstead-controller";

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
