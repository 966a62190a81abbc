//! What nodes have to give, to tell a pod that waits its turn from one that no node could ever take.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};

use crate::controllers::passes::chain;
use crate::model::quantity::Amount;

/// Amounts by resource name.
type Amounts = BTreeMap<String, Amount>;

/// The allocatable amounts of every node.
#[derive(Default)]
pub struct Nodes {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    allocatable: BTreeMap<String, Amounts>,
    listed: bool,
}

impl Nodes {
    /// Follows the nodes for as long as it is polled.
    pub async fn follow(&self, client: Client) {
        let nodes: Api<Node> = Api::all(client);
        let mut events = watch(nodes, watcher::Config::default())
            .default_backoff()
            .boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => tracing::warn!(error = chain(&error), "failed to watch nodes"),
            }
        }
    }

    fn take(&self, event: Event<Node>) {
        let mut known = self.known();
        match event {
            Event::Init => known.allocatable.clear(),
            Event::InitApply(node) | Event::Apply(node) => {
                known
                    .allocatable
                    .insert(node.name_any(), allocatable(&node));
            }
            Event::Delete(node) => {
                known.allocatable.remove(&node.name_any());
            }
            Event::InitDone => known.listed = true,
        }
    }

    /// Whether some node could take the pods if it were empty; none when nobody knows.
    pub fn fit(&self, pods: &[Pod]) -> Option<bool> {
        let known = self.known();
        if !known.listed || known.allocatable.is_empty() {
            return None;
        }
        let requests: Vec<Amounts> = pods.iter().map(requests).collect();
        let fits = |has: &Amounts, asked: &Amounts| {
            asked
                .iter()
                .all(|(name, amount)| has.get(name).is_some_and(|has| has >= amount))
        };
        Some(
            requests
                .iter()
                .all(|asked| known.allocatable.values().any(|has| fits(has, asked))),
        )
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn allocatable(node: &Node) -> Amounts {
    let amounts = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    amounts
        .into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), Amount::parse(&amount.0).ok()?)))
        .collect()
}

/// What the containers of a pod ask for together.
fn requests(pod: &Pod) -> Amounts {
    let mut sum = Amounts::new();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let asked = containers
        .filter_map(|container| container.resources.as_ref()?.requests.as_ref())
        .flatten();
    for (name, amount) in asked {
        let Ok(amount) = Amount::parse(&amount.0) else {
            continue;
        };
        let total = sum.entry(name.clone()).or_insert(Amount::ZERO);
        *total = total.checked_add(amount).unwrap_or(amount);
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mk_node(cpu: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "status": {"allocatable": {"cpu": cpu, "memory": "8Gi"}},
        }))
        .unwrap()
    }

    fn mk_pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_fits_when_one_empty_node_has_all_that_it_asks_for() {
        let nodes = Nodes::default();
        assert_eq!(nodes.fit(&[mk_pod("1")]), None, "nobody knows yet");
        nodes.take(Event::Init);
        nodes.take(Event::InitApply(mk_node("2")));
        nodes.take(Event::InitDone);
        assert_eq!(nodes.fit(&[mk_pod("2000m")]), Some(true));
        assert_eq!(nodes.fit(&[mk_pod("2001m")]), Some(false));
        nodes.take(Event::Apply(mk_node("4")));
        assert_eq!(nodes.fit(&[mk_pod("2001m")]), Some(true));
        nodes.take(Event::Delete(mk_node("4")));
        assert_eq!(nodes.fit(&[mk_pod("1")]), None, "a cluster without nodes");
    }
}
