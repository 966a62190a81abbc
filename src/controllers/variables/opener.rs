//! Opens sealed texts: each once, off the pass, few at a time.
//!
//! What was opened is kept in memory alone, within a bound, and wiped when it goes. What could not be opened is kept too,
//! for these identities: others may open it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use sha2::{Digest as _, Sha256};
use tokio::sync::{AcquireError, Semaphore};
use tokio::task::JoinError;

use crate::api::WorkspaceVariables;
use crate::api::variables::SealedFormat;
use crate::controllers::identities::Held;
use crate::secrets::document::Document;
use crate::secrets::error::SetError;
use crate::secrets::identity::{Fingerprint, Identities};
use crate::secrets::serial::ContentTag;
use crate::secrets::set::open_set;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OpenedLabels;

/// Texts that are opened at a time: each takes one thread for as long as it is costly.
const AT_A_TIME: usize = 2;
/// Texts that are kept.
const MOST_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(19_999);
/// Bytes of sealed text whose content is kept. The content is no longer.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// A set that was opened, whatever its place.
pub struct Content {
    /// What is in it.
    pub document: Document,
    /// Whose identity opened it.
    pub by: Fingerprint,
    /// Tells its content from another one.
    pub tag: Option<ContentTag>,
}

/// What came of a text.
pub struct Opened {
    /// SHA-256 of the sealed text.
    pub digest: String,
    /// Its content.
    pub content: Result<Arc<Content>, SetError>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The process ends.
    #[error("nothing is opened any more")]
    Closed(#[from] AcquireError),
    /// It panicked.
    #[error("opening it failed in an unforeseen way")]
    Task(#[from] JoinError),
}

/// The format and the digest of a text.
type TextKey = (SealedFormat, String);

struct Kept {
    /// Of the sealed text, in bytes.
    size: usize,
    outcome: Result<Arc<Content>, (String, SetError)>,
}

struct Texts {
    kept: LruCache<TextKey, Kept>,
    bytes: usize,
}

/// Opens texts, and keeps what came of them.
pub struct Opener {
    texts: Mutex<Texts>,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Opener {
    /// Nothing opened yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            texts: Mutex::new(Texts {
                kept: LruCache::new(MOST_KEPT),
                bytes: 0,
            }),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
            metrics,
        }
    }

    /// Opens the text of a set. To which place it is bound is not looked at: that is judged for each object anew.
    pub async fn open(&self, set: &WorkspaceVariables, held: &Held) -> Result<Opened, Ended> {
        let format = set.spec.format;
        let digest = hex::encode(Sha256::digest(set.spec.sealed.as_bytes()));
        let key = (format, digest.clone());
        if let Some(content) = self.known(&key, &held.ring) {
            return Ok(Opened { digest, content });
        }
        let last = set
            .status
            .as_ref()
            .and_then(|status| status.opened_by.clone());
        let content = self.open_now(format, &set.spec.sealed, held, last).await?;
        self.keep(key, set.spec.sealed.len(), &held.ring, &content);
        Ok(Opened { digest, content })
    }

    async fn open_now(
        &self,
        format: SealedFormat,
        sealed: &str,
        held: &Held,
        last: Option<String>,
    ) -> Result<Result<Arc<Content>, SetError>, Ended> {
        let permit = self.permits.clone().acquire_owned().await?;
        let (sealed, identities) = (sealed.to_owned(), held.identities.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let opened = open_text(format, &sealed, &identities, last.as_deref());
            drop(permit);
            opened
        });
        let content = opening.await?;
        let outcome = if content.is_ok() { "ok" } else { "refused" };
        let labels = OpenedLabels { outcome };
        self.metrics.opened_sets.get_or_create(&labels).inc();
        Ok(content)
    }

    fn known(&self, key: &TextKey, ring: &str) -> Option<Result<Arc<Content>, SetError>> {
        match &self.texts().kept.get(key)?.outcome {
            Ok(content) => Some(Ok(content.clone())),
            Err((of_ring, error)) => (of_ring == ring).then(|| Err(error.clone())),
        }
    }

    fn keep(
        &self,
        key: TextKey,
        size: usize,
        ring: &str,
        content: &Result<Arc<Content>, SetError>,
    ) {
        let outcome = match content {
            Ok(content) => Ok(content.clone()),
            Err(error) => Err((ring.to_owned(), error.clone())),
        };
        let mut texts = self.texts();
        texts.bytes += size;
        if let Some((_, gone)) = texts.kept.push(key, Kept { size, outcome }) {
            texts.bytes = texts.bytes.saturating_sub(gone.size);
        }
        while texts.bytes > MOST_BYTES {
            let Some((_, gone)) = texts.kept.pop_lru() else {
                break;
            };
            texts.bytes = texts.bytes.saturating_sub(gone.size);
        }
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_text(
    format: SealedFormat,
    sealed: &str,
    identities: &Identities,
    last: Option<&str>,
) -> Result<Arc<Content>, SetError> {
    let last = identities
        .fingerprints()
        .find(|fingerprint| Some(fingerprint.as_str()) == last);
    let set = open_set(format, sealed, identities, last)?;
    let opener = identities
        .iter()
        .find(|identity| *identity.fingerprint() == set.by);
    let tag = opener.and_then(|identity| ContentTag::of(&set.document, identity));
    Ok(Arc::new(Content {
        document: set.document,
        by: set.by,
        tag,
    }))
}

#[cfg(test)]
mod tests;
