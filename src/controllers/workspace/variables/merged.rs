//! Sets and Secrets, put together: the pin that names what is in it, and the Secret that holds it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

use crate::api::environment::{OutdatedVariable, VariableChange};
use crate::model::names::{VARIABLES_DIGEST_ANNOTATION, VARIABLES_ORIGINS_ANNOTATION};
use crate::model::variables::pin::{Asked, PinnedFile, Source, VariablesPin, digest_of};
use crate::model::workspace::Identity;
use crate::render;
use crate::secrets::merge::{Merged, Origin};

/// Annotations of an object hold 256 KiB together.
const LONGEST_ORIGINS: usize = 128 * 1024;

/// Says which variable comes from where.
pub fn pin_of(
    identity: &Identity,
    sources: Vec<Source>,
    asked: &Asked,
    merged: &Merged,
) -> VariablesPin {
    let index = |origin: &Origin| {
        let same = |source: &Source| source.level == origin.level && source.name == origin.name;
        // Everything that was merged is of a source.
        sources.iter().position(same).unwrap_or_default()
    };
    let env = merged.env.iter();
    let env = env.map(|(name, from)| (name.clone(), index(&from.origin)));
    let files = merged.files.iter().enumerate();
    let files = files.map(|(number, (path, from))| PinnedFile {
        path: path.clone(),
        // No variable has such a name.
        key: format!("file-{number:04}"),
        mode: from.value.mode,
        source: index(&from.origin),
    });
    let (env, files) = (env.collect(), files.collect());
    let digest = digest_of(&sources, asked);
    VariablesPin {
        secret: identity.name.variables(&digest),
        digest,
        env,
        files,
        sources,
        asked: asked.clone(),
    }
}

/// The Secret of a pin. Nobody can change it: what a workspace has stays.
pub fn secret_of(identity: &Identity, pin: &VariablesPin, merged: &Merged) -> Secret {
    let bytes = |bytes: &[u8]| ByteString(bytes.to_vec());
    let mut data: BTreeMap<String, ByteString> = merged
        .env
        .iter()
        .map(|(name, from)| (name.to_string(), bytes(from.value.expose().as_bytes())))
        .collect();
    let files = pin.files.iter().filter_map(|file| {
        let from = merged.files.get(&file.path)?;
        Some((file.key.clone(), bytes(from.value.content.expose())))
    });
    data.extend(files);
    let mut annotations =
        BTreeMap::from([(VARIABLES_DIGEST_ANNOTATION.to_owned(), pin.digest.clone())]);
    if let Some(origins) = origins(pin) {
        annotations.insert(VARIABLES_ORIGINS_ANNOTATION.to_owned(), origins);
    }
    Secret {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..render::owned(identity, pin.secret.clone())
        },
        immutable: Some(true),
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        string_data: None,
    }
}

/// Names by who brings them, as JSON. None where they are too many.
fn origins(pin: &VariablesPin) -> Option<String> {
    let mut origins: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |source: usize, name: String| {
        if let Some(source) = pin.sources.get(source) {
            let origin = format!("{:?}/{}", source.level, source.name);
            origins.entry(origin).or_default().push(name);
        }
    };
    for (name, source) in &pin.env {
        add(*source, name.to_string());
    }
    for file in &pin.files {
        add(file.source, file.path.to_string());
    }
    let text = serde_json::to_string(&origins).ok()?;
    (text.len() <= LONGEST_ORIGINS).then_some(text)
}

/// What differs between what a workspace has and what is newest, by name. `entry` reads the Secret of the pin.
pub fn differences<'a>(
    pin: Option<&VariablesPin>,
    entry: impl Fn(&str) -> Option<&'a [u8]>,
    newest: &'a Merged,
) -> Vec<OutdatedVariable> {
    let mut before: BTreeMap<String, (Option<&[u8]>, u16)> = BTreeMap::new();
    if let Some(pin) = pin {
        let env = pin.env.keys();
        before.extend(env.map(|name| (name.to_string(), (entry(name.as_str()), 0))));
        let files = pin.files.iter();
        before.extend(files.map(|file| (file.path.to_string(), (entry(&file.key), file.mode))));
    }
    let env = newest.env.iter();
    let env = env.map(|(name, from)| (name.to_string(), (from.value.expose().as_bytes(), 0)));
    let files = newest.files.iter().map(|(path, from)| {
        let file = &from.value;
        (path.to_string(), (file.content.expose(), file.mode))
    });
    let mut differences = Vec::new();
    for (name, (content, mode)) in env.chain(files) {
        let change = match before.remove(&name) {
            None => VariableChange::Added,
            Some((Some(had), of_mode)) if had == content && of_mode == mode => continue,
            Some(_) => VariableChange::Changed,
        };
        differences.push(OutdatedVariable { name, change });
    }
    let gone = before.into_keys().map(|name| OutdatedVariable {
        name,
        change: VariableChange::Removed,
    });
    differences.extend(gone);
    differences
}

#[cfg(test)]
mod tests;
