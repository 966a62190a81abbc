mod inside;

use k8s_openapi::api::networking::v1::NetworkPolicyIngressRule;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::{Workspace, WorkspaceClass};
use crate::model::class;
use crate::model::fixtures::{
    CLUSTER, class_with, installation, valid_class, validated, workspace_with,
};
use crate::model::installation::ClusterDns;
use crate::model::net::Cidr;
use crate::model::workspace::{Inputs, VolumeFacts, validate};

fn rendered(workspace: Value, class: Value) -> Resources {
    render(
        &validated(&workspace_with(workspace), &valid_class(class)),
        1,
    )
}

fn yaml(resources: &Resources) -> String {
    resources
        .to_values()
        .iter()
        .map(|value| serde_yaml::to_string(value).unwrap())
        .collect::<Vec<_>>()
        .join("---\n")
}

#[test]
fn a_minimal_workspace() {
    insta::assert_snapshot!(yaml(&rendered(json!({}), json!({}))));
}

#[test]
fn a_workspace_that_says_everything() {
    let workspace = json!({
        "command": ["bash", "-c"], "args": ["echo $(date) $HOME; exec sleep infinity"],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4096Mi", "example.com/gpu": 1}},
        "storage": {"size": "20Gi"},
        "endpoints": [{"name": "web", "port": 3000}, {"name": "a-name-longer-than-fifteen", "port": 80}],
        "env": [{"name": "RUST_LOG", "value": "debug"}, {"name": "HOME", "value": "/projects/home"}, {"name": "LITERAL", "value": "$(RUST_LOG) $$"}],
        "timeouts": {"startup": "90s", "stopping": "20s"},
    });
    let class = json!({
        "resources": {"default": {"limits": {"cpu": "2"}}, "max": {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "20Gi"}},
        "storage": {"className": "fast", "retention": "Delete"},
        "network": {"egress": [{"allow": "0.0.0.0/0", "except": ["10.0.0.0/8"], "ports": [443, 80]}, {"allow": "10.20.0.0/16"}, {"allow": "::/0"}]},
        "pod": {"runAsUser": 5001, "userNamespaces": true, "runtimeClassName": "gvisor", "allowPrivilegeEscalation": true,
                "nodeSelector": {"pool": "workspaces"}, "tolerations": [{"key": "workspaces", "operator": "Exists", "effect": "NoSchedule"}]},
        "imagePullSecrets": [{"name": "registry-b"}, {"name": "registry-a"}],
        "childMetadata": {"labels": {"team": "a"}, "annotations": {"example.com/cost": "42"}},
    });
    insta::assert_snapshot!(yaml(&rendered(workspace, class)));
}

#[test]
fn a_workspace_that_may_reach_nothing() {
    let workspace = json!({"endpoints": [{"name": "web", "port": 8080}]});
    insta::assert_snapshot!(yaml(&rendered(
        workspace,
        json!({"network": {"egress": []}})
    )));
}

#[test]
fn a_pinned_revision() {
    use crate::model::revision::{Pin, PinInputs};
    let workspace = validated(&workspace_with(json!({})), &valid_class(json!({})));
    let mut inputs = PinInputs::of(&workspace, crate::model::fixtures::start());
    inputs.renderer = "workstead/test".to_owned();
    let template = render(&workspace, 1).template().clone();
    let pinned = Pinned {
        name: "api-3".to_owned(),
        number: 3,
        pin: Pin {
            inputs,
            template,
            network_policy: render(&workspace, 1).network_policy.spec,
        },
    };
    let object = revision(&workspace.identity, &pinned);
    assert_eq!(Pinned::of(&object), Some(pinned));
    insta::assert_snapshot!(serde_yaml::to_string(&object).unwrap());
}

#[test]
fn where_undeclared_ports_may_be_opened_the_proxy_alone_reaches_all_of_them() {
    let spec = json!({"endpoints": [{"name": "web", "port": 3000}]});
    let ranges = |class| {
        let workspace = validated(&workspace_with(spec.clone()), &valid_class(class));
        let policy = render(&workspace, 1).network_policy.spec.unwrap();
        let rules = policy.ingress.unwrap().into_iter();
        let of_rule = |rule: NetworkPolicyIngressRule| {
            let ports = rule.ports.unwrap().into_iter();
            let number = |port: IntOrString| match port {
                IntOrString::Int(number) => number,
                IntOrString::String(name) => panic!("{name}"),
            };
            ports
                .map(|port| (number(port.port.unwrap()), port.end_port))
                .collect::<Vec<_>>()
        };
        rules.map(of_rule).collect::<Vec<_>>()
    };
    let controller = vec![(60003, None)];
    assert_eq!(
        ranges(json!({})),
        [vec![(3000, None), (60003, None)], controller.clone()]
    );
    assert_eq!(
        ranges(json!({"access": {"undeclaredPorts": true}})),
        [vec![(1, Some(65535))], controller]
    );
}

#[test]
fn what_guards_a_pod_whose_start_kept_no_policy_lets_it_ask_dns_and_nothing_else() {
    let workspace = validated(&workspace_with(json!({})), &valid_class(json!({})));
    let pinned = render(&workspace, 1).network_policy;
    let again = guard(
        &workspace.identity,
        &workspace.installation,
        pinned.spec.as_ref(),
    );
    assert_eq!(again, pinned);
    let closed = guard(&workspace.identity, &workspace.installation, None);
    assert_eq!(closed.metadata, pinned.metadata);
    let (spec, whole) = (closed.spec.unwrap(), pinned.spec.unwrap());
    assert_eq!(spec.pod_selector, whole.pod_selector);
    assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
    // Written, so that a rule which somebody adds is ours to take away.
    assert_eq!(spec.ingress, Some(Vec::new()));
    assert_eq!(spec.egress.unwrap(), whole.egress.unwrap()[..1]);
}

#[test]
fn a_volume_that_is_kept_has_no_owner_reference_and_one_that_goes_has() {
    assert_eq!(
        rendered(json!({}), json!({}))
            .volume
            .metadata
            .owner_references,
        None
    );
    let goes = rendered(json!({}), json!({"storage": {"retention": "Delete"}}));
    assert!(goes.volume.metadata.owner_references.is_some());
}

#[test]
fn an_existing_volume_keeps_its_storage_class_and_its_size() {
    let workspace = workspace_with(json!({}));
    let volume = VolumeFacts {
        name: "api-home".to_owned(),
        owner: Some("alice@example.com".to_owned()),
        requested: crate::model::quantity::Amount::parse("30Gi").ok(),
        storage_class: Some("old".to_owned()),
        ..VolumeFacts::default()
    };
    let class = valid_class(json!({"storage": {"className": "new", "max": "20Gi"}}));
    let installation = installation();
    let inputs = Inputs {
        workspace: &workspace,
        class: &class,
        exceeded: None,
        volume: Some(&volume),
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    };
    let spec = render(&validate(&inputs).unwrap(), 1).volume.spec.unwrap();
    assert_eq!(spec.storage_class_name.as_deref(), Some("old"));
    assert_eq!(
        spec.resources.unwrap().requests.unwrap()["storage"].0,
        "30Gi"
    );
}

#[test]
fn dns_is_asked_where_the_installation_says_it_answers() {
    let workspace = workspace_with(json!({}));
    let class = valid_class(json!({}));
    let mut installation = installation();
    installation.dns = ClusterDns {
        namespace_labels: [("kubernetes.io/metadata.name".into(), "openshift-dns".into())].into(),
        pod_labels: [("dns".into(), "default".into())].into(),
        ports: vec![53, 5353],
        addresses: vec![Cidr::parse("169.254.20.10/32").unwrap()],
    };
    let inputs = Inputs {
        workspace: &workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    };
    let policy = render(&validate(&inputs).unwrap(), 1).network_policy;
    assert_eq!(
        json!(policy.spec.unwrap().egress.unwrap()[0]),
        json!({
            "to": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}},
                    "podSelector": {"matchLabels": {"dns": "default"}},
                },
                {"ipBlock": {"cidr": "169.254.20.10/32"}},
            ],
            "ports": [
                {"port": 53, "protocol": "TCP"},
                {"port": 53, "protocol": "UDP"},
                {"port": 5353, "protocol": "TCP"},
                {"port": 5353, "protocol": "UDP"},
            ],
        })
    );
}

#[test]
fn the_grace_period_is_shorter_than_the_stopping_timer() {
    for (stopping, grace) in [("2s", 1), ("5s", 2), ("20s", 10), ("2m", 30), ("1h", 30)] {
        let resources = rendered(json!({"timeouts": {"stopping": stopping}}), json!({}));
        let spec = resources.template().spec.clone().unwrap();
        assert_eq!(
            spec.termination_grace_period_seconds,
            Some(grace),
            "{stopping}"
        );
    }
}

#[test]
fn a_changed_endpoint_changes_no_pod() {
    let before = rendered(json!({}), json!({}));
    let after = rendered(
        json!({"endpoints": [{"name": "web", "port": 3000}]}),
        json!({}),
    );
    assert_eq!(before.template(), after.template());
    let changes = changes(&before, &after, false);
    assert!(
        changes
            .iter()
            .all(|change| change.effect == ChangeEffect::Live),
        "{changes:?}"
    );
    assert!(
        changes.iter().any(|change| change.field == "service"),
        "{changes:?}"
    );
}

#[test]
fn changes_are_told_apart_by_when_they_take_effect() {
    let before = rendered(json!({}), json!({}));
    let after = rendered(
        json!({"image": "debian:12", "storage": {"size": "20Gi"}, "timeouts": {"startup": "1m"}}),
        json!({}),
    );
    let text: Vec<String> = changes(&before, &after, false)
        .iter()
        .map(|change| format!("{} {:?}", change.field, change.effect))
        .collect();
    assert_eq!(
        text,
        [
            "spec.image NextStart",
            "volume.spec.resources.requests.storage Live",
            "deployment.spec.progressDeadlineSeconds Live",
        ]
    );
    assert_eq!(changes(&before, &before, false), vec![]);
}

#[test]
fn a_pinned_template_takes_the_place_of_the_rendered_one() {
    let old = rendered(json!({"image": "debian:11"}), json!({}));
    let new = rendered(json!({"image": "debian:12"}), json!({})).with_template(old.template());
    assert_eq!(new.template(), old.template());
}

/// What a kubelet makes of `$(NAME)` and `$$`, written from the documentation of the pod's command.
fn expanded(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('$', Some('$')) => {
                chars.next();
                out.push('$');
            }
            ('$', Some('(')) => {
                let rest: String = chars.clone().skip(1).collect();
                if let Some((name, _)) = rest.split_once(')') {
                    chars.nth(name.chars().count() + 1);
                    out.push_str("EXPANDED");
                } else {
                    out.push('$');
                }
            }
            _ => out.push(c),
        }
    }
    out
}

fn any_workspace() -> impl Strategy<Value = Workspace> {
    let name = "[a-z][a-z0-9]{0,8}";
    let endpoints = prop::collection::btree_map("[a-z][a-z0-9]{0,20}", 1..60_000_u16, 0..4);
    let env = prop::collection::btree_map("[A-Z_][A-Z0-9_]{0,8}", "[ -~]{0,20}|[$()A]{0,10}", 0..5);
    let labels = prop::collection::btree_map("[a-z]{1,8}(\\.dev/[a-z]{1,4})?", "[a-z]{0,8}", 0..4);
    let memory = proptest::option::of(1..8_u32);
    (
        name,
        endpoints,
        env,
        labels,
        memory,
        prop::collection::vec("[ -~]{1,10}|[$()A]{1,6}", 0..4),
        proptest::option::of(2..4000_u32),
    )
        .prop_map(
            |(name, endpoints, env, labels, memory, command, stopping)| {
                let mut ports = std::collections::BTreeSet::new();
                let endpoints: Vec<Value> = endpoints
                    .into_iter()
                    .filter(|(_, port)| ports.insert(*port))
                    .map(|(name, port)| json!({"name": name, "port": port}))
                    .collect();
                let env: Vec<Value> = env
                    .into_iter()
                    .filter(|(name, _)| !name.starts_with("WORKSTEAD_"))
                    .map(|(name, value)| json!({"name": name, "value": value}))
                    .collect();
                let mut spec = json!({"endpoints": endpoints, "env": env, "command": command});
                if let Some(memory) = memory {
                    spec["resources"] = json!({"limits": {"memory": format!("{memory}Gi")}});
                }
                if let Some(stopping) = stopping {
                    spec["timeouts"] = json!({"stopping": format!("{}s", stopping.min(3600))});
                }
                let mut workspace = workspace_with(spec);
                workspace.metadata.name = Some(name);
                workspace.metadata.labels = Some(labels.clone());
                workspace.metadata.annotations = Some(labels);
                workspace
            },
        )
}

fn any_class() -> impl Strategy<Value = WorkspaceClass> {
    (any::<[bool; 6]>(), 1..70_000_i64, proptest::option::of("[0-9]{1,3}\\.[0-9]{1,3}\\.0\\.0/[0-9]{1,2}"), proptest::option::of(1..20_u32)).prop_map(
        |([namespaces, runtime, escalation, delete, labels, copy], user, egress, max)| {
            let mut spec = json!({"pod": {"runAsUser": user, "userNamespaces": namespaces, "allowPrivilegeEscalation": escalation}});
            if runtime {
                spec["pod"]["runtimeClassName"] = json!("gvisor");
            }
            if copy {
                spec["tools"] = json!({"delivery": "Copy"});
                spec["editors"] = json!([{"name": "e", "image": format!("e@sha256:{}", "0".repeat(64)), "command": ["e"], "default": true}]);
            }
            if delete {
                spec["storage"] = json!({"retention": "Delete"});
            }
            if labels {
                spec["childMetadata"] = json!({"labels": {"of-class": "x", "workstead.dev/workspace": "forged"}});
            }
            if let Some(egress) = egress {
                spec["network"] = json!({"egress": [{"allow": egress}]});
            }
            if let Some(max) = max {
                spec["resources"] = json!({"max": {"memory": format!("{max}Gi")}});
            }
            class_with(spec)
        },
    )
}

fn valid(
    workspace: &Workspace,
    class: &WorkspaceClass,
) -> Option<crate::model::workspace::ValidatedWorkspace> {
    let class = class::choose(Some("standard"), "team-a", [class]).ok()?;
    let installation = installation();
    validate(&Inputs {
        workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    })
    .ok()
}

/// What must hold for every pod of every workspace, whatever its class says.
fn check_security(resources: &Resources, class: &WorkspaceClass) -> Result<(), TestCaseError> {
    let spec = resources.template().spec.clone().unwrap();
    prop_assert_eq!(spec.automount_service_account_token, Some(false));
    prop_assert_eq!(
        resources.service_account.automount_service_account_token,
        Some(false)
    );
    prop_assert_eq!(spec.enable_service_links, Some(false));
    prop_assert!(spec.host_network.is_none() && spec.host_pid.is_none() && spec.host_ipc.is_none());
    prop_assert_ne!(spec.host_users, Some(true));
    let pod = spec.security_context.clone().unwrap();
    prop_assert_eq!(
        (pod.run_as_non_root, pod.run_as_group, pod.fs_group),
        (Some(true), Some(0), Some(0))
    );
    prop_assert_eq!(pod.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let sysctls = pod.sysctls.unwrap_or_default();
    let sysctls: Vec<_> = sysctls.iter().map(|it| (&*it.name, &*it.value)).collect();
    prop_assert_eq!(
        sysctls,
        [(
            "net.ipv4.ip_local_reserved_ports",
            "60001,60003,60004,60022"
        )]
    );
    prop_assert!(pod.run_as_user.unwrap() > 0);
    prop_assert!(spec.host_users.is_none() || pod.run_as_user.unwrap() <= 65535);
    for volume in spec.volumes.as_deref().unwrap() {
        prop_assert!(volume.host_path.is_none());
    }
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        let security = container.security_context.clone().unwrap();
        prop_assert_eq!(security.privileged, Some(false));
        prop_assert_eq!(security.run_as_non_root, Some(true));
        let capabilities = security.capabilities.unwrap();
        prop_assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
        let may_gain = security.allow_privilege_escalation.unwrap();
        prop_assert_eq!(capabilities.add.is_some(), may_gain);
        if may_gain {
            prop_assert!(spec.host_users == Some(false) || spec.runtime_class_name.is_some());
            prop_assert_eq!(
                class.spec.pod.as_ref().unwrap().allow_privilege_escalation,
                Some(true)
            );
        }
        let mounts = container.volume_mounts.as_deref().unwrap();
        let is_main = container.name == "workspace";
        // No code but ours, and the images', runs before the main container, and none of it sees the home.
        prop_assert_eq!(
            mounts.iter().any(|mount| mount.mount_path == "/projects"),
            is_main
        );
        prop_assert!(
            mounts
                .iter()
                .any(|mount| mount.mount_path == "/opt/workstead"
                    && (mount.read_only == Some(true) || container.name == "copy-tools"))
        );
        for variable in container.env.as_deref().unwrap_or_default() {
            prop_assert!(variable.value_from.is_none());
        }
    }
    let policy = resources.network_policy.spec.clone().unwrap();
    prop_assert_eq!(
        policy.policy_types,
        Some(vec!["Ingress".to_owned(), "Egress".to_owned()])
    );
    for rule in policy.ingress.iter().flatten() {
        prop_assert!(rule.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
        for peer in rule.from.as_ref().unwrap() {
            prop_assert!(
                peer.namespace_selector.is_some()
                    && peer.pod_selector.is_some()
                    && peer.ip_block.is_none()
            );
        }
    }
    for rule in policy.egress.iter().flatten() {
        prop_assert!(rule.to.as_ref().is_some_and(|to| !to.is_empty()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_pod_is_held_by_the_same_security_settings(workspace in any_workspace(), class in any_class()) {
        if let Some(valid) = valid(&workspace, &class) {
            check_security(&render(&valid, 1), &class)?;
        }
    }

    #[test]
    fn the_same_workspace_gives_the_same_bytes_however_its_lists_are_ordered(workspace in any_workspace(), class in any_class()) {
        let Some(first) = valid(&workspace, &class) else { return Ok(()) };
        let mut turned = workspace.clone();
        turned.spec.env.reverse();
        turned.spec.endpoints.reverse();
        let second = valid(&turned, &class).unwrap();
        prop_assert_eq!(yaml(&render(&first, 1)), yaml(&render(&first, 1)));
        prop_assert_eq!(yaml(&render(&first, 1)), yaml(&render(&second, 1)));
    }

    #[test]
    fn no_label_or_annotation_of_the_user_is_copied(workspace in any_workspace(), class in any_class()) {
        let Some(valid) = valid(&workspace, &class) else { return Ok(()) };
        let mut bare = workspace.clone();
        bare.metadata.labels = None;
        bare.metadata.annotations = None;
        let bare = super::tests::valid(&bare, &class).unwrap();
        prop_assert_eq!(yaml(&render(&valid, 1)), yaml(&render(&bare, 1)));
        let labels = render(&valid, 1).template().metadata.clone().unwrap().labels.unwrap();
        prop_assert_eq!(labels.get("workstead.dev/workspace"), workspace.metadata.name.as_ref());
    }

    #[test]
    fn programs_see_commands_and_variables_as_they_were_written(workspace in any_workspace(), class in any_class()) {
        let Some(valid) = valid(&workspace, &class) else { return Ok(()) };
        let container = render(&valid, 1).template().spec.clone().unwrap().containers[0].clone();
        let command: Vec<String> = container.command.unwrap().iter().skip(2).map(|word| expanded(word)).collect();
        prop_assert_eq!(command, workspace.spec.command.clone());
        let env = container.env.unwrap();
        for variable in &workspace.spec.env {
            let seen: Vec<String> = env.iter().filter(|e| e.name == variable.name).map(|e| expanded(e.value.as_deref().unwrap())).collect();
            prop_assert_eq!(seen, vec![variable.value.clone()]);
        }
    }

    #[test]
    fn selectors_name_this_very_workspace_and_match_its_pod(workspace in any_workspace(), class in any_class()) {
        let Some(valid) = valid(&workspace, &class) else { return Ok(()) };
        let resources = render(&valid, 1);
        let pod = resources.template().metadata.clone().unwrap().labels.unwrap();
        let deployment = resources.deployment.spec.clone().unwrap().selector.match_labels.unwrap();
        let mut selectors = vec![deployment, resources.network_policy.spec.clone().unwrap().pod_selector.unwrap().match_labels.unwrap()];
        selectors.extend(resources.service.as_ref().map(|service| service.spec.clone().unwrap().selector.unwrap()));
        for selector in selectors {
            prop_assert!(selector.values().any(|value| Some(value) == workspace.metadata.uid.as_ref()));
            for (key, value) in selector {
                prop_assert_eq!(pod.get(&key), Some(&value));
            }
        }
    }

    #[test]
    fn every_object_says_whose_it_is(workspace in any_workspace(), class in any_class()) {
        let Some(valid) = valid(&workspace, &class) else { return Ok(()) };
        for object in render(&valid, 1).to_values() {
            prop_assert_eq!(&object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "workstead");
            prop_assert!(object["apiVersion"].is_string() && object["kind"].is_string());
            let owned = object["metadata"]["ownerReferences"][0]["controller"] == json!(true);
            prop_assert!(owned || object["kind"] == "PersistentVolumeClaim");
        }
    }
}
