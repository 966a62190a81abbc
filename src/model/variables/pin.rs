//! What a start takes of sealed sets and Secrets: names and digests, never a value.
//!
//! A workspace has at each start what it had at the first one. It takes what is newest when somebody asks for it, when its
//! class has every start do so, when its own lists changed, or when what it had is lost. [`choose`] says which.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use crate::api::environment::{SecretKeyReference, VariablesLevel};
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::model::identity::WorkspaceName;
use crate::model::names::VARIABLES_UPDATE_ANNOTATION;
use crate::model::revision::PinInputs;
use crate::model::variables::{FilePath, VariableName};

/// What a start took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariablesPin {
    /// Name of the Secret with the values.
    pub secret: String,
    /// SHA-256 over the sources, in hexadecimal.
    pub digest: String,
    /// What it was put together from, in this order.
    pub sources: Vec<Source>,
    /// Variables, each an entry of the Secret of the same name, and which source brings it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<VariableName, usize>,
    /// Files, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PinnedFile>,
    /// What the Workspace listed.
    pub asked: Asked,
}

/// A sealed set or a Secret that variables come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// How far it reaches.
    pub level: VariablesLevel,
    /// Its name.
    pub name: String,
    /// Tells its text from another one: SHA-256 of the sealed text, or UID and resourceVersion of a Secret.
    pub digest: String,
}

/// A file in the Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedFile {
    /// Where it goes.
    pub path: FilePath,
    /// The entry of the Secret: its keys can't be paths.
    pub key: String,
    /// Its permissions.
    pub mode: u16,
    /// Which source brings it.
    pub source: usize,
}

/// What a Workspace lists of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Asked {
    /// Names of sets, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Entries of Secrets, by variable.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, SecretKeyReference>,
}

impl Asked {
    /// What a spec lists.
    pub fn of(spec: &WorkspaceSpec) -> Self {
        let reference = |variable: &crate::api::workspace::EnvironmentVariable| {
            let source = variable.value_from.as_ref()?;
            Some((variable.name.clone(), source.secret_key_ref.clone()))
        };
        Self {
            sets: spec.variables.iter().map(|set| set.name.clone()).collect(),
            references: spec.env.iter().filter_map(reference).collect(),
        }
    }

    /// Names of the Secrets.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.references
            .values()
            .map(|reference| reference.name.as_str())
            .collect()
    }
}

/// The digest over sources. They are few, and each part is written with its length, so that no two lists read alike.
pub fn digest_of(sources: &[Source], asked: &Asked) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    };
    for source in sources {
        part(match source.level {
            VariablesLevel::Namespace => "Namespace",
            VariablesLevel::Owner => "Owner",
            VariablesLevel::Workspace => "Workspace",
            VariablesLevel::Inline => "Inline",
        });
        part(&source.name);
        part(&source.digest);
    }
    // Two entries of one Secret, exchanged, are another content of the same sources.
    for (variable, reference) in &asked.references {
        part(variable);
        part(&reference.name);
        part(&reference.key);
    }
    hex::encode(hash.finalize())
}

/// The value of the annotation that asks for what is newest.
pub fn update_requested(workspace: &Workspace) -> Option<&String> {
    let annotations = workspace.metadata.annotations.as_ref()?;
    annotations
        .get(VARIABLES_UPDATE_ANNOTATION)
        .filter(|value| !value.is_empty())
}

/// Why a start takes what is newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing was taken yet.
    First,
    /// Somebody asked for it.
    Requested,
    /// Each start of the class does.
    OfClass,
    /// The Workspace lists something else.
    Listed,
    /// What it had is gone.
    Lost,
}

/// What decides whether a start takes what is newest.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the last start was made of; none, there was none.
    pub pinned: Option<&'a PinInputs>,
    /// What the Workspace lists.
    pub asked: &'a Asked,
    /// The request that stands in its annotation.
    pub request: Option<&'a str>,
    /// The request that was carried out last.
    pub handled: Option<&'a str>,
    /// Whether each start of the class takes what is newest.
    pub refresh: bool,
    /// Whether the Secret of the last start is there.
    pub secret_exists: bool,
}

/// Why the next start takes what is newest; none, it has what the last one had.
pub fn renewal(question: &Question<'_>) -> Option<Renewal> {
    let Some(inputs) = question.pinned else {
        return Some(Renewal::First);
    };
    let none = Asked::default();
    let pin = inputs.variables.as_ref();
    let asked = pin.map_or(&none, |pin| &pin.asked);
    let request = question.request;
    if inputs.variables_lost || (pin.is_some() && !question.secret_exists) {
        Some(Renewal::Lost)
    } else if asked != question.asked {
        Some(Renewal::Listed)
    } else if request.is_some()
        && request != inputs.variables_request.as_deref()
        && request != question.handled
    {
        Some(Renewal::Requested)
    } else if question.refresh {
        Some(Renewal::OfClass)
    } else {
        None
    }
}

/// Names of the Secrets with variables of a workspace that a pod template takes values from.
pub fn named_in(template: &PodTemplateSpec, workspace: &WorkspaceName) -> BTreeSet<String> {
    let prefix = workspace.variables("");
    let spec = template.spec.as_ref();
    let containers = spec.iter().flat_map(|spec| &spec.containers);
    let of_env = containers
        .flat_map(|container| container.env.iter().flatten())
        .filter_map(|variable| {
            let reference = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
            Some(reference.name.clone())
        });
    let volumes = spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let of_files = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.clone());
    of_env
        .chain(of_files)
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

#[cfg(test)]
mod tests;
