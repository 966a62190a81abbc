//! What opens sealed variables: Secret `workstead-identities`, made once by the leader, and whom to seal for, which is
//! published in ConfigMap `workstead-recipients`.
//!
//! The Secret is made where nothing was ever published, and never written again: an administrator rotates it, and nobody
//! but a backup can bring it back. So a Secret that is gone, or can't be read, is left as it is and named.

mod place;
mod recipients;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_kind};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controllers::context::Shared;
use crate::controllers::passes::chain;
use crate::model::names::{IDENTITIES_ENTRY, IDENTITIES_SECRET, RECIPIENTS_CONFIG_MAP};
use crate::secrets::identity::{Fingerprint, Identities, IdentityError};
use place::Place;

/// How soon a failure is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// How often both are looked at without a reason, in case an event was lost.
const LOOK: Duration = Duration::from_secs(300);
/// From an event to the look. Somebody who writes the ConfigMap again and again is answered no faster.
const SETTLE: Duration = Duration::from_millis(500);

/// The identities that this process holds, exchanged as a whole.
pub struct Held {
    /// All, the newest first.
    pub identities: Identities,
    /// Which ring: a digest over the fingerprints in their order, so that a failure is remembered for it alone.
    pub ring: String,
}

/// What is known of the identities.
#[derive(Clone)]
pub enum Ring {
    /// Not read yet.
    Unread,
    /// They are at hand.
    Held(Arc<Held>),
    /// Why there is none: cause and next step for statuses, never anything secret.
    Missing(String),
}

/// Why identities or recipients are not as they should be. Nothing of what the Secret holds is in it.
#[derive(Debug, thiserror::Error)]
pub enum IdentitiesError {
    /// The API server does not answer, or refuses.
    #[error("failed to {what} {object} in namespace {namespace}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// Kind and name.
        object: &'static str,
        /// The installation's.
        namespace: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The API server's answer is no Secret. What it is instead may be secret.
    #[error("failed to read Secret {IDENTITIES_SECRET} in namespace {0}: the answer is no Secret")]
    Answer(String),
    /// It was there once, since somebody seals for it.
    #[error(
        "Secret {IDENTITIES_SECRET} in namespace {namespace} is gone, though people seal for {published}: restore it from the \
         backup. If there is none, delete ConfigMap {RECIPIENTS_CONFIG_MAP} to begin anew; then every set has to be sealed again"
    )]
    Gone {
        /// The installation's.
        namespace: String,
        /// Fingerprints of what is published: what the backup has to hold.
        published: String,
    },
    /// Somebody deleted it in the same moment.
    #[error(
        "Secret {IDENTITIES_SECRET} in namespace {0} was deleted as soon as it was made: it is made again"
    )]
    Vanished(String),
    /// It lacks the entry.
    #[error(
        "Secret {IDENTITIES_SECRET} in namespace {0} has no entry {IDENTITIES_ENTRY}: restore it from the backup"
    )]
    NoEntry(String),
    /// The entry is no text.
    #[error(
        "entry {IDENTITIES_ENTRY} of Secret {IDENTITIES_SECRET} in namespace {0} is no text: correct it, or restore it from the backup"
    )]
    NoText(String),
    /// The entry holds something else.
    #[error(
        "entry {IDENTITIES_ENTRY} of Secret {IDENTITIES_SECRET} in namespace {namespace} can't be read: correct it, or restore it \
         from the backup"
    )]
    Unreadable {
        /// The installation's.
        namespace: String,
        /// Which line is wrong.
        source: IdentityError,
    },
}

impl IdentitiesError {
    /// Whether the Secret itself is lost or damaged, and not just out of reach.
    fn is_loss(&self) -> bool {
        !matches!(self, Self::Api { .. } | Self::Answer(_) | Self::Vanished(_))
    }
}

impl Held {
    fn new(identities: Identities) -> Self {
        let names = listed(identities.fingerprints());
        let ring = hex::encode(Sha256::digest(names.as_bytes()));
        Self { identities, ring }
    }
}

/// Keeps Secret and ConfigMap until shutdown, and says what is held.
pub async fn run(shared: &Shared, ring: &watch::Sender<Ring>, shutdown: &CancellationToken) {
    let namespace = &shared.config.namespace;
    let place = Place::new(&shared.client, namespace);
    let mut changes = changes(&shared.client, namespace).boxed();
    loop {
        let pause = match look(&place, shared.clock.now(), ring).await {
            Ok(()) => LOOK,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "the identities of sealed variables are not kept");
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Some(()) = changes.next() => {}
            () = shutdown.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(SETTLE) => {}
            () = shutdown.cancelled() => return,
        }
        // One look answers all that has happened until now.
        while changes.next().now_or_never().flatten().is_some() {}
    }
}

/// One look: makes what is missing, reads, publishes.
///
/// # Errors
/// When the API server does not answer, or the Secret is gone or holds something else.
pub async fn keep(
    client: &Client,
    namespace: &str,
    now: Timestamp,
) -> Result<Held, IdentitiesError> {
    let place = Place::new(client, namespace);
    let published = place.published().await?;
    let held = Held::new(place.identities(published.as_ref(), now).await?);
    place.publish(published, &held.identities).await?;
    Ok(held)
}

/// The same, with what is held already: it stays in use when its Secret is lost.
async fn look(
    place: &Place,
    now: Timestamp,
    ring: &watch::Sender<Ring>,
) -> Result<(), IdentitiesError> {
    let published = place.published().await;
    let published = published.inspect_err(|error| miss(ring, error))?;
    match place.identities(published.as_ref(), now).await {
        Ok(identities) => {
            hold(ring, Held::new(identities.clone()));
            place.publish(published, &identities).await
        }
        Err(error) => {
            miss(ring, &error);
            let held = match &*ring.borrow() {
                Ring::Held(held) if error.is_loss() => Some(held.clone()),
                _ => None,
            };
            // Who damages the one must not get away with editing the other.
            if let Some(held) = held
                && let Err(error) = place.publish(published, &held.identities).await
            {
                let error = chain(&error);
                tracing::warn!(error, "the recipients of sealed variables are not kept");
            }
            Err(error)
        }
    }
}

/// Exchanges what is held, if it is another ring.
fn hold(ring: &watch::Sender<Ring>, held: Held) {
    let fingerprints = listed(held.identities.fingerprints());
    let is_new = ring.send_if_modified(|known| {
        if matches!(known, Ring::Held(before) if before.ring == held.ring) {
            return false;
        }
        *known = Ring::Held(Arc::new(held));
        true
    });
    if is_new {
        tracing::info!(fingerprints, "the identities of sealed variables were read");
    }
}

/// Says why there is none, unless there still is one.
fn miss(ring: &watch::Sender<Ring>, error: &IdentitiesError) {
    let why = chain(error);
    ring.send_if_modified(|known| {
        let is_news = match known {
            Ring::Unread => true,
            Ring::Held(_) => false,
            Ring::Missing(before) => *before != why,
        };
        if is_news {
            *known = Ring::Missing(why);
        }
        is_news
    });
}

/// A reason to look. The watches see what the two objects say of themselves, never what is in the Secret.
fn changes(client: &Client, namespace: &str) -> impl Stream<Item = ()> + Send + 'static {
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), namespace);
    let maps: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), namespace);
    let only = |name| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let secret = watch_kind(secrets, only(IDENTITIES_SECRET)).default_backoff();
    let map = watch_kind(maps, only(RECIPIENTS_CONFIG_MAP)).default_backoff();
    stream::select(
        secret.filter_map(|event| std::future::ready(reason(event, IDENTITIES_SECRET))),
        map.filter_map(|event| std::future::ready(reason(event, RECIPIENTS_CONFIG_MAP))),
    )
}

fn reason<K>(event: Result<Event<K>, watcher::Error>, name: &str) -> Option<()> {
    match event {
        Ok(Event::Init | Event::InitApply(_)) => None,
        Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => Some(()),
        Err(error) => {
            tracing::warn!(error = chain(&error), name, "failed to watch an object");
            None
        }
    }
}

/// Fingerprints as one text.
fn listed<'a>(fingerprints: impl Iterator<Item = &'a Fingerprint>) -> String {
    let names: Vec<String> = fingerprints.map(Fingerprint::to_string).collect();
    names.join(", ")
}
