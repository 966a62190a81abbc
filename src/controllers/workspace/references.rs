//! Values that a Workspace takes from Secrets of its namespace by `env[].valueFrom`: read one by one when a start takes them.
//!
//! The cache knows by their metadata which Secrets may be used. What was read is judged again, since between the two somebody
//! may have put another Secret there. It is read by hand: the client would log an answer that it can't parse, and an annotation
//! may hold a copy of it all.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::Request;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource as _};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use crate::api::Workspace;
use crate::controllers::cache::Key;
use crate::model::owners::OwnerCheck;
use crate::model::variables::VariableName;
use crate::model::variables::references::{
    REFERENCE_REFUSED, ReferenceRefusal, SecretFacts, Usable, judge,
};
use crate::secrets::document::LONGEST_VARIABLE;
use crate::secrets::error::{INVALID_CONTENT, LIMIT_EXCEEDED};
use crate::secrets::text::SecretText;

/// Why values could not be taken. Secret and entry are named, nothing of what is in them.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The API server does not answer, or refuses.
    #[error("failed to read Secret {secret}")]
    Api {
        /// Which.
        secret: Key,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The API server's answer is no Secret. What it is instead may be secret.
    #[error("failed to read Secret {0}: the answer is no Secret")]
    Answer(Key),
    /// It may not be used.
    #[error(transparent)]
    Refused(#[from] ReferenceRefusal),
    /// It has no such entry.
    #[error(
        "Secret {secret} has no entry {key}, which {variable} takes: add it, or correct secretKeyRef.key"
    )]
    NoEntry {
        /// Name of the Secret.
        secret: String,
        /// The entry.
        key: String,
        /// For which variable.
        variable: VariableName,
    },
    /// No environment variable can have it.
    #[error(
        "entry {key} of Secret {secret} is no text without NUL, and {variable} can have nothing else: correct it"
    )]
    NoText {
        /// Name of the Secret.
        secret: String,
        /// The entry.
        key: String,
        /// For which variable.
        variable: VariableName,
    },
    /// Linux starts no program with it.
    #[error(
        "entry {key} of Secret {secret} is longer than Linux takes for {variable}: with its name it has {found} bytes, and at \
         most {LONGEST_VARIABLE} go"
    )]
    TooLong {
        /// Name of the Secret.
        secret: String,
        /// The entry.
        key: String,
        /// For which variable.
        variable: VariableName,
        /// How long both are together.
        found: usize,
    },
}

impl ReferenceError {
    /// Code and reason; none when the API server did not answer, which may be tried again.
    pub fn entry(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Api { .. } | Self::Answer(_) => None,
            Self::Refused(_) | Self::NoEntry { .. } => Some(REFERENCE_REFUSED),
            Self::NoText { .. } => Some(INVALID_CONTENT),
            Self::TooLong { .. } => Some(LIMIT_EXCEEDED),
        }
    }

    /// Whether the same question may have another answer without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.entry().is_none()
    }
}

/// What was taken of a Secret.
pub struct Brought {
    /// Which Secret it was, and which version of it.
    pub from: Usable,
    /// The values, by variable.
    pub values: BTreeMap<VariableName, SecretText>,
}

/// What is read of a Secret: neither its other labels nor its other annotations. Wiped when it goes.
#[derive(Deserialize)]
pub(super) struct Answer {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, ByteString>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    resource_version: String,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(rename = "workstead.dev/use", default)]
    used_for: Option<String>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "workstead.dev/owner", default)]
    owner: Option<String>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let entries = self.data.iter_mut().flat_map(BTreeMap::values_mut);
        entries.for_each(|entry| entry.0.zeroize());
    }
}

impl Answer {
    /// The bytes of an entry.
    pub(super) fn entry(&self, key: &str) -> Option<&[u8]> {
        let entry = self.data.as_ref()?.get(key)?;
        Some(&entry.0)
    }

    fn facts(&self) -> SecretFacts<'_> {
        let labels = self.metadata.labels.as_ref();
        let annotations = self.metadata.annotations.as_ref();
        SecretFacts {
            used_for: labels.and_then(|labels| labels.used_for.as_deref()),
            owner: annotations.and_then(|annotations| annotations.owner.as_deref()),
            uid: &self.metadata.uid,
            version: &self.metadata.resource_version,
        }
    }

    fn value(
        &self,
        secret: &str,
        variable: &VariableName,
        key: &str,
    ) -> Result<SecretText, ReferenceError> {
        let (secret, key_name, variable_name) =
            (|| secret.to_owned(), || key.to_owned(), || variable.clone());
        let entry = self.data.as_ref().and_then(|data| data.get(key));
        let entry = entry.ok_or_else(|| ReferenceError::NoEntry {
            secret: secret(),
            key: key_name(),
            variable: variable_name(),
        })?;
        let text = std::str::from_utf8(&entry.0).ok();
        let text = text.filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| ReferenceError::NoText {
            secret: secret(),
            key: key_name(),
            variable: variable_name(),
        })?;
        let found = variable.as_str().len() + 1 + text.len();
        if found > LONGEST_VARIABLE {
            return Err(ReferenceError::TooLong {
                secret: secret(),
                key: key_name(),
                variable: variable_name(),
                found,
            });
        }
        Ok(SecretText::new(text.to_owned()))
    }
}

/// Reads a Secret and takes the asked entries of it, for a Workspace of this owner. Nothing is taken of a Secret that may not be
/// used as it was read.
///
/// # Errors
/// When it may not be used, has no such entry or one that no variable can have, or the API server does not answer.
pub async fn take(
    client: &Client,
    secret: &Key,
    asked: &BTreeMap<VariableName, String>,
    owner: &str,
    check: &OwnerCheck,
) -> Result<Brought, ReferenceError> {
    let answer = read(client, secret).await?;
    let facts = answer.as_ref().map(Answer::facts);
    let from = judge(&secret.name, facts, owner, check)?;
    let mut values = BTreeMap::new();
    if let Some(answer) = &answer {
        for (variable, key) in asked {
            let value = answer.value(&secret.name, variable, key)?;
            values.insert(variable.clone(), value);
        }
    }
    Ok(Brought { from, values })
}

/// Reads a Secret; none, it is not there.
///
/// # Errors
/// When the API server does not answer, or answers with something else.
pub(super) async fn read(client: &Client, secret: &Key) -> Result<Option<Answer>, ReferenceError> {
    let failed = |source| ReferenceError::Api {
        secret: secret.clone(),
        source: Box::new(source),
    };
    let request = Request::new(Secret::url_path(&(), Some(&secret.namespace)))
        .get(&secret.name, &GetParams::default())
        .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
    let text = match client.request_text(request).await {
        Ok(text) => Zeroizing::new(text),
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    parse(&text, secret).map(Some)
}

/// The error would quote what it could not read.
fn parse(text: &str, secret: &Key) -> Result<Answer, ReferenceError> {
    serde_json::from_str(text).map_err(|_| ReferenceError::Answer(secret.clone()))
}

/// Wakes the Workspaces that name a Secret that changed.
pub fn wakes(
    changed: impl Stream<Item = Key> + Send + 'static,
    workspaces: Store<Workspace>,
) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
    changed.flat_map(move |secret| {
        let named: Vec<ObjectRef<Workspace>> = workspaces
            .state()
            .iter()
            .filter(|workspace| names(workspace, &secret))
            .map(|workspace| ObjectRef::from_obj(&**workspace))
            .collect();
        futures::stream::iter(named)
    })
}

fn names(workspace: &Workspace, secret: &Key) -> bool {
    let here = workspace.metadata.namespace.as_deref() == Some(&*secret.namespace);
    let mut sources = workspace
        .spec
        .env
        .iter()
        .filter_map(|variable| variable.value_from.as_ref());
    here && sources.any(|source| source.secret_key_ref.name == secret.name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::names::{OWNER_ANNOTATION, USE_LABEL};

    const CANARY: &str = "cAnArY-81c2";

    fn secret() -> Key {
        Key::new("team", "db")
    }

    fn answer(data: &Value) -> Answer {
        let text = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "db", "uid": "u", "resourceVersion": "7",
                "labels": {USE_LABEL: "variables", "other": "x"},
                "annotations": {OWNER_ANNOTATION: "alice", "copy": CANARY},
            },
            "data": data,
        });
        parse(&text.to_string(), &secret()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn encoded(bytes: &[u8]) -> Value {
        serde_json::to_value(ByteString(bytes.to_vec())).unwrap()
    }

    fn taken(data: &Value, key: &str) -> Result<String, ReferenceError> {
        let variable = VariableName::new("TOKEN").unwrap();
        let value = answer(data).value("db", &variable, key)?;
        Ok(value.expose().to_owned())
    }

    #[test]
    fn label_and_owner_are_those_of_the_object_that_was_read() {
        let answer = answer(&Value::Null);
        let facts = answer.facts();
        assert_eq!(
            (facts.used_for, facts.owner),
            (Some("variables"), Some("alice"))
        );
        assert_eq!((facts.uid, facts.version), ("u", "7"));
        let bare = json!({"metadata": {"uid": "u", "resourceVersion": "8"}}).to_string();
        let bare = parse(&bare, &secret()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((bare.facts().used_for, bare.facts().owner), (None, None));
    }

    #[test]
    fn a_value_is_taken_byte_for_byte() {
        let text = "a\n \"b\" $(X) ü ";
        assert_eq!(
            taken(&json!({"k": encoded(text.as_bytes())}), "k").unwrap(),
            text
        );
        assert_eq!(taken(&json!({"k": ""}), "k").unwrap(), "");
        let longest = "x".repeat(LONGEST_VARIABLE - "TOKEN=".len());
        taken(&json!({"k": encoded(longest.as_bytes())}), "k").unwrap();
    }

    #[test]
    fn what_no_variable_can_have_is_refused_by_the_name_of_its_entry() {
        let long = CANARY.repeat(LONGEST_VARIABLE / CANARY.len() + 1);
        for (data, code) in [
            (json!({"other": encoded(CANARY.as_bytes())}), "WV109"),
            (Value::Null, "WV109"),
            (
                json!({"k": encoded(&[CANARY.as_bytes(), b"\0"].concat())}),
                "WV107",
            ),
            (
                json!({"k": encoded(&[CANARY.as_bytes(), b"\xff"].concat())}),
                "WV107",
            ),
            (json!({"k": encoded(long.as_bytes())}), "WV106"),
        ] {
            let error = taken(&data, "k").unwrap_err();
            assert_eq!(error.entry().unwrap().0, code, "{error}");
            let text = format!("{error} {error:?}");
            assert!(text.contains("db") && text.contains("TOKEN"), "{text}");
            assert!(!text.contains(CANARY), "{text}");
        }
    }

    #[test]
    fn an_answer_that_is_no_secret_is_not_repeated() {
        for text in [
            format!(
                "{{\"metadata\": {{\"uid\": \"u\", \"resourceVersion\": \"7\"}}, \"data\": {{\"k\": \"{CANARY}!\"}}}}"
            ),
            CANARY.to_owned(),
            format!("{{\"metadata\": \"{CANARY}\"}}"),
        ] {
            let Err(error) = parse(&text, &secret()) else {
                panic!("{text} was read");
            };
            let said = format!("{error} {error:?}");
            assert!(!said.contains(CANARY), "{said}");
            assert!(error.is_retryable());
        }
    }

    #[test]
    fn a_secret_concerns_the_workspaces_of_its_namespace_that_name_it() {
        let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}, {"name": "B", "value": "x"}]);
        let workspace: Workspace = serde_json::from_value(json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
            "metadata": {"name": "api", "namespace": "team"},
            "spec": {"owner": "alice", "image": "debian", "env": env},
        }))
        .unwrap();
        assert!(names(&workspace, &secret()));
        assert!(!names(&workspace, &Key::new("team", "other")));
        assert!(!names(&workspace, &Key::new("elsewhere", "db")));
    }
}
