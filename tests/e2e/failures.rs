//! Each failure that a node can produce, under a class with short deadlines: all started together, awaited once.

use std::time::Duration;

use workstead::api::Workspace;
use workstead::api::shared::Blame;
use workstead::api::workspace::{ActualState, Cause, Failure};
use workstead::testkit::wait::within;

use crate::harness::{Cluster, OwnNode, debian_image, skipped, tiny_image};

/// Startup, the pull, the retries of the kubelet, and a busy machine.
const LIMIT: Duration = Duration::from_secs(150);

/// A Workspace that must fail, and how it must say so.
struct Case {
    name: &'static str,
    /// Fields of the spec, in YAML flow style, beside owner and class.
    spec: String,
    class: &'static str,
    cause: Cause,
    blame: Blame,
    state: ActualState,
    /// What the evidence or the message must name.
    evidence: &'static str,
    /// What the next step must name.
    next_step: &'static str,
}

fn cases() -> Vec<Case> {
    let debian = debian_image();
    let command = |script: &str| format!(r#"{{image: "{debian}", command: [sh, -c, "{script}"]}}"#);
    vec![
        Case {
            name: "crash-loop",
            spec: command("echo the database is gone; exit 3"),
            class: "short",
            cause: Cause::CrashLoop,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "the database is gone",
            next_step: "command",
        },
        Case {
            name: "no-such-command",
            spec: format!(
                r#"{{image: "{}", command: [/no/such/program]}}"#,
                tiny_image()
            ),
            class: "short",
            cause: Cause::CrashLoop,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "/no/such/program",
            next_step: "command",
        },
        Case {
            name: "main-exited",
            spec: command("exit 0"),
            class: "short",
            cause: Cause::MainExited,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "exit code 0",
            next_step: "command",
        },
        Case {
            name: "out-of-memory",
            spec: format!(
                r#"{{image: "{debian}", command: [sh, -c, "head -c 500m /dev/zero | tail -n 1"], resources: {{requests: {{memory: 32Mi}}, limits: {{memory: 32Mi}}}}}}"#
            ),
            class: "short",
            cause: Cause::OutOfMemory,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "OOMKilled",
            next_step: "memory above 32Mi",
        },
        Case {
            name: "unschedulable",
            spec: format!(
                r#"{{image: "{debian}", resources: {{requests: {{cpu: "1000"}}, limits: {{cpu: "1000"}}}}}}"#
            ),
            class: "short",
            cause: Cause::Unschedulable,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "cpu",
            next_step: "cpu",
        },
        Case {
            name: "class-missing",
            spec: format!(r#"{{image: "{debian}"}}"#),
            class: "nowhere",
            cause: Cause::ClassInvalid,
            blame: Blame::Platform,
            state: ActualState::CreationRequested,
            evidence: "nowhere",
            next_step: "class",
        },
        Case {
            name: "over-the-cap",
            spec: format!(r#"{{image: "{debian}", storage: {{size: 100Gi}}}}"#),
            class: "short",
            cause: Cause::ClassInvalid,
            blame: Blame::User,
            state: ActualState::CreationRequested,
            evidence: "100Gi",
            next_step: "storage",
        },
        Case {
            name: "volume-bind",
            spec: format!(r#"{{image: "{debian}"}}"#),
            class: "no-storage",
            cause: Cause::VolumeBind,
            blame: Blame::Platform,
            state: ActualState::Failed,
            evidence: "\"no-such-storage\" not found",
            next_step: "storage",
        },
        Case {
            name: "second-of-one",
            spec: format!(r#"{{image: "{debian}"}}"#),
            class: "one-only",
            cause: Cause::QuotaExceeded,
            blame: Blame::User,
            state: ActualState::CreationRequested,
            evidence: "1",
            next_step: "first-of-one",
        },
        Case {
            name: "apply-rejected",
            spec: format!(r#"{{image: "{debian}", endpoints: [{{name: web, port: 3000}}]}}"#),
            class: "short",
            cause: Cause::ApplyRejected,
            blame: Blame::Platform,
            state: ActualState::Error,
            evidence: "ws-apply-rejected",
            next_step: "ws-apply-rejected",
        },
        Case {
            name: "startup-timeout",
            spec: format!(r#"{{image: "{debian}"}}"#),
            class: "no-handler",
            cause: Cause::StartupTimeout,
            blame: Blame::Platform,
            state: ActualState::Failed,
            evidence: "no-such-handler",
            next_step: "runtime class",
        },
    ]
}

/// What needs a registry on the node, or an image that is in none.
fn cases_of(node: &OwnNode) -> Vec<Case> {
    node.start_registries();
    let unmountable = node.put_unmountable_image();
    vec![
        Case {
            name: "image-not-found",
            spec: "{image: 'localhost:5000/none/such:1'}".to_owned(),
            class: "short",
            cause: Cause::ImageNotFound,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "none/such",
            next_step: "image",
        },
        Case {
            name: "image-auth",
            spec: "{image: 'localhost:5001/private/thing:1'}".to_owned(),
            class: "short",
            cause: Cause::ImageAuth,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "private/thing",
            next_step: "imagePullSecrets",
        },
        Case {
            name: "config-invalid",
            spec: format!(r#"{{image: "{}"}}"#, unmountable),
            class: "short",
            cause: Cause::ConfigInvalid,
            blame: Blame::User,
            state: ActualState::Failed,
            evidence: "/projects",
            next_step: "",
        },
    ]
}

/// A namespace that lets no pod be made.
struct Closed {
    prefix: &'static str,
    /// What makes it so, in YAML; NAMESPACE stands for its name.
    by: &'static str,
    case: Case,
}

fn closed_namespaces() -> [Closed; 2] {
    let spec = format!(r#"{{image: "{}"}}"#, debian_image());
    let used_up = Case {
        name: "quota-of-the-namespace",
        spec: spec.clone(),
        class: "short",
        cause: Cause::QuotaExceeded,
        blame: Blame::User,
        state: ActualState::Failed,
        evidence: "exceeded quota: no-pods",
        next_step: "no-pods",
    };
    let denied = Case {
        name: "admission-denied",
        spec,
        class: "privileges",
        cause: Cause::AdmissionDenied,
        blame: Blame::Platform,
        state: ActualState::Failed,
        evidence: "violates PodSecurity",
        next_step: "Pod Security",
    };
    [
        Closed {
            prefix: "used-up",
            by: "{apiVersion: v1, kind: ResourceQuota, metadata: {name: no-pods, namespace: NAMESPACE}, spec: {hard: {pods: 0}}}",
            case: used_up,
        },
        Closed {
            prefix: "denied",
            by: "{apiVersion: v1, kind: Namespace, metadata: {name: NAMESPACE, labels: {pod-security.kubernetes.io/enforce: restricted}}}",
            case: denied,
        },
    ]
}

fn classes(prefix: &str) -> String {
    let timeouts =
        "{startup: 10s, stopping: 5s, imagePull: 5s, containerConfig: 5s, admission: 5s}";
    let class = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: workstead.dev/v1alpha1\nkind: WorkspaceClass\nmetadata: {{name: {prefix}-{name}}}\nspec: {{timeouts: {timeouts}, {rest}}}\n"
        )
    };
    [
        class("short", "storage: {default: 1Gi, max: 10Gi}"),
        class("no-storage", "storage: {default: 1Gi, className: no-such-storage}"),
        class("one-only", "quota: {perOwner: 1}, storage: {default: 1Gi}"),
        class("privileges", "pod: {allowPrivilegeEscalation: true, userNamespaces: true}, storage: {default: 1Gi}"),
        class("no-handler", &format!("pod: {{runtimeClassName: {prefix}-none}}")),
        format!(
            "---\napiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {prefix}-none}}\nhandler: no-such-handler\n"
        ),
    ]
    .concat()
}

fn workspace(namespace: &str, name: &str, class: &str, spec: &str) -> String {
    let rest = &spec[1..spec.len() - 1];
    format!(
        "---\napiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{owner: kim@example.com, className: {namespace}-{class}, {rest}}}\n"
    )
}

fn fails_as(case: &Case, workspace: &Workspace) -> bool {
    let Some(status) = &workspace.status else {
        return false;
    };
    status.actual_state == Some(case.state)
        && status.failure.as_ref().is_some_and(|failure| {
            failure.cause == case.cause && told(failure).contains(case.evidence)
        })
}

/// What is said of it. An Event that says more may come a moment after the failure is known.
fn told(failure: &Failure) -> String {
    format!("{} {}", failure.message, failure.evidence)
}

#[tokio::test]
#[ignore = "needs the node"]
async fn each_failure_names_cause_blame_evidence_and_next_step() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("failures").await;
    let mut cases = cases();
    match OwnNode::here() {
        Some(node) => cases.extend(cases_of(&node)),
        None => skipped(
            "failures of pulls and mounts, which need a registry and an image on the node: it is not ours",
        ),
    }
    cluster.apply(&classes(&namespace));
    // Somebody else's object stands where a child would go.
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: ws-apply-rejected, namespace: {namespace}}}\nspec: {{clusterIP: None, selector: {{mine: \"true\"}}}}\n"
    ));
    cluster.apply(&workspace(
        &namespace,
        "first-of-one",
        "one-only",
        &format!(r#"{{image: "{}"}}"#, tiny_image()),
    ));
    let all: String = cases
        .iter()
        .map(|c| workspace(&namespace, c.name, c.class, &c.spec))
        .collect();
    cluster.apply(&all);
    let mut closed = Vec::new();
    for Closed { prefix, by, case } in closed_namespaces() {
        let namespace = cluster.namespace(prefix).await;
        cluster.apply(&by.replace("NAMESPACE", &namespace));
        cluster.apply(&classes(&namespace));
        cluster.apply(&workspace(&namespace, case.name, case.class, &case.spec));
        closed.push((namespace, case));
    }
    refuses_what_is_no_image(&cluster, &namespace);
    for case in &cases {
        assert_fails(&cluster, &namespace, case).await;
    }
    for (namespace, case) in &closed {
        assert_fails(&cluster, namespace, case).await;
        cluster.delete_namespace(namespace).await;
    }
    recovery(&cluster, &namespace, &cases).await;
    cluster.delete_namespace(&namespace).await;
}

/// What can't be the name of an image never becomes a Workspace: the API server says what to write.
fn refuses_what_is_no_image(cluster: &Cluster, namespace: &str) {
    let wrong = workspace(
        namespace,
        "image-name",
        "short",
        "{image: 'Not//A:valid:name'}",
    );
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], &wrong);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert_ne!(refused.code, Some(0), "{said}");
    assert!(said.contains("spec.image is no image reference"), "{said}");
}

/// Waits for a failure, and reads it as a user does.
async fn assert_fails(cluster: &Cluster, namespace: &str, case: &Case) {
    let what = format!("to fail with {:?}, {}", case.cause, case.evidence);
    let failed = cluster
        .await_workspace(namespace, case.name, LIMIT, &what, |w| fails_as(case, w))
        .await;
    let status = failed.status.unwrap();
    let failure = status.failure.unwrap();
    let shown = format!("{}: {failure:#?}", case.name);
    assert_eq!(failure.blame, case.blame, "{shown}");
    assert!(
        !failure.next_step.is_empty() && failure.next_step.contains(case.next_step),
        "{shown}"
    );
    // A loop that crashes may run for a moment just now: then it is asked again.
    let told = within(LIMIT, || async {
        let why = cluster
            .workstead(&["why", case.name, "-n", namespace])
            .stdout;
        let cause = format!("{:?}", case.cause);
        (why.contains(&cause) && why.contains(&failure.next_step)).then_some(())
    })
    .await;
    assert!(told.is_some(), "workstead why does not tell {shown}");
}

/// What the user mends becomes Running without a stop by hand, and the failure is gone.
async fn recovery(cluster: &Cluster, namespace: &str, cases: &[Case]) {
    let mended = format!(r#"{{image: "{}"}}"#, debian_image());
    let mut names = vec!["crash-loop", "main-exited", "unschedulable", "over-the-cap"];
    let pulled = "image-not-found";
    names.extend(
        cases
            .iter()
            .any(|case| case.name == pulled)
            .then_some(pulled),
    );
    for name in &names {
        cluster.apply(&workspace(namespace, name, "short", &mended));
    }
    cluster.kubectl(&["delete", "service", "-n", namespace, "ws-apply-rejected"]);
    cluster
        .workstead(&["stop", "first-of-one", "-n", namespace])
        .success();
    cluster.kubectl(&["delete", "workspace", "-n", namespace, "first-of-one"]);
    names.extend(["apply-rejected", "second-of-one"]);
    for name in names {
        cluster
            .await_workspace(namespace, name, LIMIT, "to run once it was mended", |w| {
                w.status.as_ref().is_some_and(|s| {
                    s.actual_state == Some(ActualState::Running) && s.failure.is_none()
                })
            })
            .await;
    }
}

#[tokio::test]
#[ignore = "needs the node"]
async fn a_pod_that_does_not_go_away_is_called_stuck_and_never_forced() {
    let cluster = Cluster::connect().await;
    let namespace = cluster.namespace("stuck").await;
    cluster.apply(&classes(&namespace));
    let spec = format!(r#"{{image: "{}"}}"#, debian_image());
    cluster.apply(&workspace(&namespace, "held", "short", &spec));
    cluster
        .await_state(&namespace, "held", LIMIT, ActualState::Running)
        .await;
    let pod = cluster.pods(&namespace, "held").await[0]
        .metadata
        .name
        .clone()
        .unwrap();
    let finalizers = |list: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{list}}}}}"#);
        cluster.kubectl(&[
            "patch",
            "pod",
            &pod,
            "-n",
            &namespace,
            "--type=merge",
            "-p",
            &patch,
        ]);
    };
    finalizers(r#"["example.com/held"]"#);
    cluster
        .workstead(&["stop", "held", "-n", &namespace])
        .success();
    let stuck = cluster
        .await_workspace(&namespace, "held", LIMIT, "to be stuck", |w| {
            w.status
                .as_ref()
                .and_then(|s| s.failure.as_ref())
                .is_some_and(|f| f.cause == Cause::StopStuck)
        })
        .await;
    let failure = stuck.status.unwrap().failure.unwrap();
    assert_eq!(failure.blame, Blame::Platform);
    assert!(
        format!("{} {}", failure.evidence, failure.next_step).contains("example.com/held"),
        "{failure:#?}"
    );
    assert_eq!(
        cluster.pods(&namespace, "held").await.len(),
        1,
        "the pod was forced away"
    );
    finalizers("null");
    cluster
        .await_workspace(&namespace, "held", LIMIT, "to be stopped", |w| {
            w.status.as_ref().is_some_and(|s| {
                s.actual_state == Some(ActualState::Stopped) && s.failure.is_none()
            })
        })
        .await;
    cluster.delete_namespace(&namespace).await;
}
