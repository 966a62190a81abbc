//! The object that a sealed set becomes, and the file that it may take the place of.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::Deserialize;

use crate::api::WorkspaceVariables;
use crate::api::variables::{SealedFormat, WorkspaceVariablesSpec};
use crate::cli::error::CliError;
use crate::secrets::error::Location;
use crate::yaml::{self, Limits, Node};

/// No object of ours is larger.
const LONGEST: u64 = 2 * 1024 * 1024;

/// Labels and annotations of the object that was there before.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Kept {
    metadata: ObjectMeta,
}

/// What a file may keep when another set takes its place.
///
/// # Errors
/// When it holds anything else than a set of the same place.
pub fn may_replace(path: &Path, place: &Location) -> Result<Kept, CliError> {
    let shown = path.display();
    let failed = |error| CliError::undone(format!("failed to read {shown}")).because(error);
    let refused = |problem: &str| {
        CliError::no(format!("{shown} is not overwritten: {problem}"))
            .next("name another file with -o, or take this one away")
    };
    let metadata = match fs::metadata(path) {
        // A link that leads nowhere is there all the same.
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            return Ok(Kept::default());
        }
        metadata => metadata.map_err(failed)?,
    };
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Err(refused("it is no file with a WorkspaceVariables"));
    }
    let content = fs::read(path).map_err(failed)?;
    kept(&content, place).map_err(|problem| refused(&problem))
}

/// Whether a document of a file is a WorkspaceVariables.
pub fn is_set(root: &Node) -> bool {
    let text = |key: &str| root.get(key).and_then(|entry| entry.node.as_text());
    let group = text("apiVersion").and_then(|version| version.split_once('/'));
    group.is_some_and(|(group, _)| group == WorkspaceVariables::group(&()))
        && text("kind") == Some(&*WorkspaceVariables::kind(&()))
}

fn kept(content: &[u8], place: &Location) -> Result<Kept, String> {
    let none = || "it holds something else than one WorkspaceVariables".to_owned();
    let mut documents = yaml::read(content, Limits::default()).into_iter();
    let (Some(Ok(document)), None) = (documents.next(), documents.next()) else {
        return Err(none());
    };
    if !is_set(&document.root) {
        return Err(none());
    }
    let found: Kept = serde_json::from_value(document.root.to_json()).map_err(|_| none())?;
    let (namespace, name) = (&found.metadata.namespace, &found.metadata.name);
    if namespace.as_ref() != Some(&place.namespace) || name.as_ref() != Some(&place.name) {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
        return Err(format!(
            "it holds WorkspaceVariables {}/{}, and this is {place}",
            part(namespace),
            part(name)
        ));
    }
    Ok(found)
}

/// The object as text.
///
/// # Errors
/// When the YAML door can't write it.
pub fn write(sealed: String, place: &Location, kept: Kept) -> Result<String, CliError> {
    let spec = WorkspaceVariablesSpec {
        format: SealedFormat::Age,
        sealed,
    };
    let mut object = WorkspaceVariables::new(&place.name, spec);
    object.metadata.namespace = Some(place.namespace.clone());
    object.metadata.labels = kept.metadata.labels;
    object.metadata.annotations = kept.metadata.annotations;
    Ok(yaml::write(&object)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Location {
        Location {
            namespace: "team-a".to_owned(),
            name: "api".to_owned(),
        }
    }

    #[test]
    fn the_object_carries_the_sealed_text_as_a_literal_block() {
        let text = write("one\ntwo\n".to_owned(), &place(), Kept::default()).unwrap();
        let expected = "apiVersion: workstead.dev/v1alpha1\nkind: WorkspaceVariables\nmetadata:\n  \
                        name: api\n  namespace: team-a\nspec:\n  format: Age\n  sealed: |\n    one\n    two\n";
        assert_eq!(text, expected);
        assert!(kept(text.as_bytes(), &place()).is_ok());
    }

    #[test]
    fn only_a_set_of_the_same_place_is_overwritten_and_its_labels_and_annotations_stay() {
        let text = write("x\n".to_owned(), &place(), Kept::default()).unwrap();
        let labelled = text.replace(
            "  name: api\n",
            "  name: api\n  labels: {a: b}\n  annotations: {c: d}\n",
        );
        let found = kept(labelled.as_bytes(), &place()).unwrap();
        let again = write("y\n".to_owned(), &place(), found).unwrap();
        assert!(
            again.contains("labels:\n    a: b\n") && again.contains("annotations:\n    c: d\n")
        );
        let twice = format!("{text}---\n{text}");
        for (other, said) in [
            (
                text.replace("name: api", "name: web"),
                "WorkspaceVariables team-a/web",
            ),
            (
                text.replace("team-a", "team-b"),
                "WorkspaceVariables team-b/api",
            ),
            (
                text.replace("  namespace: team-a\n", ""),
                "WorkspaceVariables ?/api",
            ),
            (
                text.replace("workstead.dev/", "other.dev/"),
                "something else",
            ),
            (
                text.replace("kind: WorkspaceVariables", "kind: Secret"),
                "something else",
            ),
            (twice, "something else"),
            (String::new(), "something else"),
            ("env: {A: canary}".to_owned(), "something else"),
            ("canary: [".to_owned(), "something else"),
        ] {
            let problem = kept(other.as_bytes(), &place()).unwrap_err();
            assert!(problem.contains(said), "{problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    }
}
