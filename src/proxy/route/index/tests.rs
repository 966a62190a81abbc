use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::proxy::route::fixtures::{Parts, class, index, settled};
use crate::proxy::route::table::Pod;
use crate::testkit::builders::with;

fn pod_of(routes: &Routes, name: &str) -> Option<Pod> {
    routes.find(name)?.pod().cloned()
}

fn reasons(index: &mut Index) -> Vec<&'static str> {
    let notices = index.take_notices();
    let mut reasons: Vec<_> = notices
        .iter()
        .map(|notice| notice.refusal.reason())
        .collect();
    reasons.sort_unstable();
    reasons
}

#[test]
fn a_running_workspace_is_routed_to_its_pod() {
    let mut index = index(&[Parts::new("api", "10.1.0.5")]);
    let routes = settled(&mut index);
    let route = routes.find("api").unwrap();
    assert_eq!(route.owner(), "alice@example.com");
    assert_eq!(route.editor_port(), Some(60001));
    assert!(route.supervisor.is_some());
    let pod = route.pod().unwrap();
    assert_eq!(pod.address, IpAddr::from([10, 1, 0, 5]));
    assert_eq!(&*pod.uid, "pod-team-a-api");
    assert!(routes.find("ap").is_none() && routes.find("api2").is_none());
    assert!(reasons(&mut index).is_empty());
    assert!(index.settle(&routes).is_none());
}

/// Which object a test changes.
#[derive(Clone, Copy, Debug)]
enum Part {
    Service,
    Slice,
    Pod,
    ReplicaSet,
    Deployment,
}

fn changed(part: Part, changes: Value) -> Parts {
    let mut parts = Parts::new("api", "10.1.0.5");
    match part {
        Part::Service => parts.service = with(parts.service, changes),
        Part::Slice => parts.slice = with(parts.slice, changes),
        Part::Pod => parts.pod = with(parts.pod, changes),
        Part::ReplicaSet => parts.replica_set = with(parts.replica_set, changes),
        Part::Deployment => parts.deployment = with(parts.deployment, changes),
    }
    parts
}

fn owner(kind: &str, version: &str, uid: &str) -> Value {
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": version, "kind": kind, "name": "x", "uid": uid, "controller": true}
    ]}})
}

fn endpoint(changes: Value) -> Value {
    let slice = Parts::new("api", "10.1.0.5").slice;
    let endpoint = serde_json::to_value(&slice.endpoints[0]).unwrap();
    let mut endpoint: serde_json::Map<_, _> = endpoint.as_object().unwrap().clone();
    for (key, value) in changes.as_object().unwrap() {
        endpoint.insert(key.clone(), value.clone());
    }
    json!({"endpoints": [endpoint]})
}

#[rstest]
#[case::external_name(
    Part::Service, json!({"spec": {"type": "ExternalName", "externalName": "metadata.internal"}}), "ServiceExternal"
)]
#[case::without_selector(Part::Service, json!({"spec": {"selector": null}}), "ServiceWithoutSelector")]
#[case::service_of_another_uid(
    Part::Service, json!({"metadata": {"labels": {"workstead.dev/workspace-uid": "workspace-team-a-other"}}}),
    "ServiceForeign"
)]
#[case::service_with_forged_labels(
    Part::Service,
    owner("Workspace", "workstead.dev/v1alpha1", "workspace-team-a-other"),
    "ServiceForeign"
)]
#[case::service_of_another_kind(
    Part::Service,
    owner("Workspace", "evil.dev/v1", "workspace-team-a-api"),
    "ServiceForeign"
)]
#[case::forged_endpoint_slice(
    Part::Slice,
    owner("Service", "v1", "service-team-a-other"),
    "EndpointSliceForeign"
)]
#[case::endpoint_slice_without_owner(
    Part::Slice, json!({"metadata": {"ownerReferences": null}}), "EndpointSliceForeign"
)]
#[case::endpoint_without_pod(Part::Slice, endpoint(json!({"targetRef": null})), "EndpointWithoutPod")]
#[case::endpoint_that_is_a_node(
    Part::Slice, endpoint(json!({"targetRef": {"kind": "Node", "name": "n"}})), "EndpointWithoutPod"
)]
#[case::pod_of_another_namespace(
    Part::Slice,
    endpoint(json!({"targetRef": {"kind": "Pod", "namespace": "team-b", "name": "api-1-x", "uid": "pod-team-a-api"}})),
    "EndpointWithoutPod"
)]
#[case::an_address_that_is_not_the_pods(
    Part::Slice, endpoint(json!({"addresses": ["10.1.0.6"]})), "EndpointAddress"
)]
#[case::metadata_service(
    Part::Slice, endpoint(json!({"addresses": ["169.254.169.254"]})), "EndpointAddress"
)]
#[case::a_name(Part::Slice, endpoint(json!({"addresses": ["metadata.internal"]})), "EndpointAddress")]
#[case::pod_of_another_workspace(
    Part::Pod, json!({"metadata": {"labels": {"workstead.dev/workspace": "other"}}}), "PodForeign"
)]
#[case::pod_without_owner(Part::Pod, json!({"metadata": {"ownerReferences": null}}), "PodOwner")]
#[case::pod_of_a_stateful_set(
    Part::Pod,
    owner("StatefulSet", "apps/v1", "replica-set-team-a-api"),
    "PodOwner"
)]
#[case::pod_with_the_network_of_its_node(
    Part::Pod, json!({"spec": {"hostNetwork": true}}), "PodOnHostNetwork"
)]
#[case::pod_with_the_address_of_its_node(
    Part::Pod, json!({"status": {"hostIP": "10.1.0.5", "hostIPs": null}}), "PodOnHostNetwork"
)]
#[case::replica_set_of_nobody(
    Part::ReplicaSet, json!({"metadata": {"ownerReferences": null}}), "PodOwner"
)]
#[case::deployment_of_another_workspace(
    Part::Deployment,
    owner("Workspace", "workstead.dev/v1alpha1", "workspace-team-a-other"),
    "PodOwner"
)]
fn ssrf_through_discovery_what_does_not_belong_together_is_not_dialled_and_is_told(
    #[case] part: Part,
    #[case] changes: Value,
    #[case] reason: &str,
) {
    let mut index = index(&[changed(part, changes)]);
    let routes = settled(&mut index);
    // It keeps its host: the owner gets to know why.
    assert!(matches!(
        &routes.find("api").unwrap().backend,
        Backend::Refused(refusal) if refusal.reason() == reason
    ));
    assert_eq!(reasons(&mut index), [reason]);
    // Told once, however often it is looked at.
    for fact in changed(Part::Pod, json!({"metadata": {"annotations": {"a": "b"}}})).facts() {
        if matches!(fact, Fact::Workspace(_)) {
            index.apply(fact);
        }
    }
    index.settle(&routes);
    assert!(reasons(&mut index).is_empty());
}

#[rstest]
#[case::link_local("169.254.169.254")]
#[case::loopback("127.0.0.1")]
#[case::service("10.96.1.1")]
fn ssrf_through_discovery_not_even_a_pod_that_reports_it_has_such_an_address(
    #[case] address: &str,
) {
    let mut index = index(&[Parts::new("api", address)]);
    assert_eq!(pod_of(&settled(&mut index), "api"), None);
    assert_eq!(reasons(&mut index), ["AddressDenied"]);
}

#[test]
fn ssrf_through_discovery_the_address_of_a_node_is_closed_as_soon_as_a_pod_is_on_it() {
    let mut index = index(&[Parts::new("api", "10.1.0.5")]);
    let routes = settled(&mut index);
    let mut other = Parts::new("other", "10.1.0.6");
    other.pod = with(other.pod, json!({"status": {"hostIP": "10.1.0.5"}}));
    for fact in other.facts() {
        index.apply(fact);
    }
    let routes = index.settle(&routes).unwrap();
    assert_eq!(pod_of(&routes, "api"), None);
    assert!(pod_of(&routes, "other").is_some());
    index.delete(Kind::Pod, &Key::new("team-a", "other-1-x"));
    let routes = index.settle(&routes).unwrap();
    assert!(pod_of(&routes, "api").is_some());
}

#[rstest]
#[case(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}))]
#[case(json!({"status": {"phase": "Failed"}}))]
#[case(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))]
fn a_pod_that_is_not_ready_is_not_dialled_and_nobody_is_blamed(#[case] changes: Value) {
    let mut index = index(&[changed(Part::Pod, changes)]);
    let routes = settled(&mut index);
    assert_eq!(routes.find("api").unwrap().backend, Backend::None);
    assert!(reasons(&mut index).is_empty());
}

#[test]
fn pod_ip_reuse_two_workspaces_with_one_address_are_both_closed_until_one_is_gone() {
    let (one, other) = (
        Parts::new("one", "10.1.0.5"),
        Parts::new("other", "10.1.0.5"),
    );
    let mut index = index(&[one, other.clone()]);
    let routes = settled(&mut index);
    let address = IpAddr::from([10, 1, 0, 5]);
    for name in ["one", "other"] {
        let backend = &routes.find(name).unwrap().backend;
        assert_eq!(*backend, Backend::Refused(Refusal::AddressShared(address)));
    }
    index.delete(Kind::Pod, &Key::of(&other.pod.metadata));
    let routes = index.settle(&routes).unwrap();
    assert!(pod_of(&routes, "one").is_some());
    assert_eq!(routes.find("other").unwrap().backend, Backend::None);
}

#[test]
fn pod_ip_reuse_an_endpoint_of_a_pod_that_is_gone_does_not_lead_to_the_one_that_has_its_name_now() {
    let mut parts = Parts::new("api", "10.1.0.5");
    parts.pod = with(parts.pod, json!({"metadata": {"uid": "pod-of-later"}}));
    assert_eq!(pod_of(&settled(&mut index(&[parts])), "api"), None);
}

#[test]
fn two_pods_that_are_ready_at_once_are_both_left_alone() {
    let parts = Parts::new("api", "10.1.0.5");
    let mut second = parts.clone();
    second.pod = with(
        second.pod,
        json!({
            "metadata": {"name": "api-1-y", "uid": "pod-second"},
            "status": {"podIP": "10.1.0.6", "podIPs": [{"ip": "10.1.0.6"}]},
        }),
    );
    second.slice = with(
        second.slice,
        json!({
            "metadata": {"name": "ws-api-2", "uid": "slice-second"},
            "endpoints": [{
                "addresses": ["10.1.0.6"],
                "targetRef": {"kind": "Pod", "name": "api-1-y", "uid": "pod-second"},
            }],
        }),
    );
    let mut index = index(&[parts, second]);
    assert_eq!(pod_of(&settled(&mut index), "api"), None);
    assert_eq!(reasons(&mut index), ["TwoPods"]);
}

fn aged(namespace: &str, name: &str, address: &str, created: &str) -> Parts {
    let mut parts = Parts::within(namespace, name, address);
    let created = json!({"metadata": {"creationTimestamp": created}});
    parts.workspace = with(parts.workspace, created);
    parts
}

#[test]
fn who_copies_a_name_gets_no_host_and_the_one_who_had_it_keeps_it() {
    let old = aged("team-a", "api", "10.1.0.5", "2026-01-01T00:00:00Z");
    let new = aged("team-b", "api", "10.1.0.6", "2026-01-02T00:00:00Z");
    // In any order of the events.
    for parts in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        let mut index = index(&parts);
        let routes = settled(&mut index);
        assert_eq!(routes.len(), 1);
        assert_eq!(&*routes.find("api").unwrap().key.namespace, "team-a");
        assert_eq!(reasons(&mut index), ["HostConflict"]);

        index.delete(Kind::Workspace, &Key::new("team-a", "api"));
        let routes = index.settle(&routes).unwrap();
        let route = routes.find("api").unwrap();
        assert_eq!(&*route.key.namespace, "team-b");
        assert_eq!(route.pod().unwrap().address, IpAddr::from([10, 1, 0, 6]));
    }
}

#[rstest]
#[case("auth")]
#[case("ssh")]
#[case("status")]
fn a_name_that_is_the_installations_gets_no_host(#[case] name: &str) {
    let mut index = index(&[Parts::new(name, "10.1.0.5")]);
    assert!(settled(&mut index).is_empty());
    assert_eq!(reasons(&mut index), ["HostReserved"]);
}

#[test]
fn a_service_with_our_labels_and_another_name_is_told_and_leads_nowhere() {
    let mut parts = Parts::new("api", "10.1.0.5");
    parts.service = with(parts.service, json!({"metadata": {"name": "evil"}}));
    let mut index = index(&[parts]);
    assert_eq!(pod_of(&settled(&mut index), "api"), None);
    assert_eq!(reasons(&mut index), ["ServiceName"]);
}

#[test]
fn a_workspace_that_goes_takes_its_route_along_and_one_of_its_name_is_another() {
    let mut index = index(&[Parts::new("api", "10.1.0.5")]);
    let routes = settled(&mut index);
    index.delete(Kind::Workspace, &Key::new("team-a", "api"));
    let gone = index.settle(&routes).unwrap();
    assert!(gone.is_empty() && gone.find("api").is_none());
    // The children are still there, and are not those of the next one.
    let next = with(
        Parts::new("api", "10.1.0.5").workspace,
        json!({"metadata": {"uid": "another"}}),
    );
    index.apply(Fact::Workspace(Box::new(WorkspaceFacts::of(next))));
    let routes = index.settle(&gone).unwrap();
    assert_eq!(&*routes.find("api").unwrap().uid, "another");
    assert_eq!(pod_of(&routes, "api"), None);
    assert_eq!(reasons(&mut index), ["ServiceForeign"]);
}

#[test]
fn what_a_list_does_not_name_is_gone() {
    let (one, other) = (
        Parts::new("one", "10.1.0.5"),
        Parts::new("other", "10.1.0.6"),
    );
    let mut index = index(&[one.clone(), other]);
    let routes = settled(&mut index);
    assert_eq!(routes.len(), 2);
    let of_kind = |parts: &Parts, kind| {
        let facts = parts.facts().into_iter();
        facts.filter(|fact| fact.kind() == kind).collect::<Vec<_>>()
    };
    index.reset(Kind::Workspace, of_kind(&one, Kind::Workspace));
    let routes = index.settle(&routes).unwrap();
    assert_eq!(routes.len(), 1);
    for kind in [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::ReplicaSet,
        Kind::Deployment,
    ] {
        index.reset(kind, Vec::new());
        let closed = index.settle(&routes).unwrap();
        assert_eq!(pod_of(&closed, "one"), None, "{kind:?}");
        index.reset(kind, of_kind(&one, kind));
        let open = index.settle(&closed).unwrap();
        assert!(pod_of(&open, "one").is_some(), "{kind:?}");
    }
}

#[test]
fn the_caps_are_those_of_the_class_of_the_last_start_and_closed_where_it_is_not_there() {
    let mut parts = Parts::new("api", "10.1.0.5");
    // What the spec names was not checked by anybody yet.
    parts.workspace = with(parts.workspace, json!({"spec": {"className": "lax"}}));
    let mut index = index(&[parts]);
    let routes = settled(&mut index);
    assert_eq!(routes.find("api").unwrap().rules, AccessRules::of(None));
    index.apply(class(json!({"undeclaredPorts": true, "editor": "Private"})));
    let routes = index.settle(&routes).unwrap();
    assert!(routes.find("api").unwrap().rules.undeclared_ports);
    index.delete(Kind::WorkspaceClass, &Key::new("", "standard"));
    let routes = index.settle(&routes).unwrap();
    assert_eq!(routes.find("api").unwrap().rules, AccessRules::CLOSED);
}

#[test]
fn groups_are_known_as_long_as_a_workspace_names_them() {
    let mut parts = Parts::new("api", "10.1.0.5");
    let shared = |groups: &[&str]| json!({"spec": {"shared": {"groups": groups}}});
    parts.workspace = with(parts.workspace, shared(&["team-a", "team-b"]));
    let mut index = index(&[parts.clone()]);
    let routes = settled(&mut index);
    assert!(routes.names_group("team-a") && !routes.names_group("team-c"));
    parts.workspace = with(parts.workspace, shared(&["team-b"]));
    for fact in parts.facts() {
        index.apply(fact);
    }
    let routes = index.settle(&routes).unwrap();
    assert!(!routes.names_group("team-a") && routes.names_group("team-b"));
    index.delete(Kind::Workspace, &Key::new("team-a", "api"));
    assert!(!index.settle(&routes).unwrap().names_group("team-b"));
}

/// An event of a little cluster, in which names and addresses collide.
#[derive(Clone, Debug)]
struct Step {
    workspace: usize,
    kind: usize,
    deleted: bool,
}

fn cluster() -> Vec<Parts> {
    vec![
        Parts::within("a", "one", "10.1.0.1"),
        Parts::within("b", "one", "10.1.0.2"),
        Parts::within("a", "two", "10.1.0.2"),
        Parts::within("a", "three", "10.1.0.3"),
    ]
}

fn by_name(routes: &Routes) -> BTreeMap<Arc<str>, Route> {
    let all = routes.iter();
    all.map(|route| (route.key.name.clone(), Route::clone(route)))
        .collect()
}

proptest! {
    #[test]
    fn whatever_the_order_of_events_the_routes_are_those_of_what_is_there(
        steps in proptest::collection::vec(
            (0..4_usize, 0..6_usize, any::<bool>())
                .prop_map(|(workspace, kind, deleted)| Step { workspace, kind, deleted }),
            0..80,
        ),
        every in 1..8_usize,
    ) {
        let cluster = cluster();
        let mut index = index(&[]);
        let mut routes = settled(&mut index);
        let mut there: BTreeMap<(usize, usize), Fact> = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            let fact = cluster[step.workspace].facts().swap_remove(step.kind);
            if step.deleted {
                index.delete(fact.kind(), fact.key());
                there.remove(&(step.workspace, step.kind));
            } else {
                index.apply(fact.clone());
                there.insert((step.workspace, step.kind), fact);
            }
            if number % every == 0 {
                routes = index.settle(&routes).unwrap_or(routes);
            }
        }
        routes = index.settle(&routes).unwrap_or(routes);
        let mut fresh = crate::proxy::route::fixtures::index(&[]);
        for fact in there.into_values() {
            fresh.apply(fact);
        }
        prop_assert_eq!(by_name(&routes), by_name(&settled(&mut fresh)));
        // Never one address for two.
        let mut seen = HashSet::new();
        for pod in routes.iter().filter_map(|route| route.pod()) {
            prop_assert!(seen.insert(pod.address));
        }
    }
}
