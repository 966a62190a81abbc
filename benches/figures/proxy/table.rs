//! route-table: ten thousand workspaces as the proxy has them in mind.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workstead::model::names::DnsSubdomain;
use workstead::proxy::host::{RequestHost, Scheme, Site};
use workstead::proxy::route::facts::{
    ClassFacts, LinkFacts, PodFacts, ServiceFacts, SliceFacts, WorkspaceFacts,
};
use workstead::proxy::route::index::{Fact, Settings};
use workstead::proxy::route::{Denied, Index, Table};
use workstead::testkit::builders::{mk_class, mk_workspace, with};

use super::load::round;
use crate::program;
use crate::results::{Figure, percentile};

/// What the process is told to be.
pub(crate) const PART: &str = "part-table";
/// How many workspaces there are.
const MANY: u32 = 10_000;
/// How many of them change, one by one.
const CHANGES: u32 = 2_000;
/// How many are looked up.
const LOOKUPS: u32 = 2_000_000;

/// In a process of its own: its memory is the table's.
pub(crate) fn route_table() -> Figure {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(PART)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| told[name].as_f64().unwrap();
    let (lookup, slowest, memory) = (number("lookup"), number("slowest"), number("memory"));
    Figure {
        id: "route-table",
        value: lookup,
        unit: "ns a lookup, 10,000 workspaces",
        yardstick: Some(format!(
            "a change is visible after {} ms, p50, {slowest} ms at worst; {memory} MiB",
            number("change")
        )),
        ratio: None,
        bar: "less than 1 µs, at most 5 ms to visible, at most 40 MiB",
        met: lookup < 1000.0 && slowest <= 5.0 && memory <= 40.0,
        rounds: 1,
    }
}

/// Measures, and prints it as JSON.
pub(crate) fn run() {
    let before = resident();
    let mut index = Index::new(Settings {
        denied: Denied::new(&[], []),
        reserved: Vec::new(),
        denied_ports: Arc::default(),
    });
    index.apply(Fact::Class(ClassFacts::of(&mk_class("standard"))));
    for number in 0..MANY {
        facts(number).into_iter().for_each(|fact| index.apply(fact));
    }
    let table = Table::default();
    table.publish(index.settle(&table.load()).unwrap());
    let memory = (resident() - before) / 1024.0;
    let routes = table.load();
    assert_eq!(routes.len(), MANY as usize);
    assert!(routes.iter().all(|route| route.pod().is_some()));
    drop(routes);
    let changes: Vec<f64> = (0..CHANGES)
        .map(|number| change(&mut index, &table, number))
        .collect();
    let slowest = changes.iter().copied().fold(0.0, f64::max);
    let told = json!({
        "lookup": round(lookup(&table)),
        "change": (percentile(&changes, 0.5) / 10.0).round() / 100.0,
        "slowest": (slowest / 10.0).round() / 100.0,
        "memory": round(memory),
    });
    println!("{told}");
}

/// Shares a workspace with somebody; gives the microseconds until a request would see it.
fn change(index: &mut Index, table: &Table, number: u32) -> f64 {
    // Far from the one before: no neighbour has its memory at hand.
    let number = number * 7919 % MANY;
    let shared = json!({"spec": {"shared": {"users": [format!("guest-{number}@example.com")]}}});
    let facts = Box::new(WorkspaceFacts::of(with(workspace(number), shared)));
    let name = facts.key.name.clone();
    let begin = Instant::now();
    index.apply(Fact::Workspace(facts));
    table.publish(index.settle(&table.load()).unwrap());
    let routes = table.load();
    let route = routes.find(&name).unwrap();
    let took = begin.elapsed().as_secs_f64() * 1_000_000.0;
    assert!(route.shared().is_some());
    took
}

/// The nanoseconds that a request takes to find its workspace, of all hosts in no order.
fn lookup(table: &Table) -> f64 {
    let name = |text| DnsSubdomain::new(text).unwrap();
    let (domain, auth) = (name("work.example.com"), name("auth.work.example.com"));
    let site = Site::new(&domain, &auth, Scheme::Https, None).unwrap();
    let hosts: Vec<RequestHost> = (0..MANY)
        .map(|number| number * 7919 % MANY)
        .map(|number| format!("3000-workspace-{number}.work.example.com"))
        .map(|host| site.parse(host.as_bytes()).unwrap())
        .collect();
    let begin = Instant::now();
    for host in hosts.iter().cycle().take(LOOKUPS as usize) {
        let routes = table.snapshot();
        black_box(routes.of_host(host).cloned().unwrap());
    }
    begin.elapsed().as_secs_f64() * 1_000_000_000.0 / f64::from(LOOKUPS)
}

fn resident() -> f64 {
    program::resident(&std::fs::read_to_string("/proc/self/status").unwrap())
}

/// All that a running workspace consists of, as the watches hand it on.
fn facts(number: u32) -> [Fact; 6] {
    let name = format!("workspace-{number}");
    let [_, _, high, low] = number.to_be_bytes();
    let address = format!("10.9.{high}.{low}");
    let meta = |own: &str, what: &str, owner: (&str, &str, &str)| {
        let (version, kind, owner) = owner;
        json!({
            "name": own, "namespace": "team-a", "uid": uid(what, number),
            "labels": {
                "app.kubernetes.io/managed-by": "workstead",
                "workstead.dev/workspace": name,
                "workstead.dev/workspace-uid": uid("workspace", number),
                "kubernetes.io/service-name": format!("ws-{name}"),
            },
            "ownerReferences": [{
                "apiVersion": version, "kind": kind, "name": name,
                "uid": uid(owner, number), "controller": true,
            }],
        })
    };
    let of_workspace = ("workstead.dev/v1alpha1", "Workspace", "workspace");
    let (service, pod) = (format!("ws-{name}"), format!("{name}-1-x"));
    let (set, slice) = (format!("{name}-1"), format!("ws-{name}-1"));
    let service = json!({
        "metadata": meta(&service, "service", of_workspace),
        "spec": {
            "type": "ClusterIP", "clusterIPs": ["10.96.1.1"],
            "selector": {"workstead.dev/workspace-uid": uid("workspace", number)},
        },
    });
    let slice = json!({
        "metadata": meta(&slice, "slice", ("v1", "Service", "service")),
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [address], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "team-a", "name": pod, "uid": uid("pod", number)},
        }],
    });
    let of_set = ("apps/v1", "ReplicaSet", "replica-set");
    let pod = json!({
        "metadata": meta(&pod, "pod", of_set),
        "spec": {"containers": []},
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "hostIP": "192.168.7.1", "hostIPs": [{"ip": "192.168.7.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    let of_deployment = ("apps/v1", "Deployment", "deployment");
    let set: ObjectMeta = object(meta(&set, "replica-set", of_deployment));
    let deployment: ObjectMeta = object(meta(&name, "deployment", of_workspace));
    [
        Fact::Workspace(Box::new(WorkspaceFacts::of(workspace(number)))),
        Fact::Service(ServiceFacts::of(&object(service))),
        Fact::Slice(SliceFacts::of(&object(slice))),
        Fact::Pod(PodFacts::of(&object(pod))),
        Fact::ReplicaSet(LinkFacts::of(&set)),
        Fact::Deployment(LinkFacts::of(&deployment)),
    ]
}

/// One of its own user, with an editor and two ports.
fn workspace(number: u32) -> workstead::api::Workspace {
    let digest = format!("{number:064x}");
    let changes = json!({
        "metadata": {
            "namespace": "team-a", "uid": uid("workspace", number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "owner": format!("user-{number}@example.com"),
            "endpoints": [{"name": "web", "port": 3000}, {"name": "docs", "port": 8080}],
        },
        "status": {
            "className": "standard", "actualState": "Running", "editorPort": 60001,
            "url": format!("https://workspace-{number}.work.example.com"),
            "supervisor": {"publicKeySHA256": digest},
        },
    });
    with(mk_workspace(&format!("workspace-{number}")), changes)
}

/// As long as those of Kubernetes.
fn uid(what: &str, number: u32) -> String {
    format!("{what:-<27}{number:09}")
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}
