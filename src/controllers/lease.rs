//! Who leads: an elector on a `coordination.k8s.io` Lease.
//!
//! Clocks of other machines are not trusted: a Lease of somebody else counts as abandoned when it was *seen* unchanged
//! for its whole duration, by our own monotonic clock. Our own claim ends a margin before that, so that a write which
//! we sent as the leader has landed before anybody else may begin.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::model::clock::Clock;

/// How the elector behaves.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Name of the Lease.
    pub name: String,
    /// Who we are: the name of the pod. Two processes never share one.
    pub identity: String,
    /// How long the Lease holds without being renewed.
    pub duration: Duration,
    /// How often the leader renews it.
    pub renew_every: Duration,
    /// How often the others look.
    pub look_every: Duration,
    /// So long before the Lease runs out the leader sends no write any more.
    pub margin: Duration,
}

impl LeaseSettings {
    /// The usual times: 15 s, renewed each 5 s, looked at each second, 4 s margin.
    pub fn new(name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            look_every: Duration::from_secs(1),
            margin: Duration::from_secs(4),
        }
    }

    /// A call to the API server may take so long: a hanging one must leave time for another before the claim ends.
    fn call_deadline(&self) -> Duration {
        (self.duration.saturating_sub(self.margin) / 3).max(Duration::from_millis(100))
    }
}

/// Who leads, as far as we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Who holds the Lease; None before the first look, and when nobody does.
    pub holder: Option<String>,
    /// We lead until then, unless we renew. None: somebody else leads, or nobody.
    pub until: Option<Instant>,
    /// Whether the Lease was ever seen.
    pub looked: bool,
}

impl Claim {
    /// How long we lead for sure; None when we do not.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Whether we lead now.
    pub fn leads(&self) -> bool {
        self.remaining().is_some()
    }
}

/// Why the elector ended. Each of these ends the process: a controller that lost its Lease must not write.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else leads now.
    #[error("failed to keep the lease {0}: {1} holds it now")]
    Lost(String, String),
    /// It could not be renewed in time.
    #[error("failed to renew the lease {0} in time")]
    Expired(String),
    /// The receivers are gone.
    #[error("nobody listens for the lease {0} any more")]
    Unheard(String),
}

/// One call that failed.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("no answer in time")]
    Deadline,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Keeps a claim on a Lease.
pub struct Elector<'a> {
    api: Api<Lease>,
    namespace: String,
    settings: LeaseSettings,
    clock: &'a dyn Clock,
    claim: watch::Sender<Claim>,
    /// The Lease as last seen, and since when it has not changed.
    seen: Option<(Lease, Instant)>,
}

impl<'a> Elector<'a> {
    /// An elector that has not looked yet.
    pub fn new(
        client: kube::Client,
        namespace: &str,
        settings: LeaseSettings,
        clock: &'a dyn Clock,
        claim: watch::Sender<Claim>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            settings,
            clock,
            claim,
            seen: None,
        }
    }

    /// Runs until `shutdown`; then releases the Lease, so that the next leader need not wait.
    ///
    /// Whoever cancels `shutdown` has stopped writing before.
    ///
    /// # Errors
    /// When we led and do not lead any more.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), LeaseError> {
        loop {
            self.step().await?;
            let wait = match self.claim.borrow().until {
                Some(_) => self.settings.renew_every,
                None => self.settings.look_every,
            };
            // A failed renewal is tried again soon: the claim runs out meanwhile.
            let wait = if self.renewal_is_late() {
                self.settings.look_every
            } else {
                wait
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.claim.closed() => return Err(LeaseError::Unheard(self.settings.name)),
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.release().await;
        Ok(())
    }

    fn renewal_is_late(&self) -> bool {
        let whole = self.settings.duration.saturating_sub(self.settings.margin);
        match self.claim.borrow().remaining() {
            Some(left) => left + self.settings.renew_every < whole,
            None => false,
        }
    }

    /// Looks at the Lease, and takes or renews it when it is ours to take.
    async fn step(&mut self) -> Result<(), LeaseError> {
        let outcome = self.look_and_take().await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, lease = self.settings.name, "failed to look at the lease");
        }
        let claim = self.claim.borrow().clone();
        match claim.until {
            // Not renewed, and it is over: whoever writes now may write beside another leader.
            Some(_) if !claim.leads() => {
                self.claim.send_modify(|c| c.until = None);
                Err(LeaseError::Expired(self.settings.name.clone()))
            }
            _ => outcome.or(Ok(None)).and_then(|lost| match lost {
                Some(holder) => Err(LeaseError::Lost(self.settings.name.clone(), holder)),
                None => Ok(()),
            }),
        }
    }

    /// Returns who took the Lease from us, if somebody did.
    async fn look_and_take(&mut self) -> Result<Option<String>, CallError> {
        let name = self.settings.name.clone();
        let current = self.call(self.api.get_opt(&name)).await?;
        let Some(current) = current else {
            let fresh = self.wanted(None);
            return self.write(None, fresh).await;
        };
        let holder = holder(&current);
        let mine = holder.as_deref() == Some(self.settings.identity.as_str());
        let unchanged_since = self.note(&current);
        // A Lease under our name that this process never wrote: one of an earlier life, which may be taken at once.
        let free = holder.is_none() || mine || self.abandoned(&current, unchanged_since);
        if free {
            let wanted = self.wanted(Some(&current));
            return self.write(Some(&current), wanted).await;
        }
        let led = self.claim.borrow().until.is_some();
        self.claim.send_modify(|claim| {
            claim.holder = holder.clone();
            claim.until = None;
            claim.looked = true;
        });
        Ok(if led { holder } else { None })
    }

    /// Since when the Lease has been as it is, by our own clock.
    fn note(&mut self, current: &Lease) -> Instant {
        let now = Instant::now();
        match &self.seen {
            Some((seen, since))
                if seen.metadata.resource_version == current.metadata.resource_version =>
            {
                *since
            }
            _ => {
                self.seen = Some((current.clone(), now));
                now
            }
        }
    }

    fn abandoned(&self, current: &Lease, unchanged_since: Instant) -> bool {
        let written = current
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs)
            .unwrap_or(self.settings.duration);
        unchanged_since.elapsed() > written
    }

    /// Writes the Lease. Whoever was faster makes this a conflict, which is no failure: they lead.
    async fn write(
        &mut self,
        current: Option<&Lease>,
        wanted: Lease,
    ) -> Result<Option<String>, CallError> {
        // Before the request is sent: whoever sees the new Lease counts from a later moment.
        let sent = Instant::now();
        let params = PostParams::default();
        let name = self.settings.name.clone();
        let written = match current {
            Some(_) => self.call(self.api.replace(&name, &params, &wanted)).await,
            None => self.call(self.api.create(&params, &wanted)).await,
        };
        match written {
            Ok(lease) => {
                self.note(&lease);
                let until = sent + self.settings.duration.saturating_sub(self.settings.margin);
                let identity = self.settings.identity.clone();
                self.claim.send_modify(|claim| {
                    claim.holder = Some(identity);
                    claim.until = Some(until);
                    claim.looked = true;
                });
                Ok(None)
            }
            Err(CallError::Api(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn wanted(&self, current: Option<&Lease>) -> Lease {
        let now = MicroTime(self.clock.now());
        let old = current.and_then(|lease| lease.spec.clone());
        let kept = current.and_then(holder).as_deref() == Some(self.settings.identity.as_str());
        let (acquired, transitions) = match &old {
            Some(spec) if kept => (spec.acquire_time.clone(), spec.lease_transitions),
            Some(spec) => (
                None,
                Some(spec.lease_transitions.unwrap_or(0).saturating_add(1)),
            ),
            None => (None, Some(0)),
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version: current.and_then(|l| l.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.settings.identity.clone()),
                lease_duration_seconds: Some(whole_seconds(self.settings.duration)),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: transitions,
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the Lease back. Fails silently: then the others wait until it runs out.
    async fn release(&mut self) {
        let led = self.claim.borrow().until.is_some();
        self.claim.send_modify(|claim| claim.until = None);
        if !led {
            return;
        }
        let name = self.settings.name.clone();
        let released = async {
            let mut current = self.call(self.api.get(&name)).await?;
            if holder(&current).as_deref() != Some(self.settings.identity.as_str()) {
                return Ok(());
            }
            current.metadata.managed_fields = None;
            if let Some(spec) = current.spec.as_mut() {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                spec.acquire_time = None;
            }
            self.call(self.api.replace(&name, &PostParams::default(), &current))
                .await?;
            Ok::<(), CallError>(())
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, lease = name, "failed to release the lease");
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CallError> {
        match timeout(self.settings.call_deadline(), call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(CallError::Deadline),
        }
    }
}

fn holder(lease: &Lease) -> Option<String> {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.clone())
        .filter(|holder| !holder.is_empty())
}

/// The API counts in whole seconds, and at least one: rounded up, so that the others wait rather longer.
fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_millis().div_ceil(1000).max(1);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_leads_until_its_end_and_not_after() {
        let claim = Claim {
            holder: Some("a".to_owned()),
            until: Some(Instant::now() + Duration::from_secs(60)),
            looked: true,
        };
        assert!(claim.leads());
        let over = Claim {
            until: Some(Instant::now()),
            ..claim.clone()
        };
        assert!(!over.leads());
        assert!(!Claim::default().leads());
    }

    #[test]
    fn durations_are_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1500)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(15)), 15);
    }
}
