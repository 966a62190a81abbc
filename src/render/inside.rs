//! What comes into a pod beside the user's image: home, tools, editor, and the files of the first process.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, HTTPGetAction, ImageVolumeSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, Probe, ProjectedVolumeSource, SecretProjection,
    SecretVolumeSource, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use workstead_link as link;

use crate::api::class::Delivery;
use crate::model::identity::ImageReference;
use crate::model::names::{
    COPY_EDITOR_CONTAINER, COPY_TOOLS_CONTAINER, CREDENTIAL_KEYS, DnsSubdomain, HOME_PATH,
};
use crate::model::variables::pin::{PinnedFile, VariablesPin};
use crate::model::workspace::ValidatedWorkspace;
use crate::render::pod;

/// Names of volumes inside the pod.
const HOME: &str = "home";
const TOOLS: &str = "tools";
const EDITOR: &str = "editor";
const RUN: &str = "run";
const SUPERVISOR: &str = "supervisor";
const CREDENTIALS: &str = "git-credentials";
const FILES: &str = "files";

/// Where the first process lies in the tools image itself.
const COPIER: &str = "/bin/workstead-supervisor";
/// What the first process does as `copy FROM TO`: it copies a tree, and passes over what is mounted into it.
const COPY: &str = "copy";
/// Sockets and links, not data: in memory, and counted as such.
const RUN_SIZE: &str = "16Mi";
/// Keys are for the user of the pod, whose group is 0, and for nobody else.
const SECRET_MODE: i32 = 0o440;

/// The volumes of the pod.
pub fn volumes(workspace: &ValidatedWorkspace) -> Vec<Volume> {
    let inside = &workspace.inside;
    let name = &workspace.identity.name;
    let delivered = |name, image| delivered(name, image, inside.tools.delivery);
    let mut volumes = vec![
        Volume {
            name: HOME.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: name.volume(),
                read_only: None,
            }),
            ..Volume::default()
        },
        delivered(TOOLS, &inside.tools.image),
        Volume {
            name: RUN.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: Some(Quantity(RUN_SIZE.to_owned())),
            }),
            ..Volume::default()
        },
        Volume {
            name: SUPERVISOR.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(name.supervisor()),
                default_mode: Some(SECRET_MODE),
                items: Some(
                    [link::TLS_CERTIFICATE, link::TLS_KEY, link::TLS_CLIENTS]
                        .map(|key| item(key, key.to_owned()))
                        .to_vec(),
                ),
                optional: None,
            }),
            ..Volume::default()
        },
    ];
    if !inside.credentials.is_empty() {
        volumes.push(credentials(inside.credentials.iter()));
    }
    volumes.extend(workspace.variables.pin.as_ref().and_then(files));
    volumes.extend(
        inside
            .editor
            .as_ref()
            .map(|editor| delivered(EDITOR, &editor.image)),
    );
    volumes
}

/// An image as a volume, or an empty one that it is copied into.
fn delivered(name: &str, image: &ImageReference, delivery: Delivery) -> Volume {
    let mut volume = Volume {
        name: name.to_owned(),
        ..Volume::default()
    };
    match delivery {
        Delivery::ImageVolume => {
            volume.image = Some(ImageVolumeSource {
                reference: Some(image.to_string()),
                pull_policy: Some("IfNotPresent".to_owned()),
            });
        }
        Delivery::Copy => volume.empty_dir = Some(EmptyDirVolumeSource::default()),
    }
    volume
}

/// One volume for all Secrets with credentials, a folder each. It follows when they change. A Secret or key that is gone
/// leaves its place empty: a repair of the pod must not hang on it.
fn credentials<'a>(secrets: impl Iterator<Item = &'a DnsSubdomain>) -> Volume {
    let source = |name: &DnsSubdomain| VolumeProjection {
        secret: Some(SecretProjection {
            name: name.to_string(),
            optional: Some(true),
            items: Some(
                CREDENTIAL_KEYS
                    .map(|key| item(key, format!("{name}/{key}")))
                    .to_vec(),
            ),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: CREDENTIALS.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(SECRET_MODE),
            sources: Some(secrets.map(source).collect()),
        }),
        ..Volume::default()
    }
}

/// The files of sealed sets, each at its path. The kubelet lets group 0 read them, whatever their mode.
fn files(pin: &VariablesPin) -> Option<Volume> {
    let file = |file: &PinnedFile| KeyToPath {
        key: file.key.clone(),
        path: file.path.to_string(),
        mode: Some(i32::from(file.mode)),
    };
    (!pin.files.is_empty()).then(|| Volume {
        name: FILES.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(pin.secret.clone()),
            default_mode: Some(SECRET_MODE),
            items: Some(pin.files.iter().map(file).collect()),
            optional: None,
        }),
        ..Volume::default()
    })
}

fn item(key: &str, path: String) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path,
        mode: None,
    }
}

/// Where the main container has them.
pub fn mounts(workspace: &ValidatedWorkspace) -> Vec<VolumeMount> {
    let inside = &workspace.inside;
    let mut mounts = vec![
        writable(HOME, HOME_PATH),
        read_only(TOOLS, link::TOOLS_PATH),
        writable(RUN, link::RUN_PATH),
        read_only(SUPERVISOR, link::SUPERVISOR_FILES_PATH),
    ];
    if !inside.credentials.is_empty() {
        mounts.push(read_only(CREDENTIALS, link::CREDENTIALS_PATH));
    }
    let pin = workspace.variables.pin.as_ref();
    if pin.is_some_and(|pin| !pin.files.is_empty()) {
        mounts.push(read_only(FILES, link::FILES_PATH));
    }
    if inside.editor.is_some() {
        mounts.push(read_only(EDITOR, link::EDITOR_PATH));
    }
    mounts
}

fn writable(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..writable(name, path)
    }
}

/// Where nothing can be mounted from an image, the images themselves copy what they hold: tools first, and with them the
/// editor. None of this is the user's code, and nobody's home is mounted there.
pub fn copying(workspace: &ValidatedWorkspace) -> Option<Vec<Container>> {
    let inside = &workspace.inside;
    if inside.tools.delivery == Delivery::ImageVolume {
        return None;
    }
    let container =
        |name: &str, image: &ImageReference, copier: &str, to: &str, mounts| Container {
            name: name.to_owned(),
            image: Some(image.to_string()),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            command: Some([copier, COPY, "/", to].map(str::to_owned).to_vec()),
            resources: pod::resources(workspace),
            security_context: Some(pod::container_security(workspace)),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(mounts),
            ..Container::default()
        };
    let tools = container(
        COPY_TOOLS_CONTAINER,
        &inside.tools.image,
        COPIER,
        link::TOOLS_PATH,
        vec![writable(TOOLS, link::TOOLS_PATH)],
    );
    let editor = inside.editor.as_ref().map(|editor| {
        container(
            COPY_EDITOR_CONTAINER,
            &editor.image,
            link::SUPERVISOR_PATH,
            link::EDITOR_PATH,
            vec![
                read_only(TOOLS, link::TOOLS_PATH),
                writable(EDITOR, link::EDITOR_PATH),
            ],
        )
    });
    Some(std::iter::once(tools).chain(editor).collect())
}

/// What the kubelet asks: whether the editor answers. Without one there is nothing to wait for, and nobody is asked: a
/// kubelet asks once a second, and the first time before the first process can answer.
pub fn probe(workspace: &ValidatedWorkspace) -> Option<Probe> {
    workspace.inside.editor.as_ref()?;
    Some(Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/ready".to_owned()),
            port: IntOrString::Int(i32::from(link::READY_PORT)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    })
}
