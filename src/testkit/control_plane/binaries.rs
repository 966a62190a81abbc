//! Where etcd and kube-apiserver come from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::ControlPlaneError;

/// Names a folder with `etcd`, `kube-apiserver` and `kube-controller-manager`; none are built then.
const FOLDER_VARIABLE: &str = "WORKSTEAD_CONTROL_PLANE";

/// The folder with the programs, built first where need be: this may take minutes on a fresh machine.
pub(super) fn folder() -> Result<PathBuf, ControlPlaneError> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND
        .get_or_init(find)
        .clone()
        .map_err(ControlPlaneError::Programs)
}

fn find() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return complete(PathBuf::from(&folder));
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/cluster/cluster");
    let output = Command::new(&tool)
        .args(["path", "control-plane"])
        .stdin(Stdio::null())
        // Its progress is for whoever waits for this test.
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("failed to run {}: {error}", tool.display()))?;
    if !output.status.success() {
        return Err(format!(
            "`{} path control-plane` ended with {}; set {FOLDER_VARIABLE} to a folder that has etcd and kube-apiserver",
            tool.display(),
            output.status
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let folder = text.lines().last().unwrap_or_default().trim();
    complete(PathBuf::from(folder))
}

fn complete(folder: PathBuf) -> Result<PathBuf, String> {
    for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        if !folder.join(program).is_file() {
            return Err(format!("{} has no {program}", folder.display()));
        }
    }
    Ok(folder)
}
