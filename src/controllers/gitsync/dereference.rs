//! What a GitSync refers to: its own settings as types, its Secrets, the namespaces that it may write to.
//!
//! Secrets are read one by one, by name: the controller may neither list nor watch them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Client;
use kube::api::Api;

use super::webhook;
use crate::api::GitSync;
use crate::api::shared::DurationText;
use crate::controllers::cache::Key;
use crate::model::duration::Span;
use crate::model::names::ACCEPT_GITSYNC_ANNOTATION;
use crate::model::sync::{Code, ObjectId, Snapshot, SourceError};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
const DEFAULT_RETRY_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Why what a GitSync refers to can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    /// The spec.
    #[error("{0}")]
    Config(String),
    /// A Secret that is missing, or lacks what is needed.
    #[error("{0}")]
    Secret(String),
    /// A Secret that could not be read.
    #[error("failed to read Secret {name}")]
    ReadSecret {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// A Namespace that could not be read.
    #[error("failed to read Namespace {name}")]
    ReadNamespace {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

impl DereferenceError {
    /// As it is reported.
    pub fn report(&self) -> SourceError {
        match self {
            Self::Config(message) => SourceError::new(Code::InvalidConfig, message),
            Self::Secret(message) => SourceError::new(Code::SecretInvalid, message),
            Self::ReadSecret { source, .. } | Self::ReadNamespace { source, .. } => {
                let code = match source {
                    kube::Error::Api(status) if status.is_forbidden() => Code::ApplyForbidden,
                    _ => Code::ApiUnavailable,
                };
                SourceError::new(code, format!("{self}: {source}"))
            }
        }
    }

    /// What the client said.
    pub fn client_error(&self) -> Option<&kube::Error> {
        match self {
            Self::ReadSecret { source, .. } | Self::ReadNamespace { source, .. } => Some(source),
            Self::Config(_) | Self::Secret(_) => None,
        }
    }
}

/// The times of a GitSync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between fetches that nobody asked for.
    pub interval: Duration,
    /// The longest wait after a failure.
    pub retry_interval: Duration,
    /// For one fetch.
    pub timeout: Duration,
}

/// Reads the times of the spec.
///
/// # Errors
/// When one is no length of time: an object from before the schema's rules.
pub fn times(gitsync: &GitSync) -> Result<Times, DereferenceError> {
    let spec = &gitsync.spec;
    Ok(Times {
        interval: time("interval", spec.interval.as_ref(), DEFAULT_INTERVAL)?,
        retry_interval: time(
            "retryInterval",
            spec.retry_interval.as_ref(),
            DEFAULT_RETRY_INTERVAL,
        )?
        .max(Duration::from_secs(1)),
        timeout: time("timeout", spec.timeout.as_ref(), DEFAULT_TIMEOUT)?,
    })
}

fn time(
    field: &str,
    text: Option<&DurationText>,
    default: Duration,
) -> Result<Duration, DereferenceError> {
    let Some(text) = text else {
        return Ok(default);
    };
    Span::parse(&text.0)
        .map(|span| Duration::from_millis(span.milliseconds()))
        .map_err(|error| DereferenceError::Config(format!("spec.{field}: {error}")))
}

/// How to get in, as the Secret says. Never shown: it has no Debug.
pub struct Access {
    /// What to show to the server.
    pub login: Option<Login>,
    /// Authorities to trust instead of the system's.
    pub authority: Option<Vec<u8>>,
    /// Resource version of the Secret.
    pub version: Option<String>,
}

/// What to show to a server.
pub enum Login {
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password, or an access token.
        password: String,
    },
    /// A token.
    Bearer(String),
}

/// Reads `spec.secretRef`.
///
/// # Errors
/// When the Secret is missing, or has not the keys of one of the known shapes.
pub async fn access(client: &Client, gitsync: &GitSync) -> Result<Access, DereferenceError> {
    let Some(reference) = &gitsync.spec.secret_ref else {
        return Ok(Access {
            login: None,
            authority: None,
            version: None,
        });
    };
    let key = Key::of(gitsync);
    let secret = read_secret(client, &key.namespace, &reference.name)
        .await?
        .ok_or_else(|| {
            DereferenceError::Secret(format!(
                "spec.secretRef: Secret {}/{} does not exist: create it with username and password, or bearerToken",
                key.namespace, reference.name
            ))
        })?;
    shape(&reference.name, secret)
}

async fn read_secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Secret>, DereferenceError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name)
        .await
        .map_err(|source| DereferenceError::ReadSecret {
            name: name.to_owned(),
            source,
        })
}

/// The known shapes: `username` and `password`; `bearerToken`; `ca.crt` alone or beside either.
fn shape(name: &str, secret: Secret) -> Result<Access, DereferenceError> {
    let version = secret.metadata.resource_version;
    let mut data = secret.data.unwrap_or_default();
    let wrong =
        |what: String| DereferenceError::Secret(format!("spec.secretRef: Secret {name} {what}"));
    let mut text = |key: &str| -> Result<Option<String>, DereferenceError> {
        let Some(bytes) = data.remove(key) else {
            return Ok(None);
        };
        // A line break at the end comes from an editor or from `echo`; in a header it would break the request.
        let text = String::from_utf8(bytes.0)
            .map_err(|_| wrong(format!("has a key {key} that is no text")))?;
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(wrong(format!(
                "has a key {key} that is empty or holds control characters"
            )));
        }
        Ok(Some(text))
    };
    let login = match (text("username")?, text("password")?, text("bearerToken")?) {
        (Some(username), Some(password), None) => Some(Login::Basic { username, password }),
        (None, None, Some(token)) => Some(Login::Bearer(token)),
        (None, None, None) => None,
        (Some(_), None, None) => return Err(wrong("has username but no password".to_owned())),
        (None, Some(_), None) => return Err(wrong("has password but no username".to_owned())),
        (_, _, Some(_)) => {
            return Err(wrong(
                "has bearerToken beside username or password: keep one of the two".to_owned(),
            ));
        }
    };
    let authority = data.remove("ca.crt").map(|bytes| bytes.0);
    if let Some(pem) = &authority
        && !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----")
    {
        return Err(wrong(
            "has a key ca.crt that holds no certificate in PEM form".to_owned(),
        ));
    }
    if login.is_none() && authority.is_none() {
        return Err(wrong(
            "has none of the keys username and password, bearerToken, ca.crt".to_owned(),
        ));
    }
    Ok(Access {
        login,
        authority,
        version,
    })
}

/// The path of the webhook, from its Secret.
///
/// # Errors
/// When the Secret is missing or lacks the key `token`.
pub async fn webhook_path(
    client: &Client,
    gitsync: &GitSync,
) -> Result<Option<String>, DereferenceError> {
    let Some(hook) = &gitsync.spec.webhook else {
        return Ok(None);
    };
    let key = Key::of(gitsync);
    let name = &hook.secret_ref.name;
    let missing = || {
        DereferenceError::Secret(format!(
            "spec.webhook.secretRef: Secret {}/{name} with a key {} does not exist or is empty",
            key.namespace,
            webhook::TOKEN_KEY
        ))
    };
    let secret = read_secret(client, &key.namespace, name)
        .await?
        .ok_or_else(missing)?;
    let token = secret
        .data
        .and_then(|mut data| data.remove(webhook::TOKEN_KEY))
        .ok_or_else(missing)?;
    webhook::hook_path(&key.namespace, &key.name, &token.0)
        .map(Some)
        .ok_or_else(missing)
}

/// A snapshot without what is meant for other namespaces that do not accept this GitSync. That `spec` allows them was
/// checked when the snapshot was read; the other half is theirs to say, anew in each pass.
///
/// # Errors
/// When the API server does not answer.
pub async fn admit(
    client: &Client,
    gitsync: &GitSync,
    snapshot: &Arc<Snapshot>,
) -> Result<Arc<Snapshot>, DereferenceError> {
    let key = Key::of(gitsync);
    let refusals = closed_namespaces(client, &key, snapshot.objects.keys()).await?;
    if refusals.is_empty() {
        return Ok(snapshot.clone());
    }
    let mut admitted = Snapshot::clone(snapshot);
    for id in snapshot.objects.keys() {
        if let Some(message) = id.namespace.as_ref().and_then(|name| refusals.get(name)) {
            admitted.refuse(id, Code::NamespaceNotAllowed, message);
        }
    }
    Ok(Arc::new(admitted))
}

/// The namespaces of these objects that do not accept a GitSync from elsewhere, and why.
///
/// # Errors
/// When the API server does not answer.
pub async fn closed_namespaces(
    client: &Client,
    key: &Key,
    ids: impl IntoIterator<Item = &ObjectId>,
) -> Result<BTreeMap<String, String>, DereferenceError> {
    let others: BTreeSet<&String> = ids
        .into_iter()
        .filter_map(|id| id.namespace.as_ref())
        .filter(|namespace| **namespace != key.namespace)
        .collect();
    let mut closed = BTreeMap::new();
    for name in others {
        if let Some(refusal) = refuse(client, key, name).await? {
            closed.insert(name.clone(), refusal);
        }
    }
    Ok(closed)
}

/// Why another namespace may not be written to, if it may not.
async fn refuse(
    client: &Client,
    key: &Key,
    name: &str,
) -> Result<Option<String>, DereferenceError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let read = api.get_metadata_opt(name).await;
    let namespace = read.map_err(|source| DereferenceError::ReadNamespace {
        name: name.to_owned(),
        source,
    })?;
    let Some(namespace) = namespace else {
        return Ok(Some(format!("namespace {name} does not exist")));
    };
    let accepted = namespace
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(ACCEPT_GITSYNC_ANNOTATION));
    if accepted.is_some_and(|list| accepts(list, key)) {
        return Ok(None);
    }
    Ok(Some(format!(
        "namespace {name} does not accept this GitSync: whoever administers it may annotate it with {ACCEPT_GITSYNC_ANNOTATION}: {key}"
    )))
}

fn accepts(list: &str, key: &Key) -> bool {
    let wanted = key.to_string();
    list.split(',').any(|entry| entry.trim() == wanted)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        Secret {
            data: Some(
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    fn error(pairs: &[(&str, &str)]) -> String {
        match shape("s", secret(pairs)) {
            Ok(_) => panic!("{pairs:?} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_three_shapes_are_read_and_line_breaks_at_the_end_are_dropped() {
        let access = shape("s", secret(&[("username", "u\n"), ("password", "p\r\n")])).ok();
        let login = access.and_then(|access| access.login);
        assert!(matches!(login, Some(Login::Basic { username, password })
            if username == "u" && password == "p"));
        let access = shape("s", secret(&[("bearerToken", "t")])).ok();
        assert!(matches!(access.and_then(|a| a.login), Some(Login::Bearer(t)) if t == "t"));
        let pem = "-----BEGIN CERTIFICATE-----\n";
        let access = shape("s", secret(&[("ca.crt", pem)])).ok().unwrap();
        assert!(access.login.is_none() && access.authority.is_some());
    }

    #[test]
    fn other_shapes_are_refused_and_values_are_never_shown() {
        let canary = "s3cr3t";
        for pairs in [
            &[("username", canary)][..],
            &[("password", canary)],
            &[
                ("username", canary),
                ("password", canary),
                ("bearerToken", canary),
            ],
            &[("token", canary)],
            &[("ca.crt", canary)],
            &[("bearerToken", "s3cr3t\nx")],
            &[("username", ""), ("password", canary)],
            &[],
        ] {
            let text = error(pairs);
            assert!(text.starts_with("spec.secretRef: Secret s has"), "{text}");
            assert!(!text.contains(canary), "{text}");
        }
    }

    #[test]
    fn a_namespace_accepts_by_exact_name_in_a_list() {
        let key = Key::new("sync", "all");
        assert!(accepts("sync/all", &key));
        assert!(accepts("other/x, sync/all", &key));
        for list in ["", "sync/al", "sync/all2", "*", "all", "sync/all/x"] {
            assert!(!accepts(list, &key), "{list}");
        }
    }
}
