//! Whether owners are checked: looks after the admission policies and the `owners` of GitSyncs, and answers for Workspaces and
//! sets without asking anybody. What is checked, and why, stands in `model::owners`.
//!
//! The policies are four objects that change once in a year, so they are looked at now and then rather than watched.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{GitSync, Workspace, WorkspaceVariables};
use crate::controllers::cache::{self, Cache, Key};
use crate::controllers::context::{Scope, Shared};
use crate::controllers::guard::{Guarded, Sentinel};
use crate::controllers::passes::chain;
use crate::model::owners::policies::{self, EXPECTED, Expected, InForce};
use crate::model::owners::{self, OwnerCheck, Reach, SyncFacts, Syncs};
use crate::secrets::binding::Audience;
use crate::telemetry::{Health, Metrics};

/// How often the policies are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How soon a failure to look is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// So long the last answer counts while the API server does not answer. A refusal counts at once.
const BELIEVED: Duration = Duration::from_secs(120);
/// The name under which `/readyz` says how it is.
const NOTE: &str = "check of owners";
const KIND: &str = "GitSync";

/// Answers whether owners are checked.
pub struct OwnerChecks {
    syncs: Arc<Cache<GitSync>>,
    /// What of the GitSyncs counts here. Their statuses change all the time.
    rules: RwLock<HashMap<Key, Arc<SyncFacts>>>,
    policies: RwLock<Result<InForce, String>>,
    /// Whether the policies were looked at once.
    looked: watch::Sender<bool>,
    bell: watch::Sender<()>,
    look_every: Duration,
}

impl Default for OwnerChecks {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a policy could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {kind} {name}")]
struct LookError {
    kind: &'static str,
    name: &'static str,
    source: kube::Error,
}

impl LookError {
    /// Whether asking again changes nothing.
    fn is_refusal(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if matches!(status.code, 401 | 403))
    }
}

impl OwnerChecks {
    /// Nothing seen yet: no owner is checked.
    pub fn new() -> Self {
        Self::looking_every(LOOK)
    }

    /// The same, with another time between looks at the policies.
    pub fn looking_every(look_every: Duration) -> Self {
        Self {
            look_every,
            syncs: Arc::default(),
            rules: RwLock::default(),
            policies: RwLock::new(Err(
                "the admission policies were not looked at yet: wait a moment".to_owned(),
            )),
            looked: watch::Sender::new(false),
            bell: watch::Sender::new(()),
        }
    }

    /// Whether the owner of a Workspace is who it says.
    pub fn of(&self, workspace: &Workspace) -> OwnerCheck {
        let policies = self.policies().clone();
        let owner = &workspace.spec.owner;
        owners::check(&workspace.metadata, owner, &policies, self)
    }

    /// Whether a set may reach whom it says. One that is only listed may always.
    ///
    /// # Errors
    /// Which rule it breaks, and what to do.
    pub fn set_may_apply(
        &self,
        set: &WorkspaceVariables,
        audience: &Audience,
    ) -> Result<(), String> {
        let reach = match audience {
            Audience::Listed => return Ok(()),
            Audience::Owner(owner) => Reach::Owner(owner),
            Audience::Namespace => Reach::Namespace,
        };
        owners::set_may_apply(&set.metadata, reach, self)
    }

    /// Yields when answers may be others than before.
    pub fn changes(&self) -> impl Stream<Item = ()> + Send + 'static {
        cache::changes(self.bell.subscribe())
    }

    /// What was not seen once: before, nobody counts as checked.
    pub fn unseen_kinds(&self) -> Vec<&'static str> {
        let policies = *self.looked.borrow();
        [
            (KIND, self.syncs.is_ready()),
            ("admission policies", policies),
        ]
        .into_iter()
        .filter_map(|(kind, is_seen)| (!is_seen).then_some(kind))
        .collect()
    }

    /// Waits until all was. A look at the policies that failed is one too.
    pub async fn wait_until_ready(&self) {
        self.syncs.wait_until_ready().await;
        let mut looked = self.looked.subscribe();
        // The sender lives in self, so this ends by the value alone.
        let _ = looked.wait_for(|looked| *looked).await;
    }

    /// Keeps the answers up to date until shutdown.
    pub async fn run(&self, shared: &Shared, shutdown: &CancellationToken) {
        let (scope, metrics) = (&shared.config.scope, &shared.metrics);
        self.follow(&shared.client, scope, metrics, &shared.health, shutdown)
            .await;
    }

    /// The same, with only what it takes.
    pub async fn follow(
        &self,
        client: &Client,
        scope: &Scope,
        metrics: &Arc<Metrics>,
        health: &Health,
        shutdown: &CancellationToken,
    ) {
        tokio::join!(
            self.follow_policies(client, health, shutdown),
            self.follow_syncs(scope.api(client), metrics, shutdown),
        );
    }

    async fn follow_policies(
        &self,
        client: &Client,
        health: &Health,
        shutdown: &CancellationToken,
    ) {
        let mut last_answer: Option<Instant> = None;
        loop {
            let looking = look(client);
            let looked = tokio::select! {
                looked = looking => looked,
                () = shutdown.cancelled() => return,
            };
            let pause = match looked {
                Ok(judged) => {
                    last_answer = Some(Instant::now());
                    self.set_policies(judged, health);
                    self.look_every
                }
                Err(error) => {
                    let is_news = error.is_refusal()
                        || last_answer.is_none_or(|answer| answer.elapsed() >= BELIEVED);
                    if is_news {
                        self.set_policies(Err(unknown(&error)), health);
                    }
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn set_policies(&self, judged: Result<InForce, String>, health: &Health) {
        let is_first = !self.looked.send_replace(true);
        let is_news = {
            let mut known = self
                .policies
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let is_news = *known != judged;
            known.clone_from(&judged);
            is_news
        };
        if !is_news && !is_first {
            return;
        }
        let why = match &judged {
            Ok(in_force) => format!(
                "in force for Workspaces that are younger than {}",
                in_force.since
            ),
            Err(why) => format!("not in force, so variables of owners reach nobody: {why}"),
        };
        tracing::info!(why, "the check of owners");
        health.set_note(NOTE, why);
        self.bell.send_replace(());
    }

    async fn follow_syncs(
        &self,
        api: Api<Guarded<GitSync>>,
        metrics: &Arc<Metrics>,
        shutdown: &CancellationToken,
    ) {
        let mut changed = self
            .syncs
            .stream_guarded(
                api,
                watcher::Config::default(),
                Arc::new(Sentinel::silent(KIND)),
                KIND,
                metrics.clone(),
            )
            .boxed();
        // With no GitSync at all, nothing else would say that the list is there.
        let first = async {
            self.syncs.wait_until_ready().await;
            self.bell.send_replace(());
        };
        let following = async {
            while let Some(sync) = changed.next().await {
                self.take(&Key::of(&*sync));
            }
        };
        tokio::select! {
            _ = futures::future::join(following, first) => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Takes a GitSync in as it is now.
    fn take(&self, key: &Key) {
        let facts = self.syncs.get(key).map(|sync| SyncFacts::of(&sync));
        let is_news = {
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            let is_news = rules.get(key).map(|known| &**known) != facts.as_ref();
            match facts {
                Some(facts) if is_news => {
                    rules.insert(key.clone(), Arc::new(facts));
                }
                Some(_) => {}
                None => {
                    rules.remove(key);
                }
            }
            is_news
        };
        if is_news {
            self.bell.send_replace(());
        }
    }

    fn policies(&self) -> std::sync::RwLockReadGuard<'_, Result<InForce, String>> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syncs for OwnerChecks {
    fn find(&self, namespace: &str, name: &str) -> Result<Option<Arc<SyncFacts>>, String> {
        let key = Key::new(namespace, name);
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = rules.get(&key) {
            return Ok(Some(facts.clone()));
        }
        // The cache is filled a moment before the rules are taken from it.
        match self.syncs.get(&key) {
            Some(sync) => Ok(Some(Arc::new(SyncFacts::of(&sync)))),
            None if self.syncs.is_ready() => Ok(None),
            None => Err("GitSyncs were not listed yet: wait a moment".to_owned()),
        }
    }
}

/// One look at the policies: since when all are in force, or the first reason why not.
async fn look(client: &Client) -> Result<Result<InForce, String>, LookError> {
    let mut since = None;
    for expected in &EXPECTED {
        match look_at(client, expected).await? {
            Ok(in_force) => since = since.max(Some(in_force.since)),
            Err(why) => return Ok(Err(why)),
        }
    }
    let none = || "no policy is expected".to_owned();
    Ok(since.map(|since| InForce { since }).ok_or_else(none))
}

async fn look_at(
    client: &Client,
    expected: &Expected,
) -> Result<Result<InForce, String>, LookError> {
    let name = expected.name;
    let failed = |kind| move |source| LookError { kind, name, source };
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let policy = policies.get_opt(name).await;
    let policy = policy.map_err(failed("ValidatingAdmissionPolicy"))?;
    let binding = bindings.get_opt(name).await;
    let binding = binding.map_err(failed("ValidatingAdmissionPolicyBinding"))?;
    let judged = policies::judge(expected, policy.as_ref(), binding.as_ref());
    Ok(judged.map_err(|error| error.to_string()))
}

fn unknown(error: &LookError) -> String {
    let next = if error.is_refusal() {
        "give the role of the controller what the chart gives it"
    } else {
        "it is looked at again in a moment"
    };
    format!("{}: {next}", chain(error))
}
