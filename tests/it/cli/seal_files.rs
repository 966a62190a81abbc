//! seal and identity: what is written, what it takes the place of, and what never gets into a repository.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use workstead::secrets::identity::{Identities, Identity};

use super::seal::{CANARY, Desk, PLACE, SET, env, parsed};
use super::{Ran, binary};

fn git(folder: &Path) {
    fs::create_dir_all(folder.join(".git")).unwrap();
}

#[test]
fn plaintext_that_git_would_take_is_refused_before_anything_is_written() {
    let desk = Desk::new();
    git(desk.folder.path());
    desk.write("vars.yaml", SET);
    desk.write("team/.env", "A=1\n");
    let place = [&["-o", "out.yaml", "--pin", "pin.txt"][..], &PLACE].concat();
    for source in [
        &["vars.yaml"][..],
        &["--env-file", "team/.env"],
        &["--file", "x=vars.yaml"],
    ] {
        desk.seal(&[source, &place].concat()).complained(
            1,
            &[
                "lies in the Git work tree",
                "not ignored",
                "next step: add it to .gitignore",
                "--allow-plaintext",
            ],
        );
    }
    assert_eq!(desk.names(), [".git", "team", "vars.yaml"]);
    desk.seal(&[&["vars.yaml", "--allow-plaintext"][..], &PLACE].concat())
        .ended(0);
    desk.write(".gitignore", "vars.yaml\n.env\n");
    let all = [
        "vars.yaml",
        "--env-file",
        "team/.env",
        "--file",
        "x=team/.env",
    ];
    desk.seal(&[&all[..], &place].concat()).ended(0);
    let object = fs::read_to_string(desk.path("out.yaml")).unwrap();
    assert_eq!(env(&desk.opened(&object), "TOKEN"), CANARY);
}

#[test]
fn an_output_is_written_whole_or_not_at_all_and_takes_the_place_of_nothing_else() {
    let desk = Desk::new();
    desk.write("vars.yaml", SET);
    desk.seal(&["vars.yaml", "-o", "out.yaml"])
        .complained(0, &["next step: commit out.yaml"]);
    let first = fs::read_to_string(desk.path("out.yaml")).unwrap();
    desk.opened(&first);
    // Labels and annotations that somebody added stay.
    let labelled = first.replace("metadata:\n", "metadata:\n  labels: {a: b}\n");
    desk.write("out.yaml", &labelled);
    fs::set_permissions(desk.path("out.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    desk.seal(&["vars.yaml", "-o", "out.yaml"]).ended(0);
    let second = fs::read_to_string(desk.path("out.yaml")).unwrap();
    assert_ne!(first, second);
    assert_eq!(parsed(&second)["metadata"]["labels"], json!({"a": "b"}));
    let mode = fs::metadata(desk.path("out.yaml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    for (name, text, said) in [
        (
            "other.yaml",
            second.replace("name: api", "name: web"),
            "holds WorkspaceVariables team-a/web",
        ),
        (
            "vars.yaml",
            SET.to_owned(),
            "something else than one WorkspaceVariables",
        ),
        (
            "text",
            CANARY.to_owned(),
            "something else than one WorkspaceVariables",
        ),
    ] {
        desk.write(name, &text);
        desk.seal(&["vars.yaml", "-o", name])
            .complained(1, &["is not overwritten", said, "next step:"]);
        assert_eq!(fs::read_to_string(desk.path(name)).unwrap(), text);
    }
    // What fails late leaves the old text, and nothing else.
    desk.write("big", &"x".repeat(1024 * 1024));
    desk.seal(&["vars.yaml", "--file", "big=big", "-o", "out.yaml"])
        .complained(1, &["split the set"]);
    assert_eq!(fs::read_to_string(desk.path("out.yaml")).unwrap(), second);
    desk.seal(&["vars.yaml", "-o", "no/such/out.yaml"])
        .complained(2, &["failed to write no/such/out.yaml"]);
    assert_eq!(
        desk.names(),
        ["big", "other.yaml", "out.yaml", "text", "vars.yaml"]
    );
}

#[test]
fn recipients_that_are_not_the_pinned_ones_are_refused_with_both_fingerprints() {
    let desk = Desk::new();
    desk.write("vars.yaml", SET);
    desk.seal(&["vars.yaml", "--pin", "pin.txt", "-o", "out.yaml"])
        .complained(
            0,
            &[
                "pinned the recipients in pin.txt",
                "commit out.yaml and pin.txt",
            ],
        );
    let pin = fs::read_to_string(desk.path("pin.txt")).unwrap();
    let fingerprint = desk.identity.fingerprint().to_string();
    assert!(
        pin.contains(&format!("# {fingerprint}\n{}\n", desk.recipient())),
        "{pin}"
    );
    desk.seal(&["vars.yaml", "--pin", "pin.txt"]).ended(0);
    let before = fs::read_to_string(desk.path("out.yaml")).unwrap();
    let other = Identity::generate();
    let recipient = other.recipient().to_string();
    let ours = desk.recipient();
    for more in [&[][..], &["--recipient", &ours]] {
        let words = [
            "vars.yaml",
            "--recipient",
            &recipient,
            "--pin",
            "pin.txt",
            "-o",
            "out.yaml",
        ];
        desk.run(&[&words, more].concat(), "").complained(
            1,
            &[
                "not those that pin.txt pins",
                &format!("pinned: {fingerprint}"),
                &format!("found:  {}", other.fingerprint()),
                "next step: ask an administrator",
            ],
        );
    }
    assert_eq!(fs::read_to_string(desk.path("out.yaml")).unwrap(), before);
    assert_eq!(fs::read_to_string(desk.path("pin.txt")).unwrap(), pin);
    // A pin is a list of recipients too.
    desk.run(
        &[
            "vars.yaml",
            "--recipients-file",
            "pin.txt",
            "--pin",
            "pin.txt",
        ],
        "",
    )
    .ended(0);
    desk.seal(&["vars.yaml", "--pin", "x", "-o", "x"])
        .complained(2, &["name the same file"]);
}

#[test]
fn the_canary_is_in_no_file_but_those_that_had_it_before() {
    let desk = Desk::new();
    desk.write("plain/vars.yaml", SET);
    desk.seal(&["plain/vars.yaml", "--pin", "pin.txt", "-o", "out.yaml"])
        .ended(0);
    for name in ["pin.txt", "out.yaml"] {
        let text = fs::read_to_string(desk.path(name)).unwrap();
        for form in [
            CANARY.to_owned(),
            STANDARD.encode(CANARY),
            hex::encode(CANARY),
        ] {
            assert!(!text.contains(&form), "{name}");
        }
    }
    assert_eq!(desk.names(), ["out.yaml", "pin.txt", "plain"]);
}

#[test]
fn a_new_identity_is_for_its_owner_alone_and_opens_what_is_sealed_for_it() {
    let desk = Desk::new();
    let new = |words: &[&str]| {
        let mut command = binary();
        command
            .current_dir(desk.folder.path())
            .args(["identity", "new"]);
        Ran::of(command.args(words).output().unwrap())
    };
    let ran = new(&["-o", "identity.txt"]);
    let text = fs::read_to_string(desk.path("identity.txt")).unwrap();
    let mode = fs::metadata(desk.path("identity.txt"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = Identities::parse(&text).unwrap();
    let identity = read.iter().next().unwrap().clone();
    let (key, fingerprint) = (
        identity.recipient().to_string(),
        identity.fingerprint().to_string(),
    );
    assert!(
        text.starts_with("# created: 2"),
        "{}",
        text.lines().next().unwrap()
    );
    assert_eq!(text.lines().nth(1).unwrap(), format!("# public key: {key}"));
    assert!(!ran.err.contains("AGE-SECRET") && !ran.out.contains("AGE-SECRET"));
    ran.complained(
        0,
        &[
            &format!("public key: {key}"),
            &format!("fingerprint: {fingerprint}"),
        ],
    );
    new(&["-o", "identity.txt"]).complained(1, &["is there already", "next step:"]);
    assert_eq!(fs::read_to_string(desk.path("identity.txt")).unwrap(), text);
    let ran = new(&[]);
    assert!(ran.err.contains("public key: age1") && !ran.err.contains("AGE-SECRET"));
    assert!(Identities::parse(&ran.ended(0)).is_ok());
    assert_eq!(desk.names(), ["identity.txt"]);

    desk.write("vars.yaml", SET);
    let object = desk.run(&["vars.yaml", "--recipient", &key], "").ended(0);
    let desk = Desk { identity, ..desk };
    assert_eq!(env(&desk.opened(&object), "TOKEN"), CANARY);
    git(desk.folder.path());
    let ran = binary()
        .current_dir(desk.folder.path())
        .args(["identity", "new", "-o", "other.txt"])
        .output();
    Ran::of(ran.unwrap()).complained(1, &["lies in the Git work tree"]);
}
