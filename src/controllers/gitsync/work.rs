//! Steps 2 to 5 of a pass: from what the spec refers to, to applied objects.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::context::{Context, Memory, Tree};
use super::dereference::{self, Access, DereferenceError, Times};
use super::outcome::{Applied, Ending, Failed, History};
use super::pass::{self, Done};
use super::reconcile::SyncError;
use super::source;
use crate::api::GitSync;
use crate::controllers::backoff::{BackoffSettings, jittered};
use crate::controllers::cache::Key;
use crate::model::names::APPROVE_PRUNE_ANNOTATION;
use crate::model::sync::{Code, Retry, Snapshot, SourceError};

/// A corrected Secret is seen within this, however long the wait for the next try is.
const SECRET_LOOK: Duration = Duration::from_secs(60);

/// What a pass came to, and when to look again without being told.
pub struct Ended {
    /// Where the webhook listens.
    pub webhook_path: Option<String>,
    /// How far it came.
    pub ending: Ending,
    /// None: only a change of the spec helps.
    pub wait: Option<Duration>,
}

/// One pass at work.
pub struct Work<'a> {
    /// What passes share.
    pub context: &'a Context,
    /// Which one.
    pub gitsync: &'a GitSync,
    /// What is remembered of it.
    pub memory: &'a mut Memory,
    /// An annotation asks for this pass.
    pub asked: bool,
    /// When it began.
    pub now: Timestamp,
}

impl Work<'_> {
    /// Does it.
    ///
    /// # Errors
    /// When the API server does not answer. What the spec or the remote got wrong is an ending, not an error.
    pub async fn run(&mut self) -> Result<Ended, SyncError> {
        if self.gitsync.spec.suspend {
            return Ok(Ended {
                webhook_path: self
                    .gitsync
                    .status
                    .as_ref()
                    .and_then(|s| s.webhook_path.clone()),
                ending: Ending::Suspended,
                wait: None,
            });
        }
        let times = match dereference::times(self.gitsync) {
            Ok(times) => times,
            Err(error) => return Ok(failed(error.report(), None)),
        };
        let client = &self.context.shared.client;
        let (webhook_path, hook_error) = match dereference::webhook_path(client, self.gitsync).await
        {
            Ok(path) => (path, None),
            Err(error) if error.client_error().is_some() => return Err(error.into()),
            Err(error) => (None, Some(error.report())),
        };
        let mut ended = self.sync(times).await?;
        ended.webhook_path = webhook_path;
        if let Some(error) = hook_error {
            add_error(&mut ended, error);
        }
        Ok(ended)
    }

    async fn sync(&mut self, times: Times) -> Result<Ended, SyncError> {
        let due = self.is_due();
        let (fresh, history) = if due || self.memory.fetch_error.is_some() {
            // While a fetch fails the Secret is read at each look, so that a corrected one is seen.
            let access = dereference::access(&self.context.shared.client, self.gitsync).await;
            match access {
                Err(error) if error.client_error().is_some() => return Err(error.into()),
                Ok(access) if !due && access.version == self.memory.secret_version => {
                    (false, History::Same)
                }
                Err(_) if !due => (false, History::Same),
                access => self.fetch(times, access).await?,
            }
        } else {
            (false, History::Same)
        };
        let generation = self.gitsync.metadata.generation.unwrap_or_default();
        let Some(tree) = self.known(generation).cloned() else {
            let error =
                self.memory.fetch_error.clone().unwrap_or_else(|| {
                    SourceError::new(Code::FetchFailed, "nothing was fetched yet")
                });
            return Ok(failed(error, Some(self.next_look(times))));
        };
        // In each pass, not only after a fetch: drift is not repaired either where we are not accepted any more.
        let client = &self.context.shared.client;
        let admitted = dereference::admit(client, self.gitsync, &tree.read).await?;
        if admitted.path_missing {
            return Ok(self.path_missing(&admitted, history, times));
        }
        let done =
            pass::carry_out(self.context, self.gitsync, self.memory, &admitted, fresh).await?;
        Ok(self.applied(&admitted, history, done, times))
    }

    /// Whether to ask the remote: because somebody asked, something changed, or it is time.
    fn is_due(&mut self) -> bool {
        let key = Key::of(self.gitsync);
        let hooked = self.context.requests.take_fetch(&key);
        let generation = self.gitsync.metadata.generation.unwrap_or_default();
        let changed = self
            .memory
            .tree
            .as_ref()
            .is_none_or(|tree| tree.generation != generation);
        let approval = self
            .gitsync
            .annotations()
            .get(APPROVE_PRUNE_ANNOTATION)
            .cloned();
        let approved = approval.is_some() && approval != self.memory.approval;
        let time = self.memory.next_fetch.is_none_or(|next| self.now >= next);
        // A spec that can't be fetched is not tried faster for never having been.
        let untried = self.memory.attempted_generation != Some(generation);
        hooked || self.asked || approved || time || (changed && untried)
    }

    /// Step 3 and 4. A failure is remembered and told; it is no reason to stop repairing drift.
    async fn fetch(
        &mut self,
        times: Times,
        access: Result<Access, DereferenceError>,
    ) -> Result<(bool, History), SyncError> {
        let generation = self.gitsync.metadata.generation.unwrap_or_default();
        self.memory.attempted_generation = Some(generation);
        let fetched = match access {
            Ok(access) => {
                self.memory.secret_version.clone_from(&access.version);
                let failed_before = self.memory.failures > 0;
                let fetching = source::fetch(
                    self.context,
                    self.gitsync,
                    access,
                    times.timeout,
                    self.known(generation),
                    failed_before,
                );
                tokio::select! {
                    fetched = fetching => fetched,
                    // Nothing is lost: the next process fetches again.
                    () = self.context.stop.cancelled() => return Err(SyncError::Stopping),
                }
            }
            Err(error) => {
                self.memory.secret_version = None;
                Err(error.report())
            }
        };
        match fetched {
            Ok(fetched) => {
                self.memory.tree = Some(Tree {
                    generation,
                    read: fetched.snapshot,
                    readings: fetched.readings,
                });
                self.memory.fetch_error = None;
                self.memory.failures = 0;
                self.memory.approval = self
                    .gitsync
                    .annotations()
                    .get(APPROVE_PRUNE_ANNOTATION)
                    .cloned();
                self.memory.next_fetch = self.after(jittered(times.interval, rand::random()));
                Ok((true, fetched.history))
            }
            Err(error) => {
                self.put_off(error, times);
                Ok((false, History::Same))
            }
        }
    }

    /// Remembers why a fetch failed, and when the next one is due.
    fn put_off(&mut self, error: SourceError, times: Times) {
        tracing::warn!(gitsync = %Key::of(self.gitsync), %error, "a fetch failed");
        let settings = BackoffSettings {
            first: self.context.shared.config.backoff.first,
            most: times.retry_interval,
        };
        let wait = settings.delay(self.memory.failures, rand::random());
        self.memory.failures = self.memory.failures.saturating_add(1);
        self.memory.fetch_error = Some(error);
        self.memory.next_fetch = self.after(wait);
    }

    /// The tree that was read last, if it was under this very spec.
    fn known(&self, generation: i64) -> Option<&Tree> {
        self.memory
            .tree
            .as_ref()
            .filter(|tree| tree.generation == generation)
    }

    fn after(&self, wait: Duration) -> Option<Timestamp> {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_secs(300));
        self.now.checked_add(wait).ok()
    }

    /// Until the next fetch; with a Secret that may be at fault, at most until the next look at it.
    fn next_look(&self, times: Times) -> Duration {
        let until = self.memory.next_fetch.map_or(times.interval, |next| {
            Duration::try_from(next.duration_since(self.context.shared.clock.now()))
                .unwrap_or_default()
        });
        let soonest = Duration::from_millis(1);
        if self.memory.fetch_error.is_some() && self.gitsync.spec.secret_ref.is_some() {
            until.min(SECRET_LOOK).max(soonest)
        } else {
            until.max(soonest)
        }
    }

    fn path_missing(&self, tree: &Snapshot, history: History, times: Times) -> Ended {
        let path = self.gitsync.spec.path.as_deref().unwrap_or_default();
        let error = SourceError::new(
            Code::PathNotFound,
            format!(
                "spec.path '{path}' is not in {}: nothing was applied or deleted; correct the path, or bring the folder back",
                tree.revision
            ),
        );
        Ended {
            webhook_path: None,
            ending: Ending::Failed(Failed {
                error,
                attempted: Some(tree.revision.clone()),
                others: tree.errors.clone(),
                history,
            }),
            wait: Some(self.next_look(times)),
        }
    }

    fn applied(&mut self, tree: &Snapshot, history: History, done: Done, times: Times) -> Ended {
        let retries = done
            .errors
            .iter()
            .any(|error| matches!(error.code.retry(), Retry::BackOff | Retry::NextPass));
        let mut wait = self.next_look(times);
        if retries || done.prune_again || !done.waiting.is_empty() {
            let again = self
                .context
                .shared
                .config
                .backoff
                .delay(self.memory.retries, rand::random());
            self.memory.retries = self.memory.retries.saturating_add(1);
            wait = wait.min(again);
            if done.prune_again && self.memory.fetch_error.is_none() {
                self.memory.next_fetch = self.after(again);
            }
        } else {
            self.memory.retries = 0;
        }
        Ended {
            webhook_path: None,
            ending: Ending::Applied(Applied {
                revision: tree.revision.clone(),
                at: self.now,
                fetch_error: self.memory.fetch_error.clone(),
                errors: done.errors,
                counts: self.memory.counts,
                objects: done.objects,
                blocked: done.blocked.map(Box::new),
                history,
                fights: done.fights,
                waiting: done.waiting,
            }),
            wait: Some(wait),
        }
    }
}

fn failed(error: SourceError, wait: Option<Duration>) -> Ended {
    Ended {
        webhook_path: None,
        ending: Ending::Failed(Failed {
            error,
            attempted: None,
            others: Vec::new(),
            history: History::Same,
        }),
        wait,
    }
}

/// An error that hinders no apply.
fn add_error(ended: &mut Ended, error: SourceError) {
    ended.wait = Some(ended.wait.map_or(SECRET_LOOK, |wait| wait.min(SECRET_LOOK)));
    match &mut ended.ending {
        Ending::Applied(applied) => {
            applied.errors.push(error);
            SourceError::sort(&mut applied.errors);
        }
        Ending::Failed(failed) => failed.others.push(error),
        Ending::Suspended | Ending::Deleting(_) => {}
    }
}
