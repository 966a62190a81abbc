//! A port of the cluster, brought here.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use super::Cluster;

/// Brings a port of a service or pod here, whatever cluster it is. It lasts as long as the process.
pub(crate) fn forward(cluster: &Cluster, namespace: &str, what: &str, port: u16) -> (Child, u16) {
    start(cluster, namespace, what, &format!(":{port}"))
}

/// The same, to a certain port here.
pub(crate) fn forward_to(
    cluster: &Cluster,
    namespace: &str,
    what: &str,
    here: u16,
    port: u16,
) -> Child {
    start(cluster, namespace, what, &format!("{here}:{port}")).0
}

fn start(cluster: &Cluster, namespace: &str, what: &str, ports: &str) -> (Child, u16) {
    let mut child = cluster
        .kubectl_command()
        .args(["port-forward", "-n", namespace, what, ports])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    // Forwarding from 127.0.0.1:41234 -> 8080
    let port = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("127.0.0.1:"))
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("kubectl port-forward said {line:?}"));
    (child, port)
}
