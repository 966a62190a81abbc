//! One pass over a Workspace.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::controller::Action;

use crate::api::Workspace;
use crate::api::class::Retention;
use crate::api::workspace::{EffectiveDesiredState, Failure, WorkspaceStatus};
use crate::controllers::backoff::jittered;
use crate::controllers::cache::Key;
use crate::controllers::workspace::activity::{self, Circumstances, Judgement};
use crate::controllers::workspace::apply::{Outcome, apply, as_evidence};
use crate::controllers::workspace::dereference::{Dereferenced, dereference};
use crate::controllers::workspace::error::WorkspaceError;
use crate::controllers::workspace::observe::{Seen, observe};
use crate::controllers::workspace::plan::{self, Plan};
use crate::controllers::workspace::terminate::terminate;
use crate::controllers::workspace::{Context, inside, status, tools, variables};
use crate::model::class::Deadlines;
use crate::model::desired::{self, Blocked, Decision, Remaining};
use crate::model::evidence::{Evidence, Facts, PreviousFailure, Termination};
use crate::model::failures::{is_transient, next_deadline};
use crate::model::revision::{Pinned, ToolsRefused};
use crate::model::status as model_status;
use crate::model::workspace::ValidatedWorkspace;

/// How long a claim that is not ours, and that no watch shows, is not looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// So many transient errors in a row are waited out before the status speaks of them.
const PATIENCE: u32 = 2;

/// The controller's entry: counts the pass.
pub async fn reconcile(
    workspace: Arc<Workspace>,
    context: Arc<Context>,
) -> Result<Action, WorkspaceError> {
    let key = Key::of(&*workspace);
    tokio::select! {
        biased;
        () = caches_are_filled(&context) => {}
        // The watches that would fill them have ended.
        () = context.stop.cancelled() => return Ok(Action::await_change()),
    }
    // Boxed: the state of a whole pass is some 50 kB.
    let pass = Box::pin(pass(&context, workspace));
    context.passes.count(&key, pass).await
}

async fn caches_are_filled(context: &Context) {
    context.children.wait_until_ready().await;
    context.watched.classes.wait_until_ready().await;
    context.mounting.wait_until_loaded().await;
    context.sets.wait_until_listed().await;
    context.owners.wait_until_ready().await;
    context.owners.wait_until_ready().await;
}

/// What to do when a pass failed.
pub fn error_policy(
    workspace: Arc<Workspace>,
    error: &WorkspaceError,
    context: Arc<Context>,
) -> Action {
    context.passes.failed(&Key::of(&*workspace), error)
}

/// One pass:
/// 1. dereference: the newest version, its class, its place in the quotas, its volume, its sealed sets,
/// 2. validate, judge the timers, and decide what to work towards,
/// 3. render,
/// 4. apply, or take away,
/// 5. observe,
/// 6. report.
async fn pass(context: &Context, workspace: Arc<Workspace>) -> Result<Action, WorkspaceError> {
    let key = Key::of(&*workspace);
    let seen = dereference(context, workspace)
        .await
        .map_err(|error| WorkspaceError::Dereference(key.clone(), Box::new(error)))?;
    let now = context.shared.clock.now();
    let credentials = inside::credentials(context, &key);
    let cluster = tools::cluster(context);
    let before = observe(context, &seen);
    let mut variables = variables::look(context, &seen, &before)
        .await
        .map_err(|error| WorkspaceError::Dereference(key.clone(), Box::new(error)))?;
    let verdict = plan::judge(&seen, &credentials, &context.installation, cluster);
    let mut verdict = variables.judge(verdict);
    let facts = before.facts();
    let refused = tools::go_over(context, &seen, &before, &facts, &mut verdict, now);
    let circumstances = Circumstances::of(context, &seen, &verdict, &before);
    let judgement = activity::judge(context, &seen, &circumstances, &facts, now);
    let made = variables.made.take();
    let work = Work::decide(&seen, &verdict, facts, refused, judgement, variables.found);
    let done = match work.decision.effective {
        // Garbage collection takes the children with it, and the volume where the class says so: it carries an owner
        // reference then. So no finalizer is needed, and a namespace that ends is not held up by us. How far that is has
        // to be said all the same: a pod that does not go holds the Workspace for as long.
        _ if seen.is_deleted() => work.look_on(),
        EffectiveDesiredState::Terminated => work.take_away(context, &seen, &before).await,
        _ => {
            work.bring_about(context, &seen, &verdict, made.as_ref(), &before, now)
                .await
        }
    };
    if done.outcome.error.as_ref().is_some_and(|error| {
        // Somebody was faster: that is no news, unless it never ends.
        error.is_namespace_ending() || (error.is_conflict() && context.passes.may_hurry(&key))
    }) {
        return done.failed(&key);
    }
    let after = observe(context, &seen);
    let report = work.report(context, &seen, &verdict, &done, &after, now);
    let written = status::write(context, &seen.workspace, &report.status)
        .await
        .map_err(|error| WorkspaceError::Report(key.clone(), Box::new(error)))?;
    if written {
        let unreadable = &work.previous.unreadable;
        context
            .shared
            .events
            .unreadable(&*seen.workspace, unreadable)
            .await;
        status::announce(context, &seen.workspace, &report.status, now).await;
    }
    if done.outcome.error.is_some() {
        return done.failed(&key);
    }
    let timer = activity::next(
        context,
        &seen,
        &circumstances,
        &report.status,
        &report.evidence.facts,
        now,
    );
    Ok(Action::requeue(report.next(context, &work, timer, now)))
}

/// What a pass works towards.
struct Work {
    previous: WorkspaceStatus,
    facts: Facts,
    /// Why nothing new may start: the spec can't be carried out, or its volume goes.
    blocked: Option<Failure>,
    /// Why tools are copied that would be mounted.
    refused: Option<ToolsRefused>,
    decision: Decision,
    /// What the timers say.
    judgement: Judgement,
    /// What was found of sealed sets.
    variables: model_status::VariablesFound,
}

/// What a pass has done.
struct Done {
    outcome: Outcome,
    plan: Option<Plan>,
    termination: Termination,
}

/// What a pass reports.
struct Report {
    status: WorkspaceStatus,
    evidence: Evidence,
    /// Whether the first process could not be listened to yet.
    hurry: bool,
}

impl Work {
    fn decide(
        seen: &Dereferenced,
        verdict: &Result<ValidatedWorkspace, Failure>,
        facts: Facts,
        refused: Option<ToolsRefused>,
        judgement: Judgement,
        variables: model_status::VariablesFound,
    ) -> Self {
        let previous = seen.workspace.status.clone().unwrap_or_default();
        let blocked = match verdict {
            Ok(_) => plan::judge_volume(seen, &facts),
            Err(blocked) => Some(blocked.clone()),
        };
        let decision = desired::decide(&desired::Question {
            workspace: &seen.workspace,
            previous: &previous,
            facts: &facts,
            blocked: Blocked::of(blocked.as_ref()),
            over: judgement.over.as_ref(),
        });
        Self {
            previous,
            facts,
            blocked,
            refused,
            decision,
            judgement,
            variables,
        }
    }

    /// Plans and applies.
    async fn bring_about(
        &self,
        context: &Context,
        seen: &Dereferenced,
        verdict: &Result<ValidatedWorkspace, Failure>,
        made: Option<&Secret>,
        before: &Seen,
        now: Timestamp,
    ) -> Done {
        let Ok(identity) = &seen.identity else {
            // No child can be made under such a name, and none was.
            return Done::nothing();
        };
        let question = plan::Question {
            identity,
            before,
            facts: &self.facts,
            previous: &self.previous,
            decision: &self.decision,
            class_name: seen.class.as_ref().ok().map(|class| class.name.as_str()),
            refused: self.refused.as_ref(),
            renderer: &*context.renderer,
            installation: &context.installation,
            now,
        };
        let plan = match verdict {
            Ok(workspace) => plan::plan(&question, workspace),
            Err(blocked) => plan::plan_blocked(&question, blocked),
        };
        Done {
            outcome: apply(context, &seen.parent, identity, &plan, made, before).await,
            plan: Some(plan),
            termination: Termination::None,
        }
    }

    /// Leaves the children to garbage collection.
    fn look_on(&self) -> Done {
        let left = Remaining {
            objects: true,
            volume_to_delete: false,
        };
        Done {
            outcome: Outcome::default(),
            plan: None,
            termination: desired::termination(&self.decision, &self.previous, left),
        }
    }

    /// Takes the children away.
    async fn take_away(&self, context: &Context, seen: &Dereferenced, before: &Seen) -> Done {
        let may_delete_volume = desired::may_delete_volume(&self.previous, retention(seen));
        let (remaining, error) = match terminate(context, seen, before, may_delete_volume).await {
            Ok(remaining) => (remaining, None),
            Err(error) => {
                let all = Remaining {
                    objects: true,
                    volume_to_delete: false,
                };
                (all, Some(error))
            }
        };
        Done {
            outcome: Outcome {
                error,
                ..Outcome::default()
            },
            plan: None,
            termination: desired::termination(&self.decision, &self.previous, remaining),
        }
    }

    /// Builds the status from what was applied and observed.
    fn report(
        &self,
        context: &Context,
        seen: &Dereferenced,
        verdict: &Result<ValidatedWorkspace, Failure>,
        done: &Done,
        after: &Seen,
        now: Timestamp,
    ) -> Report {
        let facts = after.facts();
        let pinned = done.plan.as_ref().and_then(|plan| plan.pinned.as_ref());
        let timers = model_status::timers(&self.previous, &self.decision, &facts, pinned, now);
        let deleted = done.outcome.deleted_pods;
        let public_key = done.outcome.public_key;
        let inside::Heard {
            told,
            answer,
            hurry,
        } = inside::told(
            context,
            &inside::Question {
                workspace: &seen.workspace,
                key: &seen.key,
                previous: &self.previous,
                facts: &facts,
                pinned,
                public_key,
                of_timers: self.judgement.question.as_deref(),
            },
        );
        let public_key = public_key.map(|key| key.to_string());
        let evidence = Evidence {
            apply_error: self.shown_error(context, seen, &done.outcome),
            termination: done.termination,
            waits: self.decision.waits,
            applied_before: model_status::applied_before(&self.previous),
            facts,
            timers,
            pinned_at: pinned.and_then(|pinned| after.created(&pinned.name)),
            deadlines: deadlines(seen, verdict, done, after),
            tools_image: pinned.map_or_else(
                || context.installation.tools_image.to_string(),
                |pinned| pinned.pin.inputs.tools_image.clone(),
            ),
            editor_image: pinned
                .and_then(|pinned| pinned.pin.inputs.editor_image.clone())
                .unwrap_or_default(),
            tools_delivery: pinned
                .map(|pinned| pinned.pin.inputs.tools_delivery)
                .unwrap_or_default(),
            tools_refused_at: pinned.and_then(|pinned| pinned.pin.inputs.went_over_at()),
            previous: PreviousFailure::of(&self.previous),
            rejected: model_status::rejected_before(&self.previous, &timers)
                .saturating_add(deleted),
            fits_some_node: context.nodes.fit(&after.pods),
            told,
            answer,
        };
        let notices = verdict
            .as_ref()
            .map(|workspace| workspace.notices.clone())
            .unwrap_or_default();
        let class = seen.class.as_ref().ok().filter(|_| seen.exceeded.is_none());
        let class_name = class.map(|class| class.name.to_string());
        let conflict = context.watched.conflict(&seen.workspace);
        // What is stopped is not idle.
        let goes_on = self.decision.replicas > 0 || self.decision.stopped_by_timer.is_none();
        let status = model_status::build(
            &model_status::Report {
                workspace: &seen.workspace,
                decision: &self.decision,
                evidence: &evidence,
                blocked: self.blocked.as_ref(),
                class_name: class_name.as_deref(),
                retention: retention(seen),
                url: verdict.as_ref().ok().and_then(|w| w.url.as_deref()),
                endpoints: verdict
                    .as_ref()
                    .map(|workspace| workspace.open.as_slice())
                    .unwrap_or(&self.previous.endpoints),
                conflict: conflict.as_ref(),
                activity: self.judgement.activity.as_ref().filter(|_| goes_on),
                public_key: public_key.as_deref(),
                pinned,
                variables: &self.variables,
                pending: done
                    .plan
                    .as_ref()
                    .map(|plan| plan.pending.as_slice())
                    .unwrap_or_default(),
                notices: &notices,
                all_applied: done.outcome.error.is_none(),
                deleted_rejected: deleted,
            },
            now,
        );
        Report {
            status,
            evidence,
            hurry,
        }
    }

    /// The error that the status speaks of: a transient one only when it lasts.
    fn shown_error(
        &self,
        context: &Context,
        seen: &Dereferenced,
        outcome: &Outcome,
    ) -> Option<crate::model::evidence::ApplyError> {
        let error = outcome.error.as_ref()?;
        let stops = self.decision.replicas == 0 && !self.decision.waits;
        let shown = as_evidence(error, stops);
        let lasts = context.passes.failures_of(&seen.key) >= PATIENCE;
        (lasts || !is_transient(shown.code)).then_some(shown)
    }
}

impl Done {
    fn nothing() -> Self {
        Self {
            outcome: Outcome::default(),
            plan: None,
            termination: Termination::None,
        }
    }

    fn failed(self, key: &Key) -> Result<Action, WorkspaceError> {
        match self.outcome.error {
            Some(error) => Err(WorkspaceError::Apply(key.clone(), Box::new(error))),
            None => Ok(Action::await_change()),
        }
    }
}

impl Report {
    /// When to look again, if nothing happens before: exactly at the next deadline.
    fn next(
        &self,
        context: &Context,
        work: &Work,
        timer: Option<Timestamp>,
        now: Timestamp,
    ) -> Duration {
        if work.decision.again {
            return Duration::from_millis(1);
        }
        // Thousands of Workspaces had their last pass together when this process began.
        let mut next = jittered(context.shared.config.full_pass_every, rand::random());
        if self.hurry {
            next = next.min(Duration::from_secs(1));
        }
        if work.blocked.is_some() {
            next = next.min(LOOK_AGAIN);
        }
        let deadlines = [
            next_deadline(&self.evidence, now),
            timer,
            work.judgement.next,
        ];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            let wait = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
            // A millisecond more, so that the deadline is over by then.
            next = next.min(wait + Duration::from_millis(1));
        }
        next
    }
}

/// The time limits in effect: of the plan, or, when nothing is planned any more, of the last start. Its pin may be gone
/// already: then those that a start would have now.
fn deadlines(
    seen: &Dereferenced,
    verdict: &Result<ValidatedWorkspace, Failure>,
    done: &Done,
    after: &Seen,
) -> Deadlines {
    let planned = done.plan.as_ref().map(|plan| plan.deadlines);
    let of_start = || {
        let identity = seen.identity.as_ref().ok()?;
        let pinned = Pinned::newest(&after.revisions, identity)?;
        Some(pinned.pin.inputs.deadlines)
    };
    let of_next = || verdict.as_ref().ok().map(|workspace| workspace.deadlines);
    let of_class = || seen.class.as_ref().ok().map(|class| class.deadlines);
    planned
        .or_else(of_start)
        .or_else(of_next)
        .or_else(of_class)
        .unwrap_or_default()
}

/// What happens to the volume. Without a class to say so it is never deleted.
fn retention(seen: &Dereferenced) -> Retention {
    seen.class
        .as_ref()
        .map(|class| class.storage.retention)
        .unwrap_or_default()
}
