use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::model::fixtures::{CLUSTER, installation, valid_class, workspace_with};
use crate::model::quota::WhichQuota;

fn check(
    workspace: &Workspace,
    class: &ValidatedClass,
    volume: Option<&VolumeFacts>,
) -> Result<ValidatedWorkspace, Failure> {
    let installation = installation();
    validate(&Inputs {
        workspace,
        class,
        exceeded: None,
        volume,
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    })
}

fn volume(owner: Option<&str>, size: &str) -> VolumeFacts {
    VolumeFacts {
        name: "api-home".to_owned(),
        owner: owner.map(str::to_owned),
        workspace_uid: Some("an earlier one".to_owned()),
        requested: Amount::parse(size).ok(),
        ..VolumeFacts::default()
    }
}

#[test]
fn a_minimal_workspace_gets_the_defaults_of_its_class() {
    let valid = check(&workspace_with(json!({})), &valid_class(json!({})), None).unwrap();
    assert_eq!(valid.storage.size.to_string(), "10Gi");
    assert_eq!(valid.pod.run_as_user, 10001);
    assert_eq!(valid.deadlines, Deadlines::default());
    assert_eq!(
        (valid.command.len(), valid.url, valid.notices.len()),
        (0, None, 0)
    );
}

/// What the author can mend: each names its field.
#[rstest]
#[case(json!({"image": "Not An Image"}), json!({}), Cause::ImageNotFound, "spec.image")]
#[case(json!({"image": "a@sha256:1"}), json!({}), Cause::ImageNotFound, "spec.image")]
#[case(json!({"owner": "alice smith"}), json!({}), Cause::ConfigInvalid, "spec.owner")]
#[case(json!({"args": ["x"]}), json!({}), Cause::ConfigInvalid, "spec.args")]
#[case(json!({"command": [""]}), json!({}), Cause::ConfigInvalid, "spec.command")]
#[case(json!({"command": ["a\u{0}"]}), json!({}), Cause::ConfigInvalid, "spec.command")]
#[case(json!({"env": [{"name": "1X", "value": ""}]}), json!({}), Cause::ConfigInvalid, "spec.env[1X]")]
#[case(json!({"env": [{"name": "WORKSTEAD_X", "value": ""}]}), json!({}), Cause::ConfigInvalid, "spec.env[WORKSTEAD_X]")]
#[case(json!({"env": [{"name": "X", "value": ""}, {"name": "X", "value": "1"}]}), json!({}), Cause::ConfigInvalid, "spec.env[X]")]
#[case(json!({"endpoints": [{"name": "Web", "port": 1}]}), json!({}), Cause::ConfigInvalid, "spec.endpoints[Web]")]
#[case(json!({"endpoints": [{"name": "ssh", "port": 60022}]}), json!({}), Cause::ConfigInvalid, "spec.endpoints[ssh]")]
#[case(json!({"endpoints": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}), json!({}), Cause::ConfigInvalid, "spec.endpoints[b]")]
#[case(json!({"endpoints": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}), json!({}), Cause::ConfigInvalid, "spec.endpoints[a]")]
#[case(json!({"storage": {"size": "lots"}}), json!({}), Cause::ConfigInvalid, "spec.storage.size")]
#[case(json!({"storage": {"size": "0"}}), json!({}), Cause::ConfigInvalid, "spec.storage.size")]
#[case(json!({"timeouts": {"stopping": "1s"}}), json!({}), Cause::ConfigInvalid, "spec.timeouts.stopping")]
#[case(json!({"timeouts": {"startup": "5 minutes"}}), json!({}), Cause::ConfigInvalid, "spec.timeouts.startup")]
#[case(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}), json!({}), Cause::ConfigInvalid, "spec.resources.requests.cpu")]
#[case(json!({"resources": {"limits": {"memory": "8Gi"}}}), json!({"resources": {"max": {"memory": "4Gi"}}}), Cause::ClassInvalid, "spec.resources.limits.memory")]
#[case(json!({"storage": {"size": "20Gi"}}), json!({"storage": {"max": "15Gi"}}), Cause::ClassInvalid, "spec.storage.size")]
#[case(json!({"timeouts": {"startup": "2h"}}), json!({}), Cause::ClassInvalid, "spec.timeouts.startup")]
#[case(json!({"timeouts": {"idle": "1m"}}), json!({}), Cause::ConfigInvalid, "spec.timeouts.idle")]
#[case(json!({"timeouts": {"idle": "37h"}}), json!({}), Cause::ClassInvalid, "spec.timeouts.idle")]
#[case(json!({"timeouts": {"maxActive": "9h"}}), json!({"timeouts": {"longest": {"maxActive": "8h"}}}), Cause::ClassInvalid, "spec.timeouts.maxActive")]
#[case(json!({"timeouts": {"maxStopped": "745h"}}), json!({}), Cause::ClassInvalid, "spec.timeouts.maxStopped")]
#[case(json!({"timeouts": {"maxLifetime": "30m"}}), json!({}), Cause::ConfigInvalid, "spec.timeouts.maxLifetime")]
#[case(json!({"timeouts": {"keepAlive": ["cargo build"]}}), json!({}), Cause::ConfigInvalid, "spec.timeouts.keepAlive")]
fn what_the_author_can_mend_is_named_by_its_field(
    #[case] spec: Value,
    #[case] class: Value,
    #[case] cause: Cause,
    #[case] field: &str,
) {
    let failure = check(&workspace_with(spec), &valid_class(class), None).unwrap_err();
    assert_eq!(
        (failure.cause, failure.blame),
        (cause, Blame::User),
        "{failure:?}"
    );
    assert!(failure.message.starts_with(field), "{failure:?}");
    assert!(
        failure.next_step.contains(field.split('[').next().unwrap()),
        "{failure:?}"
    );
}

#[test]
fn over_a_cap_the_failure_names_class_field_and_cap() {
    let class = valid_class(json!({"resources": {"max": {"memory": "4Gi"}}}));
    let failure = check(
        &workspace_with(json!({"resources": {"requests": {"memory": "8Gi"}}})),
        &class,
        None,
    )
    .unwrap_err();
    assert_eq!(
        failure.message,
        "spec.resources.requests.memory is 8Gi, and class 'standard' allows 4Gi"
    );
    assert_eq!(
        failure.evidence,
        "spec.resources.max.memory of WorkspaceClass 'standard' is 4Gi"
    );
}

#[test]
fn a_volume_of_another_owner_is_foreign_and_both_owners_are_named() {
    let class = valid_class(json!({}));
    let failure = check(
        &workspace_with(json!({})),
        &class,
        Some(&volume(Some("bob@example.com"), "10Gi")),
    )
    .unwrap_err();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::VolumeForeign, Blame::User)
    );
    for word in ["alice@example.com", "bob@example.com", "api-home"] {
        assert!(failure.message.contains(word), "{failure:?}");
    }
    let nobody = check(
        &workspace_with(json!({})),
        &class,
        Some(&volume(None, "10Gi")),
    )
    .unwrap_err();
    assert_eq!(nobody.cause, Cause::VolumeForeign);
}

#[test]
fn a_retained_volume_of_the_same_owner_is_adopted() {
    let class = valid_class(json!({}));
    let valid = check(
        &workspace_with(json!({})),
        &class,
        Some(&volume(Some("alice@example.com"), "30Gi")),
    )
    .unwrap();
    assert_eq!(valid.storage.size.to_string(), "30Gi");
}

#[test]
fn a_volume_that_is_still_being_deleted_is_waited_for() {
    let mut leaving = volume(Some("alice@example.com"), "10Gi");
    leaving.deleting = true;
    let failure = check(
        &workspace_with(json!({})),
        &valid_class(json!({})),
        Some(&leaving),
    )
    .unwrap_err();
    assert_eq!(
        (failure.cause, failure.retryable),
        (Cause::VolumeBind, true)
    );
}

#[test]
fn a_volume_grows_and_never_shrinks() {
    let class = valid_class(json!({"storage": {"max": "15Gi"}}));
    let existing = volume(Some("alice@example.com"), "20Gi");
    let size = |text: &str| {
        check(
            &workspace_with(json!({"storage": {"size": text}})),
            &class,
            Some(&existing),
        )
    };
    // Over a cap that was lowered later: it stays, and can't grow.
    assert_eq!(size("20Gi").unwrap().storage.size.to_string(), "20Gi");
    assert_eq!(size("20480Mi").unwrap().storage.size.to_string(), "20Gi");
    let shrunk = size("10Gi").unwrap_err();
    assert_eq!(shrunk.cause, Cause::ConfigInvalid);
    assert!(
        shrunk.message.contains("can't shrink: write 20Gi or more"),
        "{shrunk:?}"
    );
    assert_eq!(size("30Gi").unwrap_err().cause, Cause::ClassInvalid);
}

#[test]
fn a_larger_default_is_for_new_volumes_alone() {
    let class = valid_class(json!({"storage": {"default": "50Gi"}}));
    let size = |volume: Option<&VolumeFacts>| {
        let valid = check(&workspace_with(json!({})), &class, volume).unwrap();
        valid.storage.size.to_string()
    };
    let existing = volume(Some("alice@example.com"), "10Gi");
    assert_eq!(size(Some(&existing)), "10Gi");
    assert_eq!(size(None), "50Gi");
}

#[test]
fn a_quota_comes_before_all_else() {
    let workspace = workspace_with(json!({"image": "Not An Image"}));
    let class = valid_class(json!({}));
    let exceeded = Exceeded {
        quota: WhichQuota::Installation,
        used: 3,
        limit: 3,
        own: vec![],
        stays_in: None,
    };
    let installation = installation();
    let inputs = Inputs {
        workspace: &workspace,
        class: &class,
        exceeded: Some(&exceeded),
        volume: None,
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    };
    assert_eq!(validate(&inputs).unwrap_err().cause, Cause::QuotaExceeded);
}

#[test]
fn where_the_cluster_has_no_user_namespaces_nothing_that_rests_on_them_stays() {
    let workspace = workspace_with(json!({}));
    let installation = installation();
    let with = |user_namespaces: Option<bool>, class: &ValidatedClass| {
        let cluster = Cluster {
            minor: 36,
            user_namespaces,
            image_volumes: None,
        };
        validate(&Inputs {
            workspace: &workspace,
            class,
            exceeded: None,
            volume: None,
            credentials: &[],
            cluster,
            installation: &installation,
        })
        .unwrap()
    };
    let check = |class: &ValidatedClass| with(Some(false), class);
    let alone = check(&valid_class(
        json!({"pod": {"userNamespaces": true, "allowPrivilegeEscalation": true}}),
    ));
    assert!(!alone.pod.user_namespaces && !alone.pod.allow_privilege_escalation);
    assert_eq!(alone.notices.len(), 2);
    let isolated = check(&valid_class(
        json!({"pod": {"userNamespaces": true, "allowPrivilegeEscalation": true, "runtimeClassName": "kata"}}),
    ));
    assert!(!isolated.pod.user_namespaces && isolated.pod.allow_privilege_escalation);
    // What nobody could tell is not relied on, and the status says so.
    let class =
        valid_class(json!({"pod": {"userNamespaces": true, "allowPrivilegeEscalation": true}}));
    let unsure = with(None, &class);
    assert!(!unsure.pod.user_namespaces && !unsure.pod.allow_privilege_escalation);
    assert!(
        unsure.notices[0].contains("could not be told"),
        "{:?}",
        unsure.notices
    );
    assert!(with(Some(true), &class).pod.user_namespaces);
}

#[test]
fn with_a_base_domain_the_workspace_has_a_url() {
    let workspace = workspace_with(json!({}));
    let class = valid_class(json!({}));
    let mut installation = installation();
    installation.base_domain = DnsSubdomain::new("dev.example.com").ok();
    let inputs = Inputs {
        workspace: &workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    };
    assert_eq!(
        validate(&inputs).unwrap().url.as_deref(),
        Some("https://api.dev.example.com")
    );
}

#[rstest]
#[case("a--b")]
#[case("3000-a")]
#[case("a.b")]
fn names_that_break_host_names_are_refused(#[case] name: &str) {
    let mut workspace = workspace_with(json!({}));
    workspace.metadata.name = Some(name.to_owned());
    let failure = check(&workspace, &valid_class(json!({})), None).unwrap_err();
    assert!(failure.message.starts_with("metadata.name"), "{failure:?}");
}

#[test]
fn variables_beyond_half_a_mebibyte_are_refused() {
    let env: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("X{n}"), "value": "x".repeat(32_000)}))
        .collect();
    let failure = check(
        &workspace_with(json!({"env": env})),
        &valid_class(json!({})),
        None,
    )
    .unwrap_err();
    assert!(failure.message.contains("512 KiB"), "{failure:?}");
}
