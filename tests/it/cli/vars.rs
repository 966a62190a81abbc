//! vars rotate and check: sets in files, without a cluster.

use std::fs;
use std::process::Command;

use serde_json::Value;
use workstead::secrets::identity::Identity;

use super::seal::{CANARY, Desk, SET, discreet, env, parsed};
use super::{Ran, binary, write};

/// What the programs age and sops made of one set for team-a/alice-api.
const AGE: &str = include_str!("../../../src/secrets/vectors/age.txt");
const SOPS: &str = include_str!("../../../src/secrets/vectors/sops.yaml");
const IDENTITY: &str = include_str!("../../../src/secrets/vectors/identity.txt");

/// The command, in the folder of a desk.
pub(super) fn vars(desk: &Desk, words: &[&str]) -> Command {
    let mut command = binary();
    command
        .env("KUBECONFIG", "/nowhere")
        .current_dir(desk.folder.path())
        .arg("vars")
        .args(words);
    command
}

fn run(desk: &Desk, words: &[&str]) -> Ran {
    discreet(Ran::of(vars(desk, words).output().unwrap()))
}

/// A desk with its identity in a file, and a set that is sealed for it and another one in `api.yaml`.
pub(super) fn mk_desk() -> Desk {
    let desk = Desk::new();
    write(desk.folder.path(), "identity.txt", &desk.identity.to_text());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(desk.path("identity.txt"), mode).unwrap();
    desk.write("vars.yaml", SET);
    let other = Identity::generate().recipient().to_string();
    desk.seal(&["vars.yaml", "--recipient", &other, "-o", "api.yaml"])
        .ended(0);
    fs::remove_file(desk.path("vars.yaml")).unwrap();
    desk
}

pub(super) fn read(desk: &Desk, name: &str) -> String {
    fs::read_to_string(desk.path(name)).unwrap()
}

fn object(format: &str, sealed: &str) -> String {
    let sealed: String = sealed.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceVariables\nmetadata: {{name: alice-api, namespace: team-a}}\n\
         spec:\n  format: {format}\n  sealed: |\n{sealed}"
    )
}

#[test]
fn a_set_that_is_rotated_has_other_recipients_and_the_same_content_byte_for_byte() {
    let desk = mk_desk();
    let before = format!("# why\n{}", read(&desk, "api.yaml"));
    desk.write("api.yaml", &before);
    let next = Identity::generate();
    desk.write("recipients.txt", &format!("{}\n", next.recipient()));
    let words = [
        "rotate",
        "api.yaml",
        "--identity",
        "identity.txt",
        "--recipients-file",
        "recipients.txt",
    ];
    let ran = run(&desk, &words);
    assert!(
        ran.err.contains("it does not undo an exposure"),
        "{}",
        ran.err
    );
    let said = ran.ended(0);
    let fingerprint = next.fingerprint().to_string();
    for text in [
        format!("WorkspaceVariables team-a/api: sealed again; {fingerprint} can open it"),
        "it was sealed for 2 recipients and is for 1 now".to_owned(),
    ] {
        assert!(said.contains(&text), "no '{text}' in:\n{said}");
    }
    let after = read(&desk, "api.yaml");
    assert!(after.starts_with("# why\napiVersion"), "{after}");
    assert_ne!(before, after);
    // Who was a recipient before is none now.
    run(&desk, &words).complained(1, &["is sealed for others", "workstead vars rotate"]);
    let desk = Desk {
        identity: next,
        ..desk
    };
    let set = desk.opened(&after);
    assert_eq!((env(&set, "TOKEN"), set.serial), (CANARY, Some(3)));
    assert_eq!(desk.names(), ["api.yaml", "identity.txt", "recipients.txt"]);
}

#[test]
fn a_file_that_can_not_be_rotated_stays_and_keeps_no_other_from_it() {
    let desk = mk_desk();
    let before = read(&desk, "api.yaml");
    desk.write("sops.yaml", &object("Sops", SOPS));
    desk.write("age.yaml", &object("Age", AGE));
    desk.write("plain.yaml", SET);
    let moved = before.replace("name: api", "name: web");
    desk.write("moved.yaml", &moved);
    let recipient = desk.recipient();
    let words = [
        "rotate",
        "plain.yaml",
        "sops.yaml",
        "age.yaml",
        "no.yaml",
        "moved.yaml",
        "api.yaml",
        "--identity",
        "identity.txt",
        "--recipient",
        &recipient,
    ];
    let ran = run(&desk, &words);
    assert!(
        ran.out
            .contains("api.yaml:8: WorkspaceVariables team-a/api: sealed again"),
        "{}",
        ran.out
    );
    ran.complained(
        1,
        &[
            "sealed 1 set again, 5 files failed",
            "plain.yaml holds no WorkspaceVariables",
            "sops.yaml:6: WorkspaceVariables team-a/alice-api is a document of SOPS",
            "sops updatekeys",
            "age.yaml:6: WorkspaceVariables team-a/alice-api is sealed for others",
            "failed to read no.yaml",
            "WorkspaceVariables team-a/web can't be used (WV100)",
            "it was sealed for team-a/api and is at team-a/web",
        ],
    );
    assert_eq!(read(&desk, "moved.yaml"), moved);
    assert_eq!(read(&desk, "age.yaml"), object("Age", AGE));
    assert_ne!(read(&desk, "api.yaml"), before);
}

#[test]
fn what_stock_age_sealed_is_rotated_and_what_it_says_stays() {
    let desk = Desk::new();
    desk.write("age.yaml", &object("Age", AGE));
    desk.write("identity.txt", IDENTITY);
    let recipient = desk.recipient();
    let words = [
        "rotate",
        "age.yaml",
        "--identity",
        "identity.txt",
        "--recipient",
        &recipient,
    ];
    run(&desk, &words).ended(0);
    let set = desk.opened(&read(&desk, "age.yaml"));
    assert_eq!(env(&set, "DATABASE_URL"), "postgres://db/$(X)?a='b'\n");
}

#[test]
fn without_an_identity_nothing_is_opened_and_the_way_to_one_is_named() {
    let desk = mk_desk();
    let recipient = desk.recipient();
    for verb in ["edit", "rotate"] {
        let words = [verb, "api.yaml", "--recipient", &recipient];
        run(&desk, &words).complained(
            2,
            &[
                "no identity was named",
                "--identity FILE",
                "WORKSTEAD_IDENTITY",
                "workstead seal",
            ],
        );
        desk.write("sealed.txt", AGE);
        let words = [&words[..], &["--identity", "sealed.txt"]].concat();
        run(&desk, &words).complained(
            1,
            &["sealed.txt holds no identities", "<(age -d sealed.txt)"],
        );
    }
    let other = Identity::generate();
    desk.write("other.txt", &other.to_text());
    let words = [
        "edit",
        "api.yaml",
        "--recipient",
        &recipient,
        "--identity",
        "other.txt",
    ];
    let ran = run(&desk, &words);
    assert!(!ran.err.contains("AGE-SECRET"), "{}", ran.err);
    ran.complained(
        1,
        &["is sealed for others", &other.fingerprint().to_string()],
    );
    let words = ["rotate", "api.yaml", "--identity", "identity.txt"];
    run(&desk, &words).complained(2, &["failed to read a kubeconfig", "--recipients-file"]);
}

#[test]
fn sets_are_checked_from_the_outside_and_with_an_identity_from_the_inside() {
    let desk = mk_desk();
    let api = read(&desk, "api.yaml");
    desk.write("sets/api.yaml", &api);
    desk.write("sets/age.yaml", &object("Age", AGE));
    desk.write(
        "sets/sops.yaml",
        &object("Sops", SOPS).replace("alice-api", "sops-api"),
    );
    // Other objects and other tools' files are nobody's business here.
    desk.write("sets/other.yaml", "kind: Other\n");
    let out = run(&desk, &["check", "sets"]);
    out.complained(0, &["3 sets, no errors", "--identity looks inside too"]);

    let moved = api.replace("name: api", "name: web");
    desk.write("sets/moved.yaml", &moved);
    run(&desk, &["check", "sets"]).complained(0, &["4 sets, no errors"]);
    let ran = run(&desk, &["check", "sets", "--identity", "identity.txt"]);
    assert!(ran.err.contains("2 opened, 2 not"), "{}", ran.err);
    let said = ran.ended(1);
    let expected = "sets/moved.yaml:8:3: WV100 BindingMismatch: WorkspaceVariables team-a/web: spec.sealed: it was sealed for team-a/api";
    assert!(said.contains(expected), "no '{expected}' in:\n{said}");
    fs::remove_file(desk.path("sets/moved.yaml")).unwrap();

    // Both formats are opened, and the name that one of them lost shows.
    desk.write("vectors.txt", IDENTITY);
    let report = run(
        &desk,
        &["check", "sets", "--identity", "vectors.txt", "-o", "json"],
    )
    .ended(1);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["sets"], &report["opened"]), (&3.into(), &2.into()));
    assert_eq!(report["errors"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        report["errors"][0]["object"],
        "WorkspaceVariables team-a/sops-api"
    );

    // A set without a namespace is where its binding says, or where somebody says.
    desk.write("api.yaml", &api.replace("  namespace: team-a\n", ""));
    let words = ["check", "api.yaml", "--identity", "identity.txt"];
    run(&desk, &words).complained(0, &["1 set, no errors", "all opened"]);
    let said = run(&desk, &[&words[..], &["-n", "team-b"]].concat()).ended(1);
    assert!(said.contains("is at team-b/api"), "{said}");
}

#[test]
fn a_set_that_is_wrong_from_the_outside_is_named_by_file_line_and_field() {
    let desk = mk_desk();
    let api = read(&desk, "api.yaml");
    let cut: String = api
        .lines()
        .take(9)
        .map(|line| format!("{line}\n"))
        .collect();
    let plain = "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceVariables\nmetadata: {name: x, namespace: team-a}\n\
                 spec: {format: Age, sealed: c4n4ry}\n";
    desk.write("sets/cut.yaml", &cut);
    desk.write("sets/plain.yaml", plain);
    desk.write(
        "sets/broken.yaml",
        &format!("{}  bad: [\n", plain.replace("name: x", "name: y")),
    );
    desk.write("sets/twice.yaml", &format!("{cut}---\n{cut}"));
    let said = run(&desk, &["check", "sets"]).ended(1);
    for text in [
        "sets/cut.yaml:8:3: GS211 SchemaInvalid: WorkspaceVariables team-a/api: spec.sealed: ",
        "sets/plain.yaml:4:",
        "sets/broken.yaml:",
        "is defined in",
    ] {
        assert!(said.contains(text), "no '{text}' in:\n{said}");
    }
    run(&desk, &["check", "no/such"]).complained(2, &["no/such", "next step:"]);
    assert!(parsed(&api)["spec"]["sealed"].is_string());
}
