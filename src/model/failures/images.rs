//! Images that can't be pulled.

use jiff::Timestamp;

use super::{Due, Step, Suspect, about, trouble_since};
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure};
use crate::model::evidence::{ContainerFacts, Evidence, PodFacts};
use crate::model::failures::redact::{cap, one_line};

/// Waiting reasons of the kubelet that are about images.
const REASONS: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
    "ErrImagePullBackOff",
];

/// A container waits for an image that does not come.
pub fn pull(
    evidence: &Evidence,
    pod: &PodFacts,
    container: &ContainerFacts,
    now: Timestamp,
) -> Option<Suspect> {
    let (reason, message) = container.waits_for(&REASONS)?;
    let details = details(evidence, pod, message);
    let said = one_line(details.unwrap_or(message), 1024);
    if container.is_copying() || brought(evidence, container, &said).is_some() {
        return Some(tools_unavailable(
            evidence, pod, container, reason, &said, now,
        ));
    }
    let cause = match (reason, details) {
        ("InvalidImageName", _) => Cause::ImageNotFound,
        (_, Some(details)) => classify(details, &container.image),
        // A bare back-off says nothing new: what was known before still holds.
        (_, None) => evidence
            .previous
            .map(|previous| previous.cause)
            .filter(|cause| super::same_trouble(*cause, Cause::ImageNotFound))
            .unwrap_or(Cause::ImagePullTransient),
    };
    let image = one_line(&container.image, 512);
    let (blame, message, next_step) = words(cause, &image, &said);
    let due = match cause {
        Cause::ImagePullTransient => Due::WithStartup,
        _ => Due::At(
            evidence
                .deadlines
                .image_pull
                .after(trouble_since(evidence, cause, now)),
        ),
    };
    Some(Suspect {
        step: Step::Image,
        due,
        shown: true,
        until: None,
        failure: Failure {
            cause,
            blame,
            message,
            evidence: cap(format!(
                "{}, container {}: {reason}: {said}",
                about(pod),
                container.name
            )),
            retryable: true,
            next_step,
            since: None,
        },
    })
}

fn words(cause: Cause, image: &str, said: &str) -> (Blame, String, String) {
    match cause {
        Cause::ImageNotFound => (
            Blame::User,
            format!("there is no image {image}: {said}"),
            format!("correct spec.image ({image}), or push the image"),
        ),
        Cause::ImageAuth => (
            Blame::User,
            format!("the registry does not let image {image} be pulled: {said}"),
            "correct spec.image if the name is wrong, or have the Secret with the registry's credentials put right (imagePullSecrets of the class)"
                .to_owned(),
        ),
        _ => (
            Blame::Platform,
            format!("the registry does not deliver image {image}: {said}"),
            format!("see the registry {}; the pull is tried again", registry(image)),
        ),
    }
}

/// What the registry said: in the waiting message itself, or in the newest Event about a failed pull.
fn details<'a>(evidence: &'a Evidence, pod: &'a PodFacts, message: &'a str) -> Option<&'a str> {
    let bare = message.is_empty()
        || (message.starts_with("Back-off pulling image") && !message.contains(": "));
    if !bare {
        return Some(message);
    }
    evidence
        .facts
        .events_of(&pod.name, &["Failed"])
        .map(|event| event.message.as_str())
        .find(|text| text.contains("pull"))
}

/// What a registry's answer means. The name of the image is taken out first: it may hold any word.
pub(super) fn classify(text: &str, image: &str) -> Cause {
    let text = if image.is_empty() {
        text.to_owned()
    } else {
        text.replace(image, "")
    };
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    const AUTH: [&str; 8] = [
        "unauthorized",
        "denied",
        "authorization failed",
        "authentication required",
        "no basic auth credentials",
        "403 forbidden",
        "401 unauthorized",
        "invalid username/password",
    ];
    const MISSING: [&str; 6] = [
        "not found",
        "manifest unknown",
        "name unknown",
        "repository name not known",
        "no match for platform",
        "invalid reference format",
    ];
    // DNS and TLS trouble may mention anything; it is not an answer of the registry.
    const UNREACHABLE: [&str; 6] = [
        "no such host",
        "dial tcp",
        "i/o timeout",
        "tls:",
        "x509:",
        "connection refused",
    ];
    if has(&UNREACHABLE) {
        Cause::ImagePullTransient
    } else if has(&AUTH) {
        Cause::ImageAuth
    } else if has(&MISSING) {
        Cause::ImageNotFound
    } else {
        Cause::ImagePullTransient
    }
}

/// The image, beside that of the container itself, that a message is about: the editor's or that of the tools.
fn brought<'a>(evidence: &'a Evidence, container: &ContainerFacts, said: &str) -> Option<&'a str> {
    [&evidence.editor_image, &evidence.tools_image]
        .into_iter()
        .map(String::as_str)
        .find(|image| !image.is_empty() && container.image != *image && said.contains(image))
}

/// The image of tools or editor does not come, or the runtime can't mount images.
pub(super) fn tools_unavailable(
    evidence: &Evidence,
    pod: &PodFacts,
    container: &ContainerFacts,
    reason: &str,
    said: &str,
    now: Timestamp,
) -> Suspect {
    let pulling = REASONS.contains(&reason);
    let image = match brought(evidence, container, said) {
        Some(image) => image,
        None if container.is_copying() => container.image.as_str(),
        None => evidence.tools_image.as_str(),
    };
    let what = if image == evidence.editor_image && !image.is_empty() {
        "the editor"
    } else {
        "Workstead's tools"
    };
    let transient = pulling && classify(said, image) == Cause::ImagePullTransient;
    let due = match (pulling, transient) {
        (true, true) => Due::WithStartup,
        (true, false) => Due::At(evidence.deadlines.image_pull.after(trouble_since(
            evidence,
            Cause::ToolsUnavailable,
            now,
        ))),
        (false, _) => Due::AtOnce,
    };
    let node = pod.node.as_deref().unwrap_or("the node");
    Suspect {
        step: Step::Image,
        due,
        shown: true,
        until: None,
        failure: Failure {
            cause: Cause::ToolsUnavailable,
            blame: Blame::Platform,
            message: format!("{what} can't be mounted: {said}"),
            evidence: cap(format!(
                "{}, container {}: {reason}: {said}",
                about(pod),
                container.name
            )),
            retryable: true,
            next_step: format!(
                "see whether {node} can pull {} and whether its container runtime mounts image volumes (containerd 2.1 or later, CRI-O 1.33 or later); tools.delivery: Copy of the class does without these, and Auto goes over to it by itself",
                one_line(image, 512)
            ),
            since: None,
        },
    }
}

/// The registry in a reference.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}
