//! Images, users and ways to clone, each with each: pairs, not all triples.

use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::Cause;

use super::{Room, command, project, status};
use crate::harness::{
    Cluster, Guarded, OwnNode, TEXT, Way, debian_image, musl_image, skipped, tiny_image,
};

/// Users, and whether they have a namespace of users to themselves.
const USERS: [(i64, bool); 5] = [
    (1000, false),
    (1000, true),
    (10001, false),
    (10001, true),
    (1_000_680_000, false),
];

fn class(user: i64, has_namespace: bool) -> String {
    format!("u{user}{}", if has_namespace { "-own" } else { "" })
}

/// Why the cluster or its node gives no pod a user namespace, if so.
fn no_user_namespaces(room: &Room<'_>) -> Option<String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": room.namespace},
        "spec": {"hostUsers": false, "containers": [{"name": "probe", "image": "probe"}]},
    });
    let create = ["create", "-f", "-", "--dry-run=server", "-o"];
    let kept = room
        .cluster
        .kubectl_with(
            &[&create[..], &["jsonpath={.spec.hostUsers}"]].concat(),
            &pod.to_string(),
        )
        .success();
    if kept.trim() != "false" {
        return Some("the API server drops hostUsers".to_owned());
    }
    let kind = OwnNode::here()?.exec(&["stat", "-f", "-c", "%T", "/var/lib/kubelet"]);
    let kind = String::from_utf8_lossy(&kind.stdout).trim().to_owned();
    (kind == "overlayfs").then(|| "the node's folders lie on an overlay".to_owned())
}

#[tokio::test]
#[ignore = "needs the node"]
async fn every_image_works_for_every_user_by_every_way_to_clone() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "images").await;
    let server = Guarded::start(&cluster, &room.namespace, &["git"], "open-sesame");
    let mut objects = vec![server.secret("git", "git", None, server.right("git"))];
    let why_not = no_user_namespaces(&room);
    if let Some(why) = &why_not {
        skipped(&format!("workspaces with user namespaces: {why}"));
    }
    let users: Vec<_> = USERS
        .into_iter()
        .filter(|(_, has_namespace)| why_not.is_none() || !has_namespace)
        .collect();
    let mut all = Vec::new();
    for (n, (user, has_namespace)) in users.iter().enumerate() {
        let class = class(*user, *has_namespace);
        objects.push(room.class(
            &class,
            json!({"pod": {"runAsUser": user, "userNamespaces": has_namespace}}),
        ));
        for (m, (image, reference)) in [
            ("debian", debian_image()),
            ("musl", musl_image()),
            ("tiny", tiny_image()),
        ]
        .into_iter()
        .enumerate()
        {
            // Each way meets each image and each user.
            let way = [Way::Http, Way::Https, Way::Ssh][(n + m) % 3];
            let mut more = json!({
                "className": room.class_name(&class),
                "projects": [project("demo", &server.url("git", way))],
            });
            if image != "tiny" {
                // Git needs no set-up, and the user no name.
                let run = "git fetch && git log --oneline | wc -l >../commits && id -u >../user";
                more["postStart"] = json!([command("look", run)]);
            }
            let name = format!("{image}-{class}");
            objects.push(room.workspace(&name, &reference, more));
            all.push((name, image, *user, *has_namespace));
        }
    }
    // A number that a namespace of users does not have.
    let (lost, lost_user) = ("lost", 1_000_680_000);
    let limits = json!({"pod": {"runAsUser": lost_user, "userNamespaces": true}});
    objects.push(room.class(lost, limits));
    let more = json!({"className": room.class_name(lost)});
    objects.push(room.workspace(lost, &tiny_image(), more));
    cluster.apply_all(objects);

    for (name, image, user, has_namespace) in &all {
        room.until_ready(name).await;
        let shell: &[&str] = if *image == "tiny" {
            &["/busybox"]
        } else {
            &["busybox"]
        };
        let said = |command: &[&str]| room.run(name, &[shell, command].concat(), "").success();
        assert_eq!(
            said(&["cat", "/projects/demo/README"]).trim(),
            TEXT,
            "{name}"
        );
        assert_eq!(said(&["id", "-u"]).trim(), user.to_string(), "{name}");
        let reserved = said(&["cat", "/proc/sys/net/ipv4/ip_local_reserved_ports"]);
        assert_eq!(reserved.trim(), "60001,60003-60004,60022", "{name}");
        // Inside, outside, how many.
        let map = said(&["cat", "/proc/self/uid_map"]);
        let is_the_hosts = map.split_whitespace().nth(1) == Some("0");
        assert_eq!(is_the_hosts, !has_namespace, "{name}: {map}");
        if *image != "tiny" {
            assert_eq!(said(&["cat", "/projects/commits"]).trim(), "1", "{name}");
            let seen = said(&["cat", "/projects/user"]);
            assert_eq!(seen.trim(), user.to_string(), "{name}");
        }
    }
    let names_limit = |w: &Workspace| {
        status(w).failure.as_ref().is_some_and(|f| {
            f.cause == Cause::ClassInvalid
                && f.evidence
                    .contains("1000680000 does not exist in a user namespace")
                && f.evidence.contains("65535")
        })
    };
    room.until(lost, "to name the limit", names_limit).await;
    let classes: Vec<String> = users.iter().map(|(user, own)| class(*user, *own)).collect();
    let mut classes: Vec<&str> = classes.iter().map(String::as_str).collect();
    classes.push(lost);
    room.leave(&classes).await;
}
