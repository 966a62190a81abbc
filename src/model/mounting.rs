//! Whether tools can be mounted as image volumes and run from there: what probes and starts have shown, by the versions of
//! kubelet and container runtime.
//!
//! Versions alone do not tell: a runtime may know image volumes and mount them so that nothing in them may run. So a probe
//! pod runs the first process from such a volume, once for each pair of versions. What it could not find out, since its
//! image does not come or its node has no room, is no answer and is asked again.

mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};

use crate::model::evidence::{ContainerState, EventFacts, PodFacts};
use crate::model::failures::redact::one_line;

pub use refusal::{is_about_tools, refused};

/// The label that names the system of a node.
const SYSTEM_LABEL: &str = "kubernetes.io/os";
/// What the text of an answer may hold.
const SAID: usize = 512;
/// So many answers are kept: each pair of versions has one, and old versions do not come back.
const KEPT: usize = 64;

/// What mounts and runs the containers of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// Version of its kubelet, such as v1.36.3.
    pub kubelet: String,
    /// Name and version of its container runtime, such as containerd://2.4.2.
    pub container_runtime: String,
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kubelet {}, {}", self.kubelet, self.container_runtime)
    }
}

/// What counts of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRuntime {
    /// What runs its containers.
    pub runtime: Runtime,
    /// How well it can be asked: the least is asked first. None, it can't be asked now.
    pub rank: Option<u8>,
}

impl NodeRuntime {
    /// Reads a node. None when it does not run containers of ours: no Linux, or nothing said of itself yet.
    pub fn of(node: &Node) -> Option<Self> {
        let labels = node.metadata.labels.as_ref();
        let label = |key: &str| {
            labels
                .and_then(|labels| labels.get(key))
                .map(String::as_str)
        };
        if label(SYSTEM_LABEL).is_some_and(|system| system != "linux")
            || label("type") == Some("virtual-kubelet")
        {
            return None;
        }
        let status = node.status.as_ref()?;
        let info = status.node_info.as_ref()?;
        if info.kubelet_version.is_empty() || info.container_runtime_version.is_empty() {
            return None;
        }
        let conditions = status.conditions.iter().flatten();
        let ready = conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let spec = node.spec.as_ref();
        let cordoned = spec.is_some_and(|spec| spec.unschedulable == Some(true));
        let tainted = spec.is_some_and(|spec| spec.taints.iter().flatten().next().is_some());
        Some(Self {
            runtime: Runtime {
                kubelet: info.kubelet_version.clone(),
                container_runtime: info.container_runtime_version.clone(),
            },
            rank: (ready && !cordoned).then_some(u8::from(tainted)),
        })
    }
}

/// What was found out about a pair of versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Which.
    #[serde(flatten)]
    pub runtime: Runtime,
    /// The tools image that was tried.
    pub image: String,
    /// Whether it was mounted, and the first process ran from there.
    pub works: bool,
    /// On which node.
    pub node: String,
    /// What was seen.
    pub said: String,
}

/// All that was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    by_runtime: BTreeMap<Runtime, Answer>,
}

impl Answers {
    /// Reads what [`Answers::to_data`] wrote. What can't be read, or was tried with another image, is asked again.
    pub fn of_data(data: &BTreeMap<String, String>, image: &str) -> Self {
        let answers = data
            .values()
            .filter_map(|text| serde_json::from_str::<Answer>(text).ok())
            .filter(|answer| answer.image == image);
        Self {
            by_runtime: answers
                .map(|answer| (answer.runtime.clone(), answer))
                .collect(),
        }
    }

    /// As the data of a ConfigMap.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        let written = |answer: &Answer| serde_json::to_string_pretty(answer).unwrap_or_default();
        self.by_runtime
            .values()
            .map(|answer| (key(&answer.runtime), written(answer)))
            .collect()
    }

    /// Takes an answer in; a later one about the same versions takes the place of the one before. Versions that no node
    /// has are forgotten when there are too many.
    pub fn take(&mut self, answer: Answer, present: &BTreeSet<Runtime>) {
        self.by_runtime.insert(answer.runtime.clone(), answer);
        while self.by_runtime.len() > KEPT {
            let absent = |runtime: &&Runtime| !present.contains(*runtime);
            let Some(old) = self.by_runtime.keys().find(absent).cloned() else {
                return;
            };
            self.by_runtime.remove(&old);
        }
    }

    /// What is known of a pair of versions.
    pub fn of(&self, runtime: &Runtime) -> Option<&Answer> {
        self.by_runtime.get(runtime)
    }

    /// Whether tools can be mounted wherever a pod may land: no as soon as one of these pairs says no, since nobody knows
    /// the node of a pod that is yet to be made; yes when all of them say yes. While nodes are not known, what is
    /// remembered of others counts.
    pub fn work(&self, present: Option<&BTreeSet<Runtime>>) -> Option<bool> {
        let counts = |answer: &&Answer| present.is_none_or(|all| all.contains(&answer.runtime));
        let refuses = |answer: &Answer| !answer.works;
        if self.by_runtime.values().filter(counts).any(refuses) {
            return Some(false);
        }
        let all = present.filter(|all| !all.is_empty())?;
        let known = |runtime: &Runtime| self.by_runtime.contains_key(runtime);
        all.iter().all(known).then_some(true)
    }
}

/// The name of an answer: readable, within what a ConfigMap takes, and with a digest so that no two are alike.
fn key(runtime: &Runtime) -> String {
    let text = format!("{}_{}", runtime.kubelet, runtime.container_runtime);
    let tame = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
        _ => '_',
    };
    let readable: String = text.chars().take(100).map(tame).collect();
    format!("{readable}_{}", short_digest(&text))
}

/// Eight hexadecimal digits of a text: enough to tell a handful of versions apart. FNV-1a, which stays the same with every
/// release.
pub fn short_digest(text: &str) -> String {
    let digest = text.bytes().fold(0x811c_9dc5_u32, |digest, byte| {
        (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{digest:08x}")
}

/// What a probe pod tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet: it may still become an answer.
    Pending,
    /// An answer: whether it works, and what shows it.
    Answer(bool, String),
    /// It is over, and nobody is wiser.
    Nothing(String),
}

/// Reads a probe pod. It holds nothing that could fail but the image, its mount, and the program in it.
pub fn finding(pod: &PodFacts, events: &[EventFacts]) -> Finding {
    if let Some(said) = refused(pod, events, &[]) {
        return Finding::Answer(false, said);
    }
    let ended = pod.containers.iter().find_map(|container| {
        let over = container.state == ContainerState::Terminated;
        container.last_exit.as_ref().filter(|_| over)
    });
    match (pod.phase.as_str(), ended) {
        (_, Some(exit)) if exit.code == 0 => {
            Finding::Answer(true, "mounted, and its program ran".to_owned())
        }
        (_, Some(exit)) => Finding::Nothing(format!(
            "{}, exit code {}: {}",
            exit.reason,
            exit.code,
            one_line(&exit.message, SAID)
        )),
        // Without a container that ended it was refused by its node, or its time is over.
        ("Failed" | "Succeeded", None) => Finding::Nothing(waited(pod, events)),
        _ => Finding::Pending,
    }
}

/// What a probe pod that tells nothing waits for, or why it is over.
pub fn waited(pod: &PodFacts, events: &[EventFacts]) -> String {
    let waiting = pod.containers.iter().find_map(|one| match &one.state {
        ContainerState::Waiting { reason, message } => Some(format!("{reason}: {message}")),
        _ => None,
    });
    let said = || {
        let mut about = events.iter().filter(|event| event.name == pod.name);
        let event = about.next()?;
        Some(format!("{}: {}", event.reason, event.message))
    };
    let reason = pod.reason.clone().map(|reason| match &pod.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason,
    });
    let parts: Vec<String> = [reason, waiting.or_else(said)]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        return format!("phase {}", pod.phase);
    }
    one_line(&parts.join("; "), SAID)
}

#[cfg(test)]
mod tests;
