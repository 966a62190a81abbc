//! Failures: what may be wrong with a start or a stop, whose fault it is, what shows it, and what to do.
//!
//! [`suspects`] lists all that the evidence points at, the earliest step of a start first. Whether one of them already
//! makes the workspace Failed is a question of time ([`Due`]), never of a first event: nodes, registries and volumes often
//! mend themselves. Nothing is sticky: when the evidence goes, the failure goes.

mod containers;
mod images;
pub mod redact;
mod scheduling;

use jiff::Timestamp;

use crate::api::class::Delivery;
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure};
use crate::model::evidence::{ApplyError, Evidence, PodFacts, Termination};
use crate::model::inside::{self, told::Told};
use redact::{cap, one_line};
use workstead_link::StepKind;

/// Reasons of Events that explain what no status does. A caller need keep no others.
pub const HINTS: [&str; 6] = [
    "FailedScheduling",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "ProvisioningFailed",
    "NodeNotReady",
];

/// Steps of a start, in the order in which they block each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The cluster lets the pod be made.
    Admission,
    /// A node is found.
    Schedule,
    /// The volume is bound and mounted.
    Volume,
    /// The node takes the pod.
    Node,
    /// The images are there.
    Image,
    /// The container can be made.
    Config,
    /// Init containers end well.
    Init,
    /// The main container runs.
    Main,
    /// The editor answers.
    Editor,
    /// An earlier pod was taken away: it explains a start that nothing else explains.
    Disruption,
}

/// When a suspect makes the workspace Failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At once.
    AtOnce,
    /// From this moment on.
    At(Timestamp),
    /// When the startup timer is over.
    WithStartup,
}

/// Something that may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Which step it blocks.
    pub step: Step,
    /// When it makes the workspace Failed.
    pub due: Due,
    /// Whether it is shown before; what is normal for a while (a claim that waits) is not.
    pub shown: bool,
    /// Until when it holds, if time alone ends it.
    pub until: Option<Timestamp>,
    /// What users see.
    pub failure: Failure,
}

impl Suspect {
    /// Whether it makes the workspace Failed now.
    pub fn is_fatal(&self, now: Timestamp) -> bool {
        match self.due {
            Due::AtOnce => true,
            Due::At(moment) => now >= moment,
            Due::WithStartup => false,
        }
    }
}

/// All that the evidence points at, the earliest step first. Empty unless the workspace should have a pod.
pub fn suspects(evidence: &Evidence, now: Timestamp) -> Vec<Suspect> {
    let facts = &evidence.facts;
    let wants_pod = facts.replicas().is_some_and(|replicas| replicas >= 1);
    if !wants_pod
        || evidence.waits
        || evidence.termination != Termination::None
        || facts.has_ready_pod()
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(scheduling::refused(evidence, now));
    if let Some(pod) = facts.main_pod().filter(|pod| !is_given_up(evidence, pod)) {
        found.extend(scheduling::unschedulable(evidence, pod));
        found.extend(scheduling::volume(evidence, pod));
        found.extend(scheduling::rejected(evidence, pod, now));
        for container in &pod.containers {
            found.extend(images::pull(evidence, pod, container, now));
            found.extend(containers::making(evidence, pod, container, now));
            found.extend(containers::exited(pod, container, now));
        }
    }
    found.extend(editor(evidence));
    found.extend(scheduling::disrupted(evidence));
    // A stable sort: within a step the order above, and the order of containers, holds.
    found.sort_by_key(|suspect| suspect.step);
    found
}

/// Whether a pod is the one whose mounts were refused: the start went on without it, and it goes away.
fn is_given_up(evidence: &Evidence, pod: &PodFacts) -> bool {
    evidence.tools_delivery == Delivery::Copy && pod.mounts_images
}

/// The editor does not come up, as the first process says: the pod is not ready without it.
fn editor(evidence: &Evidence) -> Option<Suspect> {
    let Told::Heard(report) = &evidence.told else {
        return None;
    };
    let steps = report.steps.iter();
    let failure = steps
        .filter(|step| step.kind == StepKind::Editor)
        .find_map(inside::steps::failure_of)?;
    Some(Suspect {
        step: Step::Editor,
        due: match failure.cause {
            Cause::EditorIncompatible => Due::AtOnce,
            _ => Due::WithStartup,
        },
        shown: true,
        until: None,
        failure,
    })
}

/// When the startup timer is over, if it runs.
pub fn startup_deadline(evidence: &Evidence) -> Option<Timestamp> {
    Some(
        evidence
            .deadlines
            .startup
            .after(evidence.timers.startup_begins()?),
    )
}

/// When the stopping timer is over, if it runs.
pub fn stopping_deadline(evidence: &Evidence) -> Option<Timestamp> {
    Some(
        evidence
            .deadlines
            .stopping
            .after(evidence.timers.stop_requested_at?),
    )
}

/// The next moment at which time alone changes what [`actual_state`](crate::model::state::actual_state) says.
/// A caller looks again exactly then.
pub fn next_deadline(evidence: &Evidence, now: Timestamp) -> Option<Timestamp> {
    let facts = &evidence.facts;
    let mut moments = Vec::new();
    let wants_pod = facts.replicas().is_some_and(|replicas| replicas >= 1);
    if evidence.termination == Termination::None
        && wants_pod
        && !evidence.waits
        && facts.pods.is_some()
        && !facts.has_ready_pod()
    {
        moments.extend(startup_deadline(evidence));
    }
    let stops = facts.replicas() == Some(0)
        || evidence.waits
        || evidence.termination == Termination::InProgress;
    if stops && facts.has_pod_left() {
        moments.extend(stopping_deadline(evidence));
    }
    for suspect in suspects(evidence, now) {
        moments.extend(suspect.until);
        if let Due::At(moment) = suspect.due {
            moments.push(moment);
        }
    }
    moments.into_iter().filter(|moment| *moment > now).min()
}

/// The startup timer is over and nothing better explains it.
pub fn startup_timeout(evidence: &Evidence) -> Failure {
    let limit = evidence.deadlines.startup;
    let pod = evidence.facts.main_pod();
    let without_sandbox = pod.filter(|pod| pod.node.is_some() && !pod.has_sandbox());
    let said = without_sandbox.and_then(|pod| {
        let mut events = evidence
            .facts
            .events_of(&pod.name, &["FailedCreatePodSandBox"]);
        events.next().map(|event| one_line(&event.message, 1024))
    });
    let (reached, hint) = reached(pod, said.is_some());
    let mut evidence_text = match pod {
        Some(pod) => format!("{}: phase {}", about(pod), pod.phase),
        None => "no pod".to_owned(),
    };
    if let Some(said) = said {
        evidence_text.push_str(&format!(", FailedCreatePodSandBox: {said}"));
    }
    Failure {
        cause: Cause::StartupTimeout,
        blame: Blame::Platform,
        message: format!("it did not start within {limit}: {reached}"),
        evidence: cap(evidence_text),
        retryable: true,
        next_step: format!("{hint}; `workstead restart` tries again"),
        since: None,
    }
}

/// How far a start came, and where to look.
fn reached(pod: Option<&PodFacts>, no_sandbox: bool) -> (&'static str, &'static str) {
    match pod {
        None => (
            "no pod was made",
            "see whether kube-controller-manager works",
        ),
        Some(pod) if pod.node.is_none() => {
            ("the pod has no node yet", "see whether the scheduler works")
        }
        Some(_) if no_sandbox => (
            "the node can't make the sandbox of the pod",
            "see the runtime class, the network and the memory limit that the message names",
        ),
        Some(pod) if !pod.has_sandbox() && pod.condition("PodReadyToStartContainers").is_some() => {
            (
                "the pod waits for its sandbox, volumes and network on the node",
                "see the kubelet of the node",
            )
        }
        Some(pod) if pod.containers.iter().all(|c| c.image_id.is_empty()) => (
            "the image is still being pulled",
            "use a smaller image or a nearer registry, or raise spec.timeouts.startup",
        ),
        Some(_) => (
            "the container runs and is not ready",
            "see its log with kubectl logs",
        ),
    }
}

/// The stopping timer is over and a pod remains.
pub fn stop_stuck(evidence: &Evidence) -> Failure {
    let left: Vec<&PodFacts> = evidence
        .facts
        .pods
        .iter()
        .flatten()
        .filter(|pod| pod.may_hold_volume())
        .collect();
    let seen: Vec<String> = left
        .iter()
        .map(|pod| {
            let mut text = about(pod);
            if !pod.finalizers.is_empty() {
                text.push_str(&format!(", finalizers {}", pod.finalizers.join(", ")));
            }
            if pod.deleting.is_none() {
                text.push_str(", its deletion was not asked for yet");
            }
            text
        })
        .collect();
    let next_step = match left.first() {
        Some(pod) if !pod.finalizers.is_empty() => {
            format!(
                "see who should remove the finalizers of pod {}: {}",
                pod.name,
                pod.finalizers.join(", ")
            )
        }
        Some(PodFacts {
            node: Some(node),
            name,
            ..
        }) => format!(
            "see whether node {node} is alive; never force the deletion of pod {name} while it may still write to the volume"
        ),
        _ => "see whether kube-controller-manager works".to_owned(),
    };
    Failure {
        cause: Cause::StopStuck,
        blame: Blame::Platform,
        message: format!(
            "a pod was still there {} after the stop was asked for",
            evidence.deadlines.stopping
        ),
        evidence: cap(seen.join("; ")),
        retryable: true,
        next_step,
        since: None,
    }
}

/// An object that the API server refused, or could not take.
pub fn apply_rejected(error: &ApplyError) -> Failure {
    let said = one_line(&error.message, 1024);
    // A conflict that lasts, and what garbage collection takes away, are tried again too.
    let retryable = is_transient(error.code) || error.is_conflict();
    let over_quota = error.code == Some(403) && error.message.contains("exceeded quota");
    let blame = match error.code {
        Some(400 | 422) => Blame::User,
        _ if over_quota => Blame::User,
        _ => Blame::Platform,
    };
    let field = error
        .field
        .as_ref()
        .map(|field| format!(", field {field}"))
        .unwrap_or_default();
    let next_step = match error.code {
        _ if error.is_leftover() => format!(
            "nothing, it is waited for: garbage collection takes {} away; if it stays, see its finalizers and whether kube-controller-manager works",
            error.object
        ),
        _ if error.is_conflict() => format!(
            "see who changes {} all the time, or which webhook answers 409; it is tried again with growing pauses",
            error.object
        ),
        _ if retryable => "nothing: it is tried again with growing pauses".to_owned(),
        _ if over_quota => "free what the ResourceQuota counts, or have it raised".to_owned(),
        Some(400 | 422) => match &error.field {
            Some(field) => format!("correct what leads to {field} of {}", error.object),
            None => format!("correct what the message names in {}", error.object),
        },
        Some(403) => format!(
            "have the policy or the right changed that forbids {}",
            error.object
        ),
        Some(409) => format!(
            "delete or rename {} if it is not needed, or give the Workspace another name",
            error.object
        ),
        _ => format!("see why the API server does not take {}", error.object),
    };
    let code = match error.code {
        // The API server was not asked: we know already.
        _ if error.is_foreign() || error.is_leftover() => String::new(),
        Some(code) => format!("{code} "),
        None => "no answer ".to_owned(),
    };
    Failure {
        cause: Cause::ApplyRejected,
        blame,
        message: if error.is_leftover() {
            said.clone()
        } else {
            format!("{} could not be applied{field}: {said}", error.object)
        },
        evidence: cap(format!("{code}{}: {said}", error.reason)),
        retryable,
        next_step,
        since: None,
    }
}

/// Whether the same request may succeed a little later.
pub fn is_transient(code: Option<u16>) -> bool {
    code.is_none_or(|code| code == 408 || code == 429 || code >= 500)
}

/// Causes that are stages of the same trouble: time goes on counting when one becomes the other.
fn family(cause: Cause) -> Cause {
    match cause {
        Cause::ImageNotFound | Cause::ImageAuth | Cause::ImagePullTransient => Cause::ImageNotFound,
        Cause::AdmissionDenied | Cause::QuotaExceeded => Cause::AdmissionDenied,
        other => other,
    }
}

/// Whether two causes are stages of the same trouble.
pub fn same_trouble(one: Cause, other: Cause) -> bool {
    family(one) == family(other)
}

/// Since when a trouble lasts: as the status remembers it, else since now.
fn trouble_since(evidence: &Evidence, cause: Cause, now: Timestamp) -> Timestamp {
    evidence
        .previous
        .filter(|previous| same_trouble(previous.cause, cause))
        .and_then(|previous| previous.since)
        .unwrap_or(now)
}

/// Names a pod and its node.
fn about(pod: &PodFacts) -> String {
    match &pod.node {
        Some(node) => format!("pod {} on node {node}", pod.name),
        None => format!("pod {}", pod.name),
    }
}

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod tests;
