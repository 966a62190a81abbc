//! The Secrets with the keys of supervisors: the authority's, one a workspace, and the proxy's.
//!
//! No key is read back but the authority's, once a process. Of a workspace's Secret the public key is known from an
//! annotation, so that the controller holds nobody's private key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{
    Api, DeleteParams, ObjectMeta, PartialObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Client as KubeClient, ResourceExt};
use workstead_link::{TLS_CERTIFICATE, TLS_CLIENTS, TLS_KEY};

use crate::controllers::apply::{ApplyError, Ownership, Parent, ownership};
use crate::controllers::cache::Key;
use crate::controllers::supervisor::authority::{
    Authority, AuthorityError, Client, ClientIdentity, SupervisorKey,
};
use crate::inside::identity::Identity;
use crate::inside::pin::PublicKeyDigest;
use crate::model::names::{
    AUTHORITY_SECRET, PROXY_CLIENT_SECRET, PUBLIC_KEY_ANNOTATION, RENEW_AT_ANNOTATION,
    WORKSPACE_MANAGER,
};
use crate::model::workspace::Identity as WorkspaceIdentity;
use crate::render;

/// Two processes that begin together may both make the authority: the second reads what the first made.
const TRIES: usize = 3;
const SECRET: &str = "Secret";

/// Why the authority is not there.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The API server does not answer, or refuses.
    #[error("failed to {what} Secret {AUTHORITY_SECRET} in namespace {namespace}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// The installation's.
        namespace: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The Secret holds something else.
    #[error(
        "failed to use Secret {AUTHORITY_SECRET} in namespace {namespace}: delete it, and restart all workspaces, to have another one made"
    )]
    Authority {
        /// The installation's.
        namespace: String,
        /// Why.
        source: AuthorityError,
    },
}

/// Makes keys, and is the controller's own.
pub struct Keys {
    client: KubeClient,
    authority: Authority,
    us: Mutex<Option<Arc<ClientIdentity>>>,
}

impl Keys {
    /// Reads the authority, or makes it where there is none.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub async fn open(
        client: KubeClient,
        namespace: &str,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        let authority = open_authority(&client, namespace, now).await?;
        Ok(Self {
            client,
            authority,
            us: Mutex::default(),
        })
    }

    /// The controller's certificate, made anew when its time is nearly over.
    ///
    /// # Errors
    /// When the random source or the clock fails.
    pub fn us(&self, now: Timestamp) -> Result<Arc<ClientIdentity>, AuthorityError> {
        let mut us = self.us.lock().unwrap_or_else(PoisonError::into_inner);
        match us.as_ref().filter(|us| now < us.renew_at) {
            Some(us) => Ok(us.clone()),
            None => {
                let made = Arc::new(self.authority.client(Client::Controller, now)?);
                *us = Some(made.clone());
                Ok(made)
            }
        }
    }

    /// Makes the key of a workspace, unless its Secret is there: `seen` is what the cache shows of it.
    ///
    /// # Errors
    /// When the Secret is somebody else's, or can't be made.
    pub async fn of_workspace(
        &self,
        parent: &Parent,
        identity: &WorkspaceIdentity,
        name: &str,
        seen: Option<&PartialObjectMeta<Secret>>,
        now: Timestamp,
    ) -> Result<PublicKeyDigest, ApplyError> {
        let key = Key::new(&parent.key.namespace, name);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &parent.key.namespace);
        if let Some(seen) = seen {
            return known(parent, &key, seen);
        }
        let read = |source: kube::Error| ApplyError::Read {
            kind: SECRET,
            key: key.clone(),
            source: Box::new(source),
        };
        if let Some(live) = api.get_metadata_opt(name).await.map_err(read)? {
            return known(parent, &key, &live);
        }
        let made = self
            .authority
            .supervisor(now)
            .map_err(|source| ApplyError::Key {
                key: key.clone(),
                source,
            })?;
        let secret = self.secret(identity, name, &made);
        api.create(&post(), &secret)
            .await
            .map_err(|source| ApplyError::Apply {
                kind: SECRET,
                key: key.clone(),
                source: Box::new(source),
            })?;
        Ok(made.public_key)
    }

    fn secret(&self, identity: &WorkspaceIdentity, name: &str, made: &SupervisorKey) -> Secret {
        let mut secret = tls_secret(name, &made.identity, Some(self.authority.certificate()));
        secret.metadata.labels = Some(render::labels(identity));
        secret.metadata.annotations = Some(BTreeMap::from([(
            PUBLIC_KEY_ANNOTATION.to_owned(),
            made.public_key.to_string(),
        )]));
        secret.metadata.owner_references = Some(vec![render::owner_reference(identity)]);
        secret
    }

    /// Deletes the key of a workspace, if it is its own. Returns whether it was.
    ///
    /// # Errors
    /// When the API server does not do so.
    pub async fn remove(
        &self,
        parent: &Parent,
        seen: &PartialObjectMeta<Secret>,
    ) -> Result<bool, ApplyError> {
        if ownership(parent, seen) != Ownership::Ours {
            return Ok(false);
        }
        let key = Key::of(seen);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: seen.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(&key.name, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(source) => Err(ApplyError::Delete {
                kind: SECRET,
                key,
                source: Box::new(source),
            }),
        }
    }

    /// Makes the proxy's certificate where there is none or its time is nearly over, and says when it is to be looked at
    /// again.
    ///
    /// # Errors
    /// When the API server does not answer, or the clock fails.
    pub async fn renew_proxy(
        &self,
        namespace: &str,
        now: Timestamp,
    ) -> Result<Timestamp, ApplyError> {
        let key = Key::new(namespace, PROXY_CLIENT_SECRET);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = |source: kube::Error| ApplyError::Read {
            kind: SECRET,
            key: key.clone(),
            source: Box::new(source),
        };
        let live = api
            .get_metadata_opt(PROXY_CLIENT_SECRET)
            .await
            .map_err(read)?;
        let until = live.as_ref().and_then(|live| {
            let text = live.annotations().get(RENEW_AT_ANNOTATION)?;
            text.parse::<Timestamp>().ok()
        });
        if let Some(until) = until.filter(|until| now < *until) {
            return Ok(until);
        }
        let made = self.authority.client(Client::Proxy, now);
        let made = made.map_err(|source| ApplyError::Key {
            key: key.clone(),
            source,
        })?;
        let mut secret = tls_secret(PROXY_CLIENT_SECRET, &made.identity, None);
        secret.immutable = None;
        secret.metadata.annotations = Some(BTreeMap::from([(
            RENEW_AT_ANNOTATION.to_owned(),
            made.renew_at.to_string(),
        )]));
        let params = PatchParams::apply(WORKSPACE_MANAGER).force();
        api.patch(PROXY_CLIENT_SECRET, &params, &Patch::Apply(&secret))
            .await
            .map_err(|source| ApplyError::Apply {
                kind: SECRET,
                key: key.clone(),
                source: Box::new(source),
            })?;
        Ok(made.renew_at)
    }
}

/// The public key in a Secret that is there.
fn known(
    parent: &Parent,
    key: &Key,
    live: &PartialObjectMeta<Secret>,
) -> Result<PublicKeyDigest, ApplyError> {
    match ownership(parent, live) {
        Ownership::Ours => {}
        Ownership::Leftover => {
            return Err(ApplyError::Leftover {
                kind: SECRET,
                key: key.clone(),
            });
        }
        Ownership::Foreign(why) => {
            return Err(ApplyError::Foreign {
                kind: SECRET,
                key: key.clone(),
                why,
            });
        }
    }
    let annotation = live.annotations().get(PUBLIC_KEY_ANNOTATION);
    annotation
        .and_then(|text| PublicKeyDigest::parse(text))
        .ok_or_else(|| ApplyError::Foreign {
            kind: SECRET,
            key: key.clone(),
            why: format!("its annotation {PUBLIC_KEY_ANNOTATION} is no digest of a key"),
        })
}

async fn open_authority(
    client: &KubeClient,
    namespace: &str,
    now: Timestamp,
) -> Result<Authority, KeysError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |what, source| KeysError::Api {
        what,
        namespace: namespace.to_owned(),
        source: Box::new(source),
    };
    let unusable = |source| KeysError::Authority {
        namespace: namespace.to_owned(),
        source,
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let live = api.get_opt(AUTHORITY_SECRET).await;
        if let Some(live) = live.map_err(|source| failed("read", source))? {
            let data = live.data.unwrap_or_default();
            let text = |key: &str| {
                let bytes = data.get(key).map(|bytes| bytes.0.as_slice());
                std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
            };
            let read = Authority::read(text(TLS_CERTIFICATE), text(TLS_KEY), now);
            return read.map_err(unusable);
        }
        let (authority, kept) = Authority::generate(now).map_err(unusable)?;
        let secret = tls_secret(AUTHORITY_SECRET, &kept, None);
        match api.create(&post(), &secret).await {
            Ok(_) => return Ok(authority),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
            Err(source) => return Err(failed("create", source)),
        }
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(WORKSPACE_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn tls_secret(name: &str, identity: &Identity, clients: Option<&str>) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([
        (TLS_CERTIFICATE.to_owned(), bytes(&identity.certificate)),
        (TLS_KEY.to_owned(), bytes(&identity.key)),
    ]);
    if let Some(clients) = clients {
        data.insert(TLS_CLIENTS.to_owned(), bytes(clients));
    }
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        immutable: Some(true),
        data: Some(data),
        ..Secret::default()
    }
}
