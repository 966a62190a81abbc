//! The command line, as people run it: the real binary, against a real API server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use workstead::api::{GitSync, Workspace};
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

/// What a run of the binary gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code; gives what it wrote to standard output.
    #[track_caller]
    fn ended(self, code: i32) -> String {
        assert_eq!(self.code, code, "out:\n{}\nerr:\n{}", self.out, self.err);
        self.out
    }

    /// It ended with this code, and said all this on standard error.
    #[track_caller]
    fn complained(self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "out:\n{}\nerr:\n{}", self.out, self.err);
        for text in said {
            assert!(self.err.contains(text), "no '{text}' in:\n{}", self.err);
        }
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workstead"));
    command
        .env_remove("KUBECONFIG")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Runs without a cluster.
fn offline(arguments: &[&str]) -> Ran {
    Ran::of(
        binary()
            .env("KUBECONFIG", "/nowhere")
            .args(arguments)
            .output()
            .unwrap(),
    )
}

/// Runs against a namespace of its own.
struct Bench {
    plane: &'static ControlPlane,
    namespace: String,
}

impl Bench {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace("cli").await.unwrap();
        Self { plane, namespace }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command
            .arg(arguments[0])
            .args(["--namespace", &self.namespace])
            .args(&arguments[1..])
            .env("KUBECONFIG", self.plane.kubeconfig());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        Ran::of(
            tokio::task::spawn_blocking(move || command.output())
                .await
                .unwrap()
                .unwrap(),
        )
    }

    fn workspaces(&self) -> Api<Workspace> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    fn gitsyncs(&self) -> Api<GitSync> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    /// Applies a Workspace as a field manager.
    async fn apply(&self, manager: &str, name: &str, more: Value) {
        let mut value = json!({
            "apiVersion": "workstead.dev/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": name},
            "spec": {"owner": "alice@example.com", "image": "debian"},
        });
        merge(&mut value, more);
        let parameters = PatchParams::apply(manager).force();
        self.workspaces()
            .patch(name, &parameters, &Patch::Apply(&value))
            .await
            .unwrap();
    }

    async fn set_status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let parameters = PatchParams::default();
        self.workspaces()
            .patch_status(name, &parameters, &patch)
            .await
            .unwrap();
    }

    async fn get(&self, name: &str) -> Workspace {
        self.workspaces().get(name).await.unwrap()
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Test", "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

#[test]
fn help_is_there_for_every_command_and_names_the_plugin_when_it_is_one() {
    let help = offline(&["--help"]).ended(0);
    for command in [
        "list", "why", "start", "stop", "restart", "sync", "plan", "validate", "render",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} is not in:\n{help}"
        );
        let own = offline(&[command, "--help"]).ended(0);
        assert!(
            own.contains(&format!("Usage: workstead {command}")),
            "{own}"
        );
        assert!(own.contains("Examples:"), "{command} has no examples");
    }
    assert!(
        !help.contains("git-fetch"),
        "a command that is not for people is shown"
    );
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-workstead");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_workstead"), &plugin).unwrap();
    let ran = Ran::of(
        Command::new(plugin)
            .args(["stop", "--help"])
            .output()
            .unwrap(),
    );
    assert!(ran.ended(0).contains("Usage: kubectl workstead stop"));
}

#[test]
fn wrong_arguments_end_with_two() {
    offline(&["list", "--nonsense"]).complained(2, &["--nonsense"]);
    offline(&["nonsense"]).complained(2, &["nonsense"]);
}

#[test]
fn completion_is_written_for_each_shell() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef workstead"),
        ("fish", "complete -c workstead"),
    ] {
        let script = offline(&["completion", shell]).ended(0);
        assert!(script.contains(mark), "{shell}");
        assert!(script.contains("validate"), "{shell}");
    }
    offline(&["completion", "tcsh"]).complained(2, &["bash, zsh, fish"]);
}

#[test]
fn the_bash_completion_is_bash() {
    let script = offline(&["completion", "bash"]).ended(0);
    let checked = Command::new("bash")
        .args(["-n", "-c", &script])
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[test]
fn crds_are_what_crds_holds() {
    let text = offline(&["crds"]).ended(0);
    assert_eq!(text.matches("kind: CustomResourceDefinition").count(), 3);
    let list: Value = serde_json::from_str(&offline(&["crds", "-o", "json"]).ended(0)).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}

#[test]
fn without_a_kubeconfig_it_says_how_to_name_one() {
    offline(&["list", "--kubeconfig", "/nowhere"])
        .complained(2, &["/nowhere", "next step:", "KUBECONFIG"]);
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

const GOOD: &str = "\
apiVersion: workstead.dev/v1alpha1
kind: Workspace
metadata: {name: good}
spec: {owner: alice, image: debian}
";

#[test]
fn validate_says_where_each_error_is_and_ends_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(folder.path(), "good.yaml", GOOD);
    offline(&["validate", folder.path().to_str().unwrap()]).ended(0);

    let typo = GOOD
        .replace("name: good", "name: typo")
        .replace("image: debian", "imagee: debian");
    write(folder.path(), "team/typo.yaml", &typo);
    write(folder.path(), "broken.yaml", "a: [1,\n");
    let text = offline(&["validate", folder.path().to_str().unwrap()]).ended(1);
    let typo_place = format!("{}:4:22: GS211 SchemaInvalid", path("team/typo.yaml"));
    assert!(text.contains(&typo_place), "no '{typo_place}' in:\n{text}");
    assert!(
        text.contains(&format!("{}:", path("broken.yaml"))),
        "{text}"
    );
    assert!(text.contains("GS210 ParseFailed"), "{text}");
    assert!(!text.contains("good.yaml"), "{text}");

    let list = offline(&["validate", folder.path().to_str().unwrap(), "-o", "json"]).ended(1);
    let report: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(report["files"], 3);
    assert_eq!(report["objects"], 1);
    let errors = report["errors"].as_array().unwrap();
    let found = errors
        .iter()
        .find(|error| error["message"].to_string().contains("imagee"))
        .unwrap();
    assert_eq!((&found["line"], &found["column"]), (&json!(4), &json!(22)));
}

#[test]
fn validate_of_a_folder_that_is_not_there_ends_with_two() {
    offline(&["validate", "/no/such/folder"]).complained(2, &["/no/such/folder", "next step:"]);
}

#[test]
fn validate_obeys_the_rules_of_a_gitsync() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "team/alice/good.yaml", GOOD);
    write(folder.path(), "elsewhere/broken.yaml", "a: [1,\n");
    let gitsync = write(
        folder.path(),
        "sync.yaml",
        "apiVersion: workstead.dev/v1alpha1\nkind: GitSync\nmetadata: {name: s, namespace: default}\n\
         spec: {url: 'https://x/y', path: team, owners: [{path: team/alice, owners: [bob]}]}\n",
    );
    let (root, gitsync) = (folder.path().to_str().unwrap(), gitsync.to_str().unwrap());
    let text = offline(&["validate", root, "--gitsync", gitsync]).ended(1);
    assert!(text.contains("GS216 OwnerNotAllowed"), "{text}");
    assert!(
        !text.contains("broken.yaml"),
        "only spec.path is read:\n{text}"
    );
}

#[test]
fn render_shows_every_child_and_refuses_what_the_class_refuses() {
    let class = "examples/workspaces/platform/class-team.yaml";
    let file = "examples/workspaces/workspaces/web.yaml";
    let text = offline(&["render", file, "--class", class]).ended(0);
    for kind in [
        "ServiceAccount",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Service",
        "Deployment",
    ] {
        assert!(
            text.contains(&format!("\nkind: {kind}\n")),
            "no {kind} in:\n{text}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let greedy = GOOD.replace(
        "image: debian",
        "image: debian, className: team, storage: {size: 5Ti}",
    );
    let greedy = greedy.replace("name: good", "name: greedy, namespace: team-a");
    let greedy = write(folder.path(), "greedy.yaml", &greedy);
    offline(&["render", greedy.to_str().unwrap(), "--class", class])
        .complained(1, &["ClassInvalid", "storage", "next step:"]);
}

#[tokio::test]
async fn list_shows_states_in_a_table_and_objects_for_programs() {
    let bench = Bench::new().await;
    bench
        .run(&["list"])
        .await
        .complained(0, &["no workspaces in namespace"]);
    bench.apply("test", "one", json!({})).await;
    let status = json!({
        "observedGeneration": 1, "actualState": "Failed", "className": "standard",
        "failure": {"cause": "ImageNotFound", "blame": "User", "message": "m", "evidence": "e",
                    "retryable": true, "nextStep": "n"},
        "conditions": [condition("Ready", "False", "m")],
    });
    bench.set_status("one", status).await;
    let text = bench.run(&["list"]).await.ended(0);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "STATE", "READY", "OWNER", "URL", "AGE"]);
    assert_eq!(
        lines[1][..4],
        ["one", "Failed", "False", "alice@example.com"]
    );
    assert!(
        !text.contains('\u{1b}'),
        "colours where there is no terminal"
    );
    let wide = bench.run(&["list", "-o", "wide"]).await.ended(0);
    assert!(wide.contains("ImageNotFound"), "{wide}");
    let list: Value =
        serde_json::from_str(&bench.run(&["list", "-o", "json"]).await.ended(0)).unwrap();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"][0]["kind"], "Workspace");
    assert_eq!(list["items"][0]["status"]["actualState"], "Failed");
    bench
        .apply("test", "two", json!({"spec": {"owner": "bob"}}))
        .await;
    let bobs = bench.run(&["list", "--owner", "bob"]).await.ended(0);
    assert!(bobs.contains("two") && !bobs.contains("one"), "{bobs}");
    let all = bench.run(&["list", "-A"]).await.ended(0);
    assert!(
        all.starts_with("NAMESPACE") && all.contains(&bench.namespace),
        "{all}"
    );
}

#[tokio::test]
async fn why_says_cause_blame_evidence_next_step_timeline_and_what_waits() {
    let bench = Bench::new().await;
    bench.apply("test", "sick", json!({})).await;
    let status = json!({
        "observedGeneration": 1, "actualState": "Failed", "desiredState": "Running",
        "conditions": [condition("Ready", "False", "m"), condition("Stalled", "True", "m")],
        "failure": {"cause": "ImageNotFound", "blame": "User", "message": "there is no such image",
                    "evidence": "manifest unknown", "retryable": true, "nextStep": "correct spec.image",
                    "since": "2026-01-01T00:00:00Z"},
        "origin": {"repository": "https://git.example.com/x", "revision": "main@sha1:abc", "file": "team/sick.yaml"},
        "timeline": [{"step": "Applied", "atMilliseconds": 12, "milliseconds": 12},
                     {"step": "PodCreated", "atMilliseconds": 40512, "milliseconds": 40500}],
        "revision": {"name": "sick-1", "pending": [{"field": "spec.image", "effect": "NextStart"}]},
    });
    bench.set_status("sick", status).await;
    let text = bench.run(&["why", "sick"]).await.ended(0);
    for said in [
        "Failed, wanted Running",
        "ImageNotFound: there is no such image",
        "the author of the Workspace",
        "manifest unknown",
        "correct spec.image",
        "docs/causes/ImageNotFound.md",
        "team/sick.yaml in https://git",
        "main@sha1:abc",
        "PodCreated",
        "40.5 s",
        "spec.image",
        "when it next starts",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    let data: Value =
        serde_json::from_str(&bench.run(&["why", "sick", "-o", "json"]).await.ended(0)).unwrap();
    assert_eq!(data["failure"]["cause"], "ImageNotFound");
    assert_eq!(data["pending"][0]["field"], "spec.image");
    bench
        .run(&["why", "nobody"])
        .await
        .complained(2, &["nobody", "not found", "workstead list"]);
    bench
        .run(&["why", "pod/x"])
        .await
        .complained(2, &["workspace/x"]);
}

#[tokio::test]
async fn why_of_a_gitsync_shows_its_errors_and_how_to_approve_what_waits() {
    let bench = Bench::new().await;
    mk_gitsync(&bench, "repo", json!({})).await;
    let status = json!({"status": {
        "observedGeneration": 1, "errorCount": 7,
        "conditions": [condition("Ready", "False", "1 of 9 objects")],
        "errors": [{"code": "GS211", "file": "a/b.yaml", "line": 3, "column": 5, "object": "Workspace t/b",
                    "message": "unknown field"}],
        "pruneBlocked": {"commit": "c0ffee", "digest": "d1", "count": 1, "objects": ["Workspace t/gone"],
                         "reason": "too many", "approval": "c0ffee/d1"},
    }});
    let patch = Patch::Merge(status);
    bench
        .gitsyncs()
        .patch_status("repo", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let text = bench.run(&["why", "gitsync/repo"]).await.ended(0);
    for said in [
        "a/b.yaml:3:5: GS211 unknown field",
        "and 6 more",
        "1 deletes wait for approval: too many",
        "Workspace t/gone",
        "annotate gitsync repo --overwrite workstead.dev/approve-prune=c0ffee/d1",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
}

async fn mk_gitsync(bench: &Bench, name: &str, more: Value) {
    let mut value = json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "GitSync",
        "metadata": {"name": name},
        "spec": {"url": "https://git.example.com/x.git"},
    });
    merge(&mut value, more);
    let made: GitSync = crate::object(value);
    bench
        .gitsyncs()
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
}

#[tokio::test]
async fn stop_and_start_set_a_run_state_that_the_file_leaves_open_and_no_apply_undoes_it() {
    let bench = Bench::new().await;
    bench.apply("workstead/gitsync", "free", json!({})).await;
    bench.run(&["stop", "free"]).await.ended(0);
    let state = async || serde_json::to_value(bench.get("free").await.spec.desired_state).unwrap();
    assert_eq!(state().await, "Stopped");
    bench.apply("workstead/gitsync", "free", json!({})).await;
    assert_eq!(state().await, "Stopped");
    let again = bench.run(&["stop", "free"]).await.ended(0);
    assert!(again.contains("already"), "{again}");
    bench.run(&["start", "free"]).await.ended(0);
    assert_eq!(state().await, "Running");
}

#[tokio::test]
async fn stop_refuses_where_git_decides_and_names_the_file() {
    let bench = Bench::new().await;
    let origin = json!({"repository": "https://git.example.com/x", "revision": "r", "file": "team/fixed.yaml"});
    let more = json!({
        "metadata": {"annotations": {"workstead.dev/origin": origin.to_string()}},
        "spec": {"desiredState": "Running"},
    });
    bench.apply("workstead/gitsync", "fixed", more).await;
    let before = bench.get("fixed").await.metadata.resource_version;
    bench.run(&["stop", "fixed"]).await.complained(
        1,
        &[
            "team/fixed.yaml",
            "https://git.example.com/x",
            "next step:",
            "desiredState: Stopped",
        ],
    );
    assert_eq!(
        bench.get("fixed").await.metadata.resource_version,
        before,
        "nothing was written"
    );
    // It is Running already, so there is nothing to refuse, and nothing to take over.
    bench.run(&["start", "fixed"]).await.ended(0);
    assert_eq!(bench.get("fixed").await.metadata.resource_version, before);
}

#[tokio::test]
async fn stop_refuses_where_another_manager_set_the_field_and_names_it() {
    let bench = Bench::new().await;
    bench
        .apply(
            "somebody",
            "theirs",
            json!({"spec": {"desiredState": "Running"}}),
        )
        .await;
    bench
        .run(&["stop", "theirs"])
        .await
        .complained(1, &["somebody", "next step:"]);
}

#[tokio::test]
async fn start_wakes_a_workspace_that_a_timer_stopped_also_where_git_says_running() {
    let bench = Bench::new().await;
    bench
        .apply(
            "workstead/gitsync",
            "idle",
            json!({"spec": {"desiredState": "Running"}}),
        )
        .await;
    let stopped = json!({
        "actualState": "Stopped", "observedGeneration": 1,
        "stoppedByTimer": {"timer": "idle", "at": "2026-01-01T00:00:00Z", "generation": 1},
    });
    bench.set_status("idle", stopped).await;
    let text = bench.run(&["start", "idle"]).await.ended(0);
    assert!(text.contains("wake"), "{text}");
    let annotations = bench.get("idle").await.metadata.annotations.unwrap();
    assert!(annotations.contains_key("workstead.dev/wake-requested-at"));
}

#[tokio::test]
async fn restart_asks_by_a_new_value_each_time_and_takes_nothing_back() {
    let bench = Bench::new().await;
    bench.apply("workstead/gitsync", "again", json!({})).await;
    bench.run(&["start", "again"]).await.ended(0);
    let asked = async || {
        let annotations = bench
            .get("again")
            .await
            .metadata
            .annotations
            .unwrap_or_default();
        annotations
            .get("workstead.dev/restart-requested-at")
            .cloned()
            .unwrap()
    };
    bench.run(&["restart", "again"]).await.ended(0);
    let first = asked().await;
    bench.run(&["restart", "again"]).await.ended(0);
    assert_ne!(asked().await, first);
    let state = serde_json::to_value(bench.get("again").await.spec.desired_state).unwrap();
    assert_eq!(state, "Running", "start's own field is still set");
    bench.run(&["stop", "again"]).await.ended(0);
    assert!(
        !asked().await.is_empty(),
        "stop's apply left the annotation alone"
    );
    bench
        .run(&["restart", "again"])
        .await
        .complained(1, &["wanted Stopped", "workstead start again"]);
}

#[tokio::test]
async fn restart_refuses_where_a_file_carries_the_annotation() {
    let bench = Bench::new().await;
    let more = json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "1"}}});
    bench.apply("workstead/gitsync", "by-file", more).await;
    bench
        .run(&["restart", "by-file"])
        .await
        .complained(1, &["workstead/gitsync", "new value"]);
}

#[tokio::test]
async fn terminated_is_final_for_every_verb() {
    let bench = Bench::new().await;
    bench
        .apply(
            "test",
            "gone",
            json!({"spec": {"desiredState": "Terminated"}}),
        )
        .await;
    for verb in ["start", "stop", "restart"] {
        bench
            .run(&[verb, "gone"])
            .await
            .complained(1, &["final", "next step:"]);
    }
}

#[tokio::test]
async fn waiting_ends_when_it_is_so_when_it_failed_and_when_time_is_up() {
    let bench = Bench::new().await;
    bench.apply("test", "slow", json!({})).await;
    bench
        .run(&["start", "slow", "--wait", "--timeout", "1s"])
        .await
        .complained(1, &["1s", "workstead why slow"]);
    let generation = bench.get("slow").await.metadata.generation;
    let failed = json!({
        "observedGeneration": generation, "actualState": "Failed",
        "conditions": [condition("Ready", "False", "m"), condition("Stalled", "True", "m")],
        "failure": {"cause": "CrashLoop", "blame": "User", "message": "it fails", "evidence": "exit code 3",
                    "retryable": true, "nextStep": "mend it"},
    });
    bench.set_status("slow", failed).await;
    bench
        .run(&["start", "slow", "--wait", "--timeout", "30s"])
        .await
        .complained(1, &["CrashLoop", "exit code 3", "mend it"]);

    let mut waiting = bench.command(&["start", "slow", "--wait", "--timeout", "60s"]);
    let running = json!({
        "observedGeneration": generation, "actualState": "Starting", "failure": null, "conditions": [],
    });
    bench.set_status("slow", running).await;
    let waiter = tokio::task::spawn_blocking(move || waiting.output());
    let done = json!({"actualState": "Running", "conditions": [condition("Ready", "True", "")]});
    bench.set_status("slow", done).await;
    Ran::of(waiter.await.unwrap().unwrap()).ended(0);
}

#[tokio::test]
async fn sync_waits_for_its_own_request_and_shows_the_errors() {
    let bench = Bench::new().await;
    mk_gitsync(&bench, "repo", json!({})).await;
    let mut command = bench.command(&["sync", "repo", "--wait", "--timeout", "60s"]);
    let waiter = tokio::task::spawn_blocking(move || command.output());
    let asked = eventually("the request", async || {
        let annotations = bench
            .gitsyncs()
            .get("repo")
            .await
            .unwrap()
            .metadata
            .annotations?;
        annotations
            .get("workstead.dev/reconcile-requested-at")
            .cloned()
    })
    .await;
    let status = json!({"status": {
        "observedGeneration": 1, "lastHandledReconcileAt": asked, "errorCount": 1,
        "conditions": [condition("Ready", "False", "1 error")],
        "errors": [{"code": "GS210", "file": "x.yaml", "line": 2, "message": "no mapping"}],
    }});
    let patch = Patch::Merge(status);
    bench
        .gitsyncs()
        .patch_status("repo", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let text = Ran::of(waiter.await.unwrap().unwrap()).ended(1);
    assert!(text.contains("x.yaml:2: GS210 no mapping"), "{text}");

    mk_gitsync(&bench, "asleep", json!({"spec": {"suspend": true}})).await;
    bench
        .run(&["sync", "asleep", "--wait"])
        .await
        .complained(1, &["suspended", "spec.suspend"]);
}

#[tokio::test]
async fn plan_tells_apart_what_is_made_changed_and_left_and_when_it_takes_effect() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    bench
        .apply(
            "workstead/gitsync",
            "good",
            json!({"spec": {"owner": "alice"}}),
        )
        .await;
    write(folder.path(), "good.yaml", GOOD);
    let same = bench.run(&["plan", root]).await.ended(0);
    assert!(
        same.contains("0 to create, 0 to change, 0 to delete, 1 unchanged"),
        "{same}"
    );

    write(
        folder.path(),
        "good.yaml",
        &GOOD.replace("debian", "ubuntu"),
    );
    write(
        folder.path(),
        "new.yaml",
        &GOOD.replace("name: good", "name: new"),
    );
    write(
        folder.path(),
        "moved.yaml",
        &GOOD.replace("name: good", "name: -bad"),
    );
    let text = bench.run(&["plan", root]).await.ended(1);
    for said in [
        "+ create  Workspace",
        "/new",
        "~ change  Workspace",
        "/good",
        "image",
        "when it next starts",
        "GS211",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    let image = bench.get("good").await.spec.image;
    assert_eq!(image, "debian", "a plan changes nothing");

    let pending = json!({"revision": {"name": "good-1", "pending": [{"field": "spec.env", "effect": "NextStart"}]}});
    bench.set_status("good", pending).await;
    let waits = bench.run(&["plan"]).await.ended(0);
    assert!(
        waits.contains("waits") && waits.contains("spec.env"),
        "{waits}"
    );
}

#[tokio::test]
async fn plan_deletes_what_the_inventory_of_the_gitsync_has_and_the_guard_lets_go() {
    let bench = Bench::new().await;
    mk_gitsync(
        &bench,
        "repo",
        json!({"spec": {"prune": {"maxDeletes": 1}}}),
    )
    .await;
    let labels = json!({"metadata": {"labels": {
        "gitsync.workstead.dev/name": "repo", "gitsync.workstead.dev/namespace": bench.namespace,
    }}, "spec": {"owner": "alice"}});
    for name in ["good", "left"] {
        bench.apply("workstead/gitsync", name, labels.clone()).await;
    }
    write_inventory(&bench, "repo", &["good", "left"]).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "good.yaml", GOOD);
    let root = folder.path().to_str().unwrap();
    let text = bench
        .run(&["plan", root, "--gitsync", "repo"])
        .await
        .ended(0);
    assert!(
        text.contains("- delete  Workspace") && text.contains("/left"),
        "{text}"
    );

    std::fs::remove_file(folder.path().join("good.yaml")).unwrap();
    let text = bench
        .run(&["plan", root, "--gitsync", "repo"])
        .await
        .ended(1);
    assert!(text.contains("2 deletes would wait for approval"), "{text}");
}

#[tokio::test]
async fn plan_of_a_gitsync_alone_fetches_the_commit_that_it_follows() {
    let bench = Bench::new().await;
    let server = workstead::testkit::GitServer::start();
    let repository = server.repository("team");
    repository.commit(&[("team/good.yaml", GOOD), ("other/bad.yaml", "a: [")]);
    // Files without a namespace land in that of the GitSync.
    mk_gitsync(
        &bench,
        "repo",
        json!({"spec": {"url": repository.url(), "path": "team"}}),
    )
    .await;
    let text = bench.run(&["plan", "--gitsync", "repo"]).await.ended(0);
    assert!(
        text.contains("+ create  Workspace") && text.contains("team/good.yaml"),
        "{text}"
    );

    mk_gitsync(
        &bench,
        "lost",
        json!({"spec": {"url": format!("{}-not", repository.url())}}),
    )
    .await;
    bench
        .run(&["plan", "--gitsync", "lost"])
        .await
        .complained(2, &["GS10", "next step:", "DIR"]);
}

async fn write_inventory(bench: &Bench, gitsync: &str, names: &[&str]) {
    use workstead::model::names::INVENTORY_OF_LABEL;
    use workstead::model::sync::{Inventory, ObjectId, inventory_name};
    let mut inventory = Inventory::default();
    let id = |name: &&str| ObjectId {
        kind: workstead::api::gitsync::SyncedKind::Workspace,
        namespace: Some(bench.namespace.clone()),
        name: (*name).to_owned(),
    };
    inventory.widen(names.iter().map(id));
    for name in names {
        inventory.applied(&id(name), "older", 1);
    }
    let uid = bench
        .gitsyncs()
        .get(gitsync)
        .await
        .unwrap()
        .metadata
        .uid
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(bench.plane.client(), &bench.namespace);
    for (shard, data) in inventory.encode() {
        let map = crate::object(json!({
            "metadata": {"name": inventory_name(gitsync, shard), "labels": {INVENTORY_OF_LABEL: uid}},
            "data": data,
        }));
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
}
