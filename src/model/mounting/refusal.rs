//! What kubelets and runtimes say when they can't mount an image, or run a program from it.

use workstead_link as link;

use crate::model::evidence::{EventFacts, PodFacts};
use crate::model::failures::redact::one_line;

/// Waiting reasons about making and starting a container.
const MAKING: [&str; 5] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
    "ContainerCannotRun",
];
/// Reasons of an exit that never was a run.
const NEVER_RAN: [&str; 3] = ["StartError", "ContainerCannotRun", "RunContainerError"];
/// What passes by itself says nothing of what a runtime can do.
const PASSES: [&str; 6] = [
    "deadline exceeded",
    "context canceled",
    "connection refused",
    "transport is closing",
    "is reserved for",
    "no space left",
];
/// The place in the user's image can't hold a mount, or the program is of another architecture: a copy fares no better.
const COPY_NO_BETTER: [&str; 4] = [
    "not a directory",
    "symbolic link",
    "exec format error",
    "file exists",
];
/// Reasons of Events about volumes that can't be mounted.
const MOUNTING: [&str; 2] = ["FailedMount", "FailedCreatePodSandBox"];

/// What a node said when it refused to mount the image of the tools or of the editor, or to run the first process from
/// there. None when nothing of the kind was said, or when a copy would fare no better. `images` are names that others
/// chose and that runtimes repeat: they are taken out before anything is read into the text.
pub fn refused(pod: &PodFacts, events: &[EventFacts], images: &[&str]) -> Option<String> {
    let containers = pod.containers.iter().filter(|one| !one.is_copying());
    let mut said = containers.flat_map(|container| {
        let waits = container.waits_for(&MAKING).map(|(_, message)| message);
        let exit = container.last_exit.as_ref();
        let exit = exit.filter(|exit| NEVER_RAN.contains(&exit.reason.as_str()));
        waits
            .into_iter()
            .chain(exit.map(|exit| exit.message.as_str()))
    });
    if let Some(said) = said.find(|said| is_refusal(said, images)) {
        return Some(one_line(said, super::SAID));
    }
    let about = |event: &&EventFacts| {
        event.name == pod.name && MOUNTING.contains(&event.reason.as_str()) && no_plugin(event)
    };
    let event = events.iter().find(about)?;
    Some(one_line(&event.message, super::SAID))
}

/// Whether a kubelet has no notion of image volumes: then it waits for the volume for ever.
fn no_plugin(event: &EventFacts) -> bool {
    let of_ours = [
        "\"tools\"",
        "\"editor\"",
        "volumes=[tools",
        "volumes=[editor",
    ];
    event.message.contains("no volume plugin matched")
        && of_ours.iter().any(|name| event.message.contains(name))
}

fn is_refusal(said: &str, images: &[&str]) -> bool {
    let mut text = said.to_owned();
    for image in images.iter().filter(|image| !image.is_empty()) {
        text = text.replace(image, "");
    }
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    is_about_tools(&text) && !has(&PASSES) && (is_about_images(&lower) || !has(&COPY_NO_BETTER))
}

/// Whether a runtime complains about the tools: their mount, or the first process that lies in it.
pub fn is_about_tools(said: &str) -> bool {
    said.contains(link::TOOLS_PATH) || is_about_images(&said.to_ascii_lowercase())
}

/// Whether a text, in lower case, is about mounting an image. Runtimes that do not know image volumes see a mount without a
/// source; kubelets that don't, a volume that is not there.
fn is_about_images(lower: &str) -> bool {
    const WORDS: [&str; 8] = [
        "image volume",
        "imagevolume",
        "image mount",
        "failed to mkdir \"\"",
        "failed to stat \"\"",
        "mkdir : no such file",
        "cannot find volume \"tools\"",
        "cannot find volume \"editor\"",
    ];
    WORDS.iter().any(|word| lower.contains(word))
}
