//! People who work in a browser, by links: how they get in, what opens, and how it ends.

use serde_json::{Value, json};

use super::entrance::{Entrance, port_of, until_open};
use super::{LIMIT, class};
use crate::harness::{
    Cluster, INSTALLATION, Repository, Scene, debian_image, editor_images, musl_image, skipped,
};
use crate::inside::{Room, project, status};

/// A workspace whose editor is a terminal, and the way to it.
struct Terminal<'a> {
    room: Room<'a>,
    entrance: Entrance<'a>,
    name: String,
    owner: String,
}

impl<'a> Terminal<'a> {
    async fn apply(
        cluster: &'a Cluster,
        prefix: &str,
        more: impl FnOnce(&Room<'_>) -> Value,
    ) -> Option<Self> {
        let entrance = Entrance::find(cluster);
        let room = Room::new(cluster, prefix).await;
        let Some(class) = class(&room) else {
            skipped(
                "a terminal in a browser: E2E_TERMINAL_IMAGE names none, and the node is not ours",
            );
            room.leave(&[]).await;
            return None;
        };
        // Hosts know no namespaces.
        let name = format!("{}-own", room.namespace);
        let owner = entrance.person(&room, "alice");
        let mut more = more(&room);
        more["owner"] = json!(owner);
        more["className"] = json!(room.class_name("terminals"));
        cluster.apply_all(vec![class, room.workspace(&name, &musl_image(), more)]);
        Some(Self {
            room,
            entrance,
            name,
            owner,
        })
    }

    async fn url(&self) -> String {
        until_open(&self.room, &self.name).await
    }

    /// How its owner gets to it.
    fn way(&self, url: &str) -> Value {
        self.way_of(url, &self.owner)
    }

    fn way_of(&self, url: &str, user: &str) -> Value {
        self.entrance.way(&self.room, &self.name, url, user)
    }

    fn patch(&self, spec: &Value) {
        let patch = json!({"spec": spec}).to_string();
        self.room.cluster.kubectl(&[
            "patch",
            "workspace",
            &self.name,
            "-n",
            &self.room.namespace,
            "--type=merge",
            "-p",
            &patch,
        ]);
    }

    async fn leave(self) {
        self.room.leave(&["terminals"]).await;
    }
}

/// The address of a repository with the project of the examples.
fn hello(room: &Room<'_>) -> String {
    let repository = Repository::create(room.cluster, &room.namespace);
    for file in ["README.md", "check", "serve", "site/index.html"] {
        let example = format!(
            "{}/examples/projects/hello/{file}",
            env!("CARGO_MANIFEST_DIR")
        );
        repository.write(file, &std::fs::read_to_string(example).unwrap());
    }
    repository.push("A page");
    repository.cluster_url.clone()
}

#[tokio::test]
#[ignore = "needs the node"]
async fn vs_code_opens_on_the_project_in_two_tabs_with_its_terminal_and_a_port_until_its_owner_signs_out()
 {
    let cluster = Cluster::connect().await;
    let Some([vscode, _]) = editor_images() else {
        return skipped(
            "VS Code in a browser: E2E_VSCODE_IMAGE names none, and the node is not ours",
        );
    };
    let entrance = Entrance::find(&cluster);
    let room = Room::new(&cluster, "work").await;
    let name = format!("{}-own", room.namespace);
    let owner = entrance.person(&room, "alice");
    let editor = json!({
        "name": "vscode", "image": vscode, "command": ["bin/start"], "readinessPath": "/healthz", "default": true,
        "needs": {"architectures": ["amd64"], "glibc": "2.34"},
    });
    let more = json!({
        "owner": owner, "className": room.class_name("editors"),
        "projects": [project("hello", &hello(&room))],
        "endpoints": [{"name": "web", "port": 3000}],
    });
    cluster.apply_all(vec![
        room.class("editors", json!({"editors": [editor]})),
        room.workspace(&name, &debian_image(), more),
    ]);
    let url = until_open(&room, &name).await;
    let more =
        json!({"alice": entrance.way(&room, &name, &url, &owner), "port": port_of(&url, 3000)});
    Scene::play("work", &entrance.arguments(&url, more));
    room.leave(&["editors"]).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn the_terminal_opens_in_a_browser_and_answers() {
    let cluster = Cluster::connect().await;
    let Some(terminal) = Terminal::apply(
        &cluster,
        "terminal",
        |room| json!({"projects": [project("hello", &hello(room))]}),
    )
    .await
    else {
        return;
    };
    let url = terminal.url().await;
    let more = json!({"alice": terminal.way(&url)});
    Scene::play("terminal", &terminal.entrance.arguments(&url, more));
    terminal.leave().await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_session_that_runs_out_is_renewed_unseen_and_one_that_was_ended_is_cut_in_every_window() {
    let cluster = Cluster::connect().await;
    let Some(terminal) = Terminal::apply(&cluster, "ends", |_| json!({})).await else {
        return;
    };
    if terminal.entrance.has_provider() {
        skipped(
            "the ends of sessions: where there is a provider, it signs the same person in again",
        );
        return terminal.leave().await;
    }
    let url = terminal.url().await;
    let more = json!({
        "alice": terminal.way(&url), "again": terminal.way(&url), "phone": terminal.way(&url),
    });
    let mut scene = Scene::begin("ends", &terminal.entrance.arguments(&url, more));
    scene.until("to be revoked");
    revoke(&terminal.room, &terminal.owner);
    scene.go_on();
    scene.end();
    terminal.leave().await;
}

/// Ends all logins of somebody, as an administrator does.
fn revoke(room: &Room<'_>, user: &str) {
    let entry = json!({"user": user, "notBefore": jiff::Timestamp::now().to_string()}).to_string();
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {format!("user.{}", room.namespace): entry},
        "metadata": {"name": "workstead-revocations", "namespace": INSTALLATION},
    });
    let command = [
        "apply",
        "--server-side",
        "--field-manager",
        &room.namespace,
        "-f",
        "-",
    ];
    room.cluster
        .kubectl_with(&command, &object.to_string())
        .success();
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_colleague_works_in_a_shared_workspace_until_the_share_is_taken_back() {
    let cluster = Cluster::connect().await;
    let Some(terminal) = Terminal::apply(&cluster, "share", |_| json!({})).await else {
        return;
    };
    let url = terminal.url().await;
    let colleague = terminal.entrance.person(&terminal.room, "bob");
    let more = json!({"alice": terminal.way(&url), "bob": terminal.way_of(&url, &colleague)});
    let mut scene = Scene::begin("share", &terminal.entrance.arguments(&url, more));
    scene.until("to be shared");
    terminal.patch(&json!({"shared": {"users": [colleague]}}));
    scene.go_on();
    scene.until("to be taken back");
    terminal.patch(&json!({"shared": null}));
    scene.go_on();
    scene.end();
    terminal.leave().await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_visit_in_a_browser_wakes_a_workspace_and_its_page_becomes_the_editor_by_itself() {
    let cluster = Cluster::connect().await;
    let more = |_: &Room<'_>| json!({"timeouts": {"idle": "2m"}});
    let Some(terminal) = Terminal::apply(&cluster, "visit", more).await else {
        return;
    };
    let url = terminal.url().await;
    let stopped = |w: &_| status(w).stopped_by_timer.is_some();
    let what = "to be stopped for want of use";
    let namespace = &terminal.room.namespace;
    cluster
        .await_workspace(namespace, &terminal.name, LIMIT, what, stopped)
        .await;
    let more = json!({"alice": terminal.way(&url)});
    Scene::play("wake", &terminal.entrance.arguments(&url, more));
    terminal.leave().await;
}
