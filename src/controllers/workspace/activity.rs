//! When a Workspace was last used, whether something goes on inside, and what its timers make of that.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;

use crate::api::Workspace;
use crate::api::activity::{Activity, StoppedByTimer, Timer};
use crate::api::workspace::{Failure, WorkspaceStatus};
use crate::controllers::Shared;
use crate::controllers::apply::{Ownership, Writer, ownership};
use crate::controllers::cache::Key;
use crate::controllers::supervisor::follow::Life;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::children::object_ref;
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::observe::Seen;
use crate::inside::dial::Target;
use crate::inside::pin::PublicKeyDigest;
use crate::model::activity::Lifetimes;
use crate::model::activity::lease::Used;
use crate::model::activity::timers::{self, Asked, Question};
use crate::model::conditions::seconds;
use crate::model::evidence::Facts;
use crate::model::inside::told;
use crate::model::names::{ACTIVITY_LEASE, LEASE_LABEL, MANAGED_BY, MANAGED_BY_LABEL};
use crate::model::revision::Pinned;
use crate::model::workspace::ValidatedWorkspace;

/// What the passes know of being used beside the statuses.
#[derive(Default)]
pub struct Attention {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Workspaces that were warned of being idle: the next use of them is news. That of the others is not, or thousands of
    /// passes a minute would find nothing to do.
    warned: HashSet<Key>,
    /// What first processes are asked, and since when. It is not persisted: whoever begins anew asks again.
    asked: HashMap<Key, (String, Timestamp)>,
}

impl Attention {
    /// A Workspace that is gone.
    pub fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        inner.warned.remove(key);
        inner.asked.remove(key);
    }

    /// Takes note of what a pass reports.
    fn note(&self, key: &Key, status: &WorkspaceStatus) {
        let activity = status.activity.iter();
        let mut warnings = activity.flat_map(|activity| &activity.warnings);
        let is_warned = warnings.any(|warning| warning.timer == Timer::Idle);
        let mut inner = self.lock();
        if is_warned {
            inner.warned.insert(key.clone());
        } else {
            inner.warned.remove(key);
        }
    }

    fn is_warned(&self, key: &Key) -> bool {
        self.lock().warned.contains(key)
    }

    /// Since when this is asked.
    fn asked_since(&self, key: &Key, question: &str, now: Timestamp) -> Timestamp {
        let mut inner = self.lock();
        match inner.asked.get(key) {
            Some((known, since)) if known == question => *since,
            _ => {
                let asked = (question.to_owned(), now);
                inner.asked.insert(key.clone(), asked);
                now
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the activity Leases. Each is renewed every minute while its workspace is used, and mostly that is no news.
pub fn watch(
    shared: &Shared,
    leases: &Writer<Lease>,
    attention: &Arc<Attention>,
) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
    let labels = format!("{MANAGED_BY_LABEL}={MANAGED_BY},{LEASE_LABEL}={ACTIVITY_LEASE}");
    let config = watcher::Config::default().labels(&labels);
    let (cache, attention) = (leases.cache().clone(), attention.clone());
    leases
        .watch(shared.config.scope.api(&shared.client), config)
        .filter_map(move |lease| {
            let gone = cache.get(&Key::of(&*lease)).is_none();
            let workspace = Key::of_workspace(&*lease);
            let news = workspace.filter(|key| gone || attention.is_warned(key));
            std::future::ready(news.map(object_ref))
        })
}

/// What the timers of a Workspace say.
#[derive(Default)]
pub struct Judgement {
    /// What a timer ends now.
    pub over: Option<StoppedByTimer>,
    /// For the status.
    pub activity: Option<Activity>,
    /// What the first process is asked.
    pub question: Option<String>,
    /// When to look again.
    pub next: Option<Timestamp>,
}

/// What the timers are judged by, beside the status.
pub struct Circumstances {
    lifetimes: Lifetimes,
    used: Option<Used>,
    started_at: Option<Timestamp>,
}

impl Circumstances {
    /// Looks them up.
    pub fn of(
        context: &Context,
        seen: &Dereferenced,
        verdict: &Result<ValidatedWorkspace, Failure>,
        before: &Seen,
    ) -> Self {
        let identity = seen.identity.as_ref().ok();
        let pinned = identity.and_then(|identity| Pinned::newest(&before.revisions, identity));
        let inputs = pinned.map(|pinned| pinned.pin.inputs);
        let lease = identity.and_then(|identity| {
            let key = Key::new(&seen.key.namespace, identity.name.activity());
            context.children.leases.cache().get(&key)
        });
        let ours = lease.filter(|lease| ownership(&seen.parent, &**lease) == Ownership::Ours);
        Self {
            // Whoever breaks their spec does not run on for ever by that: the limits of the last start hold.
            lifetimes: match (verdict, &inputs, &seen.class) {
                (Ok(workspace), _, _) => workspace.deadlines.lifetimes,
                (_, Some(inputs), _) => inputs.deadlines.lifetimes,
                (_, None, Ok(class)) => class.deadlines.lifetimes,
                _ => Lifetimes::default(),
            },
            used: ours.and_then(|lease| Used::of(lease.spec.as_ref()?)),
            started_at: inputs.map(|inputs| inputs.started_at.0),
        }
    }
}

/// Judges the timers, and asks the first process where that is due.
pub fn judge(
    context: &Context,
    seen: &Dereferenced,
    circumstances: &Circumstances,
    facts: &Facts,
    now: Timestamp,
) -> Judgement {
    if seen.is_deleted() {
        return Judgement::default();
    }
    let previous = seen.workspace.status.clone().unwrap_or_default();
    let mut question = None;
    let mut ask = |name: &str| {
        question = Some(name.to_owned());
        put(context, seen, &previous, facts, name, now)
    };
    let asked_of = question_of(seen, circumstances, &previous, facts);
    let verdict = timers::judge(&asked_of, now, &mut ask);
    if question.is_none() {
        context.children.attention.lock().asked.remove(&seen.key);
    }
    Judgement {
        over: verdict.over.map(|timer| StoppedByTimer {
            timer,
            at: seconds(now),
            generation: seen.workspace.metadata.generation.unwrap_or(0),
        }),
        activity: verdict.activity,
        question: question.filter(|_| verdict.over.is_none()),
        next: verdict.next,
    }
}

/// When the timers are to be looked at again, by the status that a pass reports.
pub fn next(
    context: &Context,
    seen: &Dereferenced,
    circumstances: &Circumstances,
    status: &WorkspaceStatus,
    facts: &Facts,
    now: Timestamp,
) -> Option<Timestamp> {
    context.children.attention.note(&seen.key, status);
    if seen.is_deleted() {
        return None;
    }
    let question = question_of(seen, circumstances, status, facts);
    timers::judge(&question, now, &mut |_| Asked::Awaited(now)).next
}

fn question_of<'a>(
    seen: &'a Dereferenced,
    circumstances: &'a Circumstances,
    status: &'a WorkspaceStatus,
    facts: &Facts,
) -> Question<'a> {
    let class = seen.class.as_ref().ok();
    let requested_at = status.start_requested_at.as_ref().map(|at| at.0);
    Question {
        workspace: &seen.workspace,
        previous: status,
        lifetimes: &circumstances.lifetimes,
        paused_until: class.and_then(|class| class.paused_until),
        used: circumstances.used.as_ref(),
        is_up: facts.replicas().unwrap_or(0) > 0,
        started_at: requested_at.max(circumstances.started_at),
        may_terminate: class.is_some(),
    }
}

/// Asks the first process, or looks up what it said to this question.
fn put(
    context: &Context,
    seen: &Dereferenced,
    previous: &WorkspaceStatus,
    facts: &Facts,
    question: &str,
    now: Timestamp,
) -> Asked {
    let recorded = previous.supervisor.as_ref();
    let key = recorded.and_then(|known| PublicKeyDigest::parse(&known.public_key_sha256));
    let Some((container, pod)) = told::life(facts) else {
        return Asked::Nobody;
    };
    let (Some(address), Some(public_key)) = (pod.address, key) else {
        return Asked::Nobody;
    };
    // A person who asks at the same time is answered first, and what is said to them is as good.
    let request = told::asked(&seen.workspace, previous).map_or(question, String::as_str);
    let life = Life {
        container: container.to_owned(),
        request: Some(request.to_owned()),
    };
    let followers = &context.followers;
    followers.follow(&seen.key, &life, Target::of_pod(address, public_key));
    match followers
        .report(&seen.key, &life)
        .filter(|said| said.answers)
    {
        Some(said) => Asked::Said(said.report),
        None => {
            let attention = &context.children.attention;
            Asked::Awaited(attention.asked_since(&seen.key, question, now))
        }
    }
}
