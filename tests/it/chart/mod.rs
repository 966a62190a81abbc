//! The Helm chart: what is generated in it, what it renders, and what its policies refuse on a real API server.

mod owners;
mod policies;
mod proxy;
mod proxy_policy;
mod rendered;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use workstead::api::crds;
use workstead::testkit::ControlPlane;

use crate::generated::check_generated;

pub use proxy::{LOCAL, TLS};
pub use rendered::template;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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
        .env("KUBECACHEDIR", scratch.path())
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

/// Who the controller is in a cluster with the chart.
pub const CONTROLLER: &str = "system:serviceaccount:workstead-system:workstead-controller";

/// Who the proxy is there.
pub const PROXY: &str = "system:serviceaccount:workstead-system:workstead-proxy";

/// What has to be said; a later setting wins.
const IMAGE: &str = "--set=image.repository=registry.example.com/workstead";

/// Installs the chart, or upgrades it.
pub fn install(plane: &ControlPlane, settings: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut arguments = vec![
        "upgrade",
        "--install",
        "workstead",
        &chart,
        "--namespace=workstead-system",
        "--create-namespace",
        IMAGE,
    ];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    run_helm(&arguments, Some(&plane.kubeconfig()))
}
