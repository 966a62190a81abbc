//! `make up` and `make down` on a cluster of the user's: a control plane alone stands for it. What they make there is made
//! by their own functions; nothing runs, which is all the same to what goes again.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use crate::chart::{CONTROLLER, install};

/// What `up` sources and sets before it installs.
const UP: &str = r#"set -Eeuo pipefail
CLUSTER_DIR=$PWD/tests/e2e/cluster REGISTRY=registry.invalid/me
for part in common config build install foreign; do . "$CLUSTER_DIR/lib/$part.sh"; done
find_foreign
use_foreign
declare -A IMAGE_NAMES=([workstead]=localhost/workstead:1 [tools]=localhost/workstead-tools:1 [git-server]=localhost/workstead-git-server:1)
declare -A IMAGES_PINNED=([editor-vscode]="localhost/workstead-editor-vscode@sha256:$(printf 5%.0s {1..64})")
refuse_to_take_over examples
"#;
const INSTALL: &str = "install_workstead; share_token; install_git_server; install_examples";

/// A cluster that KUBECONFIG names.
struct Foreign {
    plane: ControlPlane,
    home: tempfile::TempDir,
}

impl Foreign {
    async fn start() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        plane.start_controller_manager().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        Self { plane, home }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let kubectl = self.plane.kubectl();
        let folder = Path::new(kubectl.get_program()).parent().unwrap();
        // The user's kubectl is the one of the PATH.
        let path = [folder.as_os_str(), &std::env::var_os("PATH").unwrap()].join(OsStr::new(":"));
        Command::new(program)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", path)
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("KUBECACHEDIR", self.home.path())
            // No cluster of this machine is in reach.
            .env("XDG_STATE_HOME", self.home.path())
            .output()
            .unwrap()
    }

    fn up(&self, steps: &str) -> Result<(), String> {
        said(&self.run("bash", &["-c", &format!("{UP}{steps}")]))
    }

    fn down(&self, arguments: &[&str]) -> Result<(), String> {
        said(&self.run("tests/e2e/cluster/down", arguments))
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.run("kubectl", arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies a text, as `user` if one is named.
    fn apply(&self, text: &str, user: Option<&str>) {
        let file = self.home.path().join("applied.yaml");
        std::fs::write(&file, text).unwrap();
        let mut arguments = vec!["create", "-f", file.to_str().unwrap()];
        arguments.extend(user.map(|_| "--as"));
        arguments.extend(user);
        self.kubectl(&arguments);
    }

    /// Whether an object is there and is not on its way out.
    fn has(&self, namespace: &str, object: &str) -> bool {
        let marked = "jsonpath={.metadata.name}{.metadata.deletionTimestamp}";
        let (kind, name) = object.split_once('/').unwrap();
        let found = self.kubectl(&[
            "get",
            kind,
            name,
            "-n",
            namespace,
            "--ignore-not-found",
            "-o",
            marked,
        ]);
        found == name
    }
}

/// What was said on standard error: as an error where the command failed.
fn said(output: &Output) -> Result<(), String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(text)
    }
}

fn workspace(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}, namespace: team-a, labels: {{{labels}}}}}\nspec: {{owner: kim@example.com, image: localhost/tiny}}\n"
    )
}

fn volume(namespace: &str, workspace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: {workspace}-home\n  namespace: {namespace}\n  labels: {{app.kubernetes.io/managed-by: workstead, workstead.dev/workspace: {workspace}}}\nspec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn down_where_up_made_nothing_refuses_and_deletes_nothing() {
    let cluster = Foreign::start().await;
    install(
        &cluster.plane,
        &["image.repository=registry.invalid/theirs"],
    )
    .unwrap();
    cluster.kubectl(&["create", "namespace", "team-a"]);
    cluster.apply(&workspace("theirs", ""), None);
    cluster.apply(&volume("team-a", "theirs"), None);

    let error = cluster.down(&["--purge"]).unwrap_err();
    assert!(error.contains("nothing was deleted"), "{error}");
    assert!(error.contains("unset KUBECONFIG"), "{error}");

    let error = cluster.up(INSTALL).unwrap_err();
    assert!(
        error.contains("release workstead-system/workstead"),
        "{error}"
    );
    for (namespace, object) in [
        ("team-a", "workspace/theirs"),
        ("team-a", "persistentvolumeclaim/theirs-home"),
        ("workstead-system", "deployment/workstead-controller"),
    ] {
        assert!(cluster.has(namespace, object), "{object} is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn down_takes_what_up_made_and_leaves_what_others_put_beside_it() {
    let cluster = Foreign::start().await;
    // One namespace was there before, and is not for `up` to delete.
    cluster.kubectl(&["create", "namespace", "team-a"]);
    cluster.up(INSTALL).unwrap();
    // A second time changes nothing, and takes its own objects for its own.
    cluster.up(INSTALL).unwrap();
    let editors = "jsonpath={.spec.editors[*].image}";
    let editors = cluster.kubectl(&["get", "workspaceclass", "editors", "-o", editors]);
    let ours = format!(
        "registry.invalid/me/workstead-editor-vscode@sha256:{}",
        "5".repeat(64)
    );
    assert!(
        editors.contains(&ours),
        "not the digest that was pushed: {editors}"
    );
    let from = "gitsync.workstead.dev/name: examples, gitsync.workstead.dev/namespace: team-a";
    cluster.apply(&workspace("ours", from), Some(CONTROLLER));
    cluster.apply(&volume("team-a", "ours"), None);
    cluster.apply(&workspace("theirs", ""), None);
    cluster.apply(&volume("team-a", "theirs"), None);
    cluster.kubectl(&["create", "configmap", "theirs", "-n", "workstead-git"]);

    cluster.down(&[]).unwrap();
    for (namespace, object) in [
        ("team-a", "workspace/ours"),
        ("team-a", "gitsync/examples"),
        ("team-a", "secret/examples-webhook"),
        ("default", "workspaceclass/team"),
        ("workstead-git", "deployment/git-server"),
        ("workstead-system", "deployment/workstead-controller"),
    ] {
        assert!(!cluster.has(namespace, object), "{object} is still there");
    }
    let kept = |what: &[(&str, &str)]| {
        for (namespace, object) in what {
            assert!(cluster.has(namespace, object), "{object} is gone");
        }
    };
    kept(&[
        ("team-a", "persistentvolumeclaim/ours-home"),
        ("workstead-git", "persistentvolumeclaim/repositories"),
    ]);
    let theirs = [
        ("default", "namespace/team-a"),
        ("default", "namespace/workstead-git"),
        ("team-a", "workspace/theirs"),
        ("team-a", "persistentvolumeclaim/theirs-home"),
        ("workstead-git", "configmap/theirs"),
        (
            "default",
            "customresourcedefinition/workspaces.workstead.dev",
        ),
    ];
    kept(&theirs);

    cluster.down(&["--purge"]).unwrap();
    kept(&theirs);
    for (namespace, object) in [
        ("team-a", "persistentvolumeclaim/ours-home"),
        ("workstead-git", "persistentvolumeclaim/repositories"),
        ("default", "namespace/workstead-system"),
    ] {
        let gone = async || (!cluster.has(namespace, object)).then_some(());
        eventually(&format!("{object} to go"), gone).await;
    }
}

#[test]
fn a_purge_is_asked_for_in_plain_words_or_refused() {
    let make = |purge: &str| {
        let output = Command::new("make")
            .args(["--no-print-directory", "-n", "down", "cluster-down"])
            .arg(format!("PURGE={purge}"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        said(&output).map(|()| String::from_utf8(output.stdout).unwrap())
    };
    for yes in ["1", "yes", "true"] {
        assert_eq!(make(yes).unwrap().matches("--purge").count(), 2, "{yes}");
    }
    for no in ["", "0", "no", "false"] {
        assert!(!make(no).unwrap().contains("--purge"), "{no}");
    }
    for unclear in ["2", "of course", "no yes"] {
        assert!(make(unclear).unwrap_err().contains("neither"), "{unclear}");
    }
}

#[test]
fn a_kubeconfig_that_names_both_our_cluster_and_another_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let ours = home.path().join("workstead/x/kubeconfig");
    let run = |list: &str| {
        let output = Command::new(Path::new("tests/e2e/cluster/down"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("KUBECONFIG", list)
            .env("XDG_STATE_HOME", home.path())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let ours = ours.to_str().unwrap();
    let (succeeded, text) = run(&format!("{ours}:/theirs"));
    assert!(!succeeded && text.contains("both"), "{text}");
    // Ours alone counts as unset: there is no such cluster.
    let (succeeded, text) = run(ours);
    assert!(
        succeeded && text.contains("there is no cluster workstead"),
        "{text}"
    );
}
