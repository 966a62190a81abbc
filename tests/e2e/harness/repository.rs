//! A repository on the Git server in the cluster, and a working copy of it here.

use std::process::{Child, Command};

use tempfile::TempDir;

use super::{Cluster, forward};

/// Namespace and Service of the Git server that `make up` installs.
const NAMESPACE: &str = "workstead-git";
const SERVICE: &str = "git-server";

/// A repository in the cluster with a working copy here.
pub(crate) struct Repository {
    folder: TempDir,
    /// As pods reach it.
    pub(crate) cluster_url: String,
    forward: Child,
}

impl Drop for Repository {
    fn drop(&mut self) {
        // The child may have ended by itself.
        drop(self.forward.kill());
        drop(self.forward.wait());
    }
}

impl Repository {
    /// Makes an empty repository on the Git server and clones it.
    pub(crate) fn create(cluster: &Cluster, name: &str) -> Self {
        let path = format!("/srv/git/{name}.git");
        let script = format!(
            "git init -q --bare -b main {path} && git -C {path} config http.receivepack true"
        );
        let server = format!("deployment/{SERVICE}");
        cluster.kubectl(&["exec", "-n", NAMESPACE, &server, "--", "sh", "-c", &script]);
        let service = format!("service/{SERVICE}");
        let (forward, port) = forward(cluster, NAMESPACE, &service, 80);
        let folder = TempDir::new().unwrap();
        let repository = Self {
            folder,
            cluster_url: format!("http://{SERVICE}.{NAMESPACE}.svc/{name}.git"),
            forward,
        };
        repository.git(&["init", "-q", "-b", "main"]);
        repository.git(&["config", "user.name", "Test"]);
        repository.git(&["config", "user.email", "test@example.com"]);
        repository.git(&[
            "remote",
            "add",
            "origin",
            &format!("http://127.0.0.1:{port}/{name}.git"),
        ]);
        repository
    }

    /// Writes a file of the working copy.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Removes a file of the working copy.
    pub(crate) fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    /// Commits all that changed, pushes it, and gives the commit.
    pub(crate) fn push(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "origin", "HEAD:main"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
