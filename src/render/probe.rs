//! The pod that finds out whether tools can be mounted as an image volume and run from there.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ImageVolumeSource, LocalObjectReference, Pod, PodSecurityContext,
    PodSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use workstead_link as link;

use crate::model::names::{MANAGED_BY, MANAGED_BY_LABEL, PROBE_IMAGE_VOLUMES, PROBE_LABEL};

/// The kubelet ends it after this: an image that does not come holds up nobody.
pub const PROBE_SECONDS: i64 = 60;
/// As the workspaces of a class that says nothing.
const USER: i64 = 10001;
const TOOLS: &str = "tools";

/// What a probe pod is made of.
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    /// The namespace of the installation.
    pub namespace: &'a str,
    /// Name of the pod.
    pub name: String,
    /// The tools image: the pod's own, and mounted where workspaces have it.
    pub image: &'a str,
    /// The node that it runs on: that of a scheduler would be any.
    pub node: &'a str,
    /// Secrets of that namespace with registry credentials.
    pub pull_secrets: &'a [String],
}

/// The pod. It is as restricted as a workspace, holds no credentials of Kubernetes, and ends by itself.
pub fn probe(question: &Probe<'_>) -> Pod {
    let amounts = |cpu: &str, memory: &str| {
        let pairs = [("cpu", cpu), ("memory", memory)];
        let pairs = pairs.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        Some(pairs.into())
    };
    let secrets = question
        .pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    let container = Container {
        name: "probe".to_owned(),
        image: Some(question.image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![
            link::SUPERVISOR_PATH.to_owned(),
            "--version".to_owned(),
        ]),
        resources: Some(ResourceRequirements {
            requests: amounts("10m", "16Mi"),
            limits: amounts("500m", "64Mi"),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            privileged: Some(false),
            allow_privilege_escalation: Some(false),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![VolumeMount {
            name: TOOLS.to_owned(),
            mount_path: link::TOOLS_PATH.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(question.name.clone()),
            namespace: Some(question.namespace.to_owned()),
            labels: Some(labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: Some(question.node.to_owned()),
            // Where workspaces may run only by a toleration, it must not be driven away.
            tolerations: Some(vec![Toleration {
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            }]),
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(PROBE_SECONDS),
            termination_grace_period_seconds: Some(1),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            image_pull_secrets: (!question.pull_secrets.is_empty()).then(|| secrets.collect()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(0),
                fs_group: Some(0),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![container],
            volumes: Some(vec![tools(question.image)]),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// The volume that is tried.
pub fn tools(image: &str) -> Volume {
    Volume {
        name: TOOLS.to_owned(),
        image: Some(ImageVolumeSource {
            reference: Some(image.to_owned()),
            pull_policy: Some("IfNotPresent".to_owned()),
        }),
        ..Volume::default()
    }
}

/// Labels of what is made to find out about image volumes.
pub fn labels() -> std::collections::BTreeMap<String, String> {
    [
        (MANAGED_BY_LABEL, MANAGED_BY),
        (PROBE_LABEL, PROBE_IMAGE_VOLUMES),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
