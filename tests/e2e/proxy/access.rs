//! Who gets in by a link, and who does not.

use serde_json::json;

use super::{LIMIT, address, class, link};
use crate::harness::{Cluster, Page, Person, musl_image, skipped};
use crate::inside::{OWNER, Room, has, is_ready};

/// Somebody else.
const OTHER: &str = "robin@example.com";

/// Two terminals, of two people.
struct Terminals<'a> {
    room: Room<'a>,
    own: String,
    others: String,
}

impl<'a> Terminals<'a> {
    async fn open(cluster: &'a Cluster, prefix: &str) -> Option<Self> {
        let room = Room::new(cluster, prefix).await;
        let Some(class) = class(&room) else {
            skipped("the proxy's editors: E2E_TERMINAL_IMAGE names none, and the node is not ours");
            room.leave(&[]).await;
            return None;
        };
        // Hosts know no namespaces.
        let [own, others] = ["own", "others"].map(|name| format!("{}-{name}", room.namespace));
        let workspace = |name: &str, owner: &str| {
            let more = json!({"owner": owner, "className": room.class_name("terminals")});
            room.workspace(name, &musl_image(), more)
        };
        cluster.apply_all(vec![
            class,
            workspace(&own, OWNER),
            workspace(&others, OTHER),
        ]);
        for name in [&own, &others] {
            let open = |w: &_| is_ready(w) && has(w, "EditorReady", "True");
            room.until(name, "to open its terminal", open).await;
        }
        Some(Self { room, own, others })
    }

    fn link(&self, name: &str) -> String {
        link(self.room.cluster, &self.room.namespace, name)
    }
}

fn is_terminal(page: &Page) -> bool {
    page.status == 200 && page.body.contains("ttyd")
}

fn origin(address: &str) -> &str {
    address.trim_end_matches('/')
}

fn host(address: &str) -> &str {
    address
        .trim_start_matches("http://")
        .split(':')
        .next()
        .unwrap()
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_link_opens_the_terminal_of_its_owner_once_and_lets_nobody_else_in() {
    let cluster = Cluster::connect().await;
    let Some(terminals) = Terminals::open(&cluster, "proxy").await else {
        return;
    };
    let first = terminals.link(&terminals.own);
    let (own, others) = (
        address(&first, &terminals.own),
        address(&first, &terminals.others),
    );

    let mut stranger = Person::default();
    let page = stranger.ask("GET", &own, &[("Accept", "application/json")]);
    assert_eq!(page.status, 401, "{}", page.body);
    assert_eq!(page.header("location"), None);

    let mut kim = Person::default();
    let page = kim.visit(&first);
    assert!(
        is_terminal(&page),
        "{} at {}: {}",
        page.status,
        page.url,
        page.body
    );
    assert_eq!(page.url, own);

    // The same link in another browser opens nothing.
    let mut thief = Person::default();
    let page = thief.visit(&first);
    assert_eq!(page.status, 403, "{}", page.body);
    assert!(thief.cookies_of(host(&own)).is_empty());

    // Somebody who is signed in, and whose it is not, sees what they see where there is nothing.
    let page = kim.visit(&others);
    let nowhere = kim.visit(&address(&first, "nobody-made-this"));
    assert_eq!(page.status, 404, "{}", page.body);
    assert_eq!(page.body, nowhere.body);

    // A session is good for its host alone.
    let mut robin = Person::default();
    assert!(is_terminal(
        &robin.visit(&terminals.link(&terminals.others))
    ));
    robin.plant(host(&own), robin.cookies_of(host(&others)));
    let page = robin.ask("GET", &own, &[("Accept", "application/json")]);
    assert_eq!(page.status, 401, "{}", page.body);

    terminals.room.leave(&["terminals"]).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_terminal_speaks_by_web_socket_with_its_own_page_alone() {
    let cluster = Cluster::connect().await;
    let Some(terminals) = Terminals::open(&cluster, "sockets").await else {
        return;
    };
    let first = terminals.link(&terminals.own);
    let own = address(&first, &terminals.own);
    let others = address(&first, &terminals.others);
    let mut kim = Person::default();
    assert!(is_terminal(&kim.visit(&first)));
    let socket = format!("{own}ws");

    for foreign in [origin(&others), "http://evil.example", "null"] {
        let refused = kim.socket(&socket, foreign, "tty").err();
        assert_eq!(refused, Some(403), "{foreign}");
    }
    let refused = Person::default().socket(&socket, origin(&own), "tty").err();
    assert_eq!(refused, Some(401));

    let mut terminal = kim.socket(&socket, origin(&own), "tty").unwrap();
    terminal.send(r#"{"AuthToken":"","columns":80,"rows":24}"#);
    terminal.send("0echo $((6 * 7))-by-socket\r");
    terminal.until("42-by-socket");
    terminals.room.leave(&["terminals"]).await;
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_workspace_that_was_left_alone_is_stopped_and_a_visit_wakes_it() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "wake").await;
    let Some(class) = class(&room) else {
        skipped("the wake: E2E_TERMINAL_IMAGE names none, and the node is not ours");
        return room.leave(&[]).await;
    };
    let name = format!("{}-own", room.namespace);
    let more = json!({
        "className": room.class_name("terminals"), "timeouts": {"idle": "2m"},
    });
    cluster.apply_all(vec![class, room.workspace(&name, &musl_image(), more)]);
    room.until_ready(&name).await;
    let stopped = |w: &workstead::api::Workspace| {
        let status = w.status.as_ref();
        status.is_some_and(|s| {
            s.actual_state == Some(workstead::api::workspace::ActualState::Stopped)
                && s.stopped_by_timer.is_some()
        })
    };
    let what = "to be stopped for want of use";
    cluster
        .await_workspace(&room.namespace, &name, LIMIT, what, stopped)
        .await;

    let first = link(&cluster, &room.namespace, &name);
    let mut kim = Person::default();
    let page = kim.visit(&first);
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.header("retry-after").is_some());
    room.until_ready(&name).await;
    let own = address(&first, &name);
    let kim = std::cell::RefCell::new(kim);
    crate::harness::eventually("the terminal to answer", async || {
        is_terminal(&kim.borrow_mut().visit(&own)).then_some(())
    })
    .await;
    room.leave(&["terminals"]).await;
}
