//! What comes in while a proxy runs: the key ring, revocations, its own certificate; and what goes out: readiness, the
//! access log. Each is a task that ends when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use workstead_link::{TLS_CERTIFICATE, TLS_KEY};
use zeroize::Zeroizing;

use crate::inside::identity::Identity;
use crate::model::keyring::{KeyRing, RING_ENTRY};
use crate::model::names::PROXY_KEYS_SECRET;
use crate::proxy::listen::certificates::{Certificate, Certificates};
use crate::proxy::login::oidc::Provider;
use crate::proxy::observe::access::{self, Line};
use crate::proxy::route::watches::{Handed, Kept, Revocations};
use crate::proxy::session::{Epochs, Keys};
use crate::telemetry::Health;

/// The name under which `/readyz` lists the key ring.
pub const KEY_RING: &str = "keys";
/// The same for the certificates of listeners.
const CERTIFICATES: &str = "certificates";
/// The same for the identity provider.
const PROVIDER: &str = "identity provider";
/// How soon it is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Waits for a key ring that can be used.
pub async fn first_keys(mut ring: Handed<Kept>, health: &Health) -> Keys {
    loop {
        let why = match read_ring(&ring.borrow_and_update().clone()) {
            Ok(read) => match Keys::new(&read) {
                Ok(keys) => return keys,
                Err(error) => error.to_string(),
            },
            Err(why) => why,
        };
        health.set_missing(KEY_RING, why);
        if ring.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn read_ring(kept: &Option<Arc<Kept>>) -> Result<KeyRing, String> {
    let absent = || {
        format!("Secret {PROXY_KEYS_SECRET} has no entry {RING_ENTRY} yet: the controller makes it")
    };
    let text = kept
        .as_ref()
        .and_then(|kept| kept.get(RING_ENTRY))
        .ok_or_else(absent)?;
    KeyRing::parse(text).map_err(|error| error.to_string())
}

/// Takes each ring that comes. One that can't be used leaves the last one in place.
pub async fn take_ring(mut ring: Handed<Kept>, keys: Arc<Keys>, changes: watch::Sender<u64>) {
    while ring.changed().await.is_ok() {
        let read = read_ring(&ring.borrow_and_update().clone());
        let taken = read.and_then(|read| keys.exchange(&read).map_err(|error| error.to_string()));
        match taken {
            Ok(()) => changes.send_modify(|version| *version += 1),
            Err(why) => tracing::error!(why, "the key ring can't be used: the last one stays"),
        }
    }
}

/// Takes what is revoked.
pub async fn take_revocations(
    mut revocations: Handed<Revocations>,
    epochs: Arc<ArcSwap<Epochs>>,
    changes: watch::Sender<u64>,
) {
    loop {
        let data = revocations.borrow_and_update().clone();
        let read = data.map_or_else(Epochs::default, |data| Epochs::parse(&data));
        for entry in read.unreadable() {
            tracing::error!(
                entry,
                "an entry of ConfigMap workstead-revocations can't be read, and ends nothing"
            );
        }
        epochs.store(Arc::new(read));
        changes.send_modify(|version| *version += 1);
        if revocations.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Takes the certificate by which first processes know us.
pub async fn take_identity(mut kept: Handed<Kept>, identity: watch::Sender<Option<Arc<Identity>>>) {
    loop {
        let read = kept.borrow_and_update().as_ref().and_then(|kept| {
            Some(Arc::new(Identity {
                certificate: kept.text(TLS_CERTIFICATE)?.to_owned(),
                key: Zeroizing::new(kept.text(TLS_KEY)?.to_owned()),
            }))
        });
        identity.send_replace(read);
        if kept.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Takes the certificates that listeners show. One that can't be used leaves the last good one of its Secret in place.
pub async fn take_certificates(
    mut secrets: Vec<(String, Handed<Kept>)>,
    shown: Arc<Certificates>,
    health: Health,
) {
    let mut good: BTreeMap<String, Certificate> = BTreeMap::new();
    loop {
        for (name, kept) in &mut secrets {
            let kept = kept.borrow_and_update().clone();
            match read_certificate(kept.as_deref()) {
                Ok(certificate) => {
                    good.insert(name.clone(), certificate);
                }
                Err(why) => tracing::error!(secret = name, why, "a certificate can't be used"),
            }
        }
        let certificates: Vec<_> = good.values().cloned().collect();
        shown.set(&certificates);
        if certificates.is_empty() {
            health.set_missing(
                CERTIFICATES,
                "no Secret holds a certificate that can be used",
            );
        } else {
            health.set_met(CERTIFICATES);
        }
        let changes = secrets.iter_mut().map(|(_, kept)| Box::pin(kept.changed()));
        if futures::future::select_all(changes).await.0.is_err() {
            return std::future::pending().await;
        }
    }
}

fn read_certificate(kept: Option<&Kept>) -> Result<Certificate, String> {
    let kept = kept.ok_or("there is no such Secret")?;
    let entry = |name: &str| kept.get(name).ok_or(format!("it has no entry {name}"));
    Certificate::from_pem(entry(TLS_CERTIFICATE)?, entry(TLS_KEY)?)
        .map_err(|error| error.to_string())
}

/// Asks the identity provider for what logins need, until it has told it.
pub async fn load_provider(provider: Arc<Provider>, health: Health) {
    while let Err(error) = provider.load().await {
        tracing::warn!(issuer = provider.issuer(), %error, "nobody can sign in yet");
        health.set_missing(PROVIDER, error.to_string());
        tokio::time::sleep(TRY_AGAIN).await;
    }
    health.set_met(PROVIDER);
    std::future::pending().await
}

/// Lists what is missing of the cluster's picture.
pub async fn mirror(health: Health, mut missing: watch::Receiver<BTreeSet<String>>) {
    let mut shown = BTreeSet::new();
    loop {
        let now = missing.borrow_and_update().clone();
        for name in shown.difference(&now) {
            health.set_met(name);
        }
        for name in now.difference(&shown) {
            health.set_missing(name, "not listed yet");
        }
        shown = now;
        if missing.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Writes the access log to standard output.
pub async fn write_access(lines: mpsc::Receiver<Line>) {
    if let Err(error) = access::write(lines, std::io::stdout()).await {
        tracing::error!(%error, "the access log can't be written any more");
        // Requests go on, and each line counts as lost.
        std::future::pending::<()>().await;
    }
}
