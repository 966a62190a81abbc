//! What must come last: what the whole run asked of the API server, an upgrade, and the end of the installation.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, ListParams};
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::wait::within;

use crate::harness::{Cluster, INSTALLATION, debian_image, may_disrupt, skipped};

const LIMIT: Duration = Duration::from_secs(120);

/// A request as a rule allows it: group, resource with subresource, verb.
type Asked = BTreeSet<(String, String, String)>;

/// Where the API server of our own cluster writes who asked for what.
fn audit_log() -> Option<PathBuf> {
    std::env::var_os("E2E_AUDIT_LOG").map(PathBuf::from)
}

fn asked_by(account: &str, log: &str) -> (Asked, Vec<String>) {
    let user = format!("system:serviceaccount:{INSTALLATION}:{account}");
    let mut asked = Asked::new();
    let mut refused = Vec::new();
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if event["user"]["username"] != user.as_str() || event["objectRef"].is_null() {
            continue;
        }
        let reference = &event["objectRef"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = text(&reference["resource"]);
        if let Some(subresource) = reference["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        let verb = text(&event["verb"]);
        // What RBAC refuses; a namespace that is being deleted refuses too, whatever the role.
        let message = event["responseStatus"]["message"]
            .as_str()
            .unwrap_or_default();
        if event["responseStatus"]["code"] == 403 && message.contains(" cannot ") {
            refused.push(line.to_owned());
        }
        asked.insert((text(&reference["apiGroup"]), resource, verb));
    }
    (asked, refused)
}

fn allowed(rules: &[PolicyRule]) -> Asked {
    let mut allowed = Asked::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    allowed.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    allowed
}

/// What the roles of an account, both named like it, allow.
async fn rights_of(account: &str, cluster: &Cluster) -> Asked {
    let everywhere: Api<ClusterRole> = Api::all(cluster.client.clone());
    let here: Api<Role> = Api::namespaced(cluster.client.clone(), INSTALLATION);
    let everywhere = everywhere.get(account).await.unwrap().rules;
    let here = here.get(account).await.unwrap().rules;
    allowed(&[everywhere.unwrap_or_default(), here.unwrap_or_default()].concat())
}

/// Fails where an account was refused something, or may do what it never asked for and `elsewhere` does not know of.
async fn judge(account: &str, least: usize, elsewhere: fn(&str, &str) -> bool) {
    let Some(log) = audit_log() else {
        return skipped(
            "what was asked for: E2E_AUDIT_LOG names no audit log, since the cluster is not ours",
        );
    };
    let cluster = Cluster::connect().await;
    let (asked, refused) = asked_by(account, &std::fs::read_to_string(log).unwrap());
    assert!(
        asked.len() >= least,
        "the audit log has too little: {asked:?}"
    );
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let mut unused = rights_of(account, &cluster).await;
    for request in &asked {
        // A patch that creates is checked as both.
        unused.remove(request);
        if request.2 == "patch" {
            unused.remove(&(request.0.clone(), request.1.clone(), "create".to_owned()));
        }
    }
    unused.retain(|(_, resource, verb)| !elsewhere(resource, verb));
    assert!(
        unused.is_empty(),
        "the roles allow what was never asked for: {unused:#?}"
    );
}

#[tokio::test]
#[ignore = "needs the node, after all other tests"]
async fn the_role_of_the_controller_is_what_it_asked_for_nothing_missing_nothing_unused() {
    judge("workstead-controller", 21, |resource, verb| {
        match (resource, verb) {
            // Asked by the admission policy, and by the check of blockOwnerDeletion.
            (_, "assign-owner") | ("workspaces/finalizers", _) => true,
            // Only what a node refused or evicted, only spare shards of an inventory, only repeated Events, and only links
            // that were used long ago: tests against the API server alone bring these about.
            ("pods" | "configmaps" | "leases", "delete") | ("events", "patch") => true,
            // Sets come to the node by kubectl: tests against the API server alone have a GitSync bring and take them, and ask for
            // one that no watch has shown yet.
            ("workspacevariables", "get" | "create" | "patch" | "delete") => true,
            _ => false,
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs the node, after all other tests"]
async fn the_role_of_the_proxy_is_what_it_asked_for_nothing_missing_nothing_unused() {
    judge("workstead-proxy", 12, |resource, verb| {
        // Events tell of forged Services and pods: tests against the API server alone bring these about. Whoever is signed
        // out first, or the administrator, makes the list of revocations, and the others add to it.
        resource == "events" || (resource == "configmaps" && matches!(verb, "create" | "update"))
    })
    .await;
}

fn helm(cluster: &Cluster, arguments: &[&str]) {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/cluster/cluster");
    let folder = Command::new(tool).args(["path", "helm"]).output().unwrap();
    let helm = PathBuf::from(String::from_utf8(folder.stdout).unwrap().trim()).join("helm");
    let output = Command::new(helm)
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {error}");
}

/// The chart as it was one commit before, unpacked.
fn chart_before(folder: &tempfile::TempDir) -> Option<PathBuf> {
    let archive = Command::new("git")
        .args(["archive", "HEAD^", "charts/workstead"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    if !archive.status.success() {
        return None;
    }
    let tar = folder.path().join("chart.tar");
    std::fs::write(&tar, archive.stdout).unwrap();
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(&tar)
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    Some(folder.path().join("charts/workstead"))
}

async fn run_one(cluster: &Cluster, namespace: &str) -> Workspace {
    cluster.apply(&format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: stays, namespace: {namespace}}}\nspec: {{owner: kim@example.com, className: standard, image: \"{}\", storage: {{size: 1Gi}}}}\n",
        debian_image()
    ));
    cluster
        .await_state(namespace, "stays", LIMIT, ActualState::Running)
        .await
}

#[tokio::test]
#[ignore = "needs the node, after all other tests"]
async fn upgrade_restarts_nobody_and_uninstall_leaves_workspaces_and_volumes() {
    if !may_disrupt("an upgrade and the end of the installation") {
        return;
    }
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("upgrade").await;
    let folder = tempfile::TempDir::new().unwrap();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/workstead");
    // As docs/tasks/upgrade.md says: new values get their defaults.
    let wait = [
        "-n",
        INSTALLATION,
        "--reset-then-reuse-values",
        "--wait",
        "--timeout",
        "2m",
    ];
    match chart_before(&folder) {
        Some(before) => {
            let before = before.to_string_lossy().into_owned();
            helm(
                &cluster,
                &[&["upgrade", "workstead", &before][..], &wait].concat(),
            );
        }
        None => skipped("an upgrade from the chart of the commit before: there is none"),
    }
    run_one(&cluster, &namespace).await;
    let pod = cluster.pods(&namespace, "stays").await[0]
        .metadata
        .uid
        .clone();
    helm(
        &cluster,
        &[&["upgrade", "workstead", chart][..], &wait].concat(),
    );
    // A change that concerns the Service alone shows that the new controller works; the pod is the old one.
    cluster.kubectl(&[
        "patch",
        "workspace",
        "stays",
        "-n",
        &namespace,
        "--type=merge",
        "--patch={\"spec\": {\"endpoints\": [{\"name\": \"web\", \"port\": 3001}]}}",
    ]);
    cluster
        .await_workspace(&namespace, "stays", LIMIT, "to be seen again", |w| {
            w.spec.endpoints[0].port == 3001
                && w.status
                    .as_ref()
                    .is_some_and(|s| s.observed_generation == w.metadata.generation)
        })
        .await;
    let port = "jsonpath={.spec.ports[*].targetPort}";
    let service = cluster.kubectl(&["get", "service", "ws-stays", "-n", &namespace, "-o", port]);
    assert_eq!(
        service, "3001",
        "the new controller did not follow the change"
    );
    let after = cluster.pods(&namespace, "stays").await;
    assert_eq!(after.len(), 1);
    assert_eq!(
        after[0].metadata.uid, pod,
        "the upgrade restarted a running workspace"
    );

    helm(
        &cluster,
        &[
            "uninstall",
            "workstead",
            "-n",
            INSTALLATION,
            "--wait",
            "--timeout",
            "2m",
        ],
    );
    let left = cluster
        .workspaces(&namespace)
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(left.items.len(), 1, "uninstall took a Workspace along");
    let volumes: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &namespace);
    assert_eq!(
        volumes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let still = within(Duration::from_secs(5), || async {
        let pods = cluster.pods(&namespace, "stays").await;
        (pods.len() != 1 || pods[0].metadata.uid != pod).then_some(())
    })
    .await;
    assert!(still.is_none(), "uninstall ended a running workspace");
}
