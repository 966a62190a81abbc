//! The way in: links, the editor behind them, and who is kept out.

mod access;
mod browser;
mod entrance;
mod layouts;

use std::process::Child;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Cluster, INSTALLATION, editor_images, forward_to};
use crate::inside::Room;

/// The class with the terminal as its editor; none where nobody says which image it is.
fn class(room: &Room<'_>) -> Option<Value> {
    let [_, terminal] = editor_images()?;
    let editor = json!({
        "name": "terminal", "image": terminal, "command": ["bin/start"], "default": true,
        "needs": {"architectures": ["amd64"]},
    });
    Some(room.class("terminals", json!({"editors": [editor]})))
}

/// A login link of a workspace, for its owner.
fn link(cluster: &Cluster, namespace: &str, name: &str) -> String {
    opened(cluster, &["open", name, "-n", namespace, "--print"])
}

/// A login link of a workspace, for somebody else.
fn link_for(cluster: &Cluster, namespace: &str, name: &str, user: &str) -> String {
    opened(
        cluster,
        &["open", name, "-n", namespace, "--as", user, "--print"],
    )
}

fn opened(cluster: &Cluster, command: &[&str]) -> String {
    let link = cluster.workstead(command).success().trim().to_owned();
    bring_here(cluster, &link);
    link
}

/// The address of a workspace, beside a link to it.
fn address(link: &str, name: &str) -> String {
    let rest = link.strip_prefix("http://auth.").unwrap();
    let authority = rest.split('/').next().unwrap();
    format!("http://{name}.{authority}/")
}

/// Brings the proxy to the port that links name, on a cluster whose node is not ours. It ends with the process.
fn bring_here(cluster: &Cluster, link: &str) {
    static FORWARD: OnceLock<Child> = OnceLock::new();
    let port = link
        .split(':')
        .nth(2)
        .and_then(|rest| rest.split('/').next());
    let port: u16 = port.unwrap().parse().unwrap();
    if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        FORWARD.get_or_init(|| {
            forward_to(
                cluster,
                INSTALLATION,
                "service/workstead-proxy-local",
                port,
                8000,
            )
        });
    }
}

/// The shortest time that may pass without use is 2 minutes.
const LIMIT: Duration = Duration::from_secs(300);
