//! What is sealed arrives byte for byte, and by precedence.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use workstead::api::environment::VariablesLevel;

use super::{Desk, digest, listing};
use crate::harness::Cluster;
use crate::inside::{OWNER, Room, command, status};

/// Every byte there is, 100 kB of them.
fn binary() -> Vec<u8> {
    (0..102_400_u32).map(|n| (n * 31 % 257) as u8).collect()
}

/// A text of 100 kB in which no part is like another.
fn long() -> String {
    (0..)
        .map(|n| format!("{n} $(X) 'ü'\n"))
        .take(6_400)
        .collect::<String>()[..]
        .chars()
        .take(98_000)
        .collect()
}

fn variables() -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("NEWLINES", text("\na\nb\r\n\tc\n\n")),
        ("QUOTES", text(r#"'"`\ \n "' $HOME !x"#)),
        (
            "DOLLARS",
            text("$(HOME) $$(HOME) $$ $ ${HOME} $(NEWLINES) %s"),
        ),
        ("UNICODE", text("ü 🦀 \u{202e}x \u{feff}e\u{301}")),
        ("SPACES", text("  both  ")),
        ("EQUALS", text("a=b=c\u{1}\u{1b}[0m")),
        ("EMPTY", text("")),
        ("LONG", long()),
    ]
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("cert/all.bin", binary()),
        ("with space and ü.txt", b"a\r\nb".to_vec()),
        ("empty", Vec::new()),
        ("~/.ssh/id_ed25519", b"-----BEGIN KEY-----\n$(X)\n".to_vec()),
        ("~/.config/tool/x.json", br#"{"a":"\u0000"}"#.to_vec()),
    ]
}

#[tokio::test]
#[ignore = "needs the node"]
async fn variables_and_files_arrive_byte_for_byte_for_any_user() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "bytes").await;
    let desk = Desk::new(&room);
    let content =
        |bytes: &[u8], mode: &str| json!({"b64": BASE64_STANDARD.encode(bytes), "mode": mode});
    let modes = ["0440", "0400", "0440", "0400", "0550"];
    let env: serde_json::Map<String, Value> = variables()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let sealed: serde_json::Map<String, Value> = files()
        .iter()
        .zip(modes)
        .map(|((path, bytes), mode)| ((*path).to_owned(), content(bytes, mode)))
        .collect();
    desk.put("all", &json!({"env": env, "files": sealed})).await;
    cluster.apply_all(vec![
        room.class("any", json!({"pod": {"runAsUser": 23_456}})),
        // What runs by itself has them from the start.
        listing(
            &room,
            "all",
            &["all"],
            json!({
                "className": room.class_name("any"),
                "postStart": [command("early", "printf %s \"$LONG\" >/projects/long && cp ~/.ssh/id_ed25519 /projects/key")],
            }),
        ),
    ]);
    room.until_ready("all").await;

    for (name, value) in variables() {
        let said = room.exec("all", &format!("printf %s \"${name}\" | sha256sum"));
        assert_eq!(
            said.split_whitespace().next().unwrap(),
            digest(&value),
            "{name}"
        );
    }
    // Empty is not the same as not there.
    assert_eq!(room.exec("all", "printf %s \"${EMPTY-unset}\""), "");
    let hash = |path: &str| {
        let said = room.exec("all", &format!("sha256sum <'{path}'"));
        said.split_whitespace().next().unwrap().to_owned()
    };
    for (path, bytes) in files() {
        let place = format!("/run/workstead/files/{path}");
        assert_eq!(hash(&place), digest(&bytes), "{path}");
        // Whoever the user is, the group is theirs; nobody else's.
        let rights = room.exec("all", &format!("stat -Lc '%g %a' '{place}'"));
        let (group, mode) = rights.trim().split_once(' ').unwrap();
        let mode = u32::from_str_radix(mode, 8).unwrap();
        assert_eq!(
            (group, mode & 0o040, mode & 0o007),
            ("0", 0o040, 0),
            "{path}"
        );
        let refused = room.run("all", &["sh", "-c", &format!("echo x >>'{place}'")], "");
        assert_ne!(refused.code, Some(0), "{path} could be written");
        if let Some(below) = path.strip_prefix("~/") {
            let link = format!("/projects/{below}");
            let target = room.exec("all", &format!("readlink '{link}'"));
            assert_eq!(target.trim(), place);
            assert_eq!(hash(&link), digest(&bytes), "{path}");
        }
    }
    assert_eq!(room.exec("all", "id -u; id -g").trim(), "23456\n0");
    assert_eq!(room.exec("all", "stat -c %a /projects/.ssh").trim(), "700");
    assert_eq!(hash("/projects/long"), digest(long()));
    assert_eq!(hash("/projects/key"), digest(&files()[3].1));
    // Kubernetes would hand its own addresses to every process otherwise, and the names of secrets are nobody's business.
    assert_eq!(
        room.exec("all", "env | grep -c ^WORKSTEAD_SECRETS || true")
            .trim(),
        "1"
    );
    room.leave(&["any"]).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn what_stands_nearer_to_the_workspace_wins_and_the_status_says_who() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "order").await;
    let desk = Desk::new(&room);
    let all = ["A", "B", "C", "D", "E", "F"];
    let set = |from: usize, value: &str| -> Value {
        all[from..]
            .iter()
            .map(|name| ((*name).to_owned(), value.into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let file = |content: &str| json!({"content": content});
    let team = json!({
        "appliesTo": {"namespace": true}, "env": set(0, "team"),
        "files": {"who": file("team"), "~/who": file("team")},
    });
    let owner = json!({"appliesTo": {"owner": OWNER}, "env": set(1, "owner"), "files": {"who": file("owner")}});
    desk.put("team", &team).await;
    desk.put("mine", &owner).await;
    // Their names say nothing of their order: the list does.
    desk.put(
        "z-first",
        &json!({"env": set(2, "first"), "files": {"who": file("first")}}),
    )
    .await;
    desk.put("a-second", &json!({"env": set(3, "second")}))
        .await;
    desk.put(
        "unlisted",
        &json!({"env": {"A": "unlisted", "G": "unlisted"}}),
    )
    .await;
    let store = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"e": "store $(A)"},
        "metadata": {"name": "store", "namespace": room.namespace, "labels": {"workstead.dev/use": "variables"}},
    });
    let inline = json!({"env": [
        {"name": "E", "valueFrom": {"secretKeyRef": {"name": "store", "key": "e"}}},
        {"name": "F", "value": "inline $(A)"},
    ]});
    let mut other = listing(&room, "other", &[], json!({}));
    other["spec"]["owner"] = "lee@example.com".into();
    cluster.apply_all(vec![
        store,
        listing(&room, "near", &["z-first", "a-second"], inline),
        other,
    ]);
    let near = room.until_ready("near").await;
    room.until_ready("other").await;

    let values: Vec<String> = all.iter().map(|name| desk.value("near", name)).collect();
    let expected = [
        "team",
        "owner",
        "first",
        "second",
        "store $(A)",
        "inline $(A)",
    ];
    assert_eq!(values, expected);
    assert_eq!(room.exec("near", "cat /run/workstead/files/who"), "first");
    assert_eq!(room.exec("near", "cat ~/who"), "team");
    assert_eq!(desk.value("near", "G"), "");
    // A set of somebody else's is not theirs.
    let values: Vec<String> = all.iter().map(|name| desk.value("other", name)).collect();
    assert_eq!(values, ["team"; 6]);
    assert_eq!(room.exec("other", "cat /run/workstead/files/who"), "team");

    let variables = status(&near).variables.as_ref().unwrap();
    let said: Vec<(VariablesLevel, &str, String, String)> = variables
        .sets
        .iter()
        .map(|set| {
            (
                set.level,
                set.name.as_str(),
                set.env.join(" "),
                set.files.join(" "),
            )
        })
        .collect();
    let expected = [
        (VariablesLevel::Namespace, "team", "A", "~/who"),
        (VariablesLevel::Owner, "mine", "B", ""),
        (VariablesLevel::Workspace, "z-first", "C", "who"),
        (VariablesLevel::Workspace, "a-second", "D", ""),
        (VariablesLevel::Inline, "store", "E", ""),
    ]
    .map(|(level, name, env, files)| (level, name, env.to_owned(), files.to_owned()));
    assert_eq!(said, expected);
    room.leave(&[]).await;
}
