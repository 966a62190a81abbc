//! What needs no cluster: help, completion, definitions, render.

use std::process::Command;

use serde_json::{Value, json};

use super::{GOOD, Ran, offline, write};

#[test]
fn help_is_there_for_every_command_and_names_the_plugin_when_it_is_one() {
    let help = offline(&["--help"]).ended(0);
    for command in [
        "list", "why", "start", "stop", "restart", "sync", "plan", "validate", "render", "seal",
        "identity",
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
    let help = ran.ended(0);
    assert!(help.contains("Usage: kubectl workstead stop"), "{help}");
    assert!(
        help.contains("\n  kubectl workstead stop alice-api"),
        "{help}"
    );
    let below = folder.path().join("kubectl-workstead");
    let ran = Command::new(below)
        .args(["identity", "new", "--help"])
        .output();
    let help = Ran::of(ran.unwrap()).ended(0);
    assert!(
        help.contains("\n  kubectl workstead identity new"),
        "{help}"
    );
}

#[test]
fn wrong_arguments_end_with_two() {
    offline(&["list", "--nonsense"]).complained(2, &["--nonsense"]);
    offline(&["nonsense"]).complained(2, &["nonsense"]);
    // Before any cluster is asked, and in words.
    for words in [
        ["list", "-n", "Bad NS"],
        ["start", "a", "-nBad NS"],
        ["validate", ".", "-nBad NS"],
    ] {
        offline(&words).complained(2, &["'Bad NS' is no name", "lower-case"]);
    }
    for words in [
        ["stop", "Bad"],
        ["sync", "Bad"],
        ["why", "gitsync/Bad"],
        ["why", "Bad"],
    ] {
        offline(&words).complained(2, &["'Bad' is no name", "lower-case"]);
    }
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
    let count = workstead::api::crds::all().len();
    assert_eq!(
        text.matches("kind: CustomResourceDefinition").count(),
        count
    );
    let list: Value = serde_json::from_str(&offline(&["crds", "-o", "json"]).ended(0)).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), count);
}

#[test]
fn without_a_kubeconfig_it_says_how_to_name_one() {
    offline(&["list", "--kubeconfig", "/nowhere"])
        .complained(2, &["/nowhere", "next step:", "KUBECONFIG"]);
}

/// Nobody listens there: what a library logs about that is not for people, and colours are for terminals alone.
#[test]
fn a_lost_connection_is_one_error_without_log_lines_and_without_colours_where_output_is_piped() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
    });
    let file = write(folder.path(), "kubeconfig", &kubeconfig.to_string());
    let ran = offline(&["list", "--kubeconfig", file.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.starts_with("error: failed to list workspaces\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("next step:"), "{}", ran.err);
    assert!(
        !ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'),
        "{:?}",
        ran.err
    );
    let wrong = write(folder.path(), "wrong.yaml", "a: [1,\n");
    let ran = offline(&["validate", wrong.to_str().unwrap()]);
    assert!(
        !ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'),
        "{:?}",
        ran.err
    );
}

/// The controller logs what its libraries log; where that is collected, nobody wants escapes in it.
#[test]
fn the_log_of_the_controller_has_no_colours_where_it_is_piped() {
    let ran = offline(&[
        "controller",
        "--tools-image",
        "workstead:test",
        "--kubeconfig",
        "/nowhere",
    ]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("starting"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
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
