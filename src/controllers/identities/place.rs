//! Where the two objects lie: the Secret, read and made by hand so that little of it stays in memory, and the ConfigMap.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{
    Api, DeleteParams, GetParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::Request;
use kube::{Client, Resource as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::controllers::identities::IdentitiesError;
use crate::controllers::identities::recipients::{self, Published};
use crate::model::names::{
    IDENTITIES_ENTRY, IDENTITIES_SECRET, MANAGED_BY, MANAGED_BY_LABEL, RECIPIENTS_CONFIG_MAP,
    RECIPIENTS_ENTRY, VARIABLES_MANAGER,
};
use crate::secrets::identity::{Identities, Identity};

const SECRET: &str = "Secret workstead-identities";
const CONFIG_MAP: &str = "ConfigMap workstead-recipients";
/// So often somebody may be faster with the ConfigMap before that is told.
const ATTEMPTS: usize = 3;

/// Both objects of an installation.
pub(super) struct Place {
    client: Client,
    namespace: String,
}

/// What is read of the Secret: no annotation, which may hold a copy of it all.
#[derive(Deserialize)]
struct Entries {
    #[serde(default)]
    data: Option<BTreeMap<String, ByteString>>,
}

impl Drop for Entries {
    fn drop(&mut self) {
        let entries = self.data.iter_mut().flat_map(BTreeMap::values_mut);
        entries.for_each(|entry| entry.0.zeroize());
    }
}

impl Place {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// The ConfigMap. It is read before the Secret: whoever makes both makes it last.
    pub(super) async fn published(&self) -> Result<Option<ConfigMap>, IdentitiesError> {
        let found = self.maps().get_opt(RECIPIENTS_CONFIG_MAP).await;
        found.map_err(|source| self.failed("read", CONFIG_MAP, source))
    }

    /// The identities of the Secret. It is made when there is none and nobody can have sealed anything.
    pub(super) async fn identities(
        &self,
        published: Option<&ConfigMap>,
        now: Timestamp,
    ) -> Result<Identities, IdentitiesError> {
        if let Some(entries) = self.read().await? {
            return self.parse(&entries);
        }
        let published = Published::parse(text_of(published).unwrap_or_default());
        if !published.is_empty() {
            return Err(IdentitiesError::Gone {
                namespace: self.namespace.clone(),
                published: published.named(),
            });
        }
        self.create(now).await?;
        // What lies there is what counts: somebody else may have been faster.
        match self.read().await? {
            Some(entries) => self.parse(&entries),
            None => Err(IdentitiesError::Vanished(self.namespace.clone())),
        }
    }

    /// Publishes whom to seal for, unless just that is published.
    pub(super) async fn publish(
        &self,
        mut live: Option<ConfigMap>,
        identities: &Identities,
    ) -> Result<(), IdentitiesError> {
        let text = recipients::text(identities);
        let mut attempt = 1;
        loop {
            let written = match &live {
                None => self.write_new(&text).await,
                Some(live) if is_as_it_should_be(live, &text) => return Ok(()),
                Some(live) => {
                    tell(live, identities);
                    self.write_again(live, &text).await
                }
            };
            match written {
                Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {
                    attempt += 1;
                    live = self.published().await?;
                }
                written => {
                    return written.map_err(|source| self.failed("write", CONFIG_MAP, source));
                }
            }
        }
    }

    /// By hand, since the client would log an answer that it can't parse.
    async fn read(&self) -> Result<Option<Entries>, IdentitiesError> {
        let failed = |source| self.failed("read", SECRET, source);
        let request = self
            .request()
            .get(IDENTITIES_SECRET, &GetParams::default())
            .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        let text = match self.client.request_text(request).await {
            Ok(text) => Zeroizing::new(text),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let parsed = serde_json::from_str(&text);
        // The error would quote what it could not read.
        parsed
            .map(Some)
            .map_err(|_| IdentitiesError::Answer(self.namespace.clone()))
    }

    fn parse(&self, entries: &Entries) -> Result<Identities, IdentitiesError> {
        let namespace = || self.namespace.clone();
        let data = entries.data.as_ref();
        let entry = data.and_then(|data| data.get(IDENTITIES_ENTRY));
        let entry = entry.ok_or_else(|| IdentitiesError::NoEntry(namespace()))?;
        let text =
            std::str::from_utf8(&entry.0).map_err(|_| IdentitiesError::NoText(namespace()))?;
        Identities::parse(text).map_err(|source| IdentitiesError::Unreadable {
            namespace: namespace(),
            source,
        })
    }

    /// Makes the Secret with one identity. Nothing is done where there is one already.
    async fn create(&self, now: Timestamp) -> Result<(), IdentitiesError> {
        let failed = |source| self.failed("create", SECRET, source);
        let identity = Identity::generate();
        let text = identity.to_file(now);
        let body = json_of(&text).map_err(|error| failed(kube::Error::SerdeError(error)))?;
        let params = PostParams {
            field_manager: Some(VARIABLES_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = self.request().create(&params, body);
        let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        match self.client.request_text(request).await {
            Ok(answer) => {
                drop(Zeroizing::new(answer));
                let fingerprint = identity.fingerprint().to_string();
                tracing::info!(fingerprint, "the identity of sealed variables was made");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    async fn write_new(&self, text: &str) -> Result<(), kube::Error> {
        let params = PostParams {
            field_manager: Some(VARIABLES_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let body = ConfigMap {
            metadata: ObjectMeta {
                name: Some(RECIPIENTS_CONFIG_MAP.to_owned()),
                labels: Some(labels()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(
                RECIPIENTS_ENTRY.to_owned(),
                text.to_owned(),
            )])),
            ..ConfigMap::default()
        };
        self.maps().create(&params, &body).await.map(drop)
    }

    /// Takes away what others have added too, which an apply would leave.
    async fn write_again(&self, live: &ConfigMap, text: &str) -> Result<(), kube::Error> {
        if live.immutable == Some(true) {
            let params = DeleteParams::default().preconditions(Preconditions {
                uid: live.metadata.uid.clone(),
                resource_version: live.metadata.resource_version.clone(),
            });
            self.maps().delete(RECIPIENTS_CONFIG_MAP, &params).await?;
            return self.write_new(text).await;
        }
        let keys = live.data.iter().flat_map(BTreeMap::keys);
        let mut data: Map<String, Value> = keys.map(|key| (key.clone(), Value::Null)).collect();
        data.insert(RECIPIENTS_ENTRY.to_owned(), text.into());
        let patch = Patch::Merge(json!({
            // The version: what somebody writes in between is looked at, and told, before it is undone.
            "metadata": {"labels": labels(), "resourceVersion": live.metadata.resource_version},
            "data": data,
            "binaryData": null,
        }));
        let params = PatchParams {
            field_manager: Some(VARIABLES_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let maps = self.maps();
        let written = maps.patch(RECIPIENTS_CONFIG_MAP, &params, &patch).await;
        written.map(drop)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn request(&self) -> Request {
        Request::new(Secret::url_path(&(), Some(&self.namespace)))
    }

    fn failed(
        &self,
        what: &'static str,
        object: &'static str,
        source: kube::Error,
    ) -> IdentitiesError {
        IdentitiesError::Api {
            what,
            object,
            namespace: self.namespace.clone(),
            source: Box::new(source),
        }
    }
}

/// The Secret as it is sent. It has no label of ours, since it is no child of anything.
fn json_of(text: &str) -> Result<Vec<u8>, serde_json::Error> {
    let entry = ByteString(text.as_bytes().to_vec());
    let mut secret = Secret {
        metadata: ObjectMeta {
            name: Some(IDENTITIES_SECRET.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(IDENTITIES_ENTRY.to_owned(), entry)])),
        ..Secret::default()
    };
    let body = serde_json::to_vec(&secret);
    let entries = secret.data.iter_mut().flat_map(BTreeMap::values_mut);
    entries.for_each(|entry| entry.0.zeroize());
    body
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])
}

fn text_of(live: Option<&ConfigMap>) -> Option<&str> {
    let text = live?.data.as_ref()?.get(RECIPIENTS_ENTRY)?;
    Some(text)
}

fn is_as_it_should_be(live: &ConfigMap, text: &str) -> bool {
    let is_alone = live.data.as_ref().is_some_and(|data| data.len() == 1);
    let is_labelled =
        live.metadata.labels.as_ref().is_some_and(|labels| {
            labels.get(MANAGED_BY_LABEL).map(String::as_str) == Some(MANAGED_BY)
        });
    let has_bytes = live.binary_data.as_ref().is_some_and(|all| !all.is_empty());
    is_alone && is_labelled && !has_bytes && text_of(Some(live)) == Some(text)
}

/// Whoever edits it could have people seal for himself, so it is never put right in silence.
fn tell(live: &ConfigMap, identities: &Identities) {
    let published = Published::parse(text_of(Some(live)).unwrap_or_default());
    let difference = published.difference(identities);
    tracing::warn!(
        foreign = difference.foreign,
        lacking = difference.lacking,
        "ConfigMap {RECIPIENTS_CONFIG_MAP} does not say what Secret {IDENTITIES_SECRET} holds, and is written again",
    );
}
