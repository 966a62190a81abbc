//! What depends on how hosts are laid out and on how people sign in. `tests/e2e/run` runs it for each: links below one parent domain, and
//! an identity provider with TLS, below one parent and with a public suffix as the parent, where every workspace is a site of its own.

use serde_json::{Value, json};

use super::class;
use super::entrance::{Entrance, port_of, until_open};
use crate::harness::{Cluster, Scene, musl_image, skipped};
use crate::inside::Room;

/// A program that answers anybody with the secret of its owner, and writes down who made it: the word `by` of the address.
/// Beside it a page, and a service worker that keeps account of what it sees.
const PROGRAM: &str = r#"set -eu
mkdir -p /projects/www/cgi-bin
cd /projects/www
echo '<!doctype html><title>A page</title><p>A page of somebody.' >index.html
cat >sw.js <<'JS'
const keep = async (url) => (await caches.open("seen")).put(`/seen?${encodeURIComponent(url)}`, new Response(""));
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  event.waitUntil(keep(event.request.url));
  if (event.request.mode === "navigate") event.respondWith(fetch(event.request));
});
JS
cat >cgi-bin/mark <<'SH'
#!/bin/sh
echo "$REQUEST_METHOD $QUERY_STRING" >>/projects/marks
printf 'Content-Type: text/plain\r\n\r\nsecret of %s\ncookies: %s\n' "$WHOSE" "${HTTP_COOKIE:-none}"
SH
chmod 0755 cgi-bin/mark
exec busybox httpd -f -p 3000
"#;

fn workspace(room: &Room<'_>, name: &str, whose: &str, owner: &str, visibility: &str) -> Value {
    let more = json!({
        "owner": owner, "className": room.class_name("terminals"),
        "command": ["/bin/sh", "-c", PROGRAM], "env": [{"name": "WHOSE", "value": whose}],
        "endpoints": [{"name": "page", "port": 3000, "visibility": visibility}],
    });
    room.workspace(name, &musl_image(), more)
}

#[tokio::test]
#[ignore = "needs the node"]
async fn threat_a_neighbours_page_reads_changes_and_keeps_nothing_of_a_workspace_that_its_visitor_owns()
 {
    let cluster = Cluster::connect().await;
    let entrance = Entrance::find(&cluster);
    let room = Room::new(&cluster, "hostile").await;
    let Some(class) = class(&room) else {
        skipped("hostile neighbours: E2E_TERMINAL_IMAGE names none, and the node is not ours");
        return room.leave(&[]).await;
    };
    let [alice, bob] = ["alice", "bob"].map(|name| entrance.person(&room, name));
    let [own, others] = ["own", "others"].map(|name| format!("{}-{name}", room.namespace));
    cluster.apply_all(vec![
        class,
        workspace(&room, &own, "alice", &alice, "Private"),
        workspace(&room, &others, "bob", &bob, "Authenticated"),
    ]);
    let url = until_open(&room, &own).await;
    let theirs = until_open(&room, &others).await;
    let more = json!({
        "alice": entrance.way(&room, &own, &url, &alice),
        "bob": entrance.way(&room, &others, &theirs, &bob),
        "own": port_of(&url, 3000), "theirs": port_of(&theirs, 3000),
    });
    Scene::play("hostile", &entrance.arguments(&url, more));
    // What Alice did is there, and nothing else came through.
    let marks = room.exec(&own, "cat /projects/marks");
    assert!(marks.lines().count() > 0);
    assert!(marks.lines().all(|mark| mark == "POST by=own"), "{marks}");
    room.leave(&["terminals"]).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn people_sign_in_at_the_provider_and_out_again_here_or_there() {
    let cluster = Cluster::connect().await;
    let entrance = Entrance::find(&cluster);
    if !entrance.has_provider() {
        return skipped("signing in at a provider: the proxy under test goes by links");
    }
    let room = Room::new(&cluster, "provider").await;
    let Some(class) = class(&room) else {
        skipped(
            "a terminal behind a provider: E2E_TERMINAL_IMAGE names none, and the node is not ours",
        );
        return room.leave(&[]).await;
    };
    let [alice, bob] = ["alice", "bob"].map(|name| entrance.person(&room, name));
    let own = format!("{}-own", room.namespace);
    cluster.apply_all(vec![
        class,
        workspace(&room, &own, "alice", &alice, "Private"),
    ]);
    let url = until_open(&room, &own).await;
    let [alice, bob] = [alice, bob].map(|user| entrance.way(&room, &own, &url, &user));
    let more = json!({"alice": alice, "bob": bob});
    Scene::play("provider", &entrance.arguments(&url, more));
    room.leave(&["terminals"]).await;
}
