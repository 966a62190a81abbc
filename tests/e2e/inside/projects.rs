//! Projects and start commands, however the tools get in.

use serde_json::json;
use workstead::api::class::Delivery;
use workstead::api::workspace::Cause;

use super::{Room, command, has, is_ready, project, status};
use crate::harness::{Cluster, Repository, debian_image, tiny_image};

#[tokio::test]
#[ignore = "needs the node"]
async fn projects_are_cloned_and_commands_run_however_the_tools_get_in() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "projects").await;
    let repository = Repository::create(&cluster, &room.namespace);
    repository.write("README.md", "first");
    repository.push("Say first");
    let url = &repository.cluster_url;
    let projects = || [project("code", url)];
    let copied = json!({"projects": projects(), "className": room.class_name("copied")});
    let marking = json!({"projects": projects(), "postStart": [command("mark", "cat README.md > ../marked")]});
    let failing =
        json!({"projects": projects(), "postStart": [command("broken", "echo a reason; exit 3")]});
    let missing = json!({"projects": [project("gone", &format!("{url}-gone"))]});
    let (debian, tiny) = (debian_image(), tiny_image());
    cluster.apply_all(vec![
        room.class("copied", json!({"tools": {"delivery": "Copy"}})),
        room.workspace("mounted", &debian, marking),
        room.workspace("copied", &debian, copied),
        room.workspace("empty", &tiny, json!({"projects": projects()})),
        room.workspace("failing", &debian, failing),
        room.workspace("missing", &debian, missing),
    ]);
    for name in ["mounted", "copied", "empty"] {
        let ready = |w: &_| is_ready(w) && has(w, "ProjectsReady", "True");
        let workspace = room.until(name, "to have its project", ready).await;
        if name == "copied" {
            let tools = status(&workspace).tools.clone().unwrap();
            assert_eq!(tools.delivery, Delivery::Copy);
        }
    }
    assert_eq!(room.exec("mounted", "cat /projects/marked").trim(), "first");
    let text = room.exec("copied", "cat /projects/code/README.md");
    assert_eq!(text.trim(), "first");

    let failure = room.until_failed("failing", Cause::PostStartFailed).await;
    assert!(failure.evidence.contains("exit code 3"), "{failure:?}");
    assert!(failure.evidence.contains("a reason"), "{failure:?}");
    let failing = room.until("failing", "to be there", |_| true).await;
    assert!(has(&failing, "ProjectsReady", "True"));
    room.until_failed("missing", Cause::CloneRef).await;
    room.leave(&["copied"]).await;
}
