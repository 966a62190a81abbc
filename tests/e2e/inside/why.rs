//! What people see of the inside: `workstead why`, `workstead list` and `kubectl describe`.

use serde_json::{Value, json};
use workstead::api::workspace::Cause;

use super::{Room, command, is_ready, project, status};
use crate::harness::{Cluster, Repository, debian_image};

#[tokio::test]
#[ignore = "needs the node"]
async fn why_and_describe_name_the_step_that_failed_with_its_last_lines_and_asking_changes_nothing()
{
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "why").await;
    let repository = Repository::create(&cluster, &room.namespace);
    repository.write("README.md", "first");
    repository.push("Begin");
    let image = debian_image();
    let serve = "cd /projects && exec busybox httpd -f -p 3000";
    cluster.apply_all(vec![
        room.workspace(
            "failing",
            &image,
            json!({"postStart": [command("broken", "echo a reason; exit 3")]}),
        ),
        room.workspace(
            "good",
            &image,
            json!({"projects": [project("code", &repository.cluster_url)]}),
        ),
        room.workspace(
            "plain",
            &image,
            json!({"command": ["sh", "-c", serve], "endpoints": [{"name": "web", "port": 3000}]}),
        ),
    ]);
    let why = |name: &str, more: &[&str]| {
        let arguments = [&["why", name, "-n", &room.namespace], more].concat();
        cluster.workstead(&arguments).success()
    };

    room.until_failed("failing", Cause::PostStartFailed).await;
    let said = why("failing", &[]);
    for text in [
        "INSIDE, NOW",
        "start command broken",
        "exit code 3",
        "a reason",
    ] {
        assert!(said.contains(text), "no '{text}' in:\n{said}");
    }
    let described = cluster.kubectl(&["describe", "workspace", "failing", "-n", &room.namespace]);
    for text in [
        "PostStartFailed",
        "start command broken",
        "exit code 3",
        "a reason",
    ] {
        assert!(described.contains(text), "no '{text}' in:\n{described}");
    }

    let before = room.until_ready("good").await;
    let answer: Value = serde_json::from_str(&why("good", &["-o", "json"])).unwrap();
    assert_eq!(answer["inside"]["fresh"], true, "{answer}");
    let steps = answer["inside"]["steps"].as_array().unwrap();
    assert!(
        steps
            .iter()
            .any(|step| step["step"] == "Clone" && step["subject"] == "code"),
        "{answer}"
    );
    let after = room
        .until("good", "to be as ready as before", is_ready)
        .await;
    // A condition that had changed meanwhile would have another time.
    assert_eq!(status(&after).conditions, status(&before).conditions);

    // One with nothing to do inside can be asked too.
    room.until_ready("plain").await;
    let listens = crate::harness::eventually("its port", || async {
        let answer: Value = serde_json::from_str(&why("plain", &["-o", "json"])).unwrap();
        (answer["inside"]["listening"] == json!([3000])).then_some(answer)
    })
    .await;
    assert_eq!(listens["inside"]["fresh"], true, "{listens}");
    let wide = ["list", "-n", &room.namespace, "-o", "wide"];
    let list = cluster.workstead(&wide).success();
    let plain = list.lines().find(|line| line.starts_with("plain")).unwrap();
    assert!(
        plain.contains("web:3000") && plain.contains("3000 ("),
        "{list}"
    );
    room.leave(&[]).await;
}
