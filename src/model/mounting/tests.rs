use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const IMAGE: &str = "registry.example.com/workstead:1";

fn runtime(number: u8) -> Runtime {
    Runtime {
        kubelet: format!("v1.{number}.0"),
        container_runtime: "containerd://2.1.0".to_owned(),
    }
}

fn answer(number: u8, works: bool) -> Answer {
    Answer {
        runtime: runtime(number),
        image: IMAGE.to_owned(),
        works,
        node: "n".to_owned(),
        said: "x".to_owned(),
    }
}

fn answers(list: &[(u8, bool)]) -> Answers {
    let mut answers = Answers::default();
    for (number, works) in list {
        answers.take(answer(*number, *works), &BTreeSet::new());
    }
    answers
}

#[rstest]
#[case::nobody_asked(&[], Some(&[33][..]), None)]
#[case::all_work(&[(33, true), (34, true)], Some(&[33, 34][..]), Some(true))]
#[case::one_is_not_asked_yet(&[(33, true)], Some(&[33, 34][..]), None)]
#[case::one_refuses(&[(33, true), (34, false)], Some(&[33, 34][..]), Some(false))]
#[case::one_refuses_and_one_is_not_asked_yet(&[(34, false)], Some(&[33, 34][..]), Some(false))]
#[case::the_one_that_refuses_has_no_node(&[(33, true), (34, false)], Some(&[33][..]), Some(true))]
#[case::no_nodes(&[(33, true)], Some(&[][..]), None)]
#[case::nodes_not_known_yet(&[(33, true), (34, false)], None, Some(false))]
#[case::nodes_not_known_and_all_work(&[(33, true)], None, None)]
fn one_pair_of_versions_that_has_nodes_and_refuses_is_enough(
    #[case] known: &[(u8, bool)],
    #[case] present: Option<&[u8]>,
    #[case] expected: Option<bool>,
) {
    let present = present.map(|all| all.iter().map(|number| runtime(*number)).collect());
    assert_eq!(answers(known).work(present.as_ref()), expected);
}

#[test]
fn answers_are_read_again_as_they_were_written_but_for_those_of_another_image() {
    let known = answers(&[(33, true), (34, false)]);
    let data = known.to_data();
    assert_eq!(Answers::of_data(&data, IMAGE), known);
    assert_eq!(Answers::of_data(&data, "other:1"), Answers::default());
    let fits = |key: &String| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        key.len() <= 253 && key.chars().all(allowed)
    };
    assert!(data.len() == 2 && data.keys().all(fits), "{data:?}");
    let damaged = [("x".to_owned(), "{".to_owned())].into();
    assert_eq!(Answers::of_data(&damaged, IMAGE), Answers::default());
}

#[test]
fn versions_that_no_node_has_are_forgotten_when_there_are_too_many() {
    let mut known = Answers::default();
    let present = [runtime(0)].into();
    for number in 0..100 {
        known.take(answer(number, true), &present);
    }
    assert_eq!(known.to_data().len(), KEPT);
    assert!(known.of(&runtime(0)).is_some() && known.of(&runtime(99)).is_some());
}

#[rstest]
#[case::ready(json!({}), json!({}), Some(Some(0)))]
#[case::tainted(json!({}), json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]}), Some(Some(1)))]
#[case::cordoned(json!({}), json!({"unschedulable": true}), Some(None))]
#[case::windows(json!({"kubernetes.io/os": "windows"}), json!({}), None)]
#[case::virtual_one(json!({"type": "virtual-kubelet"}), json!({}), None)]
fn a_node_is_asked_when_it_could_run_a_workspace(
    #[case] labels: Value,
    #[case] spec: Value,
    #[case] rank: Option<Option<u8>>,
) {
    let mut node = json!({
        "metadata": {"name": "n", "labels": labels}, "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0", "containerRuntimeVersion": "containerd://2.1.0",
                "architecture": "amd64", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
                "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "",
            },
        },
    });
    let of = |node: &Value| NodeRuntime::of(&serde_json::from_value(node.clone()).unwrap());
    assert_eq!(of(&node).map(|node| node.rank), rank);
    node["status"]["conditions"][0]["status"] = json!("False");
    assert_eq!(of(&node).map(|node| node.rank), rank.map(|_| None));
    node["status"]["nodeInfo"]["kubeletVersion"] = json!("");
    assert_eq!(of(&node), None);
}

fn probe(status: Value) -> PodFacts {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "probe"},
        "spec": {"containers": [], "volumes": [{"name": "tools", "image": {"reference": IMAGE}}]},
        "status": status,
    }))
    .unwrap();
    PodFacts::of(&pod)
}

fn container(state: Value) -> Value {
    json!({"phase": "Pending", "containerStatuses": [{
        "name": "probe", "image": IMAGE, "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }]})
}

fn waiting(reason: &str, message: &str) -> Value {
    container(json!({"waiting": {"reason": reason, "message": message}}))
}

fn ended(reason: &str, code: i32, message: &str) -> Value {
    container(json!({"terminated": {"reason": reason, "exitCode": code, "message": message}}))
}

fn said(reason: &str, message: &str) -> EventFacts {
    EventFacts {
        kind: "Pod".to_owned(),
        name: "probe".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_seen: None,
    }
}

#[rstest]
#[case::it_ran(ended("Completed", 0, ""))]
fn a_probe_that_ran_says_yes(#[case] status: Value) {
    assert!(matches!(
        finding(&probe(status), &[]),
        Finding::Answer(true, _)
    ));
}

/// Texts as kubelets and runtimes write them.
#[rstest]
#[case::noexec(ended(
    "StartError",
    128,
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/opt/workstead/bin/workstead-supervisor\": permission denied"
))]
#[case::can_not_mount(waiting(
    "CreateContainerError",
    "ImageVolumeMountFailed: failed to create directory to image volume target path \"/run/x\": mkdir /run/x: not a directory"
))]
#[case::no_source(waiting(
    "CreateContainerError",
    "failed to generate container \"abc\" spec: failed to generate spec: failed to mkdir \"\": mkdir : no such file or directory"
))]
#[case::id_mapping(waiting(
    "RunContainerError",
    "error mounting \"/run/x\" to rootfs at \"/opt/workstead\": failed to set MOUNT_ATTR_IDMAP: invalid argument"
))]
#[case::left_out(waiting(
    "CreateContainerConfigError",
    "cannot find volume \"tools\" to mount into container \"probe\""
))]
#[case::no_such_file(waiting(
    "RunContainerError",
    "exec: \"/opt/workstead/bin/workstead-supervisor\": stat /opt/workstead/bin/workstead-supervisor: no such file or directory"
))]
fn a_runtime_that_can_not_mount_or_run_says_no(#[case] status: Value) {
    let found = finding(&probe(status), &[]);
    assert!(matches!(found, Finding::Answer(false, _)), "{found:?}");
}

#[test]
fn a_kubelet_that_does_not_know_such_volumes_says_no() {
    let event = said(
        "FailedMount",
        "Unable to attach or mount volumes: unmounted volumes=[tools], failed to process volumes=[tools]: failed to get Plugin from volumeSpec for volume \"tools\" err=no volume plugin matched",
    );
    let pending = probe(json!({"phase": "Pending"}));
    let found = finding(&pending, std::slice::from_ref(&event));
    assert!(matches!(found, Finding::Answer(false, _)), "{found:?}");
    let other = EventFacts {
        name: "other".to_owned(),
        ..event
    };
    assert_eq!(finding(&pending, &[other]), Finding::Pending);
}

#[rstest]
#[case::pulling(waiting("ErrImagePull", "registry.example.com/workstead:1: not found"))]
#[case::backing_off(waiting("ImagePullBackOff", "Back-off pulling image"))]
#[case::making(waiting("ContainerCreating", ""))]
#[case::busy(waiting(
    "CreateContainerError",
    "ImageVolumeMountFailed: context deadline exceeded"
))]
#[case::running(container(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})))]
fn what_may_still_come_is_waited_for(#[case] status: Value) {
    assert_eq!(finding(&probe(status), &[]), Finding::Pending);
}

#[rstest]
#[case::no_room(json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}), "OutOfcpu")]
#[case::no_image(
    {
        let mut status = waiting("ImagePullBackOff", "registry.example.com/workstead:1: not found");
        status["phase"] = json!("Failed");
        status["reason"] = json!("DeadlineExceeded");
        status
    },
    "DeadlineExceeded; ImagePullBackOff: registry.example.com/workstead:1: not found"
)]
#[case::it_failed(ended("Error", 139, ""), "exit code 139")]
#[case::of_another_architecture(
    ended(
        "StartError",
        128,
        "exec /opt/workstead/bin/workstead-supervisor: exec format error"
    ),
    "exec format error"
)]
fn what_says_nothing_of_mounting_is_no_answer(#[case] status: Value, #[case] says: &str) {
    match finding(&probe(status), &[]) {
        Finding::Nothing(said) => assert!(said.contains(says), "{said}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_name_of_an_image_is_no_refusal() {
    let image = "registry.example.com/opt/workstead/x:1";
    let pod = probe(waiting(
        "CreateContainerError",
        &format!("failed to get {image}: odd"),
    ));
    assert_eq!(
        refused(&pod, &[], &["registry.example.com/opt/workstead/x:1"]),
        None
    );
    assert!(refused(&pod, &[], &[]).is_some());
}
