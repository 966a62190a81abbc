//! What Helm renders of the chart, and which settings it refuses.

use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use super::{IMAGE, chart, run_helm};

/// What the chart renders with these settings, for a server that has our kinds already.
pub fn template(settings: &[&str]) -> Result<Vec<Value>, String> {
    let chart = chart();
    let mut arguments = vec![
        "template",
        "release",
        &chart,
        "--namespace=workstead-system",
        "--kube-version=1.36.0",
        "--api-versions=workstead.dev/v1alpha1/WorkspaceClass",
        IMAGE,
    ];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let text = run_helm(&arguments, None)?;
    Ok(serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|value| !value.is_null())
        .collect())
}

pub fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

pub fn named<'a>(objects: &'a [Value], kind: &'a str, name: &str) -> &'a Value {
    of_kind(objects, kind)
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn helm_lint_has_nothing_to_say_against_the_chart() {
    run_helm(
        &["lint", "--strict", "--kube-version=1.36.0", &chart()],
        None,
    )
    .unwrap();
}

#[test]
fn values_that_are_unknown_or_out_of_range_are_refused_by_name() {
    for (setting, named) in [
        ("controler.replicas=1", "controler"),
        ("controller.replicas=3", "/controller/replicas"),
        ("image.tag=a b", "/image/tag"),
        ("quota.total=-1", "/quota/total"),
        ("baseDomain=Not.A.Domain", "/baseDomain"),
        (
            "admission.usernamePrefix=o'idc",
            "/admission/usernamePrefix",
        ),
        (
            "admission.usernamePrefix=\"oidc",
            "/admission/usernamePrefix",
        ),
        ("log.format=xml", "/log/format"),
        ("controller.git.fetches=1", "/controller/git/fetches"),
        (
            "controller.git.fetchMemory=much",
            "/controller/git/fetchMemory",
        ),
        ("controller.listen=localhost", "/controller/listen"),
        ("controller.listen=::", "/controller/listen"),
        ("controller.extraEnv[0].value=x", "/controller/extraEnv/0"),
        (
            "controller.extraEnv[0].name=A,controller.extraEnv[0].value=true",
            "/controller/extraEnv/0/value",
        ),
        (
            "controller.extraEnv[0].name=A,controller.extraEnv[0].vlue=x",
            "vlue",
        ),
        ("dns.ports={}", "/dns/ports"),
        ("dns.ports={0}", "/dns/ports/0"),
        ("dns.addresses={localhost}", "/dns/addresses/0"),
        ("dns.podLabels.k8s-app=null", "/dns/podLabels"),
    ] {
        let error = template(&[setting]).unwrap_err();
        assert!(error.contains(named), "{setting}: {error}");
    }
}

#[test]
fn an_image_is_asked_for_and_never_half_ignored() {
    let error = template(&["image.repository="]).unwrap_err();
    assert!(error.contains("set image.repository"), "{error}");
    let digest = format!("image.digest=sha256:{}", "0".repeat(64));
    let error = template(&[&digest, "image.tag=v2"]).unwrap_err();
    assert!(error.contains("image.tag v2 would be ignored"), "{error}");
    assert!(error.contains("--set image.digest="), "{error}");
}

#[test]
fn addresses_to_listen_on_are_those_of_both_families() {
    for address in ["0.0.0.0", "[::]", "127.0.0.1"] {
        let objects = template(&[&format!("controller.listen={address}")]).unwrap();
        let text = serde_json::to_string(&objects).unwrap();
        assert!(text.contains(&format!("{address}:8080")), "{text}");
    }
}

#[test]
fn an_older_kubernetes_is_refused() {
    let error = run_helm(&["template", "x", &chart(), "--kube-version=1.32.9"], None).unwrap_err();
    assert!(error.contains("1.33.0"), "{error}");
}

#[test]
fn the_controller_runs_without_rights_on_its_node() {
    let objects = template(&["controller.replicas=2"]).unwrap();
    let spec = &named(&objects, "Deployment", "workstead-controller")["spec"]["template"]["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let container = &spec["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(texts(&container["capabilities"]["drop"]), ["ALL"]);
    assert!(spec["containers"][0]["resources"]["limits"]["memory"].is_string());
    for probe in ["livenessProbe", "readinessProbe"] {
        assert!(
            spec["containers"][0][probe]["httpGet"]["path"].is_string(),
            "{probe}"
        );
    }
}

#[test]
fn no_role_has_a_wildcard_or_reads_logs_and_the_controller_alone_sees_secrets() {
    let objects = template(&super::TLS).unwrap();
    let roles: Vec<&Value> = of_kind(&objects, "ClusterRole")
        .chain(of_kind(&objects, "Role"))
        .collect();
    assert!(roles.len() >= 6, "roles are missing");
    for role in roles {
        let name = &role["metadata"]["name"];
        for rule in role["rules"].as_array().unwrap() {
            for part in ["verbs", "resources", "apiGroups"] {
                assert!(
                    !texts(&rule[part]).contains(&"*"),
                    "{name}: wildcard in {part}"
                );
            }
            let resources = texts(&rule["resources"]);
            assert!(!resources.contains(&"pods/log"), "{name} reads logs");
            if resources.contains(&"secrets") {
                // The proxy's own are named: another test looks at them.
                if name == "workstead-proxy" && role["kind"] == "Role" {
                    continue;
                }
                assert_eq!(name, "workstead-controller", "{name} on secrets");
                let verbs = texts(&rule["verbs"]);
                let named = rule["resourceNames"].is_array();
                let writes_over = verbs.contains(&"patch") || verbs.contains(&"update");
                assert!(named || !writes_over, "{name} writes over any Secret");
            }
        }
    }
}

#[test]
fn people_get_workspaces_by_the_clusters_own_roles_but_never_write_a_gitsync() {
    let objects = template(&[]).unwrap();
    for role in of_kind(&objects, "ClusterRole") {
        let labels = &role["metadata"]["labels"];
        let writes = ["edit", "admin"]
            .iter()
            .any(|name| labels[format!("rbac.authorization.k8s.io/aggregate-to-{name}")] == "true");
        if !writes {
            continue;
        }
        for rule in role["rules"].as_array().unwrap() {
            let resources = texts(&rule["resources"]);
            assert_eq!(resources, ["workspaces", "workspacevariables"], "of {role}");
            assert!(
                !texts(&rule["verbs"]).contains(&"assign-owner"),
                "of {role}"
            );
        }
    }
}

#[test]
fn a_role_that_can_be_bound_writes_gitsyncs_and_no_role_of_the_cluster_takes_it_in() {
    let objects = template(&[]).unwrap();
    let role = named(&objects, "ClusterRole", "workstead-gitsync-editor");
    let [rule] = &role["rules"].as_array().unwrap()[..] else {
        panic!("{role}");
    };
    assert_eq!(texts(&rule["resources"]), ["gitsyncs"]);
    assert!(texts(&rule["verbs"]).contains(&"patch"));
    let labels = role["metadata"]["labels"].as_object().unwrap();
    let aggregates = labels.keys().any(|key| key.contains("aggregate"));
    assert!(!aggregates, "{labels:?}");
}

#[test]
fn settings_reach_the_controller_as_the_environment_that_its_help_names() {
    let help = Command::new(env!("CARGO_BIN_EXE_workstead"))
        .args(["controller", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let objects = template(&[
        "quota.total=0",
        "baseDomain=work.example.com",
        "dns.namespace=openshift-dns",
        "dns.podLabels.dns=default",
        "dns.ports={53,5353}",
        "dns.addresses={169.254.20.10,fd00::a}",
        "toolsImage=registry.example.com/tools:1",
        "image.digest=sha256:0123456789012345678901234567890123456789012345678901234567890123",
    ])
    .unwrap();
    let spec = &named(&objects, "Deployment", "workstead-controller")["spec"]["template"]["spec"];
    let environment: Vec<(&str, &Value)> = spec["containers"][0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), &variable["value"]))
        .collect();
    for (name, _) in &environment {
        assert!(
            help.contains(&format!("[env: {name}]")),
            "{name} is not in the help:\n{help}"
        );
    }
    let value = |name: &str| {
        environment
            .iter()
            .find(|(found, _)| *found == name)
            .unwrap()
            .1
    };
    assert_eq!(value("WORKSTEAD_QUOTA_TOTAL"), "0");
    assert_eq!(value("WORKSTEAD_DNS_NAMESPACE"), "openshift-dns");
    assert_eq!(value("WORKSTEAD_DNS_PODS"), "dns=default,k8s-app=kube-dns");
    assert_eq!(value("WORKSTEAD_DNS_PORTS"), "53,5353");
    assert_eq!(value("WORKSTEAD_DNS_ADDRESSES"), "169.254.20.10,fd00::a");
    assert_eq!(value("WORKSTEAD_BASE_DOMAIN"), "work.example.com");
    assert_eq!(
        value("WORKSTEAD_TOOLS_IMAGE"),
        "registry.example.com/tools:1"
    );
    assert!(
        spec["containers"][0]["image"]
            .as_str()
            .unwrap()
            .contains("@sha256:0123")
    );
}

/// A quantity of the rendered pod.
pub fn amount(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    let amount = workstead::model::quantity::Amount::parse(text).unwrap();
    amount.to_u64().unwrap()
}

#[test]
fn what_git_may_cost_fits_into_the_pod_whoever_pushes_what() {
    use workstead::controllers::gitsync::budget::GitLimits;
    const MIB: u64 = 1024 * 1024;
    /// What the index of a pack takes for each object.
    const INDEX: u64 = 36;
    let rendered = template(&[]).unwrap();
    let pod = &named(&rendered, "Deployment", "workstead-controller")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let setting = |name: &str| {
        let all = container["env"].as_array().unwrap();
        let found = all
            .iter()
            .find(|entry| entry["name"] == format!("WORKSTEAD_GIT_{name}"));
        amount(&found.unwrap_or_else(|| panic!("{name}"))["value"])
    };
    let memory = amount(&container["resources"]["limits"]["memory"]);
    let fetches = setting("FETCHES");
    let needed = 256 * MIB + fetches * setting("FETCH_MEMORY") + 5 * setting("TREES_BYTES");
    assert!(needed <= memory, "{} MiB of {}", needed / MIB, memory / MIB);
    let volumes = pod["volumes"].as_array().unwrap();
    let state = volumes.iter().find(|volume| volume["name"] == "state");
    let volume = amount(&state.unwrap()["emptyDir"]["sizeLimit"]);
    let one = setting("FETCH_BYTES") + INDEX * setting("FETCH_OBJECTS");
    let needed = setting("REPOSITORIES_BYTES") + fetches * one;
    assert!(needed <= volume, "{} MiB of {}", needed / MIB, volume / MIB);
    // A delta is unpacked beside its base.
    assert!(2 * setting("OBJECT_BYTES") < setting("FETCH_MEMORY"));
    assert!(setting("REPOSITORY_BYTES") <= setting("REPOSITORIES_BYTES") / 2);
    assert!(setting("TREE_BYTES") <= setting("TREES_BYTES") / 2);
    // And the chart says what the program takes when nobody says anything.
    let limits = GitLimits::default();
    let defaults = [
        ("FETCHES", u64::from(limits.fetches)),
        ("FETCH_MEMORY", limits.fetch.memory),
        ("FETCH_BYTES", limits.fetch.bytes),
        ("FETCH_OBJECTS", limits.fetch.objects),
        ("OBJECT_BYTES", limits.fetch.object_bytes),
        ("REPOSITORY_BYTES", limits.fetch.repository_bytes),
        ("REPOSITORIES_BYTES", limits.repositories_bytes),
        ("TREE_BYTES", limits.tree_bytes),
        ("TREES_BYTES", limits.trees_bytes),
    ];
    for (name, value) in defaults {
        assert_eq!(setting(name), value, "{name}");
    }
}
