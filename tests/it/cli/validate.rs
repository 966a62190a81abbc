//! validate.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{GOOD, Ran, binary, offline, write};

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

/// A class and a Workspace that the API server would take, and that could never run.
#[test]
fn validate_refuses_what_could_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let image = GOOD.replace("image: debian", "image: Debian");
    write(folder.path(), "image.yaml", &image);
    let request = GOOD.replace(
        "image: debian",
        "image: debian, resources: {requests: {cpu: 3}, limits: {cpu: '2'}}",
    );
    write(
        folder.path(),
        "request.yaml",
        &request.replace("name: good", "name: request"),
    );
    let gpu = GOOD.replace(
        "image: debian",
        "image: debian, resources: {limits: {gpu: 1}}",
    );
    write(
        folder.path(),
        "gpu.yaml",
        &gpu.replace("name: good", "name: gpu"),
    );
    write(
        folder.path(),
        "class.yaml",
        "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceClass\nmetadata: {name: c}\nspec:\n  \
         storage: {className: A b, default: 9Gi, max: 1Gi}\n  network:\n    egress:\n      \
         - {allow: 10.0.0.0/8, except: [192.168.0.0/16]}\n",
    );
    let text = offline(&["validate", root]).ended(1);
    for said in [
        "image.yaml:4:22: GS211 SchemaInvalid: Workspace default/good: spec.image: spec.image is no image reference",
        "request.yaml:4:37: GS211 SchemaInvalid: Workspace default/request: spec.resources: a request is over",
        "gpu.yaml:4:58: GS211 SchemaInvalid: Workspace default/gpu: spec.resources.limits.gpu: there is no resource",
        "class.yaml:5:3: GS211 SchemaInvalid: WorkspaceClass c: spec.storage: storage.default is larger",
        "class.yaml:5:13: GS211 SchemaInvalid: WorkspaceClass c: spec.storage.className: ",
        "class.yaml:8:9: GS211 SchemaInvalid: WorkspaceClass c: spec.network.egress[0]: except holds ranges",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
}

#[test]
fn validate_of_a_folder_without_yaml_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    write(folder.path(), "README.md", "nothing here");
    offline(&["validate", root]).complained(2, &[&format!("no YAML below {root}"), "next step:"]);
    let good = tempfile::tempdir().unwrap();
    write(good.path(), "good.yaml", GOOD);
    offline(&["validate", good.path().to_str().unwrap(), root]).complained(
        2,
        &[
            "1 file, 1 good object, no errors",
            &format!("no YAML below {root}"),
        ],
    );
}

#[test]
fn validate_looks_at_all_that_is_named_together_and_at_no_file_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(folder.path(), "a/one.yaml", GOOD);
    write(folder.path(), "b/two.yaml", &format!("# the same\n{GOOD}"));
    let text = offline(&["validate", &path("a"), &path("b")]).ended(1);
    let (one, two) = (path("a/one.yaml"), path("b/two.yaml"));
    for said in [
        format!(
            "{one}:1:1: GS214 DuplicateObject: Workspace default/good: is defined in {two}:2 too"
        ),
        format!(
            "{two}:2:1: GS214 DuplicateObject: Workspace default/good: is defined in {one}:1 too"
        ),
    ] {
        assert!(text.contains(&said), "no '{said}' in:\n{text}");
    }
    offline(&["validate", &path("a"), &one]).complained(0, &["1 file, 1 good object, no errors"]);
}

#[test]
fn validate_goes_on_after_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = write(folder.path(), "wrong.yaml", "a: [1,\n");
    let ran = offline(&[
        "validate",
        "/no/such/a",
        wrong.to_str().unwrap(),
        "/no/such/b",
    ]);
    assert!(
        ran.out.contains("wrong.yaml:1:4: GS210 ParseFailed"),
        "{}",
        ran.out
    );
    ran.complained(
        2,
        &[
            "/no/such/a",
            "/no/such/b",
            "1 file, 0 good objects, 1 error\n",
        ],
    );
    offline(&["validate", "/dev/null"]).complained(2, &["/dev/null is no file, folder or pipe"]);
}

#[test]
fn validate_reads_standard_input_and_pipes() {
    let wrong = GOOD.replace("image", "imagee");
    let mut child = binary()
        .args(["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(wrong.as_bytes()).unwrap();
    drop(input);
    let text = Ran::of(child.wait_with_output().unwrap()).ended(1);
    assert!(text.contains("-:4:22: GS211"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::write(pipe, wrong))
    };
    let text = offline(&["validate", pipe.to_str().unwrap()]).ended(1);
    writer.join().unwrap().unwrap();
    assert!(
        text.contains(&format!("{}:4:22: GS211", pipe.display())),
        "{text}"
    );
}

/// Rules on the name stand at the root of the schema, where no line is.
#[test]
fn validate_points_at_the_name_where_the_name_is_wrong_also_in_a_later_document() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{GOOD}---\n{}",
        GOOD.replace("name: good", "name: not--good")
    );
    let file = write(folder.path(), "two.yaml", &text);
    let text = offline(&["validate", file.to_str().unwrap()]).ended(1);
    assert!(text.contains("two.yaml:8:12: GS211"), "{text}");
    assert!(
        text.contains("metadata.name: the name of a Workspace contains no '--'"),
        "{text}"
    );
}

#[test]
fn validate_says_how_to_write_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "list.yaml",
        "apiVersion: v1\nkind: List\nitems: []\n",
    );
    let text = offline(&["validate", file.to_str().unwrap()]).ended(1);
    assert!(text.contains("list.yaml:2:1: GS210"), "{text}");
    assert!(text.contains("documents separated by ---"), "{text}");
}

/// It warns, and the file is good all the same. The value is not in what it says.
#[test]
fn validate_warns_of_plain_text_that_looks_like_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let env = "env:\n    - name: EDITOR\n      value: vim\n    - name: TOKEN_URL\n      value: https://id.example.com/token\n    \
               - name: DB_PASSWORD\n      value: c4n4ry-7f3a\n    - {name: URL, value: 'postgres://a:c4n4ry@db/x'}\n    \
               - {name: API_KEY, valueFrom: {secretKeyRef: {name: vault, key: api}}}\n";
    let text = GOOD.replace(
        "spec: {owner: alice, image: debian}",
        &format!("spec:\n  owner: alice\n  image: debian\n  {env}"),
    );
    write(folder.path(), "api.yaml", &text);
    let ran = offline(&["validate", root]);
    assert!(
        ran.err.contains("1 good object, no errors, 2 warnings"),
        "{}",
        ran.err
    );
    let text = ran.ended(0);
    for said in [
        "api.yaml:13:7: warning: Workspace default/good: spec.env[2].value: DB_PASSWORD stands here in plain text, and its name says that it is secret",
        "api.yaml:14:19: warning: Workspace default/good: spec.env[3].value: URL stands here in plain text, and its value is an address with a password",
        "workstead seal",
    ] {
        assert!(text.contains(said), "no '{said}' in:\n{text}");
    }
    assert!(!text.contains("c4n4ry"), "{text}");
    let report = offline(&["validate", root, "-o", "json"]).ended(0);
    assert!(!report.contains("c4n4ry"), "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["warnings"][0]["line"], 13);
    assert_eq!(report["warnings"][1]["object"], "Workspace default/good");
}
