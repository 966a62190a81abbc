//! What nodes have to give, to tell a pod that waits its turn from one that no node could ever take; and what runs their
//! containers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;

use crate::controllers::passes::chain;
use crate::model::mounting::{NodeRuntime, Runtime};
use crate::model::quantity::Amount;

/// Amounts by resource name.
type Amounts = BTreeMap<String, Amount>;

/// What is known of every node.
#[derive(Default)]
pub struct Nodes {
    known: Mutex<Known>,
    runtimes_changed: Notify,
}

#[derive(Default)]
struct Known {
    /// None before the first list is whole.
    nodes: Option<BTreeMap<String, NodeFacts>>,
    /// What a list in progress has brought so far. Until it is whole, the one before holds: half a list would say of a pod
    /// that no node could ever take it.
    listing: BTreeMap<String, NodeFacts>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeFacts {
    allocatable: Amounts,
    runtime: Option<NodeRuntime>,
}

impl NodeFacts {
    fn of(node: &Node) -> Self {
        Self {
            allocatable: allocatable(node),
            runtime: NodeRuntime::of(node),
        }
    }
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
        let changed = match event {
            Event::Init => {
                known.listing.clear();
                false
            }
            Event::InitApply(node) => {
                known.listing.insert(node.name_any(), NodeFacts::of(&node));
                false
            }
            Event::InitDone => {
                known.nodes = Some(std::mem::take(&mut known.listing));
                true
            }
            Event::Apply(node) => {
                let facts = NodeFacts::of(&node);
                let runtime = facts.runtime.clone();
                let nodes = known.nodes.as_mut();
                let before = nodes.and_then(|nodes| nodes.insert(node.name_any(), facts));
                // A node says every few minutes that it is there: no news.
                before.is_none_or(|before| before.runtime != runtime)
            }
            Event::Delete(node) => {
                if let Some(nodes) = &mut known.nodes {
                    nodes.remove(&node.name_any());
                }
                true
            }
        };
        drop(known);
        if changed {
            self.runtimes_changed.notify_one();
        }
    }

    /// Whether some node could take the pods if it were empty; none when nobody knows.
    pub fn fit(&self, pods: &[Pod]) -> Option<bool> {
        let known = self.known();
        let nodes = known.nodes.as_ref().filter(|all| !all.is_empty())?;
        let requests: Vec<Amounts> = pods.iter().map(requests).collect();
        let fits = |has: &Amounts, asked: &Amounts| {
            asked
                .iter()
                .all(|(name, amount)| has.get(name).is_some_and(|has| has >= amount))
        };
        let some_node_fits = |asked| nodes.values().any(|node| fits(&node.allocatable, asked));
        Some(requests.iter().all(some_node_fits))
    }

    /// The versions of kubelets and runtimes that nodes have; none when nobody knows.
    pub fn runtimes(&self) -> Option<BTreeSet<Runtime>> {
        let known = self.known();
        let runtimes = known.nodes.as_ref()?.values();
        let runtimes = runtimes.filter_map(|node| Some(node.runtime.as_ref()?.runtime.clone()));
        Some(runtimes.collect())
    }

    /// The same, each with the node on which it is best asked; those are left out that have none.
    pub fn to_ask(&self) -> BTreeMap<Runtime, String> {
        let known = self.known();
        let mut best: BTreeMap<Runtime, (u8, String)> = BTreeMap::new();
        for (name, node) in known.nodes.iter().flatten() {
            let Some((runtime, rank)) = node.runtime.as_ref().and_then(|r| Some((r, r.rank?)))
            else {
                continue;
            };
            let place = best.entry(runtime.runtime.clone());
            let entry = place.or_insert_with(|| (rank, name.clone()));
            if rank < entry.0 {
                *entry = (rank, name.clone());
            }
        }
        best.into_iter()
            .map(|(runtime, (_, node))| (runtime, node))
            .collect()
    }

    /// What runs the containers of a node.
    pub fn runtime_of(&self, node: &str) -> Option<Runtime> {
        let known = self.known();
        let node = known.nodes.as_ref()?.get(node)?;
        Some(node.runtime.as_ref()?.runtime.clone())
    }

    /// Waits until nodes came, went, or changed what runs their containers. One waits at a time.
    pub async fn runtimes_changed(&self) {
        self.runtimes_changed.notified().await;
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
        mk_named("n", cpu)
    }

    fn mk_named(name: &str, cpu: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
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

    #[test]
    fn half_a_fresh_list_blames_nobody() {
        let nodes = Nodes::default();
        let small = || Event::InitApply(mk_named("small", "2"));
        nodes.take(Event::Init);
        nodes.take(small());
        assert_eq!(nodes.fit(&[mk_pod("4")]), None, "half of the first list");
        nodes.take(Event::InitApply(mk_named("large", "8")));
        nodes.take(Event::InitDone);
        assert_eq!(nodes.fit(&[mk_pod("4")]), Some(true));
        // The watch broke and lists anew; the small one comes first again.
        nodes.take(Event::Init);
        assert_eq!(nodes.fit(&[mk_pod("4")]), Some(true));
        nodes.take(small());
        assert_eq!(nodes.fit(&[mk_pod("4")]), Some(true));
        nodes.take(Event::InitDone);
        assert_eq!(
            nodes.fit(&[mk_pod("4")]),
            Some(false),
            "the large one is gone"
        );
    }

    fn mk_runtime(name: &str, kubelet: &str, tainted: bool) -> Node {
        let taints = if tainted {
            json!([{"key": "x", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"taints": taints},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {
                    "kubeletVersion": kubelet, "containerRuntimeVersion": "containerd://2.4.2",
                    "architecture": "", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
                    "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "",
                },
            },
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn each_pair_of_versions_is_asked_on_one_node_and_news_are_told_once() {
        let nodes = Nodes::default();
        assert_eq!(nodes.runtimes(), None, "nobody knows yet");
        nodes.take(Event::Init);
        nodes.take(Event::InitApply(mk_runtime("a", "v1.35.0", true)));
        nodes.take(Event::InitApply(mk_runtime("b", "v1.35.0", false)));
        nodes.take(Event::InitApply(mk_runtime("c", "v1.36.0", true)));
        nodes.take(Event::InitDone);
        nodes.runtimes_changed().await;
        let asked: Vec<(String, String)> = nodes
            .to_ask()
            .into_iter()
            .map(|(runtime, node)| (runtime.kubelet, node))
            .collect();
        let pair = |kubelet: &str, node: &str| (kubelet.to_owned(), node.to_owned());
        assert_eq!(asked, [pair("v1.35.0", "b"), pair("v1.36.0", "c")]);
        assert_eq!(nodes.runtimes().map(|all| all.len()), Some(2));
        assert_eq!(nodes.runtime_of("c").unwrap().kubelet, "v1.36.0");
        nodes.take(Event::Apply(mk_runtime("c", "v1.36.0", true)));
        let mut news = std::pin::pin!(nodes.runtimes_changed());
        assert!(
            futures::poll!(news.as_mut()).is_pending(),
            "nothing changed"
        );
        nodes.take(Event::Apply(mk_runtime("c", "v1.36.1", true)));
        news.await;
    }
}
