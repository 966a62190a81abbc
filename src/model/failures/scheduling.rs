//! What goes wrong before a node begins with the containers: admission, scheduling, volumes, refusals of the node.

use jiff::Timestamp;

use super::{Due, Step, Suspect, about, trouble_since};
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure};
use crate::model::duration::Span;
use crate::model::evidence::{ContainerState, Evidence, PodFacts};
use crate::model::failures::redact::{cap, one_line};

/// So many refusals of nodes within [`REJECTION_WINDOW`] make a start Failed.
const REJECTIONS: usize = 5;
/// See [`REJECTIONS`].
const REJECTION_WINDOW: Span = Span::from_seconds(600);

/// How the kubelet's summary of volumes that are not there begins.
const WAITING_VOLUMES: &str = "Unable to attach or mount volumes";

/// No pod could be made.
pub fn refused(evidence: &Evidence, now: Timestamp) -> Option<Suspect> {
    let refusal = evidence.facts.refusal.as_ref()?;
    if evidence.facts.current_pods().any(|pod| !pod.is_over()) {
        return None;
    }
    let said = one_line(&refusal.message, 1024);
    let evidence_text = cap(format!("{}: {said}", refusal.reason));
    let failure = if refusal.message.contains("exceeded quota") {
        let quota = after(&said, "exceeded quota: ", &[',']).unwrap_or("of the namespace");
        Failure {
            cause: Cause::QuotaExceeded,
            blame: Blame::User,
            message: format!("the ResourceQuota {quota} of the namespace is used up"),
            evidence: evidence_text,
            retryable: true,
            next_step: format!(
                "stop other workspaces of the namespace, or have the ResourceQuota {quota} raised"
            ),
            since: None,
        }
    } else {
        let who = after(&said, "admission webhook \"", &['"'])
            .map(|name| format!("the admission webhook {name}"))
            .or_else(|| {
                after(&said, "ValidatingAdmissionPolicy '", &['\''])
                    .map(|name| format!("the policy {name}"))
            })
            .or_else(|| {
                said.contains("violates PodSecurity")
                    .then(|| "the namespace's Pod Security level".to_owned())
            })
            .or_else(|| {
                said.contains("LimitRange")
                    .then(|| "a LimitRange of the namespace".to_owned())
            })
            .unwrap_or_else(|| "the cluster".to_owned());
        Failure {
            cause: Cause::AdmissionDenied,
            blame: Blame::Platform,
            message: format!("{who} does not let the pod be made: {said}"),
            evidence: evidence_text,
            retryable: true,
            next_step: format!("have {who} allow the pod, or choose another class"),
            since: None,
        }
    };
    // The condition may be left over from an earlier start: this one's time counts.
    let since = refusal.since.max(evidence.timers.start_requested_at);
    let since = since.unwrap_or_else(|| trouble_since(evidence, failure.cause, now));
    let due = Due::At(evidence.deadlines.admission.after(since));
    Some(Suspect {
        step: Step::Admission,
        due,
        shown: true,
        until: None,
        failure,
    })
}

/// No node is found.
pub fn unschedulable(evidence: &Evidence, pod: &PodFacts) -> Option<Suspect> {
    if pod.node.is_some() || pod.is_over() {
        return None;
    }
    let condition = pod
        .condition("PodScheduled")
        .filter(|condition| condition.status == "False");
    let event = evidence
        .facts
        .events_of(&pod.name, &["FailedScheduling"])
        .next();
    let text = match (condition, event) {
        (Some(condition), _) if !condition.message.is_empty() => condition.message.as_str(),
        (_, Some(event)) => event.message.as_str(),
        _ => return None,
    };
    let said = one_line(text, 1024);
    if is_about_volumes(&said) {
        // Who should make the volume knows better than the scheduler why it is not there.
        let said = provisioner_says(evidence).unwrap_or(said);
        return Some(volume_bind(evidence, &said));
    }
    let lacking = insufficient(&said);
    let never = evidence.fits_some_node == Some(false);
    let next_step = if !lacking.is_empty() {
        let names = lacking.join(", ");
        if never {
            format!("ask for less {names} in spec.resources: no node of the cluster has that much")
        } else {
            format!(
                "stop other workspaces, ask for less {names} in spec.resources, or have a node added"
            )
        }
    } else if said.contains("Too many pods") {
        "stop other workspaces, or have a node added: every node has as many pods as it may"
            .to_owned()
    } else if said.contains("untolerated taint") {
        "have the taint removed, or tolerated by spec.pod.tolerations of the class".to_owned()
    } else if said.contains("node affinity/selector") {
        "have a node labelled as spec.pod.nodeSelector of the class asks".to_owned()
    } else {
        "see the nodes with kubectl describe nodes".to_owned()
    };
    let message = if lacking.is_empty() {
        format!("no node takes the pod: {said}")
    } else {
        format!("no node has enough {}: {said}", lacking.join(", "))
    };
    Some(Suspect {
        step: Step::Schedule,
        due: Due::WithStartup,
        shown: true,
        until: None,
        failure: Failure {
            cause: Cause::Unschedulable,
            blame: if never { Blame::User } else { Blame::Platform },
            message,
            evidence: cap(format!(
                "{}: PodScheduled=False, Unschedulable: {said}",
                about(pod)
            )),
            retryable: true,
            next_step,
            since: None,
        },
    })
}

fn is_about_volumes(said: &str) -> bool {
    let lower = said.to_ascii_lowercase();
    let volume = [
        "persistentvolumeclaim",
        "persistent volume",
        "volume node affinity",
        "binding volumes",
        "storageclass",
    ];
    volume.iter().any(|word| lower.contains(word)) && insufficient(said).is_empty()
}

/// Names of the resources in `Insufficient <name>`, each once.
fn insufficient(said: &str) -> Vec<String> {
    let mut names: Vec<String> = said
        .split("Insufficient ")
        .skip(1)
        .filter_map(|rest| rest.split([',', ';', ' ']).next())
        .map(|name| name.trim_end_matches('.').to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Why the volume of a claim that is not bound is not made.
fn provisioner_says(evidence: &Evidence) -> Option<String> {
    let claim = evidence.facts.volume.as_ref()?;
    if claim.phase.as_deref() == Some("Bound") {
        return None;
    }
    let mut events = evidence
        .facts
        .events_of(&claim.name, &["ProvisioningFailed"]);
    Some(one_line(&events.next()?.message, 1024))
}

/// What a node says until it has the sandbox of a pod.
const SANDBOX_AND_VOLUME: [&str; 3] = [
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
];

/// The volume is not bound, or not mounted.
pub fn volume(evidence: &Evidence, pod: &PodFacts) -> Option<Suspect> {
    if pod.is_over() || pod.containers.iter().any(has_begun) {
        return None;
    }
    if let Some(claim) = evidence
        .facts
        .volume
        .as_ref()
        .filter(|claim| claim.phase.as_deref() != Some("Bound"))
    {
        let lost = claim.phase.as_deref() == Some("Lost");
        if let Some(said) = provisioner_says(evidence) {
            return Some(volume_bind(evidence, &said));
        }
        if lost {
            return Some(volume_bind(
                evidence,
                "the volume that the claim was bound to is gone",
            ));
        }
        // Pending is normal until a node is chosen, and for as long as making a volume takes.
        if claim.node_selected || pod.node.is_some() {
            let mut suspect = volume_bind(evidence, "the claim is Pending");
            suspect.shown = false;
            return Some(suspect);
        }
        return None;
    }
    if pod.node.is_none() || pod.has_sandbox() {
        return None;
    }
    // A node begins with the sandbox when all volumes are mounted: what failed before has come about since.
    let last_said = evidence
        .facts
        .events_of(&pod.name, &SANDBOX_AND_VOLUME)
        .next();
    if last_said.is_some_and(|event| event.reason == "FailedCreatePodSandBox") {
        return None;
    }
    let mut events = evidence
        .facts
        .events_of(&pod.name, &["FailedMount", "FailedAttachVolume"]);
    let newest = events.next()?;
    // The kubelet sums up what waits, now and then, between the words of what fails.
    let event = std::iter::once(newest)
        .chain(events)
        .find(|event| !event.message.starts_with(WAITING_VOLUMES))
        .unwrap_or(newest);
    let said = one_line(&event.message, 1024);
    let next_step = if said.contains("Multi-Attach") {
        "see which pod or node still holds the volume; it is free when that pod is gone or the node answers again".to_owned()
    } else {
        match &pod.node {
            Some(node) => format!("see the kubelet and the storage driver on node {node}"),
            None => "see the storage driver".to_owned(),
        }
    };
    Some(Suspect {
        step: Step::Volume,
        due: Due::WithStartup,
        shown: true,
        until: None,
        failure: Failure {
            cause: Cause::VolumeMount,
            blame: Blame::Platform,
            message: format!("the volume can't be mounted: {said}"),
            evidence: cap(format!("{}: {}: {said}", about(pod), event.reason)),
            retryable: true,
            next_step,
            since: None,
        },
    })
}

/// Whether the container is past its volumes.
fn has_begun(container: &crate::model::evidence::ContainerFacts) -> bool {
    let waits = matches!(&container.state, ContainerState::Waiting { reason, .. }
        if matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing"));
    let unknown = container.state == ContainerState::Unknown;
    container.last_exit.is_some() || !(waits || unknown)
}

fn volume_bind(evidence: &Evidence, said: &str) -> Suspect {
    let claim = evidence.facts.volume.as_ref();
    let name = claim.map_or("of the home volume", |claim| claim.name.as_str());
    let class = claim.and_then(|claim| claim.storage_class.as_deref());
    let phase = claim
        .and_then(|claim| claim.phase.as_deref())
        .unwrap_or("missing");
    let next_step = match class {
        Some(class) => {
            format!("see StorageClass {class} and its provisioner, and kubectl describe pvc {name}")
        }
        None => {
            "have a default StorageClass set, or name one in spec.storage.className of the class"
                .to_owned()
        }
    };
    Suspect {
        step: Step::Volume,
        due: Due::WithStartup,
        shown: true,
        until: None,
        failure: Failure {
            cause: Cause::VolumeBind,
            blame: Blame::Platform,
            message: format!("the home volume is not bound: {said}"),
            evidence: cap(format!(
                "PersistentVolumeClaim {name}: {phase}, StorageClass {}: {said}",
                class.unwrap_or("none")
            )),
            retryable: true,
            next_step,
            since: None,
        },
    }
}

/// Why a pod is over without a container having run, in the node's own word.
fn rejection(pod: &PodFacts) -> Option<&str> {
    let reason = pod.reason.as_deref()?;
    let ran = pod
        .containers
        .iter()
        .any(|container| container.last_exit.is_some());
    (pod.phase == "Failed" && !ran && disruption(pod).is_none()).then_some(reason)
}

/// The node refused the pod, again and again.
pub fn rejected(evidence: &Evidence, pod: &PodFacts, now: Timestamp) -> Option<Suspect> {
    let visible = evidence
        .facts
        .current_pods()
        .filter(|pod| rejection(pod).is_some())
        .count();
    let newest = evidence
        .facts
        .current_pods()
        .find(|pod| rejection(pod).is_some())?;
    // A replacement that the node took is past this step.
    if pod.node.is_some() && !pod.is_over() {
        return None;
    }
    let reason = rejection(newest)?;
    let count = visible + usize::try_from(evidence.rejected).unwrap_or(usize::MAX);
    let until = newest
        .created
        .map(|created| REJECTION_WINDOW.after(created));
    let fatal = count >= REJECTIONS && until.is_none_or(|until| now < until);
    let said = one_line(newest.message.as_deref().unwrap_or(reason), 1024);
    Some(Suspect {
        step: Step::Node,
        due: if fatal { Due::AtOnce } else { Due::WithStartup },
        shown: true,
        until: until.filter(|_| fatal),
        failure: Failure {
            cause: Cause::NodeRejected,
            blame: Blame::Platform,
            message: format!("the node refused the pod ({reason}): {said}"),
            evidence: cap(format!(
                "{}: {reason}, {count} times in this start",
                about(newest)
            )),
            retryable: true,
            next_step: match &newest.node {
                Some(node) => format!("see node {node}; another pod is tried"),
                None => "see the nodes; another pod is tried".to_owned(),
            },
            since: None,
        },
    })
}

/// Why a pod was taken away: (whether its node is lost, the word for it).
fn disruption(pod: &PodFacts) -> Option<(bool, String)> {
    let target = pod
        .condition("DisruptionTarget")
        .filter(|condition| condition.status == "True");
    let by = target.and_then(|condition| condition.reason.as_deref());
    let reason = pod.reason.as_deref();
    match (reason, by) {
        (Some("NodeLost"), _) => Some((true, "NodeLost".to_owned())),
        (_, Some(by @ ("DeletionByTaintManager" | "DeletionByPodGC"))) => {
            Some((true, by.to_owned()))
        }
        (
            Some(reason @ ("Evicted" | "Preempting" | "Terminated" | "NodeShutdown" | "Shutdown")),
            _,
        ) => Some((false, reason.to_owned())),
        (_, Some(by)) => Some((false, by.to_owned())),
        _ => None,
    }
}

/// The node of a pod that ran does not answer any more. Until the pod is given up, only an Event says so.
fn silent_node(evidence: &Evidence, pod: &PodFacts) -> Option<(bool, String)> {
    let ran = pod
        .containers
        .iter()
        .any(|container| matches!(container.state, ContainerState::Running { .. }));
    let unready = pod.condition("Ready").and_then(|ready| ready.since);
    let event = evidence
        .facts
        .events_of(&pod.name, &["NodeNotReady"])
        .next()?;
    // An Event from before it was ready again is history.
    let lasts = event.last_seen.is_none() || event.last_seen >= unready;
    (ran && !pod.is_ready() && lasts).then(|| (true, event.reason.clone()))
}

/// An earlier pod of this start was evicted, or its node is gone.
pub fn disrupted(evidence: &Evidence) -> Option<Suspect> {
    let pods = evidence.facts.pods.as_deref().unwrap_or_default();
    let (pod, (lost, word)) = pods
        .iter()
        .filter(|pod| pod.of_current_set)
        .find_map(|pod| {
            let taken = disruption(pod).or_else(|| silent_node(evidence, pod))?;
            Some((pod, taken))
        })?;
    let target = pod
        .condition("DisruptionTarget")
        .map(|condition| condition.message.as_str());
    let said = one_line(pod.message.as_deref().or(target).unwrap_or_default(), 512);
    let node = pod.node.as_deref().unwrap_or("unknown");
    let (cause, message) = if lost {
        (
            Cause::NodeLost,
            format!("node {node} is lost: another pod takes over when it can have the volume"),
        )
    } else {
        (
            Cause::Evicted,
            format!("the pod was taken from node {node} ({word}): another one takes over"),
        )
    };
    Some(Suspect {
        step: Step::Disruption,
        due: Due::WithStartup,
        shown: true,
        until: None,
        failure: Failure {
            cause,
            blame: Blame::Platform,
            message,
            evidence: cap(format!("{}: {word} {said}", about(pod))
                .trim_end()
                .to_owned()),
            retryable: true,
            next_step: format!(
                "nothing if node {node} or another one has room; what was in /projects is kept, what was elsewhere in the container is lost"
            ),
            since: None,
        },
    })
}

/// The text after a mark, up to one of the ends.
fn after<'a>(text: &'a str, mark: &str, ends: &[char]) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(ends)
        .next()
        .map(str::trim)
        .filter(|found| !found.is_empty())
}
