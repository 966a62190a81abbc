//! vars edit: plain text is with the editor alone, and gone when it ends, however that is.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Ran;
use super::seal::{CANARY, Desk, discreet, env};
use super::vars::{mk_desk, read, vars};

/// Has a shell script edit the file `$1`. It first leaves where the file is, and what others may do with it.
fn edit(desk: &Desk, script: &str, more: &[&str]) -> Ran {
    discreet(Ran::of(command(desk, script, more).output().unwrap()))
}

pub(super) fn command(desk: &Desk, script: &str, more: &[&str]) -> Command {
    let begin =
        "echo \"$1\" > where; stat -c %a \"$1\" \"$(dirname \"$1\")\" > modes; cp \"$1\" shown\n";
    desk.write("editor.sh", &format!("{begin}{script}\n"));
    let recipient = desk.recipient();
    let words = [
        "edit",
        "api.yaml",
        "--identity",
        "identity.txt",
        "--recipient",
        &recipient,
    ];
    let mut command = vars(desk, &[&words[..], more].concat());
    command.env("EDITOR", "sh ./editor.sh").stdin(Stdio::null());
    command
}

/// Nothing of the plain text is left where it was.
#[track_caller]
pub(super) fn is_gone(desk: &Desk) {
    let path = PathBuf::from(read(desk, "where").trim());
    assert!(path.starts_with("/dev/shm"), "{}", path.display());
    assert!(!path.exists() && !path.parent().unwrap().exists());
}

#[test]
fn an_edited_set_is_sealed_again_and_its_serial_rises() {
    let desk = mk_desk();
    let before = format!("# why\n{}", read(&desk, "api.yaml"));
    desk.write("api.yaml", &before);
    let ran = edit(
        &desk,
        "sed -i 's/^env:/env:\\n  NEW: \"8080\"/' \"$1\"",
        &[],
    );
    for said in [
        "WorkspaceVariables team-a/api: sealed again with serial 4",
        "it was sealed for 2 recipients and is for 1 now",
        "workstead vars update",
    ] {
        assert!(ran.err.contains(said), "no '{said}' in:\n{}", ran.err);
    }
    ran.ended(0);
    let shown = read(&desk, "shown");
    assert!(
        shown.starts_with("# WorkspaceVariables team-a/api, opened."),
        "{shown}"
    );
    assert!(shown.contains(CANARY));
    assert_eq!(read(&desk, "modes"), "600\n700\n");
    is_gone(&desk);
    let after = read(&desk, "api.yaml");
    assert!(after.starts_with("# why\napiVersion"), "{after}");
    assert!(!after.contains(CANARY));
    let set = desk.opened(&after);
    assert_eq!((env(&set, "NEW"), env(&set, "TOKEN")), ("8080", CANARY));
    assert_eq!((set.serial, set.files.len()), (Some(4), 1));
}

#[test]
fn what_did_not_change_is_not_written() {
    let desk = mk_desk();
    let before = read(&desk, "api.yaml");
    for script in [
        "true",
        "echo '# a remark' >> \"$1\"",
        "cp \"$1\" x; rm \"$1\"; mv x \"$1\"",
    ] {
        edit(&desk, script, &[]).complained(0, &["nothing changed, nothing written"]);
        assert_eq!(read(&desk, "api.yaml"), before);
        is_gone(&desk);
    }
}

#[test]
fn what_can_not_be_sealed_leaves_the_set_as_it_was_and_is_named_by_line_and_key() {
    let desk = mk_desk();
    let before = read(&desk, "api.yaml");
    for (script, said) in [
        (
            "sed -i 's/TOKEN: .*/TOKEN: [c4n4ry-7f3a-value]/' \"$1\"",
            &["line 10", "(TOKEN)"][..],
        ),
        ("echo 'c4n4ry-7f3a-value: [' >> \"$1\"", &["no YAML"]),
        (
            "sed -i 's/^serial:.*/serial: 2/' \"$1\"",
            &["(serial)", "it may only rise"],
        ),
        (
            "sed -i 's/name: api/name: web/' \"$1\"",
            &["its binding is for team-a/web", "leave the binding"],
        ),
        (
            "sed -i 's/alice@example.com/a b/' \"$1\"",
            &["appliesTo names no owner"],
        ),
        (
            "printf 'binding: {namespace: team-a, name: api}\\nserial: 3\\n' > \"$1\"",
            &["no variable and no file"],
        ),
        ("rm \"$1\"", &["failed to read"]),
        ("exit 3", &["did not end well", "nothing was changed"]),
        (
            "echo >> api.yaml; sed -i 's/TOKEN:/OTHER:/' \"$1\"",
            &["was changed meanwhile"],
        ),
    ] {
        let ran = edit(&desk, script, &[]);
        assert!([1, 2].contains(&ran.code), "{script}: {}", ran.err);
        for text in said.iter().chain(&["next step:"]) {
            assert!(
                ran.err.contains(text),
                "{script}: no '{text}' in:\n{}",
                ran.err
            );
        }
        assert_eq!(
            read(&desk, "api.yaml").trim_end(),
            before.trim_end(),
            "{script}"
        );
        is_gone(&desk);
        desk.write("api.yaml", &before);
    }
}

#[test]
fn an_editor_that_is_not_there_is_named() {
    let desk = mk_desk();
    let mut command = command(&desk, "true", &[]);
    command.env("VISUAL", "/no/such/editor --wait");
    Ran::of(command.output().unwrap()).complained(
        2,
        &[
            "the editor /no/such/editor --wait did not end well",
            "set VISUAL or EDITOR",
        ],
    );
}

/// The recipients are looked at before anybody edits: nobody shall write what then can't be sealed.
#[test]
fn recipients_that_can_not_be_had_are_an_error_before_the_editor_opens() {
    let desk = mk_desk();
    let words = ["edit", "api.yaml", "--identity", "identity.txt"];
    let mut command = vars(&desk, &words);
    command.env("EDITOR", "touch opened;");
    Ran::of(command.output().unwrap()).complained(2, &["failed to read a kubeconfig"]);
    desk.write(
        "pin.txt",
        &format!(
            "{}\n",
            workstead::secrets::identity::Identity::generate().recipient()
        ),
    );
    let ran = edit(&desk, "touch opened", &["--pin", "pin.txt"]);
    ran.complained(1, &["not those that pin.txt pins"]);
    assert!(!desk.path("opened").exists());
}

#[test]
fn no_signal_leaves_plain_text_behind() {
    for (signal, to_all, code) in [("TERM", false, 2), ("HUP", false, 2), ("INT", true, 2)] {
        let desk = mk_desk();
        let before = read(&desk, "api.yaml");
        let child = command(&desk, "touch started; exec sleep 60", &[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut left = 200;
        while !desk.path("started").exists() {
            left -= 1;
            assert!(left > 0, "the editor never began");
            std::thread::sleep(Duration::from_millis(50));
        }
        // As a terminal does it for Ctrl-C: to all of the group.
        let target = if to_all {
            format!("-{}", child.id())
        } else {
            child.id().to_string()
        };
        let sent = Command::new("kill")
            .args(["-s", signal, "--", &target])
            .status();
        assert!(sent.unwrap().success());
        let ran = discreet(Ran::of(child.wait_with_output().unwrap()));
        assert_eq!(ran.code, code, "{signal}: {}", ran.err);
        is_gone(&desk);
        assert_eq!(fs::read_to_string(desk.path("api.yaml")).unwrap(), before);
    }
}
