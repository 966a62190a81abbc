//! seal and identity, without a cluster: what goes in comes out again, and what is secret is nowhere else.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use workstead::model::variables::{FilePath, VariableName};
use workstead::secrets::binding::{Audience, Scope};
use workstead::secrets::document::Document;
use workstead::secrets::error::Location;
use workstead::secrets::identity::{Identities, Identity};
use workstead::secrets::open::open;
use workstead::yaml;

use super::{Bench, Ran, binary, write};

/// It may be nowhere but in the sealed text.
pub(super) const CANARY: &str = "c4n4ry-7f3a-value";

pub(super) const SET: &str = "\
binding: {namespace: team-a, name: api}
appliesTo: {owner: alice@example.com}
serial: 3
env: {TOKEN: c4n4ry-7f3a-value}
files: {.netrc: {mode: '0400', content: \"machine x password c4n4ry-7f3a-value\\n\"}}
";

pub(super) const PLACE: [&str; 4] = ["--name", "api", "-n", "team-a"];

/// A folder of somebody who seals for one identity.
pub(super) struct Desk {
    pub(super) folder: tempfile::TempDir,
    pub(super) identity: Identity,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            identity: Identity::generate(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        write(self.folder.path(), name, text);
    }

    pub(super) fn recipient(&self) -> String {
        self.identity.recipient().to_string()
    }

    /// Seals for the identity.
    pub(super) fn seal(&self, arguments: &[&str]) -> Ran {
        let recipient = self.recipient();
        let all = [&["--recipient", &recipient], arguments].concat();
        self.run(&all, "")
    }

    /// Seals; the canary is in nothing that is said, in no form.
    pub(super) fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = binary()
            .env("KUBECONFIG", "/nowhere")
            .current_dir(self.folder.path())
            .arg("seal")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who refuses early reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        discreet(Ran::of(child.wait_with_output().unwrap()))
    }

    /// What is in an object, opened.
    pub(super) fn opened(&self, object: &str) -> Document {
        let object = parsed(object);
        assert_eq!(object["kind"], "WorkspaceVariables");
        assert_eq!(object["apiVersion"], "workstead.dev/v1alpha1");
        assert_eq!(object["spec"]["format"], "Age");
        let place = Location {
            namespace: object["metadata"]["namespace"].as_str().unwrap().to_owned(),
            name: object["metadata"]["name"].as_str().unwrap().to_owned(),
        };
        let identities = Identities::of(vec![self.identity.clone()]).unwrap();
        let sealed = object["spec"]["sealed"].as_str().unwrap();
        let opened = open(sealed, &identities, None).map_err(|error| error.to_string());
        let document = Document::read(&opened.unwrap().plaintext);
        let document = document.map_err(|error| error.to_string()).unwrap();
        document.binding.check(document.scope, &place).unwrap();
        document
    }

    /// Names of all files, hidden ones too.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The canary is in nothing that was said, in no form.
pub(super) fn discreet(ran: Ran) -> Ran {
    for form in [
        CANARY.to_owned(),
        STANDARD.encode(CANARY),
        hex::encode(CANARY),
    ] {
        assert!(!ran.out.contains(&form), "{}", ran.out);
        assert!(!ran.err.contains(&form), "{}", ran.err);
    }
    ran
}

pub(super) fn parsed(text: &str) -> Value {
    let mut documents = yaml::read(text.as_bytes(), yaml::Limits::default());
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).unwrap().root.to_json()
}

pub(super) fn env<'a>(set: &'a Document, name: &str) -> &'a str {
    set.env[&VariableName::parse(name).unwrap()].expose()
}

fn content<'a>(set: &'a Document, path: &str) -> &'a [u8] {
    set.files[&FilePath::parse(path).unwrap()].content.expose()
}

#[test]
fn a_set_in_plaintext_is_sealed_as_it_says_and_opened_again() {
    let desk = Desk::new();
    desk.write("vars.yaml", SET);
    let ran = desk.seal(&["vars.yaml"]);
    let fingerprint = desk.identity.fingerprint().to_string();
    for said in [
        format!("recipients: {fingerprint} (--recipient)"),
        "sealed 1 variable and 1 file for team-a/api: scope Strict, for Workspaces of alice@example.com".to_owned(),
        "next step: ".to_owned(),
    ] {
        assert!(ran.err.contains(&said), "no '{said}' in:\n{}", ran.err);
    }
    let object = ran.ended(0);
    assert!(
        object.contains("\n  sealed: |\n    -----BEGIN AGE ENCRYPTED FILE-----\n"),
        "{object}"
    );
    let set = desk.opened(&object);
    assert_eq!((set.scope, set.serial), (Scope::Strict, Some(3)));
    assert_eq!(
        set.audience,
        Audience::Owner("alice@example.com".to_owned())
    );
    assert_eq!(env(&set, "TOKEN"), CANARY);
    let netrc = &set.files[&FilePath::parse(".netrc").unwrap()];
    assert_eq!(netrc.mode, 0o400);
    assert_eq!(
        netrc.content.expose(),
        format!("machine x password {CANARY}\n").as_bytes()
    );
}

#[test]
fn every_source_is_sealed_together_with_the_others() {
    let desk = Desk::new();
    desk.write("vars.yaml", "env: {A: one}\n");
    desk.write(".env", &format!("# remark\nexport B=\"two {CANARY}\"\n"));
    desk.write("more.env", "D=four\n");
    fs::write(desk.path("tool"), b"\x00\xff\x01").unwrap();
    let recipient = desk.recipient();
    let words = [
        &["vars.yaml", "--env-file", ".env", "--env-file", "more.env"][..],
        &["--ask", "C", "--ask", "E", "--file", "~/bin/tool=tool"],
        &[
            "--recipient",
            &recipient,
            "--scope",
            "namespace",
            "--for-namespace",
            "--serial",
            "7",
        ],
        &PLACE,
    ]
    .concat();
    let ran = desk.run(&words, &format!("{CANARY}\nfive\n"));
    let set = desk.opened(&ran.ended(0));
    let values = ["A", "B", "C", "D", "E"].map(|name| env(&set, name).to_owned());
    assert_eq!(
        values,
        [
            "one".to_owned(),
            format!("two {CANARY}"),
            CANARY.to_owned(),
            "four".to_owned(),
            "five".to_owned()
        ]
    );
    assert_eq!(content(&set, "~/bin/tool"), b"\x00\xff\x01");
    assert_eq!((set.scope, set.serial), (Scope::Namespace, Some(7)));
    assert_eq!(
        (set.audience, set.binding.name),
        (Audience::Namespace, None)
    );
    // So that nothing in plaintext has to be in a file at all.
    let ran = desk.run(
        &[&["-", "--recipient", &recipient][..], &PLACE].concat(),
        &format!("env: {{A: {CANARY}}}"),
    );
    assert_eq!(env(&desk.opened(&ran.ended(0)), "A"), CANARY);
}

#[test]
fn recipients_of_a_file_are_those_that_can_open_it() {
    let desk = Desk::new();
    desk.write("vars.yaml", SET);
    let other = Identity::generate();
    let list = format!("# ours\n{}\n\n{}\n", other.recipient(), desk.recipient());
    desk.write("recipients.txt", &list);
    let ran = desk.run(&["vars.yaml", "--recipients-file", "recipients.txt"], "");
    let both = format!("{}, {}", other.fingerprint(), desk.identity.fingerprint());
    assert!(ran.err.contains(&both), "{}", ran.err);
    let object = ran.ended(0);
    desk.opened(&object);
    let desk = Desk {
        identity: other,
        ..desk
    };
    desk.opened(&object);
}

#[test]
fn what_is_wrong_with_a_value_is_said_by_file_line_and_key_and_without_the_value() {
    let desk = Desk::new();
    for (name, text, said) in [
        (
            "vars.yaml",
            "env:\n  A: one\n  TOKEN: [c4n4ry-7f3a-value]\n".to_owned(),
            &[
                "vars.yaml is no set",
                "line 3",
                "(TOKEN)",
                "put it in quotes",
            ][..],
        ),
        (
            "vars.yaml",
            format!("env: {{A: {CANARY}\n"),
            &["vars.yaml is no set", "no YAML"],
        ),
        (
            "vars.yaml",
            format!("{CANARY}: x\n"),
            &["vars.yaml is no set", "line 1"],
        ),
        (
            "vars.yaml",
            format!("files:\n  a:\n    b64: '{CANARY}!'\n"),
            &["line 2", "(a)", "Base64"],
        ),
        (
            "vars.yaml",
            format!("env: {{A: {CANARY}}}\nserial: -1\n"),
            &["line 2", "(serial)"],
        ),
        (
            "vars.yaml",
            format!("env: {{A: {CANARY}, A: {CANARY}}}"),
            &["vars.yaml is no set"],
        ),
        ("vars.yaml", "{}\n".to_owned(), &["no variable and no file"]),
        (
            ".env",
            format!("A={CANARY}\n"),
            &[".env is no set", "--env-file"],
        ),
    ] {
        desk.write(name, &text);
        let name_of = [&[name][..], &PLACE].concat();
        // Keys that look like names are said: what is no key of a set may be one.
        if text.starts_with(CANARY) {
            desk.write(name, &text.replace(CANARY, "c4n4ry 7f3a value"));
        }
        let ran = desk.seal(&name_of);
        assert!(!ran.err.contains("c4n4ry 7f3a value"), "{}", ran.err);
        ran.complained(1, said);
    }
    for (text, said) in [
        (format!("A=1\n{CANARY}\n"), &["line 2", "NAME=value"][..]),
        (
            format!("A=1\nTOKEN='{CANARY}\n"),
            &["line 2", "(TOKEN)", "never closed"],
        ),
        (
            format!("A={CANARY}\nA={CANARY}\n"),
            &["line 2", "(A)", "twice"],
        ),
        (
            format!("LONG={CANARY}{}\n", "x".repeat(128 * 1024)),
            &["line 1", "(LONG)", "128 KiB"],
        ),
    ] {
        desk.write("bad.env", &text);
        let words = [&["--env-file", "bad.env"][..], &PLACE].concat();
        desk.seal(&words)
            .complained(1, &[&["bad.env can't be read"][..], said].concat());
    }
}

#[test]
fn a_key_from_two_sources_is_refused_by_its_name() {
    let desk = Desk::new();
    desk.write("vars.yaml", SET);
    desk.write(".env", &format!("TOKEN={CANARY}\n"));
    desk.seal(&["vars.yaml", "--env-file", ".env"]).complained(
        1,
        &[
            "TOKEN is there twice: from vars.yaml and from .env",
            "next step:",
        ],
    );
    desk.seal(&["vars.yaml", "--file", ".netrc=.env"])
        .complained(
            1,
            &[".netrc is there twice: from vars.yaml and from --file .netrc=…"],
        );
    desk.seal(&["vars.yaml", "--file", ".netrc/x=.env"])
        .complained(1, &[".netrc: another file is below it"]);
}

#[test]
fn what_file_and_options_say_differently_is_refused() {
    let desk = Desk::new();
    desk.write("vars.yaml", SET);
    for (option, said) in [
        (
            &["--name", "web"][..],
            &[
                "the name of the set is said twice",
                "the file says: api",
                "--name says: web",
            ][..],
        ),
        (
            &["-n", "team-b"],
            &["the namespace of the set is said twice"],
        ),
        (
            &["--owner", "bob@example.com"],
            &["appliesTo", "alice@example.com", "bob@example.com"],
        ),
        (&["--for-namespace"], &["appliesTo"]),
        (&["--serial", "4"], &["the serial of the set is said twice"]),
    ] {
        desk.seal(&[&["vars.yaml"], option].concat())
            .complained(1, said);
    }
    desk.write("wide.yaml", &format!("scope: Cluster\n{SET}"));
    desk.seal(&["wide.yaml", "--scope", "strict"]).complained(
        1,
        &["the scope of the set is said twice", "Cluster", "Strict"],
    );
}

#[test]
fn what_is_missing_is_named_with_the_way_to_say_it() {
    let desk = Desk::new();
    desk.write(".env", "A=1\n");
    desk.seal(&[])
        .complained(2, &["nothing was named", "--env-file"]);
    desk.seal(&["--env-file", ".env", "--name", "api"])
        .complained(2, &["which namespace", "say --namespace"]);
    desk.seal(&["--env-file", ".env", "-n", "team-a"])
        .complained(2, &["which name ", "say --name"]);
    desk.seal(&[&["--env-file", "no.env"][..], &PLACE].concat())
        .complained(2, &["no.env"]);
    let words = [&["--env-file", ".env"][..], &PLACE].concat();
    desk.run(&words, "")
        .complained(2, &["failed to read a kubeconfig", "--recipient"]);
    let words = [&["--ask", "A", "--ask", "B"][..], &PLACE].concat();
    let recipient = desk.recipient();
    let words = [&words[..], &["--recipient", &recipient]].concat();
    desk.run(&words, &format!("{CANARY}\n"))
        .complained(2, &["there is no value for B"]);
    desk.run(&words, &format!("{CANARY}\nb\n{CANARY}\n"))
        .complained(1, &["standard input goes on"]);
    let words = [&words[..], &["-"]].concat();
    desk.run(&words, CANARY)
        .complained(2, &["standard input can be one source"]);
}

/// A value, or the identity instead of its recipient, where a name was expected.
#[test]
fn words_in_the_wrong_place_are_not_repeated() {
    let desk = Desk::new();
    let secret = desk.identity.to_text();
    let value = format!("TOKEN={CANARY}");
    desk.write("list.txt", &format!("{}\n", *secret));
    for words in [
        &["--ask", &value, "--recipient", "age1x"][..],
        &["--ask", "A", "--recipient", &secret],
        &["--ask", "A", "--recipients-file", "list.txt"],
        &["--ask", "A", "--file", CANARY],
    ] {
        let ran = desk.run(&[words, &PLACE].concat(), CANARY);
        assert!(!ran.err.contains("AGE-SECRET"), "{}", ran.err);
        assert!([1, 2].contains(&ran.code), "{}", ran.err);
    }
    desk.run(
        &[&["--ask", "A", "--recipients-file", "list.txt"][..], &PLACE].concat(),
        "",
    )
    .complained(
        1,
        &["list.txt is no list of recipients", "line 1", "next step:"],
    );
}

/// As an installation publishes them, and in the namespace of the context where none is named.
#[tokio::test]
async fn recipients_are_read_from_the_installation_where_none_are_named() {
    let bench = Bench::new().await;
    let desk = Desk::new();
    desk.write("vars.yaml", &format!("env: {{TOKEN: {CANARY}}}\n"));
    let vars = desk.path("vars.yaml");
    let words = [
        "seal",
        vars.to_str().unwrap(),
        "--name",
        "api",
        "--installation-namespace",
        &bench.namespace,
    ];
    bench.run(&words).await.complained(
        2,
        &[
            "no recipients are published in namespace",
            "next step:",
            "--installation-namespace",
        ],
    );
    let maps: Api<ConfigMap> = Api::namespaced(bench.plane.client(), &bench.namespace);
    let text = format!("# ours\n{}\n", desk.recipient());
    let map = crate::object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workstead-recipients"},
        "data": {"recipients.txt": text},
    }));
    maps.create(&PostParams::default(), &map).await.unwrap();
    let ran = bench.run(&words).await;
    let said = format!(
        "recipients: {} (ConfigMap {}/workstead-recipients)",
        desk.identity.fingerprint(),
        bench.namespace
    );
    assert!(ran.err.contains(&said), "{}", ran.err);
    let object = ran.ended(0);
    assert_eq!(parsed(&object)["metadata"]["namespace"], *bench.namespace);
    assert_eq!(env(&desk.opened(&object), "TOKEN"), CANARY);
}
