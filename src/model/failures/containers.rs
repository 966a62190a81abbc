//! Containers that can't be made, and containers that end.

use jiff::Timestamp;

use super::{Due, Step, Suspect, about, images, trouble_since};
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure};
use crate::model::duration::Span;
use crate::model::evidence::{ContainerFacts, ContainerState, Evidence, Exit, PodFacts};
use crate::model::failures::redact::{cap, log_tail, one_line};
use crate::model::mounting::is_about_tools;

/// Waiting reasons of the kubelet that are about making a container.
const REASONS: [&str; 7] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
    "PreStartHookError",
    "PostStartHookError",
    "ContainerCannotRun",
];
/// Reasons of an exit that never was a run.
const NEVER_RAN: [&str; 3] = ["StartError", "ContainerCannotRun", "RunContainerError"];
/// A container that was started again so often counts as looping.
const LOOP_RESTARTS: i32 = 3;
/// And only while its last exit is this young.
const LOOP_WINDOW: Span = Span::from_seconds(600);

/// A container can't be made from what the pod says.
pub fn making(
    evidence: &Evidence,
    pod: &PodFacts,
    container: &ContainerFacts,
    now: Timestamp,
) -> Option<Suspect> {
    let (reason, message) = container.waits_for(&REASONS)?;
    let said = one_line(message, 1024);
    if is_about_tools(&said) || container.is_copying() {
        return Some(images::tools_unavailable(
            evidence, pod, container, reason, &said, now,
        ));
    }
    let since = trouble_since(evidence, Cause::ConfigInvalid, now);
    Some(Suspect {
        step: Step::Config,
        due: Due::At(evidence.deadlines.container_config.after(since)),
        shown: true,
        until: None,
        failure: config_invalid(pod, container, reason, &said),
    })
}

fn config_invalid(pod: &PodFacts, container: &ContainerFacts, reason: &str, said: &str) -> Failure {
    Failure {
        cause: Cause::ConfigInvalid,
        blame: Blame::User,
        message: format!("the container can't be made: {said}"),
        evidence: cap(format!(
            "{}, container {}: {reason}: {said}",
            about(pod),
            container.name
        )),
        retryable: true,
        next_step: "correct what the message names in the file of the Workspace".to_owned(),
        since: None,
    }
}

/// A container ended, once or again and again.
pub fn exited(pod: &PodFacts, container: &ContainerFacts, now: Timestamp) -> Option<Suspect> {
    let exit = container.last_exit.as_ref()?;
    if container.ready
        || (container.is_init && exit.code == 0 && container.state == ContainerState::Terminated)
    {
        return None;
    }
    let backing_off = container.waits_for(&["CrashLoopBackOff"]).is_some();
    let until = exit.at.map(|at| LOOP_WINDOW.after(at));
    let young = until.is_none_or(|until| now < until);
    let looping = backing_off || (container.restarts >= LOOP_RESTARTS && young);
    let step = if container.is_init {
        Step::Init
    } else {
        Step::Main
    };
    let failure = exit_failure(pod, container, exit, looping);
    Some(Suspect {
        step,
        due: if looping {
            Due::AtOnce
        } else {
            Due::WithStartup
        },
        shown: true,
        until: until.filter(|_| looping && !backing_off),
        failure,
    })
}

fn exit_failure(pod: &PodFacts, container: &ContainerFacts, exit: &Exit, looping: bool) -> Failure {
    if NEVER_RAN.contains(&exit.reason.as_str()) {
        return never_ran(pod, container, exit);
    }
    let (cause, blame, message, next_step) = exit_words(container, exit, looping);
    let log = log_tail(&exit.message);
    let log = if log.is_empty() {
        String::new()
    } else {
        format!("\n{log}")
    };
    let reason = if exit.reason.is_empty() {
        "ended"
    } else {
        &exit.reason
    };
    Failure {
        cause,
        blame,
        message,
        evidence: cap(format!(
            "{}, container {}: {reason}, exit code {}{log}",
            about(pod),
            container.name,
            exit.code
        )),
        retryable: true,
        next_step,
        since: None,
    }
}

/// The runtime made the container and could not start its first process.
fn never_ran(pod: &PodFacts, container: &ContainerFacts, exit: &Exit) -> Failure {
    let said = one_line(&exit.message, 1024);
    let failure = config_invalid(pod, container, &exit.reason, &said);
    if !is_about_tools(&said) && !container.is_copying() {
        return failure;
    }
    Failure {
        cause: Cause::ToolsUnavailable,
        blame: Blame::Platform,
        message: format!("Workstead's tools can't be run: {said}"),
        next_step: "see whether the node mounts image volumes so that programs in them may run; tools.delivery: Auto of the class goes over to copying by itself"
            .to_owned(),
        ..failure
    }
}

/// Cause, blame, message and next step of an exit.
fn exit_words(
    container: &ContainerFacts,
    exit: &Exit,
    looping: bool,
) -> (Cause, Blame, String, String) {
    let name = &container.name;
    let code = exit.code;
    let by_force =
        code == 137 && matches!(exit.reason.as_str(), "Error" | "ContainerStatusUnknown");
    if exit.reason == "OOMKilled" {
        let of = |word: &str| match &container.memory_limit {
            Some(limit) => format!(" {word}{limit}"),
            None => String::new(),
        };
        return (
            Cause::OutOfMemory,
            Blame::User,
            format!(
                "container {name} used more memory than its limit{}",
                of("of ")
            ),
            format!(
                "raise spec.resources.limits.memory{}, or use less",
                of("above ")
            ),
        );
    }
    if container.is_copying() {
        return (
            Cause::ToolsUnavailable,
            Blame::Platform,
            format!("container {name} could not copy what its image holds (exit code {code})"),
            format!(
                "see its last lines: whether the node has room, and whether image {} is one of Workstead's for this release",
                container.image
            ),
        );
    }
    if code == 0 && !container.is_init {
        return (
            Cause::MainExited,
            Blame::User,
            "the command ended: a workspace lives as long as its command".to_owned(),
            "write a command that does not end, or leave spec.command out".to_owned(),
        );
    }
    if (by_force || code == 255) && !looping {
        return (
            Cause::KilledExternally,
            Blame::Platform,
            format!("container {name} was killed from outside (exit code {code})"),
            "nothing: it is started again".to_owned(),
        );
    }
    let how = if looping {
        "ends again and again"
    } else {
        "ended"
    };
    (
        Cause::CrashLoop,
        Blame::User,
        format!(
            "container {name} {how} with exit code {code}{}",
            meaning(code)
        ),
        format!(
            "see the last lines of its log and correct spec.command, or what it runs; container {name}"
        ),
    )
}

/// What shells and kernels mean by an exit code.
fn meaning(code: i32) -> &'static str {
    match code {
        126 => " (the program can't be run)",
        127 => " (there is no such program in the image)",
        134 => " (it aborted)",
        139 => " (it read or wrote memory that it must not)",
        143 => " (it was told to end)",
        _ => "",
    }
}
