//! What needs no cluster: help, completion, definitions, validate, render.

use std::process::Command;

use serde_json::{Value, json};

use super::{GOOD, Ran, offline, write};

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
